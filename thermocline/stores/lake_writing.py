"""How a lake is written: days as objects of their own or brought together, stored once and never written over."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date
from functools import partial

import pyarrow as pa

from thermocline.errors import LakeError, ObjectExistsError
from thermocline.faults import Step, step
from thermocline.model.datasets import dataset_named
from thermocline.model.partition import Partition
from thermocline.model.paths import object_path, shared_path, shared_version
from thermocline.model.receipt import Contents, Receipt, StoredObject
from thermocline.model.retention import Landing, RetentionPolicy
from thermocline.model.storage_classes import COMPRESSED, Provider
from thermocline.stores import duckdb_scan
from thermocline.stores.lake_reading import Reading
from thermocline.stores.parquet import EncodedFile, copy_hashing, encode, encode_shared


class Writing(Reading):
    """What `ParquetLake` does to write. Nothing that it stores is seen by anybody before it is published."""

    _policy: RetentionPolicy
    _today: Callable[[], date]

    def write(
        self,
        partition: Partition,
        version: int,
        batches: Iterable[pa.RecordBatch],
        *,
        run_id: str,
        storage_class: str = "",
        told: Callable[[Contents], None] = lambda _: None,
    ) -> Receipt:
        """See `Lake.write`."""
        compressed = self._compresses(partition, storage_class)
        with encode(partition, batches, compressed=compressed, directory=self._temp_dir) as file:
            told(file.contents)
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
            duckdb_scan.sorted_rows(self._engine, dataset, self._located(receipts)) as batches,
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
