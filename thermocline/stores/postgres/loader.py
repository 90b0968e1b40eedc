"""Bringing cold days to hot, on one of the connections that a writer has for it."""

from collections.abc import Iterable
from datetime import date

import pyarrow as pa
from psycopg import sql

from thermocline.faults import Step, reached, step
from thermocline.model.dataset import Dataset
from thermocline.model.receipt import Vintage
from thermocline.ports import came_to_hot
from thermocline.stores.postgres import days, ledger, trouble
from thermocline.stores.postgres.connection import Connection, scalar
from thermocline.stores.postgres.counted import Counted
from thermocline.stores.postgres.ingest import close_gate


class PostgresLoader:
    """See `Loader`. No other process may write the dataset for as long as its connection lives."""

    def __init__(self, connection: Connection, schema: str, dataset: Dataset) -> None:
        """Take a connection that holds the dataset's lock, or a share in it."""
        self._connection = connection
        self._schema = schema
        self._dataset = dataset

    @step(Step.LOAD)
    def load(
        self, vintage: Vintage, batches: Iterable[pa.RecordBatch], *, run_id: str, until: date | None = None
    ) -> int:
        """See `Loader.load`.

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

    def _close_gate(self) -> None:
        close_gate(self._connection, self._dataset)
