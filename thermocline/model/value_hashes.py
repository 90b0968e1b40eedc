"""Sixty-four bits for every value of a column.

What comes out is fixed for ever: receipts hold sums of it. A value becomes 64 bits by its kind (a text by BLAKE2b), is
multiplied, gets a salt made of its column's name added, and is mixed by the finaliser of splitmix64
(https://prng.di.unimi.it/splitmix64.c, read 2026-11). All of it is arithmetic modulo 2**64.
"""

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.model.dataset import Column, Kind

Hashes = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

BLOCK_ROWS = 65_536
"""How many rows to hash at a time: the arrays that it takes stay in the cache, and calls are few."""

SECOND_SUM = np.uint64(0x9E3779B97F4A7C15)
_HIGH_HALF = np.uint64(0xC2B2AE3D27D4EB4F * int(SECOND_SUM) % 2**64)
_NAN = np.uint64(0x7FF8000000000000 * int(SECOND_SUM) % 2**64)
_ROUNDS = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_LAST_SHIFT = np.uint64(31)
_ROWS_A_RUN = 8  # from there on, looking for where runs begin beats a hash table


def mix(values: Hashes, spare: Hashes) -> None:
    """Mix in place; `spare`, of the same length, is overwritten."""
    for shift, factor in _ROUNDS:
        np.right_shift(values, shift, out=spare)
        np.bitwise_xor(values, spare, out=values)
        np.multiply(values, factor, out=values)
    np.right_shift(values, _LAST_SHIFT, out=spare)
    np.bitwise_xor(values, spare, out=values)


class ColumnHasher:
    """Hashes the values of one column, piece after piece. A null has the hash 0."""

    def __init__(self, column: Column) -> None:
        """Make its salt."""
        self._kind = column.kind
        self._salt = _salt(column.name)
        self._dictionary: pa.Array | None = None
        self._of_dictionary = np.zeros(0, dtype=np.uint64)
        self._text: str | None = None
        self._of_same_text = np.zeros(1, dtype=np.uint64)

    def add_to(self, sums: Hashes, array: pa.Array, work: Hashes, spare: Hashes) -> None:
        """Add each value's hash to its row's sum. `work` and `spare`, as long as the array, are overwritten."""
        if array.null_count == len(array):
            return
        if self._kind is Kind.TEXT:
            hashes = self._of_text(array, work)
        elif not array.null_count and _is_same_word(self._kind, array):
            hashes = work[:1]
            self._of_bits(array.slice(0, 1), hashes, spare[:1])
        else:
            hashes = work
            self._of_bits(array, hashes, spare)
        if array.null_count:
            hashes[np.asarray(array.is_null())] = 0
        np.add(sums, hashes, out=sums)

    def _of_bits(self, array: pa.Array, hashes: Hashes, spare: Hashes) -> None:
        match self._kind:
            case Kind.PRICE | Kind.MONEY:
                _multiplied_decimals(array, hashes, spare)
            case Kind.FLOAT:
                _multiplied_floats(array, hashes)
            case Kind.DATE:
                np.copyto(hashes.view(np.int64), _fixed_width(array, "<i4"))
                np.multiply(hashes, SECOND_SUM, out=hashes)
            case Kind.BOOLEAN:
                np.copyto(hashes, np.asarray(pc.fill_null(array, fill_value=False).cast(pa.uint8())))
                np.multiply(hashes, SECOND_SUM, out=hashes)
            case _:
                np.multiply(_fixed_width(array, "<u8"), SECOND_SUM, out=hashes)
        np.add(hashes, self._salt, out=hashes)
        mix(hashes, spare)

    def _of_text(self, array: pa.Array, work: Hashes) -> Hashes:
        """The hashes of texts, or the only one of texts that are all the same."""
        if not array.null_count and pa.types.is_string(array.type):
            if _is_same_text(array):
                if (text := array[0].as_py()) != self._text:
                    self._text, self._of_same_text = text, self._of_texts(array.slice(0, 1))
                return self._of_same_text
            starts = _starts(array)
            if len(starts) * _ROWS_A_RUN <= len(array):
                lengths = np.diff(starts, append=len(array))
                return np.repeat(self._of_texts(array.take(pa.array(starts))), lengths)
        encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        if self._dictionary is None or not self._dictionary.equals(encoded.dictionary):
            self._dictionary, self._of_dictionary = encoded.dictionary, self._of_texts(encoded.dictionary)
        if len(self._of_dictionary) == 1 and not array.null_count:
            return self._of_dictionary
        codes = encoded.indices.fill_null(0) if array.null_count else encoded.indices
        # With mode="raise" numpy would go through a buffer of its own; Arrow's codes are never out of bounds.
        return np.take(self._of_dictionary, np.asarray(codes), out=work, mode="clip")

    def _of_texts(self, texts: pa.Array) -> Hashes:
        """The hash of each text, whatever else is equal to it."""
        digests = [hashlib.blake2b(text, digest_size=8).digest() for text in texts.cast(pa.binary()).to_pylist()]
        hashes = np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64) * SECOND_SUM + self._salt
        mix(hashes, np.empty_like(hashes))
        return hashes


@lru_cache(maxsize=1024)
def _salt(column: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(column.encode(), digest_size=8).digest(), "little"))


def _fixed_width(array: pa.Array, dtype: str, per_value: int = 1) -> npt.NDArray[Any]:
    """The values of a fixed-width array as they lie in memory, nulls included."""
    start = array.offset * per_value * np.dtype(dtype).itemsize
    return np.frombuffer(array.buffers()[1], dtype=dtype, count=len(array) * per_value, offset=start)


def stamps_of(array: pa.Array) -> npt.NDArray[np.int64]:
    """Instants as microseconds since 1970."""
    return _fixed_width(array, "<i8")


def _multiplied_floats(array: pa.Array, hashes: Hashes) -> None:
    np.multiply(_fixed_width(array, "<u8"), SECOND_SUM, out=hashes)
    is_nan = np.isnan(_fixed_width(array, "<f8"))
    if is_nan.any():
        hashes[is_nan] = _NAN


def _multiplied_decimals(array: pa.Array, hashes: Hashes, spare: Hashes) -> None:
    halves = _fixed_width(array, "<u8", per_value=2).reshape(-1, 2)
    np.multiply(halves[:, 0], SECOND_SUM, out=hashes)
    if halves[:, 1].max():  # some are below zero, or have more than 18 digits
        np.multiply(halves[:, 1], _HIGH_HALF, out=spare)
        np.add(hashes, spare, out=hashes)


def _is_same_word(kind: Kind, array: pa.Array) -> bool:
    """Whether all are one integer or instant, as when rows were ingested."""
    if kind not in {Kind.TIMESTAMP, Kind.INTEGER}:
        return False
    words = _fixed_width(array, "<u8")
    return bool(words[0] == words[-1] and (words == words[0]).all())


def _is_same_text(array: pa.Array) -> bool:
    """Whether all are one text: they are equally long, and the bytes repeat after that length."""
    offsets = np.frombuffer(array.buffers()[1], dtype="<i4", count=len(array) + 1, offset=array.offset * 4)
    length = offsets[1] - offsets[0]
    if offsets[-1] - offsets[0] != length * len(array) or (offsets[1:] - offsets[:-1] != length).any():
        return False
    if not length:
        return True
    letters = np.frombuffer(array.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]]
    return bool((letters[length:] == letters[:-length]).all())


def _starts(array: pa.Array) -> npt.NDArray[np.int64]:
    """Where a value differs from the one before it; none is null."""
    differs = np.asarray(pc.not_equal(array.slice(1), array.slice(0, len(array) - 1)))
    return np.concatenate([[0], np.flatnonzero(differs) + 1])
