"""What parsing a column gives, and a way by which one bad text among a million does not cost a million calls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from thermocline.errors import SchemaError

_MISSING = ("", "nan", "null", "n/a", "na", "none")
"""How texts say that a number or a time is missing, in lower case."""

_LEAF_ROWS = 32
_LEAF_ROWS_OF_MANY_WRONG = 4_096
_MANY = 8  # one row of so many
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Parsed:
    """Values in the target's type, null where they were null or wrong, and the reason for each wrong row."""

    values: pa.Array
    wrong: Mapping[int, str] = field(default_factory=dict)


def quoted(value: Any) -> str:
    """A value as it is shown in a reason: short, and with its unprintable characters escaped."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds characters."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def unfit(array: pa.Array, target: str) -> SchemaError:
    """The error for a column whose type can never be made the target's."""
    return SchemaError(f"{array.type} can't be read as {target}")


def parse_texts(
    array: pa.Array, fast: Callable[[pa.Array], pa.Array], slow: Callable[[str], Any], target: pa.DataType
) -> Parsed:
    """Parse texts: `fast` takes a whole array or raises ArrowInvalid, `slow` takes one text or raises ValueError.

    Texts that mean "missing" become null. Where `fast` refuses, the array is halved until what it refuses is a handful
    of rows, so the cost of a wrong row grows with the logarithm of the number of rows.
    """
    strings = array.cast(pa.string())
    try:
        return Parsed(fast(strings))
    except pa.ArrowInvalid:
        strings = pc.utf8_trim_whitespace(strings)
        missing = pc.is_in(pc.utf8_lower(strings), value_set=pa.array(_MISSING))
        strings = pc.if_else(missing, pa.scalar(None, pa.string()), strings)
    pieces: list[pa.Array] = []
    wrong: dict[int, str] = {}
    waiting = [(0, len(strings))]
    while waiting:
        start, length = waiting.pop()
        piece = strings.slice(start, length)
        try:
            pieces.append(fast(piece))
        except pa.ArrowInvalid:
            # Where much is wrong, halving down to a few rows finds no piece that `fast` takes.
            many = len(wrong) * _MANY > start
            if length > (_LEAF_ROWS_OF_MANY_WRONG if many else _LEAF_ROWS):
                half = length // 2
                waiting += [(start + half, length - half), (start, half)]
            else:
                pieces.append(_one_by_one(piece, start, slow, target, wrong))
    return Parsed(pa.concat_arrays(pieces), wrong)


def _one_by_one(
    piece: pa.Array, start: int, slow: Callable[[str], Any], target: pa.DataType, wrong: dict[int, str]
) -> pa.Array:
    values: list[Any] = []
    for row, text in enumerate(piece.to_pylist(), start):
        try:
            values.append(None if text is None else slow(text))
        except ValueError as error:
            values.append(None)
            wrong[row] = str(error)
    return pa.array(values, target)
