"""Requests that failed for a moment are made again: a few times each, under a budget for the whole run.

Pauses are drawn from zero up to a bound that doubles (full jitter), so that many processes that failed together do not
come back together. What a run may ask for in all is counted, so that no fault in a store or in this code makes it go on
asking, and paying, for ever.
"""

import errno
import io
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from thermocline.errors import ArchivedError, ObjectExistsError, PlanDriftError, RequestBudgetError, TransientLakeError
from thermocline.model.receipt import StoredObject
from thermocline.model.storage_classes import Provider
from thermocline.ports import Classes, Objects, Rule

if TYPE_CHECKING:
    from typing_extensions import Buffer

T = TypeVar("T")

_log = logging.getLogger(__name__)

_BUFFER_BYTES = 1 << 16
_COMPARED_BYTES = 1 << 20

TRANSIENT_ERRNOS = frozenset({
    errno.EAGAIN,
    errno.EBUSY,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.EINTR,
    errno.EIO,  # what mounted buckets and NFS say when a server did not answer; a dying disk costs a few attempts
    errno.ENETDOWN,
    errno.ENETRESET,
    errno.ENETUNREACH,
    errno.ESTALE,
    errno.ETIMEDOUT,
})  # fmt: skip
"""What the system says of a file that may well be readable a moment later."""


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed when it is made again."""
    return isinstance(error, TransientLakeError) or (isinstance(error, OSError) and error.errno in TRANSIENT_ERRNOS)


@dataclass(frozen=True, slots=True)
class Patience:
    """How often one request is made, and what one run may ask for in all.

    Before the nth repetition lies a pause of at most `first_pause_seconds` times two to the n-1, and never more than
    `longest_pause_seconds`.
    """

    attempts: int = 5
    max_retries_per_run: int = 100
    max_requests_per_run: int = 1_000_000  # a PUT each would be 5 USD on S3
    first_pause_seconds: float = 0.2
    longest_pause_seconds: float = 10.0


class Budget:
    """What one run may still ask of a store. Many threads may spend it."""

    def __init__(self, patience: Patience, whose: str) -> None:
        """Start with nothing spent. `whose` is what errors call the run."""
        self._patience, self._whose, self._lock = patience, whose, threading.Lock()
        self.requests = self.retries = 0

    def request(self) -> None:
        """Count a request.

        Raises:
            RequestBudgetError: It would be one too many; it must not be made.
        """
        with self._lock:
            if self.requests >= self._patience.max_requests_per_run:
                msg = (
                    f"{self._whose} has made {self.requests} requests of the lake, all that storage.lake."
                    "max_requests_per_run allows; it ends here, and what it did not come to is as it was. Run it again "
                    "to go on, or raise the setting"
                )
                raise RequestBudgetError(msg)
            self.requests += 1

    def retry(self, error: BaseException) -> None:
        """Count a request that is to be made again.

        Raises:
            RequestBudgetError: As many were made again as may be; the store is in no state to work with.
        """
        with self._lock:
            if self.retries >= self._patience.max_retries_per_run:
                msg = (
                    f"{error}. {self._whose} has repeated {self.retries} failed requests of the lake, all that "
                    "storage.lake.max_retries_per_run allows, so it ends here; what it did not come to is as it was. "
                    "Run it again when the store is well"
                )
                raise RequestBudgetError(msg) from error
            self.retries += 1


class RetryingObjects:
    """`Objects` whose requests are made again where they failed for a moment.

    Requests that a thread makes inside `run` spend that run's budget; those of a run's other threads too. Outside of a
    run, each request has a budget of its own. Since an object is never overwritten, a reader that broke off is opened
    again where it was; one that ends before the object does counts as broken off too.
    """

    def __init__(
        self,
        objects: Objects,
        patience: Patience | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        dice: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """Stand before a store. `sleep` and `dice` make and draw the pauses."""
        self._objects, self._patience = objects, patience or Patience()
        self._sleep, self._dice = sleep, dice
        self._lock = threading.Lock()
        self._runs: list[Budget] = []
        self._of_thread = threading.local()

    def __repr__(self) -> str:
        """The class and what it stands before."""
        return f"RetryingObjects({self._objects!r})"

    @property
    def url(self) -> str:
        """See `Objects.url`."""
        return self._objects.url

    @property
    def filesystem(self) -> Any:
        """See `Objects.filesystem`. What an engine opens by itself is not made again here."""
        return self._objects.filesystem

    def location(self, path: str) -> str:
        """See `Objects.location`."""
        return self._objects.location(path)

    @contextmanager
    def run(self, run_id: str) -> Iterator[Budget]:
        """Count the requests of the block against one budget. A run inside a run spends the outer one's."""
        outer: Budget | None = getattr(self._of_thread, "budget", None)
        if outer:
            yield outer
            return
        budget = self._of_thread.budget = Budget(self._patience, f"run {run_id}")
        with self._lock:
            self._runs.append(budget)
        try:
            yield budget
        finally:
            self._of_thread.budget = None
            with self._lock:
                self._runs.remove(budget)

    @property
    def classes(self) -> Classes | None:
        """See `Objects.classes`."""
        classes = self._objects.classes
        return _RetryingClasses(self, classes) if classes else None

    def put(
        self, path: str, content: BinaryIO, *, storage_class: str = "", labels: Mapping[str, str] | None = None
    ) -> StoredObject:
        """See `Objects.put`. Where a failed attempt had stored the very same bytes after all, they are the answer."""
        start = content.tell()

        def attempt(failures: int) -> StoredObject:
            content.seek(start)
            try:
                return self._objects.put(path, content, storage_class=storage_class, labels=labels)
            except ObjectExistsError:
                content.seek(start)
                if failures and self._holds(path, content):
                    return self.stat(path)
                raise

        return self.repeated(attempt)

    def replace(self, path: str, content: bytes) -> StoredObject:
        """See `Objects.replace`."""
        return self.repeated(lambda _: self._objects.replace(path, content))

    def open(self, path: str) -> BinaryIO:
        """See `Objects.open`."""
        stream = self.repeated(lambda _: self._objects.open(path))
        return cast("BinaryIO", io.BufferedReader(_Reopening(self, self._objects, path, stream), _BUFFER_BYTES))

    def stat(self, path: str) -> StoredObject:
        """See `Objects.stat`."""
        return self.repeated(lambda _: self._objects.stat(path))

    def delete(self, path: str) -> None:
        """See `Objects.delete`."""
        self.repeated(lambda _: self._objects.delete(path))

    def list(self, prefix: str) -> Iterator[str]:
        """See `Objects.list`. Paths come in order, so a list that broke off goes on after the last one given."""
        return self.resumed(lambda: self._objects.list(prefix), lambda path: path)

    def resumed(self, listing: Callable[[], Iterator[T]], path_of: Callable[[T], str]) -> Iterator[T]:
        """What a listing in the order of paths gives, begun again where it broke off."""
        budget, last, failures = self.budget(), "", 0
        while True:
            budget.request()
            try:
                for each in listing():
                    if (path := path_of(each)) > last:
                        last, failures = path, 0
                        yield each
            except (TransientLakeError, OSError) as error:
                failures += 1
                self.pause(budget, failures, error)
            else:
                return

    def budget(self) -> Budget:
        """What pays for a request of this thread: its run, else the newest run that is open, else one of its own."""
        own: Budget | None = getattr(self._of_thread, "budget", None)
        if own:
            return own
        with self._lock:
            return self._runs[-1] if self._runs else Budget(self._patience, "this request")

    def pause(self, budget: Budget, failures: int, error: BaseException) -> None:
        """Wait before the request is made again; raise where it is not to be.

        Raises:
            TransientLakeError: It was made as often as one request may be.
            RequestBudgetError: The run has repeated as many as it may.
        """
        if not is_transient(error):
            raise error
        if failures >= self._patience.attempts:
            msg = f"{error}. It was tried {failures} times; nothing that was stored before is lost, run it again later"
            raise TransientLakeError(msg) from error
        budget.retry(error)
        longest = min(self._patience.longest_pause_seconds, self._patience.first_pause_seconds * 2 ** (failures - 1))
        seconds = self._dice(0.0, longest)
        _log.info("%s; trying again in %.1f s (%d of %d)", error, seconds, failures + 1, self._patience.attempts)
        self._sleep(seconds)

    def repeated(self, attempt: Callable[[int], T]) -> T:
        """What an attempt returns, made as often as it takes and may be; it is told how often it failed before."""
        budget = self.budget()
        for failures in itertools.count():
            budget.request()
            try:
                return attempt(failures)
            except (TransientLakeError, OSError) as error:
                self.pause(budget, failures + 1, error)
        raise AssertionError  # pragma: no cover  # the count has no end

    def _holds(self, path: str, content: BinaryIO) -> bool:
        """Whether the object has the bytes that are left in `content`."""
        try:
            with self.open(path) as stored:
                while chunk := content.read(_COMPARED_BYTES):
                    if stored.read(len(chunk)) != chunk:
                        return False
                return not stored.read(1)
        except FileNotFoundError:
            return False


@dataclass(frozen=True)
class _RetryingClasses:
    """The port `Classes` whose requests are made again where they failed for a moment."""

    retrying: RetryingObjects
    classes: Classes

    @property
    def provider(self) -> Provider:
        return self.classes.provider

    def survey(self, prefix: str) -> Iterator[StoredObject]:
        return self.retrying.resumed(lambda: self.classes.survey(prefix), lambda stored: stored.path)

    def transition(self, stored: StoredObject, storage_class: str) -> StoredObject:
        """Where a failed attempt had moved it after all, its new state is the answer."""

        def moved() -> StoredObject | None:
            now = self.retrying.stat(stored.path)
            return now if (now.storage_class, now.size_bytes) == (storage_class, stored.size_bytes) else None

        def attempt(failures: int) -> StoredObject:
            # Moving it again would be billed again, and an archive does not even let it be copied.
            if failures and (now := moved()):
                return now
            try:
                return self.classes.transition(stored, storage_class)
            except (PlanDriftError, ArchivedError):
                if failures and (now := moved()):
                    return now
                raise

        return self.retrying.repeated(attempt)

    def restore(self, path: str, *, days: int, speed: str) -> None:
        self.retrying.repeated(lambda _: self.classes.restore(path, days=days, speed=speed))

    def rules(self) -> Sequence[Rule]:
        return self.retrying.repeated(lambda _: self.classes.rules())

    def replace_rules(self, rules: Sequence[Rule], *, expected: Sequence[Rule]) -> None:
        def attempt(failures: int) -> None:
            try:
                self.classes.replace_rules(rules, expected=expected)
            except PlanDriftError:
                if not failures or list(self.classes.rules()) != list(rules):
                    raise

        self.retrying.repeated(attempt)


class _Reopening(io.RawIOBase):
    """A reader of one object that is opened again, where it was, when it breaks off."""

    def __init__(self, retrying: RetryingObjects, objects: Objects, path: str, stream: BinaryIO) -> None:
        super().__init__()
        self._retrying, self._objects, self._path, self._stream = retrying, objects, path, stream
        self._position = 0
        self._size: int | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move without asking the store; the next read goes there."""
        if whence == io.SEEK_END:
            if self._size is None:
                self._size = self._retrying.stat(self._path).size_bytes
            offset += self._size
        self._position = offset + (self._position if whence == io.SEEK_CUR else 0)
        return self._position

    def readinto(self, buffer: "Buffer") -> int:
        view = memoryview(buffer)
        budget = self._retrying.budget()
        for failures in itertools.count(1):
            try:
                chunk = self._read(len(view), budget)
                break
            except (TransientLakeError, OSError) as error:
                self._retrying.pause(budget, failures, error)
            budget.request()
            self._stream.close()
        view[: len(chunk)] = chunk
        self._position += len(chunk)
        return len(chunk)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()

    def _read(self, most: int, budget: Budget) -> bytes:
        """The next bytes; none only where the object ends, since some stores end an answer where the connection did."""
        if self._stream.closed:
            self._stream = self._objects.open(self._path)
        if self._stream.tell() != self._position:
            self._stream.seek(self._position)
        if (chunk := self._stream.read(most)) or not most:
            return chunk
        if self._size is None:
            budget.request()
            self._size = self._objects.stat(self._path).size_bytes
        if self._position < self._size:
            msg = f"{self._objects.location(self._path)} broke off at byte {self._position} of {self._size}"
            raise TransientLakeError(msg)
        return b""
