"""Small questions about hot days, from many threads, and planning over many partitions.

    .venv/bin/python benchmarks/small_queries.py [SECONDS]

Eight threads of one process ask for one symbol's bars of a hot day, or for its last rows, through the public `query`;
every answer's rows are counted. Printed are questions a second, their latencies, and the CPU time that each took here
and in PostgreSQL, which runs on the same machine. Then: how long planning takes over 2,000 partitions that are all
cold, or all hot; the first time, when nothing is known, and again.
"""

import argparse
import random
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psutil
import pyarrow as pa
from worlds import days, minute_bars, open_home, symbols

from thermocline import Thermocline
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import Partition, midnight
from thermocline.model.query import Query
from thermocline.stores import embedded
from thermocline.tasks.query import route_of

THREADS = 8
SYMBOLS, MINUTES, HOT_DAYS = 50, 390, 5
PARTITIONS = 2_000
LAST_ROWS = 30


def fill(tc: Thermocline) -> None:
    """Some hot days of one-minute bars."""
    for day in days(HOT_DAYS):
        rows = pa.Table.from_batches(minute_bars(day, symbols(SYMBOLS), MINUTES))
        tc.hot.ingest(MARKET_DATA, rows, hot_days=[Partition("market_data", "1min", day)], run_id="bench")
    tc.hot.vacuum(MARKET_DATA, force=True)


def ask_day(tc: Thermocline, symbol: str, start: object) -> int:
    """A symbol's day."""
    end = start + timedelta(days=1)  # type: ignore[operator]
    return tc.query("market_data", symbols=[symbol], interval="1min", start=start, end=end).to_arrow().num_rows  # type: ignore[arg-type]


def ask_last(tc: Thermocline, symbol: str, start: object) -> int:
    """A symbol's last rows of a day."""
    end = start + timedelta(days=1)  # type: ignore[operator]
    since = start + timedelta(minutes=14 * 60 + 30 + MINUTES - LAST_ROWS)  # type: ignore[operator]
    return tc.query("market_data", symbols=[symbol], interval="1min", start=since, end=end).to_arrow().num_rows  # type: ignore[arg-type]


def measured(
    tc: Thermocline, ask: Callable[[Thermocline, str, object], int], expected: int, threads: int, seconds: float
) -> str:
    """Ask from so many threads for so long."""
    took: list[float] = []
    until = time.monotonic() + seconds

    def work(seed: int) -> None:
        choice = random.Random(seed)  # noqa: S311  # which symbol, not a secret
        own = []
        while (started := time.perf_counter()) and time.monotonic() < until:
            day = midnight(choice.choice(days(HOT_DAYS)))
            rows = ask(tc, choice.choice(symbols(SYMBOLS)), day)
            if rows != expected:
                msg = f"{rows} rows, not {expected}"
                raise AssertionError(msg)
            own.append(time.perf_counter() - started)
        took.extend(own)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    mine, theirs, began = time.process_time(), served(), time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    elapsed = time.perf_counter() - began
    cpu, pg = time.process_time() - mine, served() - theirs
    took.sort()
    p50, p95, p99 = (1e3 * took[int(share * (len(took) - 1))] for share in (0.5, 0.95, 0.99))
    return (
        f"{len(took) / elapsed:7.0f} a second, p50 {p50:.2f} ms, p95 {p95:.2f}, p99 {p99:.2f}; CPU a question: "
        f"{1e6 * cpu / len(took):.0f} µs here, {1e6 * pg / len(took):.0f} µs in PostgreSQL"
    )


def served() -> float:
    """CPU seconds of the server's processes that are there."""
    total = 0.0
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "postgres" and " thermocline thermocline " in " ".join(
            process.info["cmdline"] or ()
        ):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def plans(tc: Thermocline, expected: int) -> str:
    """How long a plan over every daily partition takes, first and then."""
    asked, took = Query(MARKET_DATA, intervals=("1day",)), []
    for _ in range(15):
        started = time.perf_counter()
        with tc.hot.snapshot([MARKET_DATA], asked.days, asked.intervals) as snapshot:
            planned = sum(len(segment.days) for segment in route_of(snapshot, asked).segments)
        took.append(1e3 * (time.perf_counter() - started))
        if planned != expected:
            msg = f"{planned} partitions were planned, not {expected}"
            raise AssertionError(msg)
    return f"first {took[0]:.1f} ms, second {took[1]:.1f}, then {statistics.median(took[2:]):.2f}"


def cold(tc: Thermocline) -> None:
    """A ledger of many daily vintages; their objects are never read here."""
    from thermocline.model.receipt import Contents, Receipt  # noqa: PLC0415
    from thermocline.ports import Publication  # noqa: PLC0415

    nulls = dict.fromkeys(MARKET_DATA.names, 0)
    receipts = []
    for day in days(PARTITIONS):
        partition = Partition("market_data", "1day", day)
        contents = Contents(500, partition.start, partition.start, nulls, "f" * 32, "c" * 32)
        receipts.append(Receipt(partition, 1, f"made/{day}.parquet", 9000, "a" * 64, "e", 1, "bench", contents))
    with tc.hot.writer(MARKET_DATA) as writer:
        writer.publish(Publication(MARKET_DATA, None, "bench", receipts))


def hot(tc: Thermocline) -> None:
    """As many hot days, with two rows each."""
    from worlds import daily_bars  # noqa: PLC0415

    for first in range(0, PARTITIONS, 100):
        chunk = days(PARTITIONS)[first : first + 100]
        rows = pa.Table.from_batches([batch for day in chunk for batch in daily_bars(day, symbols(2))])
        tc.hot.ingest(
            MARKET_DATA, rows, hot_days=[Partition("market_data", "1day", day) for day in chunk], run_id="bench"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", nargs="?", type=float, default=5.0)
    parser.add_argument("--all-hot", action="store_true", help="also plan over 2,000 hot partitions (takes minutes)")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        with open_home(folder / "home") as tc:
            fill(tc)
            for threads in (1, THREADS):
                for name, ask, rows in (("a day", ask_day, MINUTES), ("last rows", ask_last, LAST_ROWS)):
                    measured(tc, ask, rows, threads, 0.5)
                    print(f"{threads} threads, {name:9}: {measured(tc, ask, rows, threads, given.seconds)}", flush=True)
            cold(tc)
            print(f"planning {PARTITIONS} cold partitions: {plans(tc, PARTITIONS)}", flush=True)
            if given.all_hot:
                hot(tc)
                print(f"planning {PARTITIONS} hot partitions: {plans(tc, PARTITIONS)}", flush=True)
    finally:
        embedded.stop(folder / "home")
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
