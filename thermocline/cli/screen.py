"""Tables on stdout, drawn by rich."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from thermocline.cli.words import Number, Size, Table

_FEW = 4
"""Rows that still stand side by side when a table is too wide and is turned."""


class _Console(Console):
    """A console that leaves it to the command what becomes of output that nobody reads any more."""

    def on_broken_pipe(self) -> None:
        """Go on with the error that is being handled."""
        raise  # noqa: PLE0704  # rich calls this where it has caught it


def show(table: Table) -> None:
    """Draw a table. One that is wider than the terminal is turned if it has few rows, else its lines run over."""
    console = _Console(highlight=False, markup=False, emoji=False)
    drawn = _drawn(table)
    width = console.measure(drawn, options=console.options.update(width=100_000)).maximum
    if console.is_terminal and width > console.width and len(table.rows) <= _FEW:
        drawn = _turned(table)
        width = console.measure(drawn, options=console.options.update(width=100_000)).maximum
    console.width = width  # nothing is folded, on a terminal, in a pipe or in a file
    console.print(drawn, crop=False)


def _drawn(table: Table) -> RichTable:
    drawn = RichTable(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for number, name in enumerate(table.columns):
        to_the_right = any(isinstance(row[number], int | Number) for row in table.rows)
        drawn.add_column(Text(name), justify="right" if to_the_right else "left", no_wrap=True)
    for row in table.rows:
        drawn.add_row(*(Text(_text(cell)) for cell in row))
    return drawn


def _turned(table: Table) -> RichTable:
    turned = RichTable(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    turned.add_column(style="bold", no_wrap=True)
    for row_number, name in enumerate(table.columns):
        turned.add_row(Text(name), *(Text(_text(row[row_number])) for row in table.rows))
    return turned


def _text(cell: object) -> str:
    if cell is None:
        return "-"
    return f"{cell:,d}" if isinstance(cell, int) and not isinstance(cell, bool | Size) else str(cell)
