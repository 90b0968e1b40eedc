"""When a partition is hot and when it is due to leave: arithmetic on days, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Self

from thermocline.model.partition import Partition
from thermocline.model.restatement import RestatementRule


@dataclass(frozen=True)
class Lifecycle:
    """How long rows stay hot.

    `hot_intervals` maps an interval that may be hot to its window in days, or to None for the default `hot_days`;
    intervals it does not name live in the lake only. Datasets without intervals are always eligible. `windows`
    overrides the default for a whole dataset. `rotation_memory_mib` is what a rotation may take beside what the
    program takes anyway. `restatements` says which of them wait for a person.
    """

    hot_days: int = 30
    hot_intervals: Mapping[str, int | None] = field(default_factory=lambda: {"1day": None})
    windows: Mapping[str, int] = field(default_factory=dict)
    archive_on_backfill: bool = True
    undo_days: int = 7
    rotation_memory_mib: int = 256
    restatements: RestatementRule = field(default_factory=RestatementRule)

    def with_hot_days(self, hot_days: int | None) -> Self:
        """The same with that one window for everything, or itself when None."""
        if hot_days is None:
            return self
        return replace(self, hot_days=hot_days, hot_intervals=dict.fromkeys(self.hot_intervals), windows={})

    def window_days(self, dataset: str, interval: str) -> int:
        """How many days before today the series stays hot once it is there."""
        default = self.windows.get(dataset, self.hot_days)
        return self.hot_intervals.get(interval) or default

    def longest_days(self, dataset: str) -> int:
        """How many days before today stays hot what of a dataset is hot for the longest."""
        return max(self.window_days(dataset, interval) for interval in ("", *self.hot_intervals))

    def first_hot_day(self, dataset: str, interval: str, as_of: date) -> date:
        """The oldest day that stays hot as of a day; every earlier one is due to leave."""
        return as_of - timedelta(days=self.window_days(dataset, interval))

    def is_hot(self, partition: Partition, as_of: date) -> bool:
        """Whether load brings the partition to hot. There is no upper bound: tomorrow is hot too."""
        eligible = not partition.interval or partition.interval in self.hot_intervals
        return eligible and not self.is_due(partition, as_of)

    def is_due(self, partition: Partition, as_of: date, until: date | None = None) -> bool:
        """Whether rotation takes the partition out of hot; not before the day `until`, where one was said."""
        if until is not None and as_of < until:
            return False
        return partition.day < self.first_hot_day(partition.dataset, partition.interval, as_of)
