"""Rotating a day of one-minute bars, beside the server's own COPY of its table to /dev/null.

    .venv/bin/python benchmarks/rotating.py [ROWS] [--rounds N]

A day is rotated as the lake has it, with a symbol's volumes changed since, and where the lake has nothing of it; each
in turn with the COPY, medians. Every rotation reads back and compares what it wrote, or what it found. Then the most
memory that a process takes which rotates such a day, and one five times as large.
"""

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from measuring import median, peak_bytes, say, scratch
from worlds import FIRST_DAY, drop_detached, lay, leaf_tables, minute_days, open_home, statement, symbols

from thermocline import Thermocline
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS
from thermocline.ports import Publication

MINUTES = 390
LARGER = 5
MIB = 1 << 20

_HOT, _DUE = FIRST_DAY + timedelta(days=30), FIRST_DAY + timedelta(days=60)


def prepare(tc: Thermocline, rows: int) -> None:
    """Have a day of so many rows, in hot and in the lake."""
    lay(tc, minute_days(1, symbols(max(1, rows // MINUTES)), MINUTES), "lay")
    load(tc)


def load(tc: Thermocline) -> None:
    """Bring the day to hot."""
    if tc.load_hot(["market_data"], as_of=_HOT).loaded != 1:
        msg = "the day was not loaded"
        raise AssertionError(msg)


def copy_out(tc: Thermocline) -> None:
    """What the server alone takes."""
    statement(tc, *(f"COPY {leaf} TO '/dev/null' (FORMAT BINARY)" for leaf in leaf_tables(tc)))


def rotate(tc: Thermocline) -> None:
    """Move the day out."""
    done = tc.rotate(["market_data"], as_of=_DUE)
    if len(done.moved) != 1 or done.failed:
        msg = f"the day was not rotated: {done.failed}"
        raise AssertionError(msg)


def change(tc: Thermocline) -> None:
    """Have the day say something that the lake does not."""
    changed = "SET volume = volume + 1, ingested_at = now() WHERE symbol = 'S00000'"
    statement(tc, *(f"UPDATE {leaf} {changed}" for leaf in leaf_tables(tc)))


def withdraw(tc: Thermocline) -> None:
    """Have the lake say nothing of the day."""
    with tc.hot.writer(MARKET_DATA) as writer:
        live = [vintage.partition for vintage in writer.live(ALL_DAYS)]
        writer.publish(Publication(MARKET_DATA, None, "withdraw", withdrawn=live))


def measure(home: Path, rows: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each act, in turns."""
    taken: dict[str, list[float]] = {}

    def timed(name: str, act: Callable[[Thermocline], None], tc: Thermocline) -> None:
        statement(tc, "CHECKPOINT")
        began = time.perf_counter()
        act(tc)
        taken.setdefault(name, []).append(time.perf_counter() - began)
        say(f"{name} {taken[name][-1]:.2f} s")

    with open_home(home) as tc:
        prepare(tc, rows)
        for _ in range(rounds):
            for name, alter in (("unchanged", None), ("changed", change), ("new", withdraw)):
                if alter:
                    alter(tc)
                timed("copy_out", copy_out, tc)
                timed(name, rotate, tc)
                drop_detached(tc)
                load(tc)
    return taken


def peak(home: Path, told: "multiprocessing.Queue[int]") -> None:
    """Tell what a process of its own takes at most that rotates a changed day."""
    with open_home(home) as tc:
        rotate(tc)
    told.put(peak_bytes())


def memory(home: Path, rows: int) -> int:
    """The peak of a fresh process that rotates a changed day of so many rows."""
    with open_home(home) as tc:
        prepare(tc, rows)
        change(tc)
    spawned = multiprocessing.get_context("spawn")
    told: multiprocessing.Queue[int] = spawned.Queue()
    process = spawned.Process(target=peak, args=(home, told))
    process.start()
    found = told.get(timeout=600)
    process.join()
    return found


def main() -> None:
    """Measure, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="measure memory alone")
    given = parser.parse_args()
    found: dict[str, float] = {}
    with scratch() as folder:
        if not given.memory:
            taken = {name: median(each) for name, each in measure(folder / "time", given.rows, given.rounds).items()}
            found |= {
                f"rotate_{name}_vs_copy_out": taken["copy_out"] / taken[name] for name in taken if name != "copy_out"
            }
            found |= {f"{name}_s": each for name, each in taken.items()}
        peaks = [memory(folder / f"memory{times}", given.rows * times) for times in (1, LARGER)]
        found |= {"peak_mib": peaks[0] / MIB, "peak_mib_5x": peaks[1] / MIB, "peak_memory_growth": peaks[1] / peaks[0]}
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))


if __name__ == "__main__":
    main()
