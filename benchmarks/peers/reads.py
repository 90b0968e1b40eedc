"""One symbol on 30 of 365 days of one-minute bars: ours, engines told the right files, and files as they often lie."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.dataset as ds
from peers.bars import Sums
from peers.findings import Asked, Cell, Table, Way, check, in_turns
from peers.year import ASKED, ASKED_DAYS, LAST_DAY, SYMBOL, Year, instant, sums_of_answer, year

COLUMNS = ("way", "milliseconds", "× the time of ours", "")
OURS = "thermocline, through the router"

START, END = ASKED, ASKED + timedelta(days=ASKED_DAYS)

_IN_SQL = "SELECT * FROM read_parquet(?) WHERE symbol = ? AND interval = '1min' AND ts >= ? AND ts < ? ORDER BY ts"


class Reads:
    """Every way to ask."""

    def __init__(self, asked: Year) -> None:
        """Of a year."""
        self.year = asked
        self._duck = duckdb.connect()
        self._last: Any = None

    def listed(self) -> dict[str, Way]:
        """Ours, and engines that are told the right files."""
        paths = self.year.paths(START, END)
        return {
            OURS: self._way(lambda: self.year.query(START, END)),
            "DuckDB, told the files": self._way(lambda: self._in_duck(paths)),
            "Polars, told the files": self._way(lambda: self._in_polars(paths)),
            "pyarrow dataset, told the files": self._way(lambda: self._in_pyarrow(paths)),
        }

    def naive(self) -> dict[str, Way]:
        """Engines over a folder of unsorted files."""
        pattern = f"{self.year.naive}/*.parquet"
        return {
            "DuckDB, all files of a folder, unsorted": self._way(lambda: self._in_duck(pattern)),
            "Polars, the same": self._way(lambda: self._in_polars(pattern)),
            "pyarrow dataset, the same": self._way(lambda: self._in_pyarrow(self.year.naive)),
            "pandas, the same": self._way(self._in_pandas, rounds=1),
        }

    def _way(self, act: Callable[[], Any], rounds: int = 0) -> Way:
        def acted() -> None:
            self._last = act()

        return Way(acted, check=lambda: check(sums_of_answer(self._last), self.expected, "asked"), rounds=rounds)

    @property
    def expected(self) -> Sums:
        """By the simplest reader."""
        rows = ds.dataset(self.year.naive).to_table(filter=_chosen())
        return sums_of_answer(rows)

    def _in_duck(self, paths: Any) -> Any:
        return self._duck.execute(_IN_SQL, [paths, SYMBOL, instant(START), instant(END)]).to_arrow_table()

    def _in_polars(self, paths: Any) -> Any:
        import polars as pl  # noqa: PLC0415  # may be missing

        wanted = (
            (pl.col("symbol") == SYMBOL)
            & (pl.col("interval") == "1min")
            & pl.col("ts").is_between(instant(START), instant(END), closed="left")
        )
        return pl.scan_parquet(paths, hive_partitioning=False).filter(wanted).sort("ts").collect()

    def _in_pyarrow(self, paths: Any) -> Any:
        return ds.dataset(paths).to_table(filter=_chosen()).sort_by("ts")

    def _in_pandas(self) -> Any:
        frame = pd.concat(map(pd.read_parquet, self.year.files()))
        wanted = (frame["ts"] >= instant(START)) & (frame["ts"] < instant(END))
        return frame[wanted & (frame["symbol"] == SYMBOL)]


def _chosen() -> Any:
    return (ds.field("symbol") == SYMBOL) & (ds.field("ts") >= instant(START)) & (ds.field("ts") < instant(END))


def lines(ways: dict[str, Way], rounds: int, slow: dict[str, Way] | None = None, ours: str = OURS) -> list[list[Cell]]:
    """Milliseconds of each way, beside ours."""
    found = in_turns(ways, 5 * rounds, warm=2)
    if slow:
        later = in_turns(slow, max(1, rounds), warm=0)
        found.taken |= later.taken
        found.missing |= later.missing
    base = found.seconds(ours)
    made: list[list[Cell]] = []
    for name, way in {**ways, **(slow or {})}.items():
        taken = found.seconds(name)
        label = f"**{name}**" if name == ours else name
        if taken is None or base is None:
            made.append([label, None, None, found.missing.get(name, way.note)])
        else:
            made.append([label, taken * 1000, taken / base, way.note])
    return made


def measure(folder: Path, asked: Asked) -> Iterator[Table]:
    """See `full`."""
    with year(folder, asked) as found:
        reads = Reads(found)
        rows = ds.dataset(found.naive).count_rows()
        yield Table(
            "reads_days",
            f"One symbol on {ASKED_DAYS} of 365 days, {rows:,d} rows in all, a file a day",
            COLUMNS,
            lines(reads.listed(), asked.rounds, reads.naive()),
            chart=COLUMNS[1],
        )
        done = found.tc.compact(["market_data"], intervals=["1min"], as_of=LAST_DAY + timedelta(days=90))
        if done.failed:
            raise AssertionError(done.failed)
        objects = len(found.paths(START, END))
        yield Table(
            "reads_months",
            f"The same days, compacted to months: {objects} objects are read",
            COLUMNS,
            lines(reads.listed(), asked.rounds),
            chart=COLUMNS[1],
        )
