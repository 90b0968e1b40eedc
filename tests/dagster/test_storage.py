"""Compaction, storage classes and expiry as Dagster runs them, and the checks of what lies where."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
from dagster_world import Bars, Objects

from assets.placement import CHECKS
from thermocline.errors import LakeError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS
from thermocline.model.storage_classes import Provider
from thermocline.ports import Act
from thermocline.settings import load_settings
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog
from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.objects_local import LocalObjects

JANUARY, MARCH = "2024-01", "2024-03"
DAYS = [date(2024, 1, 2), date(2024, 1, 3), date(2024, 2, 1), date(2024, 2, 2)]
IN_SPRING = {"as_of": "2024-03-20"}  # the months of 2024 are closed, the year is not

# By the list prices nothing that small is worth a request.
PRICES = """
provider: gcs
regions:
  nowhere:
    source: made
    read: 2024-05-01
    classes:
      STANDARD: {storage_usd_per_gib_month: 100}
      NEARLINE: {storage_usd_per_gib_month: 10}
      COLDLINE: {storage_usd_per_gib_month: 1}
      ARCHIVE: {storage_usd_per_gib_month: 0.1}
    postgres: {source: made, read: 2024-05-01, storage_usd_per_gib_month: 1}
"""
SETTINGS = """
storage:
  lifecycle: {hot_days: 5}
  prices: prices.yaml
  price_region: nowhere
  retention: {steps: {30: NEARLINE, 75: COLDLINE}}
"""


@pytest.fixture
def settings(home):
    home.mkdir()
    (home / "prices.yaml").write_text(PRICES)
    (home / "thermocline.yaml").write_text(SETTINGS)
    # As if the lake of the settings were another one: what counts is the lake that an asset gets.
    return load_settings(home, environ={"THERMOCLINE_LAKE_URL": "gs://nobody/lake"})


class Stubborn(Objects):
    """Objects of Google's, of which some stay where they are."""

    stubborn = "never"

    def transition(self, stored, storage_class):
        """See `Classes.transition`."""
        if self.stubborn in stored.path:
            msg = "the store says no"
            raise LakeError(msg)
        return super().transition(stored, storage_class)


@pytest.fixture
def world(make_world):
    world = make_world(objects=Stubborn(Provider.GCS), source=Bars(DAYS), hot=MemoryHot(lambda: world.at))
    world.at = datetime.now(UTC)
    world.run("backfill", DAYS[0], DAYS[-1])
    return world


@pytest.fixture
def compacted(world):
    world.run("compact", "2024-02", config=IN_SPRING | {"earlier_months": True})
    return world


def classes(world):
    """The class of each live object, by what its name says of its days."""
    paths = {vintage.receipt.path for vintage in world.hot.live(MARKET_DATA, ALL_DAYS)}
    found = {each.path: each.storage_class for each in world.objects.survey("")}
    return {path.rpartition("_")[2].removesuffix(".parquet"): found[path] for path in sorted(paths)}


def test_a_month_becomes_one_object_and_its_partition_says_so(world):
    rows = world.rows()
    planned = world.run("compact", JANUARY, config=IN_SPRING | {"dry_run": True})
    assert world.events("compaction", run=planned)[JANUARY]["would bring together"] == 1
    assert len(classes(world)) == 4

    done = world.run("compact", JANUARY, config=IN_SPRING)
    metadata = world.events("compaction", run=done)[JANUARY]
    assert (metadata["brought together"], metadata["objects before"], metadata["failed"]) == (1, 2, 0)
    assert "2024-01" in metadata["preview"]
    assert set(classes(world)) == {"202401", "20240201", "20240202"}
    assert world.rows() == rows


def test_a_month_that_was_missed_is_compacted_with_a_later_one_and_marked(world):
    done = world.run("compact", "2024-02", config=IN_SPRING | {"earlier_months": True})
    assert set(classes(world)) == {"202401", "202402"}
    assert set(world.events("compaction", run=done)) == {JANUARY, "2024-02"}


def test_what_a_dry_run_shows_is_done_and_nothing_else_and_only_once(compacted):
    dry = compacted.run("lifecycle_tiering", JANUARY, config=IN_SPRING | {"dry_run": True})
    planned = compacted.events("storage_classes", run=dry)[JANUARY]
    assert planned["would move"] == 1
    assert planned["saving USD a month"] > 0
    assert set(classes(compacted).values()) == {"STANDARD"}

    done = compacted.run("lifecycle_tiering", JANUARY, config=IN_SPRING | {"digest": planned["digest"]})
    metadata = compacted.events("storage_classes", run=done)[JANUARY]
    assert (metadata["moved"], metadata["failed"], metadata["digest"]) == (1, 0, planned["digest"])
    assert "COLDLINE" in metadata["classes"]
    assert metadata["USD a class"].startswith("![US dollars a month](data:image/svg+xml;base64,")
    assert classes(compacted) == {"202401": "COLDLINE", "202402": "STANDARD"}

    again = compacted.run("lifecycle_tiering", JANUARY, config=IN_SPRING)
    assert compacted.events("storage_classes", run=again)[JANUARY]["moved"] == 0


def test_a_plan_that_is_no_longer_the_one_that_was_shown_is_refused_and_a_day_that_is_still_to_come(compacted):
    compacted.run("lifecycle_tiering", JANUARY, config=IN_SPRING | {"digest": "0" * 64}, ok=False)
    compacted.run("lifecycle_tiering", JANUARY, config={"as_of": "2099-01-01"}, ok=False)
    assert set(classes(compacted).values()) == {"STANDARD"}


def test_objects_that_are_about_to_be_compacted_are_left_and_the_reason_is_shown(world):
    done = world.run("lifecycle_tiering", JANUARY, config=IN_SPRING)
    assert "compact first" in world.events("storage_classes", run=done)[JANUARY]["left because"]
    assert set(classes(world).values()) == {"STANDARD"}


def test_an_object_that_stays_fails_the_run_and_not_the_others(compacted):
    compacted.objects.stubborn = "202401"
    config = IN_SPRING | {"earlier_months": True}
    failed = compacted.run("lifecycle_tiering", "2024-02", config=config, ok=False)
    assert any("the store says no" in str(event.event_specific_data) for event in failed.all_events if event.is_failure)
    assert classes(compacted) == {"202401": "STANDARD", "202402": "NEARLINE"}

    compacted.objects.stubborn = "never"
    compacted.run("lifecycle_tiering", "2024-02", config=config)
    assert classes(compacted) == {"202401": "COLDLINE", "202402": "NEARLINE"}


def test_a_run_moves_no_more_than_it_may(compacted):
    done = compacted.run("lifecycle_tiering", MARCH, config=IN_SPRING | {"earlier_months": True, "max_requests": 1})
    metadata = compacted.events("storage_classes", run=done)[MARCH]
    assert (metadata["moved"], metadata["postponed"]) == (1, 1)


def test_the_schedule_takes_the_month_that_ended_and_every_one_before_it(compacted):
    schedule = compacted.defs.resolve_schedule_def("lifecycle_tiering")
    at = datetime(2024, 4, 2, 5, tzinfo=UTC)
    with dg.build_schedule_context(
        compacted.instance, scheduled_execution_time=at, repository_def=compacted.defs.get_repository_def()
    ) as context:
        (request,) = schedule.evaluate_tick(context).run_requests
    assert request.partition_key == MARCH
    config = request.run_config["ops"]["storage_classes"]["config"]
    done = compacted.run("lifecycle_tiering", request.partition_key, config=config | IN_SPRING)
    assert classes(compacted) == {"202401": "COLDLINE", "202402": "NEARLINE"}
    assert set(compacted.events("storage_classes", run=done)) == {JANUARY, "2024-02", MARCH}


def test_a_range_of_months_is_one_run_and_ends_with_the_checks(compacted):
    done = compacted.run("lifecycle_tiering", JANUARY, "2024-02")
    assert set(compacted.events("storage_classes", run=done)) == {JANUARY, "2024-02"}
    assert {each.check_name for each in done.get_asset_check_evaluations()} == set(CHECKS)


def test_a_key_that_is_no_month_is_refused(world):
    world.run("lifecycle_tiering", "2024-04", "2024-01", ok=False)
    assert set(classes(world).values()) == {"STANDARD"}


def test_what_compaction_leaves_behind_waits_for_its_grace_and_goes(world):
    world.at -= timedelta(days=30)
    world.run("compact", JANUARY, config=IN_SPRING)
    world.at = datetime.now(UTC)
    world.run("compact", "2024-02", config=IN_SPRING)
    assert checked(world)["none_left_behind"] == "WARN"

    dry = world.run("expire", config={"dry_run": True})
    (metadata,) = world.events("expiry", run=dry).values()
    assert (metadata["would delete"], metadata["waiting"], metadata["unaccounted"]) == (2, 2, 0)

    done = world.run("expire")
    (metadata,) = world.events("expiry", run=done).values()
    assert (metadata["deleted"], metadata["waiting"]) == (2, 2)
    assert checked(world)["none_left_behind"] == ""


def checked(world):
    """What the checks say of the lake: by name whether they passed, and how grave a failure is."""
    found = world.run("placement_checks").get_asset_check_evaluations()
    return {each.check_name: "" if each.passed else each.severity.value for each in found}


def test_a_lake_that_lies_as_it_should_passes_every_check(compacted):
    compacted.run("compact", "2024-02", config={"earlier_months": True})
    compacted.run("lifecycle_tiering", "2024-02", config={"earlier_months": True})
    assert set(checked(compacted).values()) == {""}


def test_each_check_finds_what_it_is_for(compacted):
    compacted.run("compact", "2024-02", config={"earlier_months": True})
    assert checked(compacted)["in_due_class"] == "WARN"
    (path,) = {vintage.receipt.path for vintage in compacted.hot.live(MARKET_DATA, ALL_DAYS)}

    compacted.objects.transition(compacted.objects.stat(path), "ARCHIVE")
    found = checked(compacted)
    assert (found["in_due_class"], found["not_too_early"]) == ("", "WARN")

    harmful = {"action": {"type": "Delete"}, "condition": {"age": 100}}
    compacted.objects.replace_rules([harmful], expected=[])
    compacted.objects.delete(path)
    found = checked(compacted)
    assert (found["rules_agree"], found["none_missing"]) == ("ERROR", "ERROR")


def test_a_move_that_was_billed_for_leaving_early_is_found(compacted):
    compacted.hot.record(Act("transition", None, "a run", {"dataset": MARKET_DATA.name, "penalty_usd": 0.5}))
    assert checked(compacted)["not_too_early"] == "WARN"


def test_the_checks_of_a_folder_know_no_rules_of_buckets(make_world, home, tmp_path):
    (home / "thermocline.yaml").write_text("storage: {retention: {preset: local}}")
    own = load_settings(home, environ={})
    lake = ParquetLake(LocalObjects(tmp_path / "lake"), MemoryCatalog())
    world = make_world(settings=own, lake=lake, source=Bars(DAYS[:1]))
    world.run("backfill", DAYS[0])
    assert checked(world) == dict.fromkeys(CHECKS, "") | {"in_due_class": "WARN"}
    world.run("lifecycle_tiering", JANUARY)
    assert set(checked(world).values()) == {""}
