"""Restores: copies of archived objects that can be read for some days, asked for and waited for.

Nothing here is asked of a store unasked: a restore costs money. `request` does just what its plan shows.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from thermocline.errors import ArchivedError, RequestBudgetError, ThermoclineError, UsageError
from thermocline.model.archives import (
    KEEP_DAYS,
    ClassRead,
    Offer,
    has_archives,
    is_archived,
    is_read_at_once,
    offers,
    reads_of,
)
from thermocline.model.dataset import Dataset
from thermocline.model.partition import ALL_DAYS, DayRange
from thermocline.model.prices import PriceBook
from thermocline.model.receipt import StoredObject
from thermocline.model.storage_classes import Provider
from thermocline.ports import SILENT, Act, Hot, Lake, Progress

if TYPE_CHECKING:
    import pyarrow as pa

POLL_SECONDS = 60.0
_THREADS = 16


@dataclass(frozen=True)
class Restores:
    """What of some days lies in an archive, and what of that is on its way back.

    Attributes:
        dataset: Whose days.
        keep_days: For how long the copies are to be kept.
        speed: At which speed they are to come.
        archived: Objects that nobody has asked for yet.
        restoring: Objects that are on their way.
        restored: Objects of which there is a copy now, until their `readable_until`.
        at_once: How many objects need no restore.
        offers: What restoring the archived ones costs and takes at each speed.
        reads: What reading all of them costs, where the provider gives every class at once.
    """

    dataset: str
    keep_days: int
    speed: str
    archived: Sequence[StoredObject] = ()
    restoring: Sequence[StoredObject] = ()
    restored: Sequence[StoredObject] = ()
    at_once: int = 0
    offers: Sequence[Offer] = ()
    reads: Sequence[ClassRead] = ()

    @property
    def offer(self) -> Offer | None:
        """What is asked for; None where nothing is archived.

        Raises:
            UsageError: Not all the classes that the objects lie in have that speed.
        """
        if not self.archived:
            return None
        for each in self.offers:
            if each.speed == self.speed:
                return each
        classes = " and ".join(sorted({each.storage_class for each in self.archived}))
        there = " or ".join(each.speed for each in self.offers) or "none that the price book knows"
        msg = f"{self.speed} is no speed for all of {classes}; choose {there}. Nothing was asked for"
        raise UsageError(msg)

    def document(self) -> dict[str, Any]:
        """What there is, and what would be asked for, as JSON."""
        return {
            "dataset": self.dataset,
            "archived": [_told(each) for each in self.archived],
            "restoring": [_told(each) for each in self.restoring],
            "restored": [_told(each) for each in self.restored],
            "at_once": self.at_once,
            "bytes": sum(each.size_bytes for each in self.archived),
            "keep_days": self.keep_days,
            "speed": self.speed,
            "offers": [each.document() for each in self.offers],
            "reads": [each.document() for each in self.reads],
        }


@dataclass
class Requested:
    """What was asked of the store. `failed` are paths, and why they were not asked for."""

    run_id: str
    plan: Restores
    requested: list[StoredObject] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        offer = self.plan.offer
        return {
            "run_id": self.run_id,
            "requested": [_told(each) for each in self.requested],
            "failed": [{"path": path, "reason": reason} for path, reason in sorted(self.failed.items())],
            "keep_days": self.plan.keep_days,
            "offer": offer and offer.document(),
        }


@dataclass(frozen=True)
class Restoring:
    """The parts of one look at archived objects, or of one request. `days` and `intervals` (none: all) choose days."""

    hot: Hot
    lake: Lake
    prices: PriceBook
    days: DayRange = ALL_DAYS
    intervals: Collection[str] = ()
    progress: Progress = SILENT

    def plan(self, dataset: Dataset, *, speed: str = "Bulk", keep_days: int = KEEP_DAYS) -> Restores:
        """What of the days is archived, and what `request` would ask for; asks for nothing."""
        classes = self.lake.classes
        provider = classes.provider if classes else Provider.LOCAL
        paths = {vintage.receipt.path for vintage in self.hot.live(dataset, self.days, self.intervals)}
        if provider is Provider.LOCAL:
            return Restores(dataset.name, keep_days, speed, at_once=len(paths))
        found = self.lake.states(paths, exact=True)
        if not has_archives(provider):
            reads = reads_of(found, self.prices)
            return Restores(dataset.name, keep_days, speed, at_once=len(found), reads=reads)
        now = datetime.now(UTC)
        away = [each for each in found if is_archived(each, provider, now)]
        asleep = [each for each in away if not each.is_restoring]
        at_once = [each for each in found if is_read_at_once(each, provider)]
        apart = {each.path for each in (*away, *at_once)}
        return Restores(
            dataset.name,
            keep_days,
            speed,
            asleep,
            [each for each in away if each.is_restoring],
            [each for each in found if each.path not in apart],
            len(at_once),
            offers(asleep, self.prices, keep_days),
        )

    def request(self, plan: Restores, *, run_id: str) -> Requested:
        """Ask for the archived objects of a plan. Running it again asks for what is not on its way by then.

        Raises:
            UsageError: Not all of them can be restored at that speed; nothing was asked for.
        """
        result, offer = Requested(run_id, plan), plan.offer
        classes = self.lake.classes
        if offer is None or classes is None:
            return result
        self.progress.begin("asking for restores", len(plan.archived))
        pool = ThreadPoolExecutor(_THREADS)
        try:
            with self.lake.run(run_id):
                waiting = [
                    (each, pool.submit(classes.restore, each.path, days=plan.keep_days, speed=plan.speed))
                    for each in plan.archived
                ]
                for each, future in waiting:
                    _note(each, future, result)
                    self.progress.advance()
        finally:
            pool.shutdown(cancel_futures=True)
            self._log(result, offer)
        return result

    def _log(self, result: Requested, offer: Offer) -> None:
        if result.requested:
            share = len(result.requested) / len(result.plan.archived)
            detail = {
                "dataset": result.plan.dataset,
                "objects": len(result.requested),
                "bytes": sum(each.size_bytes for each in result.requested),
                "speed": offer.speed,
                "keep_days": result.plan.keep_days,
                "usd": offer.usd * share,
            }
            self.hot.record(Act("restore", None, result.run_id, detail))


@dataclass(frozen=True)
class Wait:
    """How long to wait for restores: `at_most_seconds` None is for as long as they take; looked at each so often."""

    at_most_seconds: float | None = None
    poll_seconds: float = POLL_SECONDS
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


@contextmanager
def once_readable(
    lake: Lake,
    ask: "Callable[[], AbstractContextManager[pa.RecordBatchReader]]",
    wait: Wait,
    progress: Callable[[], AbstractContextManager[Progress]] = lambda: nullcontext(SILENT),
) -> "Iterator[pa.RecordBatchReader]":
    """The answer to what `ask` asks, once the archived objects that it needs are restored.

    While it waits nothing of either tier is held. It asks for no restore.

    Raises:
        ArchivedError: Of one that it needs no restore is on its way, or they took longer than was to be waited.
    """
    began = wait.clock()
    with ExitStack() as stack:
        while True:
            try:
                reader = stack.enter_context(ask())
                break
            except ArchivedError as error:
                if not error.paths:
                    raise
                with progress() as told:
                    _wait_for(lake, error, wait, began, told)
        yield reader


def _wait_for(lake: Lake, error: ArchivedError, wait: Wait, began: float, progress: Progress) -> None:
    classes = lake.classes
    if classes is None:
        raise error
    progress.begin("waiting for restores", len(error.paths))
    left = len(error.paths)
    while True:
        now = datetime.now(UTC)
        away = [each for each in lake.states(error.paths, exact=True) if is_archived(each, classes.provider, now)]
        for _ in range(left - len(away)):
            progress.advance()
        left = len(away)
        if not away:
            return
        if any(not each.is_restoring for each in away):
            raise error
        waited = wait.clock() - began
        if wait.at_most_seconds is not None and waited + wait.poll_seconds > wait.at_most_seconds:
            msg = (
                f"{left} of {len(error.paths)} objects are still on the way after {waited:,.0f} seconds, such as "
                f"{away[0].path}; nothing is lost. Run it again later, or wait for longer"
            )
            raise ArchivedError(msg, error.paths)
        wait.sleep(wait.poll_seconds)


def _note(stored: StoredObject, future: "Future[None]", result: Requested) -> None:
    try:
        future.result()
    except RequestBudgetError:
        raise
    except FileNotFoundError:
        result.failed[stored.path] = "it was deleted meanwhile"
    except (ThermoclineError, OSError) as error:
        result.failed[stored.path] = str(error)
    else:
        result.requested.append(stored)


def _told(stored: StoredObject) -> dict[str, Any]:
    return {
        "path": stored.path,
        "bytes": stored.size_bytes,
        "class": stored.storage_class,
        "readable_until": stored.readable_until and stored.readable_until.isoformat(),
    }
