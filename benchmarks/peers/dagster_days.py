"""What Dagster adds to each day of a backfill in one run."""

from collections.abc import Iterator
from pathlib import Path

import orchestrating
from asides import Aside
from peers.findings import Asked, Cell, Table

DAYS = 365
COLUMNS = ("Dagster's records in", "days in the run", "ms that Dagster adds to a day", "ms of a day without it")


def measure(folder: Path, asked: Asked) -> Iterator[Table]:
    """See `full`."""
    count = max(20, asked.scaled(DAYS))
    lines: list[list[Cell]] = []
    aside = Aside(orchestrating.run, folder / "dagster", count, [orchestrating.SQLITE, orchestrating.POSTGRESQL])
    aside.prepared()
    for name, found in aside.measured().items():
        alone = (found["all days without"] - found["one day without"]) / (count - 1) * 1000
        lines.append([name, count, orchestrating.per_day_ms(found, count), alone])
    yield Table("dagster", "Dagster's overhead: days of daily bars that are backfilled again", COLUMNS, lines)
