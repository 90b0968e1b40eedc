"""A table that was there before Thermocline."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from thermocline.ports.sources import Fetched, FetchRequest


@dataclass(frozen=True, slots=True)
class MonthOfRows:
    """How much of one interval lies in one calendar month (named by its first day)."""

    interval: str
    month: date
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class Mapped:
    """How a foreign table's columns become a dataset's: `columns` from dataset name to table name, `constants` fill."""

    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PlainSurvey:
    """What is in a table of a dataset's name that is not partitioned as ours are.

    `duplicate_rows` share their key with a row that counts as the newer one; `null_rows` counts, by column, rows that
    lack what they must have; `undated_rows` have no usable time. All of these stay behind in the table, which is
    kept.
    """

    table: str
    rows: int
    size_bytes: int
    months: Sequence[MonthOfRows]
    unknown_columns: Sequence[str]
    filled_columns: Mapping[str, str]
    duplicate_rows: int
    null_rows: Mapping[str, int]
    undated_rows: int


class PlainTable(Protocol):
    """A table that is being made ours. While it is held nobody writes to it; readers go on."""

    def survey(self) -> PlainSurvey:
        """What is in it."""
        ...

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """Its rows: the table is a source."""
        ...

    @property
    def name(self) -> str:
        """What the `source` column says where the table does not."""
        ...

    def swap(self, *, run_id: str) -> str:
        """Put an empty partitioned table in its place, keep it under another name, and return that name.

        Call it only when every row that may go in is in the lake.
        """
        ...
