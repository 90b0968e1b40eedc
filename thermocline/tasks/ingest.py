"""Ingest: accept rows at once, whether their day is hot or cold."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from thermocline.faults import Step, step
from thermocline.model.conform import conform
from thermocline.model.dataset import Dataset
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import partitions_of
from thermocline.model.rejected import Rejected
from thermocline.ports import Fetched, Hot


@dataclass
class IngestReport:
    """Where rows went. All of them are durable and visible to queries."""

    dataset: str
    run_id: str
    hot_rows: int = 0
    late_rows: int = 0
    duplicates: int = 0
    rejected: int = 0

    def document(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "dataset": self.dataset,
            "run_id": self.run_id,
            "rows": self.hot_rows + self.late_rows,
            "hot_rows": self.hot_rows,
            "late_rows": self.late_rows,
            "duplicates": self.duplicates,
            "rejected": self.rejected,
        }


def ingest(
    hot: Hot,
    dataset: Dataset,
    fetched: Sequence[Fetched],
    lifecycle: Lifecycle,
    *,
    source: str,
    as_of: date,
    now: datetime,
    run_id: str,
    always_hot: bool = False,
) -> IngestReport:
    """Accept rows: into hot where their day is hot or may become so, else as late rows that the next night folds in.

    With `always_hot` a day that has nothing cold becomes hot whatever its age or interval.
    """
    report = IngestReport(dataset.name, run_id)
    rejected: list[Rejected] = []
    for part in fetched:
        rejected += [Rejected(dataset.name, source, part.origin, record, why) for record, why in part.unreadable]
        conformed = conform(part.incoming, dataset, source=source, ingested_at=now, origin=part.origin)
        rejected += conformed.rejected
        report.duplicates += conformed.duplicates
        partitions = partitions_of(dataset, conformed.rows)
        may_be_hot = {p for p in partitions if always_hot or lifecycle.is_hot(p, as_of)}
        went = hot.ingest(dataset, conformed.rows, hot_days=may_be_hot, run_id=run_id)
        report.hot_rows += went.hot_rows
        report.late_rows += went.late_rows
    if rejected:
        with step(Step.QUARANTINE):
            hot.quarantine(rejected, run_id=run_id)
    report.rejected = len(rejected)
    return report
