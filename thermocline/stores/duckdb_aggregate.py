"""Parts of groups from Parquet objects, worked out by DuckDB where the rows are read."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pyarrow as pa

from thermocline.model.aggregates import BUCKET, Aggregation, Op, State, key_name
from thermocline.model.dataset import Kind
from thermocline.model.query import Segment
from thermocline.model.receipt import Vintage
from thermocline.ports import Located
from thermocline.stores.duckdb import Engine, explained
from thermocline.stores.duckdb_scan import late_of, part_of, stream
from thermocline.stores.duckdb_sql import identifier, literal, relation_sql, wanted_sql
from thermocline.stores.work import Work

_MICROSECONDS = 1_000_000
_YEAR_1 = -62_135_596_800 * _MICROSECONDS


@contextmanager
def aggregate(
    engine: Engine,
    asked: Aggregation,
    segment: Segment,
    locate: Callable[[Sequence[Vintage]], list[Located]],
    late: pa.Table | None = None,
) -> Iterator[pa.RecordBatchReader]:
    """Partials of a cold segment's rows. A row of `late` stands in for an older row of the same key."""
    with engine.connection() as connection, engine.work(connection) as work:
        partials = _partials(engine, work, asked, segment, locate, late=late)
        try:
            yield pa.RecordBatchReader.from_batches(asked.partial_schema, partials)
        finally:
            partials.close()


def _partials(
    engine: Engine,
    work: Work,
    asked: Aggregation,
    segment: Segment,
    locate: Callable[[Sequence[Vintage]], list[Located]],
    *,
    late: pa.Table | None,
) -> Generator[pa.RecordBatch, None, None]:
    dataset, connection = asked.query.dataset, work.connection
    waiting = late_of(dataset, segment, late)
    late_days = set() if waiting is None else {at.date() for at in waiting["ts"].unique().to_pylist()}
    # Only days with late rows need their rows compared by key.
    for is_late in (False, True):
        days = [day for day in segment.days if (day in late_days) is is_late]
        if not days:
            continue
        piece = part_of(segment, days)
        located = locate(piece.vintages)
        with explained(), engine.expecting(located):
            if is_late:
                connection.register("late", waiting)
            source = work.run(partial(relation_sql, dataset, located, connection))
            rows, values = wanted_sql(asked.query, piece, source, _columns(asked), is_late=is_late)
            sql = _grouped_sql(asked, rows, segment.interval)
            for batch in work.batches(work.run(partial(stream, connection, sql, values))):
                yield from pa.Table.from_batches([batch]).cast(asked.partial_schema).to_batches()


def _columns(asked: Aggregation) -> tuple[str, ...]:
    """Those that are read."""
    states = [name for state in asked.states for name in (state.column.name if state.column else "", state.weight)]
    return tuple(dict.fromkeys(name for name in (*(c.name for c in asked.finest), "ts", *states) if name))


def _grouped_sql(asked: Aggregation, rows: str, interval: str) -> str:
    """The groups of those rows, all of one interval: so that is nothing to group by."""
    keys = {key_name(n): identifier(column.name) for n, column in enumerate(asked.finest) if column.name != "interval"}
    if asked.every_seconds:
        keys[BUCKET] = _bucket(asked)
    told = [f"{what} AS {name}" for name, what in keys.items()]
    told += [f"{_state(state)} AS {state.name}" for state in asked.states]
    groups = f"SELECT {', '.join(told)} FROM ({rows})"  # noqa: S608  # names are quoted
    if keys:
        groups += f" GROUP BY {', '.join(map(str, range(1, len(keys) + 1)))}"
    elif asked.finest:
        # An interval is all there is to group by: where there are no rows there is no group.
        groups += " HAVING count(*) > 0"
    names = [
        f"{literal(interval)} AS {name}" if name.startswith("key_") and name not in keys else name
        for name in asked.partial_schema.names
    ]
    if asked.every_seconds:
        names[names.index(BUCKET)] = f"make_timestamptz({_instant(asked)}) AS {BUCKET}"
    return f"SELECT {', '.join(names)} FROM ({groups})"  # noqa: S608  # as above


def _bucket(asked: Aggregation) -> str:
    """Which bucket a row is in, counted from the year 1 on: a division rounds towards zero, so none is below it."""
    return f'(epoch_us("ts") + {_shift(asked)}) // {_step(asked)}'


def _instant(asked: Aggregation) -> str:
    """When the bucket begins, in microseconds."""
    return f"{BUCKET} * {_step(asked)} - {_shift(asked)}"


def _step(asked: Aggregation) -> int:
    return (asked.every_seconds or 1) * _MICROSECONDS


def _shift(asked: Aggregation) -> int:
    """A whole number of buckets from the first one of all to the one that begins at the origin."""
    step, first = _step(asked), asked.origin_seconds * _MICROSECONDS
    return -((_YEAR_1 - first) // step) * step - first


def _state(state: State) -> str:
    if state.op is Op.ROWS:
        return "count(*)"
    column, weight = identifier(state.of.name), f"CAST({identifier(state.weight)} AS DOUBLE)"
    told = f"FILTER (WHERE {column} IS NOT NULL)" if state.of.nullable else ""
    match state.op:
        case Op.SUM:
            sql = f"sum({column})" if state.of.kind is Kind.FLOAT else f"CAST(sum({column}) AS {_decimal(state)})"
        case Op.FIRST:
            sql = f'arg_min({column}, "ts") {told}'
        case Op.LAST:
            sql = f'arg_max({column}, "ts") {told}'
        case Op.FIRST_AT:
            sql = f'min("ts") {told}'
        case Op.LAST_AT:
            sql = f'max("ts") {told}'
        case Op.PRODUCT:
            sql = f"sum(CAST({column} AS DOUBLE) * {weight})"
        case Op.WEIGHT:
            sql = f"sum({weight}) {told}"
        case Op.UNWEIGHED:
            sql = f"count(*) FILTER (WHERE {column} IS NULL AND {weight} > 0)"
        case _:
            sql = f"{state.op}({column})"
    return sql


def _decimal(state: State) -> str:
    return f"DECIMAL(38, {state.type.scale})"
