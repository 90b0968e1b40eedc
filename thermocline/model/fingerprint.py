"""An order-independent fingerprint of rows, the same for every store.

Each value that is not null becomes 64 bits, mixed with a salt made of its column's name; a row is the mixed sum of its
values; a set of rows is the sum of its rows modulo 2**64, twice over with different mixing, so 128 bits in all. A sum
(and not an XOR) notices a row that is doubled while another goes missing. A null adds nothing, so a nullable column
that a later schema adds leaves the fingerprints of older rows as they are. Floats count by their bits: -0.0 differs
from 0.0, and every NaN is one NaN.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from thermocline.errors import SchemaError
from thermocline.model.dataset import PROVENANCE, Dataset, Kind
from thermocline.model.receipt import Contents
from thermocline.model.value_hashes import BLOCK_ROWS, SECOND_SUM, Hashes, RowHasher, mix, scratch_for, stamps_of

Integers = npt.NDArray[np.int64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAY_MICROSECONDS = 86_400_000_000
_FIRST = np.zeros(1, dtype=np.int64)
_NONE_YET = np.iinfo(np.int64)
_AS_READ = pa.dictionary(pa.int32(), pa.string())  # a text as Parquet files keep it


def row_hashes(dataset: Dataset, names: Iterable[str], batch: pa.RecordBatch) -> Hashes:
    """Sixty-four bits for what each row says in those columns; a column that the batch lacks counts as null."""
    columns = [dataset.column(name) for name in names]
    hasher, hashes = RowHasher(columns), np.zeros(batch.num_rows, dtype=np.uint64)
    scratch = scratch_for(batch.num_rows, len(columns))
    for start in range(0, batch.num_rows, BLOCK_ROWS):
        block = batch.slice(start, BLOCK_ROWS)
        sums = hashes[start : start + BLOCK_ROWS]
        hasher.add_to(sums, _columns(block), scratch)
        mix(sums, scratch[0, : len(sums)])
    return hashes


class _Tally:
    """Sums of the hashes of rows, and what else `Contents` tells of them, for each of some groups of rows."""

    def __init__(self, dataset: Dataset, groups: int) -> None:
        self._dataset = dataset
        self._content = RowHasher(column for column in dataset.columns if column.name not in PROVENANCE)
        self._provenance = RowHasher(column for column in dataset.columns if column.name in PROVENANCE)
        self._scratch = scratch_for(0, 0)
        self.rows = np.zeros(groups, dtype=np.int64)
        self._sums = np.zeros((2, 2, groups), dtype=np.uint64)  # of content and of all columns, each mixed twice over
        self._nulls = {c.name: np.zeros(groups, dtype=np.int64) for c in dataset.columns if c.nullable}
        self._min_ts = np.full(groups, _NONE_YET.max)
        self._max_ts = np.full(groups, _NONE_YET.min)

    def blocks(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """The batch in pieces to be added.

        Raises:
            SchemaError: A column is not of the type that the dataset's schema gives it.
        """
        if not batch.schema.equals(self._dataset.arrow_schema):
            self._check(batch.schema)
        self._scratch = scratch_for(batch.num_rows, len(self._dataset.columns), self._scratch)
        for start in range(0, batch.num_rows, BLOCK_ROWS):
            yield batch.slice(start, BLOCK_ROWS)

    def _check(self, schema: pa.Schema) -> None:
        given = dict(zip(schema.names, schema.types, strict=True))
        for column, expected in zip(self._dataset.columns, self._dataset.arrow_schema, strict=True):
            found = given.get(column.name)
            is_encoded = column.kind is Kind.TEXT and found == _AS_READ
            is_lacking = found is None and column.nullable
            if not (found == expected.type or is_encoded or is_lacking):
                msg = (
                    f"{self._dataset.name}: column {column.name} is {found or 'missing'} where only {expected.type} "
                    "can be fingerprinted"
                )
                raise SchemaError(msg)

    def add(self, block: pa.RecordBatch, starts: Integers, groups: Integers) -> None:
        """Count in the rows of a block: the run of rows from each start to the next belongs to one group."""
        columns = _columns(block)
        lengths = np.concatenate([starts[1:], [block.num_rows]]) - starts
        np.add.at(self.rows, groups, lengths)
        stamps = stamps_of(columns["ts"])
        np.minimum.at(self._min_ts, groups, np.minimum.reduceat(stamps, starts))
        np.maximum.at(self._max_ts, groups, np.maximum.reduceat(stamps, starts))
        for name, nulls in self._nulls.items():
            missing = columns[name].null_count if name in columns else block.num_rows
            if missing == block.num_rows:
                np.add.at(nulls, groups, lengths)
            elif missing:
                is_null = np.asarray(columns[name].is_null())
                np.add.at(nulls, groups, np.add.reduceat(is_null, starts, dtype=np.int64))
        self._add_hashes(columns, starts, groups)

    def _add_hashes(self, columns: Mapping[str, pa.Array], starts: Integers, groups: Integers) -> None:
        hashes = np.zeros((2, len(columns["ts"])), dtype=np.uint64)
        content, whole = hashes
        self._content.add_to(content, columns, self._scratch)
        np.copyto(whole, content)
        self._provenance.add_to(whole, columns, self._scratch)
        spare = self._scratch.ravel()[: hashes.size].reshape(hashes.shape)
        for times in range(2):
            mix(hashes, spare)
            for sums, added in zip(self._sums[:, times], np.add.reduceat(hashes, starts, axis=1), strict=True):
                np.add.at(sums, groups, added)
            np.bitwise_xor(hashes, SECOND_SUM, out=hashes)

    def contents(self, group: int) -> Contents:
        """What a group contains."""
        halves = [f"{half:016x}" for half in self._sums[:, :, group].ravel().tolist()]
        rows = int(self.rows[group])
        return Contents(
            rows=rows,
            min_ts=_instant(int(self._min_ts[group])) if rows else None,
            max_ts=_instant(int(self._max_ts[group])) if rows else None,
            null_counts={name: int(nulls[group]) for name, nulls in self._nulls.items() if nulls[group]},
            fingerprint="".join(halves[2:]),
            content_fingerprint="".join(halves[:2]),
        )


class Fingerprinter:
    """Takes batches of one dataset's rows, in any order and any cut, and says what they contained.

    Cost: about 0.05 s per million bars, a block of rows after the other, in 2 MiB of memory.
    """

    def __init__(self, dataset: Dataset) -> None:
        """Start with no rows."""
        self._tally = _Tally(dataset, 1)

    def update(self, batch: pa.RecordBatch) -> None:
        """Count a batch in. Nullable columns that it lacks count as null; text may come encoded as a dictionary.

        Raises:
            SchemaError: A column is not of the type that the dataset's schema gives it.
        """
        for block in self._tally.blocks(batch):
            self._tally.add(block, _FIRST, _FIRST)

    def contents(self) -> Contents:
        """What was counted in so far."""
        return self._tally.contents(0)


def contents_of(dataset: Dataset, batches: Iterable[pa.RecordBatch]) -> Contents:
    """What the batches contain; see `Fingerprinter`."""
    fingerprinter = Fingerprinter(dataset)
    for batch in batches:
        fingerprinter.update(batch)
    return fingerprinter.contents()


class DailyFingerprinter:
    """Takes batches as a `Fingerprinter` does, and says of each of some days what they contained of it.

    Neighbouring rows of one day are summed up together, so that sorted rows cost no more than those of a single day.
    """

    def __init__(self, dataset: Dataset, days: Sequence[date]) -> None:
        """Start with no rows."""
        numbers = np.array([day.toordinal() - _EPOCH_DAY for day in days], dtype=np.int64)
        self._days, self._places = np.unique(numbers, return_inverse=True)
        self._tally = _Tally(dataset, len(self._days) + 1)

    @property
    def rows_of_other_days(self) -> int:
        """How many rows belong to none of the days."""
        return int(self._tally.rows[-1])

    def update(self, batch: pa.RecordBatch) -> None:
        """Count a batch in, each row for its day."""
        for block in self._tally.blocks(batch):
            found = stamps_of(block.column("ts")) // _DAY_MICROSECONDS
            starts = np.concatenate([_FIRST, np.flatnonzero(found[1:] != found[:-1]) + 1])
            groups = np.searchsorted(self._days, found[starts])
            is_other = self._days[np.minimum(groups, len(self._days) - 1)] != found[starts]
            self._tally.add(block, starts, np.where(is_other, len(self._days), groups))

    def contents(self) -> list[Contents]:
        """What was counted in so far, in the order of the days."""
        return [self._tally.contents(place) for place in self._places]


def contents_by_day(dataset: Dataset, batches: Iterable[pa.RecordBatch], days: Sequence[date]) -> list[Contents]:
    """What the batches contain of each of the days; rows of other days are not counted."""
    fingerprinter = DailyFingerprinter(dataset, days)
    for batch in batches:
        fingerprinter.update(batch)
    return fingerprinter.contents()


def _columns(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    return dict(zip(batch.schema.names, batch.columns, strict=True))


def _instant(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
