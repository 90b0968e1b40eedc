"""Floats, integers, booleans and text."""

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.model.parsing.parsed import Parsed, is_text, parse_texts, quoted, unfit

_INTEGER = re.compile(r"([+-]?[0-9]{1,19})(\.0*)?")
_INT64 = range(-(2**63), 2**63)
_EXACT_FLOAT = 2.0**53
_YES = frozenset({"true", "t", "yes", "y", "1"})
_NO = frozenset({"false", "f", "no", "n", "0"})


def floats(array: pa.Array) -> Parsed:
    """IEEE doubles. NaN is how floats spell "missing" and becomes null; an infinity is wrong.

    Raises:
        SchemaError: The array's type is no number and no text.
    """
    kind = array.type
    if is_text(kind):
        parsed = parse_texts(array, lambda piece: piece.cast(pa.float64()), _float, pa.float64())
    elif pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        parsed = Parsed(array.cast(pa.float64(), safe=False))
    else:
        raise unfit(array, "a number")
    numbers = parsed.values.fill_null(0.0).to_numpy(zero_copy_only=False)
    finite = np.isfinite(numbers)
    if finite.all():
        return parsed
    values = pc.if_else(pa.array(finite), parsed.values, pa.scalar(None, pa.float64()))
    infinite = {int(row): f"{numbers[row]} is not a finite number" for row in np.flatnonzero(np.isinf(numbers))}
    return Parsed(values, {**parsed.wrong, **infinite})


def integers(array: pa.Array) -> Parsed:
    """64-bit integers; a number with a fraction or out of range is wrong.

    Raises:
        SchemaError: The array's type is no number and no text.
    """
    kind = array.type
    if pa.types.is_floating(kind):
        return _of_floats(array.cast(pa.float64()))
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        try:
            return Parsed(array.cast(pa.int64()))
        except pa.ArrowInvalid:
            array = array.cast(pa.string())
    elif not is_text(kind):
        raise unfit(array, "an integer")
    return parse_texts(array, lambda piece: piece.cast(pa.int64()), _integer, pa.int64())


def booleans(array: pa.Array) -> Parsed:
    """Truth values, from booleans, 0 and 1, or the usual words.

    Raises:
        SchemaError: The array's type is none of these.
    """
    kind = array.type
    if pa.types.is_boolean(kind):
        return Parsed(array)
    if not (is_text(kind) or pa.types.is_integer(kind)):
        raise unfit(array, "true or false")
    return parse_texts(array, _refuse, _boolean, pa.bool_())


def texts(array: pa.Array) -> Parsed:
    """Text as it is. What is not UTF-8 or holds a NUL, which PostgreSQL can't keep, is wrong.

    Raises:
        SchemaError: The array's type is neither text nor an integer.
    """
    if not (is_text(array.type) or pa.types.is_integer(array.type)):
        raise unfit(array, "text")
    strings = array.cast(pa.string())
    wrong: dict[int, str] = {}
    try:
        strings.validate(full=True)
    except pa.ArrowInvalid:
        strings, wrong = _valid_utf8(strings)
    nul = pc.match_substring(strings, "\0")
    if not pc.any(nul).as_py():
        return Parsed(strings, wrong)
    for row in np.flatnonzero(np.asarray(pc.fill_null(nul, fill_value=False))):
        wrong[int(row)] = f"{quoted(strings[row].as_py())} contains a NUL character"
    return Parsed(pc.if_else(nul, pa.scalar(None, pa.string()), strings), wrong)


def _of_floats(array: pa.Array) -> Parsed:
    numbers = array.fill_null(0.0).to_numpy(zero_copy_only=False)
    missing = np.isnan(numbers)
    with np.errstate(invalid="ignore"):
        good = (numbers == np.rint(numbers)) & (np.abs(numbers) <= _EXACT_FLOAT)
    valid = np.asarray(array.is_valid()) & good
    values = pa.array(np.where(good, numbers, 0).astype(np.int64), mask=~valid)
    rows = np.flatnonzero(~good & ~missing)
    return Parsed(values, {int(row): f"{numbers[row]} is not an integer" for row in rows})


def _float(text: str) -> float:
    try:
        return float(text) if "_" not in text else _no_number(text)
    except ValueError:
        return _no_number(text)


def _no_number(text: str) -> float:
    msg = f"{quoted(text)} is not a number"
    raise ValueError(msg) from None


def _integer(text: str) -> int:
    match = _INTEGER.fullmatch(text)
    number = int(match[1]) if match else None
    if number is None or number not in _INT64:
        msg = f"{quoted(text)} is not a 64-bit integer"
        raise ValueError(msg)
    return number


def _boolean(text: str) -> bool:
    word = text.lower()
    if word not in _YES | _NO:
        msg = f"{quoted(text)} is neither true nor false"
        raise ValueError(msg)
    return word in _YES


def _refuse(_: pa.Array) -> pa.Array:
    raise pa.ArrowInvalid


def _valid_utf8(strings: pa.Array) -> tuple[pa.Array, dict[int, str]]:
    wrong: dict[int, str] = {}
    kept: list[Any] = []
    for row, content in enumerate(strings.cast(pa.binary()).to_pylist()):
        try:
            kept.append(None if content is None else content.decode())
        except UnicodeDecodeError:
            kept.append(None)
            wrong[row] = f"{quoted(content)} is not UTF-8"
    return pa.array(kept, pa.string()), wrong
