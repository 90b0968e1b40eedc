"""The night: what is due leaves PostgreSQL, once, after every check; whatever night was missed is made up."""

from datetime import UTC, datetime, time, timedelta

import pyarrow as pa
import pytest
from dagster_world import FIRST, FIVE_DAYS_HOT, Bars, days
from made_rows import bars

from thermocline.model.datasets import DATASETS, MARKET_DATA
from thermocline.model.partition import Partition
from thermocline.settings import load_settings
from thermocline.stores.memory_hot import MemoryHot

LAST = FIRST + timedelta(days=9)


@pytest.fixture
def full(world):
    """Ten days in the lake, loaded as of the sixth: all ten are hot."""
    return filled(world)


def filled(world):
    world.run("backfill", FIRST, LAST)
    world.run("hot_load", FIRST + timedelta(days=5))
    assert world.hot_days() == days(10)
    return world


def evaluations(run):
    return {each.check_name: each for each in run.get_asset_check_evaluations()}


def failure(run, step="rotation"):
    return str(next(e for e in run.get_step_failure_events() if e.step_key == step).step_failure_data.error)


def test_a_load_shows_what_came_to_hot(full):
    (metadata,) = full.events("hot", "market_data").values()
    assert (metadata["partitions"], metadata["rows"], metadata["unchanged"]) == (10, 20, 0)
    assert metadata["loaded"].count("| loaded |") == 10
    assert {"preview", "plot", "seconds", "bytes", "path"} <= metadata.keys()
    assert list(full.events("hot", "news")) == ["2024-01-06"]


def test_hot_days_of_the_config_narrow_a_load(world):
    world.run("backfill", FIRST, LAST)
    job = world.defs.resolve_job_def("hot_load")
    config = {"ops": {"hot__market_data": {"config": {"hot_days": 3}}}}
    assert job.execute_in_process(run_config=config, partition_key=str(LAST), instance=world.instance).success
    assert world.hot_days() == days(4, LAST - timedelta(days=3))


def test_a_night_moves_what_is_due_and_a_reader_notices_nothing(full):
    before = full.rows()
    run = full.run("nightly_rotation", FIRST + timedelta(days=8))
    assert full.hot_days() == days(7, FIRST + timedelta(days=3))
    assert full.rows() == before
    ((key, metadata),) = full.events("rotation", run=run).items()
    assert key == "2024-01-09"
    assert (metadata["partitions"], metadata["rows"]) == (3, 6)
    assert metadata["moved"].count("| rotate |") == 3
    assert {"preview", "plot", "seconds", "bytes", "path", "released"} <= metadata.keys()
    assert {name: each.passed for name, each in evaluations(run).items()} == {
        "copies_are_good": True,
        "nothing_lost_or_doubled": True,
        "nothing_due_is_left": True,
    }
    assert {each.partition for each in evaluations(run).values()} == {"2024-01-09"}
    assert list(full.events("nightly_vacuum", run=run)) == ["2024-01-09"]


def test_a_second_run_of_a_night_moves_nothing(full):
    full.run("nightly_rotation", LAST)
    vintages, objects = full.vintages(), list(full.objects.list(""))
    (metadata,) = full.events("rotation", run=full.run("nightly_rotation", LAST)).values()
    assert metadata["partitions"] == 0
    assert (full.vintages(), list(full.objects.list(""))) == (vintages, objects)


def test_nights_that_were_missed_are_made_up_by_the_next(make_world):
    every_night, one_night = filled(make_world()), filled(make_world())
    for number in (6, 7, 9):
        every_night.run("nightly_rotation", FIRST + timedelta(days=number))
    one_night.run("nightly_rotation", LAST)
    assert one_night.hot_days() == every_night.hot_days() == days(6, LAST - timedelta(days=5))
    assert one_night.vintages() == every_night.vintages()
    assert one_night.rows() == every_night.rows()


def test_a_range_of_nights_is_one_run_as_of_the_last(full):
    run = full.run("nightly_rotation", FIRST + timedelta(days=6), LAST)
    assert full.hot_days() == days(6, LAST - timedelta(days=5))
    assert len(full.events("rotation", run=run)) == 4


def test_a_dry_run_shows_its_plan_and_changes_nothing(full):
    objects, vintages = list(full.objects.list("")), full.vintages()
    run = full.run("nightly_rotation", LAST, config={"dry_run": True})
    (metadata,) = full.events("rotation", run=run).values()
    assert metadata["would move"].count("| rotate |") == metadata["partitions"] == 4
    assert metadata["moved"] == "*none*"
    assert (full.hot_days(), full.vintages(), list(full.objects.list(""))) == (days(10), vintages, objects)
    left = evaluations(run)["nothing_due_is_left"]
    assert (left.passed, left.severity.value) == (False, "WARN")


def test_hot_days_of_the_config_replace_those_of_the_settings(full):
    full.run("nightly_rotation", LAST, config={"hot_days": 1})
    assert full.hot_days() == days(2, LAST - timedelta(days=1))


def test_other_datasets_leave_only_when_all_are_asked_for(full):
    news = DATASETS["news"]
    partition = Partition("news", "", FIRST)
    row = {
        "article_id": "1",
        "symbol": "AAPL",
        "ts": partition.start,
        "headline": "a | b\n<b>c</b>",
        "source": "made",
        "ingested_at": partition.start,
    }
    full.hot.ingest(
        news, news.arrow_schema.empty_table().from_pylist([row], news.arrow_schema), hot_days=[partition], run_id="r"
    )
    full.run("nightly_rotation", LAST)
    assert [day.partition for day in full.hot.hot_days(news)] == [partition]
    run = full.run("nightly_rotation", LAST, config={"full": True})
    assert full.hot.hot_days(news) == []
    (metadata,) = full.events("rotation", run=run).values()
    assert "a \\| b &lt;b&gt;c&lt;/b&gt;" in metadata["preview"]


def test_late_rows_are_folded_by_the_next_night(full):
    full.run("nightly_rotation", LAST)
    late = bars(Partition("market_data", "1day", FIRST), symbols=("LATE",), count=1)
    full.hot.ingest(MARKET_DATA, pa.Table.from_batches([late]), hot_days=[], run_id="r")
    run = full.run("nightly_rotation", LAST)
    (metadata,) = full.events("rotation", run=run).values()
    assert metadata["partitions"] == 1
    assert full.vintages()[Partition("market_data", "1day", FIRST)] == 2
    assert ("1day", FIRST, "LATE") in full.rows()


def test_a_damaged_copy_of_a_hot_day_is_written_anew_from_its_hot_rows(full):
    rows = full.rows()
    path = next(full.objects.list("cold_storage/market_data/year=2024/month=01/day=02/"))
    full.objects.replace(path, b"damaged")
    full.run("nightly_rotation", LAST)
    assert full.vintages()[Partition("market_data", "1day", FIRST + timedelta(days=1))] == 2
    assert full.rows() == rows


def test_a_copy_that_was_damaged_since_stops_the_drop_of_its_hot_rows(make_world, home):
    """`undo_days` after a day was detached its rows are dropped for good; its copy is then the only one."""
    settings = load_settings(home, environ=FIVE_DAYS_HOT | {"THERMOCLINE_STORAGE__LIFECYCLE__UNDO_DAYS": "0"})
    hot = MemoryHot(clock=lambda: datetime.combine(LAST, time(2), tzinfo=UTC))
    world = filled(make_world(settings=settings, hot=hot))
    world.run("nightly_rotation", LAST - timedelta(days=1))
    kept = {detached.partition.day for detached in world.hot.detached(MARKET_DATA)}
    assert FIRST in kept
    path = next(world.objects.list("cold_storage/market_data/year=2024/month=01/day=01/"))
    world.objects.replace(path, b"damaged")
    run = world.run("nightly_rotation", LAST + timedelta(days=1), ok=False)
    assert "market_data/1day/2024-01-01" in failure(run)
    assert {detached.partition.day for detached in world.hot.detached(MARKET_DATA)} == kept


def test_a_day_that_can_not_move_stays_hot_and_the_run_fails(world):
    world.source = Bars(days(3))
    partitions = [Partition("market_data", "1day", day) for day in days(3)]
    for partition in partitions:
        world.hot.ingest(
            MARKET_DATA, pa.Table.from_batches([bars(partition, count=1)]), hot_days=[partition], run_id="r"
        )
    world.objects.full_at = "20240102"
    before = world.rows()
    run = world.run("nightly_rotation", LAST, ok=False)
    assert world.hot_days() == [FIRST + timedelta(days=1)]
    assert "2 days moved, these stay hot as they were" in failure(run)
    assert "market_data/1day/2024-01-02: no space is left on the disk" in failure(run)
    assert not evaluations(run)["nothing_due_is_left"].passed
    assert world.rows() == before
    assert world.events("rotation", run=run) == {}


def test_rotation_that_is_switched_off_runs_only_by_force(make_world, home):
    settings = load_settings(
        home, environ=FIVE_DAYS_HOT | {"THERMOCLINE_STORAGE__LIFECYCLE__AUTO_ROTATION__ENABLED": "false"}
    )
    world = filled(make_world(settings=settings))
    run = world.run("nightly_rotation", LAST, ok=False)
    assert "rotation is switched off" in failure(run)
    assert world.hot_days() == days(10)
    world.run("nightly_rotation", LAST, config={"dry_run": True})
    world.run("nightly_rotation", LAST, config={"force": True})
    assert world.hot_days() == days(6, LAST - timedelta(days=5))


def test_vacuum_has_a_partition_for_each_dataset(full):
    run = full.run("vacuum", "market_data", config={"force": True})
    ((key, metadata),) = full.events("vacuum", run=run).items()
    assert key == "market_data"
    assert {"tables", "dead rows", "reclaimed bytes", "seconds", "preview", "plot"} <= metadata.keys()
    keys = full.defs.resolve_job_def("vacuum").partitions_def.get_partition_keys()
    assert list(keys) == list(DATASETS)
