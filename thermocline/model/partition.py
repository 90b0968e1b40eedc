"""A partition: one dataset (and interval) on one UTC day, the half-open `[start, end)`."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Self

from thermocline.errors import BadRangeError, UsageError
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import dataset_named

if TYPE_CHECKING:
    import pyarrow as pa

_INTERVAL = re.compile(r"([1-9][0-9]{0,3})(sec|min|hour|day|week|month)")
_UNIT_SECONDS = {"sec": 1, "min": 60, "hour": 3_600, "day": 86_400, "week": 604_800}

ONE_DAY = timedelta(days=1)


def midnight(day: date) -> datetime:
    """The instant a UTC day begins."""
    return datetime.combine(day, time(), tzinfo=UTC)


def parse_interval(text: str) -> str:
    """Check the spelling of an interval such as `1min`, `4hour` or `1day`.

    Raises:
        UsageError: The text is not a count followed by sec, min, hour, day, week or month.
    """
    if not is_interval(text):
        msg = f"{text!r} is not an interval; write a count and a unit, such as 1min, 15min, 1hour or 1day"
        raise UsageError(msg)
    return text


def is_interval(text: str) -> bool:
    """Whether an interval is spelled so."""
    return _INTERVAL.fullmatch(text) is not None


def interval_seconds(interval: str) -> int | None:
    """How long a bar of that interval lasts; None where that differs, as that of months does, or it is no interval."""
    match = _INTERVAL.fullmatch(interval)
    unit = _UNIT_SECONDS.get(match[2]) if match else None
    return int(match[1]) * unit if match and unit else None


def parse_day(text: str) -> date:
    """A day from its ISO spelling, `2024-01-15`.

    Raises:
        BadRangeError: The text is not a date.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        msg = f"{text!r} is not a date; write it as YYYY-MM-DD, such as 2024-01-15"
        raise BadRangeError(msg) from None


@dataclass(frozen=True, slots=True)
class DayRange:
    """Days from `start` (inclusive) to `end` (exclusive)."""

    start: date
    end: date

    def __post_init__(self) -> None:
        """Refuse a range without a day in it."""
        if self.start >= self.end:
            msg = f"the start {self.start} is not before the end {self.end}; the end is exclusive"
            raise BadRangeError(msg)

    def __contains__(self, day: object) -> bool:
        """Whether the day lies in the range."""
        return isinstance(day, date) and self.start <= day < self.end

    def __iter__(self) -> Iterator[date]:
        """Every day of the range, in order."""
        for offset in range((self.end - self.start).days):
            yield self.start + timedelta(days=offset)


def hull_of(ranges: Sequence[DayRange]) -> DayRange:
    """The range from the first day of any to the last of any."""
    return DayRange(min(each.start for each in ranges), max(each.end for each in ranges))


ALL_DAYS = DayRange(date(1, 1, 1), date(9999, 12, 31))
"""The range that holds every day a partition can have."""


@dataclass(frozen=True, order=True, slots=True)
class Partition:
    """One dataset, interval (empty where the dataset has none) and UTC day."""

    dataset: str
    interval: str
    day: date

    def __post_init__(self) -> None:
        """Refuse an interval where there is none, and the lack of one where there is."""
        if dataset_named(self.dataset).has_intervals:
            parse_interval(self.interval)
        elif self.interval:
            msg = f"{self.dataset} has no intervals, {self.interval!r} was given"
            raise UsageError(msg)

    @property
    def start(self) -> datetime:
        """The first instant that belongs to the partition."""
        return midnight(self.day)

    @property
    def end(self) -> datetime:
        """The first instant after the partition."""
        return midnight(self.day + ONE_DAY)

    @property
    def series(self) -> tuple[str, str]:
        """The dataset and interval, without the day."""
        return self.dataset, self.interval

    def __str__(self) -> str:
        """`market_data/1day/2024-01-15`, or `news/2024-01-15`."""
        return "/".join(part for part in (self.dataset, self.interval, self.day.isoformat()) if part)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The partition that `str()` wrote.

        Raises:
            UsageError: The text does not name a partition.
        """
        match text.split("/"):
            case [dataset, interval, day]:
                return cls(dataset, interval, parse_day(day))
            case [dataset, day]:
                return cls(dataset, "", parse_day(day))
        msg = f"{text!r} is not a partition; write DATASET/INTERVAL/YYYY-MM-DD or DATASET/YYYY-MM-DD"
        raise UsageError(msg)


def span_of(partitions: Collection[Partition]) -> DayRange:
    """From the first day of any to the last of any."""
    return DayRange(min(each.day for each in partitions), max(each.end.date() for each in partitions))


def chunks(partitions: Sequence[Partition], size: int) -> Iterator[Sequence[Partition]]:
    """The partitions in runs of at most `size`."""
    for start in range(0, len(partitions), size):
        yield partitions[start : start + size]


def whole_years(partitions: Sequence[Partition], size: int) -> Iterator[Sequence[Partition]]:
    """The partitions, in order, in runs that end with a year of theirs: about `size` each, by up to a year more."""
    start = 0
    for at in range(1, len(partitions)):
        before, after = partitions[at - 1], partitions[at]
        same = before.series == after.series and before.day.year == after.day.year
        if at - start >= size and not same:
            yield partitions[start:at]
            start = at
    if partitions:
        yield partitions[start:]


def months_of(partitions: Iterable[Partition]) -> list[DayRange]:
    """The calendar months that have one of the partitions, in order, neighbours as one range."""
    ranges: list[DayRange] = []
    for first in sorted({partition.day.replace(day=1) for partition in partitions}):
        following = (first + 31 * ONE_DAY).replace(day=1)
        if ranges and ranges[-1].end == first:
            ranges[-1] = DayRange(ranges[-1].start, following)
        else:
            ranges.append(DayRange(first, following))
    return ranges


def years_of(partitions: Iterable[Partition]) -> list[DayRange]:
    """The calendar years that have one of the partitions, in order, neighbours as one range."""
    ranges: list[DayRange] = []
    for year in sorted({partition.day.year for partition in partitions}):
        first, following = date(year, 1, 1), date(year + 1, 1, 1) if year < date.max.year else ALL_DAYS.end
        if ranges and ranges[-1].end == first:
            ranges[-1] = DayRange(ranges[-1].start, following)
        else:
            ranges.append(DayRange(first, following))
    return ranges


def partitions_of(dataset: Dataset, rows: "pa.Table") -> list[Partition]:
    """The partitions that a table's rows belong to, in order. The table has the dataset's `ts` and `interval`."""
    import pyarrow as pa  # noqa: PLC0415  # `thermocline --help` shall not pay for it
    import pyarrow.compute as pc  # noqa: PLC0415

    if not len(rows):
        return []
    days = pc.cast(pc.cast(rows["ts"], pa.timestamp("us")), pa.date32(), safe=False)
    intervals = rows["interval"] if dataset.has_intervals else pa.array([""] * len(rows))
    found = pa.table({"interval": intervals, "day": days}).group_by(["interval", "day"]).aggregate([])
    return sorted(Partition(dataset.name, row["interval"], row["day"]) for row in found.to_pylist())


def is_of(rows: "pa.Table | pa.RecordBatch", partition: Partition) -> Any:
    """A mask of the rows that belong to one partition of their dataset."""
    import pyarrow.compute as pc  # noqa: PLC0415  # `thermocline --help` shall not pay for it

    mask = pc.and_(pc.greater_equal(rows["ts"], partition.start), pc.less(rows["ts"], partition.end))
    return pc.and_(mask, pc.equal(rows["interval"], partition.interval)) if partition.interval else mask


def rows_of(rows: "pa.Table", partition: Partition) -> "pa.Table":
    """The rows of a table that belong to one partition, in their order."""
    return rows.filter(is_of(rows, partition))
