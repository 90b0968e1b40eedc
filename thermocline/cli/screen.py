"""Tables on stdout, drawn by rich."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from thermocline.cli.words import Number, Size, Table

_NO_TERMINAL = 10_000  # columns: a file or a pipe wraps nothing


def show(table: Table) -> None:
    """Draw a table, as wide as the terminal allows."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _NO_TERMINAL
    drawn = RichTable(
        box=SIMPLE_HEAD,
        title=table.title or None,
        title_justify="left",
        pad_edge=False,
        show_edge=False,
        padding=(0, 1),
    )
    for number, name in enumerate(table.columns):
        to_the_right = any(isinstance(row[number], int | Number) for row in table.rows)
        drawn.add_column(name, justify="right" if to_the_right else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(_text(cell)) for cell in row))
    console.print(drawn)


def _text(cell: object) -> str:
    if cell is None:
        return "-"
    return f"{cell:,d}" if isinstance(cell, int) and not isinstance(cell, bool | Size) else str(cell)
