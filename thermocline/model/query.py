"""What is asked, and the route by which it is answered: which days from hot, which objects from cold."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from itertools import groupby

from thermocline.errors import BadRangeError
from thermocline.model.dataset import Dataset
from thermocline.model.partition import ALL_DAYS, DayRange, Partition
from thermocline.model.receipt import Vintage


class Tier(StrEnum):
    """Where a row lives."""

    HOT = "hot"
    COLD = "cold"


@dataclass(frozen=True)
class Query:
    """Rows of one dataset: `[start, end)` in UTC, symbols and intervals (empty: all), columns (empty: all).

    Rows come back ordered by interval, then time, then the rest of the key; `limit` keeps the first so many. With
    `as_of_vintage` each day is answered from the vintage that was live at that instant; rows that were in none then,
    because they were only hot or late, are no part of the answer.
    """

    dataset: Dataset
    start: datetime | None = None
    end: datetime | None = None
    symbols: tuple[str, ...] = ()
    intervals: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    limit: int | None = None
    as_of_vintage: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse unknown columns and a reversed range."""
        for name in self.columns:
            self.dataset.column(name)
        if self.start and self.end and self.start >= self.end:
            msg = f"the start {self.start} is not before the end {self.end}; the end is exclusive"
            raise BadRangeError(msg)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the answer."""
        return self.columns or self.dataset.names

    @property
    def order(self) -> tuple[str, ...]:
        """The columns that the answer is ordered by."""
        return answer_order(self.dataset)

    @cached_property
    def days(self) -> DayRange:
        """Every UTC day that the range touches."""
        first = self.start.astimezone(UTC).date() if self.start else ALL_DAYS.start
        last = (self.end.astimezone(UTC) - timedelta(microseconds=1)).date() if self.end else ALL_DAYS.end
        return DayRange(first, min(last, date(9999, 12, 30)) + timedelta(days=1))

    def wants(self, partition: Partition) -> bool:
        """Whether the partition can hold rows of the answer."""
        return (
            partition.dataset == self.dataset.name
            and partition.day in self.days
            and (not self.intervals or partition.interval in self.intervals)
        )


def answer_order(dataset: Dataset) -> tuple[str, ...]:
    """The order of every answer: interval where there is one, time, then the rest of the key."""
    leading = ("interval", "ts") if dataset.has_intervals else ("ts",)
    return (*leading, *(name for name in dataset.key if name not in leading))


@dataclass(frozen=True)
class Segment:
    """An unbroken run of one interval's days that one tier answers. Cold segments name the vintages that hold them."""

    tier: Tier
    interval: str
    days: tuple[date, ...]
    vintages: tuple[Vintage, ...] = ()

    @property
    def paths(self) -> list[str]:
        """The objects that a cold segment reads, each once."""
        return list(_objects(self.vintages))

    @property
    def size_bytes(self) -> int:
        """The size of the objects that a cold segment may have to read."""
        return sum(_objects(self.vintages).values())


@dataclass(frozen=True)
class Route:
    """Segments in the order of the answer: concatenating their ordered rows gives the ordered answer."""

    query: Query
    segments: tuple[Segment, ...] = field(default=())

    @property
    def vintages(self) -> list[Vintage]:
        """Every vintage that is read, in order."""
        return [vintage for segment in self.segments for vintage in segment.vintages]

    @property
    def paths(self) -> list[str]:
        """The objects that are read, each once, also where a hot day divides the days of one."""
        return list(_objects(self.vintages))

    @property
    def size_bytes(self) -> int:
        """The size of those objects."""
        return sum(_objects(self.vintages).values())


def _objects(vintages: Iterable[Vintage]) -> dict[str, int]:
    """The objects of vintages, each once, and their sizes."""
    return {vintage.receipt.path: vintage.receipt.size_bytes for vintage in vintages}


def plan_route(
    query: Query, *, hot: Collection[Partition], live: Iterable[Vintage], late: Collection[Partition] = ()
) -> Route:
    """Decide, day by day, who answers: hot where the hot set has the day, else the live vintage and late rows.

    A day in the hot set is complete there, so its vintage is never read beside it; no row is answered twice.
    """
    vintages = {vintage.partition: vintage for vintage in live}
    hot_set = frozenset(hot)
    wanted = sorted({p for p in (*hot_set, *vintages, *late) if query.wants(p)}, key=lambda p: (p.interval, p.day))
    segments = []
    for (interval, tier), run in groupby(wanted, key=lambda p: (p.interval, _tier(p, hot_set))):
        partitions: Sequence[Partition] = list(run)
        read = [] if tier is Tier.HOT else [vintages[p] for p in partitions if p in vintages]
        segments.append(Segment(tier, interval, tuple(p.day for p in partitions), tuple(read)))
    return Route(query, tuple(segments))


def _tier(partition: Partition, hot_set: Collection[Partition]) -> Tier:
    return Tier.HOT if partition in hot_set else Tier.COLD
