"""What DuckDB does for one query, which can be ended: by Ctrl-C, by another thread, or because it takes too long."""

import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Any, Self, TypeVar

import duckdb
import pyarrow as pa

from thermocline.errors import TimeLimitError
from thermocline.ports.cancelling import ended_by, is_cancelled

T = TypeVar("T")

_AGAIN_SECONDS = 0.02
_AT_FIRST = 2


class Work:
    """Calls of one connection, one after the other, in a thread of its own.

    Python can't interrupt a call into DuckDB: Ctrl-C would wait for its end, or leave the connection unusable. So the
    calls are made elsewhere, and whoever waits for one ends it by `interrupt`, after which everything can be used
    again. Between the calls no time is counted: a reader may be as slow as it likes.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, timeout_seconds: float | None = None) -> None:
        """Begin. Without a limit it may take for ever."""
        self.connection = connection
        self._limit, self._left = timeout_seconds, timeout_seconds
        self._changed = threading.Condition()
        self._thread = ThreadPoolExecutor(1, "thermocline-duckdb")
        self._begun: Future[Any] | None = None

    def __enter__(self) -> Self:
        """Hand it over."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End what nobody has waited for, and the thread."""
        if self._begun is not None:
            self._end(self._begun)
        self._thread.shutdown()

    def run(self, call: Callable[[], T]) -> T:
        """What the call returns.

        Raises:
            TimeLimitError: All calls together took longer than they may.
            QueryCancelledError: The answer that this is for was cancelled.
        """
        return self._result(self._begin(call))

    def _begin(self, call: Callable[[], T]) -> "Future[T]":
        future = self._thread.submit(call)
        future.add_done_callback(lambda _: self._tell())
        self._begun = future
        return future

    def _result(self, future: "Future[T]") -> T:
        """As `run`; only the time that somebody waits counts."""
        began = time.monotonic()
        with ended_by(self._tell):
            try:
                with self._changed:
                    in_time = self._changed.wait_for(lambda: future.done() or is_cancelled(), self._left)
            except BaseException:  # Ctrl-C
                self._end(future)
                raise
            if not in_time or is_cancelled():
                self._end(future)
        if not in_time:
            raise self._too_long()
        if self._left is not None:
            self._left = max(self._left - (time.monotonic() - began), 0.0)
        return future.result()

    def batches(self, reader: pa.RecordBatchReader) -> Generator[pa.RecordBatch, None, None]:
        """The batches of a stream."""
        while (batch := self.run(lambda: next(reader, None))) is not None:
            yield batch

    def stream(self, opened: Callable[[], pa.RecordBatchReader]) -> Generator[pa.RecordBatch, None, None]:
        """The batches of a stream that is opened at once, in one call with the first two of them.

        Between two threads every call costs; where others are busy, milliseconds. Most answers are one batch.
        """

        def first() -> tuple[pa.RecordBatchReader, list[pa.RecordBatch]]:
            reader = opened()
            return reader, list(islice(reader, _AT_FIRST))

        return self._stream(self._begin(first))

    def _stream(
        self, begun: "Future[tuple[pa.RecordBatchReader, list[pa.RecordBatch]]]"
    ) -> Generator[pa.RecordBatch, None, None]:
        reader, batches = self._result(begun)
        yield from batches
        if len(batches) == _AT_FIRST:
            yield from self.batches(reader)

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _end(self, future: "Future[Any]") -> None:
        """Have DuckDB stop; an interrupt that comes before the statement itself has begun is forgotten by it."""
        with self._changed:
            while not future.done():
                self.connection.interrupt()
                self._changed.wait(_AGAIN_SECONDS)

    def _too_long(self) -> TimeLimitError:
        msg = (
            f"the lake was read for longer than the {self._limit:g} s that storage.duckdb.timeout_seconds allows one "
            "query; nothing was changed; ask for fewer days, symbols or columns, or raise the setting"
        )
        return TimeLimitError(msg)
