"""The ends of objects: asked for once, and ahead of whoever opens many objects one after the other."""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from thermocline.ports import Traffic

END_BYTES = 128 << 10
"""What is read first: the end of a file, where Parquet says what is where. Small files come whole."""

_KEPT_ENDS, _KEPT_SECONDS, _KEPT_SIZES = 64, 2.0, 10_000
_AT_ONCE = 8  # the SDK of S3 has ten connections
_AHEAD = 32  # objects whose ends lie here before they are opened; fewer than are kept

Ask = Callable[[str], tuple[int, bytes]]
"""Given the value of a `Range` header, the size of the whole object and those of its bytes."""


@dataclass(slots=True)
class _End:
    """The size of an object and its last bytes, or that they are being asked for, by this process."""

    since: float = field(default_factory=time.monotonic)
    process: int = field(default_factory=os.getpid)
    found: "Future[tuple[int, bytes]]" = field(default_factory=Future)

    @property
    def is_good(self) -> bool:
        """Whether it can be waited for, or came a moment ago."""
        is_recent = not self.found.done() or time.monotonic() - self.since < _KEPT_SECONDS
        return is_recent and self.process == os.getpid()


class KeptEnds:
    """The ends of objects that were opened a moment ago, and the sizes of those that were opened at all.

    DuckDB opens each two or three times, from several threads, to look at it and to read it, and asks for its size a
    dozen times.
    """

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._lock = threading.Lock()
        self._ends: OrderedDict[str, _End] = OrderedDict()
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._expected: dict[str, threading.Semaphore] = {}
        self.traffic = Traffic(0, 0)

    def counted(self, ask: Ask, within: str) -> tuple[int, bytes]:
        """What is asked for, noted in `traffic`."""
        size, found = ask(within)
        with self._lock:
            self.traffic = Traffic(self.traffic.requests + 1, self.traffic.fetched_bytes + len(found))
        return size, found

    def of(self, path: str, ask: Ask) -> tuple[int, bytes]:
        """The size of an object and its last bytes, asked for unless it was opened just before, or is just now."""
        with self._lock:
            expected = self._expected.pop(path, None)
            if expected and (kept := self._ends.get(path)):
                kept.since = time.monotonic()  # however long it has waited for this
        if expected:
            expected.release()
        return self._asked(path, ask)

    def size_of(self, path: str, ask: Ask) -> int:
        """The size that an object had when it was opened last; it is opened where it never was."""
        with self._lock:
            size = self._sizes.get(path)
        return self.of(path, ask)[0] if size is None else size

    @contextmanager
    def expecting(self, asks: Mapping[str, Ask]) -> Iterator[None]:
        """While the block opens these objects, about in this order, ask for the ends of several at a time.

        Only so many are asked for before the first of them is opened. What fails is left to whoever opens the object.
        Nothing that came before the block is used, and nothing is kept after it: each question asks anew.
        """
        room, is_over = threading.Semaphore(_AHEAD), threading.Event()

        def ahead(path: str, ask: Ask) -> None:
            room.acquire()
            if not is_over.is_set():
                with suppress(Exception):
                    self._asked(path, ask)

        with self._lock:
            for path in asks:
                if (kept := self._ends.get(path)) and kept.found.done():
                    del self._ends[path]
            self._expected.update(dict.fromkeys(asks, room))
        threads = ThreadPoolExecutor(_AT_ONCE, "thermocline-ends")
        try:
            for path, ask in asks.items():
                threads.submit(ahead, path, ask)
            yield
        finally:
            is_over.set()
            with self._lock:
                for path in asks:
                    if self._expected.get(path) is room:
                        del self._expected[path]
            room.release(_AT_ONCE)
            threads.shutdown(cancel_futures=True)
            with self._lock:
                for path in asks:
                    self._ends.pop(path, None)

    def _asked(self, path: str, ask: Ask) -> tuple[int, bytes]:
        with self._lock:
            kept = self._ends.get(path)
            if kept is None or not kept.is_good:
                kept = self._ends[path] = mine = _End()
                self._ends.move_to_end(path)
                if len(self._ends) > _KEPT_ENDS:
                    self._ends.popitem(last=False)
            else:
                mine = None
        if mine is None:
            return kept.found.result()
        try:
            size, end = ask(f"bytes=-{END_BYTES}")
        except BaseException as error:
            with self._lock:
                if self._ends.get(path) is mine:
                    del self._ends[path]
            mine.found.set_exception(error)
            raise
        with self._lock:
            mine.since = time.monotonic()
            self._sizes[path] = size
            if len(self._sizes) > _KEPT_SIZES:
                self._sizes.popitem(last=False)
        mine.found.set_result((size, end))
        return size, end
