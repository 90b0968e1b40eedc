"""How a lake is read: by queries, whole objects to be sure of them, and what an object is found to be."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa

from thermocline.errors import LakeError, UsageError
from thermocline.model.aggregates import Aggregation
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import dataset_named
from thermocline.model.fingerprint import contents_by_day, contents_of
from thermocline.model.partition import Partition, is_of, partitions_of
from thermocline.model.paths import holds_one_day, parse_object_path, spans_a_year
from thermocline.model.query import Query, Segment
from thermocline.model.receipt import Contents, Receipt, StoredObject, Vintage
from thermocline.model.row_groups import RowGroups
from thermocline.ports import Changes, Located, Objects, Traffic
from thermocline.stores import duckdb_aggregate, duckdb_scan
from thermocline.stores.ahead import ahead
from thermocline.stores.archives import ArchiveWatch
from thermocline.stores.changes import changes
from thermocline.stores.duckdb import Engine
from thermocline.stores.duckdb_sql import exact
from thermocline.stores.parquet import IN_MEMORY_BYTES, copy_hashing, decode, temporary_file
from thermocline.stores.range_reader import ExactPaths
from thermocline.stores.results import Results, key_of
from thermocline.stores.row_groups import Footers

if TYPE_CHECKING:
    from datetime import date

_FOOTERS_AT_ONCE = 16  # a bucket takes long to answer and does not mind; a disk gains nothing
_WORTH_A_THREAD = 256 << 10  # bytes; a smaller file is decoded before a thread has started
_RESTORE = "restore it from a copy, or backfill that day from its source with --repair; other days are not touched"


class Reading:
    """What `ParquetLake` does to read. Queries go to DuckDB; what has to be sure reads an object's bytes itself."""

    def __init__(self, objects: Objects, engine: Engine, watch: ArchiveWatch, results: Results) -> None:
        """Put the parts together; nothing is opened yet."""
        self._objects, self._watch, self._results = objects, watch, results
        self._engine = replace(engine, filesystem=lambda: objects.filesystem)
        self._footers = Footers(self._seekable, at_once=lambda: 1 if objects.filesystem is None else _FOOTERS_AT_ONCE)
        self._temp_dir = str(engine.temp_dir) if engine.temp_dir else None

    def scan(
        self, query: Query, segment: Segment, late: pa.Table | None = None
    ) -> AbstractContextManager[pa.RecordBatchReader]:
        """See `Lake.scan`."""
        if not self._may_keep(query.dataset, segment, late):
            return duckdb_scan.scan(self._engine, query, segment, self.locations, late)
        schema = pa.schema([query.dataset.column(name).arrow_field for name in query.names])
        return self._results.stream(
            key_of(query, segment), schema, lambda: duckdb_scan.scan(self._engine, query, segment, self.locations)
        )

    def aggregate(
        self, asked: Aggregation, segment: Segment, late: pa.Table | None = None
    ) -> AbstractContextManager[pa.RecordBatchReader]:
        """See `Lake.aggregate`."""
        opened = partial(duckdb_aggregate.aggregate, self._engine, asked, segment, self.locations)
        if not self._may_keep(asked.query.dataset, segment, late):
            return opened(late)
        return self._results.stream(
            key_of(replace(asked.query, columns=(), limit=None), segment, *asked.told), asked.partial_schema, opened
        )

    def _may_keep(self, dataset: Dataset, segment: Segment, late: pa.Table | None) -> bool:
        """Late rows come and go without any vintage telling: where a day has some, nothing is kept or looked up."""
        if not (self._results.keeps and segment.vintages):
            return False
        of_these_days = duckdb_scan.late_of(dataset, segment, late)
        return of_these_days is None or not of_these_days.num_rows

    @property
    def kept_answers(self) -> Results:
        """See `Lake.kept_answers`."""
        return self._results

    def row_groups(self, query: Query, receipts: Iterable[Receipt]) -> RowGroups:
        """See `Lake.row_groups`. Footers are read once, and kept."""
        return self._footers.counted(query, receipts)

    def traffic(self) -> Traffic | None:
        """See `Lake.traffic`."""
        filesystem = self._objects.filesystem
        return filesystem.traffic if isinstance(filesystem, ExactPaths) else None

    @contextmanager
    def changes(self, old: Vintage, new: Vintage) -> Iterator[Changes]:
        """See `Lake.changes`."""
        dataset = dataset_named(old.partition.dataset)
        with (
            self.readable([old.receipt, new.receipt]),
            changes(self._engine, dataset, self.locations([old]), self.locations([new])) as found,
        ):
            yield found

    def read(self, receipt: Receipt, *, encoded: bool = False) -> Iterator[pa.RecordBatch]:
        """See `Lake.read`."""
        dataset = dataset_named(receipt.partition.dataset)
        with self._watch.telling([receipt]), self._opened(receipt.path) as stream:
            for batch in decode(dataset, stream, self._objects.location(receipt.path), encoded=encoded):
                if holds_one_day(receipt.path):
                    yield batch
                elif len(of_day := batch.filter(is_of(batch, receipt.partition))):
                    yield of_day

    def observe(self, *receipts: Receipt) -> list[Receipt]:
        """See `Lake.observe`. The bytes that are hashed are the very bytes that are decoded."""
        first = receipts[0]
        dataset = dataset_named(first.partition.dataset)
        with self._watch.telling(receipts), temporary_file(self._temp_dir) as copy:
            sha256, size_bytes, etag = self._fetched(first.path, copy)
            # Of a small file PyArrow reads more through a stream of Python's than in it.
            source = pa.BufferReader(copy.read()) if size_bytes <= IN_MEMORY_BYTES else copy
            batches = decode(dataset, source, self._objects.location(first.path), encoded=True)
            if size_bytes > _WORTH_A_THREAD:
                batches = ahead(batches)
            if holds_one_day(first.path):
                contents = [contents_of(dataset, batches)] * len(receipts)
            else:
                contents = contents_by_day(dataset, batches, [receipt.partition.day for receipt in receipts])
        return [
            replace(receipt, sha256=sha256, size_bytes=size_bytes, etag=etag, contents=found)
            for receipt, found in zip(receipts, contents, strict=True)
        ]

    def identify(self, dataset: Dataset, path: str, *, run_id: str) -> list[Receipt]:
        """See `Lake.identify`. The version of a day in a shared object is the newest that had an object of its own."""
        days = [parse_object_path(path)] if holds_one_day(path) else self._days_of(dataset, path)
        nothing = Contents(0, None, None, {}, "", "")
        version = dataset.schema_version
        return self.observe(*(Receipt(p, number, path, 0, "", "", version, run_id, nothing) for p, number in days))

    def _days_of(self, dataset: Dataset, path: str) -> list[tuple[Partition, int]]:
        """The partitions in a shared object, and of each the newest version that ever had an object of its own."""
        with temporary_file(self._temp_dir) as copy:
            self._fetched(path, copy)
            batches = decode(dataset, copy, self._objects.location(path))
            columns = ["ts", "interval"] if dataset.has_intervals else ["ts"]
            found = {p for batch in batches for p in partitions_of(dataset, pa.table(batch.select(columns)))}
        versions = dict.fromkeys(sorted(found), 1)
        for own in self._objects.list(f"{path.rpartition('/')[0]}/"):
            with suppress(UsageError):
                partition, version = parse_object_path(own)
                if partition in versions:
                    versions[partition] = max(versions[partition], version)
        return list(versions.items())

    def states(self, paths: Collection[str], *, exact: bool = False) -> list[StoredObject]:
        """See `Lake.states`."""
        return self._watch.states(paths, exact=exact)

    def archived(
        self, receipts: Iterable[Receipt], *, beyond_policy: bool = False, anew: bool = False
    ) -> list[StoredObject]:
        """See `Lake.archived`."""
        return self._watch.archived(receipts, beyond_policy=beyond_policy, anew=anew)

    def readable(self, receipts: Iterable[Receipt]) -> AbstractContextManager[None]:
        """See `Lake.readable`."""
        return self._watch.readable(receipts)

    def locations(self, vintages: Iterable[Vintage]) -> list[Located]:
        """See `Lake.locations`. On a local disk, characters that DuckDB takes for a pattern are bracketed."""
        return self._located(vintage.receipt for vintage in vintages)

    def _located(self, receipts: Iterable[Receipt]) -> list[Located]:
        is_local = self._objects.filesystem is None
        days: dict[str, list[date]] = {}
        evolved: set[str] = set()
        for receipt in receipts:
            named = days.setdefault(receipt.path, [])
            if not holds_one_day(receipt.path):
                named.append(receipt.partition.day)
            if receipt.schema_version != dataset_named(receipt.partition.dataset).schema_version:
                evolved.add(receipt.path)
        return [
            Located(
                exact(self._objects.location(path), is_local=is_local),
                tuple(sorted(named)),
                evolved=path in evolved,
                spans_a_year=spans_a_year(path),
            )
            for path, named in days.items()
        ]

    def _fetched(self, path: str, copy: BinaryIO) -> tuple[str, int, str]:
        with self._opened(path) as stream:
            try:
                sha256, size_bytes = copy_hashing(stream, copy)
                etag = self._objects.stat(path).etag
            except OSError as error:
                msg = f"{self._objects.location(path)} can't be read: {error.strerror or error}; {_RESTORE}"
                raise LakeError(msg) from error
        copy.seek(0)
        return sha256, size_bytes, etag

    def _opened(self, path: str) -> BinaryIO:
        try:
            return self._objects.open(path)
        except FileNotFoundError as error:
            msg = f"{self._objects.location(path)} is missing; {_RESTORE}"
            raise LakeError(msg) from error

    def _seekable(self, path: str) -> BinaryIO:
        """A reader that asks for no more of an object than is read of it."""
        filesystem = self._objects.filesystem
        if filesystem is None:
            return self._objects.open(path)
        stream: BinaryIO = filesystem.open(self._objects.location(path), "rb")
        return stream
