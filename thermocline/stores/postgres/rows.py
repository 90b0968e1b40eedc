"""Rows into and out of tables: binary COPY, merging, and the SELECTs that both readers and exports use."""

import os
import socket
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, TypeVar

import pyarrow as pa
from psycopg import sql

from thermocline.model.dataset import Column, Dataset, Kind
from thermocline.stores.postgres.connection import Connection
from thermocline.stores.postgres.copy_format import HEADER, TRAILER
from thermocline.stores.postgres.copy_out import BATCH_ROWS, copied
from thermocline.stores.postgres.encode import blocks
from thermocline.stores.postgres.tables import Table, names, primary_key, sql_type

T = TypeVar("T")

_STAGING = sql.Identifier("thermocline_staging")

_UNIX_SEND_BYTES = 512 << 10
"""What a Unix socket takes before whoever writes waits. With the 200 KiB of Linux both sides wake each other twice as
often as they need to, which costs 4 % of a load. TCP sees to it itself."""


class Streams:
    """Streams of rows that may be left before their end, for instance by an error of whoever reads them.

    A COPY that is not over makes the connection deaf to COMMIT and ROLLBACK, so close them before the transaction ends.
    """

    def __init__(self) -> None:
        """None yet."""
        self._opened: list[Generator[Any, None, None]] = []

    def track(self, stream: Generator[T, None, None]) -> Generator[T, None, None]:
        """Remember a stream and hand it on."""
        self._opened.append(stream)
        return stream

    def close(self) -> None:
        """End those that are not over."""
        for stream in self._opened:
            stream.close()
        self._opened.clear()


def copy_in(
    connection: Connection,
    table: sql.Composable,
    columns: Sequence[Column],
    batches: Iterable[pa.RecordBatch],
    *,
    freeze: bool,
) -> int:
    """COPY those columns of batches into a table; return how many rows.

    `freeze` needs the table to be new in this transaction.
    """
    sent = [column.name for column in columns]
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY{})").format(
        table, names(sent), sql.SQL(", FREEZE" if freeze else "")
    )
    rows = 0
    _let_write_ahead(connection)
    with connection.cursor().copy(statement) as copy:
        copy.write(HEADER)
        for batch in batches:
            for block in blocks(batch.select(sent), columns):
                copy.write(block)
            rows += batch.num_rows
        copy.write(TRAILER)
    return rows


def _let_write_ahead(connection: Connection) -> None:
    with socket.socket(fileno=os.dup(connection.fileno())) as own:
        if own.family == socket.AF_UNIX:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNIX_SEND_BYTES)


def copy_out(
    connection: Connection,
    query: sql.Composable,
    dataset: Dataset,
    columns: Sequence[str] = (),
    *,
    known: Mapping[str, str] = MappingProxyType({}),
) -> Generator[pa.RecordBatch, None, None]:
    """The rows of a query as batches of bounded size; they have the columns named, or all of the dataset's.

    Those that are `known` to say the same in every row are not asked for, and given all the same.
    """
    wanted = [dataset.column(name) for name in columns or dataset.names]
    return copied(connection, query, wanted, known=known, batch_rows=BATCH_ROWS)


@contextmanager
def staged(connection: Connection, dataset: Dataset, batches: Iterable[pa.RecordBatch]) -> Iterator[sql.Identifier]:
    """Rows in a temporary table of this transaction."""
    definitions = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(column.name), sql_type(column)) for column in dataset.columns
    )
    connection.execute(sql.SQL("CREATE TEMPORARY TABLE {} ({}) ON COMMIT DROP").format(_STAGING, definitions))
    copy_in(connection, _STAGING, dataset.columns, batches, freeze=True)
    yield _STAGING
    connection.execute(sql.SQL("DROP TABLE {}").format(_STAGING))


def merge(connection: Connection, table: Table, dataset: Dataset, query: sql.Composable) -> int:
    """Insert a query's rows (one a key); on a key that is there, the later `ingested_at` wins and ties go to the new.

    A row that says nothing new is left alone, so that merging the same rows again writes nothing. Rows are taken in the
    order of the key, so that of two merges of the same rows one waits for the other. Returns rows written.
    """
    changed = sql.SQL(", ").join(
        sql.SQL("{column} = excluded.{column}").format(column=sql.Identifier(name))
        for name in dataset.names
        if name not in dataset.key
    )
    content = [name for name in dataset.content if name not in dataset.key]

    def of(alias: str) -> sql.Composed:
        return sql.SQL("({})").format(sql.SQL(", ").join(sql.Identifier(alias, name) for name in content))

    statement = sql.SQL(
        """INSERT INTO {table} AS present ({columns}) SELECT {columns} FROM ({query}) AS fresh ORDER BY {key}
           ON CONFLICT ({key}) DO UPDATE SET {changed}
           WHERE excluded.ingested_at >= present.ingested_at AND {new} IS DISTINCT FROM {old}"""
    ).format(
        table=table.sql,
        columns=names(dataset.names),
        query=query,
        key=names(primary_key(dataset)),
        changed=changed,
        new=of("excluded"),
        old=of("present"),
    )
    return connection.execute(statement).rowcount


def newest_late(late: Table, dataset: Dataset, condition: sql.Composable) -> sql.Composed:
    """A SELECT of late rows: of each key the one with the latest `ingested_at`, and of those the last accepted one."""
    return sql.SQL(
        """SELECT DISTINCT ON ({key}) {columns} FROM {late} WHERE {condition}
           ORDER BY {key}, ingested_at DESC, late_id DESC"""
    ).format(key=names(dataset.key), columns=names(dataset.names), late=late.sql, condition=condition)


def ordered(names_: Sequence[str], dataset: Dataset) -> sql.Composed:
    """An ORDER BY list in which text sorts by bytes, as everywhere here, whatever the database's collation."""
    return sql.SQL(", ").join(
        sql.SQL('{} COLLATE "C"' if dataset.column(name).kind is Kind.TEXT else "{}").format(sql.Identifier(name))
        for name in names_
    )
