"""Measures of rows as one slow pass over all of them in Python says, for tests to compare with."""

import math
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from functools import reduce

from thermocline.model.aggregates import Aggregation, Function
from thermocline.model.dataset import Kind

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


def expected(asked: Aggregation, rows: list[dict]) -> list[dict]:
    """One line a group, in order of bucket and keys."""
    groups = defaultdict(list)
    for row in rows:
        groups[_keys(asked, row)].append(row)
    if not asked.by and not asked.every_seconds:
        groups.setdefault((), [])
    order = sorted(groups, key=lambda keys: [(value is None, value) for value in keys])
    bucket = ("ts",) if asked.every_seconds else ()
    return [
        dict(zip((*bucket, *asked.by), keys, strict=True))
        | {measure.name: _measured(asked, measure, groups[keys]) for measure in asked.measures}
        for keys in order
    ]


def _keys(asked, row):
    keys = tuple(row[name] for name in asked.by)
    if not asked.every_seconds:
        return keys
    step, first = asked.every_seconds * 10**6, asked.origin_seconds * 10**6
    at = (row["ts"] - EPOCH) // MICROSECOND
    return (EPOCH + ((at - first) // step * step + first) * MICROSECOND, *keys)


def _measured(asked, measure, rows):
    dataset = asked.query.dataset
    if not measure.column:
        return len(rows)
    kind = dataset.column(measure.column).kind
    told = [row for row in rows if row[measure.column] is not None]
    values = [row[measure.column] for row in told]
    if measure.function is Function.COUNT:
        return len(values)
    if not values:
        return None
    in_time = sorted(told, key=lambda row: (row["ts"], *(row[name] for name in dataset.key if name != "ts")))
    total = _total(kind, values)
    return {
        Function.MIN: lambda: min(values, key=_nan_last),
        Function.MAX: lambda: max(values, key=_nan_last),
        Function.FIRST: lambda: in_time[0][measure.column],
        Function.LAST: lambda: in_time[-1][measure.column],
        Function.SUM: lambda: total,
        Function.AVG: lambda: _average(kind, total, len(values)),
    }[measure.function]()


def _total(kind, values):
    if kind is Kind.FLOAT:
        return math.fsum(values)
    if kind is Kind.INTEGER:
        return sum(values)
    return reduce(EXACT.add, values) if kind in {Kind.PRICE, Kind.MONEY} else None


def _average(kind, total, count):
    if kind is Kind.FLOAT:
        return total / count
    if kind is Kind.INTEGER:
        return float(Fraction(total, count))
    return EXACT.quantize(EXACT.divide(total, Decimal(count)), Decimal("1e-8"))


def _nan_last(value):
    return (isinstance(value, float) and math.isnan(value), value)


def same(one: list[dict], other: list[dict]) -> bool:
    """Whether lines are equal, floats but for the order in which they were added."""
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a) for a, b in zip(one, other, strict=True)
    )


def _same(one, other):
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=1e-12)
    return one == other
