"""What `IcebergCatalog` does once PyIceberg is there: tables from declarations, and snapshots from paths."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.catalog.sql import IcebergTables as SqlCatalogTables
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    TableAlreadyExistsError,
    ValidationException,
)
from pyiceberg.io import FileIO
from pyiceberg.manifest import ManifestFile
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table, Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.table.update import TableUpdate
from pyiceberg.transforms import IdentityTransform, YearTransform
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    IcebergType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
)
from sqlalchemy import select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from thermocline.errors import BrokenTableError, CatalogConflictError, LakeError, ThermoclineError
from thermocline.faults import Step, reached, step
from thermocline.model.dataset import PRECISION, Dataset, Kind
from thermocline.model.datasets import dataset_named
from thermocline.model.paths import table_location
from thermocline.model.receipt import StoredObject
from thermocline.model.recovery import TableVersion
from thermocline.model.url import without_secrets
from thermocline.ports import Objects
from thermocline.stores.iceberg_files import TableFiles, described
from thermocline.stores.iceberg_io import OBJECTS, ObjectsFileIO
from thermocline.stores.iceberg_metadata import unnamed_files
from thermocline.stores.iceberg_versions import BUILT_ON, RUN_ID, found_version, numbered_file

_log = logging.getLogger(__name__)

_KEPT_METADATA = 20
_MANY_MANIFESTS = 40

_PROPERTIES = {
    "format-version": "2",
    # PyIceberg would retry a lost race on top of the winner's snapshot, which nobody has compared with the ledger.
    "commit.retry.num-retries": "0",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "20",
    "commit.manifest.target-size-bytes": str(256 << 10),  # some 700 objects, so that merging does not grow with a table
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": str(_KEPT_METADATA),
    "write.parquet.compression-codec": "zstd",
}

_TYPES: dict[Kind, IcebergType] = {
    Kind.TEXT: StringType(),
    Kind.PRICE: DecimalType(*PRECISION[Kind.PRICE]),
    Kind.MONEY: DecimalType(*PRECISION[Kind.MONEY]),
    Kind.FLOAT: DoubleType(),
    Kind.INTEGER: LongType(),
    Kind.BOOLEAN: BooleanType(),
    Kind.DATE: DateType(),
    Kind.TIMESTAMP: TimestamptzType(),
}


class IcebergTables:
    """The tables of one SQL catalog. Only `publish` makes a table."""

    def __init__(self, uri: str, objects: Objects, namespace: str) -> None:
        """Open the catalog and make its two tables where they are missing."""
        self._objects, self._namespace = objects, namespace
        self._files = TableFiles(objects)
        self._root = objects.location("x").removesuffix("x")
        self._shown = make_url(uri).render_as_string(hide_password=True)
        with self._explained():
            self._catalog = _opened(uri, objects)

    def head(self, dataset: Dataset) -> str:
        """The newest snapshot's id, or nothing."""
        with self._explained():
            table = self._found(dataset)
            return _head(table) if table else ""

    def paths(self, dataset: Dataset) -> frozenset[str]:
        """The objects of the newest snapshot."""
        with self._explained():
            table = self._found(dataset)
            return frozenset(self._named(table)) if table else frozenset()

    def publish(
        self, dataset: Dataset, added: frozenset[str], removed: frozenset[str], expected_head: str, run_id: str
    ) -> str:
        """See `Catalog.publish`."""
        with self._explained():
            table = self._found(dataset) or self._made(dataset)
            head = _head(table)
            if head != expected_head:
                raise CatalogConflictError(_conflict(dataset, f"is at {head or 'nothing'}", expected_head))
            named = self._named(table)
            new, gone = sorted(added - named.keys()), sorted((removed - added) & named.keys())
            if not new and not gone:
                return head
            table = self._current(table, dataset)
            with _unbroken(dataset):
                leaving = self._files.described(table, gone, named)
            transaction = _Commit(table)
            properties = {RUN_ID: run_id, BUILT_ON: head}
            update = transaction.update_snapshot(snapshot_properties=properties)
            try:
                with update.overwrite() if gone else update.merge_append() as snapshot:
                    for data_file in leaving:
                        snapshot.delete_data_file(data_file)
                    for data_file in described(self._objects, table, new):
                        snapshot.append_data_file(data_file)
                if gone and _is_scattered(transaction.table_metadata, table.io):
                    # PyIceberg brings manifests together where files are added, and only there.
                    with transaction.update_snapshot(snapshot_properties=properties).merge_append():
                        pass
                transaction.commit_transaction()
            except CommitFailedException:
                raise CatalogConflictError(_conflict(dataset, "was moved meanwhile", expected_head)) from None
            reached("commit:committed")
            self._point_to(table, dataset)
            return _head(table)

    def newest(self, dataset: Dataset) -> TableVersion | None:
        """See `Catalog.newest`."""
        with self._explained():
            return found_version(self._objects, dataset, self._catalog_names(dataset))

    def register(self, dataset: Dataset, version: TableVersion | None) -> str:
        """See `Catalog.register`. One statement of the catalog: whoever reads meanwhile finds the old or the new."""
        with self._explained(), step(Step.REGISTER):
            if version is None or not version.location:
                with suppress(NoSuchTableError):
                    self._catalog.drop_table(self._identifier(dataset))
                table = self._made(dataset)
            else:
                self._name(dataset, numbered_file(self._objects, version.location))
                table = self._catalog.load_table(self._identifier(dataset))
                self._point_to(table, dataset)
            return _head(table)

    def _row(self, dataset: Dataset) -> tuple[Any, ...]:
        names = SqlCatalogTables.catalog_name, SqlCatalogTables.table_namespace, SqlCatalogTables.table_name
        of_table = (self._catalog.name, self._namespace, dataset.name)
        return tuple(column == value for column, value in zip(names, of_table, strict=True))

    def _catalog_names(self, dataset: Dataset) -> str | None:
        """The path of the metadata file that the catalog names; None where that is not in this lake."""
        with Session(self._catalog.engine) as session:
            asked = select(SqlCatalogTables.metadata_location).where(*self._row(dataset))
            location = session.execute(asked).scalar_one_or_none()
        return location.removeprefix(self._root) if location and location.startswith(self._root) else None

    def _name(self, dataset: Dataset, path: str) -> None:
        self._catalog.create_namespace_if_not_exists(self._namespace)
        location = self._objects.location(path)
        with Session(self._catalog.engine) as session:
            change = update(SqlCatalogTables).where(*self._row(dataset)).values(metadata_location=location)
            changed = session.connection().execute(change).rowcount
            session.commit()
        if not changed:
            self._catalog.register_table(self._identifier(dataset), location)

    def snapshots(self, dataset: Dataset) -> dict[str, datetime]:
        """See `Catalog.snapshots`."""
        with self._explained():
            table = self._found(dataset)
            found = table.snapshots() if table else []
            return {str(each.snapshot_id): datetime.fromtimestamp(each.timestamp_ms / 1000, UTC) for each in found}

    def expire_snapshots(self, dataset: Dataset, before: datetime) -> list[str]:
        """See `Catalog.expire_snapshots`. PyIceberg forgets them in the metadata alone."""
        with self._explained():
            table = self._found(dataset)
            old = [name for name, at in self.snapshots(dataset).items() if at < before]
            if table is None or not (old := [name for name in old if name != _head(table)]):
                return []
            try:
                table.maintenance.expire_snapshots().by_ids([int(name) for name in old]).commit()
            except CommitFailedException:
                raise CatalogConflictError(_conflict(dataset, "was moved meanwhile", _head(table))) from None
            self._point_to(table.refresh(), dataset)
            return old

    def unnamed_metadata(self, dataset: Dataset, before: datetime) -> list[StoredObject]:
        """See `Catalog.unnamed_metadata`."""
        with self._explained():
            table = self._found(dataset)
            if table is None:
                return []
            with _unbroken(dataset):
                return unnamed_files(self._objects, dataset, table, _KEPT_METADATA, before)

    def close(self) -> None:
        """Give the database connections back."""
        self._catalog.engine.dispose()

    def _identifier(self, dataset: Dataset) -> tuple[str, str]:
        return self._namespace, dataset.name

    def _found(self, dataset: Dataset) -> Table | None:
        try:
            with _unbroken(dataset):
                return self._catalog.load_table(self._identifier(dataset))
        except NoSuchTableError:
            return None

    def _made(self, dataset: Dataset) -> Table:
        schema = schema_of(dataset)
        time = schema.find_field("ts").field_id
        try:
            self._catalog.create_namespace_if_not_exists(self._namespace)
            return self._catalog.create_table(
                self._identifier(dataset),
                schema,
                location=self._root + table_location(dataset.name),
                # A compacted month could not be added to a table that is partitioned by day.
                partition_spec=PartitionSpec(PartitionField(time, 1000, YearTransform(), "ts_year")),
                sort_order=SortOrder(
                    *(SortField(schema.find_field(name).field_id, IdentityTransform()) for name in dataset.sort)
                ),
                properties=_PROPERTIES | {"schema.name-mapping.default": schema.name_mapping.model_dump_json()},
            )
        except (TableAlreadyExistsError, NamespaceAlreadyExistsError):
            return self._catalog.load_table(self._identifier(dataset))

    def _current(self, table: Table, dataset: Dataset) -> Table:
        """The table with our properties and every column of the declaration, each as a commit of its own if needed."""
        if any(table.properties.get(name) != value for name, value in _PROPERTIES.items() if name != "format-version"):
            table.transaction().set_properties(_PROPERTIES).commit_transaction()
        self._evolved(table, dataset)
        return table

    def evolve(self, dataset: Dataset) -> None:
        """See `Catalog.evolve`."""
        with self._explained():
            table = self._found(dataset)
            if table and self._evolved(table, dataset):
                reached("evolve-table:committed")
                self._point_to(table.refresh(), dataset)

    def _evolved(self, table: Table, dataset: Dataset) -> bool:
        """Add what the table lacks of the declaration, in a commit of its own; whether there was anything."""
        if not _lacks(table.schema(), dataset):
            return False
        try:
            with table.update_schema() as update:
                update.union_by_name(schema_of(dataset))
        except CommitFailedException:
            raise CatalogConflictError(_conflict(dataset, "was moved meanwhile", _head(table))) from None
        return True

    def _named(self, table: Table) -> dict[str, ManifestFile]:
        with _unbroken(dataset_named(table.name()[-1])):
            return self._files.manifests(table)

    def _point_to(self, table: Table, dataset: Dataset) -> None:
        """Name the newest metadata the way Hadoop tables do, for engines that read a table by its path alone.

        The commit stands already: where this fails, such engines see the snapshot before until the next commit.
        """
        folder = f"{table_location(dataset.name)}/metadata"
        try:
            version = int(table.metadata_location.rpartition("/")[2].partition("-")[0])
            with self._objects.open(table.metadata_location.removeprefix(self._root)) as stream:
                self._objects.replace(f"{folder}/v{version}.metadata.json", stream.read())
            self._objects.replace(f"{folder}/version-hint.text", str(version).encode())
            self._objects.delete(f"{folder}/v{version - _KEPT_METADATA}.metadata.json")
        except (LakeError, OSError, ValueError) as error:
            _log.warning("engines that read %s by its path see the snapshot before: %s", folder, error)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            reason = without_secrets(str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0])
            msg = (
                f"the catalog {self._shown} can't be read or changed: {reason}; start its database or correct"
                " THERMOCLINE_CATALOG_URL, then run it again"
            )
            raise LakeError(msg) from error
        except (pa.ArrowException, OSError, ValidationException, ValueError) as error:
            msg = f"the Iceberg table can't be read or changed: {error}; nothing was published"
            raise LakeError(msg) from error


class _Commit(Transaction):
    """A transaction that works its metadata out once for each change, where PyIceberg does it at every look.

    Each time it copies all snapshots, some fifteen times a commit. Whoever looks only reads.
    """

    _staged: tuple[tuple[TableUpdate, ...], TableMetadata] | None = None

    @property
    def table_metadata(self) -> TableMetadata:
        """The table's metadata with what was changed so far."""
        if self._staged is None or self._staged[0] is not self._updates:
            self._staged = self._updates, super().table_metadata
        return self._staged[1]


@contextmanager
def _unbroken(dataset: Dataset) -> Iterator[None]:
    """Say of a table whose metadata is lost or damaged how it is made whole."""
    try:
        yield
    except (ThermoclineError, NoSuchTableError, SQLAlchemyError):
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        msg = (
            f"the newest metadata of the Iceberg table of {dataset.name} is missing or damaged ({reason}); no row is "
            f"lost, queries go on, nothing was published. Run `thermocline recover {dataset.name}`, then run it again"
        )
        raise BrokenTableError(msg) from error


def _opened(uri: str, objects: Objects) -> SqlCatalog:
    url = make_url(uri)
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    properties: dict[str, Any] = {
        "uri": uri,
        "py-io-impl": f"{ObjectsFileIO.__module__}.{ObjectsFileIO.__name__}",
        OBJECTS: objects,
    }
    try:
        return SqlCatalog("thermocline", **properties)
    except SQLAlchemyError:  # two processes may make the catalog's tables at once; the second try finds them
        return SqlCatalog("thermocline", **properties)


def schema_of(dataset: Dataset) -> Schema:
    """A dataset as a schema of Iceberg; columns are numbered in the order of the declaration."""
    numbers = {name: number for number, name in enumerate(dataset.names, 1)}
    return Schema(
        *(
            NestedField(numbers[c.name], c.name, _TYPES[c.kind], required=not c.nullable, doc=c.description or None)
            for c in dataset.columns
        ),
        identifier_field_ids=[numbers[name] for name in dataset.key],
    )


def _lacks(schema: Schema, dataset: Dataset) -> bool:
    """Whether a column is missing, has fewer digits or must have a value where the dataset says otherwise."""
    there = {field.name: field for field in schema.fields}
    for column in dataset.columns:
        found = there.get(column.name)
        if found is None or (column.nullable and found.required):
            return True
        if found.field_type != _TYPES[column.kind] and column.kind is Kind.MONEY:
            return True
    return False


def _head(table: Table) -> str:
    snapshot = table.current_snapshot()
    return str(snapshot.snapshot_id) if snapshot else ""


def _is_scattered(metadata: TableMetadata, io: FileIO) -> bool:
    snapshot = metadata.current_snapshot()
    return snapshot is not None and len(snapshot.manifests(io)) >= _MANY_MANIFESTS


def _conflict(dataset: Dataset, what: str, expected_head: str) -> str:
    return (
        f"the Iceberg table of {dataset.name} {what}, it was read at {expected_head or 'nothing'}; nothing was"
        " published, run it again"
    )
