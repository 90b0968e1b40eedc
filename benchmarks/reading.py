"""Questions through the router, beside engines that are told the right files, and beside files as they often lie."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from glob import glob
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from measuring import Act, interleaved, seconds
from worlds import FIRST_DAY, daily_days, days, lay, minute_bars, object_paths, open_home, symbols, synced_at_the_end

from thermocline import Thermocline
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import DayRange, Partition
from thermocline.model.query import Query
from thermocline.tasks.query import route_of

DAYS = 365
ASKED_DAYS = 30
DAILY_DAYS = 2_000
DAILY_SYMBOLS = 20
FIVE_YEARS = 5 * 365 + 1
LAST_DAY = FIRST_DAY + timedelta(days=DAYS)
"""The day after the last one."""

ASKED = FIRST_DAY + timedelta(days=150)
FIRST_DAILY = LAST_DAY - timedelta(days=DAILY_DAYS)
SYMBOL = "S00011"


@dataclass(frozen=True)
class Size:
    """How much a day of one-minute bars is."""

    symbols: int
    minutes: int


def lay_out(home: Path, naive: Path, size: Size) -> Iterator[int]:
    """Lay a year of one-minute bars and 2,000 daily ones, and the year's rows as they often lie (see `Aside`).

    The daily ones are compacted, years in an object each.
    """
    names = symbols(size.symbols)
    naive.mkdir()

    def kept(day: date) -> Iterator[pa.RecordBatch]:
        rows = pa.Table.from_batches(minute_bars(day, names, size.minutes))
        dice = np.random.default_rng(day.toordinal())
        # As rows come: by time, and the symbols of an instant in any order.
        mixed = rows.take(np.lexsort((dice.permutation(len(rows)), rows["ts"].cast(pa.int64()).to_numpy())))
        pq.write_table(mixed, naive / f"bars_{day:%Y%m%d}.parquet", compression="zstd")
        yield from rows.to_batches()

    with open_home(home) as tc, synced_at_the_end():
        minutes = ((Partition("market_data", "1min", day), kept(day)) for day in days(DAYS))
        receipts = lay(tc, minutes, "minutes")
        lay(tc, daily_days(days(DAILY_DAYS, FIRST_DAILY), symbols(DAILY_SYMBOLS)), "daily")
        done = tc.compact(["market_data"], intervals=["1day"], as_of=LAST_DAY + timedelta(days=90))
        if done.failed:
            raise AssertionError(done.failed)
        tc.load_hot(["market_data"], as_of=LAST_DAY)
    rows = sum(receipt.contents.rows for receipt in receipts)
    yield rows
    yield rows


@dataclass(frozen=True)
class Reading:
    """What is asked of a home that was laid out."""

    tc: Thermocline
    naive: Path
    size: Size

    def cold(self, rounds: int) -> dict[str, float]:
        """Seconds for a symbol on 30 of 365 days, by engine."""
        start, end = ASKED, ASKED + timedelta(days=ASKED_DAYS)
        paths = object_paths(self.tc, DayRange(start, end))
        bare = duckdb.connect()
        chosen = (ds.field("symbol") == SYMBOL) & (ds.field("ts") >= _instant(start)) & (ds.field("ts") < _instant(end))

        def by_pandas() -> pd.DataFrame:
            frame = pd.concat(map(pd.read_parquet, glob(f"{self.naive}/*.parquet")))  # noqa: PTH207  # as people do
            wanted = (frame["ts"] >= pd.Timestamp(start, tz="UTC")) & (frame["ts"] < pd.Timestamp(end, tz="UTC"))
            return frame[wanted & (frame["symbol"] == SYMBOL)]

        fast: dict[str, Act] = {
            "router": lambda: self._routed(start, end, ASKED_DAYS),
            "duckdb_list": lambda: self._scanned(bare, paths, start, end),
        }
        naive: dict[str, Act] = {
            "pyarrow_dataset": lambda: self._complete(
                ds.dataset(self.naive).to_table(filter=chosen).sort_by("ts"), ASKED_DAYS
            )
        }
        found = interleaved(fast, 5 * rounds, warm=2) | interleaved(naive, rounds)
        return found | {"pandas": seconds(lambda: self._complete(by_pandas(), ASKED_DAYS))}

    def hybrid(self, rounds: int) -> dict[str, float]:
        """Seconds for a symbol over 30 hot and 30 cold days, and for each half by its bare engine."""
        middle, start = LAST_DAY - timedelta(days=30), LAST_DAY - timedelta(days=60)
        paths = object_paths(self.tc, DayRange(start, middle))
        bare = duckdb.connect()
        with psycopg.connect(self.tc.hot.url, autocommit=True) as connection:

            def hot() -> None:
                rows = connection.execute(
                    "SELECT * FROM market_data WHERE symbol = %s AND interval = '1min' AND ts >= %s AND ts < %s "
                    "ORDER BY ts",
                    (SYMBOL, _instant(middle), _instant(LAST_DAY)),
                ).fetchall()
                self._complete(rows, 30)

            return interleaved(
                {
                    "router": lambda: self._routed(start, LAST_DAY, 60),
                    "duckdb": lambda: self._scanned(bare, paths, start, middle),
                    "postgresql": hot,
                },
                5 * rounds,
                warm=2,
            )

    def plan(self, rounds: int) -> float:
        """Seconds to know, for a question over 2,000 partitions, from where each is answered."""
        asked = Query(MARKET_DATA, intervals=("1day",))

        def plan() -> None:
            with self.tc.hot.snapshot([MARKET_DATA], asked.days, asked.intervals) as snapshot:
                planned = sum(len(segment.days) for segment in route_of(snapshot, asked).segments)
            if planned != DAILY_DAYS:
                msg = f"{planned} partitions were planned, not {DAILY_DAYS}"
                raise AssertionError(msg)

        return interleaved({"plan": plan}, 3 * rounds, warm=2)["plan"]

    def daily(self, rounds: int) -> float:
        """Seconds for five years of daily bars of a symbol."""
        start = LAST_DAY - timedelta(days=FIVE_YEARS)

        def ask() -> None:
            answer = self.tc.query("market_data", symbols=[SYMBOL], interval="1day", start=start, end=LAST_DAY)
            if answer.to_arrow().num_rows != FIVE_YEARS:
                msg = "days are missing"
                raise AssertionError(msg)

        return interleaved({"daily": ask}, 3 * rounds, warm=2)["daily"]

    # -------------------------------------------------------------------------------------------------------- questions

    def _routed(self, start: date, end: date, day_count: int) -> None:
        answer = self.tc.query("market_data", symbols=[SYMBOL], interval="1min", start=start, end=end)
        self._complete(answer.to_arrow(), day_count)

    def _scanned(self, bare: duckdb.DuckDBPyConnection, paths: list[str], start: date, end: date) -> None:
        found = bare.execute(
            "SELECT * FROM read_parquet(?) WHERE symbol = ? AND interval = '1min' AND ts >= ? AND ts < ? ORDER BY ts",
            [paths, SYMBOL, _instant(start), _instant(end)],
        ).to_arrow_table()
        self._complete(found, (end - start).days)

    def _complete(self, rows: Any, day_count: int) -> None:
        if len(rows) != day_count * self.size.minutes:
            msg = f"{len(rows)} rows came, not {day_count * self.size.minutes}"
            raise AssertionError(msg)


def _instant(day: date) -> Any:
    return pd.Timestamp(day, tz="UTC").to_pydatetime()
