"""So many requests a minute of one vendor, shared by all processes of a home.

Each request takes a place in line: one small file per vendor says when the next is free. Whoever wants one locks the
file, moves that instant on, unlocks it and only then waits. A process that is killed gives its lock back with its life,
and loses at most the one place that it had taken.
"""

import fcntl
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from thermocline.errors import SourceError
from thermocline.model.paths import encode

_STATE = struct.Struct("<dd")
_FARTHEST_SECONDS = 3600.0
"""An instant farther ahead was written before the clock was set back."""


class Limit:
    """A line for one vendor's requests. Many threads and processes may stand in it."""

    def __init__(
        self,
        folder: Path | None,
        vendor: str,
        per_minute: float,
        *,
        burst: int = 1,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Say how many requests go a minute, and how many may go at once after a pause.

        Without a folder the line is this object's alone. Nothing is written before the first request.
        """
        self._path = folder / f"{encode(vendor)}.limit" if folder else None
        self._every_seconds = 60.0 / per_minute
        self._ahead_seconds = (burst - 1) * self._every_seconds
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._own = bytes(_STATE.size)

    def wait(self) -> None:
        """Take the next place in line, and return when it has come."""
        while True:
            with self._state() as state:
                now = self._clock()
                free, held = (at if at <= now + _FARTHEST_SECONDS else 0.0 for at in state)
                begin = max(free, now)
                state[:] = begin + self._every_seconds, held
            mine = begin - self._ahead_seconds
            if mine > now:
                self._sleep(mine - now)
            if not self._is_held():
                return

    def hold(self, seconds: float) -> None:
        """Let no request go for so long, whoever's it is: the vendor said so."""
        with self._state() as state:
            until = self._clock() + min(seconds, _FARTHEST_SECONDS / 2)
            state[:] = max(state[0], until + self._ahead_seconds), max(state[1], until)

    def _is_held(self) -> bool:
        """Whether the vendor asked for a pause while this place was waited for."""
        with self._state() as state:
            return self._clock() < state[1] <= self._clock() + _FARTHEST_SECONDS

    @contextmanager
    def _state(self) -> Iterator[list[float]]:
        """When the next place is free, and until when all wait, in seconds since 1970; locked in the block."""
        if self._path is None:
            with self._lock:
                state = list(_STATE.unpack(self._own))
                yield state
                self._own = _STATE.pack(*state)
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # A descriptor of one's own, so that the lock keeps threads of one process apart as well.
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            msg = f"{self._path} can't be opened: {error.strerror}; it is where processes share a vendor's rate limit"
            raise SourceError(msg) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            found = os.pread(file, _STATE.size, 0)
            state = list(_STATE.unpack(found)) if len(found) == _STATE.size else [0.0, 0.0]
            yield state
            os.pwrite(file, _STATE.pack(*state), 0)
        finally:
            os.close(file)
