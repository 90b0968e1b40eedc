"""The catalog of Iceberg tables. PyIceberg is imported when the catalog is first asked, not before."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from thermocline.model.dataset import Dataset
from thermocline.model.receipt import StoredObject
from thermocline.model.recovery import TableVersion
from thermocline.ports import Objects

if TYPE_CHECKING:
    from thermocline.stores.iceberg_tables import IcebergTables


class IcebergCatalog:
    """Iceberg tables `thermocline.<dataset>` in a SQL catalog, with their metadata in the lake.

    The catalog only says which metadata file is the newest; it can live in any database that SQLAlchemy opens, and is
    changed by one statement that fails where somebody else was faster.
    """

    def __init__(self, uri: str | Callable[[], str], objects: Objects, *, namespace: str = "thermocline") -> None:
        """Name the database by an SQLAlchemy URL, or by what finds it on first use; nothing is opened yet."""
        self._uri, self._objects, self._namespace = uri, objects, namespace

    def head(self, dataset: Dataset) -> str:
        """See `Catalog.head`: the snapshot's id."""
        return self._tables.head(dataset)

    def paths(self, dataset: Dataset) -> frozenset[str]:
        """See `Catalog.paths`."""
        return self._tables.paths(dataset)

    def newest(self, dataset: Dataset) -> TableVersion | None:
        """See `Catalog.newest`."""
        return self._tables.newest(dataset)

    def register(self, dataset: Dataset, version: TableVersion | None) -> str:
        """See `Catalog.register`."""
        return self._tables.register(dataset, version)

    def publish(
        self, dataset: Dataset, *, added: Collection[str], removed: Collection[str], expected_head: str, run_id: str
    ) -> str:
        """See `Catalog.publish`."""
        return self._tables.publish(dataset, frozenset(added), frozenset(removed), expected_head, run_id)

    def evolve(self, dataset: Dataset) -> None:
        """See `Catalog.evolve`."""
        self._tables.evolve(dataset)

    def snapshots(self, dataset: Dataset) -> Mapping[str, datetime]:
        """See `Catalog.snapshots`."""
        return self._tables.snapshots(dataset)

    def expire_snapshots(self, dataset: Dataset, before: datetime) -> list[str]:
        """See `Catalog.expire_snapshots`."""
        return self._tables.expire_snapshots(dataset, before)

    def unnamed_metadata(self, dataset: Dataset, before: datetime) -> list[StoredObject]:
        """See `Catalog.unnamed_metadata`."""
        return self._tables.unnamed_metadata(dataset, before)

    def close(self) -> None:
        """Give the database connections back."""
        if "_tables" in self.__dict__:
            self._tables.close()
            del self.__dict__["_tables"]

    @cached_property
    def _tables(self) -> "IcebergTables":
        from thermocline.stores.iceberg_tables import IcebergTables  # noqa: PLC0415  # half a second that queries save

        uri = self._uri if isinstance(self._uri, str) else self._uri()
        return IcebergTables(uri, self._objects, self._namespace)
