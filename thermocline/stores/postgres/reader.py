"""One consistent look at the hot set, live vintages, hot rows and late rows."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import cached_property

import psycopg
import pyarrow as pa
from psycopg import sql

from thermocline.errors import LockTimeoutError
from thermocline.model.aggregates import Aggregation
from thermocline.model.dataset import Dataset
from thermocline.model.partition import DayRange, Partition
from thermocline.model.query import Query, Segment
from thermocline.model.receipt import Vintage
from thermocline.stores.postgres import aggregate, ledger, rows, shape, tables
from thermocline.stores.postgres.connection import Connection
from thermocline.stores.postgres.tables import Leaf, Table

_ATTEMPTS = 5
_CANCEL_SECONDS = 5.0


class PostgresSnapshot:
    """See `Snapshot`. Open only inside `PostgresHot.snapshot`."""

    def __init__(
        self,
        connection: Connection,
        schema: str,
        datasets: Sequence[Dataset],
        days: DayRange,
        intervals: Collection[str],
    ) -> None:
        """Take over a connection whose transaction is `locked`."""
        self._connection = connection
        self._schema = schema
        self._datasets = datasets
        self._days = days
        self._intervals = intervals

    @cached_property
    def hot(self) -> frozenset[Partition]:
        """See `Snapshot.hot`.

        Raises:
            HotStoreError: Rows hang from our tables that no answer would have, also one about cold days alone.
        """
        hot = frozenset(day.partition for day in ledger.hot_days(self._connection, self._datasets))
        for dataset in self._datasets:
            leaves = [leaf for partition, leaf in self._leaves.items() if partition.dataset == dataset.name]
            shape.refuse_unknown(self._connection, dataset, (leaf for leaf in leaves if leaf.partition not in hot))
        return hot

    @cached_property
    def _leaves(self) -> Mapping[Partition, Leaf]:
        found = []
        for dataset in self._datasets:
            found += tables.leaves(self._connection, self._schema, dataset)
            if found:
                shape.check_columns(self._connection, tables.parent_table(self._schema, dataset), dataset)
        return {leaf.partition: leaf for leaf in found}

    @cached_property
    def live(self) -> Sequence[Vintage]:
        """See `Snapshot.live`."""
        return [
            vintage
            for dataset in self._datasets
            for vintage in ledger.live(self._connection, dataset, self._days, self._intervals)
        ]

    @cached_property
    def late(self) -> frozenset[Partition]:
        """See `Snapshot.late`."""
        return frozenset(p for dataset in self._datasets for p in late_counts(self._connection, dataset))

    def as_of(self, instant: datetime) -> Sequence[Vintage]:
        """See `Snapshot.as_of`."""
        return [
            vintage
            for dataset in self._datasets
            for vintage in ledger.as_of(self._connection, dataset, self._days, self._intervals, instant)
        ]

    @contextmanager
    def scan(self, query: Query, segment: Segment) -> Iterator[pa.RecordBatchReader]:
        """See `Snapshot.scan`."""
        dataset = query.dataset
        leaves = self._tables(dataset, segment)
        schema = pa.schema([dataset.column(name).arrow_field for name in query.names])
        streams = rows.Streams()
        batches: Iterator[pa.RecordBatch] = iter(())
        if leaves:
            select = _select(query, leaves)
            batches = streams.track(rows.copy_out(self._connection, select, dataset, query.names))
        try:
            yield pa.RecordBatchReader.from_batches(schema, batches)
        finally:
            streams.close()

    @contextmanager
    def aggregate(self, asked: Aggregation, segment: Segment) -> Iterator[pa.RecordBatchReader]:
        """See `Snapshot.aggregate`."""
        leaves = self._tables(asked.query.dataset, segment)
        streams = rows.Streams()
        batches = streams.track(aggregate.partials(self._connection, asked, leaves, _condition(asked.query)))
        try:
            yield pa.RecordBatchReader.from_batches(asked.partial_schema, batches)
        finally:
            streams.close()

    def _tables(self, dataset: Dataset, segment: Segment) -> list[Table]:
        """The tables of a segment's days."""
        leaves = []
        for partition in (Partition(dataset.name, segment.interval, day) for day in segment.days):
            if partition not in self._leaves:
                raise shape.missing(partition)
            leaves.append(self._leaves[partition].table)
        return leaves

    def cancel(self) -> None:
        """See `Snapshot.cancel`."""
        # Where the server can't be reached any more, the read fails by itself.
        with suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=_CANCEL_SECONDS)

    def late_rows(self, query: Query) -> pa.Table:
        """See `Snapshot.late_rows`."""
        dataset = query.dataset
        if not self.late:
            return dataset.arrow_schema.empty_table()
        # A late row may say another symbol than the row it stands in for, unless the symbol identifies the row.
        asked = query if dataset.symbol_column in dataset.key else replace(query, symbols=())
        select = rows.newest_late(tables.late_table(dataset), dataset, _condition(asked))
        return pa.Table.from_batches(rows.copy_out(self._connection, select, dataset), schema=dataset.arrow_schema)


@contextmanager
def locked(connection: Connection, schema: str, datasets: Sequence[Dataset]) -> Iterator[None]:
    """A REPEATABLE READ transaction that no detach can disturb.

    A detach is not MVCC: a snapshot that began before it no longer sees the day after it. So the lock comes first and
    the snapshot is taken by the first query after it. Only the tables that days hang from are locked, not each day.
    """
    for _ in range(_ATTEMPTS):
        found = [t for dataset in datasets for t in tables.range_tables(connection, schema, dataset)]
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            if found:
                names = sql.SQL(", ").join(sql.SQL("ONLY {}").format(table.sql) for table in found)
                connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
            now = [t for dataset in datasets for t in tables.range_tables(connection, schema, dataset)]
            # An interval that got its first day in between has a table that is not locked yet.
            if now == found:
                yield
                return
    msg = "intervals are being added faster than a reader can look at them; nothing was read, try again"
    raise LockTimeoutError(msg)


def late_counts(connection: Connection, dataset: Dataset) -> dict[Partition, int]:
    """How many late rows each day has, in order."""
    interval = sql.SQL("interval" if dataset.has_intervals else "''")
    query = sql.SQL("SELECT {}, (ts AT TIME ZONE 'UTC')::date, count(*) FROM {} GROUP BY 1, 2 ORDER BY 1, 2").format(
        interval, tables.late_table(dataset).sql
    )
    return {Partition(dataset.name, name, day): count for name, day, count in connection.execute(query)}


def _select(query: Query, leaves: Sequence[Table]) -> sql.Composed:
    """The rows of leaves of one interval."""
    condition = _condition(query)
    order = [name for name in query.order if name != "interval"]
    columns = tables.names(dict.fromkeys((*query.names, *order)))
    days = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {} FROM {} WHERE {}").format(columns, leaf.sql, condition) for leaf in leaves
    )
    limit = sql.SQL("") if query.limit is None else sql.SQL(" LIMIT {}").format(sql.Literal(query.limit))
    return sql.SQL("SELECT {} FROM ({}) AS days ORDER BY {}{}").format(
        tables.names(query.names), days, rows.ordered(order, query.dataset), limit
    )


def _condition(query: Query) -> sql.Composable:
    parts: list[sql.Composable] = [sql.SQL("true")]
    if query.start:
        parts.append(sql.SQL("ts >= {}").format(sql.Literal(query.start)))
    if query.end:
        parts.append(sql.SQL("ts < {}").format(sql.Literal(query.end)))
    if query.symbols:
        symbol = sql.Identifier(query.dataset.symbol_column)
        parts.append(sql.SQL("{} = ANY({})").format(symbol, sql.Literal(list(query.symbols))))
    if query.intervals:
        parts.append(sql.SQL("interval = ANY({})").format(sql.Literal(list(query.intervals))))
    return sql.SQL(" AND ").join(parts)
