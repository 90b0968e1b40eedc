"""The versions of a dataset's columns, and which step from one to the next is safe.

A step is safe where rows of the version before mean the same in the version after it: a column that they lack is null,
a price is a price among larger numbers, a value that was always there may now be missing. All else is refused.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from thermocline.errors import StaleStateError
from thermocline.model.dataset import Column, Dataset, Kind

WIDENINGS = frozenset({(Kind.PRICE, Kind.MONEY)})
"""Changes of kind that lose nothing in PostgreSQL, Parquet and Iceberg alike.

Integer to float is not among them: above 2**53 it loses digits, and Iceberg has no promotion from long to double.
"""

_INSTEAD = "add a column of another name, and fill both for as long as somebody reads the old one"


@dataclass(frozen=True, slots=True)
class Schema:
    """One version of a dataset's columns as the stores have it; `applied_at` is None where it was not applied yet."""

    dataset: str
    version: int
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    symbol_column: str
    has_intervals: bool
    applied_at: datetime | None = None
    run_id: str = ""

    @classmethod
    def of(cls, dataset: Dataset, version: int | None = None) -> Self:
        """What a dataset declares, as a version of it."""
        return cls(
            dataset.name,
            dataset.schema_version if version is None else version,
            dataset.columns,
            dataset.key,
            dataset.symbol_column,
            dataset.has_intervals,
        )

    def document(self) -> dict[str, Any]:
        """The version as JSON; times and runs left out, so that the same version is the same document."""
        return {
            "dataset": self.dataset,
            "version": self.version,
            "columns": [column_document(column) for column in self.columns],
            "key": list(self.key),
            "symbol_column": self.symbol_column,
            "has_intervals": self.has_intervals,
        }

    def shown(self) -> dict[str, Any]:
        """The version with the types of its columns in every store, and when it was applied, as JSON."""
        columns = [
            column_document(column)
            | {"description": column.description, "key": column.name in self.key, "types": dict(TYPES[column.kind])}
            for column in self.columns
        ]
        applied_at = self.applied_at and self.applied_at.isoformat()
        return self.document() | {"columns": columns, "applied_at": applied_at, "run_id": self.run_id or None}

    def to_json(self) -> str:
        """The document as one line."""
        return json.dumps(self.document(), sort_keys=True)

    @classmethod
    def from_document(cls, document: dict[str, Any], applied_at: datetime | None = None, run_id: str = "") -> Self:
        """The version that `document` wrote."""
        return cls(
            document["dataset"],
            document["version"],
            tuple(_column(each) for each in document["columns"]),
            tuple(document["key"]),
            document["symbol_column"],
            document["has_intervals"],
            applied_at,
            run_id,
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The version that `to_json` wrote."""
        return cls.from_document(json.loads(text))

    @property
    def undeclared(self) -> Dataset:
        """The dataset of this version, where nothing declares it any more."""
        return Dataset(
            self.dataset,
            "not declared any more",
            self.columns,
            self.key,
            self.symbol_column,
            self.has_intervals,
            self.version,
        )

    def dataset_as(self, declared: Dataset) -> Dataset:
        """The dataset with the columns of this version; what they mean in words is said by the declaration."""
        known = {column.name: column for column in declared.columns}
        columns = tuple(_described(column, known.get(column.name)) for column in self.columns)
        return replace(
            declared,
            columns=columns,
            key=self.key,
            symbol_column=self.symbol_column,
            has_intervals=self.has_intervals,
            schema_version=self.version,
        )


def column_document(column: Column) -> dict[str, Any]:
    """A column as JSON."""
    document: dict[str, Any] = {"name": column.name, "kind": column.kind.value, "nullable": column.nullable}
    if column.description:
        document["description"] = column.description
    if column.empty_allowed:
        document["empty_allowed"] = True
    return document


def _column(document: dict[str, Any]) -> Column:
    return Column(
        document["name"],
        Kind(document["kind"]),
        document["nullable"],
        document.get("description", ""),
        document.get("empty_allowed", False),
    )


def _described(column: Column, declared: Column | None) -> Column:
    if declared is None:
        return column
    return replace(column, description=declared.description, empty_allowed=declared.empty_allowed)


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """One difference between two versions. `refusal` says why it can't be made, and what to do instead.

    `is_kept` is of a column that the stores have and the declaration does not: rows go in all the same, with a null.
    """

    what: str
    column: Column | None = None
    refusal: str = ""
    is_kept: bool = False

    def document(self) -> dict[str, Any]:
        """The difference as JSON."""
        return {
            "column": self.column.name if self.column else None,
            "change": self.what,
            "refused": self.refusal or None,
            "kept": self.is_kept,
        }


def changes_between(old: Schema, new: Schema) -> list[SchemaChange]:
    """What turns one version into another, in the order of its columns. Words that describe a column are no change."""
    before = {column.name: column for column in old.columns}
    found = [each for name in _SHAPE if (each := _shape_change(name, old, new))]
    for column in new.columns:
        known = before.pop(column.name, None)
        if known is None:
            found.append(_added(column))
        else:
            found += _altered(known, column)
    return found + [_missing(column) for column in before.values()]


def blocking(changes: Sequence[SchemaChange]) -> list[SchemaChange]:
    """The changes that must be made, or be taken back, before new rows can be accepted."""
    return [change for change in changes if not change.is_kept]


def evolved(old: Schema, new: Schema) -> Schema:
    """The next version: the old one with every safe change made. Columns keep their order, new ones come last."""
    wanted = {column.name: column for column in new.columns}
    kept = [wanted.pop(column.name, column) for column in old.columns]
    return replace(old, version=old.version + 1, columns=(*kept, *wanted.values()), applied_at=None, run_id="")


def overtaken(dataset: Dataset, newest: Schema) -> StaleStateError:
    """What to say to a run whose columns are not those of the newest version."""
    return StaleStateError(
        f"{dataset.name} is at version {newest.version} of its schema, and this run works with other columns; nothing "
        f"was changed, run it again. `thermocline schema diff {dataset.name}` shows where the declaration differs"
    )


def is_overtaken(dataset: Dataset, newest: Schema) -> bool:
    """Whether a run that works with the dataset must not write: rows are copied by position, so the order counts."""
    in_order = [column.name for column in newest.columns] == list(dataset.names)
    return not in_order or bool(changes_between(newest, Schema.of(dataset)))


_SHAPE = ("key", "symbol_column", "has_intervals")


def _shape_change(name: str, old: Schema, new: Schema) -> SchemaChange | None:
    before, after = getattr(old, name), getattr(new, name)
    if before == after:
        return None
    shown = tuple(", ".join(value) if isinstance(value, tuple) else str(value) for value in (before, after))
    return SchemaChange(
        f"{name} changes from {shown[0]} to {shown[1]}",
        refusal="it decides which rows are the same and where they lie; declare a dataset of another name, and "
        "backfill it from the source",
    )


def _added(column: Column) -> SchemaChange:
    what = f"column {column.name} ({column.kind}) is added"
    if column.nullable:
        return SchemaChange(what, column)
    return SchemaChange(
        f"{what} and must have a value", column, "rows that are there have none for it; declare it without `required`"
    )


def _altered(old: Column, new: Column) -> list[SchemaChange]:
    found = []
    if old.kind is not new.kind:
        what = f"column {new.name} changes from {old.kind} to {new.kind}"
        if (old.kind, new.kind) in WIDENINGS:
            found.append(SchemaChange(f"{what}, which holds every {old.kind}", new))
        else:
            found.append(SchemaChange(what, new, _why_not(old.kind, new.kind)))
    if new.nullable and not old.nullable:
        found.append(SchemaChange(f"column {new.name} may be null", new))
    elif old.nullable and not new.nullable:
        refusal = "rows that are there may have none; a rule of validation can refuse nulls in new rows"
        found.append(SchemaChange(f"column {new.name} must have a value", new, refusal))
    return found


def _why_not(old: Kind, new: Kind) -> str:
    if (new, old) in WIDENINGS:
        return f"a {old} need not fit a {new}; leave it, or {_INSTEAD}"
    if (old, new) == (Kind.INTEGER, Kind.FLOAT):
        return f"whole numbers above 2**53 would lose digits, and Iceberg can't do it; {_INSTEAD}"
    widest = " and ".join(f"{a} to {b}" for a, b in WIDENINGS)
    return f"values that are there would have to be written anew; only {widest} keeps them. Instead, {_INSTEAD}"


def _missing(column: Column) -> SchemaChange:
    return SchemaChange(
        f"column {column.name} is there and not declared",
        column,
        "a column is neither dropped nor renamed, since files and vintages that are there have it; declare it again, "
        "new rows may leave it null"
        if column.nullable
        else "every row must have a value of it; declare it again",
        is_kept=column.nullable,
    )


TYPES: Mapping[Kind, Mapping[str, str]] = {
    kind: {"arrow": arrow, "postgresql": postgresql, "iceberg": iceberg}
    for kind, arrow, postgresql, iceberg in (
        (Kind.TEXT, "string", "text", "string"),
        (Kind.PRICE, "decimal128(18, 8)", "numeric(18, 8)", "decimal(18, 8)"),
        (Kind.MONEY, "decimal128(28, 8)", "numeric(28, 8)", "decimal(28, 8)"),
        (Kind.FLOAT, "double", "double precision", "double"),
        (Kind.INTEGER, "int64", "bigint", "long"),
        (Kind.BOOLEAN, "bool", "boolean", "boolean"),
        (Kind.DATE, "date32[day]", "date", "date"),
        (Kind.TIMESTAMP, "timestamp[us, tz=UTC]", "timestamptz", "timestamptz"),
    )
}
"""What each kind is called where it lies, in the words of each; Parquet files have the Arrow type."""
