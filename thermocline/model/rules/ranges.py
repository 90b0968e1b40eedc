"""Rules about the range of single columns."""

from collections.abc import Callable, Iterable
from functools import reduce
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.model.rules.rows import Mask, Rows

Broken = Callable[[Rows], Mask]


def between(low: float, high: float, *names: str) -> Broken:
    """Where a number does not lie in `low` to `high`."""
    return lambda rows: _any((rows.number(name) < low) | (rows.number(name) > high) for name in names)


def not_negative(*names: str) -> Broken:
    """Where a number is below 0."""
    return lambda rows: _any(rows.number(name) < 0 for name in names)


def not_negative_price(*names: str) -> Broken:
    """Where a price is below 0."""
    return lambda rows: _any(rows.where_known(rows.price(name) < 0, name) for name in names)


def above_zero(*names: str) -> Broken:
    """Where a number or a price is 0 or below."""
    return lambda rows: _any(_not_above_zero(rows, name) for name in names)


def _not_above_zero(rows: Rows, name: str) -> Mask:
    if pa.types.is_decimal(rows.array(name).type):
        return rows.where_known(rows.price(name) <= 0, name)
    return rows.number(name) <= 0


def ordered(*names: str) -> Broken:
    """Where prices that are known don't rise in that order."""
    pairs = list(pairwise(names))
    return lambda rows: _any(rows.where_known(rows.price(low) > rows.price(high), low, high) for low, high in pairs)


def filled(name: str) -> Broken:
    """Where a text has nothing but spaces in it."""

    def broken(rows: Rows) -> Mask:
        blank = pc.equal(pc.utf8_trim_whitespace(rows.array(name)), "")
        return np.asarray(pc.fill_null(blank, fill_value=False))

    return broken


def _any(masks: Iterable[Mask]) -> Mask:
    return reduce(np.bitwise_or, masks)
