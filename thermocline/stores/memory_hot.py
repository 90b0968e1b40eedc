"""The hot tier in this process's memory: for tests and trials, and as the shortest statement of the port `Hot`.

All of it is one `State`. An act changes a copy and puts it in place of the old one when it is done, so it commits whole
or not at all; a snapshot is the state as it was, which nobody changes any more.
"""

import itertools
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import pyarrow as pa

from thermocline.errors import HotStoreError, LockTimeoutError
from thermocline.model.coverage.due import Due, due_of
from thermocline.model.coverage.states import Run, Series
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import dataset_named
from thermocline.model.derivation import Derivation
from thermocline.model.fingerprint import contents_of
from thermocline.model.partition import DayRange, Partition, partitions_of, rows_of
from thermocline.model.query import Query
from thermocline.model.receipt import Contents, Vintage, VintageState
from thermocline.model.report import Failed
from thermocline.model.schema import Schema
from thermocline.ports import (
    Act,
    AuditGuard,
    AuditQuery,
    CoverageWriter,
    Detached,
    HotDay,
    HotLeaf,
    Ingested,
    Snapshot,
    Trouble,
    UnnamedObject,
    Vacuumed,
    Verdict,
    Writer,
)
from thermocline.stores.client import client_name
from thermocline.stores.memory_quarantine import MemoryQuarantine
from thermocline.stores.memory_rows import newest, table_of
from thermocline.stores.memory_snapshot import MemorySnapshot
from thermocline.stores.memory_state import State
from thermocline.stores.memory_writer import MemoryWriter

_numbers = itertools.count(1)


class MemoryHot(MemoryQuarantine):
    """See `Hot`. Any number of threads may use it."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Start empty. `clock` dates vintages, detachments and acts, as a server's clock does elsewhere."""
        self._url = f"memory://{next(_numbers)}"
        self._clock = clock
        self._state = State()
        self._committing = threading.RLock()
        self._locks: dict[tuple[str, str], threading.Lock] = {}

    def __repr__(self) -> str:
        """The class and the URL."""
        return f"MemoryHot({self._url!r})"

    @property
    def url(self) -> str:
        """See `Hot.url`."""
        return self._url

    def close(self) -> None:
        """See `Hot.close`. There is no connection."""

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
        with self.alone("writing", dataset, wait_seconds=wait_seconds):
            with self.transaction() as state:
                applied = state.current(dataset)
            yield MemoryWriter(self, applied, self._clock)

    @contextmanager
    def alone(self, act: str, dataset: Dataset, *, wait_seconds: float = 60.0) -> Iterator[None]:
        """See `Hot.alone`."""
        with self._committing:
            lock = self._locks.setdefault((act, dataset.name), threading.Lock())
        if not lock.acquire(timeout=wait_seconds):
            msg = (
                f"another run is {act} {dataset.name} (in this process); nothing was changed, try again when it is done"
            )
            raise LockTimeoutError(msg)
        try:
            yield
        finally:
            lock.release()

    def schemas(self, datasets: Sequence[Dataset]) -> Mapping[str, Sequence[Schema]]:
        """See `Hot.schemas`."""
        del datasets
        return self._state.schemas

    @contextmanager
    def snapshot(
        self, datasets: Sequence[Dataset], days: DayRange, intervals: Collection[str] = ()
    ) -> Iterator[Snapshot]:
        """See `Hot.snapshot`."""
        yield MemorySnapshot(self._state, datasets, days, intervals)

    @contextmanager
    def at_once(self, query: Query) -> Iterator[None]:
        """See `Hot.at_once`. A look costs nothing here."""
        del query
        yield None

    def ingest(
        self,
        dataset: Dataset,
        rows: pa.Table,
        *,
        hot_days: Collection[Partition],
        run_id: str,
        verdict: Verdict | None = None,
    ) -> Ingested:
        """See `Hot.ingest`."""
        hot_rows = 0
        with self.transaction() as state:
            state.current(dataset)
            for partition in partitions_of(dataset, rows):
                part = table_of(dataset, rows_of(rows, partition).to_batches())
                if state.accepts(partition, hot_days):
                    state.put(dataset, partition, part, version=0)
                    hot_rows += len(part)
                else:
                    state.late[partition] = (*state.late.get(partition, ()), part)
            ingested = Ingested(hot_rows, len(rows) - hot_rows)
            state.record(ingested.act(dataset, rows, run_id), self._clock())
            if verdict:
                state.judge(verdict, run_id, self._clock())
            symbols = rows[dataset.symbol_column].unique().to_pylist()
            state.note_due(dataset, due_of(partitions_of(dataset, rows), run_id, symbols))
        return ingested

    def leaves(self, dataset: Dataset, *, counted: bool = True) -> list[HotLeaf]:
        """See `Hot.leaves`. To count costs nothing here."""
        del counted
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

    def derivations(self, dataset: Dataset) -> Mapping[Partition, Derivation]:
        """See `Hot.derivations`."""
        found = self._state.derivations
        return {partition: found[partition] for partition in sorted(found) if partition.dataset == dataset.name}

    def note_derivations(self, derivations: Sequence[Derivation], *, run_id: str) -> None:
        """See `Hot.note_derivations`."""
        del run_id
        with self.transaction() as state:
            state.derivations.update((each.partition, each) for each in derivations)

    def vacuum(self, dataset: Dataset, *, force: bool = False) -> list[Vacuumed]:
        """See `Hot.vacuum`. Memory holds no dead rows, so there is something to report with `force` only."""
        with self.writer(dataset):
            return [Vacuumed(x.table, x.size_bytes, x.size_bytes, 0, 0.0) for x in self.leaves(dataset) if force]

    def coverage(self, dataset: Dataset, symbols: Collection[str] = (), intervals: Collection[str] = ()) -> list[Run]:
        """See `Coverage.coverage`."""
        return self._state.covered(dataset, symbols, intervals)

    def note_due(self, dataset: Dataset, due: Sequence[Due]) -> None:
        """See `Coverage.note_due`."""
        with self.transaction() as state:
            state.note_due(dataset, due)

    @contextmanager
    def covering(self, dataset: Dataset) -> Iterator[CoverageWriter]:
        """See `Coverage.covering`."""
        with self.transaction() as state:
            yield _MemoryCoverage(state, dataset)

    def rehearse(self, partition: Partition, batches: Iterable[pa.RecordBatch]) -> Contents:
        """See `Hot.rehearse`."""
        dataset = dataset_named(partition.dataset)
        rows = table_of(dataset, batches)
        if len(rows) != len(newest(rows, dataset)):
            msg = f"{partition} can't be restored: several of its rows have one key; nothing was changed"
            raise HotStoreError(msg)
        return contents_of(dataset, rows.to_batches())

    def record(self, *acts: Act) -> None:
        """See `Hot.record`."""
        with self.transaction() as state:
            for act in acts:
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


class _MemoryCoverage:
    """See `CoverageWriter`."""

    def __init__(self, state: State, dataset: Dataset) -> None:
        """Take a state that may be changed."""
        self._state = state
        self._dataset = dataset

    def runs(self, symbols: Collection[str] = (), intervals: Collection[str] = ()) -> list[Run]:
        """See `CoverageWriter.runs`."""
        return self._state.covered(self._dataset, symbols, intervals)

    def knows_any(self) -> bool:
        """See `CoverageWriter.knows_any`."""
        return any(series.dataset == self._dataset.name for series in self._state.coverage)

    def due(self) -> list[Due]:
        """See `CoverageWriter.due`."""
        return list(self._state.due.get(self._dataset.name, ()))

    def settle(self, due: Collection[Due]) -> None:
        """See `CoverageWriter.settle`."""
        numbers = {each.number for each in due}
        self._state.due[self._dataset.name] = tuple(each for each in self.due() if each.number not in numbers)

    def replace(self, series: Collection[Series], runs: Iterable[Run]) -> None:
        """See `CoverageWriter.replace`."""
        for each in series:
            self._state.coverage.pop(each, None)
        for run in sorted(runs, key=lambda run: (run.series, run.start)):
            self._state.coverage[run.series] = (*self._state.coverage.get(run.series, ()), run)
