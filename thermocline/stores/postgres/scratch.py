"""Rows that are loaded for a trial: into a table of their own, in a schema that nobody reads."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

import psycopg
import pyarrow as pa
from psycopg import sql

from thermocline.faults import Step, reached, step
from thermocline.model.datasets import dataset_named
from thermocline.model.fingerprint import contents_of
from thermocline.model.partition import Partition
from thermocline.model.receipt import Contents
from thermocline.stores.postgres import fresh, rows, tables
from thermocline.stores.postgres.connection import Connection, scalar
from thermocline.stores.postgres.days import of_day
from thermocline.stores.postgres.tables import Table

_KEY = "hashtextextended('thermocline scratch ' || %s, 0)"


@step(Step.REHEARSE)
def rehearse(connection: Connection, partition: Partition, batches: Iterable[pa.RecordBatch]) -> Contents:
    """See `Hot.rehearse`. The rows are committed before they are read, as those of a real restore are."""
    dataset = dataset_named(partition.dataset)
    clear(connection)
    with _table(connection) as table:
        with connection.transaction():
            connection.execute(
                sql.SQL("CREATE TABLE {} ({}, CHECK ({}))").format(
                    table.sql, tables.definitions(dataset), of_day(partition, dataset)
                )
            )
            fresh.fill(connection, table, dataset, batches)
            tables.add_indexes(connection, table, dataset)
        reached("rehearse:loaded")
        query = sql.SQL("SELECT {} FROM {}").format(tables.names(dataset.names), table.sql)
        streams = rows.Streams()
        try:
            return contents_of(dataset, streams.track(rows.copy_out(connection, query, dataset)))
        finally:
            streams.close()


@contextmanager
def _table(connection: Connection) -> Iterator[Table]:
    """A name that is this session's as long as it lives, and whose table is gone when the block ends."""
    table = Table(tables.SCRATCH, f"rehearsal_{uuid4().hex}")
    connection.execute(f"SELECT pg_advisory_lock({_KEY})", (table.name,))
    try:
        yield table
    finally:
        # Where the connection is gone, so is the lock: the next rehearsal clears the table away.
        with suppress(psycopg.OperationalError):
            _drop(connection, table)
            connection.execute(f"SELECT pg_advisory_unlock({_KEY})", (table.name,))


def clear(connection: Connection) -> list[str]:
    """Drop tables whose session is dead, and say which; those of sessions that live are left alone."""
    found = connection.execute(
        """SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = %s AND c.relkind = 'r' AND c.relname LIKE 'rehearsal\\_%%' ORDER BY 1""",
        (tables.SCRATCH,),
    ).fetchall()
    dropped = []
    for (name,) in found:
        # Whoever made the table holds this lock for as long as its session lives.
        if scalar(connection, f"SELECT pg_try_advisory_lock({_KEY})", (name,)):
            _drop(connection, Table(tables.SCRATCH, name))
            connection.execute(f"SELECT pg_advisory_unlock({_KEY})", (name,))
            dropped.append(name)
    return dropped


def _drop(connection: Connection, table: Table) -> None:
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table.sql))
