"""The backfill job: one run for a range, an event for every day of it, and no day done twice."""

from datetime import date, timedelta

import dagster as dg
import pytest
from dagster_world import FIRST, FIVE_DAYS_HOT, Bars, days

from thermocline.settings import load_settings
from thermocline.tasks import backfill as task

LAST = FIRST + timedelta(days=9)


def test_a_day_is_one_partition_with_everything_worth_seeing(world):
    run = world.run("backfill", FIRST)
    ((key, metadata),) = world.events("lake", "market_data", run=run).items()
    assert key == "2024-01-01"
    assert metadata["rows"] == metadata["dagster/row_count"] == 2
    assert metadata["bytes"] > 0
    assert metadata["seconds"] > 0
    assert metadata["action"] == "written"
    assert metadata["path"].endswith("year=2024/month=01/day=01/market_data_1day_20240101.parquet")
    assert "| equity | AAPL | 1day | 2024-01-01 00:00:00 | 186.06 | 9188.44 | 183.885 | 187.15 |" in metadata["preview"]
    assert metadata["plot"].startswith("![rows a day](data:image/svg+xml;base64,")
    assert metadata["quarantined rows"] == 0
    assert metadata["rows by broken rule"] == "*none*"
    assert metadata["coverage"].startswith("![coverage of the 2 of 2 series that lack most](data:image/svg+xml;base64,")


def test_a_range_is_one_run_with_one_event_a_day(world):
    run = world.run("backfill", FIRST, LAST)
    events = world.events("lake", "market_data", run=run)
    assert list(events) == [str(day) for day in days(10)]
    assert [metadata["rows"] for metadata in events.values()] == [2] * 10
    last = events[str(LAST)]
    assert (last["partitions"], last["run rows"], last["written"]) == (10, 20, 10)


def test_the_last_event_of_a_range_shows_the_whole_run_and_the_others_their_day(world):
    run = world.run("backfill", FIRST, LAST)
    *others, last = world.events("lake", "market_data", run=run).values()
    assert {"preview", "plot", "seconds"} <= last.keys()
    assert not any("plot" in metadata for metadata in others)


def test_days_for_which_there_is_nothing_are_done_as_well(make_world):
    world = make_world(source=Bars([FIRST, FIRST + timedelta(days=3)]))
    run = world.run("backfill", FIRST, LAST)
    events = world.events("lake", "market_data", run=run)
    assert sorted(events) == [str(day) for day in days(10)]
    assert [events[str(day)]["action"] for day in days(5)] == [
        "written",
        "nothing to do",
        "nothing to do",
        "written",
        "nothing to do",
    ]


def test_a_range_without_any_rows_is_done_as_well(make_world):
    world = make_world(source=Bars([]))
    run = world.run("backfill", FIRST, LAST)
    events = world.events("lake", "market_data", run=run)
    assert sorted(events) == [str(day) for day in days(10)]
    assert world.rows() == []


def test_a_second_backfill_writes_nothing_and_says_so(world):
    world.run("backfill", FIRST, LAST)
    before = list(world.objects.list("cold_storage/"))
    events = world.events("lake", "market_data", run=world.run("backfill", FIRST, LAST))
    assert {metadata["action"] for metadata in events.values()} == {"unchanged"}
    assert (events[str(LAST)]["written"], events[str(LAST)]["unchanged"]) == (0, 10)
    assert list(world.objects.list("cold_storage/")) == before


@pytest.mark.parametrize("at_once", ["0", "500"])
def test_a_backfill_that_dies_in_the_middle_has_told_of_every_day_that_is_done(world, monkeypatch, at_once):
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", at_once)
    monkeypatch.setattr(task, "BATCH_DAYS", 3)
    world.objects.full_at = "20240105"
    run = world.run("backfill", FIRST, LAST, ok=False)
    done = world.events("lake", "market_data", run=run)
    # The day that is done last waits for the summary; a run that dies never tells of it.
    assert list(done) == [str(day) for day in days(2)]
    assert {partition.day for partition in world.vintages()} == set(days(3))

    world.objects.full_at = "never"
    written = set(world.objects.list("cold_storage/"))
    again = world.run("backfill", FIRST, LAST)
    events = world.events("lake", "market_data", run=again)
    assert [events[str(day)]["action"] for day in days(10)] == ["unchanged"] * 3 + ["written"] * 7
    assert written < set(world.objects.list("cold_storage/"))
    assert len(world.rows()) == len(set(world.rows())) == 20


def test_a_day_with_two_bar_sizes_is_done_when_both_are(make_world, monkeypatch):
    monkeypatch.setattr(task, "BATCH_DAYS", 2)
    world = make_world(source=Bars(days(4), intervals=("1day", "1min")))
    world.objects.full_at = "1min_20240103"
    run = world.run("backfill", FIRST, FIRST + timedelta(days=3), ok=False)
    assert list(world.events("lake", "market_data", run=run)) == ["2024-01-01"]
    world.objects.full_at = "never"
    run = world.run("backfill", FIRST, FIRST + timedelta(days=3))
    events = world.events("lake", "market_data", run=run)
    assert {day: metadata["rows"] for day, metadata in events.items()} == {str(day): 4 for day in days(4)}
    assert events["2024-01-03"]["action"] == "unchanged, written"


def test_what_is_in_quarantine_is_counted(make_world):
    world = make_world(source=Bars([FIRST], unreadable=(("4,x", "x is no price"),)))
    (metadata,) = world.events("lake", "market_data", run=world.run("backfill", FIRST)).values()
    assert metadata["quarantined rows"] == 1


def test_symbols_and_intervals_of_the_config_are_all_that_comes(make_world):
    world = make_world(source=Bars(days(2), intervals=("1day", "1min")))
    world.run("backfill", FIRST, config={"symbols": ["AAPL"], "intervals": ["1day"]})
    assert world.rows() == [("1day", FIRST, "AAPL")]


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (FIRST, date(2999, 1, 1), "there is no partition 2999-01-01"),
        (date(1989, 12, 31), FIRST, "there is no partition 1989-12-31"),
        (LAST, FIRST, "2024-01-10 is not before 2024-01-01"),
    ],
)
def test_keys_given_by_hand_are_checked(world, monkeypatch, first, last, said):
    # One planned event for the range: to the year 2999 there would be hundreds of thousands.
    monkeypatch.setenv("DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS", "1")
    run = world.run("backfill", first, last, ok=False)
    (failure,) = run.get_step_failure_events()
    assert said in str(failure.step_failure_data.error)
    assert world.rows() == []


def test_a_job_without_a_key_is_refused(world):
    world.run("backfill", ok=False)
    assert world.rows() == []


def test_the_check_of_a_range_reads_its_objects_back(world):
    world.run("backfill", FIRST, LAST)
    key = dg.AssetKey(["lake", "market_data"])
    job = world.defs.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection=set(), asset_check_selection={dg.AssetCheckKey(key, "reads_back")}
    )
    tags = {"dagster/asset_partition_range_start": "2024-01-01", "dagster/asset_partition_range_end": "2024-01-05"}
    (good,) = job.execute_in_process(tags=tags, instance=world.instance).get_asset_check_evaluations()
    assert good.passed
    assert good.metadata["objects"].value == 5
    path = next(world.objects.list("cold_storage/market_data/year=2024/month=01/day=02/"))
    world.objects.replace(path, b"damaged")
    run = job.execute_in_process(tags=tags, instance=world.instance, raise_on_error=False)
    assert not run.success
    (bad,) = run.get_asset_check_evaluations()
    assert not bad.passed
    assert "market_data/1day/2024-01-02" in bad.description


def test_a_restatement_that_is_held_is_seen_in_the_days_event_and_changes_no_row(make_world, home):
    variables = FIVE_DAYS_HOT | {"THERMOCLINE_STORAGE__LIFECYCLE__RESTATEMENTS__HOLD_SYMBOLS": "2"}
    world = make_world(settings=load_settings(home, environ=variables))
    world.run("backfill", FIRST)
    before = world.rows()
    world.source = Bars([FIRST], close="200")
    ((_, metadata),) = world.events("lake", "market_data", run=world.run("backfill", FIRST)).items()
    assert (metadata["action"], metadata["held"], metadata["written"]) == ("held", 1, 0)
    assert (world.rows(), list(world.vintages().values())) == (before, [1])
