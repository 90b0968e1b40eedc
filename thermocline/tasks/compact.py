"""Compaction: a closed month's many small objects become one, so that a question over years opens a few files.

A month is closed when rotation would take every day of it: none is hot, has late rows, or waits for a person. Its live
vintages are written as one object that the days share, which is read back and compared with every day's receipt; then
the table and the ledger name it instead, and the old objects wait for `expire`. Rows, vintages and answers stay the
same. A run that dies is made good by the next: readers go by the ledger, and what was written already is adopted.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import groupby
from typing import Any

from thermocline.errors import RequestBudgetError, ThermoclineError
from thermocline.model.dataset import Dataset
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS, ONE_DAY, DayRange, Partition, months_of
from thermocline.model.receipt import Receipt, VintageState, by_object
from thermocline.model.report import Failed
from thermocline.ports import SILENT, Hot, Lake, Progress, Writer
from thermocline.tasks.archive import settled_head
from thermocline.tasks.repack import combined, relocate

TARGET_BYTES = 128 << 20
"""What the objects of a month may have together so that they are brought together."""

BATCH_MONTHS = 12
"""Months that share one commit to the table."""


@dataclass(frozen=True)
class Month:
    """A closed month of one interval whose days lie in several objects; `path` is the one that took their place."""

    dataset: str
    interval: str
    month: date
    receipts: Sequence[Receipt] = field(repr=False)
    path: str | None = None

    @property
    def first(self) -> Partition:
        """Its first partition."""
        return self.receipts[0].partition

    @property
    def rows(self) -> int:
        """The rows of all its days."""
        return sum(receipt.contents.rows for receipt in self.receipts)

    @property
    def objects(self) -> int:
        """How many objects its days lie in."""
        return len(by_object(self.receipts))

    @property
    def size_bytes(self) -> int:
        """The size of those objects."""
        return sum(receipts[0].size_bytes for receipts in by_object(self.receipts).values())

    def document(self) -> dict[str, Any]:
        """The month as one flat JSON object."""
        return {
            "dataset": self.dataset,
            "interval": self.interval or None,
            "month": f"{self.month:%Y-%m}",
            "days": len(self.receipts),
            "rows": self.rows,
            "objects": self.objects,
            "bytes": self.size_bytes,
            "path": self.path,
        }


@dataclass
class Compacted:
    """What a compaction did. `objects` and `size_bytes` of a month are those before; `size_bytes` here those after."""

    run_id: str
    months: list[Month] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    size_bytes: int = 0

    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "run_id": self.run_id,
            "months": [month.document() for month in self.months],
            "bytes": self.size_bytes,
            "failed": [failed.document() for failed in self.failed],
        }


@dataclass(frozen=True)
class Compaction:
    """The parts of one compaction. `days` and `intervals` (none: all) choose months that have such a day."""

    hot: Hot
    lake: Lake
    lifecycle: Lifecycle
    as_of: date
    days: DayRange = ALL_DAYS
    intervals: Collection[str] = ()
    target_bytes: int = TARGET_BYTES
    progress: Progress = SILENT
    on_compacted: Callable[[Month], None] = lambda _: None

    def plan(self, datasets: Sequence[Dataset]) -> list[Month]:
        """Every month that `run` would bring together; changes nothing."""
        return [month for dataset in datasets for month in self._due(dataset)]

    def run(self, datasets: Sequence[Dataset], *, run_id: str) -> Compacted:
        """Bring every closed month together that lies in more objects than one. A second run finds nothing to do.

        A month that can't be read as it was written is left as it is and named; others go on.
        """
        result = Compacted(run_id)
        with self.lake.run(run_id):
            for dataset in datasets:
                due = self._due(dataset)
                self.progress.begin(f"compacting {dataset.name}", len(due))
                for start in range(0, len(due), BATCH_MONTHS):
                    with self.hot.writer(dataset) as writer:
                        self._compact(writer, dataset, due[start : start + BATCH_MONTHS], result)
        return result

    def _due(self, dataset: Dataset) -> list[Month]:
        found = self.hot.live(dataset, self.days, self.intervals)
        busy = self._busy(dataset)
        due = []
        for days in months_of(vintage.partition for vintage in found):
            for month in _months(dataset, [v.receipt for v in self.hot.live(dataset, days, self.intervals)]):
                closed = self.lifecycle.is_due(replace(month.first, day=_last_day(month.month)), self.as_of)
                is_busy = (month.interval, month.month) in busy
                if closed and not is_busy and month.objects > 1 and month.size_bytes <= self.target_bytes:
                    due.append(month)
        return sorted(due, key=lambda month: (month.interval, month.month))

    def _busy(self, dataset: Dataset) -> set[tuple[str, date]]:
        """The months in which something is going on: hot days, late rows, vintages that wait for a person."""
        partitions = {day.partition for day in self.hot.hot_days(dataset)} | self.hot.late(dataset).keys()
        held = self.hot.vintages(dataset, ALL_DAYS, states=[VintageState.HELD])
        partitions |= {vintage.partition for vintage in held}
        return {(partition.interval, partition.day.replace(day=1)) for partition in partitions}

    def _compact(self, writer: Writer, dataset: Dataset, months: Sequence[Month], result: Compacted) -> None:
        head = settled_head(writer, self.lake, dataset, run_id=result.run_id, anew=True)
        # Asked again under the lock: what was due may have been restated, loaded or brought together since.
        wanted = {(month.interval, month.month) for month in months}
        written: list[tuple[Month, list[Receipt]]] = []
        for month in [month for month in self._due(dataset) if (month.interval, month.month) in wanted]:
            try:
                written.append((month, combined(self.lake, month.receipts)))
            except RequestBudgetError:
                raise
            except ThermoclineError as error:
                result.failed.append(Failed(month.first, str(error)))
            self.progress.advance()
        if not written:
            return
        relocated = [receipt for _, receipts in written for receipt in receipts]
        removed = {receipt.path for month, _ in written for receipt in month.receipts}
        relocate(writer, self.lake, dataset, relocated, removed, head=head, run_id=result.run_id, name="compact")
        for month, receipts in written:
            done = replace(month, path=receipts[0].path)
            result.months.append(done)
            result.size_bytes += receipts[0].size_bytes
            self.on_compacted(done)


def _months(dataset: Dataset, receipts: Sequence[Receipt]) -> Iterator[Month]:
    """Receipts of one dataset by interval and calendar month."""

    def key(receipt: Receipt) -> tuple[str, date]:
        return receipt.partition.interval, receipt.partition.day.replace(day=1)

    ordered = sorted(receipts, key=lambda receipt: (key(receipt), receipt.partition))
    for (interval, month), group in groupby(ordered, key):
        yield Month(dataset.name, interval, month, list(group))


def _last_day(month: date) -> date:
    return (month + 31 * ONE_DAY).replace(day=1) - ONE_DAY
