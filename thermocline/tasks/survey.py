"""Survey: count the rows that are there, of both tiers, series by series and day by day."""

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thermocline.model.dataset import Dataset
from thermocline.model.partition import ALL_DAYS, DayRange, midnight, span_of
from thermocline.model.query import Query, Segment, Tier, plan_route
from thermocline.ports import Analytics, Hot, Lake, Relation, Snapshot
from thermocline.tasks.expected import Expectations

if TYPE_CHECKING:
    import pyarrow as pa

    from thermocline.model.coverage.states import Series
    from thermocline.model.sessions import Expectation, Numbers

_MICROSECONDS = 1_000_000
_DAY_SECONDS = 86_400


def intervals_there(hot: Hot, dataset: Dataset) -> dict[str, DayRange]:
    """The intervals of which there are rows, and the days of the first and the last."""
    with hot.snapshot([dataset], ALL_DAYS) as snapshot:
        partitions = {*snapshot.hot, *(vintage.partition for vintage in snapshot.live), *snapshot.late}
    days: dict[str, list[Any]] = {}
    for partition in partitions:
        if partition.dataset == dataset.name:
            days.setdefault(partition.interval, []).append(partition)
    return {interval: span_of(some) for interval, some in sorted(days.items())}


@dataclass(frozen=True)
class Survey:
    """Counts rows; what counts on a day is told by the expectations."""

    hot: Hot
    lake: Lake
    analytics: Analytics
    expectations: Expectations

    def count(
        self, dataset: Dataset, interval: str, days: DayRange, symbols: Collection[str] = ()
    ) -> "dict[Series, tuple[Numbers, Numbers]]":
        """For each series the days that have rows, counted from the epoch and in order, and how many count there.

        On a day with sessions those count that open in one; on any other, all.
        """
        from thermocline.model.sessions import seconds_of  # noqa: PLC0415  # numpy

        with self._relation(dataset, interval, days, symbols) as relation:
            calendars: list[str] = []
            if seconds_of(interval) is not None:
                # Only then can rows lie outside of a session, and which calendars matter must be known before.
                names = self.analytics.instruments(relation, symbols)
                calendars = self._calendars(dataset, interval, names)
            expected = [self.expectations.by_calendar(name, interval, days) for name in calendars]
            counted = self.analytics.counts(relation, _spans(expected, days), symbols).sort_by(
                [("asset_class", "ascending"), ("symbol", "ascending"), ("day", "ascending")]
            )
        found = {}
        for series, at in _groups(counted, dataset, interval):
            name = self.expectations.calendar_of(series)
            there = f"there_{calendars.index(name)}" if name in calendars else None
            wanted = expected[calendars.index(name)] if name in calendars else None
            found[series] = _counts(counted.slice(at.start, at.stop - at.start), there, wanted, interval)
        return found

    def _calendars(self, dataset: Dataset, interval: str, names: Sequence[tuple[str, str]]) -> list[str]:
        from thermocline.model.coverage.states import Series  # noqa: PLC0415  # numpy

        series = (Series(dataset.name, asset_class, symbol, interval) for asset_class, symbol in names)
        return sorted({name for each in series if (name := self.expectations.calendar_of(each))})

    @contextmanager
    def _relation(
        self, dataset: Dataset, interval: str, days: DayRange, symbols: Collection[str]
    ) -> Iterator[Relation]:
        """The rows of an interval in one consistent look at both tiers; of those that are hot their keys alone."""
        asked = Query(
            dataset,
            midnight(days.start),
            midnight(days.end),
            tuple(sorted(symbols)),
            (interval,) if interval else (),
            tuple(dict.fromkeys((*dataset.key, dataset.symbol_column))),
        )
        with self.hot.snapshot([dataset], days, asked.intervals) as snapshot:
            route = plan_route(asked, hot=snapshot.hot, live=snapshot.live, late=snapshot.late)
            segments = [segment for segment in route.segments if segment.tier is Tier.HOT]
            cold = {day for segment in route.segments if segment.tier is Tier.COLD for day in segment.days}
            late = snapshot.late_rows(asked) if any(p.day in cold and asked.wants(p) for p in snapshot.late) else None
            # Late rows of days that are hot don't exist, those of other days and intervals were not asked for.
            locations = self.lake.locations(route.vintages)
            with self.lake.readable(vintage.receipt for vintage in route.vintages):
                yield Relation(dataset, locations, late, lambda: _hot_keys(snapshot, asked, segments))


def _groups(counted: "pa.Table", dataset: Dataset, interval: str) -> "Iterator[tuple[Series, slice]]":
    """Each series of a sorted table, and where its lines are."""
    import numpy as np  # noqa: PLC0415  # as above

    from thermocline.model.coverage.states import Series  # noqa: PLC0415  # as above

    if not len(counted):
        return
    asset_classes, symbols = counted["asset_class"].to_numpy(), counted["symbol"].to_numpy()
    begins = (asset_classes[1:] != asset_classes[:-1]) | (symbols[1:] != symbols[:-1])
    starts = np.flatnonzero(np.concatenate([[True], begins])).tolist()
    for low, high in zip(starts, [*starts[1:], len(counted)], strict=True):
        yield Series(dataset.name, asset_classes[low], symbols[low], interval), slice(low, high)


def _counts(
    counted: "pa.Table", there: str | None, expected: "Expectation | None", interval: str
) -> "tuple[Numbers, Numbers]":
    """The days of a series and how many of its rows count on each."""
    import numpy as np  # noqa: PLC0415  # as above

    from thermocline.model.sessions import bucket_of  # noqa: PLC0415  # as above

    days, rows = counted["day"].to_numpy(), counted["rows"].to_numpy()
    if there is not None and expected is not None:
        is_session = expected.counts[np.clip(days - expected.first, 0, len(expected.counts) - 1)] > 0
        return days, np.where(is_session, counted[there].to_numpy(), rows)
    buckets = bucket_of(interval, days)
    starts = np.flatnonzero(np.concatenate([[True], buckets[1:] != buckets[:-1]]))
    return buckets[starts], np.add.reduceat(rows, starts)


@contextmanager
def _hot_keys(snapshot: Snapshot, asked: Query, segments: Sequence[Segment]) -> "Iterator[pa.RecordBatchReader]":
    import pyarrow as pa  # noqa: PLC0415  # as above

    def stream() -> "Generator[pa.RecordBatch, None, None]":
        for segment in segments:
            with snapshot.scan(asked, segment) as reader:
                yield from reader

    batches = stream()
    schema = pa.schema([asked.dataset.column(name).arrow_field for name in asked.names])
    try:
        yield pa.RecordBatchReader.from_batches(schema, batches)
    finally:
        batches.close()


def _spans(expected: "Sequence[Any]", days: DayRange) -> "pa.Table":
    """The spans of some calendars as `Analytics.counts` takes them."""
    import pyarrow as pa  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it

    lines: dict[int, dict[str, int]] = {}
    columns = {"day": pa.int64(), "counted": pa.int64()}
    for number, calendar in enumerate(expected):
        if calendar is None:
            continue
        within = calendar.within(days)
        places: dict[int, int] = {}
        for counted, start, end in zip(
            within.span_days.tolist(), within.span_starts.tolist(), within.span_ends.tolist(), strict=True
        ):
            for day in range(start // _DAY_SECONDS, -(-end // _DAY_SECONDS)):
                place = places[day] = places.get(day, -1) + 1
                line = lines.setdefault(day, {"day": day, "counted": counted})
                line[f"from_{number}_{place}"] = start * _MICROSECONDS
                line[f"to_{number}_{place}"] = end * _MICROSECONDS
                columns[f"from_{number}_{place}"] = columns[f"to_{number}_{place}"] = pa.int64()
        if not places:
            columns[f"from_{number}_0"] = columns[f"to_{number}_0"] = pa.int64()
    return pa.Table.from_pylist(list(lines.values()), pa.schema(list(columns.items())))
