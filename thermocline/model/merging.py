"""Streams of rows that are sorted as a file is, as one such stream, in memory that does not depend on their length."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.errors import OutOfOrderError
from thermocline.model.dataset import Dataset, Kind

Integers = npt.NDArray[np.int64]

_COMPARED = {Kind.TEXT, Kind.TIMESTAMP, Kind.INTEGER, Kind.DATE}
_FIRST = np.zeros(1, dtype=np.int64)
_ROWS_A_RUN = 8
_FEWEST = 8192  # rows that are worth to be looked at together
_CODES = 1 << 62  # so many numbers a row's place may be told by


def can_order(dataset: Dataset) -> bool:
    """Whether the order of the dataset's files can be told here: by columns that are never null."""
    columns = [dataset.column(name) for name in dataset.sort]
    return all(column.kind in _COMPARED and not column.nullable for column in columns)


def can_merge(dataset: Dataset) -> bool:
    """Whether rows of one key are always neighbours in the order of files."""
    # Of options the sort begins with the underlying, which a later row of the same contract may change.
    return (
        can_order(dataset) and set(dataset.key) <= {*dataset.sort, "interval"} and set(dataset.sort) <= set(dataset.key)
    )


class Ordered:
    """Passes batches on while their rows come in the order of files, no two of them in one place."""

    def __init__(self, dataset: Dataset) -> None:
        """Nothing has come yet."""
        self._dataset = dataset
        self._last: pa.RecordBatch | None = None

    def check(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Hand a batch on whose rows come after all those before it.

        Raises:
            OutOfOrderError: They don't.
        """
        if batch.num_rows:
            parts = [batch] if self._last is None else [self._last, batch]
            _refuse_disorder(self._dataset, _places(self._dataset, parts))
            self._last = batch.slice(batch.num_rows - 1)
        return batch

    def passed(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The same batches, each checked."""
        return map(self.check, batches)


class _Head:
    """The beginning of what is left of one stream."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._batches = iter(batches)
        self.is_over = False
        self.last: pa.RecordBatch | None = None
        self.rows: pa.RecordBatch | None = None

    def fill(self) -> None:
        """Have rows, if any are left."""
        while self.rows is None and not self.is_over:
            batch = next(self._batches, None)
            self.is_over = batch is None
            self.rows = batch if batch is not None and batch.num_rows else None

    def parts(self, most: int) -> list[pa.RecordBatch]:
        """The row before the first one, if there was one, and the first rows."""
        rows = None if self.rows is None else self.rows.slice(0, most)
        return [part for part in (self.last, rows) if part is not None]

    def take(self, count: int) -> None:
        """The first rows are gone."""
        if self.rows is not None and count:
            self.last = self.rows.slice(count - 1, 1)
            self.rows = self.rows.slice(count) if count < self.rows.num_rows else None


def merged(dataset: Dataset, streams: Sequence[Iterable[pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
    """The rows of sorted streams, sorted; of one key the row with the latest `ingested_at`, then of the last stream.

    A batch of each stream is in memory.

    Raises:
        OutOfOrderError: A stream is not sorted, or has a key twice.
    """
    heads = [_Head(stream) for stream in streams]
    while True:
        for head in heads:
            head.fill()
        ready = [head for head in heads if head.rows is not None]
        if not ready:
            return
        yield from _first(dataset, ready)


def _first(dataset: Dataset, heads: Sequence[_Head]) -> Iterator[pa.RecordBatch]:
    """The rows up to where one of the heads ends: what comes behind can't belong before them."""
    # Of a longer head no more is looked at than of the shortest: what is left over is looked at again the next time.
    most = max(_FEWEST, min(head.rows.num_rows for head in heads if head.rows is not None))
    parts = [part for head in heads for part in head.parts(most)]
    bounds = np.cumsum([0, *(sum(part.num_rows for part in head.parts(most)) for head in heads)])
    places = _places(dataset, parts)
    own = [places[start:stop] for start, stop in pairwise(bounds)]
    for each in own:
        _refuse_disorder(dataset, each)
    own = [each[head.last is not None :] for each, head in zip(own, heads, strict=True)]
    end = min(each[-1] for each in own)
    counts = [int(np.searchsorted(each, end, "right")) for each in own]
    batches = [
        head.rows.slice(0, count) for head, count in zip(heads, counts, strict=True) if head.rows is not None and count
    ]
    firsts = [each[:count] for each, count in zip(own, counts, strict=True) if count]
    for head, count in zip(heads, counts, strict=True):
        head.take(count)
    yield from _joined(batches, np.concatenate(firsts))


def _joined(batches: Sequence[pa.RecordBatch], places: Integers) -> Iterator[pa.RecordBatch]:
    """Batches, whose rows have these places, as one; of one place the row that stays."""
    if len(batches) == 1:
        yield batches[0]
        return
    order = np.argsort(places, kind="stable")  # which finds the runs that are there, and merges them
    same = places[order[1:]] == places[order[:-1]]
    if same.any():
        times = np.concatenate([np.asarray(batch.column("ingested_at").cast(pa.int64())) for batch in batches])
        if (same[1:] & same[:-1]).any():
            order = np.lexsort((times, places))
            same = places[order[1:]] == places[order[:-1]]
        else:
            before, after = order[:-1][same], order[1:][same]
            stays = np.where(times[before] > times[after], before, after)
            order[1:][same] = stays
        keep = np.ones(len(order), dtype=np.bool_)
        keep[:-1] = ~same
        order = order[keep]
    first, start = int(order[0]), 0
    if (order == np.arange(first, first + len(order))).all():
        for batch in batches:
            if start <= first and first + len(order) <= start + batch.num_rows:
                yield batch.slice(first - start, len(order))  # they are neighbours already
                return
            start += batch.num_rows
    yield pa.Table.from_batches(batches).take(pa.array(order)).combine_chunks().to_batches()[0]


def _refuse_disorder(dataset: Dataset, places: Integers) -> None:
    if not (places[1:] > places[:-1]).all():
        msg = f"rows of {dataset.name} are not in the order of files"
        raise OutOfOrderError(msg)


def _places(dataset: Dataset, batches: Sequence[pa.RecordBatch]) -> Integers:
    """For each row of the batches a number that orders it among all of them, as their sort columns do."""
    places = np.zeros(sum(batch.num_rows for batch in batches), dtype=np.int64)
    spans = 1
    for name in dataset.sort:
        values = _numbers(pa.concat_arrays([batch.column(name) for batch in batches]))
        low, high = int(values.min()), int(values.max())
        if (high - low + 1) * spans > _CODES:
            places, spans = _ranks(places)
            if (high - low + 1) * spans > _CODES:
                values, high = _ranks(values)
                low, high = 0, high - 1
        places = places * (high - low + 1) + (values - low)
        spans *= high - low + 1
    return places


def _ranks(values: Integers) -> tuple[Integers, int]:
    distinct, ranks = np.unique(values, return_inverse=True)
    return ranks.astype(np.int64), len(distinct)


def _numbers(array: pa.Array) -> Integers:
    """Whole numbers in the order of the values; texts are ordered by their bytes."""
    if not pa.types.is_string(array.type):
        wide = array.cast(pa.int32()) if pa.types.is_date32(array.type) else array
        return np.asarray(wide.cast(pa.int64())).astype(np.int64, copy=False)
    # Sorted rows have few runs of one text each; to look for where they begin costs less than to encode every row.
    differs = np.asarray(pc.not_equal(array.slice(1), array.slice(0, max(len(array) - 1, 0))))
    starts = np.concatenate([_FIRST, np.flatnonzero(differs) + 1])
    if len(starts) * _ROWS_A_RUN <= len(array):
        return np.repeat(_ranked(array.take(pa.array(starts))), np.diff(starts, append=len(array)))
    return _ranked(array)


def _ranked(texts: pa.Array) -> Integers:
    encoded = texts.dictionary_encode()
    ranks = np.empty(len(encoded.dictionary), dtype=np.int64)
    ranks[np.asarray(pc.array_sort_indices(encoded.dictionary))] = np.arange(len(ranks))
    numbers: Integers = ranks[np.asarray(encoded.indices)]
    return numbers
