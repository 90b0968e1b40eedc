"""What can be wrong with a cold day, one line each: none may cost a row, and `verify` names them all.

To use the catalogue elsewhere: `CATALOGUE` pairs a name with a function that spoils the world, and each test asks one
question of all of them.
"""

import io
import json
import math
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hot_acts import answer, assert_answers, day, hot_set, ingest, load
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_rows import as_sorted_lists, bars

from thermocline.errors import LakeError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS, DayRange
from thermocline.model.receipt import Receipt
from thermocline.ports import Fetched, FetchRequest
from thermocline.stores.lake import ParquetLake
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot
from thermocline.stores.spool import DuckDBSpool
from thermocline.tasks.archive import disagreements
from thermocline.tasks.backfill import Backfill
from thermocline.tasks.expire import Expiry
from thermocline.tasks.rotate import Rotation
from thermocline.tasks.undo import undo
from thermocline.tasks.verify import verify

LIFECYCLE = Lifecycle(hot_days=30, undo_days=7)
DAYS = [day(0), day(1), day(2)]
SPOILT = DAYS[1]
NOW = datetime.now(UTC)
TONIGHT = NOW.date()
LATER = TONIGHT + timedelta(days=30)
VOLUMES = [0.0, math.nan, None, 1.5, 2.5, 3.5]


def rows_of(partition, count):
    batch = bars(partition, count=count)
    volumes = pa.array((VOLUMES * count)[: len(batch)], pa.float64())
    return batch.set_column(batch.schema.get_field_index("volume"), batch.schema.field("volume"), volumes)


def without_nan(batch):
    volumes = pa.array([None if v is None or math.isnan(v) else v for v in batch["volume"].to_pylist()], pa.float64())
    return batch.set_column(batch.schema.get_field_index("volume"), batch.schema.field("volume"), volumes)


EVERY = [rows_of(DAYS[0], 3), rows_of(DAYS[1], 300), rows_of(DAYS[2], 3)]


PLAIN = [without_nan(batch) for batch in EVERY]
"""The same as every source delivers it: what is not a number is nothing."""


@dataclass
class Made:
    """A source of given rows."""

    rows: pa.Table
    name = "made"

    def fetch(self, request):
        """All of them."""
        del request
        yield Fetched(self.rows, "made", accepted_before=True)


@dataclass
class World:
    """Three days that left PostgreSQL and can still come back; the second is to be spoilt."""

    url: str
    folder: Path
    catalog: Path
    hot: PostgresHot
    lake: ParquetLake

    @property
    def receipt(self) -> Receipt:
        """What the ledger says of the spoilt day."""
        return self.receipt_of(SPOILT)

    def receipt_of(self, partition) -> Receipt:
        """What the ledger says of a day."""
        [vintage] = [v for v in self.hot.live(MARKET_DATA, ALL_DAYS) if v.partition == partition]
        return vintage.receipt

    @property
    def object(self) -> Path:
        """The file of the spoilt day."""
        return self.folder / self.receipt.path

    def rotate(self, as_of=LATER):
        """A night; one a month later releases what was detached today."""
        return Rotation(self.hot, self.lake, DuckDBSpool, LIFECYCLE, f"night-{as_of}").run([MARKET_DATA], as_of=as_of)

    def repair(self, *batches):
        """Backfill rows of days, writing anew what is not well."""
        source = Made(pa.Table.from_batches(batches))
        made = Backfill(source, self.hot, self.lake, DuckDBSpool, LIFECYCLE, TONIGHT, NOW, "repair", repair=True)
        return made.run(FetchRequest(MARKET_DATA, ALL_DAYS))

    def verify(self):
        """What is wrong with the cold days."""
        return verify(self.hot, self.lake, [MARKET_DATA], ALL_DAYS)

    def assert_well(self, *batches) -> None:
        """Every row comes back once, and nothing is wrong."""
        assert_answers(self.hot, self.lake, *(batches or EVERY))
        report = self.verify()
        assert (report.failed, report.table, report.verified) == ([], [], len(DAYS))


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


# ------------------------------------------------------------------------------------------------------- spoilt objects


def missing(world):
    world.object.unlink()


def empty(world):
    world.object.write_bytes(b"")


def truncated(world):
    world.object.write_bytes(world.object.read_bytes()[: world.object.stat().st_size // 2])


def longer(world):
    world.object.write_bytes(world.object.read_bytes() + b"\0")


def flip(path, position):
    body = bytearray(path.read_bytes())
    body[position] ^= 0x20
    path.write_bytes(body)


def rows_in(file):
    return as_sorted_lists(pq.ParquetFile(file).read(), MARKET_DATA)


def footer_starts(path):
    body = path.read_bytes()
    return len(body) - 8 - struct.unpack("<I", body[-8:-4])[0]


def byte_flipped_in_a_page(world):
    flip(world.object, 300)


def byte_flipped_in_the_footer(world):
    body = world.object.read_bytes()
    flip(world.object, body.rindex(b"thermocline.schema_version"))
    assert rows_in(world.object) == rows_in(io.BytesIO(body))


def byte_flipped_in_statistics(world):
    body = world.object.read_bytes()
    first = body.index(b"MSFT", footer_starts(world.object))
    flip(world.object, first)
    assert rows_in(world.object) == rows_in(io.BytesIO(body))


def object_of_another_day(world):
    world.object.write_bytes((world.folder / world.receipt_of(DAYS[2]).path).read_bytes())


def object_of_another_day_of_the_right_size(world):
    other = world.folder / world.receipt_of(DAYS[2]).path
    body, end = other.read_bytes(), footer_starts(other)
    padding = b"\0" * (world.object.stat().st_size - len(body))
    assert padding
    world.object.write_bytes(body[:end] + padding + body[end:])
    assert world.object.stat().st_size == world.receipt.size_bytes
    pq.read_table(world.object, partitioning=None)


SPOILT_OBJECTS = [
    missing,
    empty,
    truncated,
    longer,
    byte_flipped_in_a_page,
    byte_flipped_in_the_footer,
    byte_flipped_in_statistics,
    object_of_another_day,
    object_of_another_day_of_the_right_size,
]


# ---------------------------------------------------------------------------------------------------------- spoilt rows


def rewritten(world, change: Callable[[pa.Table], pa.Table]) -> None:
    """Put changed rows in the object's place, as a well-meaning script would."""
    before = pq.read_table(world.object, partitioning=None)
    after = change(before)
    pq.write_table(after, world.object, store_schema=False, store_decimal_as_integer=True)


def with_column(table, name, column):
    return table.set_column(table.column_names.index(name), name, column)


def volumes(table, change):
    return with_column(table, "volume", pa.array([change(v) for v in table["volume"].to_pylist()], pa.float64()))


def row_changed(world):
    def change(table):
        prices = table["close"].to_pylist()
        return with_column(table, "close", pa.array([prices[0] + 1, *prices[1:]], table["close"].type))

    rewritten(world, change)


def row_doubled_and_another_missing(world):
    rewritten(world, lambda table: pa.concat_tables([table[:1], table[:1], table[2:]]))


def row_missing(world):
    rewritten(world, lambda table: table[:-1])


def two_rows_with_their_values_exchanged(world):
    def change(table):
        prices = table["close"].to_pylist()
        return with_column(table, "close", pa.array([prices[1], prices[0], *prices[2:]], table["close"].type))

    rewritten(world, change)


def null_turned_to_zero(world):
    rewritten(world, lambda table: volumes(table, lambda v: 0.0 if v is None else v))


def nan_turned_to_null(world):
    rewritten(world, lambda table: volumes(table, lambda v: None if v is not None and math.isnan(v) else v))


def zero_turned_to_minus_zero(world):
    rewritten(world, lambda table: volumes(table, lambda v: -0.0 if v == 0.0 else v))


def nan_with_another_payload(world):
    def change(table):
        column = pa.array(table["volume"].to_pylist(), pa.float64())
        bits = np.frombuffer(column.buffers()[1], np.uint64, len(column)).copy()
        bits[np.isnan(bits.view(np.float64))] = 0x7FF8000000000001
        return with_column(
            table, "volume", pa.Array.from_buffers(column.type, len(column), [column.buffers()[0], pa.py_buffer(bits)])
        )

    rewritten(world, change)


def column_of_another_type(world):
    rewritten(world, lambda table: with_column(table, "trade_count", table["trade_count"].cast(pa.float64())))


def column_renamed(world):
    rewritten(world, lambda table: table.rename_columns(["vol" if n == "volume" else n for n in table.column_names]))


def column_missing(world):
    rewritten(world, lambda table: table.drop_columns(["volume"]))


def column_too_many(world):
    rewritten(world, lambda table: table.append_column("note", pa.nulls(len(table), pa.string())))


SPOILT_ROWS = [
    row_changed,
    row_doubled_and_another_missing,
    row_missing,
    two_rows_with_their_values_exchanged,
    null_turned_to_zero,
    nan_turned_to_null,
    zero_turned_to_minus_zero,
    column_of_another_type,
    column_renamed,
    column_missing,
    column_too_many,
]
"""What the values alone give away, also to somebody who made the SHA-256 fit."""

# ------------------------------------------------------------------------------------------------------ spoilt receipts


def in_ledger(name, value):
    def spoil(world):
        with psycopg.connect(world.url, autocommit=True) as connection:
            changed = connection.execute(
                f"UPDATE thermocline.vintage SET {name} = {value} WHERE day = %s",
                (SPOILT.day,),  # tests
            )
            assert changed.rowcount == 1

    spoil.__name__ = f"{name}_edited_in_the_ledger"
    return spoil


SPOILT_LEDGER = [
    in_ledger("rows", "rows + 1"),
    in_ledger("sha256", "reverse(sha256)"),
    in_ledger("size_bytes", "size_bytes + 1"),
    in_ledger("fingerprint", "reverse(fingerprint)"),
    in_ledger("content_fingerprint", "reverse(content_fingerprint)"),
    in_ledger("null_counts", "null_counts || '{\"volume\": 0}'"),
    in_ledger("min_ts", "min_ts + interval '1 microsecond'"),
    in_ledger("max_ts", "max_ts - interval '1 microsecond'"),
    in_ledger("path", "replace(replace(path, 'day=16', 'day=17'), '20240116', '20240117')"),
    in_ledger("etag", "'edited'"),
]


def journal_files(world):
    return sorted((world.folder / "metadata/receipts/market_data").glob("*.jsonl"))


def receipt_edited_in_the_journal(world):
    [file] = journal_files(world)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    [line] = [line for line in lines if line["partition"] == str(SPOILT)]
    line["receipt"]["contents"]["rows"] += 1
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def journal_cut_off(world):
    [file] = journal_files(world)
    body = file.read_text()
    file.write_text(body[: body.index(str(SPOILT))])


def journal_lost(world):
    for file in journal_files(world):
        file.unlink()


SPOILT_JOURNAL = [receipt_edited_in_the_journal, journal_cut_off, journal_lost]

# ------------------------------------------------------------------------------------------------------------ the table


def pointer_set_back(world):
    with closing(sqlite3.connect(world.catalog)) as connection, connection:
        changed = connection.execute("UPDATE iceberg_tables SET metadata_location = previous_metadata_location")
        assert changed.rowcount == 1


CATALOGUE = [
    *SPOILT_OBJECTS,
    *SPOILT_ROWS,
    nan_with_another_payload,
    *SPOILT_LEDGER,
    *SPOILT_JOURNAL,
    pointer_set_back,
]

every = pytest.mark.parametrize("spoil", CATALOGUE, ids=lambda spoil: spoil.__name__)
every_object = pytest.mark.parametrize(
    "spoil", [*SPOILT_OBJECTS, *SPOILT_ROWS, nan_with_another_payload], ids=lambda spoil: spoil.__name__
)
WHOLE_TABLE = {pointer_set_back, journal_lost}
"""What is wrong with every day at once."""


# ------------------------------------------------------------------------------------------------------------ questions


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
