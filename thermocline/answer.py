"""Rows that were asked for, in the form that suits whoever asks."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
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
        self.missing = tuple(missing)

    def batches(self) -> "AbstractContextManager[pa.RecordBatchReader]":
        """A stream of record batches of bounded size, to be read inside a `with` block."""
        return self._opened()

    def to_arrow(self) -> "pa.Table":
        """An Arrow table: prices as exact decimals, times in microseconds UTC."""
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
