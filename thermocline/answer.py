"""Rows that were asked for, in the form that suits whoever asks."""

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from thermocline.errors import QueryCancelledError, ThermoclineError
from thermocline.ports.cancelling import Cancellation, ended_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import date

    import pandas as pd
    import pyarrow as pa


class Answer:
    """Rows that were asked for. Each method asks anew, so an answer can be taken in more than one form.

    `missing` are the days that lack bars which there should be; only `fetch` looks for them.
    """

    def __init__(
        self,
        opened: "Callable[[], AbstractContextManager[pa.RecordBatchReader]]",
        missing: "Sequence[date]" = (),
    ) -> None:
        """Take what opens the stream."""
        self._opened = opened
        self._cancellation = Cancellation()
        self.missing = tuple(missing)

    def cancel(self) -> None:
        """End the taking of this answer, from another thread: whoever takes it gets a `QueryCancelledError`.

        It returns at once, whatever either engine is doing; they are stopped, and what they held is given back. Who
        takes the answer later gets the same error; a new query gives a new one. Again, or with nothing going on, it
        does no harm.
        """
        self._cancellation.cancel()

    @contextmanager
    def batches(self) -> "Iterator[pa.RecordBatchReader]":
        """A stream of record batches of bounded size, to be read inside a `with` block.

        Raises:
            QueryCancelledError: Somebody called `cancel`.
        """
        import pyarrow as pa  # noqa: PLC0415  # `import thermocline` shall not pay for it

        with self._told(), ExitStack() as stack:
            # An answer may be made of another one.
            stack.enter_context(ended_by(self.cancel))
            with self._cancellation.current():
                self._cancellation.check()
                reader = stack.enter_context(self._opened())
            yield pa.RecordBatchReader.from_batches(reader.schema, self._passed(reader))

    def _passed(self, reader: "pa.RecordBatchReader") -> "Iterator[pa.RecordBatch]":
        """The batches. Between them nothing of this answer is going on in the thread that takes it."""
        while True:
            with self._told(anything=True), self._cancellation.current():
                self._cancellation.check()
                batch = next(reader, None)
            if batch is None:
                return
            yield batch

    @contextmanager
    def _told(self, *, anything: bool = False) -> "Iterator[None]":
        """Say of what an engine says when it is stopped that it was stopped."""
        try:
            yield
        except QueryCancelledError:
            raise
        except Exception as error:
            # Of other kinds are those of whoever takes the answer.
            if anything or isinstance(error, ThermoclineError):
                self._refuse(error)
            raise

    def _refuse(self, error: Exception) -> None:
        try:
            self._cancellation.check()
        except QueryCancelledError as refused:
            raise refused from error

    def to_arrow(self) -> "pa.Table":
        """An Arrow table: prices as exact decimals, times in microseconds UTC.

        Raises:
            QueryCancelledError: Somebody called `cancel`.
        """
        with self._told(anything=True), self._cancellation.current():
            self._cancellation.check()
            with self._opened() as reader:
                return reader.read_all()

    def to_pandas(self, *, exact: bool = False) -> "pd.DataFrame":
        """A DataFrame: prices as float64, or as `decimal.Decimal` when `exact`; times as UTC timestamps."""
        import pyarrow as pa  # noqa: PLC0415  # `import thermocline` shall not pay for it

        table = self.to_arrow()
        if not exact:
            floats = [
                pa.field(f.name, pa.float64()) if pa.types.is_decimal(f.type) else f.with_nullable(nullable=True)
                for f in table.schema
            ]
            table = table.cast(pa.schema(floats))
        frame: pd.DataFrame = table.to_pandas()
        return frame
