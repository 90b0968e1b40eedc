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
from thermocline.stores.duckdb import Engine, explained, identifier, late_of, part_of, relation_sql, stream, wanted_sql
from thermocline.stores.work import Work


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
        partials = _partials(work, asked, segment, locate, late)
        try:
            yield pa.RecordBatchReader.from_batches(asked.partial_schema, partials)
        finally:
            partials.close()


def _partials(
    work: Work,
    asked: Aggregation,
    segment: Segment,
    locate: Callable[[Sequence[Vintage]], list[Located]],
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
        with explained():
            if is_late:
                connection.register("late", waiting)
            source = work.run(partial(relation_sql, dataset, located, connection))
            rows, values = wanted_sql(asked.query, piece, source, _columns(asked), is_late=is_late)
            sql = f"SELECT {', '.join(_selected(asked))} FROM ({rows})"  # noqa: S608  # names are quoted
            if grouped := _grouped(asked):
                sql += f" GROUP BY {', '.join(grouped)}"
            for batch in work.batches(work.run(partial(stream, connection, sql, values))):
                yield from pa.Table.from_batches([batch]).cast(asked.partial_schema).to_batches()


def _columns(asked: Aggregation) -> tuple[str, ...]:
    """Those that are read."""
    states = [name for state in asked.states for name in (state.column.name if state.column else "", state.weight)]
    return tuple(dict.fromkeys(name for name in (*(c.name for c in asked.finest), "ts", *states) if name))


def _grouped(asked: Aggregation) -> list[str]:
    keys = [identifier(column.name) for column in asked.finest]
    return [*keys, _bucket(asked)] if asked.every_seconds else keys


def _selected(asked: Aggregation) -> Iterator[str]:
    for number, column in enumerate(asked.finest):
        yield f"{identifier(column.name)} AS {key_name(number)}"
    if asked.every_seconds:
        yield f"make_timestamptz({_bucket(asked)}) AS {BUCKET}"
    for state in asked.states:
        yield f"{_state(state)} AS {identifier(state.name)}"


def _bucket(asked: Aggregation) -> str:
    """When the row's bucket begins, in microseconds; the remainder is never negative, also before 1970."""
    step, first = (asked.every_seconds or 1) * 1_000_000, asked.origin_seconds * 1_000_000
    at = f'(epoch_us("ts") - {first})'
    return f'(epoch_us("ts") - (({at} % {step}) + {step}) % {step})'


def _state(state: State) -> str:
    if state.op is Op.ROWS:
        return "count(*)"
    column, weight = identifier(state.of.name), f"CAST({identifier(state.weight)} AS DOUBLE)"
    told = f"FILTER (WHERE {column} IS NOT NULL)"
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
