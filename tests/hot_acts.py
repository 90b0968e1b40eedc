"""Acts on a hot tier and a lake, as tests of both tell them."""

from contextlib import contextmanager
from datetime import timedelta

import pyarrow as pa
from made_rows import DAY, as_sorted_lists

from thermocline.errors import StaleStateError
from thermocline.model.datasets import DATASETS, MARKET_DATA
from thermocline.model.partition import ALL_DAYS, Partition
from thermocline.model.query import Query
from thermocline.ports import Publication
from thermocline.stores.postgres import PostgresHot
from thermocline.tasks.archive import archive
from thermocline.tasks.query import query


def migrated(url: str) -> None:
    """Bring a database to where every first use would."""
    hot = PostgresHot(url)
    for dataset in DATASETS.values():
        hot.hot_days(dataset)
    hot.close()


def day(number: int = 0, interval: str = "1min") -> Partition:
    return Partition("market_data", interval, DAY + timedelta(days=number))


def table(*batches: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches(batches)


def publish(hot, lake, *batches, hot_rows=None, rows_if_hot=None, withdrawn=()):
    """Write each batch as the next vintage of its day, and make them live in one step."""
    with hot.writer(MARKET_DATA) as writer:
        receipts = [receipt_of(writer, lake, batch) for batch in batches]
        writer.publish(Publication(MARKET_DATA, None, "run", receipts, withdrawn), hot_rows, rows_if_hot)
        return [next(v for v in writer.live(ALL_DAYS) if v.receipt == receipt) for receipt in receipts]


def receipt_of(writer, lake, batch):
    partition = Partition("market_data", batch["interval"][0].as_py(), batch["ts"][0].as_py().date())
    return archive(lake, partition, writer.next_versions([partition])[partition], [batch], run_id="run")


def load(hot, lake, vintage, batches=None, until=None):
    with hot.writer(MARKET_DATA) as writer:
        rows = lake.read(vintage.receipt) if batches is None else batches
        return writer.load(vintage, rows, run_id="load", until=until)


@contextmanager
def about_to_cut_over(hot, lake, partition):
    """A day whose cold copy is written. What the block yields cuts over."""
    with hot.writer(MARKET_DATA) as writer:
        with writer.export(partition) as export:
            receipt = archive(
                lake, partition, writer.next_versions([partition])[partition], export.batches(), run_id="run"
            )
        yield lambda: writer.cut_over(export, Publication(MARKET_DATA, None, "run", [receipt]))


def rotate(hot, lake, partition):
    with about_to_cut_over(hot, lake, partition) as cut_over:
        cut_over()


def ingest(hot, *batches, hot_days=()):
    return hot.ingest(MARKET_DATA, table(*batches), hot_days=hot_days, run_id="run")


def answer(hot, lake, **asked) -> pa.Table:
    with query(hot, lake, Query(MARKET_DATA, **asked)) as reader:
        return reader.read_all()


def assert_answers(hot, lake, *batches):
    """Every row of the batches comes back exactly once, and nothing else."""
    expected = as_sorted_lists(table(*batches), MARKET_DATA) if batches else []
    assert as_sorted_lists(answer(hot, lake), MARKET_DATA) == expected


def hot_set(hot):
    return {day.partition for day in hot.hot_days(MARKET_DATA)}


def fold(hot, lake, partition):
    """Move whatever a day has, merged with its live vintage, to the lake; leave it when it changed meanwhile."""
    with hot.writer(MARKET_DATA) as writer:
        with writer.export(partition) as export:
            found = {
                row["symbol"]: row
                for v in writer.live(ALL_DAYS)
                if v.partition == partition
                for batch in lake.read(v.receipt)
                for row in batch.to_pylist()
            }
            found |= {row["symbol"]: row for batch in export.batches() for row in batch.to_pylist()}
        batch = pa.Table.from_pylist(list(found.values()), MARKET_DATA.arrow_schema).sort_by("symbol").to_batches()
        receipt = archive(lake, partition, writer.next_versions([partition])[partition], batch, run_id="run")
        try:
            writer.cut_over(export, Publication(MARKET_DATA, None, "run", [receipt]))
        except StaleStateError:
            return
