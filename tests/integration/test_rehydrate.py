"""Days that come back for a set time, and leave again without a byte being written."""

from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from hot_acts import answer, hot_set, ingest, publish
from made_rows import DAY, NOON, as_sorted_lists, bars

import thermocline
from thermocline.errors import LakeError, UsageError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS, DayRange, Partition
from thermocline.ports import AuditQuery, HotDay
from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot
from thermocline.stores.spool import DuckDBSpool
from thermocline.tasks.load import rehydrate
from thermocline.tasks.rotate import Rotation, plan_rotation
from thermocline.tasks.status import status
from thermocline.tasks.undo import undo

PARTITIONS = [Partition("market_data", "1min", DAY + timedelta(days=number)) for number in range(3)]
TODAY = DAY + timedelta(days=100)
OVER = TODAY + timedelta(days=7)
LIFECYCLE = Lifecycle(hot_intervals={"1min": 5})
LATER = NOON + timedelta(days=1)


@pytest.fixture(params=["memory", "embedded"])
def hot(request):
    if request.param == "memory":
        return MemoryHot()
    return PostgresHot(request.getfixturevalue("new_database")(request.param))


@pytest.fixture
def lake(tmp_path):
    with open_lake(str(tmp_path / "lake"), catalog_url=f"sqlite:///{tmp_path}/catalog.db", threads=2) as lake:
        yield lake


@pytest.fixture
def cold(hot, lake):
    """Three days that are cold alone, as a rotation left them."""
    ingest(hot, *map(bars, PARTITIONS), hot_days=PARTITIONS)
    assert len(night(hot, lake, TODAY).moved) == 3
    return files(lake), hot.live(MARKET_DATA, ALL_DAYS), rows(hot, lake)


def night(hot, lake, as_of):
    done = Rotation(hot, lake, DuckDBSpool, LIFECYCLE, f"night of {as_of}").run([MARKET_DATA], as_of=as_of)
    assert done.failed == []
    return done


def back(hot, lake, days=ALL_DAYS, until=OVER):
    return rehydrate(hot, lake, MARKET_DATA, days, until=until, run_id="rehydrate")


def files(lake):
    """Every file of the lake with its bytes and the moment it was written."""
    root = Path(lake.objects.location("cold_storage")).parent
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in root.rglob("*") if path.is_file()}


def rows(hot, lake):
    return as_sorted_lists(answer(hot, lake), MARKET_DATA)


def due(hot, as_of):
    planned = [moved.partition for moved in plan_rotation(hot, [MARKET_DATA], LIFECYCLE, as_of=as_of)]
    [line] = status(hot, [MARKET_DATA], LIFECYCLE, as_of=as_of)
    assert line.due_partitions == len(planned)
    return planned


def test_days_that_come_back_stay_for_their_time_and_leave_without_a_byte_written(hot, lake, cold):
    written, vintages, expected = cold
    assert back(hot, lake).loaded == 3
    assert hot_set(hot) == set(PARTITIONS)
    for night_of in (TODAY, TODAY + timedelta(days=1), OVER - timedelta(days=1)):
        assert due(hot, night_of) == []
        assert night(hot, lake, night_of).moved == []
        assert status(hot, [MARKET_DATA], LIFECYCLE, as_of=night_of)[0].kept_partitions == 3
        assert rows(hot, lake) == expected
    assert due(hot, OVER) == PARTITIONS
    moved = night(hot, lake, OVER).moved
    assert [each.partition for each in moved] == PARTITIONS
    assert [each.path for each in moved] == [vintage.receipt.path for vintage in vintages]
    assert hot_set(hot) == set()
    assert files(lake) == written
    assert hot.live(MARKET_DATA, ALL_DAYS) == vintages
    assert rows(hot, lake) == expected
    assert [act.detail["written"] for act in hot.audit(AuditQuery(names=["rotate"], limit=3))] == [False] * 3


def test_days_whose_rows_were_written_again_as_they_were_leave_without_a_byte_written(lake, new_database):
    """They look changed, so they are merged and encoded; only then it is known that they say nothing new."""
    hot = PostgresHot(new_database("embedded"))
    ingest(hot, *map(bars, PARTITIONS), hot_days=PARTITIONS)
    night(hot, lake, TODAY)
    written, vintages, expected = files(lake), hot.live(MARKET_DATA, ALL_DAYS), rows(hot, lake)
    back(hot, lake)
    with psycopg.connect(hot.url) as connection:
        connection.execute("UPDATE market_data SET volume = volume WHERE symbol = 'AAPL'")
    assert len(night(hot, lake, OVER).moved) == 3
    assert hot_set(hot) == set()
    assert files(lake) == written
    assert hot.live(MARKET_DATA, ALL_DAYS) == vintages
    assert rows(hot, lake) == expected


def test_a_damaged_object_keeps_its_own_day_cold_and_no_other(hot, lake, cold):
    damaged = Path(lake.objects.location(cold[1][0].receipt.path))
    good = damaged.read_bytes()
    damaged.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    with pytest.raises(LakeError, match=r"^1 partition could not be brought to hot, 2 others were; nothing was lost"):
        back(hot, lake)
    assert hot_set(hot) == set(PARTITIONS[1:])
    assert [(each.partition, each.act) for each in hot.trouble(MARKET_DATA)] == [(PARTITIONS[0], "load")]
    damaged.write_bytes(good)
    assert back(hot, lake).loaded == 1
    assert hot.trouble(MARKET_DATA) == []
    assert rows(hot, lake) == cold[2]


def test_rows_that_come_meanwhile_make_a_new_vintage_of_their_day_alone(hot, lake, cold):
    back(hot, lake)
    ingest(hot, bars(PARTITIONS[1], ["IBM"], ingested_at=LATER))
    expected = rows(hot, lake)
    night(hot, lake, OVER)
    assert [vintage.receipt.version for vintage in hot.live(MARKET_DATA, ALL_DAYS)] == [1, 2, 1]
    assert rows(hot, lake) == expected
    assert len(expected) > len(cold[2])


def test_a_day_that_is_hot_already_is_kept_and_not_loaded_again(hot, lake):
    ingest(hot, *map(bars, PARTITIONS), hot_days=PARTITIONS)
    publish(hot, lake, bars(PARTITIONS[0]))
    two = DayRange(DAY, DAY + timedelta(days=2))
    first = rehydrate(hot, lake, MARKET_DATA, two, until=OVER, run_id="first")
    # The vintage came after the rows did, so it is merged in; the second day has none at all.
    assert [moved.partition for moved in first.moved] == PARTITIONS[:1]
    again = rehydrate(hot, lake, MARKET_DATA, two, until=OVER, run_id="again")
    assert (again.loaded, again.unchanged) == (0, 2)
    assert hot.hot_days(MARKET_DATA) == [
        HotDay(PARTITIONS[0], 1, OVER), HotDay(PARTITIONS[1], 0, OVER), HotDay(PARTITIONS[2], 0),
    ]  # fmt: skip
    assert due(hot, TODAY) == PARTITIONS[2:]
    assert hot.audit(AuditQuery(run_id="again")) == []


def test_a_longer_time_counts_and_a_shorter_one_changes_nothing(hot, lake, cold):
    assert cold
    back(hot, lake)
    back(hot, lake, until=OVER - timedelta(days=3))
    assert due(hot, OVER - timedelta(days=1)) == []
    back(hot, lake, until=OVER + timedelta(days=3))
    assert due(hot, OVER + timedelta(days=2)) == []
    assert due(hot, OVER + timedelta(days=3)) == PARTITIONS


def test_a_rotation_that_planned_before_a_day_was_kept_leaves_it_alone(hot, lake, cold, monkeypatch):
    assert cold
    back(hot, lake, until=OVER - timedelta(days=1))
    begun = Rotation(hot, lake, DuckDBSpool, LIFECYCLE, "night")
    writer = type(hot).writer

    def after_somebody_else(self, *args, **options):
        monkeypatch.undo()
        back(hot, lake, DayRange(DAY, DAY + timedelta(days=1)), until=OVER + timedelta(days=1))
        return writer(self, *args, **options)

    monkeypatch.setattr(type(hot), "writer", after_somebody_else)
    assert [moved.partition for moved in begun.run([MARKET_DATA], as_of=OVER).moved] == PARTITIONS[1:]
    assert hot_set(hot) == {PARTITIONS[0]}


def test_a_rotated_day_can_be_undone_for_a_time(hot, lake, cold):
    undo(hot, MARKET_DATA, DayRange(DAY, DAY + timedelta(days=1)), run_id="undo", until=OVER)
    undo(hot, MARKET_DATA, ALL_DAYS, run_id="undo")
    assert due(hot, TODAY) == PARTITIONS[1:]
    night(hot, lake, OVER)
    assert files(lake) == cold[0]


def test_the_verbs_count_days_from_today_on(home):
    with thermocline.open(home=home) as tc:
        tc.backfill("market_data", source="sample", start="2013-01-02", end="2013-01-05")
        for asked, until in (
            ({}, "2013-02-08"),
            ({"days": 30}, "2013-03-03"),
            ({"until": "2013-04-01"}, "2013-04-01"),
        ):
            tc.rehydrate("market_data", as_of="2013-02-01", **asked)
            assert {str(day.until) for day in tc.hot.hot_days(MARKET_DATA)} == {until}
        tc.rotate(as_of="2013-04-01")
        assert tc.hot.hot_days(MARKET_DATA) == []
        tc.undo("market_data", start="2013-01-03", days=2, as_of="2013-02-01")
        assert [str(day.until) for day in tc.hot.hot_days(MARKET_DATA)] == ["2013-02-03"] * 2
        tc.undo("market_data")
        assert [day.until for day in tc.hot.hot_days(MARKET_DATA)].count(None) == 1
        for wrong in ({"days": 0}, {"until": "2013-02-01"}, {"days": 3, "until": "2013-03-01"}):
            with pytest.raises(UsageError):
                tc.rehydrate("market_data", as_of="2013-02-01", **wrong)
