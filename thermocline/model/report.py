"""What an act did to partitions, in the words that people and programs read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from thermocline.model.partition import Partition


@dataclass(frozen=True, slots=True)
class Moved:
    """One partition that moved, or would.

    `action` is what happens to it; `size_bytes` is the size of the object that holds it, or of the hot table where no
    object is known yet; `path` is the object's.
    """

    partition: Partition
    action: str
    rows: int
    size_bytes: int
    path: str

    def document(self) -> dict[str, Any]:
        """The partition as one flat JSON object."""
        return {
            "dataset": self.partition.dataset,
            "interval": self.partition.interval or None,
            "day": self.partition.day.isoformat(),
            "action": self.action,
            "rows": self.rows,
            "bytes": self.size_bytes,
            "path": self.path,
        }


@dataclass(frozen=True, slots=True)
class Failed:
    """One partition that could not be moved and is as it was, with the reason."""

    partition: Partition
    reason: str

    def document(self) -> dict[str, Any]:
        """The partition as one flat JSON object."""
        return {
            "dataset": self.partition.dataset,
            "interval": self.partition.interval or None,
            "day": self.partition.day.isoformat(),
            "reason": self.reason,
        }


def total_rows(moved: Sequence[Moved]) -> int:
    """The rows of all partitions together."""
    return sum(partition.rows for partition in moved)


def total_bytes(moved: Sequence[Moved]) -> int:
    """The bytes of all partitions together."""
    return sum(partition.size_bytes for partition in moved)
