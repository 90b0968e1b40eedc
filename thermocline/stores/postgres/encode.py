"""Arrow to PostgreSQL's binary COPY format, a column at a time.

Positions of fields are computed for all rows at once with numpy, and bytes are moved by index; no Python runs for a
single value, except for the few decimals wider than 64 bits.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.model.dataset import Column, Kind
from thermocline.stores.postgres.copy_format import (
    BASE,
    EPOCH_DAYS,
    EPOCH_MICROSECONDS,
    FRACTION_DIGITS,
    SIGN_NEGATIVE,
    Bytes,
    Integers,
    spread,
)

_WHOLE_DIGITS = {Kind.PRICE: 3, Kind.MONEY: 5}
_INT64_DIGITS = 18


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
            return _big_endian(_values(array, "<i8") - EPOCH_MICROSECONDS, ">i8")
        case Kind.INTEGER:
            return _big_endian(_values(array, "<i8"), ">i8")
        case Kind.FLOAT:
            return _big_endian(_values(array, "<i8"), ">i8")
        case Kind.DATE:
            return _big_endian(_values(array, "<i4").astype(np.int64) - EPOCH_DAYS, ">i4")
        case Kind.BOOLEAN:
            return np.asarray(pc.fill_null(array, fill_value=False).cast(pa.uint8())).reshape(-1, 1)
        case _:
            return _numeric(kind, array)


def _numeric(kind: Kind, array: pa.Array) -> Bytes:
    """Decimals of scale 8 as numerics of a fixed number of digits; PostgreSQL strips the zeros on its side."""
    scaled = _scaled_integers(array, wide=array.type.precision > _INT64_DIGITS)
    digits = _WHOLE_DIGITS[kind] + FRACTION_DIGITS
    out = np.empty((len(array), 4 + digits), dtype=">i2")
    out[:, 0] = digits
    out[:, 1] = _WHOLE_DIGITS[kind] - 1
    out[:, 2] = np.where(scaled < 0, SIGN_NEGATIVE, 0)
    out[:, 3] = 8
    rest = np.abs(scaled)
    for place in reversed(range(digits)):
        rest, digit = rest // BASE, rest % BASE
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
    out[spread(position, lengths)] = content
