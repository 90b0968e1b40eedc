"""A spool gives back what went in, sorted, day by day, one row a key."""

from datetime import timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import DAY, NOON, as_sorted_lists, bars, rows, sorted_batch

from thermocline.errors import LakeError, SchemaError
from thermocline.model.datasets import DATASETS, MARKET_DATA, OPTIONS_DATA
from thermocline.model.fingerprint import contents_of
from thermocline.model.partition import Partition
from thermocline.stores import spool as module
from thermocline.stores.spool import DuckDBSpool


@pytest.fixture
def spool(tmp_path):
    with DuckDBSpool(MARKET_DATA, tmp_path, memory_limit_mib=256) as spool:
        yield spool


def day(number, interval="1day"):
    return Partition("market_data", interval, DAY + timedelta(days=number))


def taken(spool, partition):
    return pa.Table.from_batches(spool.batches(partition), spool_schema(partition))


def spool_schema(partition):
    return DATASETS[partition.dataset].arrow_schema


@settings(max_examples=25)
@given(st.sampled_from(list(DATASETS.values())), st.integers(0, 500), st.data())
def test_rows_of_every_kind_come_back_exactly_and_sorted(dataset, seed, data):
    days = [DAY + timedelta(days=number) for number in range(3)]
    made = {one: rows(dataset, 30, day=one, seed=seed) for one in days}
    mixed = pa.Table.from_batches(list(made.values()))
    order = list(range(mixed.num_rows))
    data.draw(st.randoms(use_true_random=False)).shuffle(order)
    batches = mixed.take(order).to_batches(max_chunksize=7)
    with DuckDBSpool(dataset) as spool:
        spool.append(batches)
        assert [partition.day for partition in spool.partitions()] == days
        for partition, count in spool.partitions().items():
            expected = made[partition.day]
            assert count == expected.num_rows
            found = pa.Table.from_batches(spool.batches(partition))
            assert found.schema == dataset.arrow_schema
            assert as_sorted_lists(found, dataset) == as_sorted_lists(pa.table(expected), dataset)
            assert contents_of(dataset, found.to_batches()) == contents_of(dataset, [expected])
            keys = found.select(dataset.sort)
            assert keys.equals(keys.sort_by([(name, "ascending") for name in dataset.sort]))


def test_text_is_sorted_by_its_bytes(spool):
    symbols = ["aapl", "AAPL", "Ä", "Z", "~", "BRK.B", "BRK-B", "日"]
    spool.append([bars(day(0), symbols, 1)])
    found = taken(spool, day(0))["symbol"].to_pylist()
    assert found == sorted(symbols, key=str.encode)


def test_of_one_key_the_latest_ingested_row_stays_then_the_last_taken_in(spool):
    later = NOON + timedelta(seconds=1)
    spool.append([bars(day(0), ("A", "B", "C"), 1, close="1", ingested_at=later)])
    spool.append([bars(day(0), ("A", "B"), 1, close="2", ingested_at=NOON)])
    spool.append([bars(day(0), ("B", "C"), 1, close="3", ingested_at=later)])
    assert dict(spool.partitions()) == {day(0): 7}
    found = taken(spool, day(0)).select(["symbol", "close"]).to_pylist()
    assert [(row["symbol"], row["close"]) for row in found] == [("A", 1), ("B", 3), ("C", 3)]


def test_rows_may_be_added_after_some_were_taken(spool):
    spool.append([bars(day(0), ("A",), 1, close="1")])
    assert taken(spool, day(0))["close"].to_pylist() == [Decimal(1)]
    spool.append([bars(day(0), ("A",), 1, close="2"), bars(day(1), ("A",), 1)])
    assert list(spool.partitions()) == [day(0), day(1)]
    assert taken(spool, day(0))["close"].to_pylist() == [Decimal(2)]


def test_an_option_that_changed_its_underlying_is_still_one_row():
    made = rows(OPTIONS_DATA, 1).to_pylist()[0]
    others = [made | {"underlying": name, "ingested_at": NOON + timedelta(days=n)} for n, name in enumerate("ZMA")]
    with DuckDBSpool(OPTIONS_DATA) as spool:
        spool.append([sorted_batch(OPTIONS_DATA, [*others, made | {"contract_symbol": "another"}])])
        (partition,) = spool.partitions()
        found = pa.Table.from_batches(spool.batches(partition))
    assert sorted(found["underlying"].to_pylist()) == sorted(["A", made["underlying"]])


def test_thousands_of_small_days_take_a_few_queries(spool, monkeypatch):
    queries = []
    original = DuckDBSpool._merged  # noqa: SLF001  # how often it is asked is what matters here
    monkeypatch.setattr(DuckDBSpool, "_merged", lambda self, days: queries.append(days) or original(self, days))
    one = bars(day(0), ("AAPL",), 1)
    position = one.schema.get_field_index("ts")
    stamps = [one.column("ts")[0].as_py() + timedelta(days=number) for number in range(3000)]
    table = pa.Table.from_batches([one] * 3000)
    spool.append(
        table.set_column(position, one.schema.field("ts"), pa.array(stamps, one.schema.field("ts").type)).to_batches()
    )
    days = [
        partition.day for partition in spool.partitions() for batch in spool.batches(partition) if batch.num_rows == 1
    ]
    assert days == [DAY + timedelta(days=number) for number in range(3000)]
    assert len(queries) == 1


@pytest.mark.parametrize("window", [1, 2_000, 1 << 20])
def test_windows_of_any_size_give_the_same_days_in_any_order(spool, monkeypatch, window):
    monkeypatch.setattr(module, "_WINDOW_BYTES", window)
    monkeypatch.setattr(module, "_PENDING_BYTES", 1_000)
    made = {
        partition: bars(partition, ("AAPL", "MSFT", "TSLA"), 5)
        for partition in [*(day(n) for n in (0, 1, 5, 6)), *(day(n, "1min") for n in (0, 1, 2)), day(0, "5min")]
    }
    spool.append(made.values())
    assert list(spool.partitions()) == sorted(made)
    for partition in [*made, *reversed(made)]:
        assert taken(spool, partition).equals(pa.table(made[partition]))
    both = zip(spool.batches(day(0)), spool.batches(day(0, "1min")), strict=True)
    assert sum(left.num_rows + right.num_rows for left, right in both) == 30


def test_more_rows_than_memory_may_hold_are_sorted_on_disk(tmp_path):
    one = bars(day(0, "1min"), [f"S{number:03}" for number in range(100)], 390)
    place, field = one.schema.get_field_index("symbol"), one.schema.field("symbol")
    with DuckDBSpool(MARKET_DATA, tmp_path, memory_limit_mib=96) as spool:
        for number in reversed(range(20)):
            symbols = pc.binary_join_element_wise(f"{number:02}", one.column("symbol"), "-")
            spool.append([one.set_column(place, field, symbols)])
        (partition,) = spool.partitions()
        seen = 0
        last = ""
        for batch in spool.batches(partition):
            first, final = batch.column("symbol")[0].as_py(), batch.column("symbol")[-1].as_py()
            assert last <= first <= final
            last, seen = final, seen + batch.num_rows
    assert seen == 20 * 100 * 390


def test_a_day_without_rows_is_empty_and_so_is_a_fresh_spool(spool):
    assert dict(spool.partitions()) == {}
    spool.append([bars(day(0)), bars(day(1)).slice(0, 0)])
    assert list(spool.partitions()) == [day(0)]
    assert list(spool.batches(day(1))) == []


def test_rows_in_another_schema_are_refused(spool):
    with pytest.raises(SchemaError, match="another schema"):
        spool.append([bars(day(0)).drop_columns(["vwap"])])


def test_nothing_stays_behind(tmp_path):
    with DuckDBSpool(MARKET_DATA, tmp_path) as spool:
        spool.append([bars(day(0))])
        assert list(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_can_not_be_written_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LakeError, match="choose another"):
        DuckDBSpool(MARKET_DATA, tmp_path / "file")
