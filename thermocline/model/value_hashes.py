"""Sixty-four bits for every value of a column.

What comes out is fixed for ever: receipts hold sums of it. A value becomes 64 bits by its kind (a text by BLAKE2b), is
multiplied, gets a salt made of its column's name added, and is mixed by the finaliser of splitmix64
(https://prng.di.unimi.it/splitmix64.c, read 2026-11). All of it is arithmetic modulo 2**64.
"""

import hashlib
from collections.abc import Iterable, Mapping
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
_ALL_BITS = 2**64 - 1
_FEW_ROWS = 128  # up to which hashing each value beats looking for equal ones
_NAME_LENGTH = 64
_ROWS_A_RUN = 8  # from there on, looking for where runs begin beats a hash table


def mix(values: Hashes, spare: Hashes) -> None:
    """Mix in place; `spare`, of the same length, is overwritten."""
    for shift, factor in _ROUNDS:
        np.right_shift(values, shift, out=spare)
        np.bitwise_xor(values, spare, out=values)
        np.multiply(values, factor, out=values)
    np.right_shift(values, _LAST_SHIFT, out=spare)
    np.bitwise_xor(values, spare, out=values)


def scratch_for(rows: int, columns: int, earlier: Hashes | None = None) -> Hashes:
    """Scratch for a `RowHasher`: for all columns of few rows, or a block of one; the `earlier` where that suffices."""
    words = min(rows * max(columns, 1), BLOCK_ROWS)
    return np.empty((2, words), dtype=np.uint64) if earlier is None or earlier.shape[1] < words else earlier


class _Waiting:
    """Values of some columns that wait to be mixed and added, as many at once as there is scratch for.

    So a block of few rows costs a few calls of numpy, and one of many stays in the cache, a column after the other.
    """

    def __init__(self, sums: Hashes, scratch: Hashes) -> None:
        rows = len(sums)
        at_once = scratch.shape[1] // rows
        self._sums = sums
        self._words, self.spare = scratch[:, : at_once * rows].reshape(2, at_once, rows)
        self._salts: list[int] = []
        self._nulls: list[tuple[int, pa.Array]] = []

    def add(self, kind: Kind, salt: int, array: pa.Array) -> None:
        place = len(self._salts)
        _multiplied(kind, array, self._words[place], self.spare[place])
        self._salts.append(salt)
        if array.null_count:
            self._nulls.append((place, array))
        if len(self._salts) == len(self._words):
            self.mix()

    def mix(self) -> None:
        if not (count := len(self._salts)):
            return
        hashes = self._words[:count]
        np.add(hashes, np.array(self._salts, dtype=np.uint64).reshape(-1, 1), out=hashes)
        mix(hashes, self.spare[:count])
        for place, array in self._nulls:
            hashes[place][np.asarray(array.is_null())] = 0
        np.add(self._sums, hashes[0] if count == 1 else np.add.reduce(hashes), out=self._sums)
        self._salts, self._nulls = [], []


class RowHasher:
    """Hashes the values of some columns, block after block, and sums them up by row. A null has the hash 0."""

    def __init__(self, columns: Iterable[Column]) -> None:
        """Make the columns' salts."""
        self._columns = {column.name: (column.kind, _salt(column.name)) for column in columns}
        self._dictionaries: dict[str, tuple[pa.Array, Hashes]] = {}

    def add_to(self, sums: Hashes, columns: Mapping[str, pa.Array], scratch: Hashes) -> None:
        """Add each row's hashes to its sum; a column that is not given is null.

        `scratch`, with two words for each row or more, is overwritten.
        """
        waiting = _Waiting(sums, scratch)
        is_large = len(sums) > _FEW_ROWS
        same = 0
        for name, (kind, salt) in self._columns.items():
            array = columns.get(name)
            if array is None or array.null_count == len(array):
                continue
            if is_large and (word := _same_word(kind, array)) is not None:
                same += _mixed(word * int(SECOND_SUM) + salt)
            elif is_large and kind is Kind.TEXT:
                self._add_texts(sums, name, array, waiting.spare[0])
            else:
                waiting.add(kind, salt, array)
        waiting.mix()
        if same:
            np.add(sums, np.uint64(same & _ALL_BITS), out=sums)

    def _add_texts(self, sums: Hashes, name: str, array: pa.Array, work: Hashes) -> None:
        """Add the hashes of texts, of which each is worked out once where many are equal."""
        _, salt = self._columns[name]
        if not array.null_count and pa.types.is_string(array.type):
            starts = _starts(array)
            if len(starts) * _ROWS_A_RUN <= len(array):
                lengths = np.concatenate([starts[1:], [len(array)]]) - starts
                np.add(sums, np.repeat(_of_texts(array.take(pa.array(starts)), salt), lengths), out=sums)
                return
        encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        dictionary, hashes = self._dictionaries.get(name, (None, work))
        if dictionary is None or not dictionary.equals(encoded.dictionary):
            hashes = _of_texts(encoded.dictionary, salt)
            self._dictionaries[name] = encoded.dictionary, hashes
        codes = encoded.indices.fill_null(0) if array.null_count else encoded.indices
        # With mode="raise" numpy would go through a buffer of its own; Arrow's codes are never out of bounds.
        np.take(hashes, np.asarray(codes), out=work, mode="clip")
        if array.null_count:
            work[np.asarray(array.is_null())] = 0
        np.add(sums, work, out=sums)


@lru_cache(maxsize=1024)
def _salt(column: str) -> int:
    return _digest(column)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


_digest_of_name = lru_cache(maxsize=16_384)(_digest)  # symbols and such, which come again in every block


def _word_of(text: str | None) -> int:
    """A text as a word; any for a null, which nobody asks for."""
    if text is None:
        return 0
    return _digest_of_name(text) if len(text) <= _NAME_LENGTH else _digest(text)


def _of_texts(texts: pa.Array, salt: int) -> Hashes:
    """The hash of each text, whatever else is equal to it."""
    hashes = np.fromiter(map(_word_of, texts.to_pylist()), np.uint64, len(texts)) * SECOND_SUM + np.uint64(salt)
    mix(hashes, np.empty_like(hashes))
    return hashes


def _mixed(word: int) -> int:
    """What `mix` makes of one word."""
    word &= _ALL_BITS
    for shift, factor in _ROUNDS:
        word = (word ^ word >> int(shift)) * int(factor) & _ALL_BITS
    return word ^ word >> int(_LAST_SHIFT)


def _multiplied(kind: Kind, array: pa.Array, hashes: Hashes, spare: Hashes) -> None:
    match kind:
        case Kind.TEXT:
            _multiplied_texts(array, hashes)
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


def _multiplied_texts(array: pa.Array, hashes: Hashes) -> None:
    if pa.types.is_dictionary(array.type):
        words = np.fromiter(map(_word_of, array.dictionary.to_pylist()), np.uint64, len(array.dictionary))
        codes = array.indices.fill_null(0) if array.null_count else array.indices
        np.take(words, np.asarray(codes), out=hashes, mode="clip")
    else:
        hashes[:] = np.fromiter(map(_word_of, array.to_pylist()), np.uint64, len(array))
    np.multiply(hashes, SECOND_SUM, out=hashes)


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


def _same_word(kind: Kind, array: pa.Array) -> int | None:
    """The word that all values are, where they are one text, integer or instant, as when rows were ingested."""
    if array.null_count:
        return None
    if kind is Kind.TEXT:
        is_same = len(array.dictionary) == 1 if pa.types.is_dictionary(array.type) else _is_same_text(array)
        return _word_of(array[0].as_py()) if is_same else None
    if kind not in {Kind.TIMESTAMP, Kind.INTEGER}:
        return None
    words = _fixed_width(array, "<u8")
    return int(words[0]) if words[0] == words[-1] and (words == words[0]).all() else None


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
