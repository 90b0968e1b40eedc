"""Daily bars and sums of all symbols over 30 hot and 30 cold days: ours, and one engine that has all rows."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
from peers.findings import Asked, Table, Way, check
from peers.reads import COLUMNS, lines
from peers.year import BOTH_FROM, LAST_DAY, Year, instant, year

OURS = "thermocline, both tiers"

MEASURES = {
    "open": "first(open)",
    "high": "max(high)",
    "low": "min(low)",
    "close": "last(close)",
    "volume": "sum(volume)",
    "rows": "count",
}
_IN_POSTGRESQL = """SELECT symbol, date_trunc('day', ts, 'UTC') AS ts, (array_agg(open ORDER BY ts))[1] AS open,
    max(high) AS high, min(low) AS low, (array_agg(close ORDER BY ts DESC))[1] AS close, sum(volume) AS volume,
    count(*) AS rows FROM {table} WHERE interval = '1min' AND ts >= '{start}' AND ts < '{end}'
    GROUP BY 1, 2 ORDER BY 1, 2"""
_IN_DUCKDB = """SELECT symbol, date_trunc('day', ts) AS ts, arg_min(open, ts) AS open, max(high) AS high,
    min(low) AS low, arg_max(close, ts) AS close, sum(volume) AS volume, count(*) AS rows FROM read_parquet(?)
    WHERE interval = '1min' AND ts >= ? AND ts < ? GROUP BY 1, 2 ORDER BY 1, 2"""


class Aggregates:
    """Every way to ask for bars of a day."""

    def __init__(self, asked: Year) -> None:
        """Of a year."""
        self.year = asked
        self._duck = duckdb.connect()
        self._last: Any = None
        table = asked.all_in_postgresql()
        self._in_postgresql = _IN_POSTGRESQL.format(table=table, start=BOTH_FROM, end=LAST_DAY)
        self.expected = asked.ask(
            f"SELECT sum(open), sum(high), sum(low), sum(close), sum(volume), sum(rows) FROM ({self._in_postgresql}) t"  # noqa: S608
        )[0]

    def ways(self) -> dict[str, Way]:
        """Ours and others."""
        paths = self.year.paths(BOTH_FROM, LAST_DAY)
        return {
            OURS: self._way(self._ours),
            "resample of the same, by sessions": Way(
                self._resampled, note="ours; knows calendars, volume-weighted averages"
            ),
            "all rows in one table of PostgreSQL": self._way(self._postgresql),
            "all rows in files, DuckDB told which": self._way(lambda: self._in_duck(paths)),
            "Polars, the same files": self._way(lambda: self._polars(paths)),
            "pandas, the same files": self._way(lambda: self._pandas(paths), rounds=2),
        }

    def _way(self, act: Callable[[], Any], rounds: int = 0) -> Way:
        def acted() -> None:
            self._last = act()

        def checked() -> None:
            names = ("open", "high", "low", "close", "volume", "rows")
            frame = self._last if isinstance(self._last, pd.DataFrame) else self._last.to_pandas()
            check(
                [round(float(frame[name].astype(float).sum()), 4) for name in names], _rounded(self.expected), "asked"
            )

        return Way(acted, check=checked, rounds=rounds)

    def _ours(self) -> Any:
        return self.year.tc.aggregate(
            "market_data", MEASURES, by=["symbol"], every="1day", interval="1min", start=BOTH_FROM, end=LAST_DAY
        ).to_arrow()

    def _resampled(self) -> Any:
        rows = self.year.tc.resample(
            "market_data", to="1day", interval="1min", start=BOTH_FROM, end=LAST_DAY, align="clock"
        ).to_arrow()
        if not len(rows):
            msg = "no bars were made"
            raise AssertionError(msg)

    def _postgresql(self) -> Any:
        names = ("symbol", "ts", *MEASURES)
        return pd.DataFrame.from_records(self.year.ask(self._in_postgresql), columns=names)

    def _in_duck(self, paths: list[str]) -> Any:
        return self._duck.execute(_IN_DUCKDB, [paths, instant(BOTH_FROM), instant(LAST_DAY)]).to_arrow_table()

    def _polars(self, paths: list[str]) -> Any:
        import polars as pl  # noqa: PLC0415  # may be missing

        wanted = (pl.col("interval") == "1min") & pl.col("ts").is_between(
            instant(BOTH_FROM), instant(LAST_DAY), closed="left"
        )
        day = pl.col("ts").dt.truncate("1d").alias("day")
        found = pl.scan_parquet(paths, hive_partitioning=False).filter(wanted).sort("symbol", "ts")
        return (
            found.group_by("symbol", day, maintain_order=True)
            .agg(
                pl.col("open").first(),
                pl.col("high").max(),
                pl.col("low").min(),
                pl.col("close").last(),
                pl.col("volume").sum(),
                pl.len().alias("rows"),
            )
            .collect()
        )

    def _pandas(self, paths: list[str]) -> Any:
        frame = pd.concat(map(pd.read_parquet, paths))
        frame = frame[(frame["interval"] == "1min") & (frame["ts"] >= instant(BOTH_FROM))].sort_values(["symbol", "ts"])
        return frame.groupby(["symbol", frame["ts"].dt.floor("D")]).agg(
            open=("open", "first"),
            high=("high", "max"),
            low=("low", "min"),
            close=("close", "last"),
            volume=("volume", "sum"),
            rows=("open", "size"),
        )


def _rounded(values: Any) -> list[float]:
    return [round(float(each), 4) for each in values]


def measure(folder: Path, asked: Asked) -> Iterator[Table]:
    """See `full`."""
    with year(folder, asked) as found:
        made = Aggregates(found)
        rows = int(made.expected[-1])
        shown = lines(made.ways(), max(1, asked.rounds // 2), ours=OURS)
    yield Table(
        "aggregates",
        f"Daily bars of {found.size.symbols} symbols, of {rows:,d} one-minute bars: 30 hot and 30 cold days",
        COLUMNS,
        shown,
        chart=COLUMNS[1],
    )
