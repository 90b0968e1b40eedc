"""The gate: rows of whatever types become rows of exactly a dataset's schema, or are rejected with all their reasons.

Types, nulls and keys hold always; rules as far as they are asked for. Everything is done column by column; Python looks
at single rows only where something is wrong with them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.errors import SchemaError, UsageError
from thermocline.model import parsing
from thermocline.model.dataset import PRECISION, PROVENANCE, Column, Dataset, Kind
from thermocline.model.duplicates import duplicates_of
from thermocline.model.offenders import Offenders, Series
from thermocline.model.parsing import Parsed
from thermocline.model.parsing.times import DAY_MICROSECONDS, microseconds
from thermocline.model.partition import DayRange, parse_interval
from thermocline.model.rejected import KEYS, NULLS, TYPES, Rejected
from thermocline.model.rules import LENIENT, TIME_UNIT, Rows, Rulebook, Severity

Mask = npt.NDArray[np.bool_]

_PARSERS: Mapping[Kind, Callable[[pa.Array], Parsed]] = {
    Kind.TEXT: parsing.texts,
    Kind.PRICE: lambda array: parsing.decimals(array, *PRECISION[Kind.PRICE]),
    Kind.MONEY: lambda array: parsing.decimals(array, *PRECISION[Kind.MONEY]),
    Kind.FLOAT: parsing.floats,
    Kind.INTEGER: parsing.integers,
    Kind.BOOLEAN: parsing.booleans,
    Kind.DATE: parsing.dates,
    Kind.TIMESTAMP: parsing.timestamps,
}


@dataclass(frozen=True)
class Conformed:
    """What may go in, exactly in the dataset's schema and in the order it came, and what became of the rest.

    Every row that came is in `rows`, at `bad_at`, or counted: `duplicates` said just what a row that was kept
    says, `outside` lay on days that were not asked for. `ignored_columns` are columns that the dataset does not have.
    `rejected_by`, `warned_by` and `cleared_by` count rows by the name of what they break; a row may break several.
    `quarantined` counts the rows that may not go in by symbol, interval and day.
    """

    rows: pa.Table
    bad_at: Mask = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """Which of the rows that came, but for those `outside`, may not go in."""
    kept_at: Mask = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """Which of them are in `rows`."""
    duplicates: int = 0
    outside: int = 0
    ignored_columns: tuple[str, ...] = ()
    rejected_by: Mapping[str, int] = field(default_factory=dict)
    warned_by: Mapping[str, int] = field(default_factory=dict)
    cleared_by: Mapping[str, int] = field(default_factory=dict)
    quarantined: Mapping[Series, int] = field(default_factory=dict)
    refused: Callable[[int | None], Iterator[Rejected]] = lambda _: iter(())
    """Yields the rows that may not go in: all, or so many at most of those that have the same reasons."""

    @property
    def bad_rows(self) -> int:
        """How many rows may not go in."""
        return int(self.bad_at.sum())

    @cached_property
    def rejected(self) -> tuple[Rejected, ...]:
        """The rows that may not go in, in the order they came."""
        return tuple(self.refused(None))


def conform(
    rows: pa.Table,
    dataset: Dataset,
    *,
    source: str,
    ingested_at: datetime,
    origin: str,
    days: DayRange | None = None,
    rulebook: Rulebook = LENIENT,
) -> Conformed:
    """Bring rows into a dataset's schema, and hold them to its rules.

    Prices stay exact; a float is rounded half-even at eight places. A time without a zone is UTC. Of rows with one key
    the last good one is kept. `source` and `ingested_at` fill the columns of those names where they are absent or null.

    Raises:
        SchemaError: A column that must be there is missing, or has a type that can't be made the dataset's.
    """
    rows = _plainly_typed(rows)
    with _naming(origin):
        ignored = _check_columns(rows, dataset)
        stamps = _parse(rows, dataset.column("ts"))
        inside = _inside(stamps, days)
        if days and rulebook.severity(TIME_UNIT.name) is Severity.REJECT:
            # Else a mistaken unit would look like days that nobody asked for.
            inside |= TIME_UNIT.broken(Rows({"ts": stamps.values}, ingested_at))
        outside = len(rows) - int(inside.sum())
        if outside:
            rows = rows.filter(pa.array(inside))
            stamps = _parse(rows, dataset.column("ts"))
        gate = _Gate(rows, dataset)
        gate.take("ts", stamps)
        for column in dataset.columns:
            if column.name == "ingested_at":
                gate.fill(column, pa.scalar(ingested_at, column.arrow_field.type))
            elif column.name == "source":
                gate.fill(column, pa.scalar(source))
            elif column.name != "ts":
                gate.take(column.name, _parse(rows, column))
        gate.check()
    gate.hold_to(rulebook, ingested_at)
    kept, kept_at, duplicates = gate.unique()
    offenders = gate.offenders
    return Conformed(
        kept,
        offenders.bad,
        kept_at,
        duplicates,
        outside,
        ignored,
        offenders.counts(),
        gate.warned(),
        gate.cleared(),
        gate.quarantined(),
        lambda most: offenders.rejected(rows, dataset.name, source, origin, most),
    )


class _Gate:
    """The columns as they were parsed, and what is wrong with which row."""

    def __init__(self, rows: pa.Table, dataset: Dataset) -> None:
        self._raw = rows
        self._dataset = dataset
        self._arrays: dict[str, pa.Array] = {}
        self.offenders = Offenders(len(rows))
        self._warned: dict[str, Mask] = {}
        self._cleared: dict[str, Mask] = {}

    def take(self, name: str, parsed: Parsed) -> None:
        """Take a parsed column in, with its wrong rows; a null where none may be is wrong as well."""
        self._arrays[name] = parsed.values
        for row, reason in parsed.wrong.items():
            self.offenders.add(TYPES, row, f"{name}: {reason}")
        column = self._dataset.column(name)
        if column.nullable:
            return
        if parsed.values.null_count:
            missing = np.array(parsed.values.is_null())
            missing[list(parsed.wrong)] = False
            self.offenders.add_all(NULLS, missing, f"{name}: is missing")
        if column.kind is Kind.TEXT and not column.empty_allowed:
            self._reject_where(NULLS, pc.equal(parsed.values, ""), f"{name}: is empty")

    def fill(self, column: Column, value: pa.Scalar) -> None:
        """Take a column in, with a value where the rows have none."""
        if column.name not in self._raw.column_names:
            self._arrays[column.name] = pa.repeat(value, len(self._raw))
            return
        parsed = _parse(self._raw, column)
        wrong = pa.array(sorted(parsed.wrong), pa.int64())
        filled = pc.fill_null(parsed.values, value)
        self.take(column.name, Parsed(filled, parsed.wrong) if len(wrong) else Parsed(filled))

    def check(self) -> None:
        """What one column alone can't tell: how intervals are spelled, and that a daily bar opens at midnight."""
        if not self._dataset.has_intervals:
            return
        intervals = self._arrays["interval"]
        spellings = pc.unique(intervals).drop_null().to_pylist()
        for spelling in spellings:
            try:
                parse_interval(spelling)
            except UsageError as error:
                if spelling:
                    self._reject_where(TYPES, pc.equal(intervals, spelling), f"interval: {error}")
        if "1day" not in spellings:
            return
        stamps = self._arrays["ts"].cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        timed = stamps % DAY_MICROSECONDS != 0
        if not timed.any():
            return
        daily = pc.fill_null(pc.equal(intervals, "1day"), fill_value=False)
        for row in np.flatnonzero(timed & np.asarray(daily)).tolist():
            opened = self._arrays["ts"][row].as_py()
            reason = f"ts: a daily bar carries its session's date at 00:00 UTC, this one has {opened.isoformat()}"
            self.offenders.add(TYPES, row, reason)

    def hold_to(self, rulebook: Rulebook, now: datetime) -> None:
        """Look at the rules. What is cleared is cleared before the rules that reject are looked at."""
        rows = Rows(self._arrays, now)
        for rule, severity in rulebook.rules:
            broken = None if severity is Severity.OFF else rule.broken(rows)
            if broken is None or not broken.any():
                continue
            if severity is Severity.REJECT:
                self.offenders.add_all(rule.name, broken, rule.reason)
            elif severity is Severity.WARN:
                self._warned[rule.name] = broken
            else:
                self._cleared[rule.name] = broken
                for name in rule.clears:
                    array = self._arrays[name]
                    self._arrays[name] = pc.if_else(pa.array(broken), pa.scalar(None, array.type), array)
                rows = Rows(self._arrays, now)

    def warned(self) -> dict[str, int]:
        """How many rows that go in break each rule that only warns."""
        return _counted(self._warned, self.offenders.bad)

    def cleared(self) -> dict[str, int]:
        """How many rows that go in were cleared by each rule."""
        return _counted(self._cleared, self.offenders.bad)

    def unique(self) -> tuple[pa.Table, Mask, int]:
        """The good rows, one for each key, which rows that are, and how many others said just the same."""
        schema = self._dataset.arrow_schema
        table = pa.table([self._arrays[name] for name in schema.names], names=list(schema.names))
        good = ~self.offenders.bad
        found = duplicates_of(table, self._dataset, np.flatnonzero(good))
        for row in found.conflicting:
            key = ", ".join(f"{name}={self._arrays[name][row]}" for name in self._dataset.key)
            reason = f"duplicate key ({key}) with other content; the last such row was kept"
            self.offenders.add(KEYS, int(row), reason)
        good[found.conflicting] = False
        good[found.identical] = False
        kept = table if good.all() else table.filter(pa.array(good))
        return kept.cast(schema), good, len(found.identical)

    def quarantined(self) -> dict[Series, int]:
        """How many rows may not go in, by symbol, interval and day."""
        return self.offenders.by_series(self._arrays, self._dataset)

    def _reject_where(self, rule: str, condition: pa.Array, reason: str) -> None:
        if condition.true_count:
            self.offenders.add_all(rule, np.asarray(pc.fill_null(condition, fill_value=False)), reason)


def _counted(masks: Mapping[str, Mask], bad: Mask) -> dict[str, int]:
    counts = {name: int((mask & ~bad).sum()) for name, mask in masks.items()}
    return {name: count for name, count in counts.items() if count}


@contextmanager
def _naming(origin: str) -> Iterator[None]:
    try:
        yield
    except SchemaError as error:
        msg = f"{origin}: {error}"
        raise SchemaError(msg) from None


def _check_columns(rows: pa.Table, dataset: Dataset) -> tuple[str, ...]:
    """The columns that the dataset does not have."""
    names = rows.column_names
    twice = sorted({name for name in names if name in dataset.names and names.count(name) > 1})
    if twice:
        msg = f"{_listed(twice)} there more than once; rename or drop the others"
        raise SchemaError(msg)
    required = [c.name for c in dataset.columns if not c.nullable and c.name not in PROVENANCE]
    missing = [name for name in required if name not in names]
    if missing:
        msg = (
            f"{_listed(missing)} missing for {dataset.name}; there are {', '.join(names) or 'no columns'}. "
            "Map a column to it or give it a constant"
        )
        raise SchemaError(msg)
    return tuple(name for name in names if name not in dataset.names)


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"columns {', '.join(others)} and {last} are" if others else f"column {last} is"


def _parse(rows: pa.Table, column: Column) -> Parsed:
    field = column.arrow_field
    if column.name not in rows.column_names:
        return Parsed(pa.nulls(len(rows), field.type))
    array = rows[column.name].combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_null(array.type):
        return Parsed(pa.nulls(len(rows), field.type))
    try:
        return _PARSERS[column.kind](array)
    except (SchemaError, pa.ArrowNotImplementedError) as error:
        msg = f"column {column.name}: {error}"
        raise SchemaError(msg) from None


def _plainly_typed(rows: pa.Table) -> pa.Table:
    """The rows without types that Arrow can't take single rows of: views, as polars has, and categories of nothing."""
    plain = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    for place, column in enumerate(rows.schema):
        if column.type in plain:
            rows = rows.set_column(place, column.name, rows.column(place).cast(plain[column.type]))
        elif pa.types.is_dictionary(column.type) and pa.types.is_null(column.type.value_type):
            rows = rows.set_column(place, column.name, pa.nulls(len(rows)))
    return rows


def _inside(stamps: Parsed, days: DayRange | None) -> Mask:
    """Which rows lie on the days asked for, or have no time that could tell."""
    if days is None:
        return np.ones(len(stamps.values), dtype=bool)
    ticks = stamps.values.cast(pa.int64())
    low, high = microseconds(days.start), microseconds(days.end)
    inside = pc.and_(pc.greater_equal(ticks, low), pc.less(ticks, high))
    return np.asarray(pc.fill_null(inside, fill_value=True))
