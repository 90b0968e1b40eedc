"""Derived features in Dagster, and whether the lake is fresh by an exchange's calendar."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
from dagster_world import FIRST, FIVE_DAYS_HOT

from thermocline.model.datasets import MARKET_DATA
from thermocline.settings import load_settings
from thermocline.sources.calendars import ExchangeCalendars
from thermocline.tasks.freshness import freshness


def test_features_are_derived_of_the_days_that_are_due_and_land_in_the_lake(world):
    world.run("backfill", FIRST, FIRST + timedelta(days=4))
    run = world.run("derive")
    landed = world.events("lake", "features", run=run)
    assert sorted(landed) == [str(FIRST + timedelta(days=number)) for number in range(5)]
    ((_, metadata),) = world.events("derived", "features", run=run).items()
    assert (metadata["due"], metadata["written"], metadata["days with bars"]) == (5, 5, 5)
    assert "| equity | AAPL |" in metadata["preview"]
    again = world.run("derive")
    ((_, metadata),) = world.events("derived", "features", run=again).items()
    assert (metadata["due"], metadata["written"]) == (0, 0)
    assert world.events("lake", "features", run=again) == {}


def test_features_are_derived_by_themselves_when_bars_came(world):
    chosen = dg.AssetSelection.assets(["derived", "features"])
    asked = dg.evaluate_automation_conditions(defs=world.defs, instance=world.instance, asset_selection=chosen)
    world.run("backfill", FIRST)
    asked = dg.evaluate_automation_conditions(
        defs=world.defs, instance=world.instance, asset_selection=chosen, cursor=asked.cursor
    )
    assert asked.total_requested == 1
    asked = dg.evaluate_automation_conditions(
        defs=world.defs, instance=world.instance, asset_selection=chosen, cursor=asked.cursor
    )
    assert asked.total_requested == 0


def test_what_is_due_is_the_last_session_and_never_a_holiday(world, calendars):
    last = date(2024, 1, 12)
    world.run("backfill", last)
    for now, session in (
        ("2024-01-16T03:00", last),  # Monday the 15th was Martin Luther King Day
        ("2024-01-17T02:00", last),  # the session of the 16th closed five hours before
        ("2024-01-17T08:00", date(2024, 1, 16)),
        ("2024-01-21T12:00", date(2024, 1, 19)),  # a Sunday
    ):
        at = datetime.fromisoformat(now).replace(tzinfo=UTC)
        found = freshness(world.hot, calendars, MARKET_DATA, "XNYS", 6, now=at)
        assert (found.session, found.is_fresh, found.newest) == (session, session == last, last)


def test_the_check_says_what_is_missing(make_world, calendars, home):
    variables = FIVE_DAYS_HOT | {"THERMOCLINE_FRESHNESS": '{"market_data": {"calendar": "XNYS"}}'}
    world = make_world(settings=load_settings(home, environ=variables), calendars=calendars)
    run = world.defs.resolve_job_def("freshness").execute_in_process(instance=world.instance)
    (check,) = run.get_asset_check_evaluations()
    assert not check.passed
    assert "were due at" in check.description
    assert "there are none in the two months before" in check.description
    assert world.defs.resolve_schedule_def("freshness").description


@pytest.fixture(scope="module")
def calendars():
    """Calendars that are built once."""
    return ExchangeCalendars()
