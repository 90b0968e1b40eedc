"""The Protocols that tasks are written against. `stores/` and `sources/` implement them; `memory` implements each.

Rows travel as Arrow record batches in the schema of their dataset. Paths are relative to the lake. Nothing here knows
PostgreSQL, Parquet or Iceberg by name beyond what its docstring promises.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from thermocline.model.dataset import Dataset
from thermocline.model.partition import DayRange, Partition
from thermocline.model.query import Query, Segment
from thermocline.model.receipt import Receipt, StoredObject, Vintage
from thermocline.model.rejected import Rejected

if TYPE_CHECKING:
    import pyarrow as pa


class Progress(Protocol):
    """Told how far a long act has come. A progress bar is one; `SILENT` is none."""

    def begin(self, what: str, total: int | None) -> None:
        """A stage begins; `total` is how many steps it has, when that is known."""
        ...

    def advance(self, steps: int = 1) -> None:
        """So many steps of the stage are done."""
        ...


class _Silent:
    def begin(self, what: str, total: int | None) -> None:
        """Say nothing."""

    def advance(self, steps: int = 1) -> None:
        """Say nothing."""


SILENT: Progress = _Silent()
"""Progress that nobody looks at."""


# ---------------------------------------------------------------------------------------------------------- sources


@dataclass(frozen=True)
class FetchRequest:
    """Rows wanted from a source. Empty `symbols` or `intervals` mean all that the source has."""

    dataset: Dataset
    days: DayRange
    symbols: frozenset[str] = frozenset()
    intervals: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Fetched:
    """Rows as a source read them: columns named as the dataset's, types not yet conformed.

    `origin` says where exactly (a file, a page of an API), for quarantine and errors. `unreadable` are records that
    could not even be made rows, each with its reason; they go to quarantine.
    """

    rows: "pa.Table"
    origin: str
    unreadable: tuple[tuple[str, str], ...] = ()


class Source(Protocol):
    """Where rows come from."""

    @property
    def name(self) -> str:
        """What the `source` column of its rows says."""
        ...

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """Yield what was asked for, page by page or file by file, never more than fits in memory at once.

        Rows outside the request may come along; the caller drops them. A source that pages, waits for a rate limit or
        retries does so inside this iterator.

        Raises:
            SourceError: Something could not be read; what was yielded before remains good.
        """
        ...


class SourceFactory(Protocol):
    """Opens sources by name."""

    def __call__(self, name: str, *, path: str | None = None) -> Source:
        """The source of that name; nothing is read yet. `path` says where its files are, for sources that have files.

        Raises:
            UsageError: No source is called so, or it lacks something that it needs.
        """
        ...


# ------------------------------------------------------------------------------------------------------------- lake


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

    def put(self, path: str, content: BinaryIO) -> StoredObject:
        """Store `content` from its current position. No reader ever sees a part of it; on return it is durable.

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


class Lake(Protocol):
    """The cold tier: verified Parquet objects and the table over them."""

    @property
    def url(self) -> str:
        """The root, without credentials."""
        ...

    def write(self, partition: Partition, version: int, batches: "Iterable[pa.RecordBatch]", *, run_id: str) -> Receipt:
        """Write a partition's rows, already sorted, as one object; say what was written.

        Where the path is taken by an object with the very same bytes it is adopted; where the bytes differ, the next
        free version is taken. Memory stays bounded by one row group. The receipt speaks of what was handed over: to
        know what the store holds, `observe` it.
        """
        ...

    def observe(self, receipt: Receipt) -> Receipt:
        """Read the object back from the store, whole, and say what it is: its bytes, size, and rows.

        Raises:
            LakeError: The object is missing or can't be read as Parquet in the dataset's schema.
        """
        ...

    def read(self, receipt: Receipt) -> "Iterator[pa.RecordBatch]":
        """The rows of one object, sorted, in the dataset's schema."""
        ...

    def scan(
        self, query: Query, segment: Segment, late: "pa.Table | None" = None
    ) -> "AbstractContextManager[pa.RecordBatchReader]":
        """The rows of a cold segment that the query asks for, in the order of the answer.

        A row of `late` stands in for a cold row of the same key. `limit` is applied to the segment.
        """
        ...

    def delete(self, path: str) -> None:
        """Delete an object that no vintage names."""
        ...

    def head(self, dataset: Dataset) -> str:
        """See `Catalog.head`."""
        ...

    def paths(self, dataset: Dataset) -> frozenset[str]:
        """See `Catalog.paths`."""
        ...

    def publish(
        self, dataset: Dataset, *, added: Sequence[Receipt], removed: Collection[str], expected_head: str, run_id: str
    ) -> str:
        """Write the receipts beside the table, then commit one snapshot; see `Catalog.publish`."""
        ...

    def close(self) -> None:
        """Give connections back. The lake opens them again when it is used again."""
        ...

    def locations(self, vintages: Iterable[Vintage]) -> list[str]:
        """The absolute addresses of vintages' objects, for engines that read Parquet themselves."""
        ...


# -------------------------------------------------------------------------------------------------------------- hot


@dataclass(frozen=True, slots=True)
class HotDay:
    """A day that is complete in hot. `version` is the vintage it holds at least, 0 when it came by ingest alone."""

    partition: Partition
    version: int


@dataclass(frozen=True, slots=True)
class HotLeaf:
    """One day's table as the database's catalog describes it. `registered` says whether the hot set has the day."""

    partition: Partition
    table: str
    rows: int
    size_bytes: int
    registered: bool


@dataclass(frozen=True, slots=True)
class Detached:
    """A day that rotation took out of hot and that `undo` can still bring back."""

    partition: Partition
    table: str
    version: int
    detached_at: datetime
    rows: int


@dataclass(frozen=True)
class Ingested:
    """Where rows went: into hot days, or as late rows of cold days."""

    hot_rows: int = 0
    late_rows: int = 0


@dataclass(frozen=True)
class Vacuumed:
    """What VACUUM did to one table. Sizes include indexes."""

    table: str
    bytes_before: int
    bytes_after: int
    dead_rows: int
    seconds: float


@dataclass(frozen=True)
class Publication:
    """What one commit says: new vintages, days withdrawn from cold, the table's head, and rows that may not go in."""

    dataset: Dataset
    head: str | None
    run_id: str
    receipts: Sequence[Receipt] = ()
    withdrawn: Sequence[Partition] = ()
    rejected: Sequence[Rejected] = ()


@dataclass(frozen=True)
class Act:
    """A line of the append-only audit log. `detail` holds counts and paths, never a secret."""

    name: str
    partition: Partition | None
    run_id: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    at: datetime | None = None


class Export(Protocol):
    """A hot day's rows together with its late rows, as one snapshot saw them."""

    @property
    def rows(self) -> int:
        """How many rows `batches` yields."""
        ...

    def batches(self) -> "Iterator[pa.RecordBatch]":
        """The rows, sorted as a file is. May be called again while the export is open and yields the same rows."""
        ...


class Writer(Protocol):
    """The one process that may change a dataset at this moment. Every method commits whole or changes nothing.

    The lock is held on the connection that commits, so a writer that lost its lock can't commit. Live ingest does not
    need it and goes on beside it.
    """

    def live(self, days: DayRange, intervals: Collection[str] = ()) -> list[Vintage]:
        """The live vintages of those days."""
        ...

    def next_versions(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        """For each partition the version that its next vintage takes."""
        ...

    def head(self) -> str | None:
        """The table's head as of the last publication; None where this ledger never noted one."""
        ...

    def publish(
        self,
        publication: Publication,
        hot_rows: "Mapping[Partition, Iterable[pa.RecordBatch]] | None" = None,
        rows_if_hot: "Mapping[Partition, Iterable[pa.RecordBatch]] | None" = None,
    ) -> None:
        """Make vintages live, and merge rows into days in the same transaction.

        A day that is hot is merged into: on the same key the later `ingested_at` wins. One of `hot_rows` that is not
        hot is created and joins the hot set; it must be complete. One of `rows_if_hot` that is not hot is left alone:
        whether it is can only be known at the commit, since live ingest may start a day at any time before.
        """
        ...

    def load(self, vintage: Vintage, batches: "Iterable[pa.RecordBatch]") -> int:
        """Bring a cold day to hot: its vintage and its late rows, in a fresh table that is then attached.

        A day that is hot already is merged into. The rows are fingerprinted on their way; when they are not what the
        receipt says, nothing is loaded. Returns the rows that are now in the day.

        Raises:
            FingerprintMismatchError: The batches are not what the vintage's receipt says.
        """
        ...

    def export(self, partition: Partition) -> AbstractContextManager[Export]:
        """Open a hot day, or a cold day's late rows, for reading."""
        ...

    def cut_over(self, export: Export, publication: Publication) -> None:
        """In one transaction: prove that no row changed since the export, publish, fold late rows, detach the day.

        Readers never see the day in neither tier. For a cold day only its late rows are folded.

        Raises:
            StaleStateError: Rows were changed or added since; nothing was done.
            LockTimeoutError: Readers held the day for too long; nothing was done.
        """
        ...

    def undo(self, detached: Detached, *, run_id: str) -> int:
        """Bring a detached day back to hot as it was; return its rows.

        Raises:
            StaleStateError: The day has later vintages or late rows; `rehydrate` brings those to hot.
        """
        ...

    def release(self, detached: Detached, *, run_id: str) -> None:
        """Drop a detached day for good."""
        ...

    def delete(self, days: DayRange, intervals: Collection[str], symbols: Collection[str], *, run_id: str) -> int:
        """Delete hot and late rows of those days; return how many. Cold rows are the lake's business."""
        ...


@dataclass(frozen=True, slots=True)
class MonthOfRows:
    """How much of one interval lies in one calendar month (named by its first day)."""

    interval: str
    month: date
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class Mapped:
    """How a foreign table's columns become a dataset's: `columns` from dataset name to table name, `constants` fill."""

    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PlainSurvey:
    """What is in a table of a dataset's name that is not partitioned as ours are.

    `duplicate_rows` share their key with a row that counts as the newer one; `null_rows` counts, by column, rows that
    lack what they must have; `undated_rows` have no usable time. All of these stay behind in the table, which is
    kept.
    """

    table: str
    rows: int
    size_bytes: int
    months: Sequence[MonthOfRows]
    unknown_columns: Sequence[str]
    filled_columns: Mapping[str, str]
    duplicate_rows: int
    null_rows: Mapping[str, int]
    undated_rows: int


class PlainTable(Protocol):
    """A table that is being made ours. While it is held nobody writes to it; readers go on."""

    def survey(self) -> PlainSurvey:
        """What is in it."""
        ...

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """Its rows: the table is a source."""
        ...

    @property
    def name(self) -> str:
        """What the `source` column says where the table does not."""
        ...

    def swap(self, *, run_id: str) -> str:
        """Put an empty partitioned table in its place, keep it under another name, and return that name.

        Call it only when every row that may go in is in the lake.
        """
        ...


class Snapshot(Protocol):
    """One consistent look at the hot set, the live vintages, hot rows and late rows. Rotations don't disturb it."""

    @property
    def hot(self) -> frozenset[Partition]:
        """The days that are complete in hot."""
        ...

    @property
    def live(self) -> Sequence[Vintage]:
        """The live vintage of every cold day, and of every hot day that has one."""
        ...

    @property
    def late(self) -> frozenset[Partition]:
        """Cold days that have late rows."""
        ...

    def scan(self, query: Query, segment: Segment) -> "AbstractContextManager[pa.RecordBatchReader]":
        """The rows of a hot segment that the query asks for, in the order of the answer."""
        ...

    def late_rows(self, query: Query) -> "pa.Table":
        """Every late row of the query's days, intervals and symbols, all columns."""
        ...


class Hot(Protocol):
    """The hot tier and the ledger. They are one port because one transaction must be able to change both."""

    @property
    def url(self) -> str:
        """Where it is, without credentials."""
        ...

    def writer(self, dataset: Dataset, *, wait_seconds: float = 60.0) -> AbstractContextManager[Writer]:
        """Become the dataset's writer, waiting for another one to finish.

        Raises:
            LockTimeoutError: Another writer was still at it after `wait_seconds`; the text says which.
        """
        ...

    def snapshot(
        self, datasets: Sequence[Dataset], days: DayRange, intervals: Collection[str] = ()
    ) -> AbstractContextManager[Snapshot]:
        """Take a look that stays the same while it is open."""
        ...

    def ingest(self, dataset: Dataset, rows: "pa.Table", *, hot_days: Collection[Partition], run_id: str) -> Ingested:
        """Accept conformed rows at once; on return they are durable and visible to every query.

        Rows of hot days are merged there. Rows of other days become late rows, unless the day is named in `hot_days`
        and has no vintage: then it becomes hot.
        """
        ...

    def leaves(self, dataset: Dataset) -> list[HotLeaf]:
        """Every day's table, by the catalog's own bounds, with exact row counts."""
        ...

    def hot_days(self, dataset: Dataset) -> list[HotDay]:
        """The hot set."""
        ...

    def live(self, dataset: Dataset, days: DayRange, intervals: Collection[str] = ()) -> list[Vintage]:
        """The live vintages of those days, in order."""
        ...

    def late(self, dataset: Dataset) -> Mapping[Partition, int]:
        """How many late rows wait for the next night, by day."""
        ...

    def detached(self, dataset: Dataset) -> list[Detached]:
        """The days that `undo` can bring back."""
        ...

    def plain(self, dataset: Dataset, mapped: Mapped, *, hold: bool) -> "AbstractContextManager[PlainTable | None]":
        """The table of the dataset's name if it is not partitioned as ours are, else None.

        With `hold` nobody can write to it until the block ends.
        """
        ...

    def quarantine(self, rejected: Sequence[Rejected], *, run_id: str) -> None:
        """Keep rows that may not go in, with their reasons."""
        ...

    def vacuum(self, dataset: Dataset, *, force: bool = False) -> list[Vacuumed]:
        """VACUUM (ANALYZE) what stays hot, where dead rows or no statistics make it pay; with `force` all of it."""
        ...

    def record(self, act: Act) -> None:
        """Append to the audit log."""
        ...

    def last(self, name: str, dataset: Dataset) -> Act | None:
        """The newest act of that name on the dataset."""
        ...


# ------------------------------------------------------------------------------------------------------------ spool


class Spool(Protocol):
    """A place to gather rows of one dataset that don't fit in memory, and to take them out sorted, day by day."""

    def append(self, batches: "Iterable[pa.RecordBatch]") -> None:
        """Take rows in."""
        ...

    def partitions(self) -> Mapping[Partition, int]:
        """The partitions that have rows, in order, with their row counts before merging."""
        ...

    def batches(self, partition: Partition) -> "Iterator[pa.RecordBatch]":
        """A partition's rows sorted as a file is; of one key the row with the latest `ingested_at`, then the last."""
        ...


class SpoolFactory(Protocol):
    """Opens spools; each is gone, with its files, when its block ends."""

    def __call__(self, dataset: Dataset) -> AbstractContextManager[Spool]:
        """A new, empty spool."""
        ...


# -------------------------------------------------------------------------------------------------------- analytics


@dataclass(frozen=True)
class Relation:
    """A dataset as one consistent look has it, for an engine that reads Parquet itself.

    `locations` are the objects of days that are not hot; `late` are rows that stand in for theirs where they are newer;
    `hot` opens the rows of hot days.
    """

    dataset: Dataset
    locations: Sequence[str]
    late: "pa.Table | None"
    hot: "Callable[[], AbstractContextManager[pa.RecordBatchReader]]"


class Analytics(Protocol):
    """An engine for read-only SQL over datasets."""

    def mentioned(self, statement: str, datasets: Collection[Dataset]) -> list[Dataset]:
        """The datasets whose names the statement uses as tables.

        Raises:
            UsageError: It is not one statement that only reads.
        """
        ...

    def run(self, statement: str, relations: Sequence[Relation]) -> "AbstractContextManager[pa.RecordBatchReader]":
        """The answer to one SELECT over the relations, each a table of its dataset's name.

        Raises:
            UsageError: The statement is wrong, or touches anything but the relations.
        """
        ...
