"""Undo: bring rotated days back to hot as they were, as long as they are kept."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from thermocline.errors import StaleStateError
from thermocline.model.dataset import Dataset
from thermocline.model.partition import DayRange
from thermocline.model.report import Failed, Moved
from thermocline.ports import Hot


@dataclass
class Undone:
    """What an undo did."""

    run_id: str
    moved: list[Moved] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "run_id": self.run_id,
            "partitions": [moved.document() for moved in self.moved],
            "failed": [failed.document() for failed in self.failed],
        }


def undo(
    hot: Hot,
    dataset: Dataset,
    days: DayRange,
    intervals: Collection[str] = (),
    *,
    run_id: str,
    until: date | None = None,
) -> Undone:
    """Attach detached days again; a day that has a later vintage or late rows is refused and stays cold.

    Without `until` the days are due again at once: rotation takes them out again the next night unless `hot_days` grew
    meanwhile.
    """
    result = Undone(run_id)
    with hot.writer(dataset) as writer:
        # Of two detachments of one day, the newest is what readers last had.
        newest = {detached.partition: detached for detached in hot.detached(dataset)}
        for partition, detached in sorted(newest.items()):
            if partition.day not in days or (intervals and partition.interval not in intervals):
                continue
            try:
                rows = writer.undo(detached, run_id=run_id, until=until)
            except StaleStateError as error:
                result.failed.append(Failed(partition, str(error)))
            else:
                result.moved.append(Moved(partition, "undone", rows, 0, ""))
    return result
