"""Compacted months: the same answers from fewer objects, whatever happens to a day of them."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hot_acts import load
from lake_world import AS_OF, LATER, LIFECYCLE, content, day, objects_of, two_months, world_in
from made_rows import bars

from thermocline.errors import LakeError
from thermocline.faults import listening
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.journal import Event, entries_of
from thermocline.model.partition import ALL_DAYS, DayRange
from thermocline.model.paths import holds_one_day
from thermocline.model.query import Query
from thermocline.tasks.archive import archive
from thermocline.tasks.explain import explain
from thermocline.tasks.load import rehydrate
from thermocline.tasks.periods import due_paths
from thermocline.tasks.status import status
from thermocline.tasks.verify import verify


@pytest.fixture
def world(new_database, tmp_path):
    world = world_in(tmp_path, new_database("embedded"))
    yield world
    world.lake.close()


@pytest.fixture
def compacted(world):
    return two_months(world)


# ------------------------------------------------------------------------------------------------------------- compact


def test_a_closed_month_becomes_one_object_with_the_same_answers(compacted):
    compacted.check()
    assert objects_of(compacted) == {"cold_storage/market_data/year=2024/month=01/market_data_1min_202401.parquet"}
    assert len(objects_of(compacted, 2)) == 1
    route = explain(compacted.hot, Query(MARKET_DATA)).document()
    assert (route["files"], len(route["segments"])) == (2, 1)
    [line] = status(compacted.hot, [MARKET_DATA], LIFECYCLE, as_of=AS_OF)
    sizes = {v.receipt.path: v.receipt.size_bytes for v in compacted.hot.live(MARKET_DATA, ALL_DAYS)}
    assert (line.cold_days, line.cold_bytes) == (8, sum(sizes.values())) == (8, route["bytes"])


def test_points_ranges_symbols_and_limits_are_answered_from_a_compacted_month(compacted):
    one, last = day(3), day(3, 2)
    for asked, wanted in (
        ({"start": one.start, "end": one.end}, lambda row: row["ts"].date() == one.day),
        ({"start": one.start, "end": last.end}, lambda row: one.day <= row["ts"].date() <= last.day),
        ({"symbols": ("IBM",)}, lambda row: row["symbol"] == "IBM"),
        ({"symbols": ("IBM",), "start": last.start}, lambda row: row["symbol"] == "IBM" and row["ts"] >= last.start),
    ):
        assert compacted.answer(**asked) == compacted.expected(wanted) != []
    assert len(compacted.answer(limit=5)) == 5


def test_compacting_again_finds_nothing_to_do(compacted):
    before = compacted.lake.head(MARKET_DATA)
    assert compacted.compaction().plan([MARKET_DATA]).periods == []
    again = compacted.compact()
    assert (again.periods, again.failed, compacted.lake.head(MARKET_DATA)) == ([], [], before)


def test_the_plan_names_what_a_run_does_and_changes_nothing(world):
    world.backfill(*(bars(day(number)) for number in (2, 3)))
    before = (world.live, world.lake.head(MARKET_DATA), sorted(world.lake.objects.list("")))
    [planned] = world.compaction().plan([MARKET_DATA]).periods
    assert (world.live, world.lake.head(MARKET_DATA), sorted(world.lake.objects.list(""))) == before
    [done] = world.compact().periods
    assert replace(done, path=None) == planned
    assert planned.document() == {
        "dataset": "market_data", "interval": "1min", "period": "2024-01", "days": 2, "rows": 12, "objects": 2,
        "bytes": planned.size_bytes, "path": None,
    }  # fmt: skip


def test_a_month_that_is_not_closed_or_too_large_or_chosen_is_left(world):
    world.backfill(*(bars(day(number, month)) for month in (1, 2, 5) for number in (2, 3)))
    world.backfill(bars(day(2, 1, "5min")), bars(day(3, 1, "5min")))

    def months(**options):
        planned = world.compaction(**options).plan([MARKET_DATA]).periods
        return [(month.interval, month.start.month) for month in planned]

    assert months() == [("1min", 1), ("1min", 2), ("5min", 1)]
    assert months(intervals=["5min"]) == [("5min", 1)]
    assert months(days=DayRange(date(2024, 1, 15), date(2024, 2, 15))) == [("1min", 2)]
    assert months(target_bytes=10) == []
    # The window is 30 days: on the first of March the last of January is out of it, on the 29th of February it is not.
    assert months(as_of=date(2024, 3, 2), intervals=["1min"]) == [("1min", 1)]
    assert months(as_of=date(2024, 3, 1), intervals=["1min"]) == []
    load(world.hot, world.lake, next(v for v in world.hot.live(MARKET_DATA, ALL_DAYS) if v.partition == day(2)))
    world.ingest(bars(day(3, 2), ("MSFT",), ingested_at=LATER))
    assert months() == [("5min", 1)]


def test_a_month_whose_object_is_damaged_is_left_and_named_and_others_are_done(world):
    world.backfill(*(bars(day(number, month)) for month in (1, 2) for number in (2, 3)))
    path = Path(world.folder / world.live[day(3)])
    body = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(body[:300] + bytes(8) + body[308:])
    done = world.compact()
    assert [month.start.month for month in done.periods] == [2]
    assert [failed.partition for failed in done.failed] == [day(2)]
    path.write_bytes(body)
    assert [month.start.month for month in world.compact().periods] == [1]
    world.check()


# --------------------------------------------------------------------------------------------------------------- years

NEXT_YEAR = date(2025, 2, 15)
YEAR = "cold_storage/market_data/year=2024/market_data_1min_2024.parquet"


@pytest.fixture
def whole_year(world):
    """January in one object, and days of later months in their own, together one object of the year."""
    world.backfill(*(bars(day(number), ("AAPL", "IBM"), 2) for number in (2, 3)))
    world.compact()
    world.backfill(*(bars(day(number, month), ("AAPL", "IBM"), 2) for month in (5, 12) for number in (2, 3)))
    [year] = world.compact(as_of=NEXT_YEAR).periods
    assert (str(year), year.is_year, len(year.receipts), year.objects, year.path) == ("2024", True, 6, 5, YEAR)
    return world


def test_a_closed_year_becomes_one_object_in_one_step_with_the_same_answers(whole_year):
    assert set(whole_year.live.values()) == {YEAR}
    whole_year.check()
    assert whole_year.compaction(as_of=NEXT_YEAR).plan([MARKET_DATA]).periods == []
    one, last = day(3), day(2, 12)
    for asked, wanted in (
        ({"start": one.start, "end": one.end}, lambda row: row["ts"].date() == one.day),
        ({"start": one.start, "end": last.start}, lambda row: one.day <= row["ts"].date() < last.day),
        ({"symbols": ("IBM",), "start": last.start}, lambda row: row["symbol"] == "IBM" and row["ts"] >= last.start),
    ):
        assert whole_year.answer(**asked) == whole_year.expected(wanted) != []


def test_a_year_that_is_not_over_or_too_large_is_brought_together_by_its_months(world):
    world.backfill(*(bars(day(number, month), ("AAPL",), 2) for month in (1, 12) for number in (2, 3)))

    def periods(**options):
        return [str(period) for period in world.compaction(**options).plan([MARKET_DATA]).periods]

    total = sum(v.receipt.size_bytes for v in world.hot.live(MARKET_DATA, ALL_DAYS))
    assert periods(as_of=date(2025, 1, 30)) == ["2024-01"], "the last day of the year is still in the window"
    assert periods(as_of=date(2025, 1, 31)) == ["2024"]
    assert periods(as_of=NEXT_YEAR, target_bytes=total - 1) == ["2024-01", "2024-12"]
    assert periods(as_of=NEXT_YEAR, days=DayRange(date(2024, 3, 1), date(2024, 4, 1))) == []
    assert periods(as_of=NEXT_YEAR, days=DayRange(date(2024, 1, 1), date(2024, 1, 3))) == ["2024"]
    assert due_paths(world.hot, MARKET_DATA, LIFECYCLE, as_of=NEXT_YEAR) == set(world.live.values())
    archived = {world.live[day(2)]}
    assert due_paths(world.hot, MARKET_DATA, LIFECYCLE, as_of=NEXT_YEAR, archived=archived) == frozenset()


def test_a_day_that_is_restated_leaves_its_year_and_comes_back_to_it(whole_year):
    before = whole_year.answer()
    published = max(v.published_at for v in whole_year.hot.live(MARKET_DATA, ALL_DAYS))
    whole_year.backfill(bars(day(3), ("AAPL",), 2, close="7", ingested_at=LATER))
    whole_year.check()
    assert holds_one_day(whole_year.live[day(3)])
    assert whole_year.live[day(2)] == whole_year.live[day(3, 12)] == YEAR.replace("2024.p", "2024_v2.p")
    assert whole_year.answer(as_of_vintage=published) == before != whole_year.answer()
    # What lies in the object of a year is left to it while the year is too large to be brought together again.
    size = max(v.receipt.size_bytes for v in whole_year.hot.live(MARKET_DATA, ALL_DAYS))
    assert whole_year.compact(as_of=NEXT_YEAR, target_bytes=size).periods == []
    assert [year.objects for year in whole_year.compact(as_of=NEXT_YEAR).periods] == [2]
    assert len(set(whole_year.live.values())) == 1
    assert whole_year.answer(as_of_vintage=published) == before
    whole_year.check()


def test_days_leave_a_year_by_rotation_deletion_and_withdrawal(whole_year):
    whole_year.ingest(*(bars(day(2, month), ("MSFT",), 1, ingested_at=LATER) for month in (1, 12)))
    assert whole_year.rotate().failed == []
    whole_year.check()
    whole_year.compact(as_of=NEXT_YEAR)
    whole_year.delete(days=ALL_DAYS, symbols=["IBM"])
    whole_year.forget(lambda row: row["symbol"] == "IBM")
    whole_year.check()
    whole_year.compact(as_of=NEXT_YEAR)
    whole_year.delete(days=DayRange(day(1, 5).day, day(1, 12).day))
    whole_year.forget(lambda row: row["ts"].month == 5)
    whole_year.check()
    [path] = set(whole_year.live.values())
    assert path.startswith(YEAR.removesuffix(".parquet"))


def test_a_damaged_year_is_mended_when_all_its_days_come_again(whole_year):
    expire_objects_of_days(whole_year)
    for path in whole_year.folder.rglob("month=*/*.parquet"):
        path.unlink()
    (whole_year.folder / YEAR).unlink()
    days = [bars(day(number, month), ("AAPL", "IBM"), 2) for month in (1, 5, 12) for number in (2, 3)]
    assert len(whole_year.backfill(*days[:2], repair=True).failed) == 2
    whole_year.backfill(*days, repair=True)
    whole_year.check()


# ------------------------------------------------------------------------------------------- what becomes of its days


def test_a_backfill_of_one_day_takes_it_out_of_its_month(compacted):
    earlier = compacted.live[day(3)]
    compacted.backfill(bars(day(3), ("AAPL",), 2, close="7", ingested_at=LATER))
    compacted.check()
    assert holds_one_day(compacted.live[day(3)])
    assert len(objects_of(compacted)) == 2
    assert earlier not in objects_of(compacted)
    [first, second] = [v for v in compacted.hot.vintages(MARKET_DATA, ALL_DAYS) if v.partition == day(3)]
    assert (first.receipt.version, second.receipt.version) == (1, 2)
    assert holds_one_day(first.receipt.path)
    assert compacted.lake.observe(first.receipt) == [first.receipt]
    assert [month.objects for month in compacted.compact().periods] == [2]
    compacted.check()
    assert len(objects_of(compacted)) == 1


def test_what_was_live_before_a_day_was_restated_can_still_be_read(compacted):
    before = compacted.answer()
    published = max(v.published_at for v in compacted.hot.live(MARKET_DATA, ALL_DAYS))
    compacted.backfill(bars(day(3), ("AAPL",), 2, close="7", ingested_at=LATER))
    assert compacted.answer(as_of_vintage=published) == before
    compacted.compact()
    assert compacted.answer(as_of_vintage=published) == before != compacted.answer()


def test_a_backfill_of_every_day_of_a_month_leaves_its_object_to_the_earlier_vintages(compacted):
    [old] = objects_of(compacted)
    compacted.backfill(
        *(bars(day(number), ("AAPL", "IBM"), 2, close="7", ingested_at=LATER) for number in (2, 3, 4, 8))
    )
    compacted.check()
    assert len(objects_of(compacted)) == 4
    earlier = [v for v in compacted.hot.vintages(MARKET_DATA, ALL_DAYS) if v.superseded_at]
    assert {v.receipt.path for v in earlier} == {old}


def test_late_rows_of_some_days_are_folded_and_each_day_can_fail_alone(compacted):
    compacted.ingest(*(bars(day(number), ("MSFT",), 1, ingested_at=LATER) for number in (2, 3, 4, 8)))
    assert content(compacted.answer()) == content(compacted.expected())

    def disturb(point: str) -> None:
        if point == "cut-over:before" and not disturbed:
            disturbed.append(point)
            compacted.ingest(bars(day(3), ("NEW",), 1, ingested_at=LATER))

    disturbed: list[str] = []
    with listening(disturb):
        rotated = compacted.rotate()
    assert disturbed
    assert [moved.partition for moved in rotated.moved] == [day(number) for number in (2, 3, 4, 8)]
    compacted.check()
    assert compacted.rotate().failed == []
    assert compacted.hot.late(MARKET_DATA) == {}
    compacted.check()
    assert [month.objects for month in compacted.compact().periods] == [4]
    compacted.check()


def test_a_day_whose_cutover_fails_stays_as_it_was_beside_those_that_went(compacted):
    rehydrate_all(compacted)
    compacted.ingest(*(bars(day(number), ("MSFT",), 1, ingested_at=LATER) for number in (2, 3, 4, 8)))
    calls = []

    def disturb(point: str) -> None:
        if point == "cut-over:before":
            calls.append(point)
            if len(calls) == 2:
                compacted.ingest(bars(day(3), ("NEW",), 1, ingested_at=LATER))

    with listening(disturb):
        rotated = compacted.rotate()
    assert [failed.partition for failed in rotated.failed] == [day(3)]
    compacted.check()
    assert [moved.partition for moved in compacted.rotate().moved] == [day(3)]
    compacted.check()


def rehydrate_all(world) -> None:
    rehydrate(world.hot, world.lake, MARKET_DATA, ALL_DAYS, run_id="rehydrate", until=AS_OF)


def test_a_month_comes_back_to_hot_and_leaves_again_without_a_write(compacted):
    before = sorted(compacted.lake.objects.list("")), compacted.lake.head(MARKET_DATA)
    rehydrate_all(compacted)
    assert len(compacted.hot.hot_days(MARKET_DATA)) == 8
    compacted.check()
    read: list[str] = []
    with listening(lambda point: read.append(point) if point == "read-back:before" else None):
        rotated = compacted.rotate()
    assert (len(rotated.moved), rotated.failed) == (8, [])
    assert len(read) == 2, "each month's object is read back once"
    assert (sorted(compacted.lake.objects.list("")), compacted.lake.head(MARKET_DATA)) == before
    compacted.check()


def test_a_day_that_is_hot_is_not_answered_from_its_month(compacted):
    rehydrate(
        compacted.hot, compacted.lake, MARKET_DATA, DayRange(day(3).day, day(4).day), run_id="rehydrate", until=AS_OF
    )
    compacted.check()
    route = explain(compacted.hot, Query(MARKET_DATA)).document()
    assert [segment["tier"] for segment in route["segments"]] == ["cold", "hot", "cold"]
    assert route["files"] == 2


def test_a_symbol_is_deleted_out_of_compacted_months(compacted):
    compacted.delete(days=ALL_DAYS, symbols=["IBM"])
    compacted.forget(lambda row: row["symbol"] == "IBM")
    compacted.check()
    compacted.compact()
    compacted.check()


def test_a_withdrawn_day_leaves_its_month_without_it(compacted):
    compacted.delete(days=DayRange(day(3).day, day(4).day))
    compacted.forget(lambda row: row["ts"].date() == day(3).day)
    compacted.check()
    assert day(3) not in compacted.live
    assert len(objects_of(compacted)) == 1
    compacted.backfill(bars(day(3), ("AAPL",), 1))
    compacted.check()


def test_withdrawing_a_whole_month_leaves_nothing_of_it(compacted):
    compacted.delete(days=DayRange(date(2024, 1, 1), date(2024, 2, 1)))
    compacted.forget(lambda row: row["ts"].month == 1)
    compacted.check()
    assert objects_of(compacted) == set()


def test_a_damaged_month_is_mended_when_all_its_days_come_again(compacted):
    [path] = objects_of(compacted)
    (compacted.folder / path).unlink()
    assert len(verify(compacted.hot, compacted.lake, [MARKET_DATA], ALL_DAYS).failed) == 4
    with pytest.raises(LakeError, match="--repair"):
        compacted.backfill(bars(day(3), ("NEW",), 2))
    compacted.forget(lambda row: row["symbol"] == "NEW")
    compacted.backfill(*(bars(day(number), ("AAPL", "IBM"), 2) for number in (2, 3, 4, 8)), repair=True)
    compacted.check()


def test_a_lost_month_is_mended_from_the_objects_of_its_days_while_these_are_there(compacted):
    [path] = objects_of(compacted)
    (compacted.folder / path).unlink()
    made = compacted.backfill(bars(day(3), ("NEW",), 2), repair=True)
    assert (made.failed, made.written) == ([], 1)
    compacted.check()


def test_what_a_run_that_died_wrote_under_the_same_version_never_stands_in_for_a_lost_day(compacted):
    [path] = objects_of(compacted)
    (compacted.folder / path).unlink()
    written = archive(compacted.lake, day(2), 9, [bars(day(2), ("AAPL", "IBM"), 2, close="1")], run_id="dead")
    died = entries_of(Event.PUBLISH, [replace(written, version=1)], at=datetime.now(UTC), run_id="dead")
    compacted.lake.note(MARKET_DATA, died)
    assert compacted.backfill(bars(day(3), ("NEW",), 2), repair=True).failed == []
    compacted.check()


def expire_objects_of_days(world):
    for path in world.folder.rglob("day=*/*.parquet"):
        path.unlink()


def test_a_damaged_day_of_a_month_is_mended_and_the_rest_of_the_month_stays(compacted):
    [path] = objects_of(compacted)
    expire_objects_of_days(compacted)
    rewritten = pq.read_table(compacted.folder / path, partitioning=None)
    wrong = pc.equal(pc.day(rewritten["ts"]), 3)
    trades = pc.if_else(wrong, 99, rewritten["trade_count"])
    rewritten = rewritten.set_column(rewritten.column_names.index("trade_count"), "trade_count", trades)
    pq.write_table(rewritten, compacted.folder / path, store_schema=False, store_decimal_as_integer=True)
    whole = bars(day(3), ("AAPL", "IBM"), 2)
    made = compacted.backfill(whole[:1], bars(day(4), ("IBM",), 9), repair=True)
    assert [failed.partition for failed in made.failed] == [day(3), day(4)]
    assert "can't be taken out of it" in made.failed[1].reason
    compacted.forget(lambda row: row["ts"].date() == day(4).day)
    made = compacted.backfill(whole, bars(day(4), ("IBM",), 9), bars(day(4), ("AAPL", "IBM"), 2), repair=True)
    assert (made.failed, made.written) == ([], 2)
    compacted.check()
    assert len(objects_of(compacted)) == 3


def test_a_lost_month_that_is_not_in_the_batch_whole_is_refused_and_others_go_on(compacted):
    [path] = objects_of(compacted)
    expire_objects_of_days(compacted)
    (compacted.folder / path).unlink()
    made = compacted.backfill(bars(day(3), ("AAPL", "IBM"), 2), bars(day(3, 2), ("NEW",)), repair=True)
    assert [failed.partition for failed in made.failed] == [day(3)]
    assert "backfill them, too" in made.failed[0].reason
    assert [moved.partition for moved in made.moved if moved.action == "written"] == [day(3, 2)]
    compacted.backfill(*(bars(day(number), ("AAPL", "IBM"), 2) for number in (2, 3, 4, 8)), repair=True)
    compacted.check()
