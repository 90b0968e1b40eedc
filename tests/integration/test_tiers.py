"""Storage classes of a lake: what is due is shown, done exactly so, and done once, whatever happens meanwhile."""

from dataclasses import dataclass, replace
from datetime import date
from io import BytesIO

import pytest
from hot_acts import answer, load, publish
from made_rows import as_sorted_lists, bars
from tiering_world import AS_OF, free

from thermocline.errors import LakeError, LockTimeoutError, PlanDriftError
from thermocline.faults import listening
from thermocline.model.datasets import MARKET_DATA, NEWS
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS, DayRange, Partition
from thermocline.model.retention import ClassStep, Retention, RetentionPolicy
from thermocline.model.storage_classes import Provider
from thermocline.ports import AuditQuery
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog, MemoryObjects
from thermocline.stores.postgres import PostgresHot
from thermocline.stores.retrying import Patience, RetryingObjects
from thermocline.tasks.tiers import TIERING, Tiering

POLICY = RetentionPolicy(Retention((ClassStep(30, "NEARLINE"), ClassStep(90, "COLDLINE")), 400))


def day(number: int, month: int = 1) -> Partition:
    return Partition("market_data", "1min", date(2024, month, number))


@dataclass
class World:
    """A hot tier, and a lake in a bucket with storage classes."""

    hot: PostgresHot
    lake: ParquetLake
    bucket: MemoryObjects

    def publish(self, *batches):
        """Make batches the next vintages of their days, in the table too."""
        return publish(self.hot, self.lake, *batches)

    def tiering(self, **options) -> Tiering:
        """A look at the tiers as of the day of these tests."""
        parts = {"hot": self.hot, "lake": self.lake, "policy": POLICY, "prices": free(Provider.GCS), "as_of": AS_OF}
        return Tiering(**{**parts, "threads": 4, **options})

    def apply(self, digest=None, **options):
        """Do what is due."""
        tiering = self.tiering(**options)
        return tiering.apply([MARKET_DATA], digest or tiering.plan([MARKET_DATA]).digest, run_id="tiers")

    @property
    def classes(self) -> dict[str, str]:
        """The class of every object with rows."""
        return {stored.path: stored.storage_class for stored in self.lake.survey(MARKET_DATA)}


@pytest.fixture
def world(new_database):
    bucket = MemoryObjects(Provider.GCS)
    # Written when the days were young.
    lake = ParquetLake(RetryingObjects(bucket), MemoryCatalog())
    return World(PostgresHot(new_database("embedded")), lake, bucket)


@pytest.fixture
def days(world):
    """Four days, of which one is due for each class after the first, one for none, and one is as old as the oldest."""
    world.publish(*(bars(each) for each in (day(2), day(3), day(10, 4), day(20, 5))))
    return world


def test_what_is_due_is_shown_and_done_exactly_so_and_then_nothing_is_left_to_do(days):
    before = days.classes
    rows = as_sorted_lists(answer(days.hot, days.lake), MARKET_DATA)
    planned = days.tiering().plan([MARKET_DATA])
    assert days.classes == before
    done = days.apply(planned.digest)
    assert [move.document() for move in sorted(done.moved, key=lambda move: move.object.path)] == (
        planned.document()["transitions"]
    )
    assert (done.failed, done.removed, done.remaining) == ([], [], 0)
    assert list(days.classes.values()) == ["COLDLINE", "COLDLINE", "NEARLINE", "STANDARD"]
    assert as_sorted_lists(answer(days.hot, days.lake), MARKET_DATA) == rows
    again = days.tiering().plan([MARKET_DATA])
    assert again.is_empty
    etags = [stored.etag for stored in days.lake.survey(MARKET_DATA)]
    assert days.apply(again.digest).moved == []
    assert [stored.etag for stored in days.lake.survey(MARKET_DATA)] == etags


def test_every_move_is_a_line_of_the_audit_log(days):
    done = days.apply()
    lines = days.hot.audit(AuditQuery(names=["transition"]))
    assert sorted(line.detail["path"] for line in lines) == sorted(move.object.path for move in done.moved)
    one = next(line.detail for line in lines if line.detail["to"] == "NEARLINE")
    assert (one["dataset"], one["interval"], one["from"]) == ("market_data", "1min", "STANDARD")
    assert one["bytes"] == days.lake.size_of(one["path"])
    assert one["fee_usd"] >= 0


def test_objects_are_chosen_by_the_month_of_their_youngest_day(days):
    moved = days.apply(days=DayRange(date(2024, 4, 1), date(2024, 5, 1))).moved
    assert [move.object.last_day for move in moved] == [date(2024, 4, 10)]
    assert days.apply(intervals=["1day"]).moved == []
    assert len(days.apply(intervals=["1min"]).moved) == 2


def test_objects_that_nothing_names_are_left_to_expire(days):
    days.bucket.put(
        "cold_storage/market_data/year=2024/month=01/day=09/market_data_1min_20240109.parquet", BytesIO(b"x")
    )
    surveyed = days.tiering().survey([MARKET_DATA])
    assert [stored.size_bytes for stored in surveyed.unnamed] == [1]
    assert len(days.apply().moved) == 3


def test_versions_that_are_superseded_move_as_well_and_an_object_that_is_gone_is_told(days):
    [live] = days.publish(bars(day(2), close="7"))
    old = next(v for v in days.hot.vintages(MARKET_DATA, ALL_DAYS) if v.superseded_at)
    days.bucket.delete(live.receipt.path)
    surveyed = days.tiering().survey([MARKET_DATA])
    assert surveyed.missing == [live.receipt.path]
    assert old.receipt.path in {move.object.path for move in days.apply().moved}


def test_objects_that_are_about_to_be_compacted_stay_until_they_are(days):
    planned = days.tiering(lifecycle=Lifecycle(hot_days=30)).plan([MARKET_DATA])
    assert [left.object.last_day.month for left in planned.plan.left] == [1, 1]
    assert {left.document()["reason"] for left in planned.plan.left} == {"compact first"}
    assert [move.object.last_day.month for move in planned.plan.transitions] == [4]


def test_what_there_is_adds_up_to_what_the_store_lists(days):
    shown = days.tiering().show([MARKET_DATA])
    assert shown.document()["bytes"] == sum(stored.size_bytes for stored in days.lake.survey(MARKET_DATA))
    assert [(each.storage_class, each.objects) for each in shown.holdings] == [("STANDARD", 4)]
    assert len(shown.misplaced) == len(shown.document()["drift"]) == 3
    days.apply()
    after = days.tiering().show([MARKET_DATA])
    assert [name for name, _, _ in after.by_class] == ["STANDARD", "NEARLINE", "COLDLINE"]
    assert after.misplaced == []
    assert after.usd_per_month < shown.usd_per_month


def test_objects_in_a_class_of_which_nothing_is_known_are_told_and_left_alone(days):
    class Bucket(MemoryObjects):
        """One in which somebody put an object into a class of his own."""

        def survey(self, prefix):
            first, *others = super().survey(prefix)
            return iter([replace(first, storage_class="DURABLE_REDUCED_AVAILABILITY"), *others])

    days.bucket.__class__ = Bucket
    shown = days.tiering().show([MARKET_DATA])
    assert [each["class"] for each in shown.document()["strange"]] == ["DURABLE_REDUCED_AVAILABILITY"]
    assert shown.document()["objects"] == 3
    assert len(days.apply().moved) == 2


# --------------------------------------------------------------------------------------------------------------- drift


def moved_elsewhere(world) -> None:
    stored = next(world.lake.survey(MARKET_DATA))
    world.bucket.transition(stored, "ARCHIVE")


def restated(world) -> None:
    world.publish(bars(day(2), close="7"))


def deleted(world) -> None:
    world.bucket.delete(next(world.lake.survey(MARKET_DATA)).path)


def replaced(world) -> None:
    path = next(world.lake.survey(MARKET_DATA)).path
    world.bucket.replace(path, world.bucket.open(path).read())


@pytest.mark.parametrize("happens", [moved_elsewhere, restated, deleted, replaced])
def test_a_plan_that_is_not_the_one_shown_any_more_is_refused_before_anything_is_changed(days, happens):
    planned = days.tiering().plan([MARKET_DATA])
    happens(days)
    before = days.classes
    with pytest.raises(PlanDriftError, match=rf"plan {planned.digest} .*nothing was changed"):
        days.apply(planned.digest)
    assert days.classes == before
    assert days.hot.audit(AuditQuery(names=["transition"])) == []


def test_what_is_written_meanwhile_and_not_due_is_no_drift(days):
    planned = days.tiering().plan([MARKET_DATA])
    days.publish(bars(day(21, 5)))
    assert len(days.apply(planned.digest).moved) == 3


def test_an_object_that_changes_after_the_last_look_is_named_and_stays_while_others_move(days):
    tiering = days.tiering(threads=1)
    path = tiering.plan([MARKET_DATA]).plan.transitions[1].object.path

    def replace_it(point: str) -> None:
        if point == "transition:before":
            days.bucket.replace(path, days.bucket.open(path).read())

    with listening(replace_it):
        done = days.apply(threads=1)
    assert [failed.object.path for failed in done.failed] == [path]
    assert "changed" in done.failed[0].reason
    assert len(done.moved) == 2
    assert days.classes[path] == "STANDARD"
    assert [move.object.path for move in days.apply().moved] == [path]


def test_an_object_that_is_deleted_after_the_last_look_is_named(days):
    path = days.tiering().plan([MARKET_DATA]).plan.transitions[2].object.path
    with listening(lambda point: days.bucket.delete(path) if point == "transition:before" else None):
        done = days.apply(threads=1)
    assert [(failed.object.path, failed.reason) for failed in done.failed] == [(path, "it was deleted meanwhile")]


# -------------------------------------------------------------------------------------------------------- budget, ends


def test_what_a_run_may_not_do_any_more_is_said_and_done_by_the_next(days):
    planned = days.tiering(max_requests=2).plan([MARKET_DATA])
    assert (len(planned.plan.transitions), planned.plan.postponed) == (2, 1)
    assert planned.document()["postponed"] == 1
    days.publish(bars(day(4)))  # due as well, and not among those of this run
    first = days.apply(planned.digest, max_requests=2)
    assert (len(first.moved), first.remaining) == (2, 2)
    second = days.apply(max_requests=2)
    assert (len(second.moved), second.remaining) == (2, 0)


def test_a_run_ends_when_the_lake_may_not_be_asked_any_more_and_the_next_goes_on(days):
    days.lake = ParquetLake(RetryingObjects(days.bucket, Patience(max_requests_per_run=2)), MemoryCatalog())
    done = days.apply(threads=1)  # a listing, and one transition
    assert (len(done.moved), done.failed) == (1, [])
    assert "max_requests_per_run" in done.stopped
    assert done.document()["postponed"] == 2
    assert len(days.hot.audit(AuditQuery(names=["transition"]))) == 1


class StopError(BaseException):
    """A person stops the run."""


@pytest.mark.parametrize("point", ["transition:before", "transition:after"])
def test_a_run_that_is_stopped_leaves_a_state_from_which_the_next_goes_on(days, point):
    seen = []

    def stop(reached: str) -> None:
        if reached == point:
            seen.append(reached)
            if len(seen) == 2:
                raise StopError

    with pytest.raises(StopError), listening(stop):
        days.apply(threads=1)
    lying = list(days.classes.values())
    assert lying.count("STANDARD") < 4
    done = days.apply()
    assert (done.failed, done.stopped) == ([], "")
    assert list(days.classes.values()) == ["COLDLINE", "COLDLINE", "NEARLINE", "STANDARD"]


def test_only_one_run_at_a_time_moves_objects_of_a_dataset_and_it_holds_off_no_writer(days):
    tiering = days.tiering()
    digest = tiering.plan([MARKET_DATA]).digest
    with days.hot.alone(TIERING, MARKET_DATA):
        other = replace(tiering, wait_seconds=0.1)
        with pytest.raises(LockTimeoutError, match="another run is tiering market_data"):
            other.apply([NEWS, MARKET_DATA], digest, run_id="tiers")
    with days.hot.writer(MARKET_DATA):
        assert len(days.apply(digest).moved) == 3


def test_readers_get_the_same_rows_while_objects_move(days):
    rows = as_sorted_lists(answer(days.hot, days.lake), MARKET_DATA)
    wrong: list[str] = []

    def look(point: str) -> None:
        if point.startswith("transition") and as_sorted_lists(answer(days.hot, days.lake), MARKET_DATA) != rows:
            wrong.append(point)

    with listening(look):
        assert len(days.apply(threads=1).moved) == 3
    assert wrong == []


def test_a_day_is_restated_while_its_object_moves(days):
    """Neither waits for the other; readers get the new rows, and the earlier version is in the class that is due."""
    restated: list[str] = []

    def restate(point: str) -> None:
        if point == "transition:before" and not restated:
            restated.append("once")
            days.publish(bars(day(2), close="7"))

    with listening(restate):
        done = days.apply(threads=1)
    assert (len(done.moved), done.failed) == (3, [])
    versions = [v for v in days.hot.vintages(MARKET_DATA, ALL_DAYS) if v.partition == day(2)]
    assert [days.classes[v.receipt.path] for v in versions] == ["COLDLINE", "STANDARD"]
    assert len(answer(days.hot, days.lake)) == 4 * 6


# ------------------------------------------------------------------------------------------------------------ removals


def old(**options):
    """A policy by which the days of January are over."""
    return {"policy": RetentionPolicy(Retention((), 100)), **options}


def test_days_whose_retention_is_over_are_part_of_the_plan_and_its_digest_and_go(days):
    planned = days.tiering(**old()).plan([MARKET_DATA])
    assert [removal["path"] for removal in planned.document()["removals"]] == [
        removal.object.path for removal in planned.plan.removals
    ]
    assert planned.digest != days.tiering(**old(policy=RetentionPolicy(Retention((), 400)))).plan([MARKET_DATA]).digest
    done = days.apply(planned.digest, **old())
    assert len(done.removed) == 2
    assert {v.partition for v in days.hot.live(MARKET_DATA, ALL_DAYS)} == {day(10, 4), day(20, 5)}
    assert days.tiering(**old()).plan([MARKET_DATA]).is_empty
    assert days.apply(**old()).removed == []


def test_an_object_that_holds_a_day_which_is_not_over_stays_whole(days):
    first, second, third, _ = (v.receipt for v in days.hot.live(MARKET_DATA, ALL_DAYS))
    del third
    policy = RetentionPolicy(Retention((), (AS_OF - second.partition.day).days + 1))
    assert [each.object.path for each in days.tiering(policy=policy).plan([MARKET_DATA]).plan.removals] == [first.path]


def test_a_day_that_is_hot_is_not_removed_and_the_plan_says_so(days):
    live = days.hot.live(MARKET_DATA, ALL_DAYS)
    load(days.hot, days.lake, live[0])
    planned = days.tiering(**old()).plan([MARKET_DATA])
    assert [removal.object.path for removal in planned.plan.removals] == [live[1].receipt.path]
    [left] = planned.plan.left
    assert (left.object.path, "is hot" in left.detail) == (live[0].receipt.path, True)
    assert len(days.apply(planned.digest, **old()).removed) == 1


@pytest.mark.parametrize("point", ["journal:before", "commit:before", "expire:before"])
def test_days_that_cannot_go_are_named_and_hold_nothing_back_that_is_to_move(days, point):
    policy = RetentionPolicy(Retention((ClassStep(30, "NEARLINE"),), 100))
    digest = days.tiering(policy=policy).plan([MARKET_DATA]).digest

    def break_off(reached: str) -> None:
        if reached == point:
            msg = "the catalog is away"
            raise LakeError(msg)

    with listening(break_off):
        done = days.apply(digest, policy=policy)
    assert (len(done.removed), len(done.moved), done.stopped) == (0, 1, "")
    assert {each.reason for each in done.failed} == {"the catalog is away"}
    done = days.apply(policy=policy)
    assert (len(done.removed), done.failed) == (2, [])
    assert {v.partition for v in days.hot.live(MARKET_DATA, ALL_DAYS)} == {day(10, 4), day(20, 5)}
