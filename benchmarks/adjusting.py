"""Bars adjusted on read: how many a second, and are they what Python's fractions say?

    .venv/bin/python benchmarks/adjusting.py [BARS]

A hundred symbols over twenty years, in batches as queries give them; three splits a symbol, then eighty dividends
besides. Two thousand closes of each are compared with the exact product; with a wrong one the exit code is 1.
"""

import argparse
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa

from thermocline.model.adjusting.factors import Adjustment, Event, dividend_factor, split_factor
from thermocline.model.adjusting.rows import RowAdjuster
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.instruments import Instruments, new_york

BATCH_ROWS = 65_536
SYMBOLS = [f"SYN{number:04d}" for number in range(100)]
YEARS = range(2000, 2020)
FIRST = int(datetime(2000, 1, 3, tzinfo=UTC).timestamp())
DAY = 86_400
COMPARED = 2_000


def batches(bars: int) -> Iterator[pa.RecordBatch]:
    """Daily bars, a batch after the other, each over all years."""
    dice = np.random.default_rng(0)
    nothing = pa.nulls(BATCH_ROWS, pa.decimal128(18, 8))
    for _ in range(-(-bars // BATCH_ROWS)):
        cents = pa.array(dice.integers(100, 100_000, BATCH_ROWS)).cast(pa.decimal128(19, 0)).cast(pa.decimal128(18, 0))
        price = cents.view(pa.decimal128(18, 2)).cast(pa.decimal128(18, 8))
        days = np.sort(dice.integers(0, 365 * len(YEARS), BATCH_ROWS))
        columns = {
            "asset_class": pa.repeat("equity", BATCH_ROWS),
            "symbol": pa.array(np.array(SYMBOLS)[dice.integers(0, len(SYMBOLS), BATCH_ROWS)]),
            "interval": pa.repeat("1day", BATCH_ROWS),
            "ts": pa.array((FIRST + days * DAY) * 1_000_000).cast(pa.timestamp("us", "UTC")),
            **dict.fromkeys(("open", "high", "low", "close"), price),
            "volume": pa.array(dice.random(BATCH_ROWS)),
            "vwap": nothing,
        }
        yield pa.RecordBatch.from_pydict(columns)


def events(*, dividends: bool) -> list[Event]:
    """Three splits of each symbol, and four dividends a year."""
    dice = random.Random(0)  # noqa: S311  # the same events each time
    made = []
    for symbol in SYMBOLS:
        for year, into in ((2003, 2), (2009, 7), (2015, 4)):
            made.append(Event("equity", symbol, date(year, 6, 9), split_factor(Fraction(1), Fraction(into))))
        for year in YEARS if dividends else ():
            for month in (2, 5, 8, 11):
                close = Fraction(dice.randrange(5_000, 20_000), 100)
                made.append(Event("equity", symbol, date(year, month, 5), dividend_factor(Fraction(41, 200), close)))
    return made


def wrong(raw: pa.RecordBatch, adjusted: pa.RecordBatch, happened: list[Event]) -> int:
    """How many of the first closes are not the exact product, rounded once."""
    count = 0
    for row, after in zip(raw.slice(0, COMPARED).to_pylist(), adjusted["close"].to_pylist(), strict=False):
        exact = Fraction(row["close"])
        for each in happened:
            if each.symbol == row["symbol"] and each.ex_date > row["ts"].date():
                exact *= each.factor.price
        count += after != Decimal(round(exact * 10**8)).scaleb(-8)
    return count


def main() -> int:
    """Measure, compare, and say so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bars", nargs="?", type=int, default=1_000_000)
    bars = parser.parse_args().bars
    failed = 0
    for what, dividends in (("splits", False), ("splits and dividends", True)):
        happened = events(dividends=dividends)
        seconds, rows, checked = 0.0, 0, False
        begun = time.process_time()
        adjuster = RowAdjuster(
            Adjustment(Instruments([]), happened, as_of=date(2024, 1, 1)), MARKET_DATA, zone_of=new_york
        )
        seconds += time.process_time() - begun
        for batch in batches(bars):
            begun = time.process_time()
            adjusted = adjuster.adjusted(batch)
            seconds += time.process_time() - begun
            rows += len(batch)
            if not checked:
                failed, checked = failed + wrong(batch, adjusted, happened), True
        print(f"{what}: {rows:,d} bars in {seconds:.2f} seconds of one core, {rows / seconds:,.0f} a second")
    print(f"{failed} of {2 * COMPARED:,d} closes differ from the exact product")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
