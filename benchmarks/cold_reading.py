"""What reading the lake costs beside engines that are told the right files: one symbol, some columns, all, a sum.

    python benchmarks/cold_reading.py [--symbols 100] [--days 60] [--rounds 3] [--columns open close]

The lake holds days of one-minute bars, first in a file each, then compacted to months. Thermocline is asked through its
ledger; DuckDB, a pyarrow dataset and pandas are given the very files in which the rows are. Asked are a symbol's thirty
days, of all columns and of some; those columns of all symbols and days; all rows with all columns, as a stream; and the
volume of each symbol. Thermocline and DuckDB bring rows in order of time; the others as they lie. Every answer's rows
are counted. Told too is how many row groups are read, of how many: the others are skipped for what their footers say.
Medians of interleaved rounds.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from measuring import Act, interleaved, say, scratch, tell
from worlds import FIRST_DAY, lay, minute_days, object_paths, open_home, symbols

from thermocline import Thermocline
from thermocline.model.partition import DayRange, midnight

ASKED_DAYS = 30
BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Asked:
    """A question: of which symbol, over which days, which columns; without any of these, all."""

    symbol: str | None
    days: DayRange
    columns: tuple[str, ...]
    rows: int

    @property
    def sql(self) -> str:
        """What a person would ask of DuckDB."""
        where = f"AND symbol = '{self.symbol}'" if self.symbol else ""
        return (
            f"SELECT {', '.join(self.columns) or '*'} FROM read_parquet(?, hive_partitioning = false) "  # noqa: S608
            f"WHERE ts >= ? AND ts < ? {where} ORDER BY ts{'' if self.symbol else ', symbol'}"
        )

    @property
    def span(self) -> tuple[Any, Any]:
        """From when to when."""
        return midnight(self.days.start), midnight(self.days.end)

    def count(self, rows: int) -> None:
        """See that they are all there."""
        if rows != self.rows:
            msg = f"{rows:,d} rows came, not {self.rows:,d}"
            raise AssertionError(msg)


@dataclass(frozen=True)
class Lake:
    """A lake that was laid, and who is asked."""

    tc: Thermocline

    def acts(self, asked: Asked) -> dict[str, Act]:
        """Each engine, asked the same."""
        paths = object_paths(self.tc, asked.days)
        start, end = asked.span
        columns = list(asked.columns) or None
        chosen = (ds.field("ts") >= start) & (ds.field("ts") < end)
        if asked.symbol:
            chosen &= ds.field("symbol") == asked.symbol

        def by_us() -> None:
            with self._query(asked).batches() as reader:
                asked.count(sum(batch.num_rows for batch in reader))

        def by_duckdb() -> None:
            with duckdb.connect() as connection:
                found = connection.execute(asked.sql, [paths, start, end]).to_arrow_reader(BATCH_ROWS)
                asked.count(sum(batch.num_rows for batch in found))

        def by_pyarrow() -> None:
            batches = ds.dataset(paths).to_batches(columns=columns, filter=chosen)
            asked.count(sum(batch.num_rows for batch in batches))

        def by_pandas() -> None:
            wanted = [("symbol", "==", asked.symbol)] if asked.symbol else None
            frames = (pd.read_parquet(path, columns=columns, filters=wanted) for path in paths)
            asked.count(sum(int(((frame["ts"] >= start) & (frame["ts"] < end)).sum()) for frame in frames))

        return {"thermocline": by_us, "duckdb": by_duckdb, "pyarrow": by_pyarrow, "pandas": by_pandas}

    def sums(self, days: DayRange, groups: int) -> dict[str, Act]:
        """The volume of each symbol."""
        paths = object_paths(self.tc, days)

        def check(found: pa.Table) -> None:
            if len(found) != groups:
                msg = f"{len(found)} groups came, not {groups}"
                raise AssertionError(msg)

        def by_us() -> None:
            check(self.tc.aggregate("market_data", {"v": "sum(volume)"}, by=["symbol"], interval="1min").to_arrow())

        def by_duckdb() -> None:
            with duckdb.connect() as connection:
                sql = "SELECT symbol, sum(volume) AS v FROM read_parquet(?) GROUP BY 1"
                check(connection.execute(sql, [paths]).to_arrow_table())

        def by_pyarrow() -> None:
            table = ds.dataset(paths).to_table(columns=["symbol", "volume"])
            check(table.group_by("symbol").aggregate([("volume", "sum")]))

        def by_pandas() -> None:
            frames = [pd.read_parquet(path, columns=["symbol", "volume"]) for path in paths]
            check(pa.table({"v": pd.concat(frames).groupby("symbol")["volume"].sum().to_numpy()}))

        return {"thermocline": by_us, "duckdb": by_duckdb, "pyarrow": by_pyarrow, "pandas": by_pandas}

    def told(self, asked: Asked) -> str:
        """What is read of the files, as `explain` says it."""
        start, end = asked.span
        groups = self.tc.explain(
            "market_data",
            symbols=[asked.symbol] if asked.symbol else [],
            interval="1min",
            start=start,
            end=end,
            columns=asked.columns,
        ).all_row_groups
        if groups is None:
            return "row groups unknown"
        return f"{groups.read} of {groups.total} row groups, {groups.read_bytes / 2**20:.2f} MiB"

    def _query(self, asked: Asked) -> Any:
        start, end = asked.span
        names = [asked.symbol] if asked.symbol else []
        return self.tc.query("market_data", symbols=names, interval="1min", start=start, end=end, columns=asked.columns)


def questions(symbol_count: int, day_count: int, minutes: int, columns: Sequence[str]) -> Iterator[tuple[str, Asked]]:
    """What is asked."""
    everything = DayRange(FIRST_DAY, FIRST_DAY + timedelta(days=day_count))
    middle = FIRST_DAY + timedelta(days=(day_count - ASKED_DAYS) // 2)
    month = DayRange(middle, middle + timedelta(days=ASKED_DAYS))
    some = tuple(dict.fromkeys(("ts", *columns)))
    name, rows = symbols(symbol_count)[symbol_count // 2], ASKED_DAYS * minutes
    yield "one symbol", Asked(name, month, (), rows)
    yield "one symbol, some columns", Asked(name, month, some, rows)
    yield "all symbols, some columns", Asked(None, everything, some, day_count * symbol_count * minutes)
    yield "all", Asked(None, everything, (), day_count * symbol_count * minutes)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--minutes", type=int, default=390)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--columns", nargs="+", default=["close", "volume"])
    given = parser.parse_args()
    with scratch() as folder, open_home(folder / "home") as tc:
        lay(tc, minute_days(given.days, symbols(given.symbols), given.minutes), "bench")
        lake, everything = Lake(tc), DayRange(FIRST_DAY, FIRST_DAY + timedelta(days=given.days))
        say("laid")
        print("milliseconds, and in brackets how many times as long as ours")
        for form in ("days", "months"):
            if form == "months":
                done = tc.compact(["market_data"], as_of=date(FIRST_DAY.year + 1, 1, 1))
                if done.failed:
                    raise AssertionError(done.failed)
                say("compacted")
            print(f"\n{form}")
            for title, asked in questions(given.symbols, given.days, given.minutes, given.columns):
                rounds = given.rounds * (3 if asked.symbol else 1)
                tell(title, interleaved(lake.acts(asked), rounds), lake.told(asked))
            tell("volume of each symbol", interleaved(lake.sums(everything, given.symbols), given.rounds))


if __name__ == "__main__":
    main()
