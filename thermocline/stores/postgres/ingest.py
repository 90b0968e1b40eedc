"""Live ingest: rows are accepted at once, whether their day is hot or cold."""

from collections.abc import Collection, Sequence

import pyarrow as pa
from psycopg import sql

from thermocline.model.dataset import Dataset
from thermocline.model.partition import Partition, partitions_of, rows_of, span_of
from thermocline.ports import Ingested
from thermocline.stores.postgres import days, ledger, rows, schemas, tables
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
        schemas.current(connection, dataset)
        partitions = partitions_of(dataset, table)
        accepted = _accepted(connection, dataset, partitions, hot_days)
        for partition in partitions:
            batches = rows_of(table, partition).to_batches()
            if partition in accepted:
                days.put(connection, schema, dataset, partition, batches)
                ledger.add_hot_day(connection, partition, version=0)
                hot_rows += sum(batch.num_rows for batch in batches)
            else:
                late_rows += rows.copy_in(connection, late.sql, dataset.columns, batches, freeze=False)
    return Ingested(hot_rows, late_rows)


def close_gate(connection: Connection, dataset: Dataset) -> None:
    """Hold off live ingest until commit: it decides between hot and late by a hot set that is about to change."""
    late = tables.late_table(dataset)
    connection.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(late.sql))


def _accepted(
    connection: Connection, dataset: Dataset, partitions: Sequence[Partition], may_start: Collection[Partition]
) -> set[Partition]:
    """The days that take rows in hot: those that are hot, and those that may become so because nothing is cold."""
    hot = _hot(connection, dataset)
    if any(partition in may_start and partition not in hot for partition in partitions):
        # Taken before any row is: ingests that start days, or an interval's first one, go one after the other.
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('thermocline days ' || %s, 0))", (dataset.name,)
        )
        hot = _hot(connection, dataset)
    fresh = {partition for partition in partitions if partition in may_start and partition not in hot}
    if fresh:
        span = span_of(fresh)
        fresh -= {vintage.partition for vintage in ledger.live(connection, dataset, span)}
        fresh -= late_counts(connection, dataset).keys()
    return fresh | (hot & set(partitions))


def _hot(connection: Connection, dataset: Dataset) -> set[Partition]:
    return {day.partition for day in ledger.hot_days(connection, [dataset])}
