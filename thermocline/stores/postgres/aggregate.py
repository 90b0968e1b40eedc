"""Parts of groups from the tables of days, worked out by PostgreSQL where the rows are.

Each table is grouped by itself: there are few groups in it, so they are gathered in memory and nothing is sorted, and
several tables can be read at once. Of the first and last value of a group only the instant is looked for in all rows;
the value is fetched afterwards, by the key. Carrying it along with the instant took three times as long.
"""

from collections.abc import Callable, Generator, Mapping, Sequence

import pyarrow as pa
from psycopg import sql

from thermocline.model.aggregates import BUCKET, Aggregation, Op, State, key_name
from thermocline.model.dataset import Column, Kind
from thermocline.stores.postgres.connection import Connection
from thermocline.stores.postgres.copy_out import copied
from thermocline.stores.postgres.tables import Leaf, Table

Condition = Callable[[Leaf], str]

_DECIMALS = frozenset({Kind.PRICE, Kind.MONEY})
_FETCHED = frozenset({Op.FIRST, Op.LAST})
_TABLES_AT_ONCE = 16
_SETTINGS = """
SET LOCAL enable_sort = off;
SET LOCAL enable_hashjoin = off;
SET LOCAL enable_mergejoin = off;
SET LOCAL work_mem = '8MB';
"""
"""Gather groups in memory, then fetch rows by the key. The planner can't know that there are few groups: it would sort
every row by long keys, and read all rows once more for a few of them.

A table takes at most twice that memory (`hash_mem_multiplier`), and the disk beyond it. The settings end with the look.
"""

_FEW_SYMBOLS = 20
_ALONE = "SET LOCAL max_parallel_workers_per_gather = 0"
"""Of few symbols the rows are found by the key, sooner than other processes are there to help."""

_TOGETHER = "SET LOCAL parallel_setup_cost = 1000"
"""Of tables that are read as a whole the planner knows what they cost. This is its own value, not the session's."""


def partials(
    connection: Connection, asked: Aggregation, leaves: Sequence[Leaf], condition: Condition
) -> Generator[pa.RecordBatch, None, None]:
    """Partials of the rows of some leaves for which the condition on each holds."""
    wanted = [_sent(state) for state in asked.states]
    bucket = [Column(BUCKET, Kind.TIMESTAMP)] if asked.every_seconds else []
    keys = [Column(key_name(number), column.kind, column.nullable) for number, column in enumerate(asked.finest)]
    connection.execute(_SETTINGS + (_ALONE if 0 < len(asked.query.symbols) <= _FEW_SYMBOLS else _TOGETHER))
    selects = _selects(asked, leaves, condition)
    for start in range(0, len(leaves), _TABLES_AT_ONCE):
        select = sql.SQL(" UNION ALL ").join(selects[start : start + _TABLES_AT_ONCE])
        for batch in copied(connection, select, [*keys, *bucket, *wanted]):
            yield from pa.Table.from_batches([batch]).cast(asked.partial_schema).to_batches()


def _selects(asked: Aggregation, leaves: Sequence[Leaf], condition: Condition) -> list[sql.SQL]:
    """What to ask of each leaf. What is the same for all, or all but those at the ends, is put into words once."""
    said: dict[tuple[str, str], _Statement] = {}
    selects = []
    for leaf in leaves:
        about = leaf.partition.interval, condition(leaf)
        if about not in said:
            said[about] = _Statement(asked, *about)
        selects.append(said[about].of(leaf.table))
    return selects


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


class _Statement:
    """The groups of any day's table: the keys by number, the bucket, then the states."""

    def __init__(self, asked: Aggregation, interval: str, condition: str) -> None:
        """Put into words what is the same for all tables."""
        # The same in all rows, so nothing to group by.
        alike = sql.SQL("{}::text").format(sql.Literal(interval))
        keys = [alike if column.name == "interval" else sql.Identifier(column.name) for column in asked.finest]
        columns: dict[str, sql.Composable] = {key_name(number): key for number, key in enumerate(keys)}
        if asked.every_seconds:
            columns[BUCKET] = _bucket(asked)
        # By their places: a name might be that of a column too.
        grouped = [sql.SQL(str(place)) for place, name in enumerate(columns, start=1) if columns[name] is not alike]
        states = {state.name: _state(state) for state in asked.states if state.op not in _FETCHED}
        groups = sql.SQL("SELECT {} FROM ").format(_named(columns | states))
        rest = sql.SQL(" WHERE {}{}").format(sql.SQL(condition), _group_by(columns, grouped))
        fetched = [state for state in asked.states if state.op in _FETCHED]
        if fetched:
            values = {state.name: sql.Identifier(f"of_{state.name}", state.of.name) for state in fetched}
            names = [*columns, *(state.name for state in asked.states)]
            told = {name: values.get(name, sql.Identifier("groups", name)) for name in names}
            groups = sql.SQL("SELECT {} FROM ({}").format(_named(told), groups)
            rest += sql.SQL(") AS groups")
        self._groups, self._rest = groups.as_string(), rest.as_string()
        self._joins = [_row_of(asked, state).as_string() for state in fetched]

    def of(self, leaf: Table) -> sql.SQL:
        """The groups of one of them."""
        table = leaf.sql.as_string()
        joins = [f" LEFT JOIN {table}{row}" for row in self._joins]
        return sql.SQL("".join([self._groups, table, self._rest, *joins]))


def _group_by(columns: Mapping[str, sql.Composable], grouped: Sequence[sql.SQL]) -> sql.Composable:
    if grouped:
        return sql.SQL(" GROUP BY {}").format(sql.SQL(", ").join(grouped))
    # An interval is all there is to group by: of a table without rows that are asked for there is no group.
    return sql.SQL(" HAVING count(*) > 0" if columns else "")


def _named(columns: Mapping[str, sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL("{} AS {}").format(what, sql.Identifier(name)) for name, what in columns.items())


def _row_of(asked: Aggregation, state: State) -> sql.Composed:
    """Which is the row of a group that has the first or last instant: with it, the group has the whole key."""
    finest = [column.name for column in asked.finest]
    row, at = f"of_{state.name}", sql.Identifier("groups", f"{state.name}_at")
    same = [
        sql.SQL("{} = {}").format(
            sql.Identifier(row, name), at if name == "ts" else sql.Identifier("groups", key_name(finest.index(name)))
        )
        for name in asked.query.dataset.key
    ]
    return sql.SQL(" AS {} ON {}").format(sql.Identifier(row), sql.SQL(" AND ").join(same))


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
        case Op.FIRST_AT:
            template = "min(ts) FILTER (WHERE {column} IS NOT NULL)" if state.of.nullable else "min(ts)"
        case Op.LAST_AT:
            template = "max(ts) FILTER (WHERE {column} IS NOT NULL)" if state.of.nullable else "max(ts)"
        case Op.PRODUCT:
            # A decimal is cast to a float by way of text; as a count of its smallest unit it is not.
            exact = state.of.kind is Kind.PRICE
            template = (
                "sum(({column} * 100000000)::bigint::float8 * {weight}::float8) / 100000000"
                if exact
                else "sum({column}::float8 * {weight}::float8)"
            )
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
