"""2 AM: which key a night runs, where the earth has which day, and when a rotation counts as late."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster_world import FIRST

from pipelines.definitions import build_defs
from pipelines.partitions import days_from, months_from
from pipelines.schedules import nightly_schedule, rotation_freshness, storage_schedules
from thermocline.settings import AutoRotation, load_settings

ZONES = ["UTC", "America/New_York", "Asia/Tokyo", "Pacific/Kiritimati", "Pacific/Pago_Pago"]


@pytest.mark.parametrize("zone", ZONES)
def test_two_in_the_morning_of_a_day_runs_the_key_of_that_day(home, zone):
    settings = load_settings(home, environ={"THERMOCLINE_STORAGE__LIFECYCLE__AUTO_ROTATION__TIMEZONE": zone})
    defs = build_defs(settings=settings)
    for day in ("2024-01-15", "2024-03-10", "2024-11-03"):  # the latter two have 23 and 25 hours in New York
        at = datetime.fromisoformat(f"{day}T02:00").replace(tzinfo=ZoneInfo(zone))
        request = tick(defs, at.astimezone(UTC))
        assert request.partition_key == day
        assert request.run_key.startswith(f"{day}T0")


@pytest.mark.parametrize("zone", ZONES)
def test_the_key_of_a_night_exists_at_two_in_the_morning(home, zone):
    settings = load_settings(home, environ={"THERMOCLINE_STORAGE__LIFECYCLE__AUTO_ROTATION__TIMEZONE": zone})
    at = datetime(2024, 1, 15, 2, tzinfo=ZoneInfo(zone))
    with dg.partition_loading_context(effective_dt=at):
        assert days_from(settings).get_last_partition_key() == "2024-01-15"
    with dg.partition_loading_context(effective_dt=at - timedelta(hours=2, seconds=1)):
        assert days_from(settings).get_last_partition_key() == "2024-01-14"


def test_the_first_key_is_that_of_the_settings(home):
    assert days_from(load_settings(home, environ={})).get_first_partition_key() == "1990-01-01"
    settings = load_settings(home, environ={"THERMOCLINE_PARTITIONS__START": "2024-01-15"})
    assert days_from(settings).get_first_partition_key() == "2024-01-15"


def test_the_schedule_runs_unless_rotation_is_switched_off():
    assert nightly_schedule(AutoRotation()).default_status is dg.DefaultScheduleStatus.RUNNING
    assert nightly_schedule(AutoRotation(enabled=False)).default_status is dg.DefaultScheduleStatus.STOPPED


def test_the_schedule_is_that_of_the_settings(home):
    settings = load_settings(
        home,
        environ={
            "THERMOCLINE_STORAGE__LIFECYCLE__AUTO_ROTATION__SCHEDULE": "30 3 * * 1-5",
            "THERMOCLINE_STORAGE__LIFECYCLE__AUTO_ROTATION__TIMEZONE": "Asia/Tokyo",
        },
    )
    schedule = build_defs(settings=settings).resolve_schedule_def("nightly")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 3 * * 1-5", "Asia/Tokyo")
    assert schedule.job_name == "nightly_rotation"


STORAGE = ["compact", "lifecycle_tiering", "expire"]


def statuses(home, **variables):
    """Which of the schedules of storage run by default."""
    settings = load_settings(home, environ={f"THERMOCLINE_{name}": value for name, value in variables.items()})
    return {each.name: each.default_status.value for each in storage_schedules(settings) if each.name in STORAGE}


def test_the_lake_is_rewritten_by_itself_only_where_there_is_a_retention(home):
    assert statuses(home) == dict.fromkeys(STORAGE, "STOPPED")
    assert statuses(home, DATASETS__NEWS__RETENTION='{"preset": "local"}') == dict.fromkeys(STORAGE, "RUNNING")
    assert statuses(home, STORAGE__LIFECYCLE__EXPIRY__ENABLED="true")["expire"] == "RUNNING"
    policy = {"STORAGE__RETENTION__DELETE_AFTER_DAYS": "2555"}
    assert statuses(home, **policy, STORAGE__TIERING__ENABLED="false") == {
        "compact": "RUNNING",
        "lifecycle_tiering": "STOPPED",
        "expire": "RUNNING",
    }


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_month_that_ended_has_a_key_where_the_schedule_runs(home, zone):
    settings = load_settings(home, environ={"THERMOCLINE_STORAGE__LIFECYCLE__AUTO_ROTATION__TIMEZONE": zone})
    at = datetime(2024, 1, 2, 5, tzinfo=ZoneInfo(zone))
    request = tick(build_defs(settings=settings), at.astimezone(UTC), name="lifecycle_tiering")
    assert request.partition_key == "2023-12"
    with dg.partition_loading_context(effective_dt=at):
        assert months_from(settings).has_partition_key(request.partition_key)


@pytest.mark.parametrize(
    ("schedule", "deadline"),
    [("0 2 * * *", "30 2 * * *"), ("45 3 * * 1-5", "15 4 * * 1-5"), ("29 23 * * *", "59 23 * * *")],
)
def test_a_rotation_is_late_half_an_hour_after_its_time(schedule, deadline):
    policy = rotation_freshness(AutoRotation(schedule=schedule, timezone="Europe/Berlin"))
    assert (policy.deadline_cron, policy.timezone) == (deadline, "Europe/Berlin")
    assert policy.lower_bound_delta == timedelta(minutes=30)


@pytest.mark.parametrize(
    "auto_rotation",
    [AutoRotation(enabled=False), AutoRotation(schedule="*/5 * * * *"), AutoRotation(schedule="45 23 * * *")],
)
def test_what_has_no_fixed_time_of_the_day_is_never_late(auto_rotation):
    assert rotation_freshness(auto_rotation) is None


def test_a_tick_gives_a_run_that_works(world):
    request = tick(world.defs, datetime(2024, 2, 10, 2, tzinfo=UTC), world.instance)
    world.run("backfill", FIRST, FIRST + timedelta(days=4))
    world.run("hot_load", FIRST)
    assert world.hot_days()
    world.run("nightly_rotation", request.partition_key)
    assert world.hot_days() == []


def tick(defs, at, instance=None, *, name="nightly"):
    """The run that the schedule asks for at an instant."""
    schedule = defs.resolve_schedule_def(name)
    with dg.build_schedule_context(
        instance, scheduled_execution_time=at, repository_def=defs.get_repository_def()
    ) as context:
        (request,) = schedule.evaluate_tick(context).run_requests
    return request
