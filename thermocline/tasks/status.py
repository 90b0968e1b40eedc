"""Status: what is where, and what is due."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from thermocline.model.dataset import Dataset
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS, ONE_DAY
from thermocline.model.receipt import VintageState
from thermocline.ports import Hot


@dataclass(frozen=True)
class SeriesStatus:
    """One dataset and interval. `first` and `last` span both tiers; `watermark` is the first day of the newest hot run.

    `cold_rows` and `cold_bytes` count live vintages, those of days that are hot as well too. `kept_partitions` are old
    enough to leave but were brought back for a time that is not over; `trouble_partitions` could not be done.
    """

    dataset: str
    interval: str
    hot_rows: int
    hot_bytes: int
    hot_days: int
    cold_rows: int
    cold_bytes: int
    cold_days: int
    late_rows: int
    held_partitions: int
    first: date | None
    last: date | None
    watermark: date | None
    due_partitions: int
    kept_partitions: int
    undoable_partitions: int
    last_rotation: datetime | None
    trouble_partitions: int = 0

    def document(self) -> dict[str, Any]:
        """The line as JSON."""
        return {
            "dataset": self.dataset,
            "interval": self.interval or None,
            "hot_rows": self.hot_rows,
            "hot_bytes": self.hot_bytes,
            "hot_days": self.hot_days,
            "cold_rows": self.cold_rows,
            "cold_bytes": self.cold_bytes,
            "cold_days": self.cold_days,
            "late_rows": self.late_rows,
            "held_partitions": self.held_partitions,
            "first": self.first and self.first.isoformat(),
            "last": self.last and self.last.isoformat(),
            "watermark": self.watermark and self.watermark.isoformat(),
            "due_partitions": self.due_partitions,
            "kept_partitions": self.kept_partitions,
            "undoable_partitions": self.undoable_partitions,
            "trouble_partitions": self.trouble_partitions,
            "last_rotation": self.last_rotation and self.last_rotation.isoformat(),
        }


def status(hot: Hot, datasets: Sequence[Dataset], lifecycle: Lifecycle, *, as_of: date) -> list[SeriesStatus]:
    """A line for each dataset and interval that has rows, and for each dataset that has none."""
    return [line for dataset in datasets for line in _dataset_status(hot, dataset, lifecycle, as_of)]


def _dataset_status(hot: Hot, dataset: Dataset, lifecycle: Lifecycle, as_of: date) -> list[SeriesStatus]:
    leaves, vintages = hot.leaves(dataset), hot.live(dataset, ALL_DAYS)
    late, detached = hot.late(dataset), hot.detached(dataset)
    rotated, trouble = hot.last("rotate", dataset), hot.trouble(dataset)
    held = {vintage.partition for vintage in hot.vintages(dataset, ALL_DAYS, (), [VintageState.HELD])}
    found = {p.interval for p in (*(x.partition for x in leaves), *(x.partition for x in vintages), *late)}
    found |= {each.partition.interval for each in trouble}
    lines = []
    for interval in sorted(found) or [""]:
        hot_here = [leaf for leaf in leaves if leaf.partition.interval == interval]
        cold_here = [vintage.receipt for vintage in vintages if vintage.partition.interval == interval]
        late_here = {p: rows for p, rows in late.items() if p.interval == interval}
        days = sorted(
            {*(x.partition.day for x in hot_here), *(x.partition.day for x in cold_here), *(p.day for p in late_here)}
        )
        hot_days = {leaf.partition.day for leaf in hot_here if leaf.registered}
        old = {leaf for leaf in hot_here if leaf.registered and lifecycle.is_due(leaf.partition, as_of)}
        due = {leaf.partition for leaf in old if lifecycle.is_due(leaf.partition, as_of, leaf.until)}
        folds = {partition for partition in late_here if partition.day not in hot_days}
        lines.append(
            SeriesStatus(
                dataset=dataset.name,
                interval=interval,
                hot_rows=sum(leaf.rows for leaf in hot_here),
                hot_bytes=sum(leaf.size_bytes for leaf in hot_here),
                hot_days=len(hot_days),
                cold_rows=sum(receipt.contents.rows for receipt in cold_here),
                cold_bytes=sum({receipt.path: receipt.size_bytes for receipt in cold_here}.values()),
                cold_days=len(cold_here),
                late_rows=sum(late_here.values()),
                held_partitions=sum(partition.interval == interval for partition in held),
                first=days[0] if days else None,
                last=days[-1] if days else None,
                watermark=watermark(hot_days, {receipt.partition.day for receipt in cold_here}),
                due_partitions=len(due | folds),
                kept_partitions=len(old) - len(due),
                undoable_partitions=len({d.partition for d in detached if d.partition.interval == interval}),
                last_rotation=rotated.at if rotated else None,
                trouble_partitions=len({t.partition for t in trouble if t.partition.interval == interval}),
            )
        )
    return lines


def watermark(hot_days: set[date], cold_days: set[date]) -> date | None:
    """The first day of the newest run of hot days that no day which is cold alone interrupts; None when none is hot.

    Days without rows anywhere, such as weekends, don't interrupt the run.
    """
    if not hot_days:
        return None
    cold_alone = [day for day in cold_days - hot_days if day < max(hot_days)]
    earliest = max(cold_alone) + ONE_DAY if cold_alone else min(hot_days)
    return min(day for day in hot_days if day >= earliest)
