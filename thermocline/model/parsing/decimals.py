"""Exact decimals: what a text, an integer or a decimal says is kept to the last digit; a float is rounded half-even."""

import decimal
import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.model.parsing.parsed import Parsed, is_text, parse_texts, quoted, unfit

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
# Wide enough for any finite double with eight places.
_WIDE = decimal.Context(prec=400, rounding=decimal.ROUND_HALF_EVEN)
_ANY_INTEGER = 38  # digits that decimal128 has
_TRUSTED_CHARACTERS = 30

_RELATIVE_ERROR = 2.0**-51
"""Of `float * 10**scale` against the decimal that the float's shortest repr spells; it is below 2**-52."""
_SAFE = 2.0**51
"""Below this the error of the product stays under one half."""


def decimals(array: pa.Array, precision: int, scale: int) -> Parsed:
    """Decimals of that precision and scale.

    A float means the decimal that its shortest repr spells: 69.13 is exactly 69.13. What has non-zero digits beyond the
    scale (other than a float) or does not fit the precision is wrong.

    Raises:
        SchemaError: The array's type is no number and no text.
    """
    target = pa.decimal128(precision, scale)
    kind = array.type
    if pa.types.is_floating(kind):
        return _of_floats(array, precision, scale)
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        try:
            wide = array if pa.types.is_decimal(kind) else array.cast(pa.decimal128(_ANY_INTEGER, scale))
            return Parsed(wide.cast(target))
        except pa.ArrowInvalid:
            array = array.cast(pa.string())
    elif not is_text(kind):
        raise unfit(array, "an exact number")
    return parse_texts(array, lambda piece: _cast(piece, target), _exactly(precision, scale), target)


def from_scaled(scaled: npt.NDArray[np.int64], precision: int, scale: int, valid: pa.Array | None = None) -> pa.Array:
    """Decimals from their unscaled integers: 6913 at scale 2 is 69.13. The integers must fit the precision.

    `valid` is a boolean array; where it is false the value is null.
    """
    halves = np.empty((len(scaled), 2), dtype="<i8")
    halves[:, 0] = scaled
    halves[:, 1] = scaled >> 63  # the sign, extended
    bitmap = None if valid is None else valid.buffers()[1]
    return pa.Array.from_buffers(pa.decimal128(precision, scale), len(scaled), [bitmap, pa.py_buffer(halves)])


def _cast(texts: pa.Array, target: pa.DataType) -> pa.Array:
    """Arrow's own cast, kept away from texts that it silently reads as 0, such as `1e-46` (seen in pyarrow 26)."""
    longest = pc.max(pc.binary_length(texts)).as_py() or 0
    if longest > _TRUSTED_CHARACTERS or any(pc.any(pc.match_substring(texts, letter)).as_py() for letter in "eE"):
        raise pa.ArrowInvalid
    return texts.cast(target)


def _of_floats(array: pa.Array, precision: int, scale: int) -> Parsed:
    kind = array.type
    if not pa.types.is_float64(kind):
        # Through text, so that a 32-bit 69.13 means 69.13 and not the 64-bit number next to it.
        array = array.cast(pa.float32()).cast(pa.string()).cast(pa.float64())
    numbers = np.nan_to_num(array.fill_null(0.0).to_numpy(zero_copy_only=False), copy=True, nan=np.inf)
    with np.errstate(over="ignore", invalid="ignore"):
        product = numbers * 10.0**scale
        nearest = np.rint(product)
        # Near a tie the product's own error could tip the scales; there, and where it is large, Python decides exactly.
        sure = (0.5 - np.abs(product - nearest) > np.abs(product) * _RELATIVE_ERROR) & (np.abs(product) < _SAFE)
        sure &= np.abs(nearest) < 10.0**precision
    valid = pc.is_valid(array) if array.null_count else None
    values = from_scaled(np.where(sure, nearest, 0).astype(np.int64), precision, scale, valid)
    doubtful = np.flatnonzero(~sure)
    if not len(doubtful):
        return Parsed(values)
    exact, wrong = _one_by_one(array.take(pa.array(doubtful)).to_pylist(), doubtful, precision, scale)
    return Parsed(pc.replace_with_mask(values, pa.array(~sure), pa.array(exact, values.type)), wrong)


def _one_by_one(
    numbers: list[float], rows: npt.NDArray[Any], precision: int, scale: int
) -> tuple[list[Decimal | None], dict[int, str]]:
    exact: list[Decimal | None] = []
    wrong: dict[int, str] = {}
    for row, number in zip(rows.tolist(), numbers, strict=True):
        value = _rounded(number, scale) if math.isfinite(number) else None
        if value is None or not _fits(value, precision, scale):
            wrong[row] = f"{number!r} is not a finite number" if value is None else f"{number!r} is too large"
            value = None
        exact.append(value)
    return exact, wrong


def _exactly(precision: int, scale: int) -> Callable[[str], Decimal]:
    def parse(text: str) -> Decimal:
        if not _NUMBER.fullmatch(text):
            msg = f"{quoted(text)} is not a number"
            raise ValueError(msg)
        value = Decimal(text)
        if not _fits(value, precision, scale):
            msg = f"{quoted(text)} is too large"
            raise ValueError(msg)
        rounded = value.quantize(Decimal(1).scaleb(-scale), context=_WIDE)
        if rounded != value:
            msg = f"{quoted(text)} has more than {scale} decimal places"
            raise ValueError(msg)
        return rounded

    return parse


def _rounded(number: float, scale: int) -> Decimal:
    return Decimal(repr(number)).quantize(Decimal(1).scaleb(-scale), context=_WIDE)


def _fits(value: Decimal, precision: int, scale: int) -> bool:
    return not value or value.adjusted() < precision - scale
