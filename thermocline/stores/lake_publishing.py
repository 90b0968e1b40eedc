"""How what was written becomes part of a table: commits to the catalog, the journal before them, and the schema."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from thermocline.errors import CatalogConflictError
from thermocline.faults import Step, step
from thermocline.model.dataset import Dataset
from thermocline.model.journal import Entry, Event, Journal, entries_of
from thermocline.model.partition import Partition
from thermocline.model.paths import holds_one_day, journal_prefix, parse_object_path, table_location
from thermocline.model.receipt import Receipt, StoredObject, Vintage
from thermocline.model.recovery import TableVersion
from thermocline.model.schema import Schema
from thermocline.ports import Catalog, Objects
from thermocline.stores import noted_schemas
from thermocline.stores.journal import JournalFiles


class ClosableCatalog(Catalog, Protocol):
    """A catalog that may hold connections."""

    def close(self) -> None:
        """Give them back."""
        ...


class Publishing:
    """What `ParquetLake` does with its table. Readers of ours go by the ledger, other engines by the table."""

    _objects: Objects
    _catalog: ClosableCatalog

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

    def holds(self, dataset: Dataset) -> bool:
        """See `Lake.holds`."""
        prefixes = (journal_prefix(dataset.name), f"{table_location(dataset.name)}/metadata/")
        return any(True for prefix in prefixes for _ in self._objects.list(prefix))

    def journal(self, dataset: Dataset, runs: Collection[str] = ()) -> Journal:
        """See `Lake.journal`."""
        return JournalFiles(self._objects).read(dataset, runs)

    def note(self, dataset: Dataset, entries: Sequence[Entry]) -> None:
        """See `Lake.note`."""
        if entries:
            with step(Step.JOURNAL):
                JournalFiles(self._objects).write(dataset, entries, entries[0].run_id)

    def schemas(self, dataset: Dataset) -> list[Schema]:
        """See `Lake.schemas`."""
        return noted_schemas.read(self._objects, dataset)

    @step(Step.EVOLVE_TABLE)
    def evolve(self, dataset: Dataset, schemas: Sequence[Schema]) -> None:
        """See `Lake.evolve`."""
        noted_schemas.write(self._objects, dataset, schemas)
        self._catalog.evolve(dataset)

    def snapshots(self, dataset: Dataset) -> Mapping[str, datetime]:
        """See `Lake.snapshots`."""
        return self._catalog.snapshots(dataset)

    def expire_snapshots(self, dataset: Dataset, before: datetime) -> list[str]:
        """See `Lake.expire_snapshots`."""
        return self._catalog.expire_snapshots(dataset, before)

    def unnamed_metadata(self, dataset: Dataset, before: datetime) -> Sequence[StoredObject]:
        """See `Lake.unnamed_metadata`."""
        return self._catalog.unnamed_metadata(dataset, before)


def _days_in(paths: Iterable[str]) -> set[Partition]:
    """The partitions of objects that hold one each."""
    return {parse_object_path(path)[0] for path in paths if holds_one_day(path)}
