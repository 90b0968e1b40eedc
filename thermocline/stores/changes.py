"""Comparing two versions of a day with DuckDB, row by row and value by value."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from thermocline.model.changes import ChangeCounts
from thermocline.model.dataset import Column, Dataset, Kind
from thermocline.model.query import answer_order
from thermocline.ports import Changes, Located
from thermocline.stores.duckdb import Engine, explained
from thermocline.stores.duckdb_sql import identifier, literal, relation_sql

_BATCH_ROWS = 65_536


@contextmanager
def changes(engine: Engine, dataset: Dataset, old: Sequence[Located], new: Sequence[Located]) -> Iterator[Changes]:
    """See `Lake.changes`. Rows that differ are kept once, on disk where memory does not suffice.

    Floats differ by their bits, as fingerprints count them: -0.0 from 0.0, and NaN from null but not from NaN.
    """
    with engine.connection() as connection:
        with explained():
            sources = [relation_sql(dataset, located, connection) for located in (old, new)]
            connection.execute(_differing_sql(dataset, *sources))
            found = connection.execute(
                f"""SELECT count(*) FILTER (change = 'added'), count(*) FILTER (change = 'removed'),
                           count(*) FILTER (change = 'changed'),
                           count(DISTINCT {_new(dataset.symbol_column, dataset)}) FILTER (change = 'changed')
                    FROM differing"""  # noqa: S608  # names are quoted
            ).fetchone()
        counts = ChangeCounts(*(found or (0, 0, 0, 0)))
        schema = cells_schema(dataset)
        cells = _cells(connection, dataset, schema)
        try:
            yield Changes(counts, pa.RecordBatchReader.from_batches(schema, cells))
        finally:
            cells.close()


def cells_schema(dataset: Dataset) -> pa.Schema:
    """What changed, the key, and of a changed row the column with its value before and after."""
    key = [dataset.column(name).arrow_field for name in answer_order(dataset)]
    texts = [pa.field(name, pa.string()) for name in ("column", "before", "after")]
    return pa.schema([pa.field("change", pa.string(), nullable=False), *key, *texts])


def _compared(dataset: Dataset) -> list[Column]:
    return [column for column in dataset.columns if column.name in dataset.content and column.name not in dataset.key]


def _old(name: str, dataset: Dataset) -> str:
    return identifier(name if name in dataset.key else f"before {name}")


def _new(name: str, dataset: Dataset) -> str:
    return identifier(name if name in dataset.key else f"after {name}")


def _differs(column: Column, old: str, new: str) -> str:
    differs = f"{old} IS DISTINCT FROM {new}"
    if column.kind is Kind.FLOAT:
        differs = f"({differs} OR ({old} = 0 AND signbit({old}) <> signbit({new})))"
    return differs


def _differing_sql(dataset: Dataset, old: str, new: str) -> str:
    """A table of every key that is in one version alone or that the two say something different of."""
    key = ", ".join(map(identifier, dataset.key))
    values = [
        f"{side}.{identifier(column.name)} AS {alias(column.name, dataset)}"
        for column in _compared(dataset)
        for side, alias in (("old", _old), ("new", _new))
    ]
    differs = [
        _differs(column, f"old.{identifier(column.name)}", f"new.{identifier(column.name)}")
        for column in _compared(dataset)
    ]
    return f"""CREATE TEMPORARY TABLE differing AS
        SELECT CASE WHEN old.here IS NULL THEN 'added' WHEN new.here IS NULL THEN 'removed' ELSE 'changed' END
                   AS change,
               {", ".join([key, *values])}
        FROM (SELECT *, true AS here FROM {old}) AS old
        FULL OUTER JOIN (SELECT *, true AS here FROM {new}) AS new USING ({key})
        WHERE old.here IS NULL OR new.here IS NULL OR {" OR ".join(differs)}"""  # noqa: S608  # names and paths are quoted


def _cells(
    connection: duckdb.DuckDBPyConnection, dataset: Dataset, schema: pa.Schema
) -> Generator[pa.RecordBatch, None, None]:
    """A line for each row that was added or removed, and one for each value of a changed row that differs."""
    order = ", ".join(map(identifier, answer_order(dataset)))
    lists = [
        f"{{'position': {position}, 'name': {literal(column.name)},"
        f" 'before': CAST({_old(column.name, dataset)} AS VARCHAR),"
        f" 'after': CAST({_new(column.name, dataset)} AS VARCHAR),"
        f" 'differs': {_differs(column, _old(column.name, dataset), _new(column.name, dataset))}}}"
        for position, column in enumerate(_compared(dataset))
    ]
    nothing = "{'position': 0, 'name': NULL, 'before': NULL, 'after': NULL, 'differs': true}"
    sql = f"""
        SELECT change, {order}, cell.name, cell.before, cell.after FROM (
            SELECT change, {order}, unnest(
                CASE change WHEN 'changed' THEN list_filter([{", ".join(lists)}], lambda cell: cell.differs)
                ELSE [{nothing}] END
            ) AS cell FROM differing
        ) ORDER BY {order}, cell.position"""  # noqa: S608  # names are quoted
    with explained():
        for batch in connection.execute(sql).to_arrow_reader(_BATCH_ROWS):
            yield pa.RecordBatch.from_arrays(
                [column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)], schema=schema
            )
