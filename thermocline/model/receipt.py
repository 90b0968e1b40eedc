"""What one verified partition contained, and how two such statements are compared."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from thermocline.model.partition import Partition


@dataclass(frozen=True, slots=True)
class Contents:
    """What rows are, whatever their order and wherever they lie.

    A column that is null in every row says nothing: rows are the same with it and without it, so that those of an older
    schema stay what they were when a column is added.

    `fingerprint` covers every column; `content_fingerprint` leaves out `source` and `ingested_at`, so that it decides
    whether rows say anything new. Both are 32 hexadecimal digits.
    """

    rows: int
    min_ts: datetime | None
    max_ts: datetime | None
    null_counts: Mapping[str, int]
    fingerprint: str
    content_fingerprint: str

    def differences(self, other: "Contents") -> list[str]:
        """In words, where `other` differs from this; empty when the rows are the same."""
        return [
            f"{name}: {mine} against {theirs}"
            for name in self.__slots__
            if (mine := _said(self, name)) != (theirs := _said(other, name))
        ]


def _said(contents: Contents, name: str) -> Any:
    """One thing that contents say. The fingerprint tells a column that lost all its values from one that had none."""
    value = getattr(contents, name)
    return {c: nulls for c, nulls in value.items() if nulls != contents.rows} if name == "null_counts" else value


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as its store describes it. `etag` is the store's own mark: an etag, a generation, or a local digest.

    `storage_class` is the provider's word, empty where a store has no classes. `modified_at` is when it was written or
    last moved to another class, as far as the answer said. An archived object that was restored can be read until
    `readable_until`; `is_restoring` says that a restore is on its way.
    """

    path: str
    size_bytes: int
    etag: str
    storage_class: str = ""
    modified_at: datetime | None = field(default=None, compare=False)
    readable_until: datetime | None = None
    is_restoring: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """One partition as it was written, read back and found equal."""

    partition: Partition
    version: int
    path: str
    size_bytes: int
    sha256: str
    etag: str
    schema_version: int
    run_id: str
    contents: Contents

    def differences(self, other: "Receipt") -> list[str]:
        """In words, where another receipt of the same vintage says something else."""
        names = ("path", "size_bytes", "sha256", "etag", "schema_version", "run_id")
        own = [
            f"{n}: {getattr(self, n)} against {getattr(other, n)}"
            for n in names
            if getattr(self, n) != getattr(other, n)
        ]
        return own + self.contents.differences(other.contents)

    def document(self) -> dict[str, Any]:
        """Every field, as JSON has it, for the receipts beside the table."""
        contents = {name: getattr(self.contents, name) for name in Contents.__slots__}
        for name in ("min_ts", "max_ts"):
            contents[name] = contents[name] and contents[name].isoformat()
        contents["null_counts"] = dict(self.contents.null_counts)
        own = {name: getattr(self, name) for name in self.__slots__}
        return own | {"partition": str(self.partition), "contents": contents}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The receipt of which this is the `document`."""
        contents = dict(document["contents"])
        for name in ("min_ts", "max_ts"):
            contents[name] = contents[name] and datetime.fromisoformat(contents[name])
        partition = Partition.parse(document["partition"])
        return cls(**{**document, "partition": partition, "contents": Contents(**contents)})


def by_object(receipts: Iterable[Receipt]) -> dict[str, list[Receipt]]:
    """Receipts by the path of the object that they lie in."""
    objects: dict[str, list[Receipt]] = {}
    for receipt in receipts:
        objects.setdefault(receipt.path, []).append(receipt)
    return objects


class VintageState(StrEnum):
    """What became of a vintage."""

    PUBLISHED = "published"  # readers get it, or got it once
    HELD = "held"  # waits for a person to accept or reject it
    REJECTED = "rejected"
    EXPIRED = "expired"  # superseded for longer than vintages are kept


@dataclass(frozen=True, slots=True)
class Vintage:
    """A partition as published at a moment. The live one is what readers get; `superseded_at` is then None.

    Several vintages may lie in one object, as the days of a compacted month or year do: their receipts name the same
    path. Of one that is held or was rejected, `published_at` is when it was held, and `reason` says why.
    """

    receipt: Receipt
    published_at: datetime
    superseded_at: datetime | None = None
    state: VintageState = VintageState.PUBLISHED
    reason: str = ""

    @property
    def partition(self) -> Partition:
        """The partition this is a vintage of."""
        return self.receipt.partition

    @property
    def is_live(self) -> bool:
        """Whether readers get it."""
        return self.state is VintageState.PUBLISHED and self.superseded_at is None

    def accepted_in(self, version: int) -> str:
        """The reason, once it was accepted and its rows are live in another version."""
        return f"{self.reason}; accepted as part of version {version}"

    def document(self) -> dict[str, Any]:
        """The vintage as one flat JSON object."""
        receipt = self.receipt
        return {
            "dataset": self.partition.dataset,
            "interval": self.partition.interval or None,
            "day": self.partition.day.isoformat(),
            "version": receipt.version,
            "state": self.state.value,
            "live": self.is_live,
            "rows": receipt.contents.rows,
            "bytes": receipt.size_bytes,
            "published": self.published_at.astimezone(UTC).isoformat(),
            "superseded": self.superseded_at and self.superseded_at.astimezone(UTC).isoformat(),
            "run_id": receipt.run_id,
            "path": receipt.path,
            "reason": self.reason,
        }
