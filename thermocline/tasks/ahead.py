"""Reading one tier while another one is being read."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import pyarrow as pa

AHEAD_BYTES = 32 << 20
_UNTIL_CANCELLED_SECONDS = 0.002
_UNTIL_CANCELLED_AGAIN_SECONDS = 0.1


class ReadAhead:
    """A stream of record batches that a thread of its own opens, reads and closes, ahead of whoever takes them.

    It stays at most a batch more than `ahead_bytes` ahead. What goes wrong there is raised to whoever takes the next
    batch, after those that came before. `close` it in the end: it returns when the stream is closed.
    """

    def __init__(
        self,
        opened: Callable[[], "AbstractContextManager[Iterable[pa.RecordBatch]]"],
        cancel: Callable[[], None],
        *,
        ahead_bytes: int = AHEAD_BYTES,
    ) -> None:
        """Begin to read. `cancel` is called, by whoever closes, to end a read that nobody waits for any more."""
        self._opened = opened
        self._cancel = cancel
        self._most_bytes = ahead_bytes
        self._changed = threading.Condition()
        self._waiting: deque[pa.RecordBatch] = deque()
        self._ahead_bytes = 0
        self._is_over = False
        self._is_left = False
        self._error: BaseException | None = None
        # What the caller's context says, as of what comes from a cache, holds there too.
        reading = partial(copy_context().run, self._read)
        self._thread = threading.Thread(target=reading, name="thermocline-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> "Iterator[pa.RecordBatch]":
        """The batches, in order."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_over)
                if not self._waiting:
                    break
                batch = self._waiting.popleft()
                self._ahead_bytes -= batch.nbytes
                self._changed.notify_all()
            yield batch
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Leave what was not taken, and wait for the stream to be closed."""
        with self._changed:
            self._is_left = True
            self._waiting.clear()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_over, _UNTIL_CANCELLED_SECONDS)
        while not self._is_over:
            self._cancel()
            # It may have come before the read that it was for.
            self._thread.join(_UNTIL_CANCELLED_AGAIN_SECONDS)
        self._thread.join()

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            with self._opened() as reader:
                for batch in reader:
                    if not self._take(batch):
                        break
        except BaseException as raised:  # noqa: BLE001  # it is raised again, to whoever takes the batches
            error = raised
        with self._changed:
            self._error = error
            self._is_over = True
            self._changed.notify_all()

    def _take(self, batch: "pa.RecordBatch") -> bool:
        """Put a batch aside once there is room for it; False where nobody wants any more."""
        with self._changed:
            self._waiting.append(batch)
            self._ahead_bytes += batch.nbytes
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._ahead_bytes < self._most_bytes or self._is_left)
            return not self._is_left
