"""Live ingest: rows are accepted at once, whether their day is hot or cold."""

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from thermocline.model.dataset import Dataset
from thermocline.model.partition import DayRange, Partition, partitions_of
from thermocline.ports import Ingested
from thermocline.stores.postgres import days, ledger, rows, tables
from thermocline.stores.postgres.connection import Connection
from thermocline.stores.postgres.reader import late_counts


def ingest(
    connection: Connection, schema: str, dataset: Dataset, table: pa.Table, hot_days: Collection[Partition]
) -> Ingested:
    """Merge rows of hot days into them, start days of `hot_days` that have no vintage, keep all others as late rows.

    Holds a shared gate from before the hot set is read until commit: a rotation, load or publication, which would
    change the hot set, waits for it, and it for them. Many ingests go on side by side.
    """
    late = tables.late_table(dataset)
    hot_rows = late_rows = 0
    with connection.transaction():
        connection.execute(sql.SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(late.sql))
        for partition in partitions_of(dataset, table):
            batches = _of(table, dataset, partition)
            if _accepts(connection, dataset, partition, hot_days):
                days.put(connection, schema, dataset, partition, batches)
                ledger.add_hot_day(connection, partition, version=0)
                hot_rows += sum(batch.num_rows for batch in batches)
            else:
                late_rows += rows.copy_in(connection, late.sql, dataset, batches, freeze=False)
    return Ingested(hot_rows, late_rows)


def _accepts(connection: Connection, dataset: Dataset, partition: Partition, hot_days: Collection[Partition]) -> bool:
    """Whether the day takes rows in hot: it is hot, or it may become so because nothing of it is cold."""
    if ledger.is_hot(connection, partition):
        return True
    if partition not in hot_days:
        return False
    # Two ingests may start the same day at once: the second one waits here and then finds it hot, or merges into it.
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"thermocline day {partition}",))
    if ledger.is_hot(connection, partition):
        return True
    one_day = DayRange(partition.day, partition.end.date())
    cold = {vintage.partition for vintage in ledger.live(connection, dataset, one_day)}
    return partition not in cold and partition not in late_counts(connection, dataset)


def _of(rows_: pa.Table, dataset: Dataset, partition: Partition) -> list[pa.RecordBatch]:
    mask = pc.and_(pc.greater_equal(rows_["ts"], partition.start), pc.less(rows_["ts"], partition.end))
    if dataset.has_intervals:
        mask = pc.and_(mask, pc.equal(rows_["interval"], partition.interval))
    batches: list[pa.RecordBatch] = rows_.filter(mask).to_batches()
    return batches
