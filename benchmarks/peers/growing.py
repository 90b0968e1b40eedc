"""Whether a row costs the same in the fifth year as in the first: five years of one-minute bars, a day of each 50 full.

Every day of five years is in the ledger and in the table's metadata. Of 50 days one has all symbols, and is written,
loaded, asked and rotated by itself; the days between have one symbol, so that the disk holds it.
"""

import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

from measuring import interleaved, median, say
from peers.findings import Asked, Cell, Table
from worlds import days, drop_detached, lay, minute_bars, open_home, statement, symbols

from thermocline import Thermocline
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import Partition
from thermocline.model.query import Query
from thermocline.tasks.query import route_of

SYMBOLS, MINUTES = 500, 390
SPAN, STEP = 5 * 365, 50
EDGE = 8
"""So many full days at each end are held against each other."""

COLUMNS = ("act", "first days", "last days", "last ÷ first", "unit")


def measure(folder: Path, asked: Asked) -> Iterator[Table]:
    """See `full`."""
    names = symbols(asked.scaled(SYMBOLS))
    all_days = days(SPAN)
    taken: dict[str, list[float]] = {}

    def timed(name: str, act: Callable[[], object], per: float) -> None:
        began = time.perf_counter()
        act()
        taken.setdefault(name, []).append((time.perf_counter() - began) / per)

    with open_home(folder / "scale") as tc:
        rows = 0
        for first in range(0, SPAN, STEP):
            full, between = all_days[first], all_days[first + 1 : first + STEP]
            batches = list(minute_bars(full, names, MINUTES))
            millions = len(names) * MINUTES / 1e6
            timed("write and commit", lambda d=full, b=batches: lay(tc, [(_minutes(d), b)], f"full{d}"), millions)
            _load_and_rotate(tc, full, names, timed)
            lay(tc, ((_minutes(day), minute_bars(day, names[:1], 30)) for day in between), f"between{full}")
            rows += len(names) * MINUTES
            if not first % (10 * STEP):
                say(f"{full}, {rows:,d} rows")
        planned = _plan(tc, asked.rounds)
    lines = [_line(name, each) for name, each in taken.items()]
    lines.append([f"plan over all {SPAN:,d} days", None, planned * 1000, None, "ms"])
    yield Table(
        "scale",
        f"Five years of one-minute bars, {len(names)} symbols: {len(all_days[::STEP])} full days, {rows:,d} rows",
        COLUMNS,
        lines,
        note=f"Medians of the first and of the last {EDGE} full days.",
    )


def _minutes(day: date) -> Partition:
    return Partition("market_data", "1min", day)


def _load_and_rotate(
    tc: Thermocline, day: date, names: list[str], timed: Callable[[str, Callable[[], object], float], None]
) -> None:
    end = day + timedelta(days=1)
    millions = len(names) * MINUTES / 1e6

    def ask() -> None:
        for symbol in (names[1], names[-1]):
            answer = tc.query("market_data", symbols=[symbol], interval="1min", start=day, end=end).to_arrow()
            if len(answer) != MINUTES:
                msg = f"{len(answer)} rows of {day}, not {MINUTES}"
                raise AssertionError(msg)

    ask()
    timed("ask for a symbol, cold", ask, 2e-3)
    timed("load", lambda: _load(tc, day), millions)
    ask()
    timed("ask for a symbol, hot", ask, 2e-3)
    timed("rotate, unchanged", lambda: _rotate(tc, day), millions)
    drop_detached(tc)
    statement(tc, "CHECKPOINT")


def _load(tc: Thermocline, day: date) -> None:
    done = tc.load_hot(["market_data"], as_of=day + timedelta(days=30))
    if done.loaded != 1:
        msg = f"{done.loaded} days were loaded, not 1"
        raise AssertionError(msg)


def _rotate(tc: Thermocline, day: date) -> None:
    done = tc.rotate(["market_data"], as_of=day + timedelta(days=60))
    if len(done.moved) != 1 or done.failed:
        msg = f"the day was not rotated: {done.failed}"
        raise AssertionError(msg)


def _plan(tc: Thermocline, rounds: int) -> float:
    asked = Query(MARKET_DATA, intervals=("1min",))

    def plan() -> None:
        with tc.hot.snapshot([MARKET_DATA], asked.days, asked.intervals) as snapshot:
            planned = sum(len(segment.days) for segment in route_of(snapshot, asked).segments)
        if planned != SPAN:
            msg = f"{planned} days were planned, not {SPAN}"
            raise AssertionError(msg)

    return interleaved({"plan": plan}, 3 * rounds, warm=2)["plan"]


def _line(name: str, each: list[float]) -> list[Cell]:
    first, last = median(each[:EDGE]), median(each[-EDGE:])
    return [name, first, last, last / first, "ms" if name.startswith("ask") else "s for 1 M rows"]
