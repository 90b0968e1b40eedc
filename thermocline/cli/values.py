"""Arrow columns as text: exact, in ISO, and never a number that JSON does not know."""

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def json_texts(column: pa.Array) -> list[str]:
    """Each value as JSON: decimals as strings with every digit, times in ISO 8601, NaN and infinities null."""
    kind = column.type
    if _is_exact(kind):
        return ["null" if text is None else f'"{text}"' for text in _exact_texts(column)]
    if _is_instant(kind):
        return _each(column.cast(pa.int64()), lambda value: f'"{_iso(value)}"')
    if pa.types.is_integer(kind):
        return ["null" if text is None else text for text in column.cast(pa.string()).to_pylist()]
    if pa.types.is_floating(kind):
        return ["null" if value is None or not math.isfinite(value) else repr(value) for value in column.to_pylist()]
    if pa.types.is_string(kind) or pa.types.is_boolean(kind):
        return _each(column, json.dumps)
    return ["null" if value is None else json.dumps(plain(value)) for value in column.to_pylist()]


def csv_values(column: pa.Array) -> list[Any]:
    """Each value as a cell of CSV: decimals with every digit, times in ISO 8601, null as nothing."""
    kind = column.type
    if _is_exact(kind):
        return _exact_texts(column)
    if _is_instant(kind):
        return ["" if text == "null" else text for text in _each(column.cast(pa.int64()), _iso)]
    values: list[Any] = column.to_pylist()
    if pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return values
    return [_cell(value) for value in values]


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


def _is_exact(kind: pa.DataType) -> bool:
    """Whether the type has decimal places; one without is a large integer."""
    return bool(pa.types.is_decimal(kind) and kind.scale > 0)


def _is_instant(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) and kind.unit == "us" and kind.tz == "UTC")


def _exact_texts(column: pa.Array) -> list[str | None]:
    """Decimals with every digit. Arrow writes those next to zero with an exponent."""
    texts: list[str | None] = column.cast(pa.string()).to_pylist()
    return [f"{Decimal(text):f}" if text and "E" in text else text for text in texts]


def _iso(microseconds: int) -> str:
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat()


def _each(column: pa.Array, text: Callable[[Any], str]) -> list[str]:
    """Each value as text, null as `null`; values that repeat, as symbols and times do, are put into words once."""
    texts: dict[Any, str] = {None: "null"}
    found = []
    for value in column.to_pylist():
        if value not in texts:
            texts[value] = text(value)
        found.append(texts[value])
    return found


def _cell(value: Any) -> Any:
    made = plain(value)
    return json.dumps(made) if isinstance(made, dict | list) else made
