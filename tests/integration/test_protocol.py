"""The rotation protocol, stopped between every two statements.

A rotation runs one step at a time, where a step is a round trip to PostgreSQL or an act on the lake. Between steps
others read, rotate and ingest, or the process dies. Whatever happens, every row is seen exactly once.
"""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import psycopg
import pyarrow as pa
import pytest
from hot_acts import ingest, load, receipt_of
from made_rows import DAY, NOON, as_sorted_lists, bars

from thermocline.errors import HotStoreError, LockTimeoutError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS, DayRange, Partition
from thermocline.model.query import Query
from thermocline.ports import Fetched, FetchRequest, Publication
from thermocline.stores.iceberg import IcebergCatalog
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog, MemoryObjects
from thermocline.stores.objects_local import LocalObjects
from thermocline.stores.postgres import PostgresHot, locks, writer
from thermocline.stores.spool import DuckDBSpool
from thermocline.tasks.archive import settled_head
from thermocline.tasks.backfill import Backfill
from thermocline.tasks.load import rehydrate
from thermocline.tasks.query import query
from thermocline.tasks.rotate import Rotated, Rotation
from thermocline.tasks.undo import undo

LATER = NOON + timedelta(hours=1)
AS_OF = DAY + timedelta(days=10_000)
SOON_SECONDS = 0.15
"""How long an act may take before it is taken to wait for the rotation that was stopped."""


class Killed(BaseException):
    """The process is gone; nothing of it goes on."""


@dataclass
class Process:
    """A process that can be stopped before each of its steps, and be killed there."""

    before_step: Callable[[int], None] = lambda _: None
    steps: int = 0
    is_dead: bool = False
    stepping: threading.RLock = field(default_factory=threading.RLock)

    def step(self) -> None:
        """Come to the next step, where the process may be stopped for a while or for good; one thread at a time."""
        with self.stepping:
            number, self.steps = self.steps, self.steps + 1
            if not self.is_dead:
                self.before_step(number)
            if self.is_dead:
                raise Killed

    def kill_at(self, number: int) -> None:
        """Die before the step of that number."""

        def kill(now: int) -> None:
            self.is_dead = now == number

        self.before_step = kill


_running: ContextVar[Process | None] = ContextVar("running", default=None)
"""Threads that a process starts take a copy of its context, and so are of it."""


def step() -> None:
    """A step of the process that this thread is of, if it is of one."""
    if process := _running.get():
        _running.set(None)  # what is done between two steps takes none
        try:
            process.step()
        finally:
            _running.set(process)


class SteppingConnection(psycopg.Connection):
    """Every round trip is a step. When its process dies, the server sees the socket close."""

    def wait(self, *args, **options):
        """Take a step, then the round trip."""
        try:
            step()
        except Killed:
            self.pgconn.finish()
            raise
        return super().wait(*args, **options)


class Stepping:
    """A store whose every act is a step before it."""

    def __init__(self, store_: object) -> None:
        """Stand before a store."""
        self._store = store_

    def __getattr__(self, name: str):
        """The store's own attribute; what can be called takes a step first."""
        found = getattr(self._store, name)
        return partial(_stepped, found) if callable(found) else found


def _stepped(act, *args, **options):
    step()
    return act(*args, **options)


@dataclass
class World:
    """A hot tier, a lake, and days in every state that a rotation meets."""

    url: str
    hot: PostgresHot
    lake: ParquetLake
    days: int = 0
    expected: list[pa.RecordBatch] = field(default_factory=list)

    def begin(self) -> None:
        """Four days of the future: fresh in hot; hot and cold alike; hot with more than cold; cold with late rows."""
        first = DAY + timedelta(days=10 * self.days)
        self.days += 1
        fresh, same, more, late = (Partition("market_data", "1min", first + timedelta(days=n)) for n in range(4))
        self._backfill(bars(same, count=1), bars(more, ["AAPL"], 1), bars(late, count=1))
        for vintage in self.hot.live(MARKET_DATA, DayRange(same.day, late.day)):
            load(self.hot, self.lake, vintage)
        news = [bars(more, ["MSFT"], 1, ingested_at=LATER), bars(late, ["AAPL"], 1, close="300", ingested_at=LATER)]
        ingest(self.hot, bars(fresh, count=1), *news, hot_days=[fresh])
        self.partitions = [fresh, same, more, late]
        self.expected = [
            bars(fresh, count=1),
            bars(same, count=1),
            bars(more, ["AAPL"], 1),
            *news,
            bars(late, ["MSFT"], 1),
        ]

    def _backfill(self, *batches: pa.RecordBatch) -> None:
        with self.hot.writer(MARKET_DATA) as writer_:
            head = settled_head(writer_, self.lake, MARKET_DATA, run_id="run")
            receipts = [receipt_of(writer_, self.lake, batch) for batch in batches]
            head = self.lake.publish(MARKET_DATA, added=receipts, removed=(), expected_head=head, run_id="run")
            writer_.publish(Publication(MARKET_DATA, head, "run", receipts))

    def ingest(self, symbol: str) -> None:
        """A row for each of the days; all are expected from now on."""
        batches = [bars(partition, [symbol], 1, ingested_at=LATER) for partition in self.partitions]
        ingest(self.hot, *batches)
        self.expected += batches

    def rotate(self, process: Process | None = None, wait_seconds: float = 20) -> Rotated:
        """Rotate whatever is due, as the process whose steps are watched."""
        _running.set(process)
        try:
            hot = _Patient(self.hot, wait_seconds)
            lifecycle = Lifecycle(hot_days=30, undo_days=10_000)
            return Rotation(hot, self.lake, DuckDBSpool, lifecycle, "run").run([MARKET_DATA], as_of=AS_OF)
        finally:
            _running.set(None)

    @property
    def asked(self) -> Query:
        """The question for all rows of the days."""
        return Query(MARKET_DATA, start=self.partitions[0].start, end=self.partitions[-1].end)

    def rows(self) -> list[str]:
        """What is answered now."""
        with query(self.hot, self.lake, self.asked) as reader:
            return as_sorted_lists(reader.read_all(), MARKET_DATA)

    def check(self) -> None:
        """Every row is answered exactly once."""
        assert self.rows() == as_sorted_lists(pa.Table.from_batches(self.expected), MARKET_DATA)

    def check_all_cold(self) -> None:
        """Everything is cold, the table and the ledger agree, and there is nothing left to do."""
        assert self.hot.hot_days(MARKET_DATA) == []
        assert self.hot.late(MARKET_DATA) == {}
        self.check()
        vintages = self.hot.live(MARKET_DATA, ALL_DAYS)
        assert self.lake.paths(MARKET_DATA) == {vintage.receipt.path for vintage in vintages}
        again = self.rotate()
        assert (again.moved, again.failed) == ([], [])

    def durable(self) -> tuple:
        """What a death leaves behind."""
        span = DayRange(self.partitions[0].day, self.partitions[-1].day + timedelta(days=1))
        return (
            [(v.partition, v.receipt.version) for v in self.hot.live(MARKET_DATA, span)],
            self.hot.hot_days(MARKET_DATA),
            dict(self.hot.late(MARKET_DATA)),
            self.lake.head(MARKET_DATA),
            list(self.lake.objects.list("")),
            self._ledger_head(),
        )

    def _ledger_head(self) -> list[tuple]:
        with psycopg.connect(self.url) as connection:
            return connection.execute("SELECT dataset, head FROM thermocline.catalog_head").fetchall()


class _Patient:
    """A hot tier whose writers wait for another one no longer than given."""

    def __init__(self, hot: PostgresHot, wait_seconds: float) -> None:
        self._hot = hot
        self._wait_seconds = wait_seconds

    def writer(self, dataset, **_):
        return self._hot.writer(dataset, wait_seconds=self._wait_seconds)

    def __getattr__(self, name: str):
        return getattr(self._hot, name)


@pytest.fixture
def hot_address(new_database, monkeypatch):
    """A fresh database; connections of a stopped process step, and nobody polls slowly."""
    monkeypatch.setattr(psycopg, "connect", SteppingConnection.connect)
    monkeypatch.setattr(locks, "_POLL_SECONDS", 0.01)
    return new_database("embedded")


@pytest.fixture
def world(hot_address):
    lake = ParquetLake(Stepping(MemoryObjects()), Stepping(MemoryCatalog()))
    world = World(hot_address, PostgresHot(hot_address), lake)
    world.begin()
    return world


@pytest.fixture
def iceberg_world(hot_address, tmp_path):
    objects = Stepping(LocalObjects(tmp_path / "lake"))
    with ParquetLake(objects, Stepping(IcebergCatalog(f"sqlite:///{tmp_path}/catalog.db", objects))) as lake:
        world = World(hot_address, PostgresHot(hot_address), lake)
        world.begin()
        yield world


def at(number: int, act: Callable[[], object]) -> Callable[[int], None]:
    """Do something before the step of that number."""

    def before_step(now: int) -> None:
        if now == number:
            act()

    return before_step


def soon(act: Future, seconds: float = SOON_SECONDS) -> None:
    """Wait for an act, unless it waits for the rotation that is stopped or another rotation is in its way."""
    with contextlib.suppress(TimeoutError, LockTimeoutError):
        act.result(timeout=seconds)


@pytest.mark.parametrize("kind", ["world", "iceberg_world"])
def test_a_rotation_that_dies_anywhere_is_made_good_by_the_next_one(request, kind):
    """Between two changes of what a death leaves, all deaths are alike; the first and the last of them are tried.

    Iceberg writes many small objects that nobody reads before its commit; there every third change will do, as real
    processes are killed at each of its steps elsewhere.
    """
    world = request.getfixturevalue(kind)
    left: list[tuple] = []
    world.rotate(Process(lambda _: left.append(world.durable())))
    changes = [number for number in range(1, len(left)) if left[number] != left[number - 1]]
    assert len(left) > 200
    assert len(changes) > 8
    tried = changes[::3] if kind == "iceberg_world" else [0, *changes, *(number - 1 for number in changes)]
    for number in sorted({*tried, len(left) - 1}):
        world.begin()
        process = Process()
        process.kill_at(number)
        with pytest.raises((Killed, HotStoreError)):
            world.rotate(process)
        world.check()
        assert world.rotate().failed == []
        world.check_all_cold()


def test_a_reader_between_any_two_steps_gets_every_row_once(world, monkeypatch):
    monkeypatch.setattr(writer, "CUTOVER_PATIENCE_SECONDS", 1.0)
    with ThreadPoolExecutor(max_workers=64) as threads:
        readers: list[Future] = []

        def read(_: int) -> None:
            readers.append(threads.submit(world.check))
            soon(readers[-1])

        result = world.rotate(Process(read))
        for reader in readers:
            reader.result(timeout=20)
    assert len(readers) > 100
    # On a slow machine so many readers may keep a day hot.
    assert all("stays hot" in failed.reason for failed in result.failed)
    assert world.rotate().failed == []
    world.check_all_cold()


def test_a_reader_that_stays_while_the_rotation_goes_on_gets_every_row_once(world, monkeypatch):
    monkeypatch.setattr(writer, "CUTOVER_PATIENCE_SECONDS", 0.0)
    steps = Process()
    world.rotate(steps)
    for number in range(0, steps.steps, 23):
        world.begin()
        rotated = threading.Event()

        def look_and_stay(rotated: threading.Event = rotated) -> list[str]:
            with query(world.hot, world.lake, world.asked) as reader:
                rotated.wait(20)
                return as_sorted_lists(reader.read_all(), MARKET_DATA)

        with ThreadPoolExecutor() as threads:
            looks: list[Future] = []
            look = partial(threads.submit, look_and_stay)
            process = Process(at(number, lambda looks=looks, look=look: looks.append(look())))
            result = world.rotate(process)
            rotated.set()
            [seen] = [look.result(timeout=20) for look in looks]
        assert seen == as_sorted_lists(pa.Table.from_batches(world.expected), MARKET_DATA)
        world.check()
        assert all("stays hot" in failed.reason for failed in result.failed)
        assert world.rotate().failed == []
        world.check_all_cold()


@pytest.mark.parametrize("first_step", [0, 8, 13, 18])
def test_a_second_rotation_between_any_two_steps_moves_nothing_twice(world, first_step, monkeypatch):
    monkeypatch.setattr(writer, "CUTOVER_PATIENCE_SECONDS", 0.3)
    with ThreadPoolExecutor(max_workers=64) as threads:
        others: list[Future] = []

        def rotate_too(now: int) -> None:
            if now == first_step or (now > 30 and now % 5 == 0):
                others.append(threads.submit(world.rotate, wait_seconds=0))
                soon(others[-1], seconds=20 if now < 30 else SOON_SECONDS)

        first = world.rotate(Process(rotate_too))
        results = [first, *(other.result(timeout=20) for other in others)]
    moved = [partition.partition for result in results for partition in result.moved]
    assert sorted(moved) == world.partitions
    # The first rotation may have been stopped in the middle of a look, which the second one's cutover waits for.
    held_up = ("stays hot", "another run is writing")
    reasons = [failed.reason for result in results for failed in result.failed]
    assert [reason for reason in reasons if not any(why in reason for why in held_up)] == []
    world.check_all_cold()


def test_a_row_that_comes_between_any_two_steps_is_never_lost(world):
    steps = Process()
    world.rotate(steps)
    outcomes = set()
    for number in range(0, steps.steps, 23):
        world.begin()
        with ThreadPoolExecutor() as threads:
            result = world.rotate(Process(at(number, lambda: soon(threads.submit(world.ingest, "NEW")))))
        outcomes |= {len(result.failed)}
        assert all("changed while it was rotated" in failed.reason for failed in result.failed)
        world.check()
        assert world.rotate().failed == []
        world.check_all_cold()
    assert 0 in outcomes
    assert max(outcomes) > 0


@dataclass(frozen=True)
class OneTable:
    """A source of one table."""

    table: pa.Table
    name: str = "made"

    def fetch(self, _: FetchRequest) -> Iterator[Fetched]:
        """Yield the table."""
        yield Fetched(self.table, "made")


def backfill(world: World, process: Process, batch: pa.RecordBatch) -> None:
    """Backfill rows of one day, as the process whose steps are watched."""
    source = OneTable(pa.Table.from_batches([batch]))
    lifecycle = Lifecycle(hot_intervals={"1min": 30})
    begun = Backfill(source, world.hot, world.lake, DuckDBSpool, lifecycle, as_of=DAY, now=NOON, run_id="run")
    _running.set(process)
    try:
        begun.run(FetchRequest(MARKET_DATA, ALL_DAYS))
    finally:
        _running.set(None)


def test_a_day_that_live_ingest_starts_while_it_is_backfilled_is_complete_at_once(world):
    for number in itertools.count(0, 3):
        partition = Partition("market_data", "1min", DAY - timedelta(days=number + 1))
        old, new = bars(partition, ["OLD"], 1), bars(partition, ["NEW"], 1, ingested_at=LATER)
        with ThreadPoolExecutor() as threads:
            feed = partial(threads.submit, ingest, world.hot, new, hot_days=[partition])
            process = Process(at(number, lambda feed=feed: soon(feed())))
            backfill(world, process, old)
        if number >= process.steps:
            break  # it ended before the step at which live ingest was to begin
        with query(world.hot, world.lake, Query(MARKET_DATA, start=partition.start, end=partition.end)) as reader:
            assert sorted(reader.read_all()["symbol"].to_pylist()) == ["NEW", "OLD"]
    assert number >= 30


def test_a_reader_between_any_two_steps_of_a_load_and_an_undo_gets_every_row_once(world):
    assert world.rotate().failed == []
    hot = _Patient(world.hot, 20)
    span = DayRange(world.partitions[0].day, world.partitions[-1].day + timedelta(days=1))
    acts = (
        lambda: undo(hot, MARKET_DATA, span, run_id="run"),
        lambda: rehydrate(hot, world.lake, MARKET_DATA, span, until=DAY, run_id="run"),
    )
    for act, moved in zip(acts, (3, 1), strict=True):
        with ThreadPoolExecutor(max_workers=64) as threads:
            readers: list[Future] = []

            def read(_: int, threads=threads, readers=readers) -> None:
                readers.append(threads.submit(world.check))
                soon(readers[-1])

            _running.set(Process(read))
            try:
                assert len(act().moved) == moved
            finally:
                _running.set(None)
            for reader in readers:
                reader.result(timeout=20)
        assert len(readers) > 20
    assert len(world.hot.hot_days(MARKET_DATA)) == 4
    assert world.rotate().failed == []
    world.check_all_cold()
