"""A day's rows as one snapshot has them, and the proof that they are still the same when the day is to leave."""

from collections.abc import Collection, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field

import pyarrow as pa
from psycopg import sql

from thermocline.errors import StaleStateError
from thermocline.model.dataset import Dataset
from thermocline.model.merging import Ordered, can_order, merged
from thermocline.model.partition import Partition
from thermocline.stores.postgres import days as days_
from thermocline.stores.postgres import rows, tables
from thermocline.stores.postgres.connection import Connection, scalar
from thermocline.stores.postgres.rows import Streams
from thermocline.stores.postgres.tables import Leaf

MOST_STRAYS = 65_536
"""So many rows that did not come with the others are kept in memory to be merged with them; beyond, all are sorted."""

_ALL = sql.SQL("true")
_FEW_TRANSACTIONS = 4


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
    """See `Export`. Open only inside `PostgresMover.export`."""

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

    @property
    def seems_changed(self) -> bool:
        """See `Export.seems_changed`."""
        return self.mark.late_rows > 0 or len(self.mark.rows_by_xmin) > 1

    def batches(self) -> Generator[pa.RecordBatch, None, None]:
        """See `Export.batches`."""
        return self._copied(self._sorted(self._source()))

    def unsorted(self) -> Generator[pa.RecordBatch, None, None]:
        """See `Export.unsorted`."""
        return self._copied(self._source())

    def nearly_sorted(self) -> Generator[pa.RecordBatch, None, None]:
        """See `Export.nearly_sorted`.

        A load writes rows as they are in a file. Those that another transaction left lie behind them: where they are
        few they are read first, sorted by the server, and merged in. Which is which the `xmin` of each row says.
        """
        loads = sorted(self.mark.rows_by_xmin.items(), key=lambda load: load[1])
        strays = sum(count for _, count in loads[:-1])
        if self.leaf is None or self.mark.late_rows or not can_order(self.dataset) or strays > MOST_STRAYS:
            return self.batches()
        return self.streams.track(self._merged(self.leaf, loads[-1][0] if strays else None))

    def _merged(self, leaf: Leaf, main: str | None) -> Generator[pa.RecordBatch, None, None]:
        if main is None:
            with closing(self._copy(self._select(leaf))) as batches:
                yield from Ordered(self.dataset).passed(batches)
            return
        of_main, of_others = (
            sql.SQL("xmin {} {}::xid").format(sql.SQL(operator), sql.Literal(main)) for operator in ("=", "<>")
        )
        strays = list(self._copy(self._sorted(self._select(leaf, of_others))))
        with closing(self._copy(self._select(leaf, of_main))) as batches:
            yield from merged(self.dataset, [batches, strays])

    def _copied(self, query: sql.Composable) -> Generator[pa.RecordBatch, None, None]:
        return self.streams.track(self._copy(query))

    def _copy(self, query: sql.Composable) -> Generator[pa.RecordBatch, None, None]:
        # A COPY that is left before its end is cancelled. That must not end the transaction that the snapshot is of.
        with self.connection.transaction():
            yield from rows.copy_out(self.connection, query, self.dataset, known=self._known)

    def _sorted(self, source: sql.Composable) -> sql.Composed:
        order = rows.ordered([name for name in self.dataset.sort if name not in self._known], self.dataset)
        return sql.SQL("SELECT {} FROM ({}) AS export ORDER BY {}").format(self._names, source, order)

    def _select(self, leaf: Leaf, condition: sql.Composable = _ALL) -> sql.Composed:
        return sql.SQL("SELECT {} FROM {} WHERE {}").format(self._names, leaf.table.sql, condition)

    @property
    def _known(self) -> Mapping[str, str]:
        """What every row says, because PostgreSQL lets no other row into a table that is attached for one interval.

        Where it is attached was looked up in the snapshot that the rows are of. Late rows lie elsewhere.
        """
        if self.leaf is None or self.mark.late_rows or not self.dataset.has_intervals:
            return {}
        return {"interval": self.leaf.partition.interval}

    @property
    def _names(self) -> sql.Composed:
        return tables.names(name for name in self.dataset.names if name not in self._known)

    def _source(self) -> sql.Composable:
        """A SELECT of the rows of the day's table; late rows stand in for those that they are newer than."""
        late = rows.newest_late(
            tables.late_table(self.dataset), self.dataset, days_.of_day(self.partition, self.dataset)
        )
        if self.leaf is None:
            return late
        if not self.mark.late_rows:
            return self._select(self.leaf)
        return sql.SQL(
            """SELECT DISTINCT ON ({key}) {columns} FROM (
                   SELECT {columns}, 0 AS late FROM {leaf} UNION ALL SELECT {columns}, 1 FROM ({late_rows}) AS l
               ) AS day ORDER BY {key}, ingested_at DESC, late DESC"""
        ).format(
            key=tables.names(self.dataset.key),
            columns=tables.names(self.dataset.names),
            leaf=self.leaf.table.sql,
            late_rows=late,
        )

    def prove_unchanged(self, connection: Connection) -> None:
        """See in that transaction that the day is as it was.

        Late rows only grow: as many up to the last one that was read are the very same ones.

        Raises:
            StaleStateError: Rows of the day came, changed or went.
        """
        late_table = tables.late_table(self.dataset)
        now = _rows_by_xmin(connection, self.leaf, self.mark.rows_by_xmin) if self.leaf else {}
        late = scalar(
            connection,
            sql.SQL("SELECT count(*) FROM {} WHERE {} AND late_id <= {}").format(
                late_table.sql, days_.of_day(self.partition, self.dataset), sql.Literal(self.mark.last_late_id)
            ),
        )
        if now != self.mark.rows_by_xmin or late != self.mark.late_rows:
            msg = f"rows of {self.partition} changed while it was rotated; they were kept hot, the next run takes it up"
            raise StaleStateError(msg)


def mark_of(connection: Connection, dataset: Dataset, partition: Partition, leaf: Leaf | None) -> Mark:
    """The state of a day now; `leaf` is its table, None where it is not hot."""
    counts = _rows_by_xmin(connection, leaf) if leaf else {}
    late = connection.execute(
        sql.SQL("SELECT count(*), coalesce(max(late_id), 0) FROM {} WHERE {}").format(
            tables.late_table(dataset).sql, days_.of_day(partition, dataset)
        )
    ).fetchone()
    late_rows, last_late_id = late or (0, 0)
    return Mark(counts, late_rows, last_late_id)


def _rows_by_xmin(connection: Connection, leaf: Leaf, known: Collection[str] = ()) -> dict[str, int]:
    """How many rows each transaction left.

    Most days were left by one load, some by one act more. Where the transactions are guessed right, those that are
    `known` or that left the rows at both ends of the table, rows need not be grouped, which takes twice as long.
    """
    table = leaf.table.sql
    guessed = sorted(known or _at_the_ends(connection, leaf))
    if 0 < len(guessed) <= _FEW_TRANSACTIONS:
        counts = sql.SQL(", ").join(
            sql.SQL("count(*) FILTER (WHERE xmin = {}::xid)").format(sql.Literal(xmin)) for xmin in guessed
        )
        total, *of_each = (
            connection.execute(sql.SQL("SELECT count(*), {} FROM {}").format(counts, table)).fetchone() or ()
        )
        if sum(of_each) == total:
            return {xmin: count for xmin, count in zip(guessed, of_each, strict=True) if count}
    each = sql.SQL("SELECT xmin::text, count(*) FROM {} GROUP BY xmin").format(table)
    return dict(connection.execute(each).fetchall())


def _at_the_ends(connection: Connection, leaf: Leaf) -> set[str]:
    """The transactions that left a row of the first page and one of the last."""
    query = sql.SQL(
        """WITH last AS (SELECT greatest(pg_relation_size({name}) / current_setting('block_size')::int - 1, 0) AS page)
           (SELECT xmin::text FROM {table} LIMIT 1) UNION
           (SELECT xmin::text FROM {table} WHERE ctid >= (SELECT format('(%s,0)', page)::tid FROM last) LIMIT 1)"""
    ).format(table=leaf.table.sql, name=sql.Literal(leaf.table.sql.as_string(connection)))
    return {xmin for (xmin,) in connection.execute(query).fetchall()}
