"""Which closed months and years lie in several objects and are small enough to become one, from the ledger alone.

A month is closed when rotation would take every day of it and none of its days is hot, has late rows, or waits for a
person; a year when each of its months is. A year whose objects are together no larger than the target is brought
together as a year, at once, so that nothing is written first as a month and then as a year; else those of its months
are that are small enough. Days that lie in the object of a year already are left to it.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import groupby
from typing import Any

from thermocline.model.dataset import Dataset
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS, ONE_DAY, DayRange, Partition, years_of
from thermocline.model.paths import spans_a_year
from thermocline.model.receipt import Receipt, VintageState, by_object
from thermocline.ports import Hot

TARGET_BYTES = 128 << 20
"""What the objects of a month or year may have together so that they are brought together."""


@dataclass(frozen=True)
class Period:
    """A closed month or year of one interval whose days lie in several objects.

    `start` is the first day of the month or year, `path` the object that took their place.
    """

    dataset: str
    interval: str
    start: date
    is_year: bool
    receipts: Sequence[Receipt] = field(repr=False)
    path: str | None = None

    def __str__(self) -> str:
        """`2024-01`, or `2024`."""
        return f"{self.start:%Y}" if self.is_year else f"{self.start:%Y-%m}"

    @property
    def first(self) -> Partition:
        """Its first partition."""
        return self.receipts[0].partition

    @property
    def rows(self) -> int:
        """The rows of all its days."""
        return sum(receipt.contents.rows for receipt in self.receipts)

    @property
    def paths(self) -> Collection[str]:
        """The objects that its days lie in."""
        return by_object(self.receipts).keys()

    @property
    def objects(self) -> int:
        """How many objects its days lie in."""
        return len(self.paths)

    @property
    def size_bytes(self) -> int:
        """The size of those objects."""
        return sum(receipts[0].size_bytes for receipts in by_object(self.receipts).values())

    @property
    def identity(self) -> tuple[str, date, bool]:
        """Which it is of its dataset, whatever its days lie in."""
        return self.interval, self.start, self.is_year

    def document(self) -> dict[str, Any]:
        """The period as one flat JSON object."""
        return {
            "dataset": self.dataset,
            "interval": self.interval or None,
            "period": str(self),
            "days": len(self.receipts),
            "rows": self.rows,
            "objects": self.objects,
            "bytes": self.size_bytes,
            "path": self.path,
        }


def due_periods(
    hot: Hot,
    dataset: Dataset,
    lifecycle: Lifecycle,
    *,
    as_of: date,
    days: DayRange = ALL_DAYS,
    intervals: Collection[str] = (),
    target_bytes: int = TARGET_BYTES,
) -> list[Period]:
    """The months and years that are due to be brought together, of those that have one of the days."""
    found = hot.live(dataset, days, intervals)
    chosen = {_month(vintage.partition) for vintage in found}
    busy = _busy_months(hot, dataset)
    due: list[Period] = []
    for years in years_of(Partition(dataset.name, interval, month) for interval, month in chosen):
        whole = found if days == ALL_DAYS else hot.live(dataset, years, intervals)
        receipts = [vintage.receipt for vintage in whole if vintage.partition.day in years]
        for year in _periods(dataset, receipts, is_year=True):
            is_small = year.objects > 1 and year.size_bytes <= target_bytes
            if is_small and _spans_months(year) and _is_closed(year, lifecycle, busy, as_of) and _any(year, chosen):
                due.append(year)
                continue
            loose = [receipt for receipt in year.receipts if not spans_a_year(receipt.path)]
            due += [
                month
                for month in _periods(dataset, loose, is_year=False)
                if month.objects > 1
                and month.size_bytes <= target_bytes
                and _is_closed(month, lifecycle, busy, as_of)
                and _any(month, chosen)
            ]
    return sorted(due, key=lambda period: period.identity)


def due_paths(
    hot: Hot,
    dataset: Dataset,
    lifecycle: Lifecycle,
    *,
    as_of: date,
    target_bytes: int = TARGET_BYTES,
    archived: Collection[str] = (),
) -> frozenset[str]:
    """The objects that are due to be brought together with others, from the ledger alone.

    A period with an object among the `archived` ones is left alone by compaction, so that none of it is due.
    """
    periods = due_periods(hot, dataset, lifecycle, as_of=as_of, target_bytes=target_bytes)
    never = frozenset(archived)
    return frozenset(path for period in periods if never.isdisjoint(period.paths) for path in period.paths)


def _month(partition: Partition) -> tuple[str, date]:
    return partition.interval, partition.day.replace(day=1)


def _any(period: Period, months: Collection[tuple[str, date]]) -> bool:
    return any(_month(receipt.partition) in months for receipt in period.receipts)


def _spans_months(year: Period) -> bool:
    return _month(year.receipts[0].partition) != _month(year.receipts[-1].partition)


def _busy_months(hot: Hot, dataset: Dataset) -> set[tuple[str, date]]:
    """The months in which something is going on: hot days, late rows, vintages that wait for a person."""
    partitions = {day.partition for day in hot.hot_days(dataset)} | hot.late(dataset).keys()
    held = hot.vintages(dataset, ALL_DAYS, states=[VintageState.HELD])
    return {_month(partition) for partition in partitions | {vintage.partition for vintage in held}}


def _is_closed(period: Period, lifecycle: Lifecycle, busy: Collection[tuple[str, date]], as_of: date) -> bool:
    following = (period.start + (366 if period.is_year else 31) * ONE_DAY).replace(day=1)
    if not lifecycle.is_due(replace(period.first, day=following - ONE_DAY), as_of):
        return False
    return not any(interval == period.interval and period.start <= month < following for interval, month in busy)


def _periods(dataset: Dataset, receipts: Sequence[Receipt], *, is_year: bool) -> Iterator[Period]:
    """Receipts of one dataset by interval and calendar month or year."""

    def key(receipt: Receipt) -> tuple[str, date]:
        interval, month = _month(receipt.partition)
        return interval, month.replace(month=1) if is_year else month

    ordered = sorted(receipts, key=lambda receipt: (key(receipt), receipt.partition))
    for (interval, start), group in groupby(ordered, key):
        yield Period(dataset.name, interval, start, is_year, list(group))
