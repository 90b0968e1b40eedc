"""Rows counted by series and day with DuckDB, from cold objects in place and hot rows as they come."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from thermocline.model.dataset import Dataset
from thermocline.ports import Relation
from thermocline.stores.duckdb import Engine, explained
from thermocline.stores.duckdb_sql import columns_sql, identifier, relation_sql

_DAY_MICROSECONDS = 86_400_000_000
_SHIFT_DAYS = 1_000_000  # keeps a division from rounding towards 1970


def names_of(engine: Engine, relation: Relation, symbols: Collection[str]) -> list[tuple[str, str]]:
    """See `Analytics.instruments`."""
    with _rows(engine, relation, symbols) as (connection, rows, values):
        found = connection.execute(f"SELECT DISTINCT asset_class, symbol FROM {rows} ORDER BY ALL", values)  # noqa: S608
        return [(asset_class, symbol) for asset_class, symbol in found.fetchall()]


def counts_of(engine: Engine, relation: Relation, spans: pa.Table, symbols: Collection[str]) -> pa.Table:
    """See `Analytics.counts`."""
    calendars = [name.removeprefix("from_") for name in spans.column_names if name.startswith("from_")]
    groups = sorted({name.split("_")[0] for name in calendars}, key=int)
    there = [
        f"count(*) FILTER (WHERE {_inside([c for c in calendars if c.split('_')[0] == group])}) AS there_{group}"
        for group in groups
    ]
    with _rows(engine, relation, symbols) as (connection, rows, values):
        connection.register("spans", spans)
        counted = ", ".join(["asset_class", "symbol", "coalesce(counted, rows.day) AS day", "count(*) AS rows", *there])
        statement = f"SELECT {counted} FROM {rows} AS rows LEFT JOIN spans ON spans.day = rows.day GROUP BY 1, 2, 3"  # noqa: S608
        with explained():
            return connection.execute(statement, values).to_arrow_table()


def _inside(spans: Sequence[str]) -> str:
    return " OR ".join(f"(us >= from_{span} AND us < to_{span})" for span in spans)


@contextmanager
def _rows(
    engine: Engine, relation: Relation, symbols: Collection[str]
) -> Iterator[tuple[duckdb.DuckDBPyConnection, str, dict[str, Any]]]:
    """A connection, a subquery of the rows (asset_class, symbol, us, day), and the values that it takes."""
    dataset = relation.dataset
    keys = columns_sql(keys_of(dataset))
    with engine.connection() as connection, explained():
        rows = f"SELECT {keys} FROM {relation_sql(dataset, relation.locations, connection)}"  # noqa: S608  # names are quoted
        if relation.late is not None and len(relation.late):
            connection.register("late", relation.late.select(list(keys_of(dataset))))
            rows = f"SELECT DISTINCT * FROM ({rows} UNION ALL SELECT {keys} FROM late)"  # noqa: S608  # names are quoted
        with relation.hot() as reader:
            connection.register("incoming", reader)
            connection.execute("CREATE TEMP TABLE hot_keys AS SELECT * FROM incoming")
            connection.unregister("incoming")
        rows = f"{rows} UNION ALL SELECT {keys} FROM hot_keys"  # noqa: S608  # names are quoted
        asset_class = "asset_class" if "asset_class" in dataset.names else "''"
        wanted, values = "", {}
        if symbols:
            values = {f"symbol_{number}": symbol for number, symbol in enumerate(sorted(symbols))}
            wanted = f" WHERE {identifier(dataset.symbol_column)} IN ({', '.join(f'${name}' for name in values)})"
        day = f"(epoch_us(ts) + {_SHIFT_DAYS} * {_DAY_MICROSECONDS}) // {_DAY_MICROSECONDS} - {_SHIFT_DAYS}"
        named = f"{asset_class} AS asset_class, {identifier(dataset.symbol_column)} AS symbol"
        yield connection, f"(SELECT {named}, epoch_us(ts) AS us, {day} AS day FROM ({rows}){wanted})", values  # noqa: S608


def keys_of(dataset: Dataset) -> tuple[str, ...]:
    """The columns that are counted by: the key, and the symbol where it is not part of that."""
    return tuple(dict.fromkeys((*dataset.key, dataset.symbol_column)))
