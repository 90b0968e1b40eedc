"""What a dataset is: one declaration, from which every store derives its own schema."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from thermocline.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa


class Kind(StrEnum):
    """The type of a column, in the words of the field rather than of one store."""

    TEXT = "text"
    PRICE = "price"  # decimal(18, 8): exact, up to 9,999,999,999.99999999
    MONEY = "money"  # decimal(28, 8): totals of money such as a market cap
    FLOAT = "float"  # IEEE double
    INTEGER = "integer"  # 64 bit
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"  # microseconds, UTC


PRECISION: Mapping[Kind, tuple[int, int]] = {Kind.PRICE: (18, 8), Kind.MONEY: (28, 8)}
"""Precision and scale of the decimal kinds."""

_ARROW_ALIASES = {
    Kind.TEXT: "string",
    Kind.FLOAT: "float64",
    Kind.INTEGER: "int64",
    Kind.BOOLEAN: "bool",
    Kind.DATE: "date32",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a dataset. Text that is not nullable may be empty only where `empty_allowed` says so."""

    name: str
    kind: Kind
    nullable: bool = True
    description: str = ""
    empty_allowed: bool = False

    @property
    def arrow_field(self) -> "pa.Field":
        """The column as a field of an Arrow schema."""
        return _arrow_field(self.name, self.kind, self.nullable)


@lru_cache(maxsize=4096)
def _arrow_field(name: str, kind: Kind, nullable: bool) -> "pa.Field":  # a column's own
    import pyarrow as pa  # noqa: PLC0415  # `thermocline --help` shall not pay for it

    match kind:
        case Kind.PRICE | Kind.MONEY:
            arrow_type = pa.decimal128(*PRECISION[kind])
        case Kind.TIMESTAMP:
            arrow_type = pa.timestamp("us", tz="UTC")
        case _:
            arrow_type = pa.type_for_alias(_ARROW_ALIASES[kind])
    return pa.field(name, arrow_type, nullable=nullable)


PROVENANCE = ("source", "ingested_at")
"""Columns that say where a row came from; they don't count as its content."""


@dataclass(frozen=True)
class Dataset:
    """A kind of market data: its columns, its key, and the order its files are sorted by.

    `key` names the columns that identify a row; it always contains `ts`. `symbol_column` is what `--symbol` filters on.
    A dataset `has_intervals` when its rows carry an `interval` (a bar size) that partitions them beside the day.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    symbol_column: str = "symbol"
    has_intervals: bool = False
    schema_version: int = 1

    def __post_init__(self) -> None:
        """Refuse a declaration that no store could hold."""
        names = set(self.names)
        missing = {*self.key, "ts", *PROVENANCE, self.symbol_column} - names
        if missing or "ts" not in self.key or len(names) != len(self.columns):
            msg = f"dataset {self.name}: columns are missing or named twice: {sorted(missing)}"
            raise UsageError(msg)
        if any(self.column(name).nullable for name in self.key):
            msg = f"dataset {self.name}: a key column can't be nullable"
            raise UsageError(msg)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def sort(self) -> tuple[str, ...]:
        """The order of rows inside a file: the symbol first, time last, so that one symbol is one contiguous run."""
        rest = [name for name in self.key if name not in {self.symbol_column, "ts", "interval"}]
        return (self.symbol_column, *rest, "ts")

    @cached_property
    def content(self) -> tuple[str, ...]:
        """The columns that decide whether two rows say the same thing."""
        return tuple(name for name in self.names if name not in PROVENANCE)

    def with_columns(self, columns: Iterable[Column]) -> "Dataset":
        """The same with more columns, in front of those that say where a row came from."""
        own = [column for column in self.columns if column.name not in PROVENANCE]
        provenance = [column for column in self.columns if column.name in PROVENANCE]
        return replace(self, columns=(*own, *columns, *provenance))

    def column(self, name: str) -> Column:
        """The column of that name."""
        for column in self.columns:
            if column.name == name:
                return column
        msg = f"dataset {self.name} has no column {name!r}; it has {', '.join(self.names)}"
        raise UsageError(msg)

    @cached_property
    def arrow_schema(self) -> "pa.Schema":
        """The Arrow schema: decimals exact, times in microseconds UTC, keys not nullable."""
        import pyarrow as pa  # noqa: PLC0415  # `thermocline --help` shall not pay for it

        return pa.schema([column.arrow_field for column in self.columns])
