"""How long `tiers plan` takes over five years of daily partitions, and what it asks of the store.

    python benchmarks/tiering.py [--years 5]

Two datasets, one of them with two intervals: three objects a day, in a bucket in this process's memory, with the ledger
in a PostgreSQL of its own. What a real bucket adds is its listing: a request for each thousand objects.
"""

import argparse
import sys
import time
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from quick_server import quick_server

from thermocline.model.datasets import MARKET_DATA, NEWS
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import Partition, midnight
from thermocline.model.paths import object_path
from thermocline.model.receipt import Contents, Receipt
from thermocline.model.retention import ClassStep, Retention, RetentionPolicy
from thermocline.model.storage_classes import Provider
from thermocline.ports import Publication
from thermocline.settings_retention import load_prices
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog, MemoryObjects
from thermocline.stores.postgres import PostgresHot
from thermocline.stores.retrying import RetryingObjects
from thermocline.tasks.tiers import Tiering

AS_OF = date(2026, 11, 1)
POLICY = RetentionPolicy(Retention((ClassStep(30, "NEARLINE"), ClassStep(365, "COLDLINE")), 2_555))
SIZE_BYTES = 1 << 16


def main() -> None:
    """Fill a ledger and a bucket, plan, and print how long it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--years", type=int, default=5)
    days = [AS_OF - timedelta(days=number) for number in range(1, 1 + round(365.25 * parser.parse_args().years))]
    series = ((MARKET_DATA, "1day"), (MARKET_DATA, "1min"), (NEWS, ""))
    bucket = MemoryObjects(Provider.GCS)
    lake = ParquetLake(RetryingObjects(bucket), MemoryCatalog())
    with quick_server() as url:
        hot = PostgresHot(url)
        for dataset, interval in series:
            receipts = []
            for day in days:
                partition = Partition(dataset.name, interval, day)
                path = object_path(partition, 1)
                bucket.put(path, BytesIO(bytes(SIZE_BYTES)))
                contents = Contents(1_000, midnight(day), midnight(day), {}, "0" * 32, "0" * 32)
                receipts.append(Receipt(partition, 1, path, SIZE_BYTES, "0" * 64, "1", 1, "run", contents))
            with hot.writer(dataset) as writer:
                writer.publish(Publication(dataset, None, "run", receipts))
        for target_bytes in (1, 128 << 20, 1, 128 << 20, 1, 128 << 20):  # with 1 nothing is to be compacted first
            begun = time.perf_counter()
            with lake.run("plan") as budget:
                prices, lifecycle = load_prices(Provider.GCS), Lifecycle()
                tiering = Tiering(hot, lake, POLICY, prices, AS_OF, lifecycle=lifecycle, target_bytes=target_bytes)
                planned = tiering.plan([MARKET_DATA, NEWS])
            seconds = time.perf_counter() - begun
            plan = planned.plan
            print(
                f"{len(days) * len(series):,d} objects: planned in {seconds:.2f} s, "
                f"{len(plan.transitions):,d} would move, {plan.postponed:,d} later, "
                f"{len(plan.left):,d} stay, {budget.requests} requests of the store"
            )


if __name__ == "__main__":
    main()
