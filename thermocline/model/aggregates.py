"""What is asked of rows as a whole: measures of groups, and the states from which parts of a group are put together.

A group may lie in PostgreSQL and in the lake. Each tier says of its part a `State` for each thing that must be known of
it, a sum and a count for an average; parts are then put together (`model/partials.py`) to the very measures that one
pass over all rows would give.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from thermocline.errors import UsageError
from thermocline.model.dataset import Column, Dataset, Kind
from thermocline.model.partition import interval_seconds
from thermocline.model.query import Query

if TYPE_CHECKING:
    import pyarrow as pa

_MEASURE = re.compile(r"\s*(\w+)\s*(?:\(\s*(\*|\w*)\s*\))?\s*(?:as\s+(\w+)\s*)?", re.IGNORECASE)
_NUMBERS = frozenset({Kind.PRICE, Kind.MONEY, Kind.FLOAT, Kind.INTEGER})
_DECIMALS = frozenset({Kind.PRICE, Kind.MONEY})
_MONDAY_SECONDS = 4 * 86_400  # the epoch was a Thursday
_WEEK_SECONDS = 7 * 86_400
BUCKET = "bucket"
"""The column of partials that says when a group's bucket begins."""


class Function(StrEnum):
    """What can be said of the values of a group. Nulls don't count, but for `count` of the rows themselves."""

    COUNT = "count"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    AVG = "avg"
    FIRST = "first"
    LAST = "last"
    WEIGHTED = "weighted"


class Op(StrEnum):
    """What a state says of its part of a group."""

    ROWS = "rows"
    COUNT = "count"
    SUM = "sum"
    MIN = "min"
    MAX = "max"
    FIRST = "first"
    FIRST_AT = "first_at"
    LAST = "last"
    LAST_AT = "last_at"
    PRODUCT = "product"  # the sum of value times weight
    WEIGHT = "weight"  # the sum of the weights that have a value
    UNWEIGHED = "unweighed"  # how many rows have a weight above zero and no value


@dataclass(frozen=True, slots=True)
class State:
    """One column of partials."""

    name: str
    op: Op
    column: Column | None = None
    weight: str = ""

    @property
    def type(self) -> "pa.DataType":
        """The Arrow type: sums of decimals are decimals, and so are sums of integers, for none to overflow."""
        import pyarrow as pa  # noqa: PLC0415  # `thermocline --help` shall not pay for it

        match self.op:
            case Op.ROWS | Op.COUNT | Op.UNWEIGHED:
                return pa.int64()
            case Op.FIRST_AT | Op.LAST_AT:
                return pa.timestamp("us", "UTC")
            case Op.PRODUCT | Op.WEIGHT:
                return pa.float64()
        column = self.of
        if self.op is Op.SUM and column.kind is not Kind.FLOAT:
            return pa.decimal128(38, 8 if column.kind in _DECIMALS else 0)
        return column.arrow_field.type

    @property
    def of(self) -> Column:
        """The column whose values it speaks of."""
        if self.column is None:
            msg = f"{self.op} speaks of no column"
            raise ValueError(msg)
        return self.column


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing to say of each group: `sum(volume)`, under a name. `count` of no column counts rows.

    `weighted` is the average of `column` by `weight`, null where a row with a weight has no value.
    """

    name: str
    function: Function
    column: str = ""
    weight: str = ""

    @classmethod
    def parse(cls, text: str, name: str = "") -> "Measure":
        """The measure that a text such as `count`, `sum(volume)` or `max(high) as peak` tells.

        Raises:
            UsageError: It tells none.
        """
        match = _MEASURE.fullmatch(text)
        known = [each for each in Function if each is not Function.WEIGHTED]
        if match is None or match[1].lower() not in known:
            msg = (
                f"{text!r} is no measure; write one such as count, sum(volume) or max(high) as peak, "
                f"with {', '.join(known)}"
            )
            raise UsageError(msg)
        function, column = Function(match[1].lower()), (match[2] or "").removeprefix("*")
        if not column and function is not Function.COUNT:
            msg = f"{text!r} says no column; write one such as {function}(close)"
            raise UsageError(msg)
        return cls(name or match[3] or (f"{function}_{column}" if column else "count"), function, column)


def parse_measures(measures: "Mapping[str, str] | Collection[str]") -> tuple[Measure, ...]:
    """Measures from texts, or from names and texts."""
    if isinstance(measures, Mapping):
        return tuple(Measure.parse(text, name) for name, text in measures.items())
    return tuple(map(Measure.parse, [measures] if isinstance(measures, str) else measures))


@dataclass(frozen=True)
class Aggregation:
    """Measures of the rows that a query asks for, of each group of them.

    Rows are of one group where they have the same values `by` which they are grouped and, with `every_seconds`, where
    `ts` lies in the same bucket of that length. Buckets begin at whole multiples of it from `origin_seconds` after
    1970-01-01 on, in UTC. The query's columns and limit are not looked at.
    """

    query: Query
    measures: tuple[Measure, ...]
    by: tuple[str, ...] = ()
    every_seconds: int | None = None
    origin_seconds: int = 0

    def __post_init__(self) -> None:
        """Refuse what can't be told exactly, and names that are taken twice."""
        dataset = self.query.dataset
        if not self.measures:
            msg = "say at least one measure, such as count or sum(volume)"
            raise UsageError(msg)
        for name in self.by:
            if dataset.column(name).kind is Kind.FLOAT:
                msg = f"rows can't be grouped by {name}: two floats are hardly ever the same"
                raise UsageError(msg)
        for measure in self.measures:
            kind = dataset.column(measure.column).kind if measure.column else None
            if measure.function in {Function.SUM, Function.AVG, Function.WEIGHTED} and kind not in _NUMBERS:
                msg = f"{measure.function}({measure.column}) can't be told: {measure.column} is no number"
                raise UsageError(msg)
        if len(set(self.names)) < len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            msg = f"the answer would have several columns called {', '.join(twice)}; name measures with `as`"
            raise UsageError(msg)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns of the answer: the bucket's beginning as `ts`, what it is grouped by, then the measures."""
        bucket = ("ts",) if self.every_seconds else ()
        return (*bucket, *self.by, *(measure.name for measure in self.measures))

    @cached_property
    def told(self) -> tuple[str, ...]:
        """All that is asked beyond which rows, as texts that differ where partials may."""
        measured = [f"{each.function}\x1f{each.column}\x1f{each.weight}" for each in self.measures]
        return (*self.by, "", *measured, f"{self.every_seconds}", f"{self.origin_seconds}")

    @cached_property
    def finest(self) -> tuple[Column, ...]:
        """By what partials are grouped.

        Where the first or last value is asked for, by the rest of the key too: then no two rows of a partial have the
        same `ts`, and of those of several partials the key decides.
        """
        dataset = self.query.dataset
        ordered = any(measure.function in {Function.FIRST, Function.LAST} for measure in self.measures)
        rest = [name for name in dataset.key if name != "ts"] if ordered else []
        return tuple(dataset.column(name) for name in dict.fromkeys((*self.by, *rest)))

    @cached_property
    def ties(self) -> tuple[str, ...]:
        """The columns that decide between rows of one group with the same `ts`, in order."""
        dataset = self.query.dataset
        return tuple(name for name in dataset.key if name != "ts" and name not in self.by)

    @cached_property
    def states(self) -> tuple[State, ...]:
        """What partials say of each group."""
        return tuple(state for number in range(len(self.measures)) for state in self.states_of(number))

    def states_of(self, number: int) -> tuple[State, ...]:
        """What partials say for one of the measures."""
        return tuple(_states(self.query.dataset, self.measures[number], f"measure_{number}"))

    @cached_property
    def partial_schema(self) -> "pa.Schema":
        """The columns of partials: the keys by number, the bucket, then the states."""
        import pyarrow as pa  # noqa: PLC0415  # `thermocline --help` shall not pay for it

        keys = [pa.field(key_name(number), c.arrow_field.type) for number, c in enumerate(self.finest)]
        bucket = [pa.field(BUCKET, pa.timestamp("us", "UTC"))] if self.every_seconds else []
        return pa.schema([*keys, *bucket, *(pa.field(state.name, state.type) for state in self.states)])


def key_name(number: int) -> str:
    """The column of partials that holds a key, by its place in `Aggregation.finest`."""
    return f"key_{number}"


def _states(dataset: Dataset, measure: Measure, prefix: str) -> Iterator[State]:
    column = dataset.column(measure.column) if measure.column else None
    match measure.function:
        case Function.COUNT:
            ops = [Op.COUNT if column else Op.ROWS]
        case Function.AVG:
            ops = [Op.SUM, Op.COUNT]
        case Function.FIRST:
            ops = [Op.FIRST, Op.FIRST_AT]
        case Function.LAST:
            ops = [Op.LAST, Op.LAST_AT]
        case Function.WEIGHTED:
            ops = [Op.PRODUCT, Op.WEIGHT, Op.UNWEIGHED]
        case simple:
            ops = [Op(simple.value)]
    for op in ops:
        yield State(f"{prefix}_{op}", op, column, measure.weight)


def buckets_of(every: str) -> tuple[int, int]:
    """How long the buckets of that name are, and where the first one after 1970 begins, in seconds.

    Raises:
        UsageError: They are not all of one length.
    """
    seconds = interval_seconds(every)
    if seconds is None:
        msg = f"buckets of {every} are not all of one length; group by sec, min, hour, day or week, or use resample"
        raise UsageError(msg)
    return seconds, _MONDAY_SECONDS if seconds % _WEEK_SECONDS == 0 else 0
