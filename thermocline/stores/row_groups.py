"""Which row groups a query reads, by the statistics in the footers of objects; footers are kept."""

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from thermocline.errors import LakeError
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import dataset_named
from thermocline.model.partition import ONE_DAY, midnight
from thermocline.model.query import Query
from thermocline.model.receipt import Receipt
from thermocline.model.row_groups import RowGroups

_KEPT = 5_000
"""Row groups whose columns are remembered: some ten MiB."""


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group: the least and the greatest value of a column where that is known, and where each column lies."""

    bounds: Mapping[str, tuple[Any, Any]]
    columns: Mapping[str, range]

    def may_hold(self, query: Query, days: Sequence[date]) -> bool:
        """Whether its statistics allow for rows of the query on one of the days."""
        first, end = midnight(min(days)), midnight(max(days) + ONE_DAY)
        start, end = max(query.start or first, first), min(query.end or end, end)
        least, greatest = self.bounds.get("ts", (start, start))
        if start >= end or greatest < start or least >= end:
            return False
        if query.symbols and (known := self.bounds.get(query.dataset.symbol_column)):
            return any(known[0] <= symbol <= known[1] for symbol in query.symbols)
        return True


class Footers:
    """What the footers of objects say, read when it is asked for and kept: an object never changes."""

    def __init__(self, opened: Callable[[str], BinaryIO], *, at_once: Callable[[], int]) -> None:
        """`opened` opens an object by its path; `at_once` says how many are read at a time, once one is."""
        self._opened, self._at_once = opened, at_once
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], list[RowGroup]] = OrderedDict()
        self._count = 0

    def counted(self, query: Query, receipts: Iterable[Receipt]) -> RowGroups:
        """See `Lake.row_groups`."""
        needed = needed_columns(query)
        found = RowGroups(0, 0, 0)
        for groups, days in self.of(receipts):
            left = [group for group in groups if group.may_hold(query, days)]
            size = sum(len(group.columns[name]) for group in left for name in needed if name in group.columns)
            found += RowGroups(len(groups), len(left), size)
        return found

    def of(self, receipts: Iterable[Receipt]) -> Iterator[tuple[Sequence[RowGroup], Sequence[date]]]:
        """The row groups of each object that receipts name, and the days that they name it for.

        Raises:
            LakeError: An object is missing or damaged, or lies in an archive.
        """
        days: dict[tuple[str, int], list[date]] = defaultdict(list)
        of_dataset: dict[str, Dataset] = {}
        for receipt in receipts:
            days[receipt.path, receipt.size_bytes].append(receipt.partition.day)
            of_dataset[receipt.path] = dataset_named(receipt.partition.dataset)
        with self._lock:
            missing = [key for key in days if key not in self._kept]
        read: dict[tuple[str, int], list[RowGroup]] = {}
        if missing:
            with ThreadPoolExecutor(min(self._at_once(), len(missing)), "thermocline-footers") as threads:
                found = threads.map(lambda key: self._read(key[0], of_dataset[key[0]]), missing)
                read = dict(zip(missing, found, strict=True))
        for key, named in days.items():
            yield read[key] if key in read else self._recalled(key, of_dataset[key[0]]), named
        for key, groups in read.items():
            self._keep(key, groups)

    def _recalled(self, key: tuple[str, int], dataset: Dataset) -> list[RowGroup]:
        with self._lock:
            if (kept := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return kept
        return self._read(key[0], dataset)  # others pushed it out just now

    def _read(self, path: str, dataset: Dataset) -> list[RowGroup]:
        try:
            with self._opened(path) as stream, pq.ParquetFile(stream) as file:
                return _groups(file.metadata, dataset)
        except (OSError, pa.ArrowException) as error:
            msg = f"{path} can't be looked at: {error}; run `thermocline verify` to see what is missing or damaged"
            raise LakeError(msg) from error

    def _keep(self, key: tuple[str, int], groups: list[RowGroup]) -> None:
        with self._lock:
            if key not in self._kept:
                self._count += len(groups)
            self._kept[key] = groups
            while self._count > _KEPT:
                self._count -= len(self._kept.popitem(last=False)[1])


def needed_columns(query: Query) -> frozenset[str]:
    """The columns that a query reads: those of the answer, and what it is filtered and ordered by."""
    symbol = (query.dataset.symbol_column,) if query.symbols else ()
    return frozenset((*query.names, *query.order, "ts", *symbol))


def _groups(metadata: pq.FileMetaData, dataset: Dataset) -> list[RowGroup]:
    found = []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = [group.column(position) for position in range(group.num_columns)]
        bounds = {
            chunk.path_in_schema: (chunk.statistics.min, chunk.statistics.max)
            for chunk in chunks
            if chunk.path_in_schema in {"ts", dataset.symbol_column}
            and chunk.statistics is not None
            and chunk.statistics.has_min_max
        }
        found.append(RowGroup(bounds, {chunk.path_in_schema: _extent(chunk) for chunk in chunks}))
    return found


def _extent(chunk: pq.ColumnChunkMetaData) -> range:
    start = min(offset for offset in (chunk.dictionary_page_offset, chunk.data_page_offset) if offset is not None)
    return range(start, start + chunk.total_compressed_size)
