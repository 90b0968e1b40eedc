"""Rows as JSON, to be kept where a person can look at what was refused, and back.

Made column by column: where a whole batch is refused, a million rows are seconds.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.model.parsing.parsed import is_text

_NUL = "\N{SYMBOL FOR NULL}"


def as_json(rows: pa.Table) -> list[str]:
    """Each row as it came. NUL is shown as its symbol, since no text or JSON of PostgreSQL can hold it."""
    if not rows.num_columns:
        return ["{}"] * len(rows)
    pieces: list[Any] = []
    for number, (name, column) in enumerate(zip(rows.column_names, rows.columns, strict=True)):
        pieces.append(("{" if number == 0 else ", ") + _spelled(name) + ": ")
        pieces.append(_values(column.combine_chunks()))
    records: list[str] = pc.binary_join_element_wise(*pieces, "}", "").to_pylist()
    return records


def _values(array: pa.Array) -> pa.Array:
    """Each value as JSON."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _values(array.dictionary_decode())
    if pa.types.is_null(kind):
        return pa.array(["null"]).take(pa.array(np.zeros(len(array), dtype=np.int64)))
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        spelled = array.cast(pa.string())
    elif pa.types.is_float64(kind):
        spelled = _floats(array)
    elif pa.types.is_decimal(kind) or pa.types.is_date(kind):
        spelled = pc.binary_join_element_wise('"', array.cast(pa.string()), '"', "")
    elif pa.types.is_timestamp(kind):
        spelled = _times(array)
    elif is_text(kind) and _is_plain(array):
        spelled = pc.binary_join_element_wise('"', array.cast(pa.string()), '"', "")
    else:
        spelled = pa.array([None if value is None else _spelled(value) for value in _listed(array)], pa.string())
    return pc.fill_null(spelled, "null")


def _floats(array: pa.Array) -> pa.Array:
    """Numbers with a point or an exponent, so that they are floats when they are read; what JSON lacks as text."""
    spelled = array.cast(pa.string())
    spelled = pc.if_else(
        pc.match_substring_regex(spelled, r"^-?\d+$"), pc.binary_join_element_wise(spelled, "0", "."), spelled
    )
    return pc.if_else(pc.is_finite(array), spelled, pc.binary_join_element_wise('"', spelled, '"', ""))


def _times(array: pa.Array) -> pa.Array:
    """Times as Arrow spells them, even those that Python can't hold."""
    # To spell a zone Arrow would ask for the system's time zone database.
    spelled = array.cast(pa.int64()).cast(pa.timestamp(array.type.unit)).cast(pa.string())
    return pc.binary_join_element_wise('"', spelled, 'Z"' if array.type.tz else '"', "")


def _is_plain(array: pa.Array) -> bool:
    """Whether no text needs escaping."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return not pc.any(pc.match_substring_regex(array.cast(pa.string()), r'["\\\x00-\x1f]')).as_py()


def _listed(array: pa.Array) -> list[Any]:
    """The values as Python has them; text as bytes, since it may not be UTF-8."""
    listed: list[Any] = (array.cast(pa.large_binary()) if is_text(array.type) else array).to_pylist()
    return listed


def _spelled(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False).replace("\\u0000", _NUL)


def _plain(value: Any) -> Any:
    """The value itself where JSON has it, else its text; a NaN is no JSON."""
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and np.isfinite(value)):
        return value
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def as_table(records: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows from what `as_json` made of them: numbers stay numbers, all else is text, to be parsed as a file's is."""
    names = list(dict.fromkeys(name for record in records for name in record))
    return pa.table([_column([record.get(name) for record in records]) for name in names], names=names)


def _column(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    for kind, arrow_type in ((bool, pa.bool_()), (int, pa.int64()), (float, pa.float64())):
        if kinds == {kind}:
            try:
                return pa.array(values, arrow_type)
            except OverflowError:
                break
    return pa.array([None if value is None else str(value) for value in values], pa.string())
