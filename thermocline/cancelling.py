"""Ending what is being read for somebody, from another thread."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from thermocline.errors import CancelledError

_current: "ContextVar[Cancellation | None]" = ContextVar("cancellation", default=None)


class Cancellation:
    """What one question has under way in the stores, so that it can be ended. Any thread may cancel it."""

    def __init__(self) -> None:
        """Nothing is under way."""
        self._lock = threading.Lock()
        self._ends: list[Callable[[], None]] = []
        self._is_cancelled = False

    def cancel(self) -> None:
        """End what is being read, with an error there. What begins later ends at once."""
        with self._lock:
            self._is_cancelled = True
            ends = list(self._ends)
        for end in ends:
            end()

    def check(self) -> None:
        """Go no further than here.

        Raises:
            CancelledError: It was cancelled.
        """
        if self._is_cancelled:
            msg = "the query was cancelled before its last row; nothing was changed, it can be asked again"
            raise CancelledError(msg)

    @contextmanager
    def here(self) -> Iterator[None]:
        """What the block begins to read in this thread belongs to this question."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    @contextmanager
    def ended_by(self, end: Callable[[], None]) -> Iterator[None]:
        """While the block lasts, `end` is called where the question is cancelled, from the thread that does so."""
        with self._lock:
            self._ends.append(end)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._ends.remove(end)


def current() -> Cancellation:
    """That of the question which is being answered in this thread; where nobody can cancel it, one that nobody has."""
    return _current.get() or Cancellation()
