"""The hot tier and the ledger beside it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from thermocline.model.aggregates import Aggregation
from thermocline.model.dataset import Dataset
from thermocline.model.derivation import Derivation
from thermocline.model.partition import DayRange, Partition
from thermocline.model.query import Query, Segment
from thermocline.model.receipt import Contents, Vintage, VintageState
from thermocline.model.report import Failed
from thermocline.model.schema import Schema
from thermocline.ports.coverage import Coverage
from thermocline.ports.ledger import (
    Act,
    AuditGuard,
    AuditQuery,
    Detached,
    HotDay,
    HotLeaf,
    Ingested,
    Trouble,
    UnnamedObject,
    Vacuumed,
)
from thermocline.ports.plain import Mapped, PlainTable
from thermocline.ports.quarantine import Quarantine, Verdict
from thermocline.ports.writer import Writer

if TYPE_CHECKING:
    import pyarrow as pa


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
        """Cold days that have late rows, of those that the look is at."""
        ...

    def as_of(self, instant: datetime) -> Sequence[Vintage]:
        """The vintage of each day that was live at that instant, in order, also where it has expired since."""
        ...

    def scan(self, query: Query, segment: Segment) -> "AbstractContextManager[pa.RecordBatchReader]":
        """The rows of a hot segment that the query asks for, in the order of the answer."""
        ...

    def aggregate(self, asked: Aggregation, segment: Segment) -> "AbstractContextManager[pa.RecordBatchReader]":
        """Partials of the rows of a hot segment, in any order; see `model/aggregates.py`."""
        ...

    def cancel(self) -> None:
        """End what another thread is reading in this look, with an error there; nothing more is read in it then.

        Where nothing is being read, nothing happens.
        """
        ...

    def late_rows(self, query: Query) -> "pa.Table":
        """Every late row of the query's days, intervals and symbols, all columns."""
        ...


class Hot(Quarantine, Coverage, Protocol):
    """The hot tier, ledgers and quarantine. They are one port because one transaction must be able to change all."""

    @property
    def url(self) -> str:
        """Where it is, without credentials."""
        ...

    def close(self) -> None:
        """Give connections back. They are opened again when something is asked again."""
        ...

    def writer(self, dataset: Dataset, *, wait_seconds: float = 60.0) -> AbstractContextManager[Writer]:
        """Become the dataset's writer, waiting for another one to finish.

        Raises:
            LockTimeoutError: Another writer was still at it after `wait_seconds`; the text says which.
            StaleStateError: The dataset's columns are not those that were applied last; see `schemas`.
        """
        ...

    def alone(self, act: str, dataset: Dataset, *, wait_seconds: float = 60.0) -> AbstractContextManager[object]:
        """Be the only one who does such an act to the dataset, waiting for another one to finish.

        It holds off nobody else: writers go on beside it. `act` is a gerund, for what the error says.

        Raises:
            LockTimeoutError: Another one was still at it after `wait_seconds`; the text says which.
        """
        ...

    def schemas(self, datasets: Sequence[Dataset]) -> Mapping[str, Sequence[Schema]]:
        """Every version of each dataset's columns that the store has, oldest first; of one never used there is none.

        Of datasets that are not among these, too: their declarations may be gone.
        """
        ...

    def snapshot(
        self, datasets: Sequence[Dataset], days: DayRange, intervals: Collection[str] = ()
    ) -> AbstractContextManager[Snapshot]:
        """Take a look that stays the same while it is open."""
        ...

    def at_once(self, query: Query) -> "AbstractContextManager[pa.RecordBatchReader | None]":
        """The answer to a query, where this store knows that hot days alone have it and how to ask for it at once.

        None where it does not know, or what it knew is not so any more: then ask in a `snapshot`. What it gives is as
        consistent as that.
        """
        ...

    def ingest(
        self,
        dataset: Dataset,
        rows: "pa.Table",
        *,
        hot_days: Collection[Partition],
        run_id: str,
        verdict: Verdict | None = None,
    ) -> Ingested:
        """Accept conformed rows at once; on return they are durable and visible to every query.

        Rows of hot days are merged there. Rows of other days become late rows, unless the day is named in `hot_days`
        and has no vintage: then it becomes hot. Where they come from the quarantine, the `verdict` on them is noted in
        the same transaction, so that none is accepted twice.

        Raises:
            StaleStateError: As `writer` does, or somebody else has said something of one of them meanwhile; nothing was
                accepted.
        """
        ...

    def leaves(self, dataset: Dataset, *, counted: bool = True) -> list[HotLeaf]:
        """Every day's table, by the catalog's own bounds, with exact row counts.

        To count reads every row; unless they are `counted`, rows and bytes are 0.
        """
        ...

    def hot_days(self, dataset: Dataset) -> list[HotDay]:
        """The hot set."""
        ...

    def live(self, dataset: Dataset, days: DayRange, intervals: Collection[str] = ()) -> list[Vintage]:
        """The live vintages of those days, in order."""
        ...

    def vintages(
        self,
        dataset: Dataset,
        days: DayRange,
        intervals: Collection[str] = (),
        states: Collection[VintageState] = (),
    ) -> list[Vintage]:
        """Every vintage of those days, or those in the named states, ordered by interval, day and version."""
        ...

    def unnamed(self, dataset: Dataset) -> list[UnnamedObject]:
        """The objects that no kept vintage names, as far as that was noted, oldest note first."""
        ...

    def late(self, dataset: Dataset) -> Mapping[Partition, int]:
        """How many late rows wait for the next night, by day."""
        ...

    def detached(self, dataset: Dataset) -> list[Detached]:
        """The days that `undo` can bring back."""
        ...

    def head(self, dataset: Dataset) -> str | None:
        """See `Writer.head`."""
        ...

    def trouble(self, dataset: Dataset) -> list[Trouble]:
        """Partitions that an act could not do, in order, until it succeeds."""
        ...

    def note_trouble(self, act: str, failed: Sequence[Failed], *, run_id: str) -> None:
        """Keep what an act could not do, with the reason.

        It ends by itself, in the same transaction, where a writer publishes (`backfill`), loads (`load`), cuts over
        (`rotate`) or releases (`release`) the partition.
        """
        ...

    def end_trouble(self, act: str, partitions: Collection[Partition]) -> None:
        """Forget the trouble of partitions that turned out not to need the act any more."""
        ...

    def derivations(self, dataset: Dataset) -> Mapping[Partition, Derivation]:
        """What the derived days of a dataset were made of, as far as it was noted."""
        ...

    def note_derivations(self, derivations: Sequence[Derivation], *, run_id: str) -> None:
        """Keep what derived days were made of, in place of what was noted of them before."""
        ...

    def plain(self, dataset: Dataset, mapped: Mapped, *, hold: bool) -> "AbstractContextManager[PlainTable | None]":
        """The table of the dataset's name if it is not partitioned as ours are, else None.

        With `hold` nobody can write to it until the block ends.
        """
        ...

    def vacuum(self, dataset: Dataset, *, force: bool = False) -> list[Vacuumed]:
        """VACUUM (ANALYZE) what stays hot, where dead rows or no statistics make it pay; with `force` all of it."""
        ...

    def rehearse(self, partition: Partition, batches: "Iterable[pa.RecordBatch]") -> Contents:
        """Load rows as a day's are loaded, into a table that nobody sees; read them back out and say what they are.

        The table is gone when this returns. One that a death left behind is cleared away by the next rehearsal, and one
        that is in use by another is left alone.

        Raises:
            HotStoreError: They can't be loaded, as rows of one key can't.
        """
        ...

    def record(self, *acts: Act) -> None:
        """Append to the audit log, all of them or none. Nothing can be changed or taken out of it afterwards."""
        ...

    def audit(self, asked: AuditQuery) -> list[Act]:
        """The lines of the audit log that are asked for, newest first."""
        ...

    def audit_guard(self) -> AuditGuard:
        """Who owns the audit log, and how the application could still change it."""
        ...

    def protect_audit(self, owner: str, *, run_id: str) -> AuditGuard:
        """Give the audit log to another owner, so that the application can do nothing but append to it and read it.

        Whoever calls this must be allowed to, as a superuser is.

        Raises:
            HotStoreError: It would not keep the application from changing the log, or this store has no owners.
        """
        ...

    def last(self, name: str, dataset: Dataset) -> Act | None:
        """The newest act of that name on the dataset."""
        ...
