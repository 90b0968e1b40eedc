"""Arrow columns as text: exact, in ISO, and never a number that JSON does not know."""

import json
import math
from collections.abc import Callable, Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any

import pyarrow as pa


def json_texts(column: pa.Array) -> list[str]:
    """Each value as JSON: decimals as strings with every digit, times in ISO 8601, NaN and infinities null."""
    kind = column.type
    if pa.types.is_decimal(kind) and kind.scale > 0:
        return _each(column, lambda value: f'"{value:f}"')
    if pa.types.is_integer(kind):
        return _each(column, str)
    if pa.types.is_floating(kind):
        return _each(column, lambda value: repr(value) if math.isfinite(value) else "null")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        texts: dict[str, str] = {}  # symbols and intervals repeat
        return _each(column, lambda value: texts.get(value) or texts.setdefault(value, json.dumps(value)))
    return _each(column, lambda value: json.dumps(plain(value)))


def csv_values(column: pa.Array) -> list[Any]:
    """Each value as a cell of CSV: decimals with every digit, times in ISO 8601, null as nothing."""
    kind = column.type
    if pa.types.is_decimal(kind):
        return [None if value is None else f"{value:f}" for value in column.to_pylist()]
    if pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values: list[Any] = column.to_pylist()
        return values
    return [_cell(value) for value in column.to_pylist()]


def plain(value: Any) -> Any:
    """A value of any type as one that JSON knows."""
    made: Any = str(value)
    match value:
        case bool() | int() | str() | None:
            made = value
        case float():
            made = value if math.isfinite(value) else None
        case Decimal():
            made = int(value) if value.as_tuple().exponent == 0 else f"{value:f}"
        case date() | time():
            made = value.isoformat()
        case bytes():
            made = value.hex()
        case Mapping():
            made = {str(key): plain(each) for key, each in value.items()}
        case list() | tuple():
            made = [plain(each) for each in value]
    return made


def _cell(value: Any) -> Any:
    made = plain(value)
    return json.dumps(made) if isinstance(made, dict | list) else made


def _each(column: pa.Array, text: Callable[[Any], str]) -> list[str]:
    return ["null" if value is None else text(value) for value in column.to_pylist()]
