"""A day's rows as one snapshot has them, and the proof that they are still the same when the day is to leave."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
from psycopg import sql

from thermocline.errors import StaleStateError
from thermocline.model.dataset import Dataset
from thermocline.model.partition import Partition
from thermocline.stores.postgres import days as days_
from thermocline.stores.postgres import rows, tables
from thermocline.stores.postgres.connection import Connection, scalar
from thermocline.stores.postgres.rows import Streams
from thermocline.stores.postgres.tables import Leaf


@dataclass(frozen=True, slots=True)
class Mark:
    """The state of a day's rows in one snapshot: how many rows each transaction left, and which late rows there were.

    A row that is inserted, updated or deleted later changes the counts, because its `xmin` or its absence does. Counts
    by `xmin` survive VACUUM, which neither moves rows nor renames their transactions.
    """

    rows_by_xmin: Mapping[str, int]
    late_rows: int
    last_late_id: int


@dataclass(frozen=True)
class PostgresExport:
    """See `Export`. Open only inside `PostgresWriter.export`."""

    partition: Partition
    dataset: Dataset
    leaf: Leaf | None
    mark: Mark
    rows: int
    connection: Connection = field(repr=False)
    streams: Streams = field(repr=False)

    @property
    def was_hot(self) -> bool:
        """See `Export.was_hot`."""
        return self.leaf is not None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, sorted as a file is."""
        late = rows.newest_late(
            tables.late_table(self.dataset), self.dataset, days_.of_day(self.partition, self.dataset)
        )
        columns = tables.names(self.dataset.names)
        if self.leaf is None:
            source: sql.Composable = late
        elif not self.mark.late_rows:
            source = sql.SQL("SELECT {} FROM {}").format(columns, self.leaf.table.sql)
        else:
            key = tables.names(self.dataset.key)
            source = sql.SQL(
                """SELECT DISTINCT ON ({key}) {columns} FROM (
                       SELECT {columns}, 0 AS late FROM {leaf} UNION ALL SELECT {columns}, 1 FROM ({late_rows}) AS l
                   ) AS day ORDER BY {key}, ingested_at DESC, late DESC"""
            ).format(key=key, columns=columns, leaf=self.leaf.table.sql, late_rows=late)
        query = sql.SQL("SELECT {} FROM ({}) AS export ORDER BY {}").format(
            columns, source, rows.ordered(self.dataset.sort, self.dataset)
        )
        return self.streams.track(rows.copy_out(self.connection, query, self.dataset))

    def prove_unchanged(self) -> None:
        """See that the day is as it was; late rows only grow, as many up to the last one read are the very same ones.

        Raises:
            StaleStateError: Rows of the day came, changed or went.
        """
        late_table = tables.late_table(self.dataset)
        now = mark_of(self.connection, self.dataset, self.partition, self.leaf)
        late = scalar(
            self.connection,
            sql.SQL("SELECT count(*) FROM {} WHERE {} AND late_id <= {}").format(
                late_table.sql, days_.of_day(self.partition, self.dataset), sql.Literal(self.mark.last_late_id)
            ),
        )
        if now.rows_by_xmin != self.mark.rows_by_xmin or late != self.mark.late_rows:
            msg = f"rows of {self.partition} changed while it was rotated; they were kept hot, the next run takes it up"
            raise StaleStateError(msg)


def mark_of(connection: Connection, dataset: Dataset, partition: Partition, leaf: Leaf | None) -> Mark:
    """The state of a day now; `leaf` is its table, None where it is not hot."""
    counts: dict[str, int] = {}
    if leaf:
        query = sql.SQL("SELECT xmin::text, count(*) FROM {} GROUP BY 1").format(leaf.table.sql)
        counts = dict(connection.execute(query).fetchall())
    late = connection.execute(
        sql.SQL("SELECT count(*), coalesce(max(late_id), 0) FROM {} WHERE {}").format(
            tables.late_table(dataset).sql, days_.of_day(partition, dataset)
        )
    ).fetchone()
    late_rows, last_late_id = late or (0, 0)
    return Mark(counts, late_rows, last_late_id)
