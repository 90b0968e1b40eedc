"""What is kept no longer goes; what a kept vintage names, or somebody may still read, stays."""

from datetime import UTC, date, datetime, timedelta
from io import BytesIO

import pytest
from hot_acts import migrated
from lake_world import AS_OF, LATER, day, two_months, world_in
from made_rows import bars

from thermocline.faults import listening
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS
from thermocline.model.receipt import VintageState
from thermocline.ports import AuditQuery
from thermocline.tasks.expire import Expiry

SOON = timedelta(0)


@pytest.fixture(scope="session")
def prepare_database():
    return migrated


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
