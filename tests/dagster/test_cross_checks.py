"""Cross checks of bars in Dagster: a result for each rule, with what was found in its metadata."""

from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster_world import FIRST, FIRST_KEY, LAST_KEY, Bars, days

from assets.lake import lake_key
from pipelines.definitions import build_defs
from thermocline.model.checks.rules import RULES
from thermocline.model.datasets import MARKET_DATA
from thermocline.settings import load_settings

LAST = FIRST + timedelta(days=9)


def results(world, first, last=None):
    """What the checks say of days that are brought into the lake in the same run, as the UI does it."""
    job = world.defs.resolve_implicit_global_asset_job_def()
    chosen = {key for key in job.asset_layer.asset_graph.asset_check_keys if key.name in RULES}
    run = job.get_subset(asset_selection={lake_key(MARKET_DATA)}, asset_check_selection=chosen).execute_in_process(
        partition_key=None if last else str(first),
        tags={FIRST_KEY: str(first), LAST_KEY: str(last)} if last else {},
        instance=world.instance,
    )
    assert run.success
    return {each.check_name: each for each in run.get_asset_check_evaluations()}


def test_each_rule_has_a_result_with_the_offenders_and_stops_nothing(world):
    found = results(world, FIRST, LAST)  # every day the same bars
    assert set(found) == set(RULES)
    repeated = found["repeated_day"]
    assert (repeated.passed, repeated.blocking, repeated.severity) == (False, False, dg.AssetCheckSeverity.ERROR)
    assert repeated.metadata["findings"].value == 18
    assert "| equity | AAPL | 1day | 2024-01-02T00:00:00+00:00 |" in repeated.metadata["offenders"].value
    assert found["jumps"].passed
    assert found["jumps"].description.startswith("nothing found in")


def test_a_day_is_checked_beside_the_days_before_it(world):
    world.source = Bars(days(5))
    world.run("backfill", FIRST, FIRST + timedelta(days=4))
    world.source = Bars([FIRST + timedelta(days=5)], close="387.15")
    jumps = results(world, FIRST + timedelta(days=5))["jumps"]
    assert (jumps.passed, jumps.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "AAPL 2024-01-06: the close went from 187.15 to 387.15" in jumps.description


def test_a_rule_that_is_disabled_passes_and_says_so(make_world, home):
    settings = load_settings(home, environ={"THERMOCLINE_CHECKS__REPEATED_DAY__ENABLED": "false"})
    disabled = results(make_world(settings=settings), FIRST, LAST)["repeated_day"]
    assert (disabled.passed, disabled.description) == (True, "disabled by the settings")


def test_a_tick_checks_the_last_days_and_a_switch_stops_it(world, home):
    world.run("backfill", FIRST, LAST)
    schedule = world.defs.resolve_schedule_def("cross_checks")
    assert (schedule.cron_schedule, schedule.default_status.value) == ("30 5 * * *", "RUNNING")
    at = datetime(2024, 1, 10, 5, 30, tzinfo=UTC)
    with dg.build_schedule_context(
        world.instance, scheduled_execution_time=at, repository_def=world.defs.get_repository_def()
    ) as context:
        (request,) = schedule.evaluate_tick(context).run_requests
    job = world.defs.resolve_job_def(schedule.job_name)
    run = job.execute_in_process(tags=request.tags, instance=world.instance)
    found = {each.check_name: each for each in run.get_asset_check_evaluations()}
    assert set(found) == set(RULES)
    assert found["repeated_day"].metadata["findings"].value == 14  # two shares on seven days
    off = load_settings(home, environ={"THERMOCLINE_CHECKS__NIGHTLY__ENABLED": "false"})
    stopped = build_defs(settings=off).resolve_schedule_def("cross_checks")
    assert stopped.default_status.value == "STOPPED"
