"""The hot tier in this process's memory: for tests and trials, and as the shortest statement of the port `Hot`.

All of it is one `State`. An act changes a copy and puts it in place of the old one when it is done, so it commits whole
or not at all; a snapshot is the state as it was, which nobody changes any more.
"""

import itertools
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from thermocline.errors import FingerprintMismatchError, HotStoreError, LockTimeoutError, StaleStateError
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import dataset_named
from thermocline.model.fingerprint import contents_of
from thermocline.model.partition import DayRange, Partition, partitions_of, rows_of
from thermocline.model.query import Query
from thermocline.model.receipt import Contents, Vintage, VintageState
from thermocline.model.rejected import Rejected
from thermocline.model.report import Failed
from thermocline.ports import (
    Act,
    AuditGuard,
    AuditQuery,
    Detached,
    Export,
    Holding,
    HotDay,
    HotLeaf,
    Ingested,
    Publication,
    Snapshot,
    Trouble,
    UnnamedObject,
    Vacuumed,
    Writer,
    came_to_hot,
    expired_act,
    gone_act,
)
from thermocline.ports.ledger import restored
from thermocline.stores.client import client_name
from thermocline.stores.memory_snapshot import BATCH_ROWS, MemorySnapshot, matches
from thermocline.stores.memory_state import Day, Kept, State, newest, table_of

_numbers = itertools.count(1)


class MemoryHot:
    """See `Hot`. Any number of threads may use it."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Start empty. `clock` dates vintages, detachments and acts, as a server's clock does elsewhere."""
        self._url = f"memory://{next(_numbers)}"
        self._clock = clock
        self._state = State()
        self._committing = threading.RLock()
        self._writing: dict[str, threading.Lock] = {}

    def __repr__(self) -> str:
        """The class and the URL."""
        return f"MemoryHot({self._url!r})"

    @property
    def url(self) -> str:
        """See `Hot.url`."""
        return self._url

    @property
    def state(self) -> State:
        """What was committed last. It is not to be changed."""
        return self._state

    @contextmanager
    def transaction(self) -> Iterator[State]:
        """A copy of the state to change; it becomes the state when the block ends without an error."""
        with self._committing:
            draft = self._state.copy()
            yield draft
            self._state = draft

    @contextmanager
    def writer(self, dataset: Dataset, *, wait_seconds: float = 60.0) -> Iterator[Writer]:
        """See `Hot.writer`."""
        with self._committing:
            lock = self._writing.setdefault(dataset.name, threading.Lock())
        if not lock.acquire(timeout=wait_seconds):
            msg = (
                f"another run is writing {dataset.name} (in this process); nothing was changed, try again when it is "
                "done"
            )
            raise LockTimeoutError(msg)
        try:
            yield _Writer(self, dataset, self._clock)
        finally:
            lock.release()

    @contextmanager
    def snapshot(
        self, datasets: Sequence[Dataset], days: DayRange, intervals: Collection[str] = ()
    ) -> Iterator[Snapshot]:
        """See `Hot.snapshot`."""
        yield MemorySnapshot(self._state, datasets, days, intervals)

    def ingest(self, dataset: Dataset, rows: pa.Table, *, hot_days: Collection[Partition], run_id: str) -> Ingested:
        """See `Hot.ingest`."""
        hot_rows = 0
        with self.transaction() as state:
            for partition in partitions_of(dataset, rows):
                part = table_of(dataset, rows_of(rows, partition).to_batches())
                if state.accepts(partition, hot_days):
                    state.put(dataset, partition, part, version=0)
                    hot_rows += len(part)
                else:
                    state.late[partition] = (*state.late.get(partition, ()), part)
            ingested = Ingested(hot_rows, len(rows) - hot_rows)
            state.record(ingested.act(dataset, rows, run_id), self._clock())
        return ingested

    def leaves(self, dataset: Dataset) -> list[HotLeaf]:
        """See `Hot.leaves`."""
        hot = self._state.hot
        return [
            HotLeaf(p, f"{self._url}/{p}", len(hot[p].rows), hot[p].rows.nbytes, registered=True, until=hot[p].until)
            for p in sorted(hot)
            if p.dataset == dataset.name
        ]

    def hot_days(self, dataset: Dataset) -> list[HotDay]:
        """See `Hot.hot_days`."""
        hot = self._state.hot
        return [HotDay(p, hot[p].version, hot[p].until) for p in sorted(hot) if p.dataset == dataset.name]

    def live(self, dataset: Dataset, days: DayRange, intervals: Collection[str] = ()) -> list[Vintage]:
        """See `Hot.live`."""
        return self._state.live(dataset, days, intervals)

    def vintages(
        self,
        dataset: Dataset,
        days: DayRange,
        intervals: Collection[str] = (),
        states: Collection[VintageState] = (),
    ) -> list[Vintage]:
        """See `Hot.vintages`."""
        return self._state.vintages_of(dataset, days, intervals, states)

    def unnamed(self, dataset: Dataset) -> list[UnnamedObject]:
        """See `Hot.unnamed`."""
        noted = sorted((since, path) for path, (name, since) in self._state.unnamed.items() if name == dataset.name)
        return [UnnamedObject(path, since) for since, path in noted]

    def late(self, dataset: Dataset) -> Mapping[Partition, int]:
        """See `Hot.late`."""
        late = self._state.late
        return {p: sum(map(len, late[p])) for p in sorted(late) if p.dataset == dataset.name}

    def detached(self, dataset: Dataset) -> list[Detached]:
        """See `Hot.detached`."""
        return [kept.day for kept in self._state.detached.values() if kept.day.partition.dataset == dataset.name]

    def head(self, dataset: Dataset) -> str | None:
        """See `Hot.head`."""
        return self._state.heads.get(dataset.name)

    def trouble(self, dataset: Dataset) -> list[Trouble]:
        """See `Hot.trouble`."""
        found = self._state.trouble
        return [found[partition, act] for partition, act in sorted(found) if partition.dataset == dataset.name]

    def note_trouble(self, act: str, failed: Sequence[Failed], *, run_id: str) -> None:
        """See `Hot.note_trouble`."""
        with self.transaction() as state:
            state.note_trouble(act, failed, run_id, self._clock())

    def end_trouble(self, act: str, partitions: Collection[Partition]) -> None:
        """See `Hot.end_trouble`."""
        with self.transaction() as state:
            state.end_trouble(act, partitions)

    def quarantine(self, rejected: Sequence[Rejected], *, run_id: str) -> None:
        """See `Hot.quarantine`."""
        with self.transaction() as state:
            state.reject(rejected, run_id)

    def vacuum(self, dataset: Dataset, *, force: bool = False) -> list[Vacuumed]:
        """See `Hot.vacuum`. Memory holds no dead rows, so there is something to report with `force` only."""
        with self.writer(dataset):
            return [Vacuumed(x.table, x.size_bytes, x.size_bytes, 0, 0.0) for x in self.leaves(dataset) if force]

    def rehearse(self, partition: Partition, batches: Iterable[pa.RecordBatch]) -> Contents:
        """See `Hot.rehearse`."""
        dataset = dataset_named(partition.dataset)
        rows = table_of(dataset, batches)
        if len(rows) != len(newest(rows, dataset)):
            msg = f"{partition} can't be restored: several of its rows have one key; nothing was changed"
            raise HotStoreError(msg)
        return contents_of(dataset, rows.to_batches())

    def record(self, act: Act) -> None:
        """See `Hot.record`."""
        with self.transaction() as state:
            state.record(act, self._clock())

    def audit(self, asked: AuditQuery) -> list[Act]:
        """See `Hot.audit`."""
        datasets = {dataset.name for dataset in asked.datasets}
        found = [
            act
            for act in reversed(self._state.audit)
            if (not datasets or act.dataset in datasets)
            and (not asked.names or act.name in asked.names)
            and asked.run_id in {None, act.run_id}
            and act.at is not None
            and (asked.start is None or act.at >= asked.start)
            and (asked.end is None or act.at < asked.end)
        ]
        return found[: asked.limit]

    def audit_guard(self) -> AuditGuard:
        """See `Hot.audit_guard`."""
        return AuditGuard(client_name(), ["it is in the memory of this process"])

    def protect_audit(self, owner: str, *, run_id: str) -> AuditGuard:
        """See `Hot.protect_audit`."""
        del run_id
        msg = f"the audit log is in the memory of this process and can't be given to {owner}"
        raise HotStoreError(msg)

    def last(self, name: str, dataset: Dataset) -> Act | None:
        """See `Hot.last`."""
        for act in reversed(self._state.audit):
            if act.name == name and act.dataset == dataset.name:
                return act
        return None


@dataclass(frozen=True)
class _Export:
    """See `Export`; with what was there when it was opened, to compare with later."""

    partition: Partition
    table: pa.Table
    day: Day | None
    late: tuple[pa.Table, ...]

    @property
    def rows(self) -> int:
        return len(self.table)

    @property
    def was_hot(self) -> bool:
        return self.day is not None

    def batches(self) -> Iterator[pa.RecordBatch]:
        yield from self.table.to_batches(max_chunksize=BATCH_ROWS)


class _Writer:
    """See `Writer`."""

    def __init__(self, hot: MemoryHot, dataset: Dataset, clock: Callable[[], datetime]) -> None:
        self._hot = hot
        self._dataset = dataset
        self._clock = clock

    def live(self, days: DayRange, intervals: Collection[str] = ()) -> list[Vintage]:
        return self._hot.live(self._dataset, days, intervals)

    def next_versions(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        vintages = self._hot.state.vintages
        return {p: 1 + max((v.receipt.version for v in vintages.get(p, ())), default=0) for p in partitions}

    def head(self) -> str | None:
        return self._hot.state.heads.get(self._dataset.name)

    def publish(
        self,
        publication: Publication,
        hot_rows: Mapping[Partition, Iterable[pa.RecordBatch]] | None = None,
        rows_if_hot: Mapping[Partition, Iterable[pa.RecordBatch]] | None = None,
    ) -> None:
        versions = {vintage.partition: vintage.receipt.version for vintage in publication.accepted}
        versions |= {receipt.partition: receipt.version for receipt in publication.receipts}
        with self._hot.transaction() as state:
            state.publish(publication, self._clock())
            where_hot = {p: rows for p, rows in (rows_if_hot or {}).items() if p in state.hot}
            for partition, batches in {**(hot_rows or {}), **where_hot}.items():
                rows = table_of(self._dataset, batches)
                state.put(self._dataset, partition, rows, versions.get(partition, 0))
            if act := publication.act({**(hot_rows or {}), **where_hot}.keys()):
                state.record(act, self._clock())
            state.end_trouble("backfill", {*versions, *(hot_rows or ())})

    def hold(self, holdings: Sequence[Holding], *, run_id: str) -> None:
        with self._hot.transaction() as state:
            state.hold(holdings, run_id, self._clock())

    def reject(self, vintages: Sequence[Vintage], *, run_id: str, reason: str = "") -> None:
        with self._hot.transaction() as state:
            state.dismiss(vintages, run_id, reason, self._clock())

    def expire(self, vintages: Collection[Vintage], *, run_id: str) -> None:
        with self._hot.transaction() as state:
            for vintage in vintages:
                state.expire(vintage)
            paths = {vintage.receipt.path for vintage in vintages}
            state.note_unnamed(paths, self._dataset.name, self._clock())
            state.record(expired_act(self._dataset, vintages, run_id), self._clock())

    def note_unnamed(self, paths: Collection[str]) -> None:
        with self._hot.transaction() as state:
            state.note_unnamed(paths, self._dataset.name, self._clock())

    def may_go(self, path: str) -> bool:
        with self._hot.transaction() as state:
            if path in state.named():
                state.unnamed.pop(path, None)
            return path in state.unnamed

    def gone(self, path: str, *, size_bytes: int, run_id: str) -> None:
        with self._hot.transaction() as state:
            state.unnamed.pop(path, None)
            state.record(gone_act(self._dataset, path, size_bytes, run_id), self._clock())

    def load(
        self, vintage: Vintage, batches: Iterable[pa.RecordBatch], *, run_id: str, until: date | None = None
    ) -> int:
        partition, receipt = vintage.partition, vintage.receipt
        rows = table_of(self._dataset, batches)
        if differences := receipt.contents.differences(contents_of(self._dataset, rows.to_batches())):
            msg = (
                f"{receipt.path} is not what its receipt says ({'; '.join(differences)}); nothing was loaded. "
                f"`thermocline verify {partition.dataset}` names every such object"
            )
            raise FingerprintMismatchError(msg)
        with self._hot.transaction() as state:
            total = len(state.put(self._dataset, partition, rows, receipt.version).rows)
            state.keep(partition, until)
            detail = {"rows": total, "version": receipt.version, "path": receipt.path}
            state.record(came_to_hot(partition, run_id, detail, until), self._clock())
            state.end_trouble("load", [partition])
        return total

    def keep(self, partition: Partition, until: date, *, run_id: str) -> None:
        with self._hot.transaction() as state:
            state.keep(partition, until)
            state.record(came_to_hot(partition, run_id, {}, until), self._clock())

    @contextmanager
    def export(self, partition: Partition) -> Iterator[Export]:
        state = self._hot.state
        day, late = state.hot.get(partition), state.late.get(partition, ())
        parts = ([day.rows] if day else []) + ([newest(pa.concat_tables(late), self._dataset)] if late else [])
        table = newest(pa.concat_tables(parts), self._dataset) if parts else self._dataset.arrow_schema.empty_table()
        yield _Export(partition, table, day, late)

    def cut_over(self, export: Export, publication: Publication) -> None:
        if not isinstance(export, _Export):
            msg = f"an export of {type(export).__name__} is not this store's"
            raise TypeError(msg)
        partition = export.partition
        with self._hot.transaction() as state:
            day, late = state.hot.get(partition), state.late.get(partition, ())
            read = len(export.late)
            same_rows = (day and day.rows) is (export.day and export.day.rows)
            if not same_rows or late[:read] != export.late:
                msg = f"rows of {partition} changed while it was rotated; they were kept hot, the next run takes it up"
                raise StaleStateError(msg)
            state.publish(publication, self._clock())
            state.end_trouble("rotate", [partition])
            state.late.pop(partition, None)
            if late[read:]:
                state.late[partition] = late[read:]
            if day:
                self._detach(state, export, day, publication)
            else:
                detail = {"rows": export.rows, "path": publication.receipts[0].path if publication.receipts else None}
                state.record(Act("fold", partition, publication.run_id, detail), self._clock())

    def _detach(self, state: State, export: _Export, day: Day, publication: Publication) -> None:
        partition, vintage = export.partition, state.live_of(export.partition)
        if vintage is None and export.rows:
            msg = f"{partition} has no live vintage; its hot rows were kept"
            raise StaleStateError(msg)
        contents = contents_of(self._dataset, day.rows.to_batches())
        same = vintage and contents.content_fingerprint == vintage.receipt.contents.content_fingerprint
        name = f"{partition} {next(_numbers)}"
        version = vintage.receipt.version if vintage and same else 0
        del state.hot[partition]
        state.detached[name] = Kept(Detached(partition, name, version, self._clock(), len(day.rows)), day.rows)
        detail = {
            "rows": export.rows,
            "version": vintage.receipt.version if vintage else None,
            "path": vintage.receipt.path if vintage else None,
            "written": bool(publication.receipts),
            "kept_as": name,
        }
        state.record(Act("rotate", partition, publication.run_id, detail), self._clock())

    def undo(self, detached: Detached, *, run_id: str, until: date | None = None) -> int:
        partition = detached.partition
        with self._hot.transaction() as state:
            vintage = state.live_of(partition)
            kept = state.detached.pop(detached.table, None)
            same = vintage is not None and vintage.receipt.version == detached.version
            if kept is None or not same or partition in state.late or partition in state.hot:
                msg = (
                    f"{partition} has changed since it was rotated (a later vintage, late rows, or rows in hot), or is "
                    "kept no longer; nothing was changed. Bring it to hot as it is now with "
                    f"`thermocline rehydrate {partition.dataset}`"
                )
                raise StaleStateError(msg)
            state.hot[partition] = Day(detached.version, kept.rows, until)
            detail = {"rows": detached.rows, "version": detached.version, "until": until and until.isoformat()}
            state.record(Act("undo", partition, run_id, detail), self._clock())
        return detached.rows

    def release(self, detached: Detached, *, run_id: str) -> None:
        with self._hot.transaction() as state:
            state.end_trouble("release", [detached.partition])
            if state.detached.pop(detached.table, None):
                detail = {"rows": detached.rows, "version": detached.version, "table": detached.table}
                state.record(Act("release", detached.partition, run_id, detail), self._clock())

    def restore(self, vintages: Sequence[Vintage], head: str, *, unnamed: Collection[str] = (), run_id: str) -> None:
        with self._hot.transaction() as state:
            state.restore(self._dataset, vintages, head, unnamed, self._clock())
            state.audit.append(replace(restored(self._dataset, vintages, run_id), at=self._clock()))

    def delete(self, days: DayRange, intervals: Collection[str], symbols: Collection[str], *, run_id: str) -> int:
        deleted = 0
        asked = Query(self._dataset, symbols=tuple(symbols), intervals=tuple(intervals))

        def kept(rows: pa.Table) -> pa.Table:
            nonlocal deleted
            left = rows.filter(pc.invert(matches(rows, asked)))
            deleted += len(rows) - len(left)
            return left if len(left) < len(rows) else rows

        with self._hot.transaction() as state:
            for partition, day in state.hot.items():
                if asked.wants(partition) and partition.day in days:
                    state.hot[partition] = replace(day, rows=kept(day.rows))
            for partition, late in list(state.late.items()):
                if asked.wants(partition) and partition.day in days:
                    state.late[partition] = tuple(rows for rows in map(kept, late) if len(rows))
                    if not state.late[partition]:
                        del state.late[partition]
            detail = {
                "dataset": self._dataset.name,
                "rows": deleted,
                "start": str(days.start),
                "end": str(days.end),
                "intervals": sorted(intervals),
                "symbols": sorted(symbols),
            }
            state.record(Act("delete", None, run_id, detail), self._clock())
        return deleted
