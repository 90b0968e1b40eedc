"""The restore drill: what it shows, how it fails, when it runs by itself."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster_world import FIRST, World, days

from pipelines.definitions import build_defs
from thermocline.ports import AuditQuery
from thermocline.settings import load_settings

LAST = FIRST + timedelta(days=9)


@pytest.fixture
def cold(world):
    world.run("backfill", FIRST, LAST)
    return world


def drilled(world: World, run):
    (metadata,) = world.events("restore_drill", run=run).values()
    return metadata


def checked(run):
    (result,) = run.get_asset_check_evaluations()
    return result


def test_a_drill_shows_each_partition_that_it_restored(cold):
    run = cold.run("restore_drill")
    metadata = drilled(cold, run)
    assert (metadata["restored"], metadata["failed"], metadata["cold partitions"]) == (5, 0, 10)
    assert metadata["rows"] == 10
    assert metadata["partitions"].count("| market_data | 1day |") == 5
    assert {"plot", "bytes", "seconds", "seed"} <= metadata.keys()
    assert (checked(run).check_name, checked(run).passed) == ("copies_can_be_restored", True)
    lines = cold.hot.audit(AuditQuery(names=["drill"]))
    assert {line.run_id for line in lines} == {run.run_id}
    assert [line.detail["outcome"] for line in lines] == ["restored"] * 5
    assert cold.hot_days() == []


def test_the_config_says_how_many_of_what_and_the_seed_picks_them_again(cold):
    first = drilled(cold, cold.run("restore_drill", config={"partitions": 3, "seed": 7}))
    again = drilled(cold, cold.run("restore_drill", config={"partitions": 3, "seed": 7}))
    assert (first["restored"], again["restored"]) == (3, 3)

    def picked(metadata):
        return [line.split("|")[3] for line in metadata["partitions"].splitlines()[2:]]

    assert picked(first) == picked(again)
    assert drilled(cold, cold.run("restore_drill", config={"datasets": ["news"]}))["cold partitions"] == 0


def test_a_copy_that_can_not_be_restored_fails_its_check_and_the_run(cold):
    lost = next(path for path in cold.objects.list("cold_storage/") if "day=03" in path)
    cold.objects.delete(lost)
    run = cold.run("restore_drill", config={"partitions": 10}, ok=False)
    assert (drilled(cold, run)["restored"], drilled(cold, run)["failed"]) == (9, 1)
    assert not checked(run).passed
    assert checked(run).severity is dg.AssetCheckSeverity.ERROR
    assert lost in checked(run).description
    [line] = [line for line in cold.hot.audit(AuditQuery(names=["drill"])) if line.detail["outcome"] == "failed"]
    assert line.partition.day == days(3)[-1]


def test_a_drill_with_nothing_to_restore_is_fine(world):
    assert drilled(world, world.run("restore_drill"))["partitions"] == "*none*"


@pytest.mark.parametrize("enabled", [True, False])
def test_the_schedule_is_that_of_the_settings(home, enabled):
    lifecycle = "THERMOCLINE_STORAGE__LIFECYCLE__"
    settings = load_settings(
        home,
        environ={
            f"{lifecycle}DRILLS__SCHEDULE": "15 5 1 * *",
            f"{lifecycle}DRILLS__ENABLED": str(enabled).lower(),
            f"{lifecycle}DRILLS__PARTITIONS": "50",
            f"{lifecycle}AUTO_ROTATION__TIMEZONE": "Asia/Tokyo",
        },
    )
    assert settings.storage.lifecycle.drills.partitions == 50
    schedule = build_defs(settings=settings).resolve_schedule_def("drills")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("15 5 1 * *", "Asia/Tokyo")
    assert schedule.job_name == "restore_drill"
    assert schedule.default_status.value == ("RUNNING" if enabled else "STOPPED")


def test_a_tick_asks_for_one_run_that_works(cold):
    schedule = cold.defs.resolve_schedule_def("drills")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 4 * * 0", "UTC")
    at = datetime(2024, 2, 11, 4, tzinfo=UTC)
    with dg.build_schedule_context(
        cold.instance, scheduled_execution_time=at, repository_def=cold.defs.get_repository_def()
    ) as context:
        (request,) = schedule.evaluate_tick(context).run_requests
    assert (request.run_key, request.partition_key) == (at.isoformat(), None)
    cold.run(schedule.job_name)
