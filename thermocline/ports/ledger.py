"""What the hot tier and its ledger say of days, tables and acts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from thermocline.model.dataset import Dataset
from thermocline.model.partition import Partition
from thermocline.model.receipt import Receipt
from thermocline.model.rejected import Rejected


@dataclass(frozen=True, slots=True)
class HotDay:
    """A day that is complete in hot. `version` is the vintage it holds at least, 0 when it came by ingest alone.

    Rotation leaves it alone before the day `until`, where it has one.
    """

    partition: Partition
    version: int
    until: date | None = None


@dataclass(frozen=True, slots=True)
class HotLeaf:
    """One day's table as the database's catalog describes it. `registered` says whether the hot set has the day."""

    partition: Partition
    table: str
    rows: int
    size_bytes: int
    registered: bool


@dataclass(frozen=True, slots=True)
class Detached:
    """A day that rotation took out of hot and that `undo` can still bring back."""

    partition: Partition
    table: str
    version: int
    detached_at: datetime
    rows: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """A partition that an act could not do: the last reason, how often in a row, and since when."""

    partition: Partition
    act: str
    reason: str
    run_id: str
    times: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True)
class Ingested:
    """Where rows went: into hot days, or as late rows of cold days."""

    hot_rows: int = 0
    late_rows: int = 0


@dataclass(frozen=True)
class Vacuumed:
    """What VACUUM did to one table. Sizes include indexes."""

    table: str
    bytes_before: int
    bytes_after: int
    dead_rows: int
    seconds: float


@dataclass(frozen=True)
class Act:
    """A line of the append-only audit log. `detail` holds counts and paths, never a secret."""

    name: str
    partition: Partition | None
    run_id: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    at: datetime | None = None


@dataclass(frozen=True)
class Publication:
    """What one commit says: new vintages, days withdrawn from cold, the table's head, and rows that may not go in.

    `relocated` are vintages that are there already and whose rows now lie in another object; nothing else of them
    changes. Where `head` is None the one that was noted stays.
    """

    dataset: Dataset
    head: str | None
    run_id: str
    receipts: Sequence[Receipt] = ()
    withdrawn: Sequence[Partition] = ()
    relocated: Sequence[Receipt] = ()
    rejected: Sequence[Rejected] = ()

    def act(self) -> Act:
        """The line that the audit log gets for it."""
        detail = {
            "dataset": self.dataset.name,
            "vintages": len(self.receipts),
            "rows": sum(receipt.contents.rows for receipt in self.receipts),
            "withdrawn": [str(partition) for partition in self.withdrawn],
        }
        return Act("publish", None, self.run_id, detail)
