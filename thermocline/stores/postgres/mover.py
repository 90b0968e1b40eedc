"""Bringing cold days to hot and reading hot ones, on one of the connections that a writer has for it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date

import pyarrow as pa
from psycopg import sql

from thermocline.faults import Step, reached, step
from thermocline.model.dataset import Dataset
from thermocline.model.partition import Partition
from thermocline.model.receipt import Vintage
from thermocline.ports import Export, came_to_hot
from thermocline.stores.postgres import days, ledger, rows, shape, tables, trouble
from thermocline.stores.postgres.connection import Connection, scalar
from thermocline.stores.postgres.counted import Counted
from thermocline.stores.postgres.export import PostgresExport, mark_of
from thermocline.stores.postgres.ingest import close_gate
from thermocline.stores.postgres.tables import Leaf


class PostgresMover:
    """See `Mover`. No other process may write the dataset for as long as its connection lives."""

    def __init__(self, connection: Connection, schema: str, dataset: Dataset) -> None:
        """Take a connection that holds the dataset's lock, or a share in it."""
        self._connection = connection
        self._schema = schema
        self._dataset = dataset

    @step(Step.LOAD)
    def load(
        self, vintage: Vintage, batches: Iterable[pa.RecordBatch], *, run_id: str, until: date | None = None
    ) -> int:
        """See `Mover.load`.

        Rows go into a table that nobody knows of yet. Live ingest is held off from then on only: while they are
        compared with the receipt, the table is attached, and the day joins the hot set, all in one transaction.
        """
        connection, dataset = self._connection, self._dataset
        partition, receipt = vintage.partition, vintage.receipt
        counted = Counted(dataset, batches)
        days.make_room(connection, self._schema, dataset, partition, self._close_gate)
        with connection.transaction():
            put = days.put(connection, self._schema, dataset, partition, counted, close_gate=self._close_gate)
            counted.check(receipt)
            ledger.add_hot_day(connection, partition, receipt.version, until)
            total: int = put.rows or scalar(connection, sql.SQL("SELECT count(*) FROM {}").format(put.table.sql))
            detail = {"rows": total, "version": receipt.version, "path": receipt.path}
            ledger.record(connection, came_to_hot(partition, run_id, detail, until))
            trouble.end(connection, "load", [partition])
            reached("load:committing")
        return total

    @contextmanager
    def export(self, partition: Partition) -> Iterator[Export]:
        """See `Mover.export`."""
        connection, dataset = self._connection, self._dataset
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            leaf = days.leaf_of(connection, self._schema, dataset, partition)
            if leaf:
                shape.check_day(connection, leaf, dataset)
            elif any(day.partition == partition for day in ledger.hot_days(connection, [dataset])):
                raise shape.missing(partition)
            mark = mark_of(connection, dataset, partition, leaf)
            total = self._count_merged(partition, leaf) if mark.late_rows else sum(mark.rows_by_xmin.values())
            streams = rows.Streams()
            try:
                yield PostgresExport(partition, dataset, leaf, mark, total, connection, streams)
            finally:
                streams.close()

    def _count_merged(self, partition: Partition, leaf: Leaf | None) -> int:
        """How many rows there are when late ones stand in for those that they are newer than."""
        dataset, key = self._dataset, tables.names(self._dataset.key)
        late = rows.newest_late(tables.late_table(dataset), dataset, days.of_day(partition, dataset))
        hot = sql.SQL("SELECT {} FROM {} UNION").format(key, leaf.table.sql) if leaf else sql.SQL("")
        query = sql.SQL("SELECT count(*) FROM ({} SELECT {} FROM ({}) AS l) AS both_").format(hot, key, late)
        return int(scalar(self._connection, query))

    def _close_gate(self) -> None:
        close_gate(self._connection, self._dataset)
