"""How fast days go from the lake into PostgreSQL, and where the time of a load goes.

    python benchmarks/loading.py [--symbols 256] [--rounds 5]

Ten days of one-minute bars are loaded by the task that everybody calls, one day at a time and several at once, and
copied by the server itself, from files of its own, into plain tables with the same key: in turns, medians. Then one day
goes through each part of a load by itself, in seconds of this process's processor, the best of nine.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from unittest.mock import patch

from measuring import Act, median, say, scratch, seconds
from moving import Moving
from worlds import lay, leaf_tables, minute_days, open_home, statement, symbols

from thermocline.model.datasets import MARKET_DATA
from thermocline.model.fingerprint import contents_of
from thermocline.model.receipt import Receipt
from thermocline.ports import Lake
from thermocline.stores.postgres.encode import blocks
from thermocline.tasks import load

DAYS = 10
AT_ONCE = (1, 2, 3)
"""Days that are loaded at the same time."""


class Loading(Moving):
    """The same rows, which go in one way only."""

    def ways(self) -> dict[str, Act]:
        """Each way in, which finds no rows there."""
        return {"COPY by the server": self._copy_in, **{f"load, {n} at once": self._loader(n) for n in AT_ONCE}}

    def clear(self) -> None:
        """Take all rows out of PostgreSQL, without a trace."""
        dropped = [f"DROP TABLE {leaf}" for leaf in leaf_tables(self.tc)]
        statement(self.tc, *dropped, "DELETE FROM thermocline.hot_day", "CHECKPOINT")
        self._make_tables()

    def _loader(self, at_once: int) -> Act:
        def act() -> None:
            with patch.object(load, "DAYS_AT_ONCE", at_once):
                self.load()

        return act


def parts(lake: Lake, receipt: Receipt) -> dict[str, Act]:
    """What this process does to a day's rows."""
    batches = list(lake.read(receipt))
    return {
        "read": lambda: list(lake.read(receipt)),
        "fingerprint": lambda: contents_of(MARKET_DATA, batches),
        "encode": lambda: [len(block) for batch in batches for block in blocks(batch, MARKET_DATA.columns)],
    }


def processor_seconds(act: Callable[[], object]) -> float:
    """Of the fastest of nine."""

    def once() -> float:
        start = time.process_time()
        act()
        return time.process_time() - start

    return min(once() for _ in range(9))


def in_turns(loading: Loading, rounds: int) -> dict[str, float]:
    """The median seconds of each way; nobody always comes first."""
    ways = loading.ways()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    names: Sequence[str] = list(ways)
    for number in range(rounds):
        for name in [*names[number % len(names) :], *names[: number % len(names)]]:
            loading.clear()
            taken[name].append(seconds(ways[name]))
            say(f"{name} {taken[name][-1]:.2f} s")
    return {name: median(each) for name, each in taken.items()}


def main() -> None:
    """Print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with scratch() as folder, open_home(folder / "home") as tc:
        receipts = lay(tc, minute_days(DAYS, symbols(chosen.symbols)), "lay")
        loading = Loading(tc, folder / "copies", receipts)
        loading.prepare()
        taken = in_turns(loading, chosen.rounds)
        ceiling = taken["COPY by the server"]
        print(f"{loading.rows:,d} rows{'':20s}{'seconds':>9s}{'ratio':>8s}")
        for name, each in taken.items():
            print(f"{name:31s}{each:9.2f}{ceiling / each:8.2f}")
        slow = loading.to_sql() * loading.rows
        print(f"{'pandas.to_sql, keyed':31s}{slow:9.2f}{ceiling / slow:8.2f}")
        for name, act in parts(tc.lake, receipts[0]).items():
            each = processor_seconds(act) / receipts[0].contents.rows * 1_000_000
            print(f"{name:31s}{each:9.3f} s a million rows")


if __name__ == "__main__":
    main()
