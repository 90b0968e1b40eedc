"""How much memory it takes to rotate one day, be it of one million rows or of five."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

from asides import Aside
from measuring import peak_bytes, say
from worlds import FIRST_DAY, like_bars, open_home, statement, symbols

from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import Partition
from thermocline.ports import Publication
from thermocline.tasks.archive import settled_head

MINUTES = 1_440
DAY = Partition("market_data", "1min", FIRST_DAY)


def fill(home: Path, symbol_count: int) -> Iterator[int]:
    """Have a day in PostgreSQL that was never cold (see `Aside`)."""
    with open_home(home) as tc, tc.hot.writer(MARKET_DATA) as writer, tc.lake.run("fill"):
        statement(tc, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")  # no time is measured here
        head = settled_head(writer, tc.lake, MARKET_DATA, run_id="fill", anew=True)
        writer.publish(
            Publication(MARKET_DATA, head, "fill", []), {DAY: like_bars(FIRST_DAY, symbols(symbol_count), MINUTES)}
        )
    yield symbol_count * MINUTES
    yield symbol_count * MINUTES


def rotate(home: Path) -> Iterator[tuple[int, int]]:
    """Rotate the day; how many rows it had, and the most memory that this process took (see `Aside`)."""
    with open_home(home) as tc:
        yield peak_bytes()
        done = tc.rotate(["market_data"], as_of=FIRST_DAY + timedelta(days=60))
        if len(done.moved) != 1 or done.failed:
            raise AssertionError(done.failed)
    yield done.moved[0].rows, peak_bytes()


def fillings(homes: Mapping[Path, int]) -> dict[Path, Aside]:
    """Homes that begin to be filled with a day of so many symbols."""
    return {home: Aside(fill, home, count) for home, count in homes.items()}


def peaks(fillings: Mapping[Path, Aside]) -> dict[int, int]:
    """The most memory, in bytes, by how many rows were rotated; each in a process apart, which begins when it can."""
    begun = []
    for home, filling in fillings.items():
        filling.prepared()
        filling.measured()
        rotating = Aside(rotate, home, apart=True)
        begun.append((rotating, rotating.prepared()))
        rotating.start()
    found = {}
    for rotating, before in begun:
        rows, peak = rotating.result()
        say(f"rotating {rows:,d} rows took {peak >> 20} MiB at most, {before >> 20} of them before it began")
        found[rows] = peak
    return found
