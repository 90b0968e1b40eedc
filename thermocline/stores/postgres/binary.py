"""PostgreSQL's binary COPY format to and from Arrow, a column at a time.

The format (https://www.postgresql.org/docs/current/sql-copy.html, read 2026-11) is a header, then for each row a
field count and for each field its length and bytes, all big-endian. Positions of fields are computed for all rows at
once with numpy, and bytes are moved by index; no Python runs for a single value, except for the few decimals wider
than 64 bits.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.errors import HotStoreError
from thermocline.model.dataset import Column, Kind

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

_EPOCH_MICROSECONDS = 946_684_800_000_000  # PostgreSQL counts time from 2000-01-01
_EPOCH_DAYS = 10_957
_INFINITIES = (np.iinfo(np.int64).min, np.iinfo(np.int64).max)  # 'infinity' and '-infinity' as timestamps
_INFINITE_DAYS = (np.iinfo(np.int32).min, np.iinfo(np.int32).max)
_BASE = 10_000  # a numeric is digits of base 10,000
_FRACTION_DIGITS = 2  # of that base, in eight decimal places
_WHOLE_DIGITS = {Kind.PRICE: 3, Kind.MONEY: 5}
_SIGN_NEGATIVE, _SIGN_SPECIAL = 0x4000, 0xC000
_INT64_DIGITS = 18


# ----------------------------------------------------------------------------------------------------------- encode


def encode(batch: pa.RecordBatch, columns: Sequence[Column]) -> bytes:
    """The rows of a batch, whose columns are in the given order, as COPY BINARY without header and trailer."""
    rows = batch.num_rows
    if not rows:
        return b""
    fields = [_field(column, array) for column, array in zip(columns, batch.columns, strict=True)]
    widths = sum((4 + np.maximum(lengths, 0) for lengths, _ in fields), start=np.full(rows, 2, dtype=np.int64))
    position = np.cumsum(widths) - widths
    out = np.empty(int(widths.sum()), dtype=np.uint8)
    _place(out, position, _big_endian(np.full(rows, len(columns)), ">i2"))
    position = position + 2
    for lengths, payload in fields:
        _place(out, position, _big_endian(lengths, ">i4"))
        position = position + 4
        payload(out, position)
        position = position + np.maximum(lengths, 0)
    return out.tobytes()


Payload = Callable[[Bytes, Integers], None]


def _field(column: Column, array: pa.Array) -> tuple[Integers, Payload]:
    """The length of each value (-1 for a null), and what writes the values at given positions."""
    present = ~np.asarray(array.is_null()) if array.null_count else None
    if column.kind is Kind.TEXT:
        lengths, content = _text_bytes(array)
        writer: Payload = lambda out, position: _scatter(out, position, lengths, content)  # noqa: E731  # a closure each
        return (lengths if present is None else np.where(present, lengths, -1)), writer
    matrix = _fixed(column.kind, array)
    width = matrix.shape[1]

    def place(out: Bytes, position: Integers) -> None:
        if present is None:
            _place(out, position, matrix)
        else:
            _place(out, position[present], matrix[present])

    sizes = np.full(len(array), width, dtype=np.int64)
    return (sizes if present is None else np.where(present, sizes, -1)), place


def _fixed(kind: Kind, array: pa.Array) -> Bytes:
    match kind:
        case Kind.TIMESTAMP:
            return _big_endian(_values(array, "<i8") - _EPOCH_MICROSECONDS, ">i8")
        case Kind.INTEGER:
            return _big_endian(_values(array, "<i8"), ">i8")
        case Kind.FLOAT:
            return _big_endian(_values(array, "<i8"), ">i8")
        case Kind.DATE:
            return _big_endian(_values(array, "<i4").astype(np.int64) - _EPOCH_DAYS, ">i4")
        case Kind.BOOLEAN:
            return np.asarray(pc.fill_null(array, fill_value=False).cast(pa.uint8())).reshape(-1, 1)
        case _:
            return _numeric(kind, array)


def _numeric(kind: Kind, array: pa.Array) -> Bytes:
    """Decimals of scale 8 as numerics of a fixed number of digits; PostgreSQL strips the zeros on its side."""
    scaled = _scaled_integers(array, wide=array.type.precision > _INT64_DIGITS)
    digits = _WHOLE_DIGITS[kind] + _FRACTION_DIGITS
    out = np.empty((len(array), 4 + digits), dtype=">i2")
    out[:, 0] = digits
    out[:, 1] = _WHOLE_DIGITS[kind] - 1
    out[:, 2] = np.where(scaled < 0, _SIGN_NEGATIVE, 0)
    out[:, 3] = 8
    rest = np.abs(scaled)
    for place in reversed(range(digits)):
        rest, digit = rest // _BASE, rest % _BASE
        out[:, 4 + place] = digit
    return out.view(np.uint8).reshape(len(array), -1)


def _scaled_integers(array: pa.Array, *, wide: bool) -> npt.NDArray[Any]:
    halves = np.frombuffer(array.buffers()[1], dtype="<i8")[array.offset * 2 : (array.offset + len(array)) * 2]
    low, high = halves[0::2], halves[1::2]
    if not wide:
        return np.where(np.asarray(array.is_valid()), low, 0) if array.null_count else low
    unsigned = low.view("<u8").astype(object)
    return np.asarray(high.astype(object) * 2**64 + unsigned, dtype=object)


def _values(array: pa.Array, dtype: str) -> npt.NDArray[Any]:
    return np.frombuffer(array.buffers()[1], dtype=dtype)[array.offset : array.offset + len(array)]


def _text_bytes(array: pa.Array) -> tuple[Integers, Bytes]:
    if array.null_count:
        array = array.fill_null("")
    offsets = np.frombuffer(array.buffers()[1], dtype="<i4")[array.offset : array.offset + len(array) + 1]
    buffer = array.buffers()[2]
    content = np.frombuffer(buffer, dtype=np.uint8) if buffer else np.empty(0, dtype=np.uint8)
    if not len(offsets):
        return np.zeros(len(array), dtype=np.int64), content[:0]
    return np.diff(offsets).astype(np.int64), content[offsets[0] : offsets[-1]]


def _big_endian(values: npt.NDArray[Any], dtype: str) -> Bytes:
    width = np.dtype(dtype).itemsize
    return np.ascontiguousarray(values.astype(dtype)).view(np.uint8).reshape(len(values), width)


def _place(out: Bytes, position: Integers, matrix: Bytes) -> None:
    for offset in range(matrix.shape[1]):
        out[position + offset] = matrix[:, offset]


def _scatter(out: Bytes, position: Integers, lengths: Integers, content: Bytes) -> None:
    out[_spread(position, lengths)] = content


def _spread(position: Integers, lengths: Integers) -> Integers:
    """The index of every byte of runs that start at `position` and are `lengths` long."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(position - (ends - lengths), lengths) + np.arange(total)


# ----------------------------------------------------------------------------------------------------------- decode


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
        content = buffer[_spread(position, sizes)]
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
            return raw + _EPOCH_MICROSECONDS
        case Kind.INTEGER:
            return _gather(buffer, position, ">i8").astype("<i8")
        case Kind.FLOAT:
            return _gather(buffer, position, ">u8").astype("<u8")
        case Kind.DATE:
            days = _gather(buffer, position, ">i4").astype(np.int64)
            if np.isin(days[~null], _INFINITE_DAYS).any():
                msg = f"column {column.name} holds an infinite date, which no lake can store; correct that row first"
                raise HotStoreError(msg)
            return (days + _EPOCH_DAYS).astype("<i4")
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
    if (sign[~null] == _SIGN_SPECIAL).any():
        msg = f"column {column.name} holds NaN or infinity where a price belongs; correct that row first"
        raise HotStoreError(msg)
    wide = column.kind is not Kind.PRICE
    scaled: npt.NDArray[Any] = np.zeros(len(digits), dtype=object if wide else np.int64)
    for place in range(int(digits.max(initial=0))):
        has = np.flatnonzero(digits > place)
        digit = _gather(buffer, position[has] + 8 + 2 * place, ">i2").astype(np.int64)
        power = weight[has] - place + _FRACTION_DIGITS
        if (power < 0).any():
            msg = f"column {column.name} holds more than eight decimal places; its type must be numeric with scale 8"
            raise HotStoreError(msg)
        scaled[has] += (digit.astype(object) if wide else digit) * np.power(
            np.full(len(has), _BASE, dtype=object if wide else np.int64), power
        )
    scaled = np.where(sign == _SIGN_NEGATIVE, -scaled, scaled)
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
