"""Archived objects: what needs them fails before it begins and says what to do; the rest goes on without them."""

import json
from dataclasses import dataclass, replace
from datetime import date, timedelta

import pyarrow as pa
import pytest
from click.testing import CliRunner
from hot_acts import answer, assert_answers, ingest, load, publish, table
from made_rows import NOON, as_sorted_lists, bars

from thermocline.cli import main
from thermocline.errors import ArchivedError, UsageError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS, Partition
from thermocline.model.paths import object_path
from thermocline.model.query import Query
from thermocline.model.retention import ClassStep, Retention, RetentionPolicy
from thermocline.model.storage_classes import Provider
from thermocline.ports import AuditQuery, Fetched, FetchRequest
from thermocline.settings_retention import load_prices
from thermocline.stores.analytics import DuckDBAnalytics
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog, MemoryObjects
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot
from thermocline.stores.retrying import RetryingObjects
from thermocline.stores.spool import DuckDBSpool
from thermocline.tasks.archive import note_head
from thermocline.tasks.backfill import Backfill
from thermocline.tasks.drill import drill
from thermocline.tasks.explain import explain
from thermocline.tasks.query import query
from thermocline.tasks.restores import Restoring, Wait, once_readable
from thermocline.tasks.rotate import Rotation
from thermocline.tasks.sql import sql
from thermocline.tasks.verify import verify

TODAY = date(2024, 6, 1)
POLICY = RetentionPolicy(Retention((ClassStep(100, "GLACIER"),)))


def day(number: int, month: int = 1) -> Partition:
    return Partition("market_data", "1min", date(2024, month, number))


class Counting(MemoryObjects):
    """A bucket of S3 that notes what is asked of it beside reading and writing."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__(Provider.S3)
        self.requests: list[str] = []
        self.restoring: set[str] = set()

    def stat(self, path):
        """See `Objects.stat`."""
        self.requests.append("stat")
        stored = super().stat(path)
        return replace(stored, is_restoring=path in self.restoring and stored.readable_until is None)

    def survey(self, prefix):
        """See `Classes.survey`."""
        self.requests.append("survey")
        return super().survey(prefix)


@dataclass
class Rows:
    """A source of these rows."""

    rows: pa.Table
    name = "made"

    def fetch(self, _request):
        """See `Source.fetch`."""
        yield Fetched(self.rows, "made", accepted_before=True)


@dataclass
class World:
    """A hot tier and a lake whose oldest days are archived."""

    hot: PostgresHot
    lake: ParquetLake
    bucket: Counting

    def archive(self, *partitions: Partition, into: str = "GLACIER") -> None:
        """Move the objects of days into an archive, as the plan or a rule of the bucket does."""
        for vintage in self.hot.live(MARKET_DATA, ALL_DAYS):
            if vintage.partition in partitions:
                self.bucket.transition(self.bucket.stat(vintage.receipt.path), into)

    def restore(self, *partitions: Partition) -> None:
        """Have the store make copies that can be read."""
        for vintage in self.hot.live(MARKET_DATA, ALL_DAYS):
            if vintage.partition in partitions:
                self.bucket.restore(vintage.receipt.path, days=1, speed="Bulk")

    def on_its_way(self, *partitions: Partition) -> None:
        """Have the store say that it is restoring days."""
        for vintage in self.hot.live(MARKET_DATA, ALL_DAYS):
            if vintage.partition in partitions:
                self.bucket.restoring.add(vintage.receipt.path)

    def restoring(self) -> Restoring:
        """A look at what is archived."""
        return Restoring(self.hot, self.lake, load_prices(Provider.S3))

    def rotate(self):
        """Rotate what is due, and fold what is late."""
        lifecycle = Lifecycle(hot_days=30)
        return Rotation(self.hot, self.lake, DuckDBSpool, lifecycle, "rotate").run([MARKET_DATA], as_of=TODAY)

    def backfill(self, *batches, repair: bool = False):
        """Bring rows into the lake."""
        lifecycle, request = Lifecycle(hot_days=30), FetchRequest(MARKET_DATA, ALL_DAYS)
        parts = (Rows(table(*batches)), self.hot, self.lake, DuckDBSpool, lifecycle, TODAY, NOON, "backfill")
        return Backfill(*parts, repair=repair).run(request)

    def ask(self):
        """A query for everything."""
        return query(self.hot, self.lake, Query(MARKET_DATA))


@pytest.fixture
def world(new_database):
    bucket = Counting()
    lake = ParquetLake(
        RetryingObjects(bucket),
        MemoryCatalog(),
        policy=POLICY,
        prices=lambda: load_prices(Provider.S3),
        today=lambda: TODAY,
    )
    hot = PostgresHot(new_database("embedded"))
    receipts = [v.receipt for v in publish(hot, lake, bars(day(1)), bars(day(2)), bars(day(1, 5)))]
    head = lake.publish(MARKET_DATA, added=receipts, removed=(), expected_head="", run_id="run")
    with hot.writer(MARKET_DATA) as writer:
        note_head(writer, MARKET_DATA, head, run_id="run")
    return World(hot, lake, bucket)


def test_a_query_that_needs_archived_objects_fails_before_its_first_row_and_says_what_to_do(world):
    world.archive(day(1), day(2))
    with pytest.raises(ArchivedError) as failed:
        answer(world.hot, world.lake)
    said = str(failed.value)
    assert "2 objects" in said
    assert "GLACIER" in said
    assert "Nothing is lost" in said
    assert "`thermocline restore request market_data --start 2024-01-01 --end 2024-01-03 --interval 1min`" in said
    assert "Bulk" in said
    assert len(failed.value.paths) == 2


def test_what_the_policy_did_not_archive_is_told_as_well_when_it_is_read(world):
    world.archive(day(1, 5))
    with pytest.raises(ArchivedError, match=r"restore request market_data --start 2024-05-01 --end 2024-05-02"):
        answer(world.hot, world.lake)


def test_what_is_not_archived_is_answered_and_the_rest_once_it_is_restored(world):
    world.archive(day(1), day(2))
    rows = answer(world.hot, world.lake, start=day(1, 5).start)
    assert as_sorted_lists(rows, MARKET_DATA) == as_sorted_lists(table(bars(day(1, 5))), MARKET_DATA)
    world.restore(day(1), day(2))
    assert_answers(world.hot, world.lake, bars(day(1)), bars(day(2)), bars(day(1, 5)))


def test_nothing_is_asked_of_a_lake_in_which_nothing_can_be_archived(world):
    unarchived = ParquetLake(RetryingObjects(world.bucket), MemoryCatalog(), today=lambda: TODAY)
    world.bucket.requests.clear()
    with (
        query(world.hot, world.lake, Query(MARKET_DATA, start=day(1, 5).start)),
        query(world.hot, unarchived, Query(MARKET_DATA)),
    ):
        assert world.bucket.requests == []


def test_a_few_objects_are_asked_for_one_by_one_many_by_a_listing_of_their_year_and_once_a_minute(world):
    receipts = [vintage.receipt for vintage in world.hot.live(MARKET_DATA, ALL_DAYS)]
    world.bucket.requests.clear()
    assert world.lake.archived(receipts) == world.lake.archived(receipts) == []
    assert world.bucket.requests == ["stat"] * 2
    many = [replace(receipts[0], path=f"{receipts[0].path}{number}") for number in range(20)]
    world.bucket.requests.clear()
    assert world.lake.archived(many) == []
    assert world.bucket.requests == ["survey"]


def test_sql_fails_as_early_and_in_the_same_words(world):
    world.archive(day(1))
    with pytest.raises(ArchivedError, match="restore request market_data --start 2024-01-01"), run_sql(world):
        pytest.fail("it began")


def test_sql_tells_of_what_the_policy_did_not_archive_as_well(world):
    world.archive(day(1, 5))
    with pytest.raises(ArchivedError, match="restore request market_data --start 2024-05-01"), run_sql(world) as rows:
        rows.read_all()


def test_a_store_that_gives_archived_objects_all_the_same_is_read(world, monkeypatch):
    world.archive(day(1), day(2))
    monkeypatch.setattr(world.bucket, "_check_readable", lambda _: None)
    assert len(answer(world.hot, world.lake)) == 3 * len(bars(day(1)))


def test_verify_and_drills_leave_archived_objects_out_and_say_so(world):
    world.archive(day(1), day(1, 5))  # of which the policy knows one
    verified = verify(world.hot, world.lake, [MARKET_DATA], ALL_DAYS)
    assert (verified.failed, verified.archived, verified.verified) == ([], [day(1), day(1, 5)], 1)
    drilled = drill(world.hot, world.lake, [MARKET_DATA], ALL_DAYS, count=3, seed=1, run_id="drill")
    assert (len(drilled.rehearsals), drilled.failed, drilled.archived, drilled.cold) == (1, [], 2, 3)


def test_a_late_row_of_an_archived_day_stays_and_is_folded_in_once_that_is_restored(world):
    late = bars(day(1), ("LATE",), ingested_at=NOON + timedelta(hours=1))
    world.archive(day(1))
    ingest(world.hot, late)
    [failed] = world.rotate().failed
    assert failed.partition == day(1)
    assert "restore request market_data --start 2024-01-01 --end 2024-01-02" in failed.reason
    assert world.hot.late(MARKET_DATA) == {day(1): len(late)}
    world.restore(day(1))
    assert_answers(world.hot, world.lake, bars(day(1)), late, bars(day(2)), bars(day(1, 5)))
    assert world.rotate().failed == []
    assert world.hot.late(MARKET_DATA) == {}
    assert_answers(world.hot, world.lake, bars(day(1)), late, bars(day(2)), bars(day(1, 5)))


def test_explain_says_what_is_billed_and_what_must_be_restored_first(world):
    world.archive(day(1), into="DEEP_ARCHIVE")
    found = explain(world.hot, Query(MARKET_DATA), world.lake, lambda: load_prices(Provider.S3)).document()
    assert [(each["class"], each["objects"]) for each in found["reads"]] == [("STANDARD", 2)]
    assert len(found["archived"]) == 1
    assert [each["speed"] for each in found["offers"]] == ["Bulk", "Standard"]


def test_a_restore_is_planned_asked_for_just_so_and_noted(world):
    world.archive(day(1), day(2))
    restoring = world.restoring()
    plan = restoring.plan(MARKET_DATA, speed="Standard", keep_days=3)
    assert (len(plan.archived), len(plan.restored), plan.at_once) == (2, 0, 1)
    done = restoring.request(plan, run_id="restore")
    assert (done.requested, done.failed) == (plan.archived, {})
    after = restoring.plan(MARKET_DATA)
    assert (len(after.archived), len(after.restored), after.offer) == (0, 2, None)
    assert restoring.request(after, run_id="again").requested == []
    [act] = world.hot.audit(AuditQuery(names=["restore"]))
    assert (act.run_id, act.detail["objects"], act.detail["speed"]) == ("restore", 2, "Standard")
    assert act.detail["usd"] == pytest.approx(plan.offer.usd)


def test_a_speed_that_a_class_has_not_is_refused_before_anything_is_asked_for(world):
    world.archive(day(1), into="DEEP_ARCHIVE")
    restoring = world.restoring()
    with pytest.raises(UsageError, match=r"Expedited is no speed .* choose Bulk or Standard"):
        restoring.request(restoring.plan(MARKET_DATA, speed="Expedited"), run_id="restore")
    assert len(restoring.plan(MARKET_DATA).archived) == 1


def test_what_google_archives_is_read_at_once_and_priced(new_database):
    bucket = MemoryObjects(Provider.GCS)
    prices = load_prices(Provider.GCS)
    lake = ParquetLake(RetryingObjects(bucket), MemoryCatalog(), today=lambda: TODAY)
    hot = PostgresHot(new_database("embedded"))
    [vintage] = publish(hot, lake, bars(day(1)))
    bucket.transition(bucket.stat(vintage.receipt.path), "ARCHIVE")
    assert_answers(hot, lake, bars(day(1)))
    plan = Restoring(hot, lake, prices).plan(MARKET_DATA)
    assert (list(plan.archived), plan.offer, plan.at_once) == ([], None, 1)
    size_bytes = vintage.receipt.size_bytes
    assert [(each.storage_class, each.usd) for each in plan.reads] == [
        ("ARCHIVE", pytest.approx(0.05 / 1000 + size_bytes / 2**30 * 0.05))
    ]


def test_a_query_that_waits_begins_once_the_last_object_is_there_and_asks_for_nothing(world):
    world.archive(day(1), day(2))
    world.on_its_way(day(1), day(2))
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        world.restore(day(len(slept)))

    wait = Wait(None, 5.0, sleep=sleep, clock=lambda: sum(slept))
    with once_readable(world.lake, world.ask, wait) as rows:
        assert len(rows.read_all()) == 3 * len(bars(day(1)))
    assert slept == [5.0, 5.0]


def test_waiting_ends_where_nothing_is_on_its_way_or_time_is_up(world):
    world.archive(day(1), day(2))
    world.on_its_way(day(1))
    slept = []
    wait = Wait(12.0, 5.0, sleep=slept.append, clock=lambda: sum(slept))
    with (
        pytest.raises(ArchivedError, match=r"restore request .* restore status market_data"),
        once_readable(world.lake, world.ask, wait),
    ):
        pytest.fail("it began")
    assert slept == []
    world.on_its_way(day(2))
    with (
        pytest.raises(ArchivedError, match="2 of 2 objects are still on the way after 10 seconds"),
        once_readable(world.lake, world.ask, wait),
    ):
        pytest.fail("it began")


def run_sql(world):
    statement = "SELECT sum(close) FROM market_data"
    return sql(world.hot, world.lake, DuckDBAnalytics(world.lake.engine), statement, [MARKET_DATA])


def test_the_command_brings_back_what_lies_in_an_archive_of_s3(moto_server, new_database, monkeypatch, tmp_path):
    bucket, url, catalog = moto_server.new_bucket(), new_database("embedded"), f"sqlite:///{tmp_path}/catalog.db"
    for name, value in moto_server.environment.items():
        monkeypatch.setenv(name, value)
    config = tmp_path / "thermocline.yaml"
    config.write_text(
        f"lake_url: s3://{bucket}/lake\ncatalog_url: '{catalog}'\nhot_url: '{url}'\n"
        "storage:\n  retention: {steps: {100: GLACIER}}\n"
    )

    def run(*arguments, expected=0):
        ran = CliRunner().invoke(main, ["--home", str(tmp_path / "home"), "--config", str(config), *arguments])
        assert ran.exit_code == expected, ran.output
        return ran

    with open_lake(f"s3://{bucket}/lake", catalog_url=catalog) as lake:
        publish(PostgresHot(url), lake, *(bars(day(number)) for number in range(1, 19)))
        for stored in list(lake.survey(MARKET_DATA)):
            lake.classes.transition(stored, "GLACIER")
    for asked in (["query", "market_data"], ["sql", "from market_data"], ["query", "market_data", "--wait"]):
        said = run(*asked, expected=1).stderr
        assert "18 objects" in said
        assert "`thermocline restore request market_data --start 2024-01-01 --end 2024-01-19 --interval 1min`" in said
    shown = run("restore", "request", "market_data", "--speed", "standard", "--dry-run").stdout
    assert "archived" in shown
    assert "5 hours" in shown
    explained = run("explain", "market_data", "--start", "2024-01-02", "--end", "2024-01-03").stdout
    assert "1 object with" in explained
    assert "`thermocline restore request market_data --start 2024-01-02 --end 2024-01-03 --interval 1min`" in explained
    run("restore", "request", "market_data", "--json", expected=2)
    asked = json.loads(run("restore", "request", "market_data", "--days", "2", "--yes", "--json").stdout)
    assert (len(asked["requested"]), asked["failed"], asked["offer"]["hours"]) == (18, [], 12)
    # Its listings don't say what was restored.
    status = json.loads(run("restore", "status", "market_data", "--json").stdout)
    assert [len(status[state]) for state in ("archived", "restoring", "restored")] == [0, 0, 18]
    waited = run("query", "market_data", "--wait", "--wait-seconds", "1", "--json").stdout
    assert len(json.loads(waited)["rows"]) == 18 * len(bars(day(1)))


def test_other_rows_for_an_archived_day_fail_that_day_and_no_other(world):
    world.archive(day(1))
    more = bars(day(1), ("MORE",), ingested_at=NOON + timedelta(hours=1))
    made = world.backfill(more, bars(day(3)))
    assert [failed.partition for failed in made.failed] == [day(1)]
    assert "restore request market_data --start 2024-01-01 --end 2024-01-02" in made.failed[0].reason
    world.restore(day(1))
    assert_answers(world.hot, world.lake, *(bars(each) for each in (day(1), day(2), day(3), day(1, 5))))
    assert world.backfill(more).failed == []
    assert_answers(world.hot, world.lake, more, *(bars(each) for each in (day(1), day(2), day(3), day(1, 5))))


def test_repair_takes_an_archived_object_for_whole(world):
    world.archive(day(1))
    before = world.hot.live(MARKET_DATA, ALL_DAYS)
    assert world.backfill(bars(day(1)), repair=True).failed == []
    assert world.hot.live(MARKET_DATA, ALL_DAYS) == before


def test_a_day_that_was_brought_back_leaves_postgresql_by_a_new_object_once_its_own_is_archived(world):
    [vintage] = [each for each in world.hot.live(MARKET_DATA, ALL_DAYS) if each.partition == day(1)]
    load(world.hot, world.lake, vintage)
    world.archive(day(1))
    rotated = world.rotate()
    assert rotated.failed == []
    assert [(each.partition, each.path) for each in rotated.moved] == [(day(1), object_path(day(1), 2))]
    assert_answers(world.hot, world.lake, bars(day(1)), bars(day(2)), bars(day(1, 5)))
