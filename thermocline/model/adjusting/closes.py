"""The raw close of the session before a day, found in a stream of bars that is not kept."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from thermocline.model.dataset import PRECISION, Dataset, Kind
from thermocline.model.instruments import Span, ZoneOf
from thermocline.model.series import Series, series_of, ticks

Key = TypeVar("Key", bound=Hashable)

Integers = npt.NDArray[np.int64]

_PER_UNIT = 10 ** PRECISION[Kind.PRICE][1]
_NEVER = -(2**63)


@dataclass(frozen=True, slots=True)
class Close:
    """A raw close, and how long before the day its bar began."""

    price: Fraction
    age: timedelta


class ClosesBefore(Generic[Key]):
    """Looks at batches of bars, in any order, and keeps for each key the last close before its day."""

    def __init__(self, wanted: Mapping[Key, tuple[date, Sequence[tuple[str, str, Span]]]], *, zone_of: ZoneOf) -> None:
        """Take for each key its day, and the asset class, symbol and days under which its bars are found."""
        self._keys = list(wanted)
        self._days = [day for day, _ in wanted.values()]
        self._zone_of = zone_of
        self._at = np.full(len(self._keys), _NEVER, dtype=np.int64)
        self._age = np.zeros(len(self._keys), dtype=np.int64)
        self._close = np.zeros(len(self._keys), dtype=np.int64)
        self._slots: dict[tuple[str, str], dict[Span, list[int]]] = {}
        for slot, (_, spans) in enumerate(wanted.values()):
            for asset_class, symbol, span in spans:
                if span.start < self._days[slot]:
                    self._slots.setdefault((asset_class, symbol), {}).setdefault(span, []).append(slot)
        for spans_of_symbol in self._slots.values():
            for slots in spans_of_symbol.values():
                slots.sort(key=lambda slot: self._days[slot])

    def look_at(self, batch: pa.RecordBatch, dataset: Dataset) -> None:
        """Take note of the closes of a batch, whose rows are in the order of time."""
        instants = ticks(batch)
        column = batch.column("close")
        whole = column.view(pa.decimal128(column.type.precision, 0))
        closes = whole.cast(pa.int64()).to_numpy(zero_copy_only=False)
        for series, rows in series_of(batch, dataset):
            for span, slots in self._slots.get((series.asset_class, series.symbol), {}).items():
                self._look(series, span, np.array(slots), instants[rows], closes[rows])

    def _look(self, series: Series, span: Span, slots: Integers, instants: Integers, closes: Integers) -> None:
        """For each bar, the first day after it; of the bars before one day the last."""
        days = np.array([series.begins(self._days[slot], self._zone_of) for slot in slots.tolist()], dtype=np.int64)
        inside = (instants >= series.begins(span.start, self._zone_of)) & (
            instants < series.begins(span.end, self._zone_of)
        )
        instants, closes = instants[inside], closes[inside]
        after = np.searchsorted(days, instants, side="right")
        kept = after < len(days)
        last = np.flatnonzero(kept & np.append(after[1:] != after[:-1], True))
        found, at = slots[after[last]], instants[last]
        newer = at > self._at[found]
        found = found[newer]
        self._at[found], self._close[found] = at[newer], closes[last][newer]
        self._age[found] = days[after[last]][newer] - at[newer]

    def found(self) -> dict[Key, Close]:
        """The closes, for the keys before whose day there is a bar."""
        return {
            key: Close(Fraction(int(close), _PER_UNIT), timedelta(microseconds=int(age)))
            for key, at, age, close in zip(self._keys, self._at, self._age, self._close, strict=True)
            if at != _NEVER
        }
