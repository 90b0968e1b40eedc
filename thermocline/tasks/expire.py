"""Expiry: what is kept no longer goes, each thing only when nobody can still be at it.

Vintages that were superseded for longer than vintages are kept count as expired; none ever does by default. Snapshots
of the table that are older than a grace are forgotten, but for the newest. Objects that no kept vintage names are noted
first, those too that a run which died left behind, and are deleted when they were noted for longer than the grace. The
grace is to be longer than the longest query, since a query may read what was live when it began.

An object that the lake's journal says was published, by a vintage of which this ledger never knew, is not deleted: a
ledger that came out of a backup is older than its lake, and what was published since may lie nowhere else.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from thermocline.faults import Step, step
from thermocline.model.dataset import Dataset
from thermocline.model.journal import Entry, Event
from thermocline.model.partition import ALL_DAYS, Partition, midnight
from thermocline.model.receipt import Vintage, VintageState
from thermocline.model.recovery import Rebuilt
from thermocline.ports import SILENT, Act, Hot, Lake, Progress, Writer
from thermocline.tasks.archive import settled_head

GRACE_HOURS = 24

_KEPT = frozenset({VintageState.PUBLISHED, VintageState.HELD})


@dataclass(frozen=True, slots=True)
class Idle:
    """An object that no kept vintage names. `since` is None where that is noticed only now."""

    path: str
    size_bytes: int
    since: datetime | None

    def document(self) -> dict[str, Any]:
        """The object as JSON."""
        return {"path": self.path, "bytes": self.size_bytes, "since": self.since and self.since.isoformat()}


@dataclass
class Expired:
    """What goes, or went: `vintages` and `snapshots` are forgotten, `deleted` objects deleted; `waiting` go later.

    `unaccounted` are objects that never go by themselves: they were published, but not by this ledger. `metadata` are
    deleted files of the Iceberg table that no version of it which is kept names.
    """

    dataset: str
    run_id: str = ""
    vintages: list[Vintage] = field(default_factory=list)
    snapshots: list[str] = field(default_factory=list)
    deleted: list[Idle] = field(default_factory=list)
    waiting: list[Idle] = field(default_factory=list)
    unaccounted: list[Idle] = field(default_factory=list)
    metadata: list[Idle] = field(default_factory=list)

    @property
    def deleted_bytes(self) -> int:
        """The bytes of the objects that are deleted."""
        return sum(idle.size_bytes for idle in (*self.deleted, *self.metadata))

    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "dataset": self.dataset,
            "run_id": self.run_id or None,
            "vintages": [vintage.document() for vintage in self.vintages],
            "snapshots": self.snapshots,
            "deleted": [idle.document() for idle in self.deleted],
            "metadata": [idle.document() for idle in self.metadata],
            "deleted_bytes": self.deleted_bytes,
            "waiting": [idle.document() for idle in self.waiting],
            "unaccounted": [idle.document() for idle in self.unaccounted],
        }


@dataclass(frozen=True)
class Expiry:
    """The parts of one expiry. `keep_days` None keeps every vintage; `as_of` is today, `now` this very moment."""

    hot: Hot
    lake: Lake
    as_of: date
    now: datetime
    keep_days: int | None = None
    grace: timedelta = timedelta(hours=GRACE_HOURS)
    progress: Progress = SILENT

    def plan(self, datasets: Sequence[Dataset]) -> list[Expired]:
        """What `run` would do as of now; changes nothing."""
        planned = []
        for dataset in datasets:
            old, snapshots = self._old_vintages(dataset), self._old_snapshots(dataset)
            waiting, due, strange = self._idle(dataset, old)
            metadata = [] if strange else self._metadata(dataset)
            planned.append(Expired(dataset.name, "", old, snapshots, due, waiting, strange, metadata))
        return planned

    def run(self, datasets: Sequence[Dataset], *, run_id: str) -> list[Expired]:
        """Let go what is due, as the writer of each dataset: nobody else writes, or adopts an object, meanwhile.

        What a vintage that expires leaves behind is noted and goes with a later run. A run that dies is continued by
        the next; an object that is gone already is no error.
        """
        results = []
        with self.lake.run(run_id):
            for dataset in datasets:
                with self.hot.writer(dataset) as writer:
                    results.append(self._expire(dataset, writer, run_id))
        return results

    def _expire(self, dataset: Dataset, writer: Writer, run_id: str) -> Expired:
        result = Expired(dataset.name, run_id)
        if writer.head() is None:
            return result  # nothing was ever published; a table that is there is not ours
        settled_head(writer, self.lake, dataset, run_id=run_id, anew=True)
        if old := self._old_vintages(dataset):
            at = datetime.now(UTC)
            self.lake.note(dataset, [Entry(Event.EXPIRE, at, run_id, v.partition, v.receipt.version) for v in old])
            writer.expire(old, run_id=run_id)
            result.vintages = old
        # First the snapshots that name objects, then the objects.
        result.snapshots = self.lake.expire_snapshots(dataset, self.now - self.grace)
        waiting, due, result.unaccounted = self._idle(dataset)
        writer.note_unnamed([idle.path for idle in waiting if idle.since is None])
        result.waiting = waiting
        published = self.lake.paths(dataset)
        self.progress.begin(f"expiring {dataset.name}", len(due))
        for idle in due:
            self.progress.advance()
            if idle.path in published or not writer.may_go(idle.path):
                continue
            with step(Step.DELETE_OBJECT):
                self.lake.delete(idle.path)
            writer.gone(idle.path, size_bytes=idle.size_bytes, run_id=run_id)
            result.deleted.append(idle)
        result.metadata = [] if result.unaccounted else self._metadata(dataset)
        for idle in result.metadata:
            with step(Step.DELETE_OBJECT):
                self.lake.delete(idle.path)
        if result.metadata:
            freed = sum(idle.size_bytes for idle in result.metadata)
            detail = {"dataset": dataset.name, "objects": len(result.metadata), "bytes": freed}
            self.hot.record(Act("delete-metadata", None, run_id, detail))
        return result

    def _metadata(self, dataset: Dataset) -> list[Idle]:
        """Files of the table that nothing names, and that are too old to be of a commit on its way."""
        found = self.lake.unnamed_metadata(dataset, self.now - self.grace)
        return [Idle(stored.path, stored.size_bytes, stored.modified_at) for stored in found]

    def _old_vintages(self, dataset: Dataset) -> list[Vintage]:
        if self.keep_days is None:
            return []
        before = midnight(self.as_of) - timedelta(days=self.keep_days)
        kept = self.hot.vintages(dataset, ALL_DAYS, states=[VintageState.PUBLISHED])
        return [vintage for vintage in kept if vintage.superseded_at is not None and vintage.superseded_at < before]

    def _old_snapshots(self, dataset: Dataset) -> list[str]:
        head = self.lake.head(dataset)
        before = self.now - self.grace
        return [name for name, at in self.lake.snapshots(dataset).items() if at < before and name != head]

    def _idle(self, dataset: Dataset, expiring: Collection[Vintage] = ()) -> tuple[list[Idle], list[Idle], list[Idle]]:
        """The objects that no kept vintage names: those whose grace is not over, those that may go, those that may not.

        The last ones are unaccounted for.
        """
        known = self.hot.vintages(dataset, ALL_DAYS)
        named = {v.receipt.path for v in known if v.state in _KEPT and v not in expiring}
        since: dict[str, datetime | None] = {noted.path: noted.since for noted in self.hot.unnamed(dataset)}
        sizes = {stored.path: stored.size_bytes for stored in self.lake.survey(dataset)}
        for path in sizes:
            since.setdefault(path, None)
        waiting: list[Idle] = []
        due: list[Idle] = []
        for path in sorted(since.keys() - named):
            idle = Idle(path, sizes.get(path, 0), since[path])
            over = idle.since is not None and idle.since <= self.now - self.grace
            (due if over else waiting).append(idle)
        strange = self._unaccounted(dataset, known, {idle.path for idle in due})
        return waiting, [i for i in due if i.path not in strange], [i for i in due if i.path in strange]

    def _unaccounted(self, dataset: Dataset, known: Sequence[Vintage], paths: Collection[str]) -> set[str]:
        """Of some objects, those that the journal says hold vintages which this ledger has not, or has lost."""
        if not paths:
            return set()
        ledger = {_identity(vintage): vintage for vintage in known}
        found = set()
        for vintage in Rebuilt(self.lake.journal(dataset).entries, None).vintages:
            path, mine = vintage.receipt.path, ledger.get(_identity(vintage))
            if path not in paths or vintage.state not in _KEPT:
                continue
            # Before it was compacted, a vintage of an older ledger lay in an object that has gone since.
            if mine is None or (mine.state in _KEPT and self.lake.size_bytes(mine.receipt.path) is None):
                found.add(path)
        return found


def _identity(vintage: Vintage) -> tuple[Partition, int, str]:
    """Which vintage it is, wherever it lies. A ledger that came out of a backup counts versions anew."""
    return vintage.partition, vintage.receipt.version, vintage.receipt.contents.fingerprint
