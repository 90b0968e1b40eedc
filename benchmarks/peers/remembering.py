"""The most memory that a process takes which brings one day out of PostgreSQL to Parquet."""

from collections.abc import Iterator
from pathlib import Path

from asides import Aside
from measuring import peak_bytes, say
from peers.bars import Bars
from peers.exporting import Exporting
from peers.findings import FAILURES, Asked, Cell, Table, short
from remembering import MINUTES, fill, rotate
from worlds import open_home

COLUMNS = ("way", "rows of the day", "peak, MiB", "of that before it began, MiB", "")

THEIRS = {
    "ConnectorX: stream of Arrow": "_connectorx",
    "ADBC: stream of Arrow": "_adbc",
    "pandas: read_sql in chunks": "_chunks",
    "pandas: read_sql, to_parquet": "_read_sql",
}
UP_TO_A_MILLION = ("_chunks", "_read_sql")
"""These need a minute for five million rows."""


def export(home: Path, way: str) -> Iterator[int]:
    """Bring a day out in another way (see `Aside`)."""
    with open_home(home) as tc:
        exporting = Exporting(Bars(tc, home), home / "out")
        (leaf,) = exporting.bars.leaves()
        yield peak_bytes()
        getattr(exporting, way)(leaf, home / "out" / "day.parquet")
    yield peak_bytes()


def lines(folder: Path, symbols: int) -> Iterator[list[Cell]]:
    """Each way with a day of so many symbols, ours last, which takes the day away."""
    home = folder / f"memory{symbols}"
    rows = symbols * MINUTES
    filling = Aside(fill, home, symbols)
    filling.prepared()
    filling.measured()
    for name, way in THEIRS.items():
        if way in UP_TO_A_MILLION and rows > 1_500_000:  # noqa: PLR2004  # a million and a little
            continue
        aside = Aside(export, home, way, apart=True)
        try:
            before, peak = aside.prepared(), aside.measured()
        except RuntimeError as error:
            if "ModuleNotFoundError" not in str(error):
                FAILURES.append(f"{name}: {error}")
            yield [name, rows, None, None, "not installed" if "ModuleNotFoundError" in str(error) else "failed"]
            continue
        say(f"{name}: {peak >> 20} MiB")
        yield [name, rows, peak >> 20, before >> 20, ""]
    aside = Aside(rotate, home, apart=True)
    before = aside.prepared()
    moved, peak = aside.measured()
    yield ["**thermocline, whole rotation**", moved, peak >> 20, before >> 20, "written, read back, compared"]


def measure(folder: Path, asked: Asked) -> Iterator[Table]:
    """See `full`."""
    for size in asked.rows:
        yield Table(
            f"memory_{short(size)}",
            f"Peak memory of one process for one day of {size / 1e6:g} million rows",
            COLUMNS,
            list(lines(folder, max(2, asked.scaled(size) // MINUTES))),
            chart=COLUMNS[2],
        )
