"""Whatever is wrong with a cold day costs no row, and `verify` names it.

Each test asks one question of everything in the `CATALOGUE` of `spoiling`.
"""

from dataclasses import replace

import psycopg
import pyarrow as pa
import pytest
from hot_acts import answer, assert_answers, hot_set, ingest, load
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_rows import as_sorted_lists, bars
from spoiling import (
    CATALOGUE,
    SPOILT_OBJECTS,
    SPOILT_ROWS,
    byte_flipped_in_statistics,
    column_missing,
    journal_cut_off,
    journal_lost,
    missing,
    nan_with_another_payload,
    object_of_another_day,
    pointer_set_back,
    row_changed,
    row_doubled_and_another_missing,
    row_missing,
    truncated,
)
from spoilt_world import DAYS, EVERY, NOW, PLAIN, SPOILT, TONIGHT, World, without_nan

from thermocline.errors import LakeError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import DayRange
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot
from thermocline.tasks.archive import disagreements
from thermocline.tasks.expire import Expiry
from thermocline.tasks.undo import undo

every = pytest.mark.parametrize("spoil", CATALOGUE, ids=lambda spoil: spoil.__name__)
every_object = pytest.mark.parametrize(
    "spoil", [*SPOILT_OBJECTS, *SPOILT_ROWS, nan_with_another_payload], ids=lambda spoil: spoil.__name__
)
WHOLE_TABLE = {pointer_set_back, journal_lost}
"""What is wrong with every day at once."""


@pytest.fixture
def every_row():
    return EVERY


@pytest.fixture
def world(new_database, tmp_path, every_row):
    url, catalog = new_database("embedded"), tmp_path / "catalog.db"
    hot = PostgresHot(url)
    ingest(hot, *every_row, hot_days=DAYS)
    with open_lake(str(tmp_path / "lake"), catalog_url=f"sqlite:///{catalog}", threads=1) as lake:
        world = World(url, tmp_path / "lake", catalog, hot, lake)
        assert world.rotate(TONIGHT).failed == []
        assert len(hot.detached(MARKET_DATA)) == len(DAYS)
        yield world


def test_nothing_is_wrong_before(world):
    world.assert_well()
    assert [each.day for each in world.rotate().released] == [each.day for each in DAYS]
    assert world.hot.detached(MARKET_DATA) == []
    world.assert_well()


@every
def test_verify_finds_it_and_names_it(world, spoil):
    spoil(world)
    report = world.verify()
    if spoil is pointer_set_back:
        assert "lacks 3 objects" in report.table[0]
        assert "is at snapshot" in report.table[1]
        assert report.failed == []
        return
    named = {failed.partition for failed in report.failed}
    assert SPOILT in named
    assert named == {SPOILT} or spoil in WHOLE_TABLE or spoil is journal_cut_off
    assert report.verified == len(DAYS) - len(named)
    assert "20240116" in next(failed.reason for failed in report.failed if failed.partition == SPOILT) or (
        spoil.__name__ == "path_edited_in_the_ledger"
    )


@every
def test_it_keeps_the_rows_in_postgresql_and_they_come_back(world, spoil):
    spoil(world)
    result = world.rotate()
    failed = {each.partition for each in result.failed}
    assert SPOILT in failed
    assert all("its detached rows were kept" in each.reason for each in result.failed)
    assert {each.partition for each in world.hot.detached(MARKET_DATA)} == failed == set(DAYS) - set(result.released)
    assert {(each.partition, each.act) for each in world.hot.trouble(MARKET_DATA)} == {(p, "release") for p in failed}
    if spoil not in WHOLE_TABLE and spoil is not journal_cut_off:
        assert failed == {SPOILT}
    for partition, batch in zip(DAYS, EVERY, strict=True):
        if partition != SPOILT:  # other days go on
            found = answer(world.hot, world.lake, start=partition.start, end=partition.end)
            assert as_sorted_lists(found, MARKET_DATA) == as_sorted_lists(pa.Table.from_batches([batch]), MARKET_DATA)
    assert undo(world.hot, MARKET_DATA, DayRange(SPOILT.day, SPOILT.end.date()), run_id="undo").failed == []
    assert_answers(world.hot, world.lake, *EVERY)


@every_object
def test_with_the_object_restored_everything_is_right_again(world, spoil):
    good = world.object.read_bytes()
    spoil(world)
    assert {each.partition for each in world.rotate().failed} == {SPOILT}
    world.object.write_bytes(good)
    world.assert_well()
    assert world.rotate().released == [SPOILT]
    assert world.hot.trouble(MARKET_DATA) == []
    world.assert_well()


@every
def test_a_day_that_was_brought_back_leaves_only_for_a_copy_that_is_good(world, spoil):
    [vintage] = world.hot.live(MARKET_DATA, DayRange(SPOILT.day, SPOILT.end.date()))
    load(world.hot, world.lake, vintage)
    spoil(world)
    result = world.rotate(TONIGHT)
    if any(each.partition == SPOILT for each in result.failed):
        assert hot_set(world.hot) == {SPOILT}
    else:
        receipt = world.receipt
        assert receipt.contents.rows == len(EVERY[1])
        assert disagreements(receipt, world.lake.observe(receipt)[0]) == []
    assert_answers(world.hot, world.lake, *EVERY)


@pytest.mark.parametrize("spoil", SPOILT_ROWS, ids=lambda spoil: spoil.__name__)
def test_rows_give_themselves_away_also_where_the_bytes_were_made_to_fit(world, spoil):
    spoil(world)
    try:
        observed = world.lake.observe(world.receipt)[0]
    except LakeError as error:
        assert "schema" in str(error)  # noqa: PT017  # either is a finding
    else:
        forged = replace(world.receipt, sha256=observed.sha256, size_bytes=observed.size_bytes)
        assert disagreements(forged, observed) != []


of_plain_rows = pytest.mark.parametrize("every_row", [PLAIN], ids=["plain"])


@every
@of_plain_rows
def test_a_backfill_that_repairs_makes_it_good_from_the_rows_of_the_day(world, spoil, every_row):
    spoil(world)
    assert world.repair(*every_row).failed == []
    world.assert_well(*every_row)


@pytest.mark.parametrize(
    "spoil",
    [missing, truncated, byte_flipped_in_statistics, object_of_another_day, row_changed, row_missing, column_missing],
    ids=lambda spoil: spoil.__name__,
)
@of_plain_rows
def test_a_backfill_that_repairs_never_takes_a_part_of_a_day_for_the_whole(world, spoil, every_row):
    spoil(world)
    new = bars(DAYS[2], ("NEW",))
    result = world.repair(every_row[0], every_row[1][-1:], new)
    assert [moved.partition for moved in result.moved if moved.action == "written"][-1:] == DAYS[2:]  # others go on
    if spoil in {byte_flipped_in_statistics, row_missing}:  # what is left and what came are the day as it was
        assert result.failed == []
        return world.assert_well(*every_row, new)
    assert [(each.partition, "was not written in its place" in each.reason) for each in result.failed] == [
        (SPOILT, True)
    ]
    assert {(each.partition, each.act) for each in world.hot.trouble(MARKET_DATA)} == {(SPOILT, "backfill")}
    assert [failed.partition for failed in world.verify().failed] == [SPOILT]
    assert world.repair(*every_row).failed == []
    assert world.hot.trouble(MARKET_DATA) == []
    return world.assert_well(*every_row, new)


def test_rows_that_say_something_else_stand_in_for_a_day_only_if_they_have_each_of_its_keys(world):
    row_changed(world)
    [refused] = world.repair(PLAIN[1][1:]).failed
    assert "it lacks 1 keys that the object still has" in refused.reason
    assert world.repair(PLAIN[1]).failed == []
    world.assert_well(EVERY[0], PLAIN[1], EVERY[2])


@pytest.mark.parametrize("spoil", [missing, row_doubled_and_another_missing], ids=lambda spoil: spoil.__name__)
def test_rows_that_say_something_else_never_stand_in_for_rows_that_are_lost(world, spoil):
    spoil(world)
    assert [each.partition for each in world.repair(*PLAIN).failed] == [SPOILT]
    assert undo(world.hot, MARKET_DATA, DayRange(SPOILT.day, SPOILT.end.date()), run_id="undo").failed == []


def test_a_table_that_names_more_than_the_ledger_is_found(world):
    stray = world.folder / "cold_storage/market_data/stray.parquet"
    stray.write_bytes(world.object.read_bytes())
    extra = replace(world.receipt, path="cold_storage/market_data/stray.parquet")
    head = world.lake.head(MARKET_DATA)
    world.lake.publish(MARKET_DATA, added=[extra], removed=[], expected_head=head, run_id="stranger")
    report = world.verify()
    assert "names 1 objects that are not live, such as cold_storage/market_data/stray.parquet" in report.table[0]
    assert "is at snapshot" in report.table[1]


def lacks_one(world):
    return [], [world.receipt.path]


def names_one_too_many(world):
    stray = world.folder / "cold_storage/market_data/stray.parquet"
    stray.write_bytes(world.object.read_bytes())
    return [replace(world.receipt, path="cold_storage/market_data/stray.parquet")], []


HEALERS = {
    "rotate": lambda world: world.rotate(TONIGHT),
    "repair": lambda world: world.repair(without_nan(EVERY[0])),
    "expire": lambda world: Expiry(world.hot, world.lake, TONIGHT, NOW).run([MARKET_DATA], run_id="expire"),
}


@pytest.mark.parametrize("how", HEALERS)
@pytest.mark.parametrize("change", [lacks_one, names_one_too_many], ids=lambda change: change.__name__)
@pytest.mark.parametrize("noted", [True, False], ids=["at the head that was noted", "ahead of the ledger"])
def test_a_table_that_something_else_changed_is_made_to_say_what_the_ledger_says(world, how, change, noted):
    added, removed = change(world)
    head = world.lake.head(MARKET_DATA)
    head = world.lake.publish(MARKET_DATA, added=added, removed=removed, expected_head=head, run_id="stranger")
    if noted:
        with psycopg.connect(world.url, autocommit=True) as connection:
            connection.execute("UPDATE thermocline.catalog_head SET head = %s WHERE dataset = 'market_data'", [head])
    assert len(world.verify().table) == (1 if noted else 2)
    HEALERS[how](world)
    assert world.verify().table == []
    assert_answers(world.hot, world.lake, *EVERY)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.sampled_from(DAYS), where=st.integers(0), bit=st.integers(0, 7))
def test_any_bit_of_any_object_is_missed(world, which, where, bit):
    path = world.folder / world.receipt_of(which).path
    good = path.read_bytes()
    body = bytearray(good)
    body[where % len(body)] ^= 1 << bit
    path.write_bytes(body)
    assert [failed.partition for failed in world.verify().failed] == [which]
    path.write_bytes(good)
