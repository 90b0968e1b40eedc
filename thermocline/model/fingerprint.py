"""An order-independent fingerprint of rows, the same for every store.

Each value that is not null becomes 64 bits, mixed with a salt made of its column's name; a row is the mixed sum of its
values; a set of rows is the sum of its rows modulo 2**64, twice over with different mixing, so 128 bits in all. A sum
(and not an XOR) notices a row that is doubled while another goes missing. A null adds nothing, so a nullable column
that a later schema adds leaves the fingerprints of older rows as they are. Floats count by their bits: -0.0 differs
from 0.0, and every NaN is one NaN. The mixing is the finaliser of splitmix64 (https://prng.di.unimi.it/splitmix64.c,
read 2026-11).
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.errors import SchemaError
from thermocline.model.dataset import PROVENANCE, Column, Dataset, Kind
from thermocline.model.receipt import Contents

Hashes = npt.NDArray[np.uint64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_SUM = np.uint64(0x9E3779B97F4A7C15)
_HIGH_HALF = np.uint64(0xC2B2AE3D27D4EB4F)


def _mix(values: Hashes) -> Hashes:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@lru_cache(maxsize=1024)
def _salt(column: str) -> np.uint64:
    return np.uint64(_digest(column.encode()))


def _digest(text: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _fixed_width(array: pa.Array, dtype: str, per_value: int = 1) -> npt.NDArray[Any]:
    """The values of a fixed-width array as they lie in memory, nulls included."""
    start = array.offset * per_value * np.dtype(dtype).itemsize
    return np.frombuffer(array.buffers()[1], dtype=dtype, count=len(array) * per_value, offset=start)


def _words(array: pa.Array) -> Hashes:
    return _fixed_width(array, "<u8").astype(np.uint64)


def _float_bits(array: pa.Array) -> Hashes:
    bits = _words(array)
    bits[np.isnan(_fixed_width(array, "<f8"))] = 0x7FF8000000000000
    return bits


def _decimal_bits(array: pa.Array) -> Hashes:
    halves = _fixed_width(array, "<u8", per_value=2).reshape(-1, 2).astype(np.uint64)
    low: Hashes = halves[:, 0]
    return low + halves[:, 1] * _HIGH_HALF


def _date_bits(array: pa.Array) -> Hashes:
    return _fixed_width(array, "<i4").astype(np.int64).view(np.uint64)


def _boolean_bits(array: pa.Array) -> Hashes:
    return np.asarray(pc.fill_null(array, fill_value=False).cast(pa.uint8())).astype(np.uint64)


def _text_bits(array: pa.Array) -> Hashes:
    encoded = array.dictionary_encode()
    digests = np.array([_digest(text.encode()) for text in encoded.dictionary.to_pylist()], dtype=np.uint64)
    if not len(digests):
        return np.zeros(len(array), dtype=np.uint64)
    indices = encoded.indices.fill_null(0) if array.null_count else encoded.indices
    hashes: Hashes = digests[np.asarray(indices)]
    return hashes


_BITS: Mapping[Kind, Callable[[pa.Array], Hashes]] = {
    Kind.TEXT: _text_bits,
    Kind.PRICE: _decimal_bits,
    Kind.MONEY: _decimal_bits,
    Kind.FLOAT: _float_bits,
    Kind.INTEGER: _words,
    Kind.BOOLEAN: _boolean_bits,
    Kind.DATE: _date_bits,
    Kind.TIMESTAMP: _words,
}
"""How each kind of column becomes sixty-four bits a value; those of a null mean nothing."""


def _column_hashes(column: Column, array: pa.Array) -> Hashes:
    hashes = _mix(_BITS[column.kind](array) * _SECOND_SUM + _salt(column.name))
    if array.null_count:
        hashes[np.asarray(array.is_null())] = 0
    return hashes


def row_hashes(dataset: Dataset, names: Iterable[str], batch: pa.RecordBatch) -> Hashes:
    """Sixty-four bits for what each row says in those columns; a column that the batch lacks counts as null."""
    present = set(batch.schema.names)
    hashes = np.zeros(batch.num_rows, dtype=np.uint64)
    for name in names:
        if name in present:
            hashes += _column_hashes(dataset.column(name), batch.column(name))
    return _mix(hashes)


class Fingerprinter:
    """Takes batches of one dataset's rows, in any order and any cut, and says what they contained.

    Cost: one pass over each column in numpy, about 0.4 s per million bars.
    """

    def __init__(self, dataset: Dataset) -> None:
        """Start with no rows."""
        self._dataset = dataset
        self._rows = 0
        self._sums = [0, 0, 0, 0]
        self._nulls = dict.fromkeys((column.name for column in dataset.columns if column.nullable), 0)
        self._min_ts: int | None = None
        self._max_ts: int | None = None

    def update(self, batch: pa.RecordBatch) -> None:
        """Count a batch in. Nullable columns that it lacks count as null.

        Raises:
            SchemaError: A column is not of the type that the dataset's schema gives it.
        """
        if not batch.num_rows:
            return
        content = np.zeros(batch.num_rows, dtype=np.uint64)
        provenance = np.zeros(batch.num_rows, dtype=np.uint64)
        present = set(batch.schema.names)
        for column, expected in zip(self._dataset.columns, self._dataset.arrow_schema, strict=True):
            name = column.name
            if name not in present and column.nullable:
                self._nulls[name] += batch.num_rows
                continue
            given = batch.schema.field(name).type if name in present else "missing"
            if given != expected.type:
                msg = f"{self._dataset.name}: column {name} is {given} where only {expected.type} can be fingerprinted"
                raise SchemaError(msg)
            array = batch.column(name)
            if name in self._nulls:
                self._nulls[name] += array.null_count
            target = provenance if name in PROVENANCE else content
            target += _column_hashes(column, array)
        for position, rows in ((0, _mix(content)), (2, _mix(content + provenance))):
            self._sums[position] += int(rows.sum())
            self._sums[position + 1] += int(_mix(rows ^ _SECOND_SUM).sum())
        stamps = _fixed_width(batch.column("ts"), "<i8")
        low, high = int(stamps.min()), int(stamps.max())
        self._min_ts = low if self._min_ts is None else min(self._min_ts, low)
        self._max_ts = high if self._max_ts is None else max(self._max_ts, high)
        self._rows += batch.num_rows

    def contents(self) -> Contents:
        """What was counted in so far."""
        content, full = (
            "".join(f"{self._sums[position + half] % 2**64:016x}" for half in (0, 1)) for position in (0, 2)
        )
        return Contents(
            rows=self._rows,
            min_ts=_instant(self._min_ts),
            max_ts=_instant(self._max_ts),
            null_counts={name: count for name, count in self._nulls.items() if count},
            fingerprint=full,
            content_fingerprint=content,
        )


def contents_of(dataset: Dataset, batches: Iterable[pa.RecordBatch]) -> Contents:
    """What the batches contain; see `Fingerprinter`."""
    fingerprinter = Fingerprinter(dataset)
    for batch in batches:
        fingerprinter.update(batch)
    return fingerprinter.contents()


class DailyFingerprinter:
    """Takes batches as a `Fingerprinter` does, and says of each of some days what they contained of it."""

    def __init__(self, dataset: Dataset, days: Sequence[date]) -> None:
        """Start with no rows."""
        self._counted = {day: Fingerprinter(dataset) for day in days}
        self.rows_of_other_days = 0

    def update(self, batch: pa.RecordBatch) -> None:
        """Count a batch in, each row for its day."""
        found = pc.cast(pc.cast(batch.column("ts"), pa.timestamp("us")), pa.date32(), safe=False)
        for day in pc.unique(found).to_pylist():
            rows = batch.filter(pc.equal(found, pa.scalar(day, pa.date32())))
            if day in self._counted:
                self._counted[day].update(rows)
            else:
                self.rows_of_other_days += rows.num_rows

    def contents(self) -> list[Contents]:
        """What was counted in so far, in the order of the days."""
        return [fingerprinter.contents() for fingerprinter in self._counted.values()]


def contents_by_day(dataset: Dataset, batches: Iterable[pa.RecordBatch], days: Sequence[date]) -> list[Contents]:
    """What the batches contain of each of the days; rows of other days are not counted."""
    fingerprinter = DailyFingerprinter(dataset, days)
    for batch in batches:
        fingerprinter.update(batch)
    return fingerprinter.contents()


def _instant(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)
