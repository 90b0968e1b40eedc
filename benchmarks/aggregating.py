"""Bars of an hour and measures of a day, made where the rows are, beside each engine's own SQL and pandas.

    python benchmarks/aggregating.py [--symbols 100] [--days 60] [--rounds 3] [--no-pandas]

The same one-minute bars lie in two homes: in one all days are hot; in the other none, then the later half.
Asked are OHLCV bars of an hour, the same as `resample` makes them (right at the bounds of sessions, with exact averages
by volume), and volume and average close by day; of all symbols each time. DuckDB reads the same files, PostgreSQL the
same tables, with the statement that a person would write; pandas reads either into memory. Every answer's groups are
counted and its volume is added up. Medians of interleaved rounds; pandas once.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import duckdb
import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from measuring import Act, interleaved, say, scratch, seconds, tell
from worlds import FIRST_DAY, lay, minute_days, object_paths, open_home, symbols

from thermocline import Thermocline

OHLCV = {
    "open": "first(open)",
    "high": "max(high)",
    "low": "min(low)",
    "close": "last(close)",
    "volume": "sum(volume)",
}
DAILY = {"volume": "sum(volume)", "close": "avg(close)", "bars": "count"}
ASKED: dict[str, tuple[dict[str, str], str]] = {"hours": (OHLCV, "1hour"), "days": (DAILY, "1day")}
"""Measures, and of how long a group."""

IN_POSTGRESQL = {
    "hours": """SELECT symbol, date_bin('1 hour', ts, 'epoch') AS ts, (array_agg(open ORDER BY ts))[1] AS open,
                max(high) AS high, min(low) AS low, (array_agg(close ORDER BY ts DESC))[1] AS close,
                sum(volume) AS volume FROM market_data GROUP BY 1, 2""",
    "days": """SELECT symbol, date_bin('1 day', ts, 'epoch') AS ts, sum(volume) AS volume, avg(close) AS close,
               count(*) AS bars FROM market_data GROUP BY 1, 2""",
}
IN_DUCKDB = {
    "hours": """SELECT symbol, epoch_us(ts) // 3600000000 AS ts, arg_min(open, ts) AS open, max(high) AS high,
                min(low) AS low, arg_max(close, ts) AS close, sum(volume) AS volume
                FROM read_parquet(?) GROUP BY ALL""",
    "days": """SELECT symbol, epoch_us(ts) // 86400000000 AS ts, sum(volume) AS volume, avg(close) AS close,
               count(*) AS bars FROM read_parquet(?) GROUP BY ALL""",
}
"""Buckets in whole numbers: `time_bucket` of instants asks a calendar for each row, and takes many times as long."""

IN_PANDAS = {
    "hours": {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"},
    "days": {"volume": "sum", "close": "mean"},
}


@dataclass(frozen=True)
class Laid:
    """The two homes, and what every answer must come to."""

    all_hot: Thermocline
    other: Thermocline
    paths: Sequence[str]
    groups: dict[str, int]
    volume: float

    def acts(self, name: str, tier: str) -> dict[str, Act]:
        """Who is asked for it."""
        asked = self.all_hot if tier == "hot" else self.other
        measures, every = ASKED[name]

        def by_us() -> None:
            answer = asked.aggregate("market_data", measures, by=["symbol"], every=every, interval="1min")
            self._check(name, answer.to_arrow())

        found: dict[str, Act] = {"thermocline": by_us}
        if name == "hours":
            found["resample"] = lambda: asked.resample(to="1hour").to_arrow()
        if tier == "cold":
            found["duckdb"] = lambda: self._by_duckdb(name)
        else:
            found["postgresql"] = lambda: self._by_postgresql(name)
        return found

    def by_pandas(self, name: str, hot_days: int, day_count: int) -> None:
        """Days from files, the later ones from tables, in one frame that is grouped."""
        columns = ["symbol", "ts", "open", "high", "low", "close", "volume"]
        frames = [pd.read_parquet(path, columns=columns) for path in self.paths[: day_count - hot_days]]
        if hot_days:
            since = FIRST_DAY + timedelta(days=day_count - hot_days)
            sql = f"SELECT {', '.join(columns)} FROM market_data WHERE ts >= '{since}'"  # noqa: S608  # our own words
            with psycopg.connect(self.all_hot.hot.url) as connection:
                frames.append(pd.DataFrame(connection.execute(sql).fetchall(), columns=columns))
        prices = ["open", "high", "low", "close"]
        rows = pd.concat(frames).astype(dict.fromkeys(prices, float)).sort_values(["symbol", "ts"])
        every = {"hours": "1h", "days": "1D"}[name]
        found = rows.groupby(["symbol", pd.Grouper(key="ts", freq=every)]).agg(IN_PANDAS[name])
        self._check(name, pa.table({"volume": found["volume"].to_numpy()}))

    def _by_duckdb(self, name: str) -> None:
        with duckdb.connect() as connection:
            self._check(name, connection.execute(IN_DUCKDB[name], [list(self.paths)]).to_arrow_table())

    def _by_postgresql(self, name: str) -> None:
        with psycopg.connect(self.all_hot.hot.url) as connection:
            cursor = connection.execute(IN_POSTGRESQL[name])
            at = [column.name for column in cursor.description or ()].index("volume")
            self._check(name, pa.table({"volume": [row[at] for row in cursor.fetchall()]}))

    def _check(self, name: str, answer: pa.Table) -> None:
        volume = pc.sum(answer["volume"]).as_py()
        if len(answer) != self.groups[name] or volume != self.volume:
            msg = f"{name}: {len(answer)} groups and a volume of {volume}, not {self.groups[name]} and {self.volume}"
            raise AssertionError(msg)


def fill(tc: Thermocline, day_count: int, symbol_count: int, minutes: int) -> Any:
    """Lay the days; how many rows there are, and their files in order."""
    receipts = lay(tc, minute_days(day_count, symbols(symbol_count), minutes), "bench")
    return sum(receipt.contents.rows for receipt in receipts), object_paths(tc)


def after(day_count: int) -> date:
    """The day after so many."""
    return FIRST_DAY + timedelta(days=day_count)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--minutes", type=int, default=390)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-pandas", action="store_true")
    given = parser.parse_args()
    hot_days = given.days // 2
    with scratch() as folder, open_home(folder / "hot") as all_hot, open_home(folder / "other") as other:
        for tc in (all_hot, other):
            rows, paths = fill(tc, given.days, given.symbols, given.minutes)
        all_hot.load_hot(["market_data"], as_of=after(30))  # every day from thirty days before that on
        wanted = duckdb.execute("SELECT sum(volume) FROM read_parquet(?)", [paths]).fetchall()[0][0]
        groups = {
            name: duckdb.execute(f"SELECT count(*) FROM ({IN_DUCKDB[name]})", [paths]).fetchall()[0][0]  # noqa: S608
            for name in ASKED
        }
        laid = Laid(all_hot, other, paths, groups, wanted)
        say(f"{rows:,d} rows laid")
        print("seconds, and in brackets how many times as long as ours")
        for tier, of_them_hot in (("cold", 0), ("both", hot_days), ("hot", given.days)):
            if tier == "both":
                # A tier answers for whole days; what is loaded is read from PostgreSQL from now on.
                other.load_hot(["market_data"], as_of=after(given.days - hot_days + 30))
            for name in ASKED:
                taken = interleaved(laid.acts(name, tier), given.rounds)
                if not given.no_pandas:
                    asked = (name, of_them_hot, given.days)
                    taken["pandas"] = seconds(lambda asked=asked: laid.by_pandas(*asked))  # type: ignore[misc]
                tell(f"{tier}, {name}", taken, f"{rows / taken['thermocline'] / 1e6:.1f} M rows/s")


if __name__ == "__main__":
    main()
