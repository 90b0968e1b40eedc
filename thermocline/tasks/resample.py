"""Resample: bars of a coarser size, made where the bars are, and right at the bounds of sessions.

Each tier puts its bars together by slots of time that no session begins or ends in, which is arithmetic on the clock of
UTC and needs no calendar. Only these few are then given to the bars of the answer, by the calendar of each symbol.
"""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

from thermocline.model.calendars import ALWAYS, CalendarRules
from thermocline.model.partition import ONE_DAY, DayRange, midnight
from thermocline.ports import Calendars, Hot, Lake, Snapshot
from thermocline.tasks.aggregate import merged_in
from thermocline.tasks.query import route_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import numpy as np
    import pyarrow as pa

    from thermocline.model.aggregates import Aggregation
    from thermocline.model.resampling import Placed, Resampling
    from thermocline.model.sessions import Numbers, Sessions

_FEW_SYMBOLS = 20
_DAYS_AT_ONCE = 100
_MICROSECONDS = 1_000_000
_BATCH_ROWS = 65_536


@contextmanager
def resample(
    hot: Hot, lake: Lake, asked: "Resampling", calendars: Calendars, rules: CalendarRules
) -> "Iterator[pa.RecordBatchReader]":
    """The bars that are asked for, in order of time and key, as a stream of record batches; read it inside the block.

    Of more than a few symbols some months are put together at once, so that memory does not grow with the years.

    Raises:
        ArchivedError: An object that it needs must be restored first.
        UsageError: There are bars of days that their exchange's calendar does not know.
    """
    import pyarrow as pa  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it

    from thermocline.model.resampling import schema_of  # noqa: PLC0415  # it brings Arrow

    read = asked.aggregation(asked.slot_seconds).query
    with hot.snapshot([read.dataset], read.days, read.intervals) as snapshot:
        batches = _batches(snapshot, lake, asked, _Exchanges(calendars, rules))
        try:
            yield pa.RecordBatchReader.from_batches(schema_of(asked.names), batches)
        finally:
            batches.close()


def _batches(
    snapshot: Snapshot, lake: Lake, asked: "Resampling", exchanges: "_Exchanges"
) -> "Generator[pa.RecordBatch, None, None]":
    remaining = asked.query.limit
    slot_seconds = asked.slot_seconds
    for part in _parts(snapshot, asked):
        bars, slot_seconds = _bars(snapshot, lake, part, exchanges, slot_seconds)
        bars = bars if remaining is None else bars.slice(0, remaining)
        yield from bars.to_batches(max_chunksize=_BATCH_ROWS)
        if remaining is not None and (remaining := remaining - len(bars)) <= 0:
            return


def _parts(snapshot: Snapshot, asked: "Resampling") -> "Iterator[Resampling]":
    """The question in parts of some months each, where it is about more than a few symbols."""
    query = asked.query
    days = [day for each in route_of(snapshot, asked.aggregation(1).query).segments for day in each.days]
    if not days or 0 < len(query.symbols) <= _FEW_SYMBOLS:
        yield asked
        return
    # A bar may carry a date that is not the day its bars open on, a month's that of its first day.
    first, last = min(days) - 32 * ONE_DAY, max(days) + 2 * ONE_DAY
    start, end = query.start or midnight(first), query.end or midnight(last)
    start, end = max(start, midnight(first)), min(end, midnight(last))
    while start < end:
        following = min(start + timedelta(days=_DAYS_AT_ONCE), end)
        yield replace(asked, query=replace(query, start=start, end=following))
        start = following


def _bars(
    snapshot: Snapshot, lake: Lake, asked: "Resampling", exchanges: "_Exchanges", slot_seconds: int
) -> "tuple[pa.Table, int]":
    """The bars, and in what slots they were asked for."""
    from thermocline.model.partials import finished, regrouped  # noqa: PLC0415  # it brings Arrow
    from thermocline.model.resampling import bars_of  # noqa: PLC0415

    while True:
        aggregation = asked.aggregation(slot_seconds)
        groups = merged_in(snapshot, lake, aggregation).groups()
        placing = _Placing(asked, exchanges, aggregation, groups)
        if placing.slot_seconds == slot_seconds:
            break
        slot_seconds = placing.slot_seconds
    placed = placing.placed()
    measured = finished(aggregation, regrouped(aggregation, groups, placed.opens * _MICROSECONDS, placed.kept))
    return bars_of(asked, measured), slot_seconds


@dataclass(frozen=True)
class _Exchanges:
    """Which sessions symbols have."""

    calendars: Calendars
    rules: CalendarRules

    def name_of(self, asset_class: str, symbol: str) -> str:
        """The symbol's calendar; what has none is taken to trade around the clock."""
        return self.rules.of(asset_class, symbol) or ALWAYS

    def sessions(self, name: str, days: DayRange) -> "Sessions":
        """The sessions around those days."""
        wide = DayRange(max(days.start, date.min + 10 * ONE_DAY) - 9 * ONE_DAY, days.end + 9 * ONE_DAY)
        found = self.calendars.sessions(name, wide)
        return found.during([wide])


class _Placing:
    """The slots of some groups, and the sessions of each of their symbols."""

    def __init__(
        self, asked: "Resampling", exchanges: _Exchanges, aggregation: "Aggregation", groups: "pa.Table"
    ) -> None:
        """Find out which calendars there are."""
        import numpy as np  # noqa: PLC0415  # as above
        import pyarrow as pa  # noqa: PLC0415

        from thermocline.model.resampling import DAY, smallest_slot  # noqa: PLC0415
        from thermocline.model.sessions import DAY_SECONDS, day_of  # noqa: PLC0415

        self._asked = asked
        self.slots: Numbers = groups["bucket"].cast(pa.int64()).to_numpy() // _MICROSECONDS
        self.slot_seconds = aggregation.every_seconds or 1
        self._sessions: list[tuple[np.ndarray, Sessions]] = []
        if asked.interval == DAY or not len(groups):
            return
        names = _calendar_names(exchanges, groups)
        for name in sorted(set(names)):
            rows = np.flatnonzero(names == name)
            first, last = (int(each) // DAY_SECONDS for each in (self.slots[rows].min(), self.slots[rows].max()))
            sessions = exchanges.sessions(name, DayRange(day_of(first), day_of(last + 1)))
            self._sessions.append((rows, sessions))
            self.slot_seconds = smallest_slot(asked, sessions, self.slot_seconds)

    def placed(self) -> "Placed":
        """To which bar each slot belongs."""
        import numpy as np  # noqa: PLC0415

        from thermocline.model.resampling import DAY, Placed, placed, placed_days  # noqa: PLC0415

        if self._asked.interval == DAY:
            return placed_days(self._asked, self.slots)
        opens, kept = np.zeros_like(self.slots), np.zeros(len(self.slots), dtype=np.bool_)
        for rows, sessions in self._sessions:
            found = placed(self._asked, sessions, self.slots[rows])
            opens[rows], kept[rows] = found.opens, found.kept
        return Placed(opens, kept)


def _calendar_names(exchanges: _Exchanges, groups: "pa.Table") -> "np.ndarray":
    """The calendar of each line."""
    import numpy as np  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    encoded = pc.dictionary_encode(
        pc.binary_join_element_wise(groups["key_0"], groups["key_1"], "\x1f")
    ).combine_chunks()
    pairs = (text.split("\x1f", 1) for text in encoded.dictionary.to_pylist())
    names = np.array([exchanges.name_of(*pair) for pair in pairs], dtype=object)
    found: np.ndarray = names[encoded.indices.to_numpy()]
    return found
