"""What every lake promises, whatever store and catalog it is made of."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import STORES
from made_rows import DAY, NOON, as_sorted_lists, bars, rows, sorted_batch

from thermocline.errors import CatalogConflictError, LakeError, UsageError
from thermocline.model.dataset import Column, Kind
from thermocline.model.datasets import DATASETS, MARKET_DATA, NEWS, OPTIONS_DATA
from thermocline.model.fingerprint import contents_of
from thermocline.model.journal import Entry, Event, Journal
from thermocline.model.partition import Partition
from thermocline.model.paths import month_path, object_path, year_path
from thermocline.model.query import Query, Segment, Tier
from thermocline.model.receipt import Receipt, Vintage
from thermocline.model.retention import ClassStep, Retention, RetentionPolicy
from thermocline.model.storage_classes import COMPRESSED, WARM
from thermocline.ports import Relation
from thermocline.stores import duckdb_scan
from thermocline.stores.analytics import DuckDBAnalytics
from thermocline.stores.footers import is_compressed
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog
from thermocline.stores.objects_local import LocalObjects
from thermocline.stores.open import open_lake
from thermocline.stores.parquet import encode
from thermocline.tasks.archive import unjournaled

ODD_NAME = 'la k\'e %20 "ü" [x]*?'


@pytest.fixture(params=STORES)
def lake(request, tmp_path, new_lake_url):
    with open_lake(
        new_lake_url(request.param, ODD_NAME), catalog_url=f"sqlite:///{tmp_path}/catalog.db", threads=2
    ) as lake:
        yield lake


@pytest.fixture
def local(tmp_path):
    with open_lake(f"file://{tmp_path}/lake", catalog_url=f"sqlite:///{tmp_path}/catalog.db") as lake:
        yield lake


def day(number, interval="1day"):
    return Partition("market_data", interval, DAY + timedelta(days=number))


def write(lake, batch, partition=None, version=1):
    return lake.write(partition or day(0), version, [batch], run_id="run-1")


def published(*receipts):
    return tuple(Vintage(receipt, NOON) for receipt in receipts)


def cold(*receipts, days=None):
    days = days or [receipt.partition.day for receipt in receipts]
    interval = receipts[0].partition.interval if receipts else "1day"
    return Segment(Tier.COLD, interval, tuple(days), published(*receipts))


def answer(lake, query, segment, late=None):
    with lake.scan(query, segment, late) as reader:
        table = reader.read_all()
    assert table.schema.names == list(query.names)
    return table


# ------------------------------------------------------------------------------------------------------------- write


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_what_was_written_is_observed_and_read_back_exactly(lake, dataset):
    partition = Partition(dataset.name, "1min" if dataset.has_intervals else "", DAY)
    batch = rows(dataset, 200)
    receipt = write(lake, batch, partition)
    assert receipt.path == object_path(partition, 1)
    assert receipt.contents == contents_of(dataset, [batch])
    assert lake.observe(receipt) == [receipt]
    assert Receipt.from_json(receipt.to_json()) == receipt
    found = pa.Table.from_batches(lake.read(receipt))
    assert found.schema == dataset.arrow_schema
    assert as_sorted_lists(found, dataset) == as_sorted_lists(pa.table(batch), dataset)
    encoded = pa.Table.from_batches(lake.read(receipt, encoded=True))
    assert pa.types.is_dictionary(encoded.schema.field(dataset.symbol_column).type)
    assert as_sorted_lists(encoded.cast(dataset.arrow_schema), dataset) == as_sorted_lists(found, dataset)


def test_an_object_with_the_same_bytes_is_adopted(lake):
    first = write(lake, bars(day(0)))
    again = write(lake, bars(day(0)))
    assert again == first
    assert [path for path in lake.objects.list("") if path.endswith(".parquet")] == [first.path]


def test_an_object_with_other_bytes_is_left_and_the_next_free_version_is_taken(lake):
    first = write(lake, bars(day(0)))
    second = write(lake, bars(day(0), close="1"))
    third = write(lake, bars(day(0), close="2"))
    adopted = write(lake, bars(day(0), close="1"))
    assert [first.version, second.version, third.version, adopted.version] == [1, 2, 3, 2]
    assert second.path == object_path(day(0), 2) == adopted.path
    assert [lake.observe(receipt)[0] for receipt in (first, second, third)] == [first, second, third]


def test_many_threads_may_write_and_observe(lake):
    def work(number):
        receipt = lake.write(day(number), 1, [bars(day(number))], run_id="run-1")
        assert lake.observe(receipt) == [receipt]
        return receipt

    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(work, range(40)))
    assert len({receipt.path for receipt in receipts}) == 40


# ----------------------------------------------------------------------------------------------------------- observe


def tamper(lake, receipt, change):
    with lake.objects.open(receipt.path) as stream:
        body = stream.read()
    lake.objects.delete(receipt.path)
    lake.objects.put(receipt.path, BytesIO(change(body)))


def test_a_flipped_byte_is_noticed_wherever_it_is(lake):
    receipt = write(lake, bars(day(0)))
    for position in range(0, receipt.size_bytes, 97):
        tamper(lake, receipt, lambda body, at=position: body[:at] + bytes([body[at] ^ 0x10]) + body[at + 1 :])
        with suppress(LakeError):
            assert lake.observe(receipt)[0].sha256 != receipt.sha256
        tamper(lake, receipt, lambda body, at=position: body[:at] + bytes([body[at] ^ 0x10]) + body[at + 1 :])
    assert replace(lake.observe(receipt)[0], etag="") == replace(receipt, etag="")


def test_a_truncated_object_is_an_error_with_its_path_and_a_remedy(lake):
    receipt = write(lake, bars(day(0)))
    tamper(lake, receipt, lambda body: body[:-100])
    for act in (lake.observe, lambda receipt: list(lake.read(receipt))):
        with pytest.raises(LakeError, match=r"(?s)market_data_1day_20240115\.parquet.*restore it"):
            act(receipt)


def test_an_object_of_other_rows_is_observed_as_what_it_is(lake):
    receipt, other = write(lake, bars(day(0))), write(lake, bars(day(0), close="1"))
    with lake.objects.open(other.path) as stream:
        body = stream.read()
    tamper(lake, receipt, lambda _: body)
    [found] = lake.observe(receipt)
    assert (found.sha256, found.contents) == (other.sha256, other.contents)
    assert receipt.contents.differences(found.contents)


def test_a_missing_object_is_an_error_with_its_path_and_a_remedy(lake):
    receipt = write(lake, bars(day(0)))
    lake.delete(receipt.path)
    for act in (
        lake.observe,
        lambda receipt: list(lake.read(receipt)),
        lambda r: answer(lake, Query(MARKET_DATA), cold(r)),
    ):
        with pytest.raises(LakeError, match=r"market_data_1day_20240115\.parquet"):
            act(receipt)


# ----------------------------------------------------------------------------------------------------------- publish


def test_receipts_lie_beside_the_table_before_it_is_committed(lake):
    receipts = [write(lake, bars(day(number)), day(number)) for number in range(3)]
    head = lake.publish(MARKET_DATA, added=receipts[:2], removed=(), expected_head="", run_id="run/1")
    assert lake.head(MARKET_DATA) == head
    assert lake.paths(MARKET_DATA) == {receipt.path for receipt in receipts[:2]}
    lake.publish(MARKET_DATA, added=receipts[2:], removed=[receipts[0].path], expected_head=head, run_id="run/1")
    kept = list(lake.objects.list("metadata/receipts/"))
    assert kept == [f"metadata/receipts/market_data/run%2F1-0000{number}.jsonl" for number in (0, 1)]
    assert [entry.receipt for entry in lake.journal(MARKET_DATA).entries] == receipts
    assert lake.journal(NEWS) == Journal([], [])


def test_a_lost_commit_takes_its_receipts_along(lake):
    receipt = write(lake, bars(day(0)))
    with pytest.raises(CatalogConflictError):
        lake.publish(MARKET_DATA, added=[receipt], removed=(), expected_head="1", run_id="run-1")
    assert list(lake.objects.list("metadata/receipts/")) == []
    assert lake.head(MARKET_DATA) == ""


def told(lake):
    """What the journal says: what happened to which version of which day, and on which head that builds."""
    return [(e.event.value, e.partition.day.day, e.version, e.head) for e in lake.journal(MARKET_DATA).entries]


def test_the_journal_tells_what_each_commit_builds_on(lake):
    receipts = [write(lake, bars(day(number)), day(number)) for number in range(2)]
    paths = [receipt.path for receipt in receipts]
    first = lake.publish(MARKET_DATA, added=receipts, removed=(), expected_head="", run_id="b")
    (vintage,) = published(receipts[1])
    lake.publish(MARKET_DATA, added=(), removed=paths[1:], expected_head=first, run_id="a", withdrawn=[vintage])
    assert told(lake) == [("publish", 15, 1, ""), ("publish", 16, 1, ""), ("withdraw", 16, 1, first)]


def test_settling_publishes_nothing_new(lake):
    """What the table is made to forget was accepted by no ledger, and what it names again was live all the time."""
    old, new = write(lake, bars(day(0))), write(lake, bars(day(0), close="1"), version=2)
    other = write(lake, bars(day(1)), day(1))
    head = lake.publish(MARKET_DATA, added=[new, other], removed=(), expected_head="", run_id="a")
    lake.publish(
        MARKET_DATA, added=[old], removed=[new.path, other.path], expected_head=head, run_id="b", settling=True
    )
    assert lake.paths(MARKET_DATA) == {old.path}
    assert told(lake)[2:] == [("settle", 15, 1, head), ("settle", 16, 0, head)]


def test_a_damaged_file_of_the_journal_is_named_and_what_it_still_says_is_read(lake):
    receipts = [write(lake, bars(day(number)), day(number)) for number in range(2)]
    lake.publish(MARKET_DATA, added=receipts, removed=(), expected_head="", run_id="a")
    assert lake.journal(MARKET_DATA).unreadable == []
    path = next(lake.objects.list("metadata/receipts/"))
    with lake.objects.open(path) as stream:
        body = stream.read()
    lake.objects.replace(path, body[:-100])
    journal = lake.journal(MARKET_DATA)
    assert [entry.receipt for entry in journal.entries] == receipts[:1]
    assert journal.unreadable == [path]


def test_the_journal_of_some_runs_is_read_alone(lake):
    receipts = [write(lake, bars(day(number)), day(number)) for number in range(3)]
    head = ""
    for run_id, receipt in zip("abc", receipts, strict=True):
        head = lake.publish(MARKET_DATA, added=[receipt], removed=(), expected_head=head, run_id=run_id)
    assert [entry.receipt for entry in lake.journal(MARKET_DATA, "ac").entries] == receipts[::2]
    assert lake.journal(MARKET_DATA, ["d"]) == Journal([], [])


def test_a_receipt_that_another_run_moved_is_found_in_the_whole_journal(lake):
    receipts = [write(lake, bars(day(number)), day(number)) for number in range(2)]
    runs = {receipt.run_id for receipt in receipts}
    (run_id,) = runs
    head = lake.publish(MARKET_DATA, added=receipts, removed=(), expected_head="", run_id=run_id)
    moved = lake.combine(receipts)
    lake.publish(
        MARKET_DATA, added=(), relocated=moved, removed=[r.path for r in receipts], expected_head=head, run_id="later"
    )
    assert [entry.receipt for entry in lake.journal(MARKET_DATA, runs).entries] == receipts
    assert unjournaled(lake, MARKET_DATA, moved) == {}
    strange = replace(moved[0], sha256="0" * 64)
    assert "says otherwise" in unjournaled(lake, MARKET_DATA, [strange, moved[1]])[strange.partition]


def test_receipts_are_made_anew_from_an_object_alone(lake):
    receipt = write(lake, bars(day(0)), version=3)
    assert lake.identify(MARKET_DATA, receipt.path, run_id="run-1") == [receipt]
    assert lake.size_bytes(receipt.path) == receipt.size_bytes
    lake.delete(receipt.path)
    assert lake.size_bytes(receipt.path) is None
    with pytest.raises(LakeError, match="is missing"):
        lake.identify(MARKET_DATA, receipt.path, run_id="run-1")


def test_receipts_of_a_shared_object_take_their_versions_from_the_days_own(lake):
    own = [
        write(lake, bars(day(0))),
        write(lake, bars(day(0), close="1"), version=2),
        write(lake, bars(day(1)), day(1)),
    ]
    month = month_path("market_data", "1day", DAY, 1)
    both = pa.Table.from_batches([bars(day(0), close="1"), bars(day(1))])
    with encode(day(0), both.sort_by([(name, "ascending") for name in MARKET_DATA.sort]).to_batches()) as file:
        lake.objects.put(month, file.stream)
    found = lake.identify(MARKET_DATA, month, run_id="run-1")
    assert [(r.partition, r.version, r.path) for r in found] == [(day(0), 2, month), (day(1), 1, month)]
    assert [r.contents for r in found] == [own[1].contents, own[2].contents]
    assert lake.observe(*found) == found


def test_a_lake_knows_whether_it_holds_a_dataset(lake):
    write(lake, bars(day(0)))
    assert not lake.holds(MARKET_DATA)
    lake.note(MARKET_DATA, [Entry(Event.EXPIRE, NOON, "run", day(0), 1)])
    assert lake.holds(MARKET_DATA)
    assert not lake.holds(NEWS)


# -------------------------------------------------------------------------------------------------------------- scan


def test_rows_come_in_the_order_of_the_answer_and_in_the_schema(lake):
    receipts = [write(lake, bars(day(number)), day(number)) for number in (0, 1, 2)]
    table = answer(lake, Query(MARKET_DATA), cold(*receipts))
    assert table.schema == MARKET_DATA.arrow_schema
    expected = pa.Table.from_batches([bars(day(number)) for number in (0, 1, 2)])
    order = [(name, "ascending") for name in Query(MARKET_DATA).order]
    assert table.equals(expected.sort_by(order))


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_every_kind_of_value_is_scanned_exactly(lake, dataset):
    partition = Partition(dataset.name, "1min" if dataset.has_intervals else "", DAY)
    batch = rows(dataset, 200)
    table = answer(lake, Query(dataset), cold(write(lake, batch, partition)))
    assert table.schema == dataset.arrow_schema
    assert as_sorted_lists(table, dataset) == as_sorted_lists(pa.table(batch), dataset)


def test_symbols_times_columns_and_limit_are_applied(lake):
    receipts = [
        write(lake, bars(day(number, "1min"), ("A", "B", "C'; --"), 60), day(number, "1min")) for number in (0, 1)
    ]
    start = datetime(2024, 1, 15, 0, 58, tzinfo=UTC)
    query = Query(
        MARKET_DATA,
        start=start,
        end=start + timedelta(days=1, seconds=-60),
        symbols=("A", "C'; --"),
        columns=("close", "symbol"),
        limit=6,
    )
    found = answer(lake, query, cold(*receipts)).to_pylist()
    assert [(row["symbol"], row["close"] - Decimal("187.15")) for row in found] == [
        ("A", 58),
        ("C'; --", 58),
        ("A", 59),
        ("C'; --", 59),
        ("A", 0),
        ("C'; --", 0),
    ]
    assert len(answer(lake, replace(query, limit=None), cold(*receipts))) == 2 * (2 + 57)
    assert len(answer(lake, replace(query, symbols=("nobody",)), cold(*receipts))) == 0


def test_rows_outside_the_segment_are_another_segments(lake):
    """A compacted month will hold days that are hot by now."""
    both = pa.Table.from_batches([bars(day(0)), bars(day(1))]).combine_chunks().to_batches()[0]
    receipt = write(lake, both)
    assert set(answer(lake, Query(MARKET_DATA), cold(receipt))["ts"].to_pylist()) < {
        day(0).start + timedelta(minutes=minute) for minute in range(9)
    }


def test_no_objects_give_no_rows_in_the_right_schema(lake):
    query = Query(OPTIONS_DATA, columns=("strike", "ts"))
    table = answer(lake, query, Segment(Tier.COLD, "", (DAY,)))
    assert table.num_rows == 0
    assert table.schema == pa.schema([OPTIONS_DATA.arrow_schema.field(name) for name in ("strike", "ts")])


def test_a_late_row_stands_in_for_the_cold_row_of_its_key_and_others_are_added(lake):
    receipt = write(lake, bars(day(0), ("A", "B"), 2))
    late = pa.Table.from_batches([bars(day(0), ("B", "C"), 1, close="1")])
    found = answer(lake, Query(MARKET_DATA, columns=("symbol", "close")), cold(receipt), late).to_pylist()
    assert [(row["symbol"], row["close"]) for row in found] == [
        ("A", Decimal("187.15")),
        ("B", 1),
        ("C", 1),
        ("A", Decimal("188.15")),
        ("B", Decimal("188.15")),
    ]
    query = Query(MARKET_DATA, symbols=("B",), limit=1)
    assert answer(lake, query, cold(receipt), late)["close"].to_pylist() == [1]


def test_a_late_row_that_is_older_than_the_cold_row_of_its_key_gives_way(lake):
    receipt = write(lake, bars(day(0), ("A",), 1))
    older = bars(day(0), ("A",), 1, close="1").to_pydict()
    older["ingested_at"] = [moment - timedelta(days=1) for moment in older["ingested_at"]]
    late = pa.table(older, schema=MARKET_DATA.arrow_schema)
    query = Query(MARKET_DATA, columns=("close",))
    assert answer(lake, query, cold(receipt), late)["close"].to_pylist() == [Decimal("187.15")]


def test_a_day_may_have_late_rows_only_and_those_of_other_days_and_intervals_stay_away(lake):
    receipt = write(lake, bars(day(0)))
    late = pa.Table.from_batches([bars(one, ("L",), 1) for one in (day(1), day(2), day(1, "1min"))])
    table = answer(lake, Query(MARKET_DATA), cold(receipt, days=(DAY, DAY + timedelta(days=1))), late)
    assert [row["ts"] for row in table.to_pylist() if row["symbol"] == "L"] == [day(1).start]
    only = answer(lake, Query(MARKET_DATA), Segment(Tier.COLD, "1day", (DAY + timedelta(days=2),)), late)
    assert only["symbol"].to_pylist() == ["L"]
    assert only.schema == MARKET_DATA.arrow_schema


def test_late_rows_are_exact_too(lake):
    batch = rows(OPTIONS_DATA, 100)
    receipt = write(lake, batch.slice(0, 60), Partition("options_data", "", DAY))
    table = answer(lake, Query(OPTIONS_DATA), cold(receipt), pa.table(batch.slice(40)))
    assert as_sorted_lists(table, OPTIONS_DATA) == as_sorted_lists(pa.table(batch), OPTIONS_DATA)


def test_many_pieces_give_the_same_answer_as_one(lake, monkeypatch):
    receipts = [write(lake, bars(day(number)), day(number)) for number in (0, 1, 2, 5)]
    days = [DAY + timedelta(days=number) for number in range(6)]
    late = pa.Table.from_batches([bars(day(number), ("A", "MSFT"), 1, close="1") for number in (1, 3, 4)])
    segment = cold(*receipts, days=days)
    whole = answer(lake, Query(MARKET_DATA), segment, late)
    assert len(whole) == 4 * 6 + 5
    monkeypatch.setattr(duckdb_scan, "_PIECE_BYTES", 1)
    assert answer(lake, Query(MARKET_DATA), segment, late).equals(whole)
    for limit in (0, 1, 6, 7, 20, 100):
        assert answer(lake, Query(MARKET_DATA, limit=limit), segment, late).equals(whole.slice(0, limit))


def test_a_limit_that_is_reached_leaves_later_days_alone(lake, monkeypatch):
    monkeypatch.setattr(duckdb_scan, "_PIECE_BYTES", 1)
    receipts = [write(lake, bars(day(number)), day(number)) for number in range(3)]
    lake.delete(receipts[2].path)
    assert len(answer(lake, Query(MARKET_DATA, limit=12), cold(*receipts))) == 12


def test_a_late_row_may_take_a_row_to_another_symbol(lake):
    made = rows(OPTIONS_DATA, 1).to_pylist()[0] | {"underlying": "OLD", "ingested_at": NOON}
    receipt = write(lake, sorted_batch(OPTIONS_DATA, [made]), Partition("options_data", "", DAY))
    for ingested_at, name in ((NOON + timedelta(days=1), "NEW"), (NOON - timedelta(days=1), "OLD")):
        moved = pa.table(sorted_batch(OPTIONS_DATA, [made | {"underlying": "NEW", "ingested_at": ingested_at}]))
        found = {
            symbol: len(answer(lake, Query(OPTIONS_DATA, symbols=(symbol,)), cold(receipt), moved))
            for symbol in ("OLD", "NEW")
        }
        assert found == {"OLD": 0, "NEW": 0} | {name: 1}


def test_a_column_that_older_vintages_lack_is_null_there(lake):
    wider = replace(MARKET_DATA, columns=(*MARKET_DATA.columns, Column("turnover", Kind.MONEY)), schema_version=2)
    receipts = [write(lake, bars(day(number)), day(number)) for number in (0, 1)]
    newer = pa.Table.from_batches([bars(day(1))])
    newer = newer.append_column(wider.arrow_schema.field("turnover"), pa.array([Decimal(7)] * 6, pa.decimal128(28, 8)))
    body = BytesIO()
    pq.write_table(newer, body)
    tamper(lake, receipts[1], lambda _: body.getvalue())
    receipts[1] = replace(receipts[1], schema_version=2)
    table = answer(lake, Query(wider), cold(*receipts))
    assert table.schema == wider.arrow_schema
    assert set(table["turnover"].to_pylist()) == {None, Decimal(7)}
    assert answer(lake, Query(wider), cold(receipts[0]))["turnover"].null_count == 6
    assert len(answer(lake, Query(MARKET_DATA), cold(*receipts))) == 12


def test_a_stream_is_read_batch_by_batch_and_may_be_left_early(lake):
    receipt = write(lake, bars(day(0, "1min"), [f"S{number}" for number in range(400)], 390), day(0, "1min"))
    with lake.scan(Query(MARKET_DATA), cold(receipt)) as reader:
        first = reader.read_next_batch()
        assert first.schema == MARKET_DATA.arrow_schema
        assert 0 < first.num_rows < 400 * 390


def test_a_damaged_object_is_an_error_of_the_lake_also_in_the_middle_of_a_stream(lake):
    receipt = write(lake, bars(day(0)))
    tamper(lake, receipt, lambda body: body[:200] + bytes(300) + body[500:])
    with pytest.raises(LakeError, match="thermocline verify"):
        answer(lake, Query(MARKET_DATA), cold(receipt))


# ---------------------------------------------------------------------------------------------------- shared objects


def shared(lake, *batches, version=1):
    """Receipts of days that lie in one object of their month."""
    days = [Partition("market_data", "1day", batch["ts"][0].as_py().date()) for batch in batches]
    return lake.combine([write(lake, *both, version) for both in zip(batches, days, strict=True)])


def test_only_rows_of_days_that_are_to_be_read_from_it_come_out_of_a_shared_object(lake):
    batches = [bars(day(number)) for number in range(5)]
    receipts = shared(lake, *batches)
    for wanted in ([0], [2], [4], [0, 1], [0, 2, 4], [1, 3], [0, 1, 2, 3, 4]):
        segment = cold(*(receipts[number] for number in wanted))
        found = answer(lake, Query(MARKET_DATA), segment)
        expected = pa.Table.from_batches([batches[number] for number in wanted])
        assert as_sorted_lists(found, MARKET_DATA) == as_sorted_lists(expected, MARKET_DATA)


def test_each_day_comes_from_the_object_that_holds_its_vintage(lake):
    """Both objects hold the whole month, as they do after a day of a compacted month was restated."""
    old, new = ([bars(day(number), close=close) for number in range(4)] for close in ("1", "2"))
    earlier, later = shared(lake, *old), shared(lake, *new, version=2)
    single = write(lake, bars(day(4), close="3"), day(4))
    segment = cold(later[0], earlier[1], later[2], earlier[3], single)
    found = answer(lake, Query(MARKET_DATA, symbols=("AAPL",), columns=("close",)), segment)["close"].to_pylist()
    assert [price for price in found if price == int(price)] == [2, 3, 4, 1, 2, 3, 2, 3, 4, 1, 2, 3, 3, 4, 5]


def test_pieces_of_a_shared_object_give_the_same_answer_as_the_whole(lake, monkeypatch):
    receipts = [*shared(lake, *(bars(day(number)) for number in (0, 1, 3, 4))), write(lake, bars(day(2)), day(2))]
    receipts.sort(key=lambda receipt: receipt.partition)
    whole = answer(lake, Query(MARKET_DATA), cold(*receipts))
    assert len(whole) == 5 * 6
    monkeypatch.setattr(duckdb_scan, "_PIECE_BYTES", 1)
    assert answer(lake, Query(MARKET_DATA), cold(*receipts)).equals(whole)


def test_late_rows_stand_in_for_those_of_a_shared_object(lake):
    receipts = shared(lake, *(bars(day(number), ("A", "B"), 1) for number in range(3)))
    late = pa.Table.from_batches([bars(day(number), ("B",), 1, close="1") for number in (0, 1, 2)])
    found = answer(lake, Query(MARKET_DATA, symbols=("B",)), cold(receipts[0], receipts[2]), late)
    assert found["close"].to_pylist() == [1, 1]


def test_days_are_combined_into_one_object_sorted_as_a_file_is(lake):
    batches = [bars(day(number), ("A", "B"), 2) for number in (0, 3, 9)]
    sources = [write(lake, batch, Partition("market_data", "1day", batch["ts"][0].as_py().date())) for batch in batches]
    receipts = lake.combine(sources)
    assert {receipt.path for receipt in receipts} == {month_path("market_data", "1day", DAY, 1)}
    assert lake.observe(*receipts) == receipts
    assert [(r.partition, r.version, r.contents) for r in receipts] == [
        (r.partition, r.version, r.contents) for r in sources
    ]
    with lake.objects.open(receipts[0].path) as stream:
        found = pq.read_table(stream)
        stream.seek(0)
        assert pq.read_schema(stream).metadata[b"thermocline.month"] == b"2024-01"
    expected = pa.Table.from_batches(batches).sort_by([(name, "ascending") for name in MARKET_DATA.sort])
    assert found.cast(expected.schema).equals(expected)


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_every_kind_of_value_is_combined_exactly(lake, dataset):
    days = [Partition(dataset.name, "1min" if dataset.has_intervals else "", DAY + timedelta(days=n)) for n in (0, 1)]
    batches = [rows(dataset, 200, day=partition.day) for partition in days]
    sources = [write(lake, *both) for both in zip(batches, days, strict=True)]
    receipts = lake.combine(sources)
    assert [receipt.contents for receipt in receipts] == [source.contents for source in sources]
    assert lake.observe(*receipts) == receipts
    for receipt, batch in zip(receipts, batches, strict=True):
        assert as_sorted_lists(pa.Table.from_batches(lake.read(receipt)), dataset) == as_sorted_lists(
            pa.table(batch), dataset
        )


def test_a_shared_object_and_days_of_their_own_are_combined_into_the_next_object(lake):
    first = shared(lake, *(bars(day(number)) for number in range(4)))
    changed = write(lake, bars(day(2), close="1"), day(2), version=2)
    second = lake.combine([first[0], first[1], changed, first[3]])
    assert {receipt.path for receipt in second} == {month_path("market_data", "1day", DAY, 2)}
    assert [receipt.version for receipt in second] == [1, 1, 2, 1]
    assert [receipt.contents for receipt in second] == [
        receipt.contents for receipt in (first[0], first[1], changed, first[3])
    ]
    assert lake.observe(*first) == first


def test_a_combined_object_of_the_same_bytes_is_adopted_whichever_it_is(lake):
    sources = [write(lake, bars(day(number)), day(number)) for number in range(3)]
    whole, part = lake.combine(sources), lake.combine(sources[:2])
    assert part[0].path == month_path("market_data", "1day", DAY, 2)
    assert (lake.combine(sources), lake.combine(sources[:2]), lake.combine(part)) == (whole, part, part)
    lake.delete(whole[0].path)
    assert lake.combine(sources)[0].path == month_path("market_data", "1day", DAY, 3)


def test_combining_notices_a_row_of_another_day_and_a_missing_object(lake):
    stranger = pa.Table.from_batches([bars(day(0)), bars(day(5))]).sort_by("symbol").combine_chunks().to_batches()[0]
    receipts = [write(lake, stranger), write(lake, bars(day(1)), day(1))]
    with pytest.raises(LakeError, match="belong to other days"):
        lake.combine(receipts)
    lake.delete(receipts[1].path)
    with pytest.raises(LakeError, match="20240116"):
        lake.combine(receipts[1:])
    assert not [path for path in lake.objects.list("") if "202401.parquet" in path]


def test_only_days_of_one_year_and_interval_can_share_an_object(lake):
    sources = [write(lake, bars(each), each) for each in (day(0), day(366), day(1, "1min"))]
    for wrong in (sources[:2], [sources[0], sources[2]]):
        with pytest.raises(LakeError, match="one interval and year"):
            lake.combine(wrong)


def test_days_of_several_months_become_the_object_of_their_year(lake):
    batches = [bars(day(number), ("A", "B"), 2) for number in (0, 40, 300)]
    sources = [write(lake, batch, day(number)) for number, batch in zip((0, 40, 300), batches, strict=True)]
    month = lake.combine([sources[0]])
    receipts = lake.combine([*month, *sources[1:]])
    assert {receipt.path for receipt in receipts} == {year_path("market_data", "1day", DAY, 1)}
    assert [receipt.contents for receipt in receipts] == [source.contents for source in sources]
    assert lake.observe(*receipts) == receipts
    assert lake.combine(sources) == receipts, "the very same bytes are adopted"
    assert lake.identify(MARKET_DATA, receipts[0].path, run_id="run-1") == receipts
    assert receipts[0].path in set(lake.objects_of(MARKET_DATA))
    with lake.objects.open(receipts[0].path) as stream:
        found = pq.read_table(stream)
        stream.seek(0)
        assert pq.read_schema(stream).metadata[b"thermocline.year"] == b"2024"
    expected = pa.Table.from_batches(batches).sort_by([(name, "ascending") for name in MARKET_DATA.sort])
    assert found.cast(expected.schema).equals(expected)


def test_a_folder_says_of_its_objects_how_they_were_written_and_when(local):
    made = rows(MARKET_DATA, 2_000, interval="1day")
    warm = local.write(day(0), 1, [made], run_id="run-1")
    compressed = local.write(day(0), 1, [made], run_id="run-1", storage_class=COMPRESSED)
    shared = local.combine([write(local, bars(day(n)), day(n)) for n in (1, 2)], storage_class=COMPRESSED)
    assert compressed.size_bytes < warm.size_bytes
    assert (compressed.contents, compressed.path) == (warm.contents, warm.path.replace(".parquet", "_v2.parquet"))
    surveyed = {stored.path: stored for stored in local.survey(MARKET_DATA)}
    found = {path: stored.storage_class for path, stored in surveyed.items() if "20240116" not in path}
    del found[object_path(day(2), 1)]
    assert found == {warm.path: WARM, compressed.path: COMPRESSED, shared[0].path: COMPRESSED}
    for stored in surveyed.values():
        assert replace(stored, storage_class="") == local.objects.stat(stored.path)
        assert abs(stored.modified_at - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_policy_has_a_folder_write_old_days_with_stronger_compression(tmp_path):
    policy = RetentionPolicy(Retention((ClassStep(60, COMPRESSED),)))
    today = DAY + timedelta(days=60)
    objects = LocalObjects(tmp_path)
    lake = ParquetLake(objects, MemoryCatalog(), policy=policy, today=lambda: today)
    receipts = [write(lake, bars(day(n)), day(n)) for n in (0, 1)]
    both = lake.combine(receipts)[0].path
    found = {stored.path: stored.storage_class for stored in lake.survey(MARKET_DATA)}
    assert found == {receipts[0].path: COMPRESSED, receipts[1].path: WARM, both: WARM}


@pytest.mark.parametrize("body", [b"", b"PAR1", b"thermocline.storage_class\x18\nCOMPRESSED", b"x" * 100])
def test_what_is_no_parquet_file_is_not_compressed(body):
    assert not is_compressed(BytesIO(body))


def test_a_day_of_a_month_is_not_read_from_a_year_that_has_it_too(lake):
    """As when an earlier answer needs some days of the year's old object, and others lie elsewhere."""
    year = lake.combine([write(lake, bars(day(number), ("A",), 1, close="1"), day(number)) for number in (0, 1, 40)])
    month = lake.combine([write(lake, bars(day(n), ("A",), 1, close="7"), day(n), version=2) for n in (0, 1)])
    for wanted, prices in (((month[0], year[2]), [7, 1]), ((year[0], month[1]), [1, 7]), ((year[1],), [1])):
        found = answer(lake, Query(MARKET_DATA, columns=("close",)), cold(*wanted))
        assert found["close"].to_pylist() == prices


def test_a_shared_object_is_observed_once_for_all_its_days_and_read_a_day_at_a_time(lake):
    batches = [bars(day(number), close=str(number)) for number in range(3)]
    receipts = shared(lake, *batches)
    assert lake.observe(*receipts) == receipts
    for receipt, batch in zip(receipts, batches, strict=True):
        assert pa.Table.from_batches(lake.read(receipt)).equals(pa.table(batch))
        encoded = pa.Table.from_batches(lake.read(receipt, encoded=True))
        assert encoded.cast(batch.schema).equals(pa.table(batch))


def test_sql_reads_of_each_object_the_days_that_count(lake):
    old, new = ([bars(day(number), ("A",), 1, close=close) for number in range(4)] for close in ("1", "2"))
    earlier, later = shared(lake, *old), shared(lake, *new, version=2)
    single = write(lake, bars(day(4), ("A",), 1, close="3"), day(4))
    located = lake.locations(published(later[0], earlier[1], later[3], single))

    @contextmanager
    def hot():
        yield pa.RecordBatchReader.from_batches(MARKET_DATA.arrow_schema, [])

    analytics = DuckDBAnalytics(lake.engine)
    statement = "SELECT close FROM market_data ORDER BY ts"
    with analytics.run(statement, [Relation(MARKET_DATA, located, None, hot)]) as reader:
        assert reader.read_all()["close"].to_pylist() == [2, 1, 2, 3]


def test_days_before_1970_are_told_apart_too(lake):
    """Dividing microseconds rounds towards 1970."""
    days = [Partition("market_data", "1day", date(1969, 12, number)) for number in (29, 30, 31)]
    for receipt, partition in zip(shared(lake, *map(bars, days)), days, strict=True):
        found = answer(lake, Query(MARKET_DATA), cold(receipt))
        assert as_sorted_lists(found, MARKET_DATA) == as_sorted_lists(pa.table(bars(partition)), MARKET_DATA)


def test_an_object_is_located_once_with_the_days_that_count(lake):
    single, both = write(lake, bars(day(5)), day(5)), shared(lake, bars(day(0)), bars(day(1)))
    first, second = lake.locations(published(single, *both))
    assert first.days == ()
    assert second.days == (DAY, DAY + timedelta(days=1))


# -------------------------------------------------------------------------------------------------------------- open


@pytest.mark.parametrize("url", ["ftp://host/x", "file://host/x", "s3:///lake", "gs://", "s3://key:s3cret@bucket/lake"])
def test_a_url_that_no_store_serves_is_refused(url):
    with pytest.raises(UsageError, match=r"(use|write) (s3|gs)://BUCKET/PREFIX") as caught:
        open_lake(url, catalog_url="sqlite://")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["s3://bucket/lake", "gs://bucket"])
def test_opening_a_lake_in_a_bucket_asks_for_nothing(url, tmp_path):
    opened = (
        "import sys\nfrom thermocline.stores.open import open_lake\n"
        "print(open_lake(sys.argv[1], catalog_url='sqlite://').url)\n"
        "print({'boto3', 's3fs', 'google.cloud.storage', 'gcsfs'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", opened, url], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == f"{url}\nset()\n"


def test_a_lake_is_named_by_path_or_by_url(tmp_path):
    for url in (str(tmp_path / "a b%20"), f"file://{tmp_path}/a%20b%2520"):
        with open_lake(url, catalog_url="sqlite://") as lake:
            assert lake.url == f"file://{tmp_path}/a%20b%2520"
            assert lake.objects.location("x") == str(tmp_path / "a b%20" / "x")
    assert list(tmp_path.iterdir()) == []


def test_opening_and_scanning_a_lake_does_not_wait_for_pyiceberg(local, tmp_path):
    receipt = write(local, bars(day(0)))
    program = (
        "import sys; from thermocline.stores.open import open_lake;"
        f"lake = open_lake({str(tmp_path / 'lake')!r}, catalog_url='sqlite://');"
        f"assert list(lake.objects.list('cold_storage')) == [{receipt.path!r}];"
        "assert not {'pyiceberg', 'sqlalchemy', 'fsspec', 'pandas'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
