"""The cold tier: Parquet objects in a store of objects, and the table over them in a catalog."""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from typing import BinaryIO, Protocol, Self

import pyarrow as pa

from thermocline.errors import (
    CatalogConflictError,
    LakeError,
    ObjectExistsError,
    UsageError,
)
from thermocline.faults import Step, step
from thermocline.model.aggregates import Aggregation
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import dataset_named
from thermocline.model.fingerprint import contents_by_day, contents_of
from thermocline.model.journal import Entry, Event, Journal, entries_of
from thermocline.model.partition import Partition, is_of, partitions_of
from thermocline.model.paths import (
    has_rows,
    holds_one_day,
    journal_prefix,
    object_path,
    parse_object_path,
    shared_path,
    shared_version,
    spans_a_year,
    table_location,
)
from thermocline.model.prices import PriceBook
from thermocline.model.query import Query, Segment
from thermocline.model.receipt import Contents, Receipt, StoredObject, Vintage
from thermocline.model.recovery import TableVersion
from thermocline.model.retention import Landing, RetentionPolicy
from thermocline.model.row_groups import RowGroups
from thermocline.model.schema import Schema
from thermocline.model.storage_classes import COMPRESSED, Provider
from thermocline.ports import Catalog, Changes, Classes, Located, Objects, Traffic
from thermocline.stores import duckdb, duckdb_aggregate, noted_schemas
from thermocline.stores.ahead import ahead
from thermocline.stores.archives import ArchiveWatch
from thermocline.stores.changes import changes
from thermocline.stores.duckdb import Engine
from thermocline.stores.journal import JournalFiles
from thermocline.stores.pages import LakePageStore
from thermocline.stores.parquet import EncodedFile, copy_hashing, decode, encode, encode_shared, temporary_file
from thermocline.stores.range_reader import ExactPaths
from thermocline.stores.results import Results, key_of
from thermocline.stores.retrying import RetryingObjects
from thermocline.stores.row_groups import Footers

_FOOTERS_AT_ONCE = 16  # a bucket takes long to answer and does not mind; a disk gains nothing


class ClosableCatalog(Catalog, Protocol):
    """A catalog that may hold connections."""

    def close(self) -> None:
        """Give them back."""
        ...


class ParquetLake:
    """The port `Lake` over any `Objects` and `Catalog`. Many threads may call `write`, `observe` and `read`."""

    def __init__(
        self,
        objects: Objects,
        catalog: ClosableCatalog,
        engine: Engine | None = None,
        *,
        policy: RetentionPolicy | None = None,
        prices: Callable[[], PriceBook] | None = None,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
        results: Results | None = None,
    ) -> None:
        """Put the parts together; nothing is opened yet.

        Where the store has storage classes, an object is written into the one that is due for its rows by the policy.
        `prices` finds what is said of archived objects. `results` keeps answers; without it none is kept.
        """
        self._results = results or Results()
        self._policy, self._today = policy or RetentionPolicy(), today
        self._objects, self._catalog = objects, catalog
        self._watch = ArchiveWatch(objects, self._policy, today, prices)
        self._engine = replace(engine or Engine(), filesystem=lambda: objects.filesystem)
        self._footers = Footers(self._seekable, at_once=lambda: 1 if objects.filesystem is None else _FOOTERS_AT_ONCE)
        self._temp_dir = str(self._engine.temp_dir) if self._engine.temp_dir else None

    def __enter__(self) -> Self:
        """Hand the lake over."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Give connections and memory back. The lake takes them again when it is used again."""
        self._catalog.close()
        self._results.close()
        self._engine.close()

    @property
    def url(self) -> str:
        """See `Lake.url`."""
        return self._objects.url

    @property
    def objects(self) -> Objects:
        """The objects that the lake is made of."""
        return self._objects

    @property
    def engine(self) -> Engine:
        """How DuckDB opens this lake's locations."""
        return self._engine

    @property
    def classes(self) -> Classes | None:
        """See `Lake.classes`."""
        return self._objects.classes

    def survey(self, dataset: Dataset) -> Iterator[StoredObject]:
        """See `Lake.survey`."""
        return (stored for stored in self.stored(f"{table_location(dataset.name)}/year=") if has_rows(stored.path))

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

    @property
    def page_store(self) -> LakePageStore:
        """See `Lake.page_store`."""
        return LakePageStore(self._objects)

    def run(self, run_id: str) -> AbstractContextManager[object]:
        """See `Lake.run`. Objects that don't repeat requests have no budget."""
        return self._objects.run(run_id) if isinstance(self._objects, RetryingObjects) else nullcontext()

    def write(
        self,
        partition: Partition,
        version: int,
        batches: Iterable[pa.RecordBatch],
        *,
        run_id: str,
        storage_class: str = "",
    ) -> Receipt:
        """See `Lake.write`."""
        compressed = self._compresses(partition, storage_class)
        with encode(partition, batches, compressed=compressed, directory=self._temp_dir) as file:
            version, stored = self._stored(partition, version, file)
            return Receipt(
                partition=partition,
                version=version,
                path=stored.path,
                size_bytes=file.size_bytes,
                sha256=file.sha256,
                etag=stored.etag,
                schema_version=dataset_named(partition.dataset).schema_version,
                run_id=run_id,
                contents=file.contents,
            )

    def combine(self, receipts: Sequence[Receipt], *, storage_class: str = "") -> list[Receipt]:
        """See `Lake.combine`."""
        first = receipts[0].partition
        if len({(*receipt.partition.series, receipt.partition.day.year) for receipt in receipts}) != 1:
            msg = f"only days of one interval and year can share an object, not {first} with all the others"
            raise LakeError(msg)
        dataset, partitions = dataset_named(first.dataset), [receipt.partition for receipt in receipts]
        compressed = self._compresses(max(partitions), storage_class)
        with (
            self._watch.telling(receipts),
            duckdb.sorted_rows(self._engine, dataset, self._located(receipts)) as batches,
            encode_shared(partitions, batches, compressed=compressed, directory=self._temp_dir) as file,
        ):
            stored = self._stored_shared(partitions, file)
            return [
                replace(
                    receipt,
                    path=stored.path,
                    size_bytes=file.size_bytes,
                    sha256=file.sha256,
                    etag=stored.etag,
                    contents=contents,
                )
                for receipt, contents in zip(receipts, file.by_day, strict=True)
            ]

    def observe(self, *receipts: Receipt) -> list[Receipt]:
        """See `Lake.observe`. The bytes that are hashed are the very bytes that are decoded."""
        first = receipts[0]
        dataset = dataset_named(first.partition.dataset)
        with self._watch.telling(receipts), temporary_file(self._temp_dir) as copy:
            sha256, size_bytes, etag = self._fetched(first.path, copy)
            batches = ahead(decode(dataset, copy, self._objects.location(first.path), to_count=True))
            if holds_one_day(first.path):
                contents = [contents_of(dataset, batches)] * len(receipts)
            else:
                contents = contents_by_day(dataset, batches, [receipt.partition.day for receipt in receipts])
        return [
            replace(receipt, sha256=sha256, size_bytes=size_bytes, etag=etag, contents=found)
            for receipt, found in zip(receipts, contents, strict=True)
        ]

    def read(self, receipt: Receipt) -> Iterator[pa.RecordBatch]:
        """See `Lake.read`."""
        dataset = dataset_named(receipt.partition.dataset)
        with self._watch.telling([receipt]), self._opened(receipt.path) as stream:
            for batch in decode(dataset, stream, self._objects.location(receipt.path)):
                if holds_one_day(receipt.path):
                    yield batch
                elif len(of_day := batch.filter(is_of(batch, receipt.partition))):
                    yield of_day

    def scan(
        self, query: Query, segment: Segment, late: pa.Table | None = None
    ) -> AbstractContextManager[pa.RecordBatchReader]:
        """See `Lake.scan`."""
        if not self._may_keep(segment, late):
            return duckdb.scan(self._engine, query, segment, self.locations, late)
        schema = pa.schema([query.dataset.column(name).arrow_field for name in query.names])
        return self._results.stream(
            key_of(query, segment), schema, lambda: duckdb.scan(self._engine, query, segment, self.locations)
        )

    def row_groups(self, query: Query, receipts: Iterable[Receipt]) -> RowGroups:
        """See `Lake.row_groups`. Footers are read once, and kept."""
        return self._footers.counted(query, receipts)

    def traffic(self) -> Traffic | None:
        """See `Lake.traffic`."""
        filesystem = self._objects.filesystem
        return filesystem.traffic if isinstance(filesystem, ExactPaths) else None

    @property
    def kept_answers(self) -> Results:
        """See `Lake.kept_answers`."""
        return self._results

    def _may_keep(self, segment: Segment, late: pa.Table | None) -> bool:
        """Late rows come and go without any vintage telling, so where there are some nothing is kept or looked up."""
        return self._results.keeps and bool(segment.vintages) and not (late is not None and late.num_rows)

    def aggregate(
        self, asked: Aggregation, segment: Segment, late: pa.Table | None = None
    ) -> AbstractContextManager[pa.RecordBatchReader]:
        """See `Lake.aggregate`."""
        opened = partial(duckdb_aggregate.aggregate, self._engine, asked, segment, self.locations)
        if not self._may_keep(segment, late):
            return opened(late)
        return self._results.stream(
            key_of(replace(asked.query, columns=(), limit=None), segment, *asked.told), asked.partial_schema, opened
        )

    @contextmanager
    def changes(self, old: Vintage, new: Vintage) -> Iterator[Changes]:
        """See `Lake.changes`."""
        dataset = dataset_named(old.partition.dataset)
        with (
            self.readable([old.receipt, new.receipt]),
            changes(self._engine, dataset, self.locations([old]), self.locations([new])) as found,
        ):
            yield found

    def delete(self, path: str) -> None:
        """See `Lake.delete`."""
        self._objects.delete(path)

    def objects_of(self, dataset: Dataset) -> Iterator[str]:
        """See `Lake.objects_of`."""
        return (path for path in self._objects.list(f"{table_location(dataset.name)}/year=") if has_rows(path))

    def size_of(self, path: str) -> int:
        """See `Lake.size_of`."""
        try:
            return self._objects.stat(path).size_bytes
        except FileNotFoundError:
            return 0

    def snapshots(self, dataset: Dataset) -> Mapping[str, datetime]:
        """See `Lake.snapshots`."""
        return self._catalog.snapshots(dataset)

    def expire_snapshots(self, dataset: Dataset, before: datetime) -> list[str]:
        """See `Lake.expire_snapshots`."""
        return self._catalog.expire_snapshots(dataset, before)

    def unnamed_metadata(self, dataset: Dataset, before: datetime) -> Sequence[StoredObject]:
        """See `Lake.unnamed_metadata`."""
        return self._catalog.unnamed_metadata(dataset, before)

    def stored(self, prefix: str) -> Iterator[StoredObject]:
        """See `Lake.stored`."""
        if classes := self._objects.classes:
            return classes.survey(prefix)
        return (self._objects.stat(path) for path in self._objects.list(prefix))

    def schemas(self, dataset: Dataset) -> list[Schema]:
        """See `Lake.schemas`."""
        return noted_schemas.read(self._objects, dataset)

    @step(Step.EVOLVE_TABLE)
    def evolve(self, dataset: Dataset, schemas: Sequence[Schema]) -> None:
        """See `Lake.evolve`."""
        noted_schemas.write(self._objects, dataset, schemas)
        self._catalog.evolve(dataset)

    def head(self, dataset: Dataset) -> str:
        """See `Lake.head`."""
        return self._catalog.head(dataset)

    def paths(self, dataset: Dataset) -> frozenset[str]:
        """See `Lake.paths`."""
        return self._catalog.paths(dataset)

    def publish(
        self,
        dataset: Dataset,
        *,
        added: Sequence[Receipt],
        removed: Collection[str],
        expected_head: str,
        run_id: str,
        relocated: Sequence[Receipt] = (),
        withdrawn: Sequence[Vintage] = (),
        settling: bool = False,
    ) -> str:
        """See `Lake.publish`. What the journal says of a commit that lost to another one is taken away again."""
        at, head = datetime.now(UTC), expected_head
        entries = [
            *entries_of(Event.SETTLE if settling else Event.PUBLISH, added, at=at, run_id=run_id, head=head),
            *entries_of(Event.RELOCATE, relocated, at=at, run_id=run_id, head=head),
            *(Entry(Event.WITHDRAW, at, run_id, v.partition, v.receipt.version, head=head) for v in withdrawn),
        ]
        if settling:
            left = _days_in(removed) - {receipt.partition for receipt in added}
            entries += [Entry(Event.SETTLE, at, run_id, partition, 0, head=head) for partition in sorted(left)]
        with step(Step.JOURNAL):
            written = JournalFiles(self._objects).write(dataset, entries, run_id) if entries else None
        try:
            paths = dict.fromkeys(receipt.path for receipt in (*added, *relocated))
            with step(Step.COMMIT):
                return self._catalog.publish(
                    dataset, added=list(paths), removed=removed, expected_head=expected_head, run_id=run_id
                )
        except CatalogConflictError:
            if written:
                self._objects.delete(written)
            raise

    def newest(self, dataset: Dataset) -> TableVersion | None:
        """See `Lake.newest`."""
        return self._catalog.newest(dataset)

    def register(self, dataset: Dataset, version: TableVersion | None) -> str:
        """See `Lake.register`."""
        return self._catalog.register(dataset, version)

    def size_bytes(self, path: str) -> int | None:
        """See `Lake.size_bytes`."""
        try:
            return self._objects.stat(path).size_bytes
        except FileNotFoundError:
            return None

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

    def holds(self, dataset: Dataset) -> bool:
        """See `Lake.holds`."""
        prefixes = (journal_prefix(dataset.name), f"{table_location(dataset.name)}/metadata/")
        return any(True for prefix in prefixes for _ in self._objects.list(prefix))

    def journal(self, dataset: Dataset) -> Journal:
        """See `Lake.journal`."""
        return JournalFiles(self._objects).read(dataset)

    def note(self, dataset: Dataset, entries: Sequence[Entry]) -> None:
        """See `Lake.note`."""
        if entries:
            with step(Step.JOURNAL):
                JournalFiles(self._objects).write(dataset, entries, entries[0].run_id)

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
                duckdb.exact(self._objects.location(path), is_local=is_local),
                tuple(sorted(named)),
                evolved=path in evolved,
                spans_a_year=spans_a_year(path),
            )
            for path, named in days.items()
        ]

    def _stored(self, partition: Partition, first: int, file: EncodedFile) -> tuple[int, StoredObject]:
        for version in itertools.count(first):
            path = object_path(partition, version)
            file.stream.seek(0)
            try:
                with step(Step.UPLOAD):
                    return version, self._put(path, file, partition, version)
            except ObjectExistsError:
                if (stored := self._same(path, file)) is not None:
                    return version, stored
        raise AssertionError  # pragma: no cover  # the count has no end

    def _stored_shared(self, partitions: Sequence[Partition], file: EncodedFile) -> StoredObject:
        """Store an object of a month or year under a name later than all there, or adopt one of the very same bytes."""
        named, youngest = partial(shared_path, partitions), max(partitions)
        listed = self._objects.list(named(1).removesuffix(".parquet"))
        there = {version: path for path in listed if (version := shared_version(path))}
        for _, path in sorted(there.items(), reverse=True):
            if (stored := self._same(path, file)) is not None:
                return stored
        for version in itertools.count(max(there, default=0) + 1):
            file.stream.seek(0)
            try:
                with step(Step.UPLOAD):
                    return self._put(named(version), file, youngest, version)
            except ObjectExistsError:
                if (stored := self._same(named(version), file)) is not None:
                    return stored
        raise AssertionError  # pragma: no cover  # the count has no end

    def _put(self, path: str, file: EncodedFile, youngest: Partition, version: int) -> StoredObject:
        """Store a file in the class that its youngest rows are due for, and with labels that name it."""
        landed = self._landing(youngest, file.size_bytes)
        labels = {"dataset": youngest.dataset, "day": youngest.day.isoformat(), "vintage": str(version)}
        if youngest.interval:
            labels["interval"] = youngest.interval
        return self._objects.put(path, file.stream, storage_class=landed, labels=labels)

    def _landing(self, youngest: Partition, size_bytes: int) -> str:
        if (classes := self._objects.classes) is None:
            return ""
        return Landing(self._policy, classes.provider).class_for(youngest, size_bytes, self._today())

    def _compresses(self, youngest: Partition, wanted: str) -> bool:
        """Whether an object is written with the stronger compression: a class that it has by how it is written."""
        classes = self._objects.classes
        if classes is None or classes.provider is not Provider.LOCAL:
            return False
        return (wanted or self._landing(youngest, 0)) == COMPRESSED

    def _same(self, path: str, file: EncodedFile) -> StoredObject | None:
        """The object at the path, if it holds the very bytes of the file."""
        try:
            stored = self._objects.stat(path)
            if stored.size_bytes != file.size_bytes:
                return None
            with self._objects.open(path) as stream:
                return stored if copy_hashing(stream)[0] == file.sha256 else None
        except FileNotFoundError:
            return None  # deleted just now: its name is not used again

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

    def _seekable(self, path: str) -> BinaryIO:
        """A reader that asks for no more of an object than is read of it."""
        filesystem = self._objects.filesystem
        if filesystem is None:
            return self._objects.open(path)
        stream: BinaryIO = filesystem.open(self._objects.location(path), "rb")
        return stream

    def _opened(self, path: str) -> BinaryIO:
        try:
            return self._objects.open(path)
        except FileNotFoundError as error:
            msg = f"{self._objects.location(path)} is missing; {_RESTORE}"
            raise LakeError(msg) from error


def _days_in(paths: Iterable[str]) -> set[Partition]:
    """The partitions of objects that hold one each."""
    return {parse_object_path(path)[0] for path in paths if holds_one_day(path)}


_RESTORE = "restore it from a copy, or backfill that day from its source with --repair; other days are not touched"
