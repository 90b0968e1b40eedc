"""Assets of vendors: what they fetch, whose symbols, and by which schedule."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
from dagster_world import FIRST, FIVE_DAYS_HOT, Bars, days

from pipelines.feeds import feeds_of
from thermocline.errors import SettingsError, SourceError
from thermocline.model.partition import DayRange
from thermocline.settings import load_settings

FEED = ("sources", "broker", "market_data")
OP = "sources__broker__market_data"


@dataclass
class Asked(Bars):
    """Bars, of which it is known what was asked for; they can't be had when the source `fails`."""

    asked: list = field(default_factory=list)
    fails: bool = False

    def fetch(self, request):
        """See `Source.fetch`."""
        self.asked.append(request)
        if self.fails:
            msg = "the vendor is down"
            raise SourceError(msg)
        yield from super().fetch(request)


@pytest.fixture
def feed_world(make_world, home):
    """Makes a world with one feed, declared so."""

    def make(declared, **parts):
        home.mkdir(exist_ok=True)
        (home / "thermocline.yaml").write_text(
            f"sources: {{broker: {{kind: files}}}}\nfeeds: {{broker/market_data: {declared}}}\n"
        )
        return make_world(settings=load_settings(home, environ=FIVE_DAYS_HOT), **parts)

    return make


def test_a_feed_fetches_its_symbols_and_tells_of_itself_and_of_the_lake(feed_world):
    world = feed_world("{symbols: [AAPL], intervals: [1day]}", source=Bars(days(2), intervals=("1day", "1min")))
    last = FIRST + timedelta(days=2)
    run = world.run("fetch_broker_market_data", FIRST, last)
    assert world.rows() == [("1day", day, "AAPL") for day in days(2)]
    events = world.events(*FEED, run=run)
    assert [metadata["action"] for _, metadata in sorted(events.items())] == ["written", "written", "nothing to do"]
    # A day of which the vendor has nothing says nothing of the lake.
    assert sorted(world.events("lake", "market_data", run=run)) == [str(day) for day in days(2)]


@pytest.mark.parametrize("config", [{"symbols": ["MSFT"]}, {"symbols_file": "{home}/universe.csv"}])
def test_symbols_of_the_launchpad_go_before_those_of_the_settings(feed_world, home, config):
    world = feed_world("{symbols: [AAPL]}")
    (home / "universe.csv").write_text("symbol,name\nMSFT,Microsoft\n\n# no more\n")
    config = {name: value.format(home=home) if isinstance(value, str) else value for name, value in config.items()}
    world.run("fetch_broker_market_data", FIRST, config=config, op=OP)
    assert {symbol for _, _, symbol in world.rows()} == {"MSFT"}


def test_symbols_can_be_those_of_a_dataset_and_none_is_said(feed_world):
    world = feed_world("{symbols_of: market_data}")
    run = world.run("fetch_broker_market_data", FIRST, ok=False)
    (failure,) = run.get_step_failure_events()
    assert "the dataset market_data has no symbols yet; nothing was fetched" in str(failure.step_failure_data.error)
    world.run("backfill", FIRST, config={"symbols": ["AAPL"]})
    world.run("fetch_broker_market_data", FIRST + timedelta(days=1))
    assert {symbol for _, _, symbol in world.rows()} == {"AAPL"}


def test_a_schedule_fetches_the_last_days_in_one_run(feed_world):
    world = feed_world("{schedule: '0 22 * * 1-5', days: 3}")
    schedule = world.defs.resolve_schedule_def("fetch_broker_market_data")
    assert (schedule.cron_schedule, schedule.default_status) == ("0 22 * * 1-5", dg.DefaultScheduleStatus.RUNNING)
    at = datetime(2024, 1, 5, 22, tzinfo=UTC)
    context = dg.build_schedule_context(scheduled_execution_time=at, repository_def=world.defs.get_repository_def())
    (request,) = schedule.evaluate_tick(context).run_requests
    job = world.defs.resolve_job_def("fetch_broker_market_data")
    assert job.execute_in_process(tags=request.tags, instance=world.instance).success
    assert sorted({day for _, day, _ in world.rows()}) == days(5)[2:]


def test_what_is_missing_is_asked_for_alone_and_what_can_not_be_had_fails_its_days(feed_world):
    sessions = [date(2024, 1, 2), date(2024, 1, 3), date(2024, 1, 4), date(2024, 1, 5)]
    source = Asked(sessions[:2])
    world = feed_world("{symbols: [AAPL], intervals: [1day], missing: true}", source=source)
    world.run("fetch_broker_market_data", sessions[0], sessions[1])
    source.days, source.asked = sessions, []
    run = world.run("fetch_broker_market_data", FIRST, sessions[3])
    assert [request.days for request in source.asked] == [DayRange(sessions[2], sessions[3] + timedelta(days=1))]
    events = world.events(*FEED, run=run)
    assert (len(events), events["2024-01-01"]["action"]) == (5, "nothing to do")  # New Year, and what was there
    assert [day for _, day, _ in world.rows()] == sessions
    source.asked, source.fails = [], True
    world.run("fetch_broker_market_data", FIRST, sessions[3])
    assert source.asked == []
    run = world.run("fetch_broker_market_data", FIRST, sessions[3] + timedelta(days=4), ok=False)
    (failure,) = run.get_step_failure_events()
    assert "2024-01-08 to 2024-01-10: the vendor is down" in str(failure.step_failure_data.error)
    assert max(world.events(*FEED, run=run)) == "2024-01-07"


def test_every_vendor_has_an_asset_without_any_setting(world):
    keys = {key.to_user_string() for key in world.defs.resolve_asset_graph().get_all_asset_keys()}
    assert {"sources/databento/market_data", "sources/databento/options_data"} <= keys
    parents = world.defs.resolve_asset_graph().get(dg.AssetKey(["lake", "market_data"])).parent_keys
    assert dg.AssetKey(["sources", "databento", "market_data"]) in parents


def test_sources_may_have_any_name_as_long_as_dagster_can_tell_them_apart(home):
    named = '{"a b-c": {"kind": "alpaca"}, "a_b_c": {"kind": "%s"}}'
    settings = load_settings(home, environ={"THERMOCLINE_SOURCES": named % "files"})
    keys = {feed.key.to_user_string() for feed in feeds_of(settings) if feed.source == "a b-c"}
    assert "sources/a_b_c/market_data" in keys
    with pytest.raises(SettingsError, match="'a b-c' and 'a_b_c' have one name"):
        feeds_of(load_settings(home, environ={"THERMOCLINE_SOURCES": named % "alpaca"}))
