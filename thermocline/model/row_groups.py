"""What a query reads of Parquet objects, as their footers tell it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RowGroups:
    """Of the objects of a query: the row groups there are, those that it reads, and the bytes that it needs of them.

    A row group is read unless its least and greatest time and symbol say that it holds no row of the answer; of those
    that are read, the columns of the answer, and what filters and orders it, are needed.
    """

    total: int
    read: int
    read_bytes: int

    def __add__(self, other: "RowGroups") -> "RowGroups":
        """Those of both."""
        return RowGroups(self.total + other.total, self.read + other.read, self.read_bytes + other.read_bytes)
