"""Rows as JSON, to be kept where a person can look at what was refused."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from thermocline.model.parsing.parsed import is_text


def as_json(rows: pa.Table) -> list[str]:
    """Each row as it came. NUL is shown as its symbol, since no text or JSON of PostgreSQL can hold it."""
    # Text travels as bytes, since it may not be UTF-8, and times as Arrow shows even those that Python can't hold.
    fields = [pa.field(f.name, pa.large_binary()) if is_text(f.type) else f for f in rows.schema]
    fields = [pa.field(f.name, pa.string()) if pa.types.is_timestamp(f.type) else f for f in fields]
    return [_object(record) for record in rows.cast(pa.schema(fields)).to_pylist()]


def _object(record: Mapping[str, Any]) -> str:
    shown = {name: _plain(value) for name, value in record.items()}
    return json.dumps(shown, ensure_ascii=False).replace("\\u0000", "\N{SYMBOL FOR NULL}")


def _plain(value: Any) -> Any:
    """The value itself where JSON has it, else its text; a NaN is no JSON."""
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and np.isfinite(value)):
        return value
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
