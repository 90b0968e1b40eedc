"""A day of rows in hot: finding its table, filling a fresh one, merging into one that is there.

Everything here runs inside the caller's transaction, which holds the gate (see `ingest`) or says how to close it.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import pyarrow as pa
from psycopg import sql

from thermocline.faults import Step, reached, step
from thermocline.model.dataset import Dataset
from thermocline.model.partition import DayRange, Partition
from thermocline.stores.postgres import fresh, rows, shape, tables
from thermocline.stores.postgres.connection import Connection
from thermocline.stores.postgres.tables import Leaf, Table


def leaf_of(connection: Connection, schema: str, dataset: Dataset, partition: Partition) -> Leaf | None:
    """The day's table, found by its bounds. All of them must have the columns that we gave them."""
    shape.check_columns(connection, tables.parent_table(schema, dataset), dataset)
    for leaf in tables.leaves(connection, schema, dataset):
        if leaf.partition == partition:
            return leaf
    return None


def make_room(
    connection: Connection, schema: str, dataset: Dataset, partition: Partition, close_gate: Callable[[], None]
) -> None:
    """Create the interval's table where it is missing, in a transaction of its own: days are loaded side by side."""
    if tables.partitioning(connection, tables.range_table(schema, partition, dataset)) is None:
        with connection.transaction():
            close_gate()
            tables.check_parent(connection, schema, dataset)
            tables.create_range_table(connection, schema, partition, dataset)


@dataclass(frozen=True, slots=True)
class Put:
    """A day's table, and how many rows are in it where that is known without counting."""

    table: Table
    rows: int | None = None


@step(Step.FILL)
def put(
    connection: Connection,
    schema: str,
    dataset: Dataset,
    partition: Partition,
    batches: Iterable[pa.RecordBatch],
    *,
    close_gate: Callable[[], None] = lambda: None,
) -> Put:
    """Bring rows into a day, with its late rows, by whichever way is right.

    `close_gate` is for callers who do not hold the gate yet: it is called before anything that others could see.
    """
    leaf = leaf_of(connection, schema, dataset, partition)
    if leaf is None:
        return _fill(connection, schema, dataset, partition, batches, close_gate=close_gate)
    close_gate()
    with rows.staged(connection, dataset, batches) as staging:
        select = sql.SQL("SELECT {} FROM {}").format(tables.names(dataset.names), staging)
        rows.merge(connection, leaf.table, dataset, select)
    reached("fill:copied")
    _fold_late(connection, dataset, partition, leaf.table)
    return Put(leaf.table)


def of_day(partition: Partition, dataset: Dataset) -> sql.Composed:
    """The condition that a row belongs to the partition."""
    condition = sql.SQL("ts >= {} AND ts < {}").format(sql.Literal(partition.start), sql.Literal(partition.end))
    if dataset.has_intervals:
        condition += sql.SQL(" AND interval = {}").format(sql.Literal(partition.interval))
    return condition


def of_days(dataset: Dataset, days: DayRange, intervals: Collection[str], symbols: Collection[str]) -> sql.Composed:
    """The condition that a row belongs to those days, intervals (none: all) and symbols (none: all)."""
    condition = sql.SQL("ts >= {} AND ts < {}").format(
        sql.Literal(f"{days.start} 00:00:00+00"), sql.Literal(f"{days.end} 00:00:00+00")
    )
    if intervals:
        condition += sql.SQL(" AND interval = ANY({})").format(sql.Literal(list(intervals)))
    if symbols:
        symbol = sql.Identifier(dataset.symbol_column)
        condition += sql.SQL(" AND {} = ANY({})").format(symbol, sql.Literal(list(symbols)))
    return condition


def _fill(
    connection: Connection,
    schema: str,
    dataset: Dataset,
    partition: Partition,
    batches: Iterable[pa.RecordBatch],
    *,
    close_gate: Callable[[], None],
) -> Put:
    """Create the day's table, fill it, index it, attach it: rows first, readers last.

    Until the gate is closed nobody waits for this: there is no such table yet for anybody else.
    """
    parent = tables.create_range_table(connection, schema, partition, dataset)
    leaf = tables.create_leaf(connection, parent, partition, dataset)
    copied = fresh.fill(connection, leaf, dataset, batches)
    reached("fill:copied")
    tables.add_indexes(connection, leaf, dataset)
    tables.analyze(connection, leaf)
    close_gate()
    merged = _fold_late(connection, dataset, partition, leaf)
    tables.attach(connection, parent, leaf, partition)
    connection.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT bounds").format(leaf.sql))
    return Put(leaf, None if merged else copied)


def _fold_late(connection: Connection, dataset: Dataset, partition: Partition, leaf: Table) -> int:
    late, condition = tables.late_table(dataset), of_day(partition, dataset)
    merged = rows.merge(connection, leaf, dataset, rows.newest_late(late, dataset, condition))
    connection.execute(sql.SQL("DELETE FROM {} WHERE {}").format(late.sql, condition))
    return merged
