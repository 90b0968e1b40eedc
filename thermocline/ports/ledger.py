"""What the hot tier and its ledger say of days, tables and acts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from thermocline.model.dataset import Dataset
from thermocline.model.partition import Partition, partitions_of
from thermocline.model.receipt import Receipt, Vintage
from thermocline.model.rejected import Rejected
from thermocline.model.restatement import Restatement

if TYPE_CHECKING:
    import pyarrow as pa


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
    """One day's table as the database's catalog describes it. `registered` says whether the hot set has the day.

    `until` is as in `HotDay`.
    """

    partition: Partition
    table: str
    rows: int
    size_bytes: int
    registered: bool
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Detached:
    """A day that rotation took out of hot and that `undo` can still bring back."""

    partition: Partition
    table: str
    version: int
    detached_at: datetime
    rows: int


@dataclass(frozen=True, slots=True)
class Holding:
    """A restatement that was written and verified and is to wait for a person, and what it would change."""

    receipt: Receipt
    restatement: Restatement


@dataclass(frozen=True, slots=True)
class UnnamedObject:
    """An object that no vintage which is kept names, and since when that is known."""

    path: str
    since: datetime


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

    def document(self) -> dict[str, Any]:
        """The trouble as one flat JSON object."""
        return {
            "dataset": self.partition.dataset,
            "interval": self.partition.interval or None,
            "day": self.partition.day.isoformat(),
            "act": self.act,
            "reason": self.reason,
            "run_id": self.run_id,
            "times": self.times,
            "since": self.first_at.isoformat(),
            "last": self.last_at.isoformat(),
        }


@dataclass(frozen=True)
class Ingested:
    """Where rows went: into hot days, or as late rows of cold days."""

    hot_rows: int = 0
    late_rows: int = 0

    def act(self, dataset: Dataset, rows: "pa.Table", run_id: str) -> "Act":
        """The line that the audit log gets for these rows."""
        days = [partition.day for partition in partitions_of(dataset, rows)]
        detail = {
            "dataset": dataset.name,
            "first": min(days).isoformat() if days else None,
            "last": max(days).isoformat() if days else None,
            "hot_rows": self.hot_rows,
            "late_rows": self.late_rows,
        }
        return Act("ingest", None, run_id, detail)


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
    """A line of the append-only audit log. `detail` holds counts and paths, never a secret.

    When it was, who did it (`actor`, the store's own name for the session's user) and with what (`client`) is for the
    store to say; what a caller puts there is not kept.
    """

    name: str
    partition: Partition | None
    run_id: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    at: datetime | None = None
    actor: str = ""
    client: str = ""

    @property
    def dataset(self) -> str | None:
        """The dataset it is about, where it is about one."""
        return self.partition.dataset if self.partition else self.detail.get("dataset")

    def document(self) -> dict[str, Any]:
        """The line as JSON."""
        return {
            "at": self.at and self.at.isoformat(),
            "act": self.name,
            "dataset": self.dataset,
            "interval": self.partition.interval or None if self.partition else None,
            "day": self.partition.day.isoformat() if self.partition else None,
            "run_id": self.run_id,
            "actor": self.actor,
            "client": self.client,
            "detail": dict(self.detail),
        }


def came_to_hot(partition: Partition, run_id: str, detail: Mapping[str, Any], until: date | None) -> Act:
    """What the audit log says of a day that came to hot: it was loaded, or rehydrated where it is there for a time."""
    if until is None:
        return Act("load", partition, run_id, detail)
    return Act("rehydrate", partition, run_id, {**detail, "until": until.isoformat()})


def expired_act(dataset: Dataset, vintages: Collection[Vintage], run_id: str) -> Act:
    """What the audit log says of vintages that expire."""
    named = sorted((vintage.partition, vintage.receipt.version) for vintage in vintages)
    return Act(
        "expire",
        None,
        run_id,
        {"dataset": dataset.name, "vintages": [f"{partition} version {version}" for partition, version in named]},
    )


def gone_act(dataset: Dataset, path: str, size_bytes: int, run_id: str) -> Act:
    """What the audit log says of an object that was deleted."""
    return Act("delete-object", None, run_id, {"dataset": dataset.name, "path": path, "bytes": size_bytes})


@dataclass(frozen=True)
class AuditQuery:
    """Which lines of the audit log: of these datasets and acts (none: all), of one run, of a span of time, how many."""

    datasets: Collection[Dataset] = ()
    names: Collection[str] = ()
    run_id: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    limit: int | None = None


@dataclass(frozen=True)
class AuditGuard:
    """Who owns the audit log, and the ways in which the application could still change it; none where it can't."""

    owner: str
    gaps: Sequence[str] = ()

    @property
    def holds(self) -> bool:
        """Whether the application can only append."""
        return not self.gaps


KNOWN_ALREADY = (
    "the ledger knows vintages of {} already; nothing was changed. A ledger is made anew only where there is none: to "
    "bring back what one lost, restore a backup of PostgreSQL"
)
"""What is said where a ledger is not empty."""


def restored(dataset: Dataset, vintages: Sequence[Vintage], run_id: str) -> Act:
    """The line that the audit log gets for vintages made anew from the lake."""
    live = [vintage for vintage in vintages if vintage.is_live]
    rows = sum(vintage.receipt.contents.rows for vintage in live)
    return Act(
        "recover", None, run_id, {"dataset": dataset.name, "vintages": len(vintages), "days": len(live), "rows": rows}
    )


@dataclass(frozen=True)
class Publication:
    """What one commit says: new vintages, days withdrawn from cold, the table's head, and rows that may not go in.

    `relocated` are vintages that are there already and whose rows now lie in another object; nothing else of them
    changes. `accepted` are vintages that were held: they become live as they are, unless `receipts` has a vintage of
    their day that their rows were merged into. Where `head` is None the one that was noted stays. `name` is what the
    audit log calls it.
    """

    dataset: Dataset
    head: str | None
    run_id: str
    receipts: Sequence[Receipt] = ()
    withdrawn: Sequence[Partition] = ()
    relocated: Sequence[Receipt] = ()
    rejected: Sequence[Rejected] = ()
    accepted: Sequence[Vintage] = ()
    name: str = "publish"

    @property
    def dated(self) -> list[Partition]:
        """The days of which a vintage begins or ends to be live with it."""
        begun = (*self.receipts, *(vintage.receipt for vintage in self.accepted))
        return [*(receipt.partition for receipt in begun), *self.withdrawn]

    def act(self, merged: Collection[Partition] = ()) -> Act | None:
        """The line that the audit log gets for it, and for the hot days that were `merged` into; None for no change."""
        touched = [*(r.partition for r in (*self.receipts, *self.relocated)), *self.withdrawn, *merged]
        if not touched:
            return None
        detail = {
            "dataset": self.dataset.name,
            "first": min(partition.day for partition in touched).isoformat(),
            "last": max(partition.day for partition in touched).isoformat(),
            "intervals": sorted({partition.interval for partition in touched if partition.interval}),
            "vintages": len(self.receipts),
            "rows": sum(receipt.contents.rows for receipt in self.receipts),
            "bytes": sum(receipt.size_bytes for receipt in self.receipts),
            "paths": list(dict.fromkeys(receipt.path for receipt in (*self.receipts, *self.relocated))),
            "relocated": len(self.relocated),
            "withdrawn": [str(partition) for partition in self.withdrawn],
            "merged_hot": [str(partition) for partition in sorted(merged)],
        }
        return Act(self.name, None, self.run_id, detail)
