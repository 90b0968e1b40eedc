"""Parts of groups from the tables of days, worked out by PostgreSQL where the rows are."""

from collections.abc import Callable, Generator, Sequence

import pyarrow as pa
from psycopg import sql

from thermocline.model.aggregates import BUCKET, Aggregation, Op, State, key_name
from thermocline.model.dataset import Column, Kind
from thermocline.stores.postgres import tables
from thermocline.stores.postgres.connection import Connection
from thermocline.stores.postgres.copy_out import copied
from thermocline.stores.postgres.tables import Leaf

Condition = Callable[[Leaf], sql.Composable]

_DECIMALS = frozenset({Kind.PRICE, Kind.MONEY})
_NUMERIC = frozenset({*_DECIMALS, Kind.INTEGER})
_TS = sql.Identifier("ts")
# What is compared first of a pair: the instant as a number, for text with as many digits for every day there is.
_AT = sql.SQL("(extract(epoch FROM ts) * 1000000)::bigint")
_AT_TEXT = sql.SQL("lpad((extract(epoch FROM ts) * 1000000 + 1000000000000000000)::bigint::text, 19, '0')")


def partials(
    connection: Connection, asked: Aggregation, leaves: Sequence[Leaf], condition: Condition
) -> Generator[pa.RecordBatch, None, None]:
    """Partials of the rows of some leaves for which the condition on each holds."""
    wanted = [_sent(state) for state in asked.states]
    bucket = [Column(BUCKET, Kind.TIMESTAMP)] if asked.every_seconds else []
    keys = [Column(key_name(number), column.kind, column.nullable) for number, column in enumerate(asked.finest)]
    for batch in copied(connection, _select(asked, leaves, condition), [*keys, *bucket, *wanted]):
        yield from pa.Table.from_batches([batch]).cast(asked.partial_schema).to_batches()


def _sent(state: State) -> Column:
    """The state as PostgreSQL sends it: exact sums as text, since they may be longer than any column."""
    match state.op:
        case Op.ROWS | Op.COUNT | Op.UNWEIGHED:
            return Column(state.name, Kind.INTEGER)
        case Op.FIRST_AT | Op.LAST_AT:
            return Column(state.name, Kind.TIMESTAMP)
        case Op.PRODUCT | Op.WEIGHT:
            return Column(state.name, Kind.FLOAT)
        case Op.SUM if state.of.kind is not Kind.FLOAT:
            return Column(state.name, Kind.TEXT)
    return Column(state.name, state.of.kind)


def _select(asked: Aggregation, leaves: Sequence[Leaf], condition: Condition) -> sql.Composed:
    read = {name for state in asked.states for name in (state.column.name if state.column else "", state.weight)}
    names = dict.fromkeys((*(column.name for column in asked.finest), "ts", *sorted(read - {""})))
    columns = tables.names(names)
    days = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {} FROM {} WHERE {}").format(columns, leaf.table.sql, condition(leaf)) for leaf in leaves
    )
    keys: list[sql.Composable] = [sql.Identifier(column.name) for column in asked.finest]
    if asked.every_seconds:
        keys.append(_bucket(asked))
    grouped = sql.SQL(" GROUP BY {}").format(sql.SQL(", ").join(keys)) if keys else sql.SQL("")
    return sql.SQL("SELECT {} FROM ({}) AS days{}").format(
        sql.SQL(", ").join([*keys, *map(_state, asked.states)]), days, grouped
    )


def _bucket(asked: Aggregation) -> sql.Composed:
    """When the row's bucket begins; no zone has a part in it."""
    return sql.SQL("date_bin({}::interval, ts, to_timestamp({}))").format(
        sql.Literal(f"{asked.every_seconds} seconds"), sql.Literal(asked.origin_seconds)
    )


def _state(state: State) -> sql.Composable:
    if state.op is Op.ROWS:
        return sql.SQL("count(*)")
    column, weight = sql.Identifier(state.of.name), sql.Identifier(state.weight or "ts")
    match state.op:
        case Op.COUNT:
            template = "count({column})"
        case Op.SUM:
            template = "sum({column})" if state.of.kind is Kind.FLOAT else "sum({column})::text"
        case Op.MIN | Op.MAX:
            return _extreme(state)
        case Op.FIRST | Op.LAST:
            return _at_an_end(state)
        case Op.FIRST_AT:
            template = "min(ts) FILTER (WHERE {column} IS NOT NULL)"
        case Op.LAST_AT:
            template = "max(ts) FILTER (WHERE {column} IS NOT NULL)"
        case Op.PRODUCT:
            template = "sum({column}::float8 * {weight}::float8)"
        case Op.WEIGHT:
            template = "sum({weight}::float8) FILTER (WHERE {column} IS NOT NULL)"
        case _:
            template = "count(*) FILTER (WHERE {column} IS NULL AND {weight} > 0)"
    return sql.SQL(template).format(column=column, weight=weight)


def _extreme(state: State) -> sql.Composed:
    column = sql.Identifier(state.of.name)
    match state.of.kind:
        case Kind.TEXT:
            return sql.SQL('{}({} COLLATE "C")').format(sql.SQL(state.op.value), column)
        case Kind.BOOLEAN:
            return sql.SQL("bool_and({})" if state.op is Op.MIN else "bool_or({})").format(column)
    return sql.SQL("{}({})").format(sql.SQL(state.op.value), column)


def _at_an_end(state: State) -> sql.Composed:
    """The value at the first or last instant: the least or greatest pair of instant and value, in one pass."""
    column = sql.Identifier(state.of.name)
    if state.of.kind in _NUMERIC:
        pair = sql.SQL("ARRAY[{}::numeric, {}]").format(_AT, column)
    else:
        pair = sql.SQL('ARRAY[{}, {}::text COLLATE "C"]').format(_AT_TEXT, column)
    return sql.SQL("({}({}) FILTER (WHERE {} IS NOT NULL))[2]::{}").format(
        sql.SQL("min" if state.op is Op.FIRST else "max"), pair, column, tables.sql_type(state.of)
    )
