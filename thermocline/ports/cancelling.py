"""Ending a question from another thread than the one that takes its answer.

Whoever is about to wait for an engine says how to end that (`ended_by`), so that nothing need be handed through every
call. An engine may not hear of it, as when it has not begun yet: it is told again until the wait is over.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Self

from thermocline.errors import QueryCancelledError

_AGAIN_SECONDS = 0.02
_SELDOM_SECONDS = 1.0


class Cancellation:
    """Whether an answer is wanted no more, and what is to be ended then. Any number of threads may use it."""

    def __init__(self) -> None:
        """It is wanted."""
        self._changed = threading.Condition()
        self._waits: set[_Wait] = set()
        self.is_asked = False

    def cancel(self) -> None:
        """End what is going on, and refuse what is about to begin. It returns at once; again, nothing happens."""
        with self._changed:
            if self.is_asked:
                return
            self.is_asked = True
            if self._waits:
                threading.Thread(target=self._end, name="thermocline-cancel", daemon=True).start()

    def check(self) -> None:
        """Go on.

        Raises:
            QueryCancelledError: Not after `cancel`.
        """
        if self.is_asked:
            msg = "the query was cancelled before its answer was complete; nothing was changed; ask anew if you want it"
            raise QueryCancelledError(msg)

    @contextmanager
    def current(self) -> Iterator[None]:
        """In this thread, and in those that the block begins, it is this answer that is worked for."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    def begin(self, wait: "_Wait") -> None:
        """Note that somebody waits.

        Raises:
            QueryCancelledError: It was cancelled already.
        """
        with self._changed:
            self.check()
            self._waits.add(wait)

    def over(self, wait: "_Wait") -> None:
        """Note that the wait is over; nothing is told to end it after this."""
        with wait.telling, self._changed:
            self._waits.discard(wait)
            self._changed.notify_all()

    def _end(self) -> None:
        pause = _AGAIN_SECONDS
        while True:
            with self._changed:
                waits = list(self._waits)
            if not waits:
                return
            for wait in waits:
                self._tell(wait)
            with self._changed:
                self._changed.wait_for(lambda: not self._waits, pause)
            pause = min(2 * pause, _SELDOM_SECONDS)  # who takes the answer may be away for long

    def _tell(self, wait: "_Wait") -> None:
        with wait.telling:
            if wait in self._waits:
                with suppress(Exception):  # it is told again
                    wait.end()


class _Wait:
    """A wait that can be ended. See `ended_by`."""

    def __init__(self, end: Callable[[], None]) -> None:
        self.end, self.telling = end, threading.Lock()
        self._of = _CURRENT.get()

    def __enter__(self) -> Self:
        if self._of:
            self._of.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._of:
            self._of.over(self)
            if error is None:
                self._of.check()


_CURRENT: ContextVar[Cancellation | None] = ContextVar("cancellation", default=None)


def ended_by(end: Callable[[], None]) -> _Wait:
    """A block that `end`, called in another thread and perhaps several times, brings to its end by an error.

    Where that was called, the block ends with an error also if it came too late: an engine that is told to stop just
    now must not be given to somebody else.
    """
    return _Wait(end)


def is_cancelled() -> bool:
    """Whether the answer that this thread works for is wanted no more."""
    current = _CURRENT.get()
    return current is not None and current.is_asked
