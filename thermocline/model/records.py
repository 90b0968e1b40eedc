"""Rows as JSON, to be kept where a person can look at what was refused."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.model.parsing.parsed import is_text


def as_json(rows: pa.Table) -> list[str]:
    """Each row as it came. NUL is shown as its symbol, since no text or JSON of PostgreSQL can hold it."""
    shown = [_shown(column) for column in rows.columns]
    return [_object(record) for record in pa.table(shown, names=rows.column_names).to_pylist()]


def _shown(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text as bytes, since it may not be UTF-8; times as Arrow spells them, even those that Python can't hold."""
    kind = column.type
    if is_text(kind):
        return column.cast(pa.large_binary())
    if not pa.types.is_timestamp(kind):
        return column
    # To spell a zone Arrow would ask for the system's time zone database.
    spelled = column.cast(pa.int64()).cast(pa.timestamp(kind.unit)).cast(pa.string())
    return pc.binary_join_element_wise(spelled, "Z", "") if kind.tz else spelled


def _object(record: Mapping[str, Any]) -> str:
    shown = {name: _plain(value) for name, value in record.items()}
    return json.dumps(shown, ensure_ascii=False).replace("\\u0000", "\N{SYMBOL FOR NULL}")


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
