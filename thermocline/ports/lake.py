"""The cold tier."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from thermocline.model.aggregates import Aggregation
from thermocline.model.changes import ChangeCounts
from thermocline.model.dataset import Dataset
from thermocline.model.journal import Entry, Journal
from thermocline.model.partition import Partition
from thermocline.model.query import Query, Segment
from thermocline.model.receipt import Contents, Receipt, StoredObject, Vintage
from thermocline.model.recovery import TableVersion
from thermocline.model.row_groups import RowGroups
from thermocline.model.schema import Schema
from thermocline.ports.cache import KeptAnswers
from thermocline.ports.classes import Classes
from thermocline.ports.pages import PageStore

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import pyarrow as pa


class Objects(Protocol):
    """Blobs under a URL. An object is written once, whole, and never overwritten."""

    @property
    def url(self) -> str:
        """The root, without credentials."""
        ...

    @property
    def filesystem(self) -> Any:
        """The fsspec file system that opens a `location`; None where the operating system opens it by itself."""
        ...

    @property
    def classes(self) -> Classes | None:
        """What it can do with storage classes; None where it has none."""
        ...

    def put(
        self, path: str, content: BinaryIO, *, storage_class: str = "", labels: Mapping[str, str] | None = None
    ) -> StoredObject:
        """Store `content` from its current position. No reader ever sees a part of it; on return it is durable.

        `storage_class` is where it is written to, the first class where empty; `labels` are kept as the object's tags
        or metadata, for people and the bucket's rules. Stores without classes or labels pass over them.

        Raises:
            ObjectExistsError: There is an object at the path already; it is left as it is.
            LakeError: The object could not be written.
        """
        ...

    def replace(self, path: str, content: bytes) -> StoredObject:
        """Store a small object in place of what was there, atomically. For pointers only, never for rows."""
        ...

    def open(self, path: str) -> BinaryIO:
        """A seekable reader.

        Raises:
            FileNotFoundError: There is no such object.
        """
        ...

    def stat(self, path: str) -> StoredObject:
        """What the store says of an object.

        Raises:
            FileNotFoundError: There is no such object.
        """
        ...

    def delete(self, path: str) -> None:
        """Delete an object; one that is gone already is no error."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Paths that start with the prefix, in order."""
        ...

    def location(self, path: str) -> str:
        """The absolute address by which engines such as DuckDB or Iceberg readers open the object."""
        ...


class Catalog(Protocol):
    """The table that other engines see: which objects make up a dataset."""

    def head(self, dataset: Dataset) -> str:
        """The identity of the table's newest snapshot; empty when nothing was ever published."""
        ...

    def paths(self, dataset: Dataset) -> frozenset[str]:
        """The objects of the newest snapshot."""
        ...

    def newest(self, dataset: Dataset) -> TableVersion | None:
        """The newest version of the table that can be read: the one that the catalog names, else the lake's newest.

        None where there is no version of it that can be read.
        """
        ...

    def register(self, dataset: Dataset, version: TableVersion | None) -> str:
        """Make the catalog name that version, whatever it named, or a new table where there is none; return its head.

        For tables whose newest version is lost: commits since are not in the table any more.
        """
        ...

    def publish(
        self, dataset: Dataset, *, added: Collection[str], removed: Collection[str], expected_head: str, run_id: str
    ) -> str:
        """Replace objects in one snapshot and return the new head.

        What is added and there already stays, what is removed and gone already is no error; where nothing is left to
        change there is no new snapshot.

        Raises:
            CatalogConflictError: The head is not the expected one; nothing was changed.
        """
        ...

    def evolve(self, dataset: Dataset) -> None:
        """Give the table, where there is one, the columns that the dataset has and it lacks, and its wider types.

        Objects stay as they are: in a column that they lack, other engines see null. The head stays the same.

        Raises:
            CatalogConflictError: Another commit was faster; nothing was changed.
        """
        ...

    def snapshots(self, dataset: Dataset) -> Mapping[str, datetime]:
        """The snapshots that the table remembers, and when each was committed; `head` names the newest."""
        ...

    def expire_snapshots(self, dataset: Dataset, before: datetime) -> list[str]:
        """Forget the snapshots that were committed before an instant, but never the newest; return which those were.

        Other engines can't travel back to them any more. No object is deleted.

        Raises:
            CatalogConflictError: Another commit was faster; nothing was changed.
        """
        ...

    def unnamed_metadata(self, dataset: Dataset, before: datetime) -> Sequence[StoredObject]:
        """Objects of the table's metadata, written before an instant, that no version of the table that is kept names.

        There are none where that can't be told for sure.
        """
        ...


@dataclass(frozen=True, slots=True)
class Located:
    """An object for an engine that reads Parquet itself: its absolute address, and which of its rows count.

    Of an object that days share, the rows of `days` alone count; of one that holds a single day, all, and `days` is
    empty. `evolved` says that it may have other columns than the dataset has now, `spans_a_year` that it may have rows
    of other months than those of `days`.
    """

    location: str
    days: tuple[date, ...] = ()
    evolved: bool = False
    spans_a_year: bool = False


@dataclass(frozen=True, slots=True)
class Changes:
    """What a version of a day says differently from another.

    `cells` has a line for each row that was `added` or `removed`, and for each value that differs of one that
    `changed`: `change`, the key, `column`, and its value `before` and `after` as text with every digit (null, `nan`,
    `-0.0`).
    """

    counts: ChangeCounts
    cells: "pa.RecordBatchReader"


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was asked of a bucket to answer queries, since the lake was opened: requests, and the bytes that came."""

    requests: int
    fetched_bytes: int


class Lake(Protocol):
    """The cold tier: verified Parquet objects and the table over them."""

    @property
    def url(self) -> str:
        """The root, without credentials."""
        ...

    def run(self, run_id: str) -> "AbstractContextManager[object]":
        """Count what the block asks of the store against the budget of one run; a run inside a run spends its budget.

        Inside it, any request may raise a `RequestBudgetError`, which says that the run is to end.
        """
        ...

    @property
    def classes(self) -> Classes | None:
        """What its store can do with storage classes; None where it has none."""
        ...

    def survey(self, dataset: Dataset) -> Iterator[StoredObject]:
        """The dataset's objects with rows, in the order of their paths, named by a vintage or not.

        From listings alone where the store has classes.
        """
        ...

    def states(self, paths: Collection[str], *, exact: bool = False) -> list[StoredObject]:
        """What the store says of these objects now; what there is not is left out.

        A few are asked for one by one, more by a listing of their years. Not every store's listing says what was
        restored: to be `exact`, archived objects of which it says nothing are asked for one by one as well.
        """
        ...

    def archived(
        self, receipts: Iterable[Receipt], *, beyond_policy: bool = False, anew: bool = False
    ) -> list[StoredObject]:
        """Of the objects that hold these receipts, those that must be restored before they are read.

        Only what the retention policy lets into an archive by now is asked for, or all of them with `beyond_policy`;
        what could be read a minute ago is not asked for again. `anew` asks for all, and is exact.
        """
        ...

    def readable(self, receipts: Iterable[Receipt]) -> "AbstractContextManager[None]":
        """A block that reads the objects of these receipts, and that does not begin where some are archived.

        Raises:
            ArchivedError: They are, or one turned out to be while it was read. It names all of them, what restoring
                them costs, and how.
        """
        ...

    @property
    def page_store(self) -> PageStore:
        """Where pages of sources are kept until their rows are published, and stay as a raw record."""
        ...

    def write(
        self,
        partition: Partition,
        version: int,
        batches: "Iterable[pa.RecordBatch]",
        *,
        run_id: str,
        storage_class: str = "",
        told: Callable[[Contents], None] = lambda _: None,
    ) -> Receipt:
        """Write a partition's rows, already sorted, as one object; say what was written.

        Where the path is taken by an object with the very same bytes it is adopted; where the bytes differ, the next
        free version is taken. Memory stays bounded by one row group. The receipt speaks of what was handed over: to
        know what the store holds, `observe` it.

        `storage_class` is where a store writes it whose classes are ways to write; others go by the policy alone.
        `told` hears what the rows contain before they are stored; where it raises, nothing is.
        """
        ...

    def combine(self, receipts: Sequence[Receipt], *, storage_class: str = "") -> list[Receipt]:
        """Write the rows of days of one interval and calendar year, sorted, as one object that the days share.

        It is named after their month where all are of one, else after their year.

        Each receipt's rows are read from the object that it names, be it the day's own or one that days share. The
        receipts that come back, in the same order, name the new object and say what was written of their day; a caller
        compares that with what the days were, and observes the object. Object and name are as with `write`: the very
        same bytes are adopted, a name that is taken is never used; so is `storage_class`. Memory stays bounded, by way
        of the disk.

        Raises:
            LakeError: An object is missing or damaged, or holds rows of a day that is none of these.
        """
        ...

    def observe(self, *receipts: Receipt) -> list[Receipt]:
        """Read one object back from the store, whole, and say what it is: its bytes, size, and each partition's rows.

        The receipts name one object, of which they are all the vintages that count.

        Raises:
            LakeError: The object is missing or can't be read as Parquet in the dataset's schema.
        """
        ...

    def read(self, receipt: Receipt, *, encoded: bool = False) -> "Iterator[pa.RecordBatch]":
        """The rows of one partition, sorted, in the dataset's schema, also where its object holds others as well.

        Where they may come `encoded`, texts of few values are dictionaries: `Mover.load` takes them so, in less time.
        """
        ...

    def scan(
        self, query: Query, segment: Segment, late: "pa.Table | None" = None
    ) -> "AbstractContextManager[pa.RecordBatchReader]":
        """The rows of a cold segment that the query asks for, in the order of the answer.

        A row of `late` stands in for a cold row of the same key. `limit` is applied to the segment. Without late rows
        it may come from what was kept of an earlier answer of the very same objects, which are not looked at then.
        """
        ...

    @property
    def kept_answers(self) -> KeptAnswers:
        """What `scan` and `aggregate` keep of their answers. Nothing else of the lake is ever answered from there."""
        ...

    def traffic(self) -> Traffic | None:
        """What queries of all threads have asked of its bucket; None where that is not counted, as on a local disk."""
        ...

    def row_groups(self, query: Query, receipts: Iterable[Receipt]) -> RowGroups:
        """What a query reads of the objects of these receipts, as their footers tell it.

        Raises:
            LakeError: An object is missing or damaged, or lies in an archive.
        """
        ...

    def aggregate(
        self, asked: Aggregation, segment: Segment, late: "pa.Table | None" = None
    ) -> "AbstractContextManager[pa.RecordBatchReader]":
        """Partials of the rows of a cold segment, in any order; see `model/aggregates.py`.

        A row of `late` stands in for a cold row of the same key.
        """
        ...

    def changes(self, old: Vintage, new: Vintage) -> "AbstractContextManager[Changes]":
        """What a vintage says differently from another one of its partition, ordered by key and column."""
        ...

    def delete(self, path: str) -> None:
        """Delete an object that no vintage names; one that is gone already is no error."""
        ...

    def objects_of(self, dataset: Dataset) -> Iterator[str]:
        """The paths of every object in the lake that looks like one with rows of the dataset, named or not."""
        ...

    def size_of(self, path: str) -> int:
        """The size of an object in bytes, 0 where there is none."""
        ...

    def snapshots(self, dataset: Dataset) -> Mapping[str, datetime]:
        """See `Catalog.snapshots`."""
        ...

    def expire_snapshots(self, dataset: Dataset, before: datetime) -> list[str]:
        """See `Catalog.expire_snapshots`."""
        ...

    def unnamed_metadata(self, dataset: Dataset, before: datetime) -> Sequence[StoredObject]:
        """See `Catalog.unnamed_metadata`."""
        ...

    def stored(self, prefix: str) -> Iterator[StoredObject]:
        """Everything whose path starts with the prefix, in order, with size and time, from listings where that does."""
        ...

    def schemas(self, dataset: Dataset) -> Sequence[Schema]:
        """The versions of the dataset's columns that the lake was told of, oldest first.

        The last one may never have been applied, where whoever told of it died.
        """
        ...

    def evolve(self, dataset: Dataset, schemas: Sequence[Schema]) -> None:
        """Note every version of the dataset's columns beside the journal, then see `Catalog.evolve`.

        Can be done again. Other engines see new columns from then on; what is here reads and writes them once the
        ledger has them.
        """
        ...

    def head(self, dataset: Dataset) -> str:
        """See `Catalog.head`."""
        ...

    def paths(self, dataset: Dataset) -> frozenset[str]:
        """See `Catalog.paths`."""
        ...

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
        """Write what becomes of vintages to the journal, then commit one snapshot; see `Catalog.publish`.

        The objects of `added` and `relocated` are added, those that are `removed` go; `withdrawn` is for the journal.
        With `settling` nothing new is published: the table is only made to say what the ledger says already.
        """
        ...

    def newest(self, dataset: Dataset) -> TableVersion | None:
        """See `Catalog.newest`."""
        ...

    def register(self, dataset: Dataset, version: TableVersion | None) -> str:
        """See `Catalog.register`."""
        ...

    def size_bytes(self, path: str) -> int | None:
        """How large an object is; None where there is none."""
        ...

    def identify(self, dataset: Dataset, path: str, *, run_id: str) -> list[Receipt]:
        """Receipts for an object of which there are none, made by reading it whole.

        Raises:
            LakeError: The object is missing or can't be read as Parquet in the dataset's schema.
        """
        ...

    def holds(self, dataset: Dataset) -> bool:
        """Whether a table or a journal of the dataset lies in the lake, whatever the catalog knows."""
        ...

    def journal(self, dataset: Dataset, runs: Collection[str] = ()) -> Journal:
        """All that was ever written to the journal of a dataset, or what these runs wrote, oldest first.

        What can't be read of a damaged file is left out, and the file is named.
        """
        ...

    def note(self, dataset: Dataset, entries: Sequence[Entry]) -> None:
        """Write to the journal what no commit to the table goes with."""
        ...

    def close(self) -> None:
        """Give connections back. The lake opens them again when it is used again."""
        ...

    def locations(self, vintages: Iterable[Vintage]) -> list[Located]:
        """Where vintages lie, each object once, for engines that read Parquet themselves."""
        ...
