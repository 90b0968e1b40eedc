"""Which objects of a lake lie in an archive, asked with few requests and remembered for a moment."""

import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from time import monotonic

from thermocline.errors import ArchivedError, UsageError
from thermocline.model.archives import has_archives, is_archived, is_read_at_once, may_be_archived, said_of
from thermocline.model.prices import PriceBook
from thermocline.model.receipt import Receipt, StoredObject
from thermocline.model.retention import RetentionPolicy
from thermocline.ports import Objects

_ASKED_ONE_BY_ONE = 16
"""As many objects cost less time, and no more money, asked for singly than a listing of their years."""
_THREADS = 8
_REMEMBERED_SECONDS = 60.0
_YEAR = re.compile(r"^(.*?/year=[0-9]{4}/)")


@dataclass(frozen=True)
class ArchiveWatch:
    """Looks after objects that the policy lets into an archive. Many threads may ask.

    A store of objects without such classes, and a policy that archives nothing yet, are never asked. What was archived
    by something else than the policy is told when it is read.
    """

    objects: Objects
    policy: RetentionPolicy
    today: Callable[[], date]
    prices: Callable[[], PriceBook] | None = None
    _known: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def archived(
        self, receipts: Iterable[Receipt], *, beyond_policy: bool = False, anew: bool = False
    ) -> list[StoredObject]:
        """See `Lake.archived`."""
        classes = self.objects.classes
        if classes is None or not has_archives(classes.provider):
            return []
        receipts = list(receipts)
        paths = (
            frozenset(receipt.path for receipt in receipts)
            if beyond_policy
            else may_be_archived(receipts, self.policy, classes.provider, self.today())
        )
        now = datetime.now(UTC)
        known = {} if anew else self._remembered(paths)
        asked = self.states(paths - known.keys(), exact=anew)
        found = [each for each in asked if is_archived(each, classes.provider, now)]
        # Only what can be read is remembered: who is told to restore something may come back soon.
        gone = {each.path for each in found}
        with self._lock:
            self._known.update({each.path: monotonic() for each in asked if each.path not in gone})
        return found if found and self._is_refused(found) else []

    def states(self, paths: Collection[str], *, exact: bool = False) -> list[StoredObject]:
        """See `Lake.states`."""
        found = {each.path: each for each in self._asked(sorted(paths))}
        if exact and self.objects.classes and len(paths) > _ASKED_ONE_BY_ONE:
            provider = self.objects.classes.provider
            untold = [
                each.path
                for each in found.values()
                if not (is_read_at_once(each, provider) or each.is_restoring or each.readable_until)
            ]
            found |= {each.path: each for each in self._one_by_one(untold)}
        return [found[path] for path in sorted(found)]

    @contextmanager
    def readable(self, receipts: Iterable[Receipt]) -> Iterator[None]:
        """See `Lake.readable`."""
        receipts = list(receipts)
        if found := self.archived(receipts):
            raise self._error(found, receipts)
        with self.telling(receipts):
            yield

    @contextmanager
    def telling(self, receipts: Iterable[Receipt]) -> Iterator[None]:
        """A block in which an archived object's error says of all these receipts' objects what is to be done."""
        try:
            yield
        except ArchivedError as error:
            # What is said of all of them is worth more than what the store said of one.
            receipts = list(receipts)
            if error.paths or not (found := self.archived(receipts, beyond_policy=True, anew=True)):
                raise
            raise self._error(found, receipts) from error

    def _remembered(self, paths: Collection[str]) -> Mapping[str, float]:
        """Those that could be read a moment ago, and when that was."""
        now = monotonic()
        with self._lock:
            return {path: at for path in paths if (at := self._known.get(path)) and now - at < _REMEMBERED_SECONDS}

    def _error(self, found: Sequence[StoredObject], receipts: Sequence[Receipt]) -> ArchivedError:
        paths = [each.path for each in found]
        with suppress(UsageError):  # a price that is missing is no reason to hide the rest
            return ArchivedError(said_of(found, receipts, self.prices and self.prices()), paths)
        return ArchivedError(said_of(found, receipts, None), paths)

    def _is_refused(self, found: Sequence[StoredObject]) -> bool:
        """Whether the store refuses one that is still to be restored.

        Stores that speak S3's protocol may have classes by name alone and give all objects at once; and some listings
        don't say what was restored.
        """
        try:
            self.objects.open(found[0].path).close()
        except ArchivedError:
            return True
        except FileNotFoundError:
            return len(found) > 1
        return len(found) > 1 and self._is_refused(found[1:2])

    def _asked(self, paths: Sequence[str]) -> list[StoredObject]:
        classes = self.objects.classes
        if classes is None or len(paths) <= _ASKED_ONE_BY_ONE:
            return self._one_by_one(paths)
        wanted = frozenset(paths)
        years = sorted({match[1] if (match := _YEAR.match(path)) else path for path in paths})
        with ThreadPoolExecutor(_THREADS) as threads:
            listed = threads.map(lambda year: [s for s in classes.survey(year) if s.path in wanted], years)
            return [stored for found in listed for stored in found]

    def _one_by_one(self, paths: Sequence[str]) -> list[StoredObject]:
        with ThreadPoolExecutor(_THREADS) as threads:
            return [stored for found in threads.map(self._described, paths) for stored in found]

    def _described(self, path: str) -> list[StoredObject]:
        with suppress(FileNotFoundError):
            return [self.objects.stat(path)]
        return []
