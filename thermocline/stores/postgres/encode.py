"""Arrow to PostgreSQL's binary COPY format, a block of rows at a time.

Rows of a block that are equally long are a matrix of bytes: it is filled with what all rows have in common (field
counts, lengths, columns that say one thing), and each other column is written over it as one strided array. A column
whose values differ in length parts the matrix in two, and Arrow joins the pieces of each row. No Python runs for a
single value, except for decimals wider than 64 bits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
)

BLOCK_ROWS = 8_192  # bars that a core's own cache about holds
BLOCK_BYTES = 4 << 20

_NULL = b"\xff\xff\xff\xff"
_PLACES = 8
_PAIR = BASE**2
_INT64_DIGITS = 18

Array = npt.NDArray[Any]


def encode(batch: pa.RecordBatch, columns: Sequence[Column]) -> bytes:
    """The rows of a batch, whose columns are in the given order, as COPY BINARY without header and trailer."""
    return b"".join(blocks(batch, columns))


def blocks(batch: pa.RecordBatch, columns: Sequence[Column]) -> Iterator[memoryview]:
    """What `encode` gives, in parts of a size that moves fast and fits in memory whatever the rows are."""
    most = min(BLOCK_ROWS, max(1, BLOCK_BYTES * batch.num_rows // max(1, batch.nbytes)))
    count = max(1, round(batch.num_rows / most))
    rows = max(1, -(-batch.num_rows // count))  # as many in each: a small block takes almost as long
    for start in range(0, batch.num_rows, rows):
        yield _block(batch.slice(start, rows), columns)


def _block(batch: pa.RecordBatch, columns: Sequence[Column]) -> memoryview:
    rows = _Rows(batch.num_rows)
    rows.same(len(columns).to_bytes(2, "big"))
    for column, array in zip(columns, batch.columns, strict=True):
        if array.null_count == len(array):
            rows.same(_NULL)
        elif column.kind is Kind.TEXT:
            _text(rows, array)
        elif not array.null_count:
            _fixed(rows, column.kind, array)
        else:
            _some(rows, column.kind, array)
    return rows.joined()


@dataclass
class _Rows:
    """Equally long rows, or a part of each: what they have in common, and what is written over it where."""

    count: int
    template: bytearray = field(default_factory=bytearray)
    written: list[tuple[int, Array]] = field(default_factory=list)
    pieces: list[pa.Array] = field(default_factory=list)

    def same(self, content: bytes) -> None:
        """Every row goes on with these bytes."""
        self.template += content

    def each(self, values: Array, dtype: str = "") -> None:
        """Each row goes on with its value as that type, or with its row of a matrix of bytes."""
        if dtype:
            # In this machine's order: turned around while it is copied, which numpy does without a buffer of its own.
            values = values.astype(np.dtype(dtype).newbyteorder("="), copy=False).astype(dtype, copy=False)
        width = values.dtype.itemsize * (values.shape[1] if values.ndim > 1 else 1)
        self.written.append((len(self.template), values))
        self.template += bytes(width)

    def differing(self, piece: pa.Array) -> None:
        """Each row goes on with its value of an array of binary, of whatever length."""
        self._end_piece()
        self.pieces.append(piece)

    def joined(self) -> memoryview:
        """All rows, one after the other."""
        if not self.pieces:
            return self._matrix().data.cast("B")
        self._end_piece()
        whole = pc.binary_join_element_wise(*self.pieces, pa.scalar(b"", pa.binary()))
        size = np.frombuffer(whole.buffers()[1], dtype="<i4")[self.count]
        return memoryview(whole.buffers()[2])[:size]

    def _end_piece(self) -> None:
        if width := len(self.template):
            offsets = np.arange(self.count + 1, dtype=np.int32) * np.int32(width)
            self.pieces.append(_binary(offsets, self._matrix()))
            self.template, self.written = bytearray(), []

    def _matrix(self) -> Bytes:
        width = len(self.template)
        out = np.empty((self.count, width), dtype=np.uint8)
        out[:] = np.frombuffer(self.template, dtype=np.uint8)
        for offset, values in self.written:
            if values.ndim > 1:
                out[:, offset : offset + values.shape[1]] = values
            else:
                np.ndarray(self.count, values.dtype, out.data, offset, (width,))[:] = values
        return out


def _binary(offsets: Array, content: Bytes) -> pa.Array:
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(content)]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def _text(rows: _Rows, array: pa.Array) -> None:
    if pa.types.is_dictionary(array.type):
        has_nulls = array.null_count or array.dictionary.null_count
        if not has_nulls and _encoded_text(rows, array):
            return
        array = array.dictionary_decode()
    present = array.is_valid() if array.null_count else None
    if present is not None:
        array = array.fill_null("")
    offsets = _values(array, "<i4", 1)
    lengths = np.diff(offsets)
    longest = int(lengths.max())
    if present is None and longest == lengths.min():
        rows.same(longest.to_bytes(4, "big"))
        if longest:
            content = np.frombuffer(array.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]]
            if (content[longest:] == content[:-longest]).all():
                rows.same(content[:longest].tobytes())
            else:
                rows.each(content.reshape(-1, longest))
        return
    rows.each(lengths if present is None else np.where(np.asarray(present), lengths, -1), ">i4")
    if longest:
        rows.differing(pa.Array.from_buffers(pa.binary(), len(array), array.buffers(), offset=array.offset))


def _encoded_text(rows: _Rows, array: pa.Array) -> bool:
    """A column without nulls whose texts come as a dictionary; whether it could be taken so, as texts of one length."""
    codes, texts = np.asarray(array.indices), array.dictionary
    if (codes == codes[0]).all():
        text = texts[int(codes[0])].as_buffer().to_pybytes()
        rows.same(len(text).to_bytes(4, "big") + text)
        return True
    offsets = _values(texts, "<i4", 1)
    longest = int(offsets[1] - offsets[0])
    if not longest or (np.diff(offsets) != longest).any():
        return False
    letters = np.frombuffer(texts.buffers()[2], dtype=f"V{longest}", count=len(texts), offset=int(offsets[0]))
    rows.same(longest.to_bytes(4, "big"))
    rows.each(letters[codes])
    return True


def _some(rows: _Rows, kind: Kind, array: pa.Array) -> None:
    """A column that has values in some rows: their lengths in all, then the values of those that have one."""
    present = np.asarray(array.is_valid())
    values = _Rows(int(present.sum()))
    _fixed(values, kind, array.drop_null())
    width = int.from_bytes(values.template[:4], "big")
    content = np.frombuffer(values.joined(), dtype=np.uint8).reshape(values.count, -1)[:, 4:]
    rows.each(np.where(present, np.int32(width), np.int32(-1)), ">i4")
    offsets = np.zeros(len(array) + 1, dtype=np.int32)
    np.cumsum(present * np.int32(width), out=offsets[1:])
    rows.differing(_binary(offsets, np.ascontiguousarray(content)))


def _fixed(rows: _Rows, kind: Kind, array: pa.Array) -> None:
    """A column without nulls, whose values are equally long."""
    match kind:
        case Kind.TIMESTAMP:
            rows.same(b"\0\0\0\x08")
            rows.each(_values(array, "<i8") - EPOCH_MICROSECONDS, ">i8")
        case Kind.INTEGER | Kind.FLOAT:
            rows.same(b"\0\0\0\x08")
            rows.each(_values(array, "<i8"), ">i8")
        case Kind.DATE:
            rows.same(b"\0\0\0\x04")
            rows.each(_values(array, "<i4") - np.int32(EPOCH_DAYS), ">i4")
        case Kind.BOOLEAN:
            rows.same(b"\0\0\0\x01")
            rows.each(np.asarray(array.cast(pa.uint8())))
        case _:
            _numeric(rows, array)


def _numeric(rows: _Rows, array: pa.Array) -> None:
    """Decimals of scale 8 as numerics of as many digits as the block needs; PostgreSQL strips zeros on its side.

    Digits of base 10,000 go in pairs of 32 bits. Where no value has more than four places, the last digit is left out.
    """
    parts, negative = _magnitudes(array)
    if len(parts) == 1:
        shorter = parts[0] // np.uint64(BASE)
        is_short = bool((shorter * np.uint64(BASE) == parts[0]).all())
        pairs = _pairs(shorter if is_short else parts[0])
    else:
        is_short = False
        high, low = parts
        pairs = [*_pairs(high), *_pairs(low, 2)]
    digits, fraction = 2 * len(pairs), FRACTION_DIGITS - is_short
    rows.same((8 + 2 * digits).to_bytes(4, "big") + digits.to_bytes(2, "big"))
    rows.same((digits - fraction - 1).to_bytes(2, "big", signed=True))
    if negative is None:
        rows.same(bytes(2))
    else:
        rows.each(np.where(negative, np.uint16(SIGN_NEGATIVE), np.uint16(0)), ">u2")
    rows.same(_PLACES.to_bytes(2, "big"))
    for pair in pairs:
        # Two digits of base 10,000 side by side: what is left of a shift and what is left of a division.
        rows.each(pair + pair // np.uint32(BASE) * np.uint32((1 << 16) - BASE), ">u4")


def _pairs(values: npt.NDArray[np.uint64], count: int = 0) -> list[npt.NDArray[np.uint32]]:
    """Numbers in base 10,000 squared, the highest place first: as many places as they need, or `count`."""
    largest = int(values.max())
    pairs: list[npt.NDArray[np.uint32]] = []
    while largest >= _PAIR or len(pairs) + 1 < count:
        rest = values // np.uint64(_PAIR)
        pairs.append((values - rest * np.uint64(_PAIR)).astype(np.uint32))
        values, largest = rest, largest // _PAIR
    return [values.astype(np.uint32), *reversed(pairs)]


def _magnitudes(array: pa.Array) -> tuple[list[npt.NDArray[np.uint64]], npt.NDArray[np.bool_] | None]:
    """The absolute values of scaled decimals, in two parts of base 10^16 if wide, and which are negative."""
    halves = _values(array, "<i8", per_value=2)
    low, high = halves[0::2], halves[1::2]
    if array.type.precision <= _INT64_DIGITS or bool((high == low >> 63).all()):
        negative = low < 0
        if negative.any():
            return [np.where(negative, -low, low).view(np.uint64)], negative
        return [np.ascontiguousarray(low).view(np.uint64)], None
    wide = high.astype(object) * 2**64 + low.view("<u8").astype(object)
    magnitude = np.abs(wide)
    parts = [part.astype(np.uint64) for part in (magnitude // _PAIR**2, magnitude % _PAIR**2)]
    return parts, high < 0


def _values(array: pa.Array, dtype: str, more: int = 0, *, per_value: int = 1) -> Array:
    """The values of an array as they lie in memory."""
    start = array.offset * per_value
    return np.frombuffer(array.buffers()[1], dtype=dtype)[start : start + len(array) * per_value + more]
