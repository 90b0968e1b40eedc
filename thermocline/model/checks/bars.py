"""Bars of one interval as plain arrays, series after series in time order."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

BAR_COLUMNS = ("asset_class", "symbol", "interval", "ts", "open", "high", "low", "close", "volume")
"""The columns that checks read."""

DAY = 86_400_000_000
"""Microseconds of a day."""

TAIL_ROWS = 21
"""How many rows of each series are kept for what comes next: one, and twenty that say what is usual."""

_FEW = 1 << 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Bars:
    """Bars sorted by series, then time. `series` numbers them; `names` has the asset class and symbol of each number.

    Prices are floats: checks look for moves of many percent. `fresh` are the rows that were not there at an earlier
    look; others are neighbours and nothing more. `order` says where each row stood in the tables it comes from.
    """

    interval: str
    names: Sequence[tuple[str, str]]
    series: Integers
    ts: Integers
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    fresh: Flags
    order: Integers

    @classmethod
    def of(cls, before: pa.Table, new: pa.Table) -> "Bars":
        """Bars of one interval: some that were seen before, and what comes after them; each series in time order."""
        table = pa.concat_tables([before, new]).combine_chunks()
        classes, symbols = (pc.dictionary_encode(table[name]).combine_chunks() for name in ("asset_class", "symbol"))
        texts = symbols.dictionary.to_pylist()
        codes = _integers(classes.indices) * max(len(texts), 1) + _integers(symbols.indices)
        present = np.flatnonzero(np.bincount(codes))
        series = np.searchsorted(present, codes)
        names = [
            (classes.dictionary[int(code) // len(texts)].as_py(), texts[int(code) % len(texts)]) for code in present
        ]
        ts = _integers(table["ts"])
        # Sixteen bits are sorted by radix, which takes a tenth of the time. The order of time stays as it is.
        order = np.argsort(series.astype(np.uint16) if len(present) <= _FEW else series, kind="stable")
        floats = {name: _floats(table[name])[order] for name in ("open", "high", "low", "close", "volume")}
        interval = table["interval"][0].as_py() if len(table) else ""
        fresh = (np.arange(len(table)) >= len(before))[order]
        return cls(interval, names, series[order], ts[order], **floats, fresh=fresh, order=order)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.ts)

    @property
    def follows(self) -> Flags:
        """Whether each row follows one of its own series."""
        follows = np.zeros(len(self), dtype=bool)
        follows[1:] = self.series[1:] == self.series[:-1]
        return follows

    def before(self, values: Floats) -> Floats:
        """Each row's value in the row before; it means something only where the row `follows`."""
        return np.concatenate([values[:1], values[:-1]])

    def name(self, row: int) -> tuple[str, str]:
        """The asset class and symbol of a row."""
        return self.names[int(self.series[row])]

    def instant(self, row: int) -> datetime:
        """The time of a row."""
        return instant(int(self.ts[row]))


def tail_of(bars: Bars, table: pa.Table) -> pa.Table:
    """Of the table that the bars were made of, the rows that what comes next may need as neighbours.

    The last rows of each series, and all of its last two days.
    """
    if not len(bars):
        return table
    last = np.append(np.flatnonzero(~bars.follows)[1:], len(bars)) - 1
    end = last[bars.series]
    days = bars.ts // DAY
    starts = bars.follows & (days != np.concatenate([days[:1], days[:-1]])) | ~bars.follows
    number = np.cumsum(starts)
    kept = (end - np.arange(len(bars)) < TAIL_ROWS) | (number[end] - number <= 1)
    return table.take(pa.array(np.sort(bars.order[kept])))


def instant(microseconds: int) -> datetime:
    """A number of microseconds since 1970 as a time in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def microseconds(at: datetime) -> int:
    """A time as microseconds since 1970."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def _integers(array: pa.Array | pa.ChunkedArray) -> Integers:
    return np.asarray(pc.cast(array, pa.int64()), dtype=np.int64)


def _floats(array: pa.ChunkedArray) -> Floats:
    return np.asarray(pc.cast(array, pa.float64()), dtype=np.float64)
