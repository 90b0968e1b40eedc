"""The rows of a query as Arrow, by binary COPY: received into one buffer, and decoded a buffer at a time."""

from collections.abc import Generator, Mapping, Sequence
from itertools import repeat
from types import MappingProxyType

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.abc import PQGen
from psycopg.errors import error_from_result
from psycopg.pq.abc import PGconn
from psycopg.waiting import Wait

from thermocline.model.dataset import Column
from thermocline.stores.postgres.connection import Connection
from thermocline.stores.postgres.copy_format import TRAILER
from thermocline.stores.postgres.decode import Received

BATCH_ROWS = 32_768
BATCH_BYTES = 16 << 20


def copied(
    connection: Connection,
    query: sql.Composable,
    columns: Sequence[Column],
    *,
    known: Mapping[str, str] = MappingProxyType({}),
    batch_rows: int = BATCH_ROWS,
    batch_bytes: int = BATCH_BYTES,
) -> Generator[pa.RecordBatch, None, None]:
    """The rows of a query whose columns are these, but for those that are `known`, in batches of bounded size.

    The server sends a message a row. psycopg's own iterator takes each through layers of Python that cost more than to
    decode it, so they are taken from libpq in a plain loop here; psycopg begins, waits, ends and cancels.

    Raises:
        HotStoreError: A value is one that no lake can hold.
    """
    received = Received(columns, known)
    with connection.cursor().copy(sql.SQL("COPY ({}) TO STDOUT (FORMAT BINARY)").format(query)) as copy:
        more = received.begin(bytes(copy.read()))
        while more:
            more = receive(connection, received, batch_rows, batch_bytes)
            if received.sizes:
                yield received.take()
        copy.read()  # what the server says when all is sent


def receive(connection: Connection, received: Received, batch_rows: int, batch_bytes: int) -> bool:
    """Fill the buffer with rows; False where they were the last ones.

    It ends with `batch_rows`, or where more than `batch_bytes` have come and libpq has no more at hand.
    """
    end_bytes = len(TRAILER)
    get, write, append = connection.pgconn.get_copy_data, received.write, received.sizes.append
    # All that is in this loop is done for each row. To write to a file in memory takes a third of what it takes to
    # copy into a part of a buffer; to put messages aside takes much more, since the garbage collector looks at each.
    for _ in repeat(None, batch_rows - len(received.sizes)):
        size, message = get(1)
        if size == 0:
            if received.size_bytes > batch_bytes:
                return True
            size, message = _arrived(connection)
        if size <= end_bytes:
            if size < 0:
                raise _failure(connection.pgconn)
            return False
        write(message)
        append(size)
    return True


def next_message(connection: Connection) -> memoryview:
    """The next message of a COPY; an empty one where there is none any more."""
    size, message = connection.pgconn.get_copy_data(1)
    if size == 0:
        size, message = _arrived(connection)
    return message if size > 0 else memoryview(b"")


def _arrived(connection: Connection) -> tuple[int, memoryview]:
    """The next message where libpq has none at hand, and its size, which is below 0 where there is none any more.

    While rows are decoded the server sends on, so most often there is something to read: to wait for it would take
    another call of the system, and of much Python.
    """
    connection.pgconn.consume_input()
    size, message = connection.pgconn.get_copy_data(1)
    while size == 0:
        connection.wait(_readable(connection.pgconn))
        size, message = connection.pgconn.get_copy_data(1)
    return size, message


def _readable(connection: PGconn) -> PQGen[None]:
    """Wait as psycopg does, so that a person's Ctrl-C is heard and the server told."""
    while not (yield Wait.R):
        pass
    connection.consume_input()


def _failure(connection: PGconn) -> psycopg.Error:
    """Why the rows ended before their end."""
    failed = None
    while result := connection.get_result():
        failed = failed or result
    if failed is None:
        return psycopg.OperationalError("the server closed the connection while it sent rows")
    return error_from_result(failed)
