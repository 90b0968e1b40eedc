"""PostgreSQL's binary COPY format to Arrow, a column at a time.

Positions of fields are computed for all rows at once with numpy, and bytes are moved by index; no Python runs for a
single value, except for the few decimals wider than 64 bits.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from thermocline.errors import HotStoreError
from thermocline.model.dataset import Column, Kind
from thermocline.stores.postgres.copy_format import (
    BASE,
    EPOCH_DAYS,
    EPOCH_MICROSECONDS,
    FRACTION_DIGITS,
    HEADER,
    SIGN_NEGATIVE,
    SIGN_SPECIAL,
    TRAILER,
    Bytes,
    Integers,
    spread,
)

_INFINITIES = (np.iinfo(np.int64).min, np.iinfo(np.int64).max)  # 'infinity' and '-infinity' as timestamps
_INFINITE_DAYS = (np.iinfo(np.int32).min, np.iinfo(np.int32).max)


def decode(messages: Iterable[bytes], columns: Sequence[Column], *, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Batches from what `COPY … TO STDOUT (FORMAT BINARY)` sends, one message a row.

    Nullability follows the columns, so a batch has exactly the schema of its dataset's columns.
    """
    schema = pa.schema([column.arrow_field for column in columns])
    rows: list[bytes] = []
    first = True
    for message in messages:
        row = message
        if first:
            first, row = False, row[len(HEADER) :]
        if row in {b"", TRAILER}:
            continue
        rows.append(row)
        if len(rows) == batch_rows:
            yield _decode_rows(rows, columns, schema)
            rows = []
    if rows:
        yield _decode_rows(rows, columns, schema)


def _decode_rows(rows: list[bytes], columns: Sequence[Column], schema: pa.Schema) -> pa.RecordBatch:
    # One extra word lets a gather at the very end stay inside the buffer.
    buffer = np.frombuffer(b"".join((*rows, bytes(32))), dtype=np.uint8)
    widths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    position = np.cumsum(widths) - widths + 2
    arrays = []
    for column in columns:
        lengths = _gather(buffer, position, ">i4").astype(np.int64)
        position = position + 4
        arrays.append(_array(column, buffer, position, lengths))
        position = position + np.maximum(lengths, 0)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(column: Column, buffer: Bytes, position: Integers, lengths: Integers) -> pa.Array:
    null = lengths < 0
    rows, nulls = len(lengths), int(null.sum())
    validity = pa.array(~null).buffers()[1] if nulls else None
    arrow_type = column.arrow_field.type
    if column.kind is Kind.TEXT:
        sizes = np.maximum(lengths, 0)
        offsets = np.concatenate(([0], np.cumsum(sizes))).astype("<i4")
        content = buffer[spread(position, sizes)]
        return pa.Array.from_buffers(arrow_type, rows, [validity, pa.py_buffer(offsets), pa.py_buffer(content)], nulls)
    if column.kind is Kind.BOOLEAN:
        return pa.array(buffer[position].astype(bool), mask=null if nulls else None)
    values = _decode_fixed(column, buffer, position, null)
    return pa.Array.from_buffers(arrow_type, rows, [validity, pa.py_buffer(np.ascontiguousarray(values))], nulls)


def _decode_fixed(column: Column, buffer: Bytes, position: Integers, null: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    match column.kind:
        case Kind.TIMESTAMP:
            raw = _gather(buffer, position, ">i8").astype("<i8")
            if np.isin(raw[~null], _INFINITIES).any():
                msg = f"column {column.name} holds an infinite time, which no lake can store; correct that row first"
                raise HotStoreError(msg)
            return raw + EPOCH_MICROSECONDS
        case Kind.INTEGER:
            return _gather(buffer, position, ">i8").astype("<i8")
        case Kind.FLOAT:
            return _gather(buffer, position, ">u8").astype("<u8")
        case Kind.DATE:
            days = _gather(buffer, position, ">i4").astype(np.int64)
            if np.isin(days[~null], _INFINITE_DAYS).any():
                msg = f"column {column.name} holds an infinite date, which no lake can store; correct that row first"
                raise HotStoreError(msg)
            return (days + EPOCH_DAYS).astype("<i4")
        case _:
            return _decode_numeric(column, buffer, position, null)


def _decode_numeric(
    column: Column, buffer: Bytes, position: Integers, null: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Numerics of scale 8 as the two halves of 128-bit integers."""
    digits, weight, sign = (
        _gather(buffer, position + offset, dtype).astype(np.int64)
        for offset, dtype in ((0, ">i2"), (2, ">i2"), (4, ">u2"))
    )
    digits = np.where(null, 0, digits)
    if (sign[~null] == SIGN_SPECIAL).any():
        msg = f"column {column.name} holds NaN or infinity where a price belongs; correct that row first"
        raise HotStoreError(msg)
    wide = column.kind is not Kind.PRICE
    scaled: npt.NDArray[Any] = np.zeros(len(digits), dtype=object if wide else np.int64)
    for place in range(int(digits.max(initial=0))):
        has = np.flatnonzero(digits > place)
        digit = _gather(buffer, position[has] + 8 + 2 * place, ">i2").astype(np.int64)
        power = weight[has] - place + FRACTION_DIGITS
        if (power < 0).any():
            msg = f"column {column.name} holds more than eight decimal places; its type must be numeric with scale 8"
            raise HotStoreError(msg)
        scaled[has] += (digit.astype(object) if wide else digit) * np.power(
            np.full(len(has), BASE, dtype=object if wide else np.int64), power
        )
    scaled = np.where(sign == SIGN_NEGATIVE, -scaled, scaled)
    halves = np.empty((len(scaled), 2), dtype="<i8")
    if wide:
        halves[:, 0] = (scaled & (2**64 - 1)).astype("<u8").view("<i8")
        halves[:, 1] = (scaled >> 64).astype("<i8")
    else:
        halves[:, 0] = scaled
        halves[:, 1] = scaled >> 63
    return halves


def _gather(buffer: Bytes, position: Integers, dtype: str) -> npt.NDArray[Any]:
    width = np.dtype(dtype).itemsize
    out = np.empty((len(position), width), dtype=np.uint8)
    for offset in range(width):
        out[:, offset] = buffer[position + offset]
    return out.view(dtype).reshape(-1)
