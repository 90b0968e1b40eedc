"""PostgreSQL's binary COPY format to Arrow, a column at a time.

Rows lie one after the other in one buffer. Where each field begins is computed for all rows at once, and a field is
taken from all rows at once, by an index into windows that begin at every byte of the buffer. No Python runs for a
single value.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from io import BytesIO
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from thermocline.errors import HotStoreError
from thermocline.model.dataset import PRECISION, Column, Kind
from thermocline.stores.postgres.copy_format import (
    BASE,
    EPOCH_DAYS,
    EPOCH_MICROSECONDS,
    FRACTION_DIGITS,
    HEADER,
    SIGN_NEGATIVE,
    TRAILER,
    Bytes,
    Integers,
    spread,
)

_SLACK = bytes(256)  # behind the last row: the widest window that begins in a row may end behind it
_FEW_ROWS = 1024  # up to here what is done once for each column costs more than what is done for each value
_LENGTH_BYTES = 4  # before the value of each field
_COUNT_BYTES = 2  # of fields, before the first field of each row

Message = bytes | memoryview

_INFINITIES = (np.iinfo(np.int64).min, np.iinfo(np.int64).max)  # '-infinity' and 'infinity' as timestamps
_INFINITE_DAYS = (np.iinfo(np.int32).min, np.iinfo(np.int32).max)

_HEAD_BYTES = 12  # a numeric's length, count of digits, weight, sign and scale; then the digits, two bytes each
_ONE_DIGIT, _TWO_DIGITS = 10, 12  # the length of numerics of so many digits: what is before them takes eight bytes
_LOW_HALF = 2**16 - 1
_MOST_DIGITS = {Kind.PRICE: 6, Kind.MONEY: 8}  # of base 10,000, some of them zeros in front
_SIGN_SPECIAL = 0xC000  # NaN and both infinities have these two bits
_LOW_DIGITS = 4  # of base 10,000: so many always fit into 64 bits, with the eight decimal places up to 99,999,999
_POWERS = np.array([*(BASE**power for power in range(_LOW_DIGITS)), 0], dtype=np.int64)
_NO_DIGIT = _LOW_DIGITS  # where a number has no digit, whatever lies there counts nothing

_LOW_UNIT = BASE**_LOW_DIGITS
_BELOW = {kind: 10**precision // _LOW_UNIT for kind, (precision, _) in PRECISION.items()}
_HALF = np.uint64(32)
_HALF_MASK = np.uint64(2**32 - 1)


class Received:
    """Rows as they came, one after the other in a buffer that is used again once they are decoded.

    Whoever fills it writes a row and appends its size, both of which are done for each row.
    """

    def __init__(self, columns: Sequence[Column], known: Mapping[str, str] = MappingProxyType({})) -> None:
        """No rows yet. The buffer grows with what comes, so that a short answer takes little.

        Of columns that are `known` to have one text in all rows nothing comes.
        """
        self._columns = [column for column in columns if column.name not in known]
        self._known = [(place, known[column.name]) for place, column in enumerate(columns) if column.name in known]
        self._schema = pa.schema([column.arrow_field for column in columns])
        self._space = BytesIO()
        self.write = self._space.write
        self.sizes: list[int] = []

    def begin(self, message: Message) -> bool:
        """Take the first message, which has the header before the first row; False where there is no row at all."""
        row = message[len(HEADER) :]
        if row and not is_end(row):
            self.write(row)
            self.sizes.append(len(row))
        return not is_end(row)

    @property
    def size_bytes(self) -> int:
        """How many bytes the rows take."""
        return self._space.tell()

    def take(self) -> pa.RecordBatch:
        """The rows as a batch; the buffer is free for others.

        Raises:
            HotStoreError: A value is one that no lake can hold.
        """
        sizes = np.array(self.sizes, dtype=np.int64)
        self.sizes.clear()
        self.write(_SLACK)
        self._space.seek(0)
        position = np.cumsum(sizes) - sizes + _COUNT_BYTES
        buffer: Bytes = np.frombuffer(self._space.getbuffer(), dtype=np.uint8)
        if len(sizes) <= _FEW_ROWS:
            arrays = _columns_of_few(self._columns, buffer, position)
        else:
            arrays = []
            for column in self._columns:
                array, position = _column(column, buffer, position)
                arrays.append(array)
        for place, text in self._known:
            arrays.insert(place, _repeated(text.encode(), len(sizes)))
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


def is_end(message: Message) -> bool:
    """Whether a message says that there are no more rows, of which each is longer."""
    return len(message) == len(TRAILER)


def decode(messages: Iterable[bytes], columns: Sequence[Column], *, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Batches from what `COPY … TO STDOUT (FORMAT BINARY)` sends, one message a row.

    Nullability follows the columns, so a batch has exactly the schema of its dataset's columns.

    Raises:
        HotStoreError: A value is one that no lake can hold.
    """
    received = Received(columns)
    for number, message in enumerate(messages):
        if number == 0:
            received.begin(message)
        elif not is_end(message):
            received.write(message)
            received.sizes.append(len(message))
        if len(received.sizes) == batch_rows:
            yield received.take()
    if received.sizes:
        yield received.take()


def _columns_of_few(columns: Sequence[Column], buffer: Bytes, position: Integers) -> list[pa.Array]:
    """The values of all columns of a few rows: numerics of one kind are taken from all their columns at once."""
    rows = len(position)
    arrays: list[pa.Array] = [None] * len(columns)
    waiting: dict[Kind, list[tuple[int, Integers, npt.NDArray[np.bool_], int]]] = {}
    for number, column in enumerate(columns):
        if column.kind not in _MOST_DIGITS:
            arrays[number], position = _column(column, buffer, position)
            continue
        lengths, null, nulls = _lengths(_windows(buffer, position, ">i4"))
        waiting.setdefault(column.kind, []).append((number, position, null, nulls))
        position = position + ((np.maximum(lengths, 0) if nulls else lengths) + 4)  # the old one is kept
    for kind, alike in waiting.items():
        fields = _windows(buffer, np.concatenate([start for _, start, *_ in alike]), _field_of(kind))
        missing = np.concatenate([null for *_, null, _ in alike])
        try:
            halves = _numerics(columns[alike[0][0]], fields, missing, sum(nulls for *_, nulls in alike))
        except HotStoreError:
            for number, start, *_ in alike:
                _column(columns[number], buffer, start)  # which names the column whose value it is
            raise
        for place, (number, _, null, nulls) in enumerate(alike):
            values = pa.py_buffer(halves[place * rows : (place + 1) * rows])
            arrow_type = columns[number].arrow_field.type
            arrays[number] = pa.Array.from_buffers(arrow_type, rows, [_validity(null, nulls), values], nulls)
    return arrays


def _column(column: Column, buffer: Bytes, position: Integers) -> tuple[pa.Array, Integers]:
    """The values of the column whose fields begin at `position`, and where those of the next one begin."""
    arrow_type, rows = column.arrow_field.type, len(position)
    if column.kind is Kind.TEXT:
        if (same := _same_text(buffer, position)) is not None:
            return _repeated(same, rows), position + (_LENGTH_BYTES + len(same))
        lengths, null, nulls = _lengths(_windows(buffer, position, ">i4"))
        sizes = np.maximum(lengths, 0) if nulls else lengths
        position += 4
        offsets = np.zeros(rows + 1, dtype="<i4")
        np.cumsum(sizes, out=offsets[1:])
        content = pa.py_buffer(_text(buffer, position, sizes))
        validity = _validity(null, nulls)
        array = pa.Array.from_buffers(arrow_type, rows, [validity, pa.py_buffer(offsets), content], nulls)
        return array, position + sizes
    fields = _windows(buffer, position, _field_of(column.kind))
    if column.kind in _MOST_DIGITS and (usual := _usual_numerics(fields)) is not None:
        sizes, halves = usual
        array = pa.Array.from_buffers(arrow_type, rows, [None, pa.py_buffer(halves)], 0)
        return array, position + (sizes + 4)
    lengths, null, nulls = _lengths(fields["length"])
    validity = _validity(null, nulls)
    if column.kind is Kind.BOOLEAN:
        array = pa.array(fields["value"] != 0, mask=null if nulls else None)
    else:
        values = _values(column, fields, null, nulls)
        array = pa.Array.from_buffers(arrow_type, rows, [validity, pa.py_buffer(values)], nulls)
    return array, position + ((np.maximum(lengths, 0) if nulls else lengths) + 4)


def _lengths(lengths: npt.NDArray[Any]) -> tuple[Integers, npt.NDArray[np.bool_], int]:
    native = lengths.astype(np.int64)
    null = native < 0
    return native, null, int(np.count_nonzero(null))


def _validity(null: npt.NDArray[np.bool_], nulls: int) -> pa.Buffer | None:
    return pa.array(~null).buffers()[1] if nulls else None


@cache
def _field_of(kind: Kind) -> np.dtype[Any]:
    """A field of fixed width as it lies in the buffer."""
    if kind in _MOST_DIGITS:
        head = [("length", ">i4"), ("digits", ">i2"), ("weight", ">i2"), ("sign", ">u2"), ("scale", ">i2")]
        return np.dtype([*head, ("digit", ">i2", (_MOST_DIGITS[kind],))])
    value = {Kind.BOOLEAN: "u1", Kind.DATE: ">i4"}.get(kind, ">i8")
    return np.dtype([("length", ">i4"), ("value", value)])


def _windows(buffer: Bytes, position: Integers, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """What lies at each position, as values of a type that need not be aligned."""
    wanted = np.dtype(dtype)
    # Plain bytes of one width are moved in one go, where the fields of a structure would be moved one by one.
    plain = np.dtype(f"V{wanted.itemsize}")
    windows: npt.NDArray[Any] = np.ndarray((len(buffer) - plain.itemsize + 1,), plain, buffer, strides=(1,))
    return windows[position].view(wanted)


def _text(buffer: Bytes, position: Integers, sizes: Integers) -> Bytes:
    """The bytes of texts, one text after the other."""
    if not len(sizes):
        return np.empty(0, dtype=np.uint8)
    longest, total = int(sizes.max()), int(sizes.sum())
    if not total:
        return np.empty(0, dtype=np.uint8)
    # Symbols and names are about equally long: each is taken with what lies behind it, which is then left out.
    if longest > len(_SLACK) or longest * len(sizes) > 4 * total:
        return buffer[spread(position, sizes)]
    padded = _windows(buffer, position, f"V{longest}").view(np.uint8)
    if longest * len(sizes) == total:
        return padded
    return padded.reshape(-1, longest)[np.arange(longest) < sizes[:, np.newaxis]]


def _repeated(text: bytes, rows: int) -> pa.Array:
    offsets = np.arange(rows + 1, dtype="<i4") * np.int32(len(text))
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(text * rows))


def _same_text(buffer: Bytes, position: Integers) -> bytes | None:
    """The text of all rows where they have the same, as a column of one source has; looked for where it is likely."""
    first, last = (int(position[row]) for row in (0, -1))
    length = int.from_bytes(buffer[first : first + _LENGTH_BYTES].tobytes(), "big", signed=True)
    size = _LENGTH_BYTES + length
    if (
        length < 0
        or size > len(_SLACK)
        or buffer[first : first + size].tobytes() != buffer[last : last + size].tobytes()
    ):
        return None
    fields = _windows(buffer, position, f"V{size}").view(np.uint8)
    return fields[_LENGTH_BYTES:size].tobytes() if (fields[size:] == fields[:-size]).all() else None


def _usual_numerics(fields: npt.NDArray[Any]) -> tuple[Integers, npt.NDArray[np.int64]] | None:
    """The lengths and halves of numerics that all are from 1 to 9,999.9999, as most prices; None where one is not."""
    glance = fields.view(_glance(fields.dtype.itemsize))
    sizes = fields["length"].astype(np.int64)
    if sizes.min() < _ONE_DIGIT or sizes.max() > _TWO_DIGITS or glance["weight_and_sign"].any():
        return None
    digits = glance["two_digits"].astype(np.int64)
    second = np.bitwise_and(digits, _LOW_HALF)
    second *= sizes == _TWO_DIGITS  # behind a lone digit lies what comes next
    np.right_shift(digits, 16, out=digits)
    digits *= BASE
    digits += second
    halves = np.zeros((len(digits), 2), dtype="<i8")
    np.multiply(digits, BASE, out=halves[:, 0])
    return sizes, halves


@cache
def _glance(itemsize: int) -> np.dtype[Any]:
    """What of a numeric's field tells that it is a usual one: its weight and sign together, and its first digits."""
    names, formats, offsets = ["weight_and_sign", "two_digits"], ["<u4", ">u4"], [6, 12]
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize})


def _values(column: Column, fields: npt.NDArray[Any], null: npt.NDArray[np.bool_], nulls: int) -> npt.NDArray[Any]:
    if column.kind in _MOST_DIGITS:
        return _numerics(column, fields, null, nulls)
    raw = fields["value"]
    match column.kind:
        case Kind.TIMESTAMP:
            times = raw.astype("<i8")
            _refuse_infinite(column, times[~null] if nulls else times, _INFINITIES)
            return times + EPOCH_MICROSECONDS
        case Kind.DATE:
            days = raw.astype(np.int64)
            _refuse_infinite(column, days[~null] if nulls else days, _INFINITE_DAYS)
            return (days + EPOCH_DAYS).astype("<i4")
        case _:
            return raw.astype("<i8")  # the bits of a float are moved as they are


def _refuse_infinite(column: Column, present: Integers, infinities: tuple[int, int]) -> None:
    if len(present) and (present.min() == infinities[0] or present.max() == infinities[1]):
        what = "date" if column.kind is Kind.DATE else "time"
        msg = f"column {column.name} holds an infinite {what}, which no lake can store; correct that row first"
        raise HotStoreError(msg)


def _numerics(
    column: Column, fields: npt.NDArray[Any], null: npt.NDArray[np.bool_], nulls: int
) -> npt.NDArray[np.int64]:
    """Numerics of scale 8 as the two halves of 128-bit integers."""
    digits, weight, sign = (fields[name].astype(np.int64) for name in ("digits", "weight", "sign"))
    if nulls:
        digits[null] = weight[null] = sign[null] = 0
    if (np.bitwise_and(sign, _SIGN_SPECIAL) == _SIGN_SPECIAL).any():
        msg = f"column {column.name} holds NaN or infinity where a price belongs; correct that row first"
        raise HotStoreError(msg)
    highest = weight + FRACTION_DIGITS  # the power of base 10,000 that the first digit stands for
    if ((highest - digits < -1) & (digits > 0)).any():
        msg = f"column {column.name} holds more than eight decimal places; its type must be numeric with scale 8"
        raise HotStoreError(msg)
    is_too_large = bool(((highest >= _MOST_DIGITS[column.kind]) & (digits > 0)).any())
    wide = bool(((highest >= _LOW_DIGITS) & (digits > 0)).any())
    low = np.zeros(len(digits), dtype=np.int64)
    high = np.zeros(len(digits), dtype=np.int64)
    for place in range(0 if is_too_large else int(digits.max(initial=0))):
        digit = fields["digit"][:, place].astype(np.int64)
        power = np.where(digits > place, highest - place, _NO_DIGIT)
        if wide:
            is_high = (digits > place) & (power >= _LOW_DIGITS)
            high += digit * _POWERS[np.where(is_high, power - _LOW_DIGITS, _NO_DIGIT)]
            power[is_high] = _NO_DIGIT
        low += digit * _POWERS[power]
    if is_too_large or (wide and (high >= _BELOW[column.kind]).any()):
        msg = f"column {column.name} holds a number that is too large for its type; correct that row first"
        raise HotStoreError(msg)
    halves = np.empty((len(digits), 2), dtype="<i8")
    if wide:
        _wide(low, high, sign == SIGN_NEGATIVE, halves)
    else:
        halves[:, 0] = np.where(sign == SIGN_NEGATIVE, -low, low)
        halves[:, 1] = halves[:, 0] >> 63
    return halves


def _wide(low: Integers, high: Integers, negative: npt.NDArray[np.bool_], halves: npt.NDArray[np.int64]) -> None:
    """`high` times the unit above the low digits, plus `low`, in 128 bits: multiplied by halves of 32 bits."""
    unit_high, unit_low = np.uint64(_LOW_UNIT >> 32), np.uint64(_LOW_UNIT & (2**32 - 1))
    above, below = high.view(np.uint64) >> _HALF, high.view(np.uint64) & _HALF_MASK
    middle = above * unit_low + below * unit_high  # below 2**55: high is below 10**12
    first = below * unit_low
    second = first + (middle << _HALF)
    total = second + low.view(np.uint64)
    carried = (second < first).astype(np.uint64) + (total < second).astype(np.uint64)
    upper = above * unit_high + (middle >> _HALF) + carried
    flipped = np.where(negative, ~total + np.uint64(1), total)
    halves[:, 0] = flipped.view(np.int64)
    halves[:, 1] = np.where(negative, ~upper + (flipped == 0), upper).view(np.int64)
