"""When jobs run by themselves."""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,  # Dagster exports neither, and documents both in `dg launch`
    ASSET_PARTITION_RANGE_START_TAG,
)

from pipelines.jobs import COMPACT, CROSS_CHECKS, EXPIRE, LIFECYCLE_TIERING, NIGHTLY_ROTATION, RESTORE_DRILL
from pipelines.partitions import MONTH
from thermocline.settings import AutoRotation, Drills, Settings
from thermocline.settings_checks import NightlyChecks

TOLERANCE = timedelta(minutes=30)
"""How long after the appointed time a rotation may end before it counts as late."""


def nightly_schedule(auto_rotation: AutoRotation) -> dg.ScheduleDefinition:
    """The nightly rotation: 2 AM of a day runs that day's key.

    Nights that were missed need no runs of their own, since each run moves whatever is due.
    """
    zone = ZoneInfo(auto_rotation.timezone)
    enabled = auto_rotation.enabled

    @dg.schedule(
        name="nightly",
        job=NIGHTLY_ROTATION,
        cron_schedule=auto_rotation.schedule,
        execution_timezone=auto_rotation.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING if enabled else dg.DefaultScheduleStatus.STOPPED,
        description="Rotate what is due, then vacuum.",
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        at = context.scheduled_execution_time.astimezone(zone)
        return dg.RunRequest(run_key=at.isoformat(), partition_key=at.date().isoformat())

    return nightly


def drill_schedule(drills: Drills, timezone: str) -> dg.ScheduleDefinition:
    """The restore drill. One that was missed is not made up: the next picks others."""

    @dg.schedule(
        name="drills",
        job=RESTORE_DRILL,
        cron_schedule=drills.schedule,
        execution_timezone=timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING if drills.enabled else dg.DefaultScheduleStatus.STOPPED,
        description="Restore some cold partitions for a trial.",
    )
    def every_week(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())

    return every_week


def cross_check_schedule(nightly: NightlyChecks, timezone: str) -> dg.ScheduleDefinition:
    """The cross checks of the last days in one run, so that a row is looked at again once the next one is there."""
    zone, days = ZoneInfo(timezone), nightly.days

    @dg.schedule(
        name="cross_checks",
        job=CROSS_CHECKS,
        cron_schedule=nightly.schedule,
        execution_timezone=timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING if nightly.enabled else dg.DefaultScheduleStatus.STOPPED,
        description=f"Look for bars of the last {days} days that are wrong beside others.",
    )
    def last_days(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        at = context.scheduled_execution_time.astimezone(zone)
        first = at.date() - timedelta(days=days - 1)
        tags = {
            ASSET_PARTITION_RANGE_START_TAG: first.isoformat(),
            ASSET_PARTITION_RANGE_END_TAG: at.date().isoformat(),
        }
        return dg.RunRequest(run_key=at.isoformat(), tags=tags)

    return last_days


def storage_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """Compaction, then storage classes, for the month that has ended and all before it; and what goes, every week.

    Where nothing says otherwise they are on where there is a retention: whoever wants objects to move wants them whole
    and what they leave behind to go, and nobody else's lake is rewritten unasked. All three wait for each other in one
    pool.
    """
    timezone = settings.storage.lifecycle.auto_rotation.timezone
    compacting, tiering = settings.storage.lifecycle.compaction, settings.storage.tiering
    expiry = settings.storage.lifecycle.expiry

    def status(enabled: bool | None) -> dg.DefaultScheduleStatus:
        is_on = settings.has_retention if enabled is None else enabled
        return dg.DefaultScheduleStatus.RUNNING if is_on else dg.DefaultScheduleStatus.STOPPED

    expire = dg.ScheduleDefinition(
        name="expire",
        job=EXPIRE,
        cron_schedule=expiry.schedule,
        execution_timezone=timezone,
        default_status=status(expiry.enabled),
        description="Delete objects that nothing names any more.",
    )
    return [
        _monthly(COMPACT, "compaction", compacting.schedule, timezone, status(compacting.enabled)),
        _monthly(LIFECYCLE_TIERING, "storage_classes", tiering.schedule, timezone, status(tiering.enabled)),
        expire,
    ]


def _monthly(job: Any, op: str, cron: str, timezone: str, status: dg.DefaultScheduleStatus) -> dg.ScheduleDefinition:
    """The month before the one in which it runs, with all before it: one that was missed needs no run of its own."""
    zone = ZoneInfo(timezone)

    @dg.schedule(
        name=job.name,
        job=job,
        cron_schedule=cron,
        execution_timezone=timezone,
        default_status=status,
        description=f"{job.description} With every month before it.",
    )
    def monthly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        at = context.scheduled_execution_time.astimezone(zone)
        ended = at.date().replace(day=1) - timedelta(days=1)
        return dg.RunRequest(
            run_key=at.isoformat(),
            partition_key=f"{ended:{MONTH}}",
            run_config={"ops": {op: {"config": {"earlier_months": True}}}},
        )

    return monthly


def freshness_schedule(job: Any) -> dg.ScheduleDefinition:
    """Every hour, since sessions end at all hours; a look at the ledger is all it costs."""

    @dg.schedule(
        name="freshness",
        job=job,
        cron_schedule="20 * * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="See whether the rows of the last sessions are there.",
    )
    def every_hour(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())

    return every_hour


def rotation_freshness(auto_rotation: AutoRotation) -> dg.FreshnessPolicy | None:
    """Rotation is fresh when it ended within half an hour of its time.

    None where rotation is switched off, or its schedule is more than one fixed time of the day.
    """
    minute, hour, *days = auto_rotation.schedule.split()
    if not (auto_rotation.enabled and minute.isdigit() and hour.isdigit()):
        return None
    deadline = timedelta(hours=int(hour), minutes=int(minute)) + TOLERANCE
    if deadline >= timedelta(days=1):
        return None
    hours, minutes = divmod(deadline // timedelta(minutes=1), 60)
    return dg.FreshnessPolicy.cron(
        deadline_cron=f"{minutes} {hours} {' '.join(days)}",
        lower_bound_delta=TOLERANCE,
        timezone=auto_rotation.timezone,
    )
