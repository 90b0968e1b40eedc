"""A store that times out, refuses, breaks off, lies and loses: an act succeeds, or every row stays where it was.

Each test counts the faults that fired. A fault that never fires proves nothing.
"""

import io
import random
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from uuid import uuid4

import pyarrow as pa
import pytest
from hostile_objects import Fault, HostileObjects, Planned
from hot_acts import assert_answers, day, hot_set, ingest, load
from killing.places import in_gcs, in_s3
from made_rows import DAY, NOON, bars

from thermocline.errors import CatalogConflictError, LakeError, TransientLakeError
from thermocline.faults import listening
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS
from thermocline.ports import Fetched, FetchRequest
from thermocline.stores.duckdb import Engine
from thermocline.stores.iceberg import IcebergCatalog
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog, MemoryObjects
from thermocline.stores.objects_local import LocalObjects
from thermocline.stores.postgres import PostgresHot
from thermocline.stores.retrying import Patience, RetryingObjects
from thermocline.stores.spool import DuckDBSpool
from thermocline.tasks.backfill import Backfill
from thermocline.tasks.compact import Compaction
from thermocline.tasks.expire import Expiry
from thermocline.tasks.load import load as load_days
from thermocline.tasks.rotate import Rotation
from thermocline.tasks.verify import verify

AS_OF = DAY + timedelta(days=400)
LIFECYCLE = Lifecycle(hot_intervals={"1min": None})
ROWS, JOURNAL, METADATA = r"\.parquet$", r"\.jsonl$", r"metadata\.json$|\.avro$"
DAYS = [day(0), day(1), day(2)]
EVERY = [bars(each) for each in DAYS]


@dataclass
class World:
    """A PostgreSQL, and a lake on a store that is well until a plan says otherwise. No pause is taken."""

    hot: PostgresHot
    store: HostileObjects
    lake: ParquetLake
    pauses: list[float] = field(default_factory=list)

    def suffer(self, *faults: Planned, dice: random.Random | None = None) -> None:
        """Let the store do this from now on; without arguments, be well."""
        self.store.faults = faults
        self.store.dice = dice
        self.store.__post_init__()

    def rotate(self):
        """A night."""
        return Rotation(self.hot, self.lake, DuckDBSpool, LIFECYCLE, "night").run([MARKET_DATA], as_of=AS_OF)

    def backfill(self):
        """Every row, from its source."""
        backfill = Backfill(Rows(), self.hot, self.lake, DuckDBSpool, LIFECYCLE, AS_OF, NOON, "backfill")
        return backfill.run(FetchRequest(MARKET_DATA, ALL_DAYS))

    def compact(self):
        """The month in one object."""
        compaction = Compaction(self.hot, self.lake, LIFECYCLE, AS_OF)
        return compaction.run([MARKET_DATA], run_id="compact")

    def expire(self, days=0):
        """What is kept no longer, so many days from now."""
        now = datetime.now(UTC) + timedelta(days=days)
        return Expiry(self.hot, self.lake, now.date(), now).run([MARKET_DATA], run_id=f"expire-{days}")

    def load(self):
        """All days to hot."""
        return load_days(self.hot, self.lake, [MARKET_DATA], LIFECYCLE, as_of=DAY, run_id="load")

    def trouble(self):
        """What is in trouble, by partition and act."""
        return {(each.partition, each.act): each for each in self.hot.trouble(MARKET_DATA)}

    def assert_well(self) -> None:
        """Every row is answered once, and everything that speaks of the cold days agrees."""
        assert_answers(self.hot, self.lake, *EVERY)
        report = verify(self.hot, self.lake, [MARKET_DATA], ALL_DAYS)
        assert (report.failed, report.table) == ([], [])
        assert self.trouble() == {}


class Rows:
    """A source of every row."""

    name = "made"

    def fetch(self, request):
        """All of them."""
        del request
        for batch in EVERY:
            yield Fetched(pa.Table.from_batches([batch]).drop_columns(["source", "ingested_at"]), "made up")


@pytest.fixture(scope="session")
def bucket():
    """Makes stores of objects in a bucket, each with a prefix that nobody else has."""
    with ExitStack() as made:
        places = cache(lambda place: made.enter_context({"s3": in_s3, "gcs": in_gcs}[place]()))
        yield lambda place: places(place).objects(uuid4().hex)


@pytest.fixture(params=["local", "memory", "s3", "gcs"])
def world(request, new_database, tmp_path, bucket):
    place = request.param
    inner = {"local": lambda _: LocalObjects(tmp_path / "lake"), "memory": lambda _: MemoryObjects()}.get(place, bucket)
    store, pauses = HostileObjects(inner(place)), []
    objects = RetryingObjects(store, Patience(), sleep=pauses.append)
    catalog = MemoryCatalog() if place == "memory" else IcebergCatalog(f"sqlite:///{tmp_path}/catalog.db", objects)
    hot = PostgresHot(new_database("embedded"))
    with ParquetLake(objects, catalog, Engine(threads=1)) as lake:
        yield World(hot, store, lake, pauses)


@pytest.fixture
def hot_days(world):
    """Three days that are hot and due."""
    ingest(world.hot, *EVERY, hot_days=DAYS)
    return world


@pytest.fixture
def cold_days(world):
    """Three days that are cold."""
    world.backfill()
    return world


PASSING = [
    Fault.TIMEOUT.on("put", path=ROWS, times=4),
    Fault.OVERLOADED.on("put", path=ROWS, times=3),
    Fault.BROKEN_WRITE.on("put", path=ROWS, times=3),
    Fault.LOST_ANSWER.on("put", path=ROWS),
    Fault.LOST_ANSWER.on("put", path=JOURNAL),
    Fault.TIMEOUT.on("put", path=JOURNAL, times=4),
    Fault.TIMEOUT.on("open", path=ROWS, times=4),
    Fault.BROKEN_READ.on("open", path=ROWS, times=4),
    Fault.SHORT_READ.on("open", path=ROWS, times=4),
    Fault.SHORT_READ.on("open", path=JOURNAL, times=2),
    Fault.OVERLOADED.on("stat", times=4),
    Fault.TIMEOUT.on("list", times=4),
    Fault.WRONG_ETAG.on("put", path=ROWS),
    Fault.WRONG_ETAG.on("stat", path=ROWS),
]
"""What passes: the act succeeds all the same."""

TABLE = [
    Fault.TIMEOUT.on("replace", path=METADATA, times=3),
    Fault.LOST_ANSWER.on("replace", path=METADATA, times=3),
    Fault.BROKEN_READ.on("open", path=METADATA, times=3),
    Fault.SHORT_READ.on("open", path=METADATA, times=3),
]
"""The same on the table's metadata, which a lake in memory does not have."""

LASTING = [
    Fault.TIMEOUT.on("put", path=ROWS, times=999),
    Fault.BROKEN_FOR_GOOD.on("put", path=ROWS),
    Fault.BROKEN_FOR_GOOD.on("put", path=ROWS, after=1),
    Fault.BROKEN_FOR_GOOD.on("put", path=ROWS, after=2),
    Fault.BROKEN_FOR_GOOD.on("put", path=JOURNAL),
    Fault.LOST_PUT.on("put", path=ROWS),
    Fault.LOST_PUT.on("put", path=JOURNAL),
    Fault.TRUNCATED_PUT.on("put", path=ROWS, after=1),
    Fault.TRUNCATED_PUT.on("put", path=JOURNAL),
    Fault.TIMEOUT.on("open", path=ROWS, times=999),
    Fault.BROKEN_READ.on("open", path=ROWS, times=999),
]
"""What does not pass by itself: days stay as they were until the store is well."""

LASTING_TABLE = [
    Fault.BROKEN_FOR_GOOD.on("replace", path=METADATA),
    Fault.LOST_PUT.on("replace", path=r"\.avro$"),
    Fault.LOST_PUT.on("replace", path=r"metadata\.json$", after=1),
]


def named(plans):
    return [pytest.param(plan, id=f"{plan.fault.name}-{plan.act}-{plan.path[2:9]}-{plan.after}") for plan in plans]


def only_local(world, plan):
    if isinstance(world.store.objects, MemoryObjects) and plan.path in {METADATA, r"\.avro$", r"metadata\.json$"}:
        pytest.skip("the table of a lake in memory has no metadata")


# ------------------------------------------------------------------------------------------------------------- rotation


@pytest.mark.parametrize("plan", named(PASSING + TABLE))
def test_a_rotation_outlasts_what_passes(hot_days, plan):
    only_local(hot_days, plan)
    hot_days.suffer(plan)
    result = hot_days.rotate()
    assert hot_days.store.fired[plan.fault] == plan.times
    assert result.failed == []
    assert sorted(moved.partition for moved in result.moved) == DAYS
    if plan.fault is not Fault.WRONG_ETAG:
        assert 0 < len(hot_days.pauses) <= plan.times
    hot_days.assert_well()


@pytest.mark.parametrize("plan", named(LASTING + LASTING_TABLE))
def test_what_lasts_leaves_days_hot_and_marked_until_the_store_is_well(hot_days, plan):
    only_local(hot_days, plan)
    hot_days.suffer(plan)
    result = hot_days.rotate()
    assert hot_days.store.fired[plan.fault] >= 1
    failed = {each.partition: each.reason for each in result.failed}
    assert hot_set(hot_days.hot) == failed.keys() != set()
    assert failed.keys() | {moved.partition for moved in result.moved} == set(DAYS)
    assert {key: each.reason for key, each in hot_days.trouble().items()} == {
        (partition, "rotate"): reason for partition, reason in failed.items()
    }
    assert_answers(hot_days.hot, hot_days.lake, *EVERY)
    hot_days.suffer()
    assert hot_days.rotate().failed == []
    assert hot_set(hot_days.hot) == set()
    hot_days.assert_well()


def test_uploads_are_tried_a_few_times_each_and_no_more(hot_days):
    hot_days.suffer(Fault.TIMEOUT.on("put", path=ROWS, times=999))
    result = hot_days.rotate()
    assert "tried 5 times" in result.failed[0].reason
    assert hot_days.store.requests["put"] == hot_days.store.fired[Fault.TIMEOUT] == 5 * len(DAYS)
    assert len(hot_days.pauses) == 4 * len(DAYS)
    assert max(hot_days.pauses) <= 1.6


def test_a_run_that_has_repeated_enough_ends_and_the_next_one_goes_on(hot_days):
    objects = hot_days.lake.objects
    assert isinstance(objects, RetryingObjects)
    hot_days.lake._objects = RetryingObjects(  # noqa: SLF001  # the same lake, less patient
        hot_days.store, Patience(attempts=5, max_retries_per_run=6), sleep=hot_days.pauses.append
    )
    hot_days.suffer(Fault.TIMEOUT.on("put", path=ROWS, after=1, times=999))
    result = hot_days.rotate()
    # The day that was written first is published; the two others used up the repetitions, one four at most.
    [moved] = result.moved
    assert {each.partition for each in result.failed} == {*DAYS} - {moved.partition}
    assert any("max_retries_per_run" in each.reason for each in result.failed)
    assert hot_days.store.fired[Fault.TIMEOUT] == 5 + 3
    assert len(hot_days.pauses) == 6
    hot_days.suffer()
    assert hot_days.rotate().failed == []
    hot_days.assert_well()


def test_a_run_that_has_asked_for_enough_ends_and_the_next_one_adopts_its_objects(hot_days):
    hot_days.lake._objects = RetryingObjects(hot_days.store, Patience(max_requests_per_run=5))  # noqa: SLF001
    result = hot_days.rotate()
    assert result.moved == []
    assert {each.partition for each in result.failed} == set(DAYS)
    assert all("max_requests_per_run" in each.reason for each in result.failed)
    assert sum(hot_days.store.requests.values()) == 5
    uploaded = [path for path in hot_days.store.objects.list("cold_storage/") if path.endswith(".parquet")]
    assert uploaded
    hot_days.lake._objects = RetryingObjects(hot_days.store)  # noqa: SLF001
    assert hot_days.rotate().failed == []
    assert {v.receipt.path for v in hot_days.hot.live(MARKET_DATA, ALL_DAYS)} >= set(uploaded)
    hot_days.assert_well()


def test_a_store_that_does_not_answer_is_no_reason_to_write_a_day_anew(cold_days):
    for vintage in cold_days.hot.live(MARKET_DATA, ALL_DAYS):
        load(cold_days.hot, cold_days.lake, vintage)
    cold_days.suffer(Fault.TIMEOUT.on("open", path=ROWS, times=999))
    puts = cold_days.store.requests["put"]
    result = cold_days.rotate()
    assert {each.partition for each in result.failed} == set(DAYS)
    assert cold_days.store.fired[Fault.TIMEOUT] > 0
    assert cold_days.store.requests["put"] == puts
    cold_days.suffer()
    cold_days.rotate()
    assert [v.receipt.version for v in cold_days.hot.live(MARKET_DATA, ALL_DAYS)] == [1, 1, 1]
    cold_days.assert_well()


# ---------------------------------------------------------------------------------------------------- backfill and load


@pytest.mark.parametrize("plan", named(PASSING + TABLE))
def test_a_backfill_outlasts_what_passes(world, plan):
    only_local(world, plan)
    world.suffer(plan)
    assert world.backfill().written == len(DAYS)
    assert world.store.fired[plan.fault] == plan.times
    world.assert_well()


@pytest.mark.parametrize("plan", named(LASTING + LASTING_TABLE))
def test_a_backfill_that_fails_publishes_nothing_and_marks_its_days(world, plan):
    only_local(world, plan)
    world.suffer(plan)
    with pytest.raises(LakeError) as raised:
        world.backfill()
    assert world.store.fired[plan.fault] >= 1
    assert world.hot.live(MARKET_DATA, ALL_DAYS) == []
    assert_answers(world.hot, world.lake)
    trouble = world.trouble()
    assert {act for _, act in trouble} == {"backfill"}
    assert {each.reason for each in trouble.values()} == {str(raised.value)}
    world.suffer()
    world.backfill()
    world.assert_well()


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.OVERLOADED, Fault.BROKEN_READ, Fault.SHORT_READ])
def test_a_load_outlasts_what_passes(cold_days, fault):
    cold_days.suffer(fault.on("open", path=ROWS, times=4))
    assert cold_days.load().loaded == len(DAYS)
    assert cold_days.store.fired[fault] == 4
    cold_days.assert_well()


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.BROKEN_READ, Fault.SHORT_READ])
def test_a_load_that_fails_leaves_the_day_cold_and_marked(cold_days, fault):
    cold_days.store.broken_at = 0
    cold_days.suffer(fault.on("open", path="20240116", times=999))
    with pytest.raises(TransientLakeError, match="tried 5 times"):
        cold_days.load()
    assert cold_days.store.fired[fault] == 5
    # The day after it had begun beside it.
    assert hot_set(cold_days.hot) == {DAYS[0], DAYS[2]}
    assert list(cold_days.trouble()) == [(DAYS[1], "load")]
    assert_answers(cold_days.hot, cold_days.lake, *EVERY)
    cold_days.suffer()
    assert cold_days.load().loaded == 1
    cold_days.assert_well()


def test_a_lost_delete_leaves_a_file_that_changes_nothing(cold_days):
    cold_days.suffer(Fault.LOST_DELETE.on("delete", path=JOURNAL))
    [receipt, *_] = [vintage.receipt for vintage in cold_days.hot.live(MARKET_DATA, ALL_DAYS)]
    with pytest.raises(CatalogConflictError):
        cold_days.lake.publish(MARKET_DATA, added=[receipt], removed=[], expected_head="-1", run_id="late")
    assert cold_days.store.fired[Fault.LOST_DELETE] == 1
    assert [path for path in cold_days.store.objects.list("metadata/") if "late" in path]
    cold_days.assert_well()


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.BROKEN_READ, Fault.WRONG_ETAG])
def test_a_compaction_outlasts_what_passes(cold_days, fault):
    cold_days.suffer(fault.on("stat" if fault is Fault.WRONG_ETAG else "open", path=ROWS))
    [month] = cold_days.compact().periods
    assert cold_days.store.fired == {fault: 1}
    assert month.objects == len(DAYS)
    cold_days.assert_well()


@pytest.mark.parametrize("fault", [Fault.LOST_PUT, Fault.TRUNCATED_PUT, Fault.BROKEN_FOR_GOOD])
def test_a_compaction_that_fails_leaves_the_month_as_it_was(cold_days, fault):
    cold_days.suffer(fault.on("put", path=ROWS))
    result = cold_days.compact()
    assert (result.periods, len(result.failed), cold_days.store.fired[fault]) == ([], 1, 1)
    cold_days.suffer()
    cold_days.assert_well()
    assert len(cold_days.compact().periods) == 1
    cold_days.assert_well()


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.LOST_ANSWER, Fault.LOST_DELETE])
def test_an_expiry_deletes_in_the_end_what_the_store_would_not_delete(cold_days, fault):
    cold_days.compact()
    cold_days.expire()
    cold_days.suffer(fault.on("delete", path=ROWS))
    [expired] = cold_days.expire(days=2)
    assert (len(expired.deleted), cold_days.store.fired) == (len(DAYS), {fault: 1})
    cold_days.suffer()
    left = [path for path in cold_days.lake.objects_of(MARKET_DATA) if "/day=" in path]
    assert len(left) == (1 if fault is Fault.LOST_DELETE else 0)
    cold_days.expire(days=3)  # notes what it finds again, as any object that nothing names
    cold_days.expire(days=5)
    assert [path for path in cold_days.lake.objects_of(MARKET_DATA) if "/day=" in path] == []
    cold_days.assert_well()


def test_a_release_reads_an_object_that_days_share_once(hot_days):
    hot_days.rotate()
    hot_days.compact()
    read = []
    with listening(read.append):
        later = datetime.now(UTC).date() + timedelta(days=60)
        night = Rotation(hot_days.hot, hot_days.lake, DuckDBSpool, LIFECYCLE, "later").run([MARKET_DATA], as_of=later)
    assert night.released == DAYS
    assert read.count("read-back:before") == 1
    hot_days.assert_well()


def test_a_damaged_upload_is_not_adopted_by_the_next_run(hot_days):
    hot_days.suffer(Fault.TRUNCATED_PUT.on("put", path=ROWS, times=3))
    assert len(hot_days.rotate().failed) == hot_days.store.fired[Fault.TRUNCATED_PUT] == 3
    hot_days.rotate()
    assert all(v.receipt.path.endswith("_v2.parquet") for v in hot_days.hot.live(MARKET_DATA, ALL_DAYS))
    hot_days.assert_well()


# ---------------------------------------------------------------------------------------------------- a random bad day


@pytest.mark.parametrize("seed", range(6))
def test_nights_in_a_bad_season_lose_nothing_and_end_when_it_ends(hot_days, seed):
    hot_days.suffer(dice=random.Random(seed))  # noqa: S311  # to be repeated
    hot_days.store.rate = 0.4
    for _ in range(4):
        hot_days.rotate()
        assert_answers(hot_days.hot, hot_days.lake, *EVERY)
        still_hot = hot_set(hot_days.hot)
        assert still_hot == {partition for partition, act in hot_days.trouble() if act == "rotate"}
    assert sum(hot_days.store.fired.values()) >= 3
    hot_days.suffer()
    assert hot_days.rotate().failed == []
    assert hot_set(hot_days.hot) == set()
    hot_days.assert_well()


@pytest.mark.parametrize("seed", range(6))
def test_backfills_in_a_bad_season_end_with_every_row_once(world, seed):
    world.suffer(dice=random.Random(seed))  # noqa: S311  # to be repeated
    world.store.rate = 0.3
    for _ in range(4):
        with suppress(LakeError):
            world.backfill()
    assert sum(world.store.fired.values()) >= 3
    world.suffer()
    world.backfill()
    world.assert_well()


def test_a_query_over_a_damaged_object_says_so(cold_days):
    [path] = [path for path in cold_days.store.objects.list("cold_storage/") if "20240116.parquet" in path]
    cold_days.store.objects.delete(path)
    cold_days.store.objects.put(path, io.BytesIO(b"PAR1 and nothing that follows"))
    with pytest.raises(LakeError, match="thermocline verify"):
        assert_answers(cold_days.hot, cold_days.lake, *EVERY)
