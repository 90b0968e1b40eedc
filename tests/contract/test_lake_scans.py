"""What every lake promises of the rows that it is asked for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lake_acts import answer, cold, day, tamper, write
from made_rows import DAY, NOON, as_sorted_lists, bars, rows, sorted_batch

from thermocline.errors import LakeError
from thermocline.model.dataset import Column, Kind
from thermocline.model.datasets import DATASETS, MARKET_DATA, OPTIONS_DATA
from thermocline.model.partition import Partition
from thermocline.model.query import Query, Segment, Tier
from thermocline.stores import duckdb_scan


@pytest.fixture
def lake(odd_lake):
    return odd_lake


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
