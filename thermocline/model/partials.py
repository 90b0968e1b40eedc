"""Putting parts of groups together. Pure: tables in, tables out; see `model/aggregates.py` for what partials are."""

from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.errors import UsageError
from thermocline.model.aggregates import BUCKET, Aggregation, Function, Measure, Op, State, key_name
from thermocline.model.dataset import Kind

_MICROSECONDS = 1_000_000
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_PLACES = Decimal(1).scaleb(-8)
_HELD_ROWS = 500_000
_CHOSEN = frozenset({Op.FIRST, Op.FIRST_AT, Op.LAST, Op.LAST_AT})
_ADDED = {Op.ROWS: "sum", Op.COUNT: "sum", Op.UNWEIGHED: "sum", Op.SUM: "sum", Op.PRODUCT: "sum", Op.WEIGHT: "sum"}


def partials_of_rows(asked: Aggregation, rows: pa.Table) -> pa.Table:
    """Each row as a group of its own, to be merged. `rows` have all columns of the dataset."""
    columns = [rows[column.name] for column in asked.finest]
    if asked.every_seconds:
        columns.append(_buckets(rows["ts"], asked.every_seconds, asked.origin_seconds))
    columns += [_of_row(state, rows) for state in asked.states]
    table = pa.Table.from_arrays(columns, names=asked.partial_schema.names)
    return table.cast(asked.partial_schema)


def _buckets(ts: pa.ChunkedArray, every: int, origin: int) -> pa.Array:
    numbers = ts.cast(pa.int64()).to_numpy()
    step, first = every * _MICROSECONDS, origin * _MICROSECONDS
    return pa.array((numbers - first) // step * step + first).cast(pa.timestamp("us", "UTC"))


def _of_row(state: State, rows: pa.Table) -> Any:
    if state.op is Op.ROWS:
        return pa.array(np.ones(len(rows), dtype=np.int64))
    values = rows[state.of.name]
    found: Any = values
    match state.op:
        case Op.COUNT:
            found = pc.is_valid(values)
        case Op.FIRST_AT | Op.LAST_AT:
            found = pc.if_else(pc.is_valid(values), rows["ts"], pa.scalar(None, rows["ts"].type))
        case Op.PRODUCT:
            found = pc.multiply(values.cast(pa.float64()), rows[state.weight].cast(pa.float64()))
        case Op.WEIGHT:
            found = pc.if_else(
                pc.is_valid(values), rows[state.weight].cast(pa.float64()), pa.scalar(None, pa.float64())
            )
        case Op.UNWEIGHED:
            found = pc.and_(pc.is_null(values), _or_false(pc.greater(rows[state.weight], 0)))
        case Op.SUM if pa.types.is_integer(values.type):
            found = values.cast(pa.decimal128(19, 0))
    return found.cast(state.type)


class Merger:
    """Puts partials together as they come. What it holds grows with the groups, not with the partials."""

    def __init__(self, asked: Aggregation) -> None:
        """Begin with none."""
        self._asked = asked
        self._held: list[pa.Table] = []
        self._rows = 0
        self._merged_rows = 0

    def add(self, partials: pa.Table | pa.RecordBatch) -> None:
        """Take partials in, of the schema that the aggregation says."""
        table = pa.Table.from_batches([partials]) if isinstance(partials, pa.RecordBatch) else partials
        if not len(table):
            return
        self._held.append(_with_ties(self._asked, table))
        self._rows += len(table)
        if self._rows > _HELD_ROWS + 2 * self._merged_rows:
            self._settle()

    def groups(self) -> pa.Table:
        """One line a group: keys of `by`, bucket and states, in order of bucket and keys."""
        self._settle()
        return self._held[0] if self._held else _with_ties(self._asked, self._asked.partial_schema.empty_table())

    def answer(self) -> pa.Table:
        """The measures of each group, in order of bucket and keys."""
        return finished(self._asked, self.groups())

    def _settle(self) -> None:
        if self._held:
            self._held = [_merged(self._asked, pa.concat_tables(self._held))]
            self._rows = self._merged_rows = len(self._held[0])


def merged(asked: Aggregation, partials: Iterable[pa.Table | pa.RecordBatch]) -> pa.Table:
    """The answer that partials come to."""
    merger = Merger(asked)
    for each in partials:
        merger.add(each)
    return merger.answer()


def _with_ties(asked: Aggregation, partials: pa.Table) -> pa.Table:
    """The keys that decide between equal times, for each first and last value those of its own row."""
    finest = [column.name for column in asked.finest]
    names = [key_name(number) for number in range(len(asked.by))]
    names += [BUCKET] if asked.every_seconds else []
    columns = {name: partials[name] for name in names}
    for state in asked.states:
        columns[state.name] = partials[state.name]
        if state.op in {Op.FIRST, Op.LAST}:
            for number, name in enumerate(asked.ties):
                columns[_tie(state, number)] = partials[key_name(finest.index(name))]
    return pa.table(columns) if columns else partials


def _tie(state: State, number: int) -> str:
    return f"{state.name}_tie_{number}"


def _merged(asked: Aggregation, parts: pa.Table) -> pa.Table:
    keys = _keys(asked)
    parts = parts.combine_chunks()
    if keys:
        parts = parts.take(pc.sort_indices(parts, [(name, "ascending") for name in keys]))
    starts = reduce(or_, [_starts(parts[name]) for name in keys], _first_of(len(parts)))
    group = pa.array(np.cumsum(starts) - 1)
    columns = {name: parts[name].filter(pa.array(starts)) for name in keys}
    columns |= _reduced([state for state in asked.states if state.op not in _CHOSEN], parts, group)
    for state in asked.states:
        if state.op in {Op.FIRST, Op.LAST}:
            names = [state.name, f"{state.name}_at", *(_tie(state, number) for number in range(len(asked.ties)))]
            chosen = _chosen(parts, group, names[1:], "ascending" if state.op is Op.FIRST else "descending")
            columns |= {name: parts[name].take(chosen) for name in names}
    return pa.table({name: columns[name] for name in parts.column_names})


def _keys(asked: Aggregation) -> list[str]:
    """Bucket first: the answer is in its order."""
    return [*([BUCKET] if asked.every_seconds else []), *(key_name(number) for number in range(len(asked.by)))]


def _first_of(count: int) -> Any:
    first = np.zeros(count, dtype=np.bool_)
    first[:1] = True
    return first


def _starts(values: pa.ChunkedArray) -> Any:
    """Which values differ from the one before; null is equal to null."""
    starts = np.zeros(len(values), dtype=np.bool_)
    before, after = values.slice(0, max(len(values) - 1, 0)), values.slice(1)
    nulls = pc.xor(pc.is_null(before), pc.is_null(after))
    starts[1:] = _or_false(pc.or_kleene(pc.not_equal(before, after), nulls)).to_numpy()
    return starts


def _chosen(parts: pa.Table, group: pa.Array, names: Sequence[str], order: str) -> pa.Array:
    """Of each group the row that comes first by these columns; one whose first column is null comes last."""
    keyed = parts.select(list(names)).append_column("group", group)
    order_of = [("group", "ascending"), *((name, order) for name in names)]
    indices = pc.sort_indices(keyed, order_of)  # nulls come last, in either order
    return indices.filter(pa.array(_starts(pa.chunked_array([group.take(indices)])) | _first_of(len(indices))))


def _reduced(states: Sequence[State], parts: pa.Table, group: pa.Array) -> dict[str, pa.ChunkedArray]:
    """What the parts of each group come to, group by group, all states in one pass."""
    options = pc.ScalarAggregateOptions(skip_nulls=True, min_count=1)
    columns = {state.name: parts[state.name] for state in states}
    wanted = [(state.name, _ADDED.get(state.op, state.op.value), options) for state in states]
    for state in states:
        if _may_be_nan(state):
            columns[f"{state.name}_nan"] = pc.is_nan(parts[state.name])
            wanted.append((f"{state.name}_nan", "any" if state.op is Op.MAX else "all", options))
    found = pa.TableGroupBy(pa.table({"group": group, **columns}), "group", use_threads=False).aggregate(wanted)
    told = {name: found[f"{name}_{function}"] for name, function, _ in wanted}
    for state in states:
        if _may_be_nan(state):
            # As in both engines NaN is greater than any number.
            number = pc.add(told[state.name], 0.0)
            told[state.name] = pc.if_else(told[f"{state.name}_nan"], pa.scalar(float("nan")), number)
    return {state.name: told[state.name].cast(state.type) for state in states}


def _may_be_nan(state: State) -> bool:
    return state.op in {Op.MIN, Op.MAX} and state.of.kind is Kind.FLOAT


def finished(asked: Aggregation, groups: pa.Table) -> pa.Table:
    """The measures of groups, as the answer has them. Where rows are not grouped at all, there is always one line."""
    if not len(groups) and not _keys(asked):
        groups = pa.table({name: pa.nulls(1, groups.schema.field(name).type) for name in groups.column_names})
    columns: dict[str, Any] = {"ts": groups[BUCKET]} if asked.every_seconds else {}
    columns |= {name: groups[key_name(number)] for number, name in enumerate(asked.by)}
    for number, measure in enumerate(asked.measures):
        columns[measure.name] = _measured(measure, [groups[state.name] for state in asked.states_of(number)])
    return pa.table({name: columns[name] for name in asked.names})


def _measured(measure: Measure, states: Sequence[pa.ChunkedArray]) -> Any:
    first = states[0]
    match measure.function:
        case Function.COUNT:
            return pc.fill_null(first, 0)
        case Function.SUM if pa.types.is_decimal(first.type) and first.type.scale == 0:
            try:
                return first.cast(pa.int64())
            except pa.ArrowInvalid:
                msg = f"{measure.name}: a sum of {measure.column} has more than 64 bits; ask for smaller groups"
                raise UsageError(msg) from None
        case Function.AVG:
            return _averages(first, states[1])
        case Function.WEIGHTED:
            return _weighted(*states)
    return first


def _averages(sums: pa.ChunkedArray, counts: pa.ChunkedArray) -> Any:
    if pa.types.is_floating(sums.type):
        return pc.divide(sums, pc.if_else(pc.equal(counts, 0), pa.scalar(None, pa.int64()), counts).cast(pa.float64()))
    pairs = zip(sums.to_pylist(), counts.to_pylist(), strict=True)
    if sums.type.scale == 0:
        return pa.array([int(total) / count if count else None for total, count in pairs], pa.float64())
    averages = [
        _EXACT.quantize(_EXACT.divide(total, Decimal(count)), _PLACES) if count else None for total, count in pairs
    ]
    return pa.array(averages, pa.decimal128(38, 8))


def _weighted(products: pa.ChunkedArray, weights: pa.ChunkedArray, unweighed: pa.ChunkedArray) -> Any:
    """Averages in floats; a reader who wants a price rounds them."""
    told = pc.and_(pc.equal(unweighed, 0), pc.greater(weights, 0.0))
    return pc.if_else(_or_false(told), pc.divide(products, weights), pa.scalar(None, pa.float64()))


def _or_false(mask: Any) -> Any:
    return pc.fill_null(mask, False)  # noqa: FBT003  # what stands for null is named by its place


def regrouped(asked: Aggregation, groups: pa.Table, buckets: Any, kept: Any) -> pa.Table:
    """Groups with other buckets, said in microseconds, put together where these are the same; only those `kept`."""
    place = groups.schema.get_field_index(BUCKET)
    moved = groups.set_column(place, BUCKET, pa.array(buckets).cast(pa.timestamp("us", "UTC")))
    return _merged(asked, moved.filter(pa.array(kept)))
