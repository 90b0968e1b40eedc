"""Numbers and tables as people read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

_KIB = 1024
_LEAST_USD, _FEW_USD = 1e-9, 0.1
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")

TERMINAL = 100
"""Columns of the narrowest terminal that people have open."""

ROWS_SHOWN = 40
"""Lines of a table that a person still reads."""


class Size(int):
    """A number of bytes, which a table shows with a unit."""

    def __str__(self) -> str:
        """As `size` writes it."""
        return size(self)


class Number(str):
    """A number in its final spelling."""

    __slots__ = ()


@dataclass(frozen=True)
class Table:
    """Rows for the eye. Numbers stand to the right, None is a dash."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""


def size(size_bytes: int) -> str:
    """Bytes with the unit that leaves the fewest digits."""
    if size_bytes < _KIB:
        return f"{size_bytes:d} B"
    amount = float(size_bytes)
    for unit in _UNITS:
        amount /= _KIB
        if amount < _KIB or unit == _UNITS[-1]:
            break
    return f"{amount:,.1f} {unit}"


def plural(number: int, noun: str) -> str:
    """`1 day`, `2 days`, `1,460 rows`."""
    return f"{number:,d} {noun}" if number == 1 else f"{number:,d} {noun}s"


def first_rows(table: Table, more: str = "--json lists all") -> tuple[Table | str, ...]:
    """The table's first rows, and a line that says how many are left out."""
    left = len(table.rows) - ROWS_SHOWN
    if left <= 0:
        return (table,) if table.rows else ()
    return Table(table.columns, table.rows[:ROWS_SHOWN], table.title), f"… and {left:,d} more; {more}"


def vacuum_line(tables: int, dead_rows: int, reclaimed_bytes: int) -> str:
    """What VACUUM (ANALYZE) did."""
    if not tables:
        return "VACUUM (ANALYZE): no table needs it."
    cleared = f"{plural(dead_rows, 'dead row')} cleared, {size(reclaimed_bytes)} given back"
    return f"VACUUM (ANALYZE) of {plural(tables, 'table')}: {cleared}."


def usd(amount: float) -> str:
    """Dollars: to the cent, less than ten cents with two digits that count, far less than any bill has as nothing."""
    sign, amount = "-" if amount < 0 else "", abs(amount)
    if not _LEAST_USD <= amount < _FEW_USD:
        return f"{sign}${amount:,.2f}"
    return f"{sign}${amount:.{1 - floor(log10(amount))}f}"
