"""Reading Parquet objects with DuckDB: a stream of Arrow batches, in the order of the answer."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.model.dataset import Dataset
from thermocline.model.query import Query, Segment
from thermocline.model.receipt import Vintage
from thermocline.ports import Located
from thermocline.stores.duckdb import Engine, explained
from thermocline.stores.duckdb_sql import columns_sql, relation_sql, wanted_sql

_BATCH_ROWS = 65_536
_PIECE_BYTES = 32 << 20  # about three million bars
_PIECE_DAYS = 500

Locate = Callable[[Sequence[Vintage]], list[Located]]


@contextmanager
def scan(
    engine: Engine, query: Query, segment: Segment, locate: Locate, late: pa.Table | None = None
) -> Iterator[pa.RecordBatchReader]:
    """The rows of a segment that a query asks for, in the order of the answer; DuckDB begins when the block is entered.

    Days are read in pieces of at most 32 MiB of objects, one after the other: rows come soon, memory stays bounded, and
    a `limit` that is reached early leaves the other days alone. `locate` says where objects lie. A row of `late`
    stands in for an older row of the same key.
    """
    schema = pa.schema([query.dataset.arrow_schema.field(name) for name in query.names])
    with engine.connection() as connection, engine.work(connection) as work, ExitStack() as expecting:

        def begun(piece: Segment, limit: int | None) -> Iterator[pa.RecordBatch]:
            located = locate(piece.vintages)
            waiting = late_of(query.dataset, piece, late)
            if waiting is not None:
                connection.register("late", waiting)
            expecting.close()
            # A limit may be reached before most of the objects are opened.
            expecting.enter_context(engine.expecting(located if limit is None else ()))
            asked = replace(query, limit=limit)
            return work.stream(partial(_opened, connection, asked, piece, located, is_late=waiting is not None))

        batches = _batches(_pieces(segment), begun, query.limit)
        yield pa.RecordBatchReader.from_batches(schema, _of_schema(schema, batches))


def _batches(
    pieces: Iterator[Segment], begun: Callable[[Segment, int | None], Iterator[pa.RecordBatch]], limit: int | None
) -> Iterator[pa.RecordBatch]:
    """The batches of all pieces, of which the first is begun at once, and each other one when its turn comes."""
    piece = None if limit is not None and limit <= 0 else next(pieces, None)
    first = iter(()) if piece is None else begun(piece, limit)

    def following() -> Iterator[pa.RecordBatch]:
        batches, left = first, limit
        while True:
            for batch in batches:
                left = None if left is None else left - batch.num_rows
                yield batch
            piece = None if left is not None and left <= 0 else next(pieces, None)
            if piece is None:
                return
            batches = begun(piece, left)

    return following()


def _of_schema(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    with explained():
        for batch in batches:
            yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)


@contextmanager
def sorted_rows(engine: Engine, dataset: Dataset, located: Sequence[Located]) -> Iterator[Iterator[pa.RecordBatch]]:
    """The rows that count of these files, sorted as a file is, by way of the disk where memory does not suffice."""
    schema = dataset.arrow_schema
    with engine.connection() as connection, engine.expecting(located):

        def rows() -> Iterator[pa.RecordBatch]:
            with explained():
                source = relation_sql(dataset, located, connection)
                sql = f"SELECT {columns_sql(dataset.names)} FROM {source} ORDER BY {columns_sql(dataset.sort)}"  # noqa: S608
                for batch in connection.execute(sql).to_arrow_reader(_BATCH_ROWS):
                    yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)

        yield rows()


def _opened(
    connection: duckdb.DuckDBPyConnection, query: Query, piece: Segment, located: Sequence[Located], *, is_late: bool
) -> pa.RecordBatchReader:
    source = relation_sql(query.dataset, located, connection, piece.interval)
    return stream(connection, *_statement(query, piece, source, is_late=is_late))


def stream(connection: duckdb.DuckDBPyConnection, sql: str, values: dict[str, Any]) -> pa.RecordBatchReader:
    """The answer as it comes."""
    return connection.execute(sql, values).to_arrow_reader(_BATCH_ROWS)


def _statement(query: Query, piece: Segment, source: str, *, is_late: bool) -> tuple[str, dict[str, Any]]:
    rows, values = wanted_sql(query, piece, source, (*query.names, *query.dataset.key), is_late=is_late)
    sql = f"SELECT {columns_sql(query.names)} FROM ({rows}) ORDER BY {columns_sql(query.order)}"  # noqa: S608  # names are quoted
    if query.limit is not None:
        sql += " LIMIT $limit"
        values["limit"] = query.limit
    return sql, values


def _pieces(segment: Segment) -> Iterator[Segment]:
    """The segment's days in runs that are small enough to sort in memory."""
    vintages = {vintage.partition.day: vintage for vintage in segment.vintages}
    rows_of: Counter[str] = Counter()
    for vintage in segment.vintages:
        rows_of[vintage.receipt.path] += vintage.receipt.contents.rows
    days: list[date] = []
    size_bytes = 0
    for day in segment.days:
        added = 0
        if day in vintages:  # of an object that days share, each counts for its part
            receipt = vintages[day].receipt
            added = receipt.size_bytes * receipt.contents.rows // max(rows_of[receipt.path], 1)
        if days and (size_bytes + added > _PIECE_BYTES or len(days) == _PIECE_DAYS):
            yield _piece(segment, days, vintages)
            days, size_bytes = [], 0
        days.append(day)
        size_bytes += added
    if days:
        yield _piece(segment, days, vintages)


def part_of(segment: Segment, days: Sequence[date]) -> Segment:
    """Some days of a segment."""
    return _piece(segment, days, {vintage.partition.day: vintage for vintage in segment.vintages})


def _piece(segment: Segment, days: Sequence[date], vintages: Mapping[date, Vintage]) -> Segment:
    found = tuple(vintages[day] for day in days if day in vintages)
    return Segment(segment.tier, segment.interval, tuple(days), found)


def late_of(dataset: Dataset, segment: Segment, late: pa.Table | None) -> pa.Table | None:
    """The late rows of a segment's days, None where there are none: others answer in another segment, or not at all."""
    if late is None or not late.num_rows:
        return None
    wanted = pc.is_in(
        late["ts"].cast(pa.timestamp("us")).cast(pa.date32(), safe=False), pa.array(segment.days, pa.date32())
    )
    if dataset.has_intervals:
        wanted = pc.and_(wanted, pc.equal(late["interval"], segment.interval))
    return late.filter(wanted).combine_chunks()  # DuckDB does work for each chunk
