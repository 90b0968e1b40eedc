"""What a question costs over days, months and years of daily bars: one symbol over five years, and one day of all.

    python benchmarks/years.py [--symbols 100] [--years 5]

The same rows lie in a local lake as objects of their days, brought together by month, and by year. Questions go the way
that every query goes to the lake; each is asked once, then timed, the best of five, in turns.
"""

import argparse
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import DayRange, Partition
from thermocline.model.query import Query, Segment, Tier
from thermocline.model.receipt import Receipt, Vintage
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog
from thermocline.stores.objects_local import LocalObjects

RUNS = 5
SATURDAY = 5
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def bars(partition: Partition, symbols: int, dice: np.random.Generator) -> pa.RecordBatch:
    """Daily bars of every symbol."""
    closes = [Decimal(int(cents)).scaleb(-2) for cents in dice.integers(1_000, 50_000, symbols)]
    cells = {
        "asset_class": ["equity"] * symbols,
        "symbol": [f"S{number:05d}" for number in range(symbols)],
        "interval": [partition.interval] * symbols,
        "ts": [partition.start] * symbols,
        "open": closes,
        "high": closes,
        "low": closes,
        "close": closes,
        "volume": dice.integers(1_000, 10_000_000, symbols).astype(float),
        "source": ["made"] * symbols,
        "ingested_at": [NOW] * symbols,
    }
    columns = [pa.array(cells.get(field.name, [None] * symbols), field.type) for field in MARKET_DATA.arrow_schema]
    return pa.RecordBatch.from_arrays(columns, schema=MARKET_DATA.arrow_schema)


def seconds(lake: ParquetLake, query: Query, receipts: Sequence[Receipt]) -> float:
    """How long an answer takes."""
    wanted = [each for each in receipts if query.start is None or query.start <= each.partition.start < query.end]
    days = tuple(each.partition.day for each in wanted)
    segment = Segment(Tier.COLD, "1day", days, tuple(Vintage(each, NOW) for each in wanted))
    start = time.perf_counter()
    with lake.scan(query, segment) as reader:
        rows = reader.read_all().num_rows
    taken = time.perf_counter() - start
    if rows != len(wanted) * (1 if query.symbols else rows // len(wanted)):
        msg = f"{rows} rows of {len(wanted)} days"
        raise AssertionError(msg)
    return taken


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--years", type=int, default=5)
    chosen = parser.parse_args()
    dice = np.random.default_rng(7)
    with TemporaryDirectory() as folder:
        lake = ParquetLake(LocalObjects(Path(folder)), MemoryCatalog())
        span = DayRange(date(2020, 1, 1), date(2020 + chosen.years, 1, 1))
        partitions = [Partition("market_data", "1day", day) for day in span if day.weekday() < SATURDAY]
        days = [lake.write(each, 1, [bars(each, chosen.symbols, dice)], run_id="benchmark") for each in partitions]
        months = _together(lake, days, "%Y-%m")
        start = time.perf_counter()
        years = _together(lake, days, "%Y")
        print(
            f"{len(days)} days of {chosen.symbols} symbols; years were written in {time.perf_counter() - start:.1f} s"
        )
        one_day = partitions[len(partitions) // 2]
        questions = {
            "one symbol, all years": Query(MARKET_DATA, symbols=("S00042",)),
            "all symbols, one day": Query(MARKET_DATA, start=one_day.start, end=one_day.end),
            "everything": Query(MARKET_DATA),
        }
        print(f"{'':24s}{'days':>12s}{'months':>12s}{'years':>12s}")
        layouts = (days, months, years)
        objects = [len({each.path for each in layout}) for layout in layouts]
        print(f"{'objects':24s}" + "".join(f"{count:12,d}" for count in objects))
        sizes = [sum({each.path: each.size_bytes for each in layout}.values()) for layout in layouts]
        print(f"{'bytes':24s}" + "".join(f"{size:12,d}" for size in sizes))
        for name, query in questions.items():
            rounds = [[seconds(lake, query, layout) for layout in layouts] for _ in range(RUNS + 1)][1:]
            best = [min(each) * 1000 for each in zip(*rounds, strict=True)]
            print(f"{name:24s}" + "".join(f"{milliseconds:9.1f} ms" for milliseconds in best))


def _together(lake: ParquetLake, receipts: Sequence[Receipt], span: str) -> list[Receipt]:
    groups = groupby(receipts, lambda receipt: f"{receipt.partition.day:{span}}")
    return [receipt for _, group in groups for receipt in lake.combine(list(group))]


if __name__ == "__main__":
    main()
