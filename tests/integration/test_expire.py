"""What is kept no longer goes; what a kept vintage names, or somebody may still read, stays."""

import shutil
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from lake_world import AS_OF, LATER, day, two_months, world_in
from made_rows import as_sorted_lists, bars

from thermocline.faults import listening
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS
from thermocline.model.query import Query
from thermocline.model.receipt import VintageState
from thermocline.ports import AuditQuery
from thermocline.stores.postgres import PostgresHot
from thermocline.tasks.expire import Expiry
from thermocline.tasks.query import query

SOON = timedelta(0)


@pytest.fixture
def compacted(new_database, tmp_path):
    world = two_months(world_in(tmp_path, new_database("embedded")))
    yield world
    world.lake.close()


def expiry(world, *, grace=SOON, **options) -> Expiry:
    # A little later than now: what was noted in this very moment is then older than no grace at all.
    now = datetime.now(UTC) + timedelta(seconds=1)
    return Expiry(world.hot, world.lake, **{"as_of": AS_OF, "now": now, "grace": grace, **options})


def expire(world, **options):
    [result] = expiry(world, **options).run([MARKET_DATA], run_id="expire")
    return result


def lying(world) -> set[str]:
    return set(world.lake.objects_of(MARKET_DATA))


def kept(world) -> set[str]:
    vintages = world.hot.vintages(MARKET_DATA, ALL_DAYS, states=[VintageState.PUBLISHED, VintageState.HELD])
    return {vintage.receipt.path for vintage in vintages}


def test_what_compaction_replaced_goes_when_its_grace_is_over_and_not_before(compacted):
    assert len(lying(compacted)) == 10
    early = expire(compacted, grace=timedelta(hours=1))
    assert (len(early.deleted), len(early.waiting), len(lying(compacted))) == (0, 8, 10)
    done = expire(compacted)
    assert (len(done.deleted), done.waiting) == (8, [])
    assert done.deleted_bytes > 0
    assert lying(compacted) == kept(compacted) == set(compacted.live.values())
    compacted.check()
    logged = compacted.hot.audit(AuditQuery(names=["delete-object"]))
    assert sorted(act.detail["path"] for act in logged) == [idle.path for idle in done.deleted]
    again = expire(compacted)
    assert (again.deleted, again.waiting, again.vintages) == ([], [], [])


def test_a_reader_that_began_before_a_compaction_and_an_expiry_reads_to_the_end(compacted):
    compacted.backfill(bars(day(9), ("AAPL",), 2))
    expected = compacted.expected()
    with query(compacted.hot, compacted.lake, Query(MARKET_DATA)) as reader:
        assert len(compacted.compact().periods) == 1
        early = expire(compacted, grace=timedelta(hours=1))
        assert (early.deleted, early.metadata) == ([], [])
        assert as_sorted_lists(reader.read_all(), MARKET_DATA) == expected
    compacted.check()


def test_a_plan_changes_nothing_and_is_what_a_run_then_does(compacted):
    planned = expiry(compacted)
    [plan] = planned.plan([MARKET_DATA])
    assert len(lying(compacted)) == 10
    [done] = planned.run([MARKET_DATA], run_id="expire")
    assert plan.document() | {"run_id": "expire"} == done.document()


def test_vintages_are_kept_for_ever_unless_a_number_of_days_is_set(compacted):
    compacted.backfill(bars(day(3), ("AAPL",), 1, close="7", ingested_at=LATER))
    assert expire(compacted, as_of=date(9000, 1, 1)).vintages == []
    assert expire(compacted, keep_days=10, as_of=datetime.now(UTC).date()).vintages == []
    old = next(v for v in compacted.hot.vintages(MARKET_DATA, ALL_DAYS) if v.superseded_at)
    assert old.receipt.path in lying(compacted)
    later = datetime.now(UTC).date() + timedelta(days=12)
    done = expire(compacted, keep_days=10, as_of=later, grace=timedelta(hours=1))
    assert [vintage.receipt for vintage in done.vintages] == [old.receipt]
    assert old.receipt.path in lying(compacted) & {idle.path for idle in done.waiting}, "it was noted only now"
    expire(compacted)
    assert lying(compacted) == kept(compacted) == set(compacted.live.values())
    compacted.check()


def test_a_plan_counts_the_objects_of_versions_that_expire_with_it(compacted):
    compacted.backfill(bars(day(3), ("AAPL",), 1, close="7", ingested_at=LATER))
    later = datetime.now(UTC).date() + timedelta(days=12)
    wanted = {"keep_days": 10, "as_of": later, "grace": timedelta(hours=1)}
    [plan] = expiry(compacted, **wanted).plan([MARKET_DATA])
    done = expire(compacted, **wanted)
    assert [idle.path for idle in plan.waiting] == [idle.path for idle in done.waiting]
    assert done.vintages[0].receipt.path in {idle.path for idle in plan.waiting}


def test_what_a_run_that_died_left_is_noted_first_and_adopted_if_it_is_needed_again(compacted):
    expire(compacted)
    late = bars(day(3), ("AAPL",), 1, close="7", ingested_at=LATER)

    class KilledError(BaseException):
        pass

    def die(point: str) -> None:
        if point == "commit:before":
            raise KilledError

    with pytest.raises(KilledError), listening(die):
        compacted.backfill(late)
    left = lying(compacted) - kept(compacted)
    assert left
    assert {idle.path for idle in expire(compacted, grace=timedelta(hours=1)).waiting} == left
    compacted.backfill(late)
    compacted.check()
    done = expire(compacted)
    assert left & {idle.path for idle in done.deleted} == left - kept(compacted)
    assert lying(compacted) == kept(compacted)
    compacted.check()


def test_a_stranger_among_the_objects_is_noted_and_goes_later_and_what_is_no_data_stays(compacted):
    stranger = "cold_storage/market_data/year=2024/month=01/day=09/market_data_1min_20240109.parquet"
    note = "cold_storage/market_data/year=2024/README.txt"
    for path in (stranger, note):
        compacted.lake.objects.put(path, BytesIO(b"x"))
    assert stranger in {idle.path for idle in expire(compacted).waiting}
    assert stranger in {idle.path for idle in expire(compacted).deleted}
    assert compacted.lake.size_of(stranger) == 0
    assert compacted.lake.size_of(note) == 1


def test_an_object_that_is_gone_already_is_no_error(compacted):
    for idle in expiry(compacted).plan([MARKET_DATA])[0].deleted:
        compacted.lake.delete(idle.path)
    assert len(expire(compacted).deleted) == 8
    compacted.check()


def test_old_snapshots_of_the_table_are_forgotten(compacted):
    assert len(compacted.lake.snapshots(MARKET_DATA)) == 2
    assert expire(compacted, grace=timedelta(hours=1)).snapshots == []
    assert len(expire(compacted).snapshots) == 1
    assert list(compacted.lake.snapshots(MARKET_DATA)) == [compacted.lake.head(MARKET_DATA)]
    compacted.check()


def test_wherever_it_dies_nothing_that_is_kept_is_gone_and_the_next_run_completes_it(compacted):
    class KilledError(BaseException):
        pass

    points = ("expire:before", "expire:committing", "expire:after", "delete-object:before", "delete-object:after")
    for deaths, point in enumerate(points):
        if point.startswith("expire"):
            compacted.backfill(
                bars(day(3), ("AAPL",), 1, close=str(deaths + 5), ingested_at=LATER + timedelta(hours=deaths))
            )

        def die(reached: str, wanted: str = point) -> None:
            if reached == wanted:
                raise KilledError

        tomorrow = datetime.now(UTC).date() + timedelta(days=2)
        with pytest.raises(KilledError), listening(die):
            expire(compacted, keep_days=0, as_of=tomorrow)
        assert kept(compacted) <= lying(compacted)
        compacted.check()
    expire(compacted, keep_days=0, as_of=tomorrow)
    expire(compacted)
    assert lying(compacted) == kept(compacted) == set(compacted.live.values())
    compacted.check()


@pytest.fixture
def backed_up(new_database, tmp_path):
    """A world, and what brings it back to where its ledger and its catalog were before a few more acts."""
    url = new_database("embedded")
    world = world_in(tmp_path, url)
    world.backfill(*(bars(day(number), ("AAPL", "MSFT"), 2) for number in range(1, 4)))
    backup = f"backup_{uuid4().hex}"
    world.hot.close()  # a database that somebody uses can't be copied
    with psycopg.connect(urlsplit(url)._replace(path="/postgres").geturl(), autocommit=True) as server:
        server.execute(f'CREATE DATABASE {backup} TEMPLATE "{urlsplit(url).path[1:]}"')
    shutil.copy(tmp_path / "catalog.db", tmp_path / "backup.db")

    def restore() -> None:
        world.lake.close()
        shutil.copy(tmp_path / "backup.db", tmp_path / "catalog.db")
        world.hot = PostgresHot(urlsplit(url)._replace(path=f"/{backup}").geturl())

    yield world, restore
    world.lake.close()
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"DROP DATABASE {backup} WITH (FORCE)")


def test_what_was_published_since_the_backup_of_a_ledger_that_was_restored_is_never_deleted(backed_up):
    world, restore = backed_up
    world.backfill(bars(day(4)))
    world.backfill(bars(day(1), close="7", ingested_at=LATER))
    since = {world.live[day(4)], world.live[day(1)]}
    world.backfill(bars(day(5)))  # of the very last commit nothing proves that it came true
    restore()
    expire(world)
    done = expire(world)
    assert since <= lying(world)
    assert {idle.path for idle in done.unaccounted} == since
    assert [idle["path"] for idle in done.document()["unaccounted"]] == [idle.path for idle in done.unaccounted]
    # Brought back from their source they are adopted, and nothing is unaccounted for any more.
    world.backfill(bars(day(4)), bars(day(1), close="7", ingested_at=LATER))
    assert expire(world).unaccounted == []
    assert expire(world).deleted == []


def test_a_month_that_was_compacted_since_the_backup_is_never_deleted_once_its_days_are_gone(backed_up):
    world, restore = backed_up
    world.compact()
    expire(world)
    month = set(world.live.values())
    assert lying(world) == month
    world.backfill(bars(day(1, month=3)))
    restore()
    expire(world)
    assert {idle.path for idle in expire(world).unaccounted} >= month
    assert month <= lying(world)
