"""What one process at a time does to a dataset, and what it says when it commits."""

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date
from typing import TYPE_CHECKING, Protocol

from thermocline.model.partition import DayRange, Partition
from thermocline.model.receipt import Vintage
from thermocline.model.schema import Schema
from thermocline.ports.ledger import Detached, Holding, Publication

if TYPE_CHECKING:
    import pyarrow as pa


class Export(Protocol):
    """A hot day's rows together with its late rows, as one snapshot saw them."""

    @property
    def rows(self) -> int:
        """How many rows `batches` yields."""
        ...

    @property
    def was_hot(self) -> bool:
        """Whether the day is hot; else these are late rows of a cold day."""
        ...

    @property
    def seems_changed(self) -> bool:
        """Whether the rows came by more than one load: a hint of what they are worth to be compared with, no proof."""
        ...

    def batches(self) -> "Generator[pa.RecordBatch, None, None]":
        """The rows, sorted as a file is. May be called again while the export is open and yields the same rows."""
        ...

    def nearly_sorted(self) -> "Generator[pa.RecordBatch, None, None]":
        """The rows as they lie where that should be as a file is sorted: like `batches`, but without sorting all.

        Raises:
            OutOfOrderError: They do not lie so, as came out on the way; take `batches` from the beginning.
        """
        ...

    def unsorted(self) -> "Generator[pa.RecordBatch, None, None]":
        """The rows in any order, for whom it does not matter."""
        ...


class Mover(Protocol):
    """Who may bring days of a dataset to hot, and read those that leave it. One thread at a time uses it."""

    def load(
        self, vintage: Vintage, batches: "Iterable[pa.RecordBatch]", *, run_id: str, until: date | None = None
    ) -> int:
        """Bring a cold day to hot: its vintage and its late rows, in a fresh table that is then attached.

        A day that is hot already is merged into. The rows are fingerprinted on their way; when they are not what the
        receipt says, nothing is loaded. Rotation leaves the day alone before the day `until`, or before the one that
        was said earlier where that is later. Returns the rows that are now in the day.

        Raises:
            FingerprintMismatchError: The batches are not what the vintage's receipt says.
        """
        ...

    def export(self, partition: Partition) -> AbstractContextManager[Export]:
        """Open a hot day, or a cold day's late rows, for reading."""
        ...


class Writer(Mover, Protocol):
    """The one process that may change a dataset at this moment. Every method commits whole or changes nothing.

    The lock is held on the connection that commits, so a writer that lost its lock can't commit. Live ingest does not
    need it and goes on beside it.
    """

    def live(self, days: DayRange, intervals: Collection[str] = ()) -> list[Vintage]:
        """The live vintages of those days."""
        ...

    def live_paths(self) -> frozenset[str]:
        """The objects of all live vintages, of which there may be many more than anybody needs receipts of."""
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

        Raises:
            StaleStateError: A vintage that is accepted is not held any more; nothing was done.
        """
        ...

    def hold(self, holdings: Sequence[Holding], *, run_id: str) -> None:
        """Note vintages that wait for a person. Nothing that readers get changes."""
        ...

    def reject(self, vintages: Sequence[Vintage], *, run_id: str, reason: str = "") -> None:
        """Note that held vintages are never to be live; `reason` is added to why they were held.

        Raises:
            StaleStateError: One of them is not held any more; nothing was done.
        """
        ...

    def expire(self, vintages: Collection[Vintage], *, run_id: str) -> None:
        """Have superseded vintages count as expired, and note the objects that no kept vintage names from then on.

        A vintage is kept that was published, be it superseded or not, or is held. One that is live or held does not
        expire.
        """
        ...

    def note_unnamed(self, paths: Collection[str]) -> None:
        """Note, of these objects, those that no kept vintage names; what was noted already keeps its time."""
        ...

    def may_go(self, path: str) -> bool:
        """Whether an object was noted and is still named by no kept vintage; else the note is forgotten."""
        ...

    def gone(self, path: str, *, size_bytes: int, run_id: str) -> None:
        """Note in the audit log that an object which might go is deleted, and forget it."""
        ...

    def beside(self) -> AbstractContextManager[Mover]:
        """What loads or exports days at the same time as this writer does other things, in another thread.

        It works under the writer's lock: nobody else becomes the dataset's writer before the block has ended.
        """
        ...

    def keep(self, partition: Partition, until: date, *, run_id: str) -> None:
        """Have rotation leave a hot day alone before the day `until`; a later one that was said earlier stays."""
        ...

    def cut_over(self, export: Export, publication: Publication) -> None:
        """In one transaction: prove that no row changed since the export, publish, fold late rows, detach the day.

        Readers never see the day in neither tier. For a cold day only its late rows are folded.

        Raises:
            StaleStateError: Rows were changed or added since; nothing was done.
            LockTimeoutError: Readers held the day for too long; nothing was done.
        """
        ...

    def undo(self, detached: Detached, *, run_id: str, until: date | None = None) -> int:
        """Bring a detached day back to hot as it was, for rotation to leave alone before `until`; return its rows.

        Raises:
            StaleStateError: The day has later vintages or late rows; `rehydrate` brings those to hot.
        """
        ...

    def release(self, detached: Detached, *, run_id: str) -> None:
        """Drop a detached day for good."""
        ...

    def evolve(self, schemas: Sequence[Schema], *, run_id: str, anew: bool = False) -> None:
        """Have every table of the dataset, also of days that can be brought back, the columns of the last version.

        `schemas` are all versions there are, oldest first; they are known from then on. Rows that are there have null
        in columns that are new. In one transaction; readers are not held up. With `anew` the tables are made from
        scratch, whatever they were like: only of a dataset that has no row.

        Raises:
            LockTimeoutError: Readers held a table for too long; nothing was changed.
            StaleStateError: Tables that were to be made anew have rows; nothing was changed.
        """
        ...

    def restore(self, vintages: Sequence[Vintage], head: str, *, unnamed: Collection[str] = (), run_id: str) -> None:
        """Fill the dataset's ledger with vintages as they were, and note the table's head. Hot rows are left alone.

        `unnamed` are objects that no vintage names.

        Raises:
            StaleStateError: The ledger knows vintages of the dataset already; nothing was done.
        """
        ...

    def delete(self, days: DayRange, intervals: Collection[str], symbols: Collection[str], *, run_id: str) -> int:
        """Delete hot and late rows of those days; return how many. Cold rows are the lake's business."""
        ...
