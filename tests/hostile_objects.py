"""A store of objects that does what stores do on a bad day, by a plan or by a seed, and counts what it did."""

import io
import random
import re
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, BinaryIO

from thermocline.errors import LakeError, TransientLakeError
from thermocline.model.receipt import StoredObject
from thermocline.ports import Objects


class Fault(StrEnum):
    """What a store may do instead of what it was asked for."""

    TIMEOUT = "no answer; nothing was done"
    OVERLOADED = "503 Slow Down; nothing was done"
    LOST_ANSWER = "no answer, though it was done"
    BROKEN_WRITE = "the connection broke while the object was sent; nothing was stored"
    BROKEN_READ = "the connection broke while the answer was read"
    SHORT_READ = "the answer ends early, without an error"
    WRONG_ETAG = "an etag that the object does not have"
    LOST_DELETE = "says that it was deleted; it is still there"
    LOST_PUT = "says that it was stored; nothing is there"
    TRUNCATED_PUT = "says that it was stored; only its first half is there"
    BROKEN_FOR_GOOD = "no space left; it will not go away"

    def on(self, act: str, *, times: int = 1, after: int = 0, path: str = "") -> "Planned":
        """Let it happen to requests of one kind whose path holds a pattern: `times` of them, after so many others."""
        return Planned(self, act, times, after, path)


FAULTS_OF = {
    "put": [f for f in Fault if f not in {Fault.BROKEN_READ, Fault.SHORT_READ, Fault.LOST_DELETE}],
    "replace": [Fault.TIMEOUT, Fault.OVERLOADED, Fault.LOST_ANSWER, Fault.BROKEN_FOR_GOOD],
    "open": [Fault.TIMEOUT, Fault.OVERLOADED, Fault.BROKEN_READ, Fault.SHORT_READ],
    "stat": [Fault.TIMEOUT, Fault.OVERLOADED, Fault.WRONG_ETAG],
    "delete": [Fault.TIMEOUT, Fault.OVERLOADED, Fault.LOST_ANSWER, Fault.LOST_DELETE],
    "list": [Fault.TIMEOUT, Fault.OVERLOADED, Fault.BROKEN_READ],
}
"""What may happen to each kind of request where a seed decides."""


@dataclass(frozen=True)
class Planned:
    """A fault that is to happen. `act` is a method of `Objects`."""

    fault: Fault
    act: str
    times: int
    after: int
    path: str

    def fits(self, act: str, path: str) -> bool:
        """Whether such a request is one of those."""
        return self.act == act and re.search(self.path, path) is not None


@dataclass
class HostileObjects:
    """Stands before another store. `fired` counts faults that did happen, `requests` what was asked, by kind.

    `broken_at` is how many bytes, or paths of a list, come before a read breaks off. With `dice`, each request suffers
    with the probability `rate` from one of the faults that its kind knows, beside what is planned.
    """

    objects: Objects
    faults: Sequence[Planned] = ()
    broken_at: int = 2
    dice: random.Random | None = None
    rate: float = 0.1
    fired: Counter[Fault] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Be well with no plan."""
        self._waiting = list(self.faults)
        self._lock = threading.Lock()

    def be_well(self) -> None:
        """Do from now on what is asked for."""
        self._waiting, self.dice = [], None

    @property
    def url(self) -> str:
        """See `Objects.url`."""
        return self.objects.url

    @property
    def filesystem(self):
        """See `Objects.filesystem`."""
        return self.objects.filesystem

    def location(self, path: str) -> str:
        """See `Objects.location`."""
        return self.objects.location(path)

    @property
    def classes(self):
        """See `Objects.classes`. What is asked of them is done."""
        return self.objects.classes

    def put(self, path: str, content: BinaryIO, **placed: Any) -> StoredObject:
        """See `Objects.put`, on a bad day."""
        fault = self._fault("put", path)
        self._refuse(fault, path)
        if fault is Fault.BROKEN_WRITE:
            content.read(self.broken_at)
            raise self._moment(fault, path)
        body = content.read()
        if fault is Fault.LOST_PUT:
            self.fire(fault)
            return StoredObject(path, len(body), "17")
        sent = body[: len(body) // 2] if fault is Fault.TRUNCATED_PUT else body
        stored = self.objects.put(path, io.BytesIO(sent), **placed)
        if fault is Fault.TRUNCATED_PUT:
            self.fire(fault)
            return replace(stored, size_bytes=len(body))
        return self._answer(fault, stored)

    def replace(self, path: str, content: bytes) -> StoredObject:
        """See `Objects.replace`, on a bad day."""
        fault = self._fault("replace", path)
        self._refuse(fault, path)
        if fault is Fault.LOST_PUT:
            self.fire(fault)
            return StoredObject(path, len(content), "17")
        return self._answer(fault, self.objects.replace(path, content))

    def open(self, path: str) -> BinaryIO:
        """See `Objects.open`, on a bad day."""
        fault = self._fault("open", path)
        self._refuse(fault, path)
        stream = self.objects.open(path)
        if fault in {Fault.BROKEN_READ, Fault.SHORT_READ}:
            return _Breaking(stream, fault, self)
        return stream

    def stat(self, path: str) -> StoredObject:
        """See `Objects.stat`, on a bad day."""
        fault = self._fault("stat", path)
        self._refuse(fault, path)
        return self._answer(fault, self.objects.stat(path))

    def delete(self, path: str) -> None:
        """See `Objects.delete`, on a bad day."""
        fault = self._fault("delete", path)
        self._refuse(fault, path)
        if fault is Fault.LOST_DELETE:
            self.fire(fault)
            return
        self.objects.delete(path)
        if fault is Fault.LOST_ANSWER:
            raise self._moment(fault, path)

    def list(self, prefix: str) -> Iterator[str]:
        """See `Objects.list`, on a bad day."""
        fault = self._fault("list", prefix)
        self._refuse(fault, prefix)
        for number, path in enumerate(self.objects.list(prefix)):
            if fault is Fault.BROKEN_READ and number == self.broken_at:
                raise self._moment(fault, prefix)
            yield path

    def fire(self, fault: Fault) -> Fault:
        """Count a fault that happens now."""
        with self._lock:
            self.fired[fault] += 1
        return fault

    def _fault(self, act: str, path: str) -> Fault | None:
        with self._lock:
            self.requests[act] += 1
            for number, planned in enumerate(self._waiting):
                if not planned.fits(act, path):
                    continue
                if planned.after:
                    self._waiting[number] = replace(planned, after=planned.after - 1)
                    continue
                left = replace(planned, times=planned.times - 1)
                self._waiting[number : number + 1] = [left] if left.times else []
                return planned.fault
            if self.dice and self.dice.random() < self.rate:
                return self.dice.choice(FAULTS_OF[act])
        return None

    def _moment(self, fault: Fault, path: str) -> TransientLakeError:
        return TransientLakeError(f"{path}: {self.fire(fault)}")

    def _refuse(self, fault: Fault | None, path: str) -> None:
        if fault in {Fault.TIMEOUT, Fault.OVERLOADED}:
            raise self._moment(fault, path)
        if fault is Fault.BROKEN_FOR_GOOD:
            msg = f"{path}: {self.fire(fault)}"
            raise LakeError(msg)

    def _answer(self, fault: Fault | None, stored: StoredObject) -> StoredObject:
        if fault is Fault.LOST_ANSWER:
            raise self._moment(fault, stored.path)
        if fault is Fault.WRONG_ETAG:
            self.fire(fault)
            return replace(stored, etag="wrong")
        return stored


class _Breaking(io.RawIOBase):
    """A reader that breaks off after a few bytes, as often as it is read."""

    def __init__(self, stream: BinaryIO, fault: Fault, store: HostileObjects) -> None:
        super().__init__()
        self._stream, self._fault, self._store = stream, fault, store
        self._left = store.broken_at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer) -> int:
        chunk = self._stream.read(min(len(buffer), self._left))
        self._left -= len(chunk)
        if len(buffer) and not chunk and not self._left:
            self._store.fire(self._fault)
            if self._fault is Fault.BROKEN_READ:
                raise TransientLakeError(self._fault)
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        self._stream.close()
        super().close()
