"""Days whose retention is over leave the lake for good, and no other day does."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest
from hot_acts import load
from lake_world import AS_OF, LATER, day, two_months, world_in
from made_rows import bars

from thermocline.faults import listening
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS
from thermocline.model.receipt import VintageState
from thermocline.ports import AuditQuery
from thermocline.stores.postgres import PostgresHot
from thermocline.tasks.expire import Expiry
from thermocline.tasks.recover import Recovery
from thermocline.tasks.retire import KEPT, by_path, retire


@pytest.fixture
def world(new_database, tmp_path):
    world = world_in(tmp_path, new_database("embedded"))
    yield world
    world.lake.close()


@pytest.fixture
def days(world):
    """Four days, each in an object of its own."""
    world.backfill(*(bars(day(number)) for number in (2, 3, 4, 8)))
    return world


def going(world, wanted) -> dict:
    """The objects of the days that are wanted, as a plan names them."""
    kept = by_path(world.hot.vintages(MARKET_DATA, ALL_DAYS, states=KEPT))
    found = {path: frozenset(v.partition for v in vintages) for path, vintages in kept.items()}
    return {path: partitions for path, partitions in found.items() if wanted(max(partitions))}


def done(world, days_in) -> dict:
    return retire(world.hot, world.lake, MARKET_DATA, days_in, run_id="retire")


def forget(world, *gone) -> None:
    world.forget(lambda row: row["ts"].date() in {each.day for each in gone})


def expire(world):
    now = datetime.now(UTC) + timedelta(seconds=1)
    [result] = Expiry(world.hot, world.lake, AS_OF, now, grace=timedelta(0)).run([MARKET_DATA], run_id="expire")
    return result


def test_a_day_goes_with_every_version_and_its_objects_go_after_the_grace(days):
    days.backfill(bars(day(3), close="7", ingested_at=LATER))
    wanted = going(days, lambda youngest: youngest == day(3))
    assert len(wanted) == 2
    assert done(days, wanted) == {}
    forget(days, day(3))
    days.check()
    states = {v.state for v in days.hot.vintages(MARKET_DATA, ALL_DAYS) if v.partition == day(3)}
    assert states == {VintageState.EXPIRED}
    assert wanted.keys() <= set(days.lake.objects_of(MARKET_DATA)), "a query that began before may still read them"
    assert {idle.path for idle in expire(days).deleted} == wanted.keys()
    assert len(list(days.lake.objects_of(MARKET_DATA))) == 3
    [act] = days.hot.audit(AuditQuery(names=["retire"]))
    assert act.detail["withdrawn"] == [str(day(3))]
    assert done(days, going(days, lambda youngest: youngest == day(3))) == {}
    assert len(days.hot.audit(AuditQuery(names=["retire"]))) == 1


def test_a_compacted_month_goes_as_a_whole(days):
    two_months(days)
    assert done(days, going(days, lambda youngest: youngest.day.month == 1)) == {}
    days.forget(lambda row: row["ts"].month == 1)
    days.check()
    assert {partition.day.month for partition in days.live} == {2}


@pytest.mark.parametrize("state", ["is hot", "has late rows"])
def test_a_day_in_which_something_is_going_on_stays(days, state):
    wanted = going(days, lambda youngest: youngest in {day(2), day(3)})
    if state == "is hot":
        load(days.hot, days.lake, next(v for v in days.hot.live(MARKET_DATA, ALL_DAYS) if v.partition == day(3)))
    else:
        days.ingest(bars(day(3), ("NEW",)))
    left = done(days, wanted)
    assert list(left.values()) == [f"{day(3)} {state}"]
    forget(days, day(2))
    days.check()


def test_an_object_that_holds_other_days_by_now_stays(days):
    wanted = going(days, lambda youngest: youngest in {day(2), day(3)})
    path = next(path for path, partitions in wanted.items() if day(3) in partitions)
    [reason] = done(days, {**wanted, path: {day(3), day(4)}}).values()
    assert "does not hold the days any more" in reason
    forget(days, day(2))
    days.check()


def test_a_month_that_was_compacted_since_stays_as_it_is(days):
    wanted = going(days, lambda youngest: youngest == day(3))
    days.compact()
    assert list(done(days, wanted)) == list(wanted)
    days.check()


@pytest.mark.parametrize("point", ["journal:after", "commit:after", "publish:after", "expire:before"])
def test_a_run_that_dies_is_made_good_by_the_next(days, point):
    days.backfill(bars(day(3), close="7", ingested_at=LATER))

    class KilledError(BaseException):
        pass

    def die(reached: str) -> None:
        if reached == point:
            raise KilledError

    with pytest.raises(KilledError), listening(die):
        done(days, going(days, lambda youngest: youngest == day(3)))
    assert done(days, going(days, lambda youngest: youngest == day(3))) == {}
    forget(days, day(3))
    days.check()
    assert going(days, lambda youngest: youngest == day(3)) == {}


@pytest.mark.parametrize("is_table_lost", [False, True])
def test_a_ledger_that_is_made_anew_does_not_bring_them_back(days, new_database, is_table_lost):
    done(days, going(days, lambda youngest: youngest == day(8)))
    forget(days, day(8))
    if is_table_lost:
        shutil.rmtree(days.folder / "cold_storage/market_data/metadata")
    days.hot = PostgresHot(new_database("embedded"))
    recovered = Recovery(days.hot, days.lake, "recover").run([MARKET_DATA])
    assert recovered.is_whole
    assert day(8) not in days.live
    days.check()
