"""What every lake promises of objects that days share."""

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lake_acts import answer, cold, day, published, write
from made_rows import DAY, as_sorted_lists, bars, rows

from thermocline.errors import LakeError
from thermocline.model.datasets import DATASETS, MARKET_DATA
from thermocline.model.partition import Partition
from thermocline.model.paths import month_path, object_path, year_path
from thermocline.model.query import Query
from thermocline.model.retention import ClassStep, Retention, RetentionPolicy
from thermocline.model.storage_classes import COMPRESSED, WARM
from thermocline.ports import Relation
from thermocline.stores import duckdb_scan
from thermocline.stores.analytics import DuckDBAnalytics
from thermocline.stores.footers import is_compressed
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog
from thermocline.stores.objects_local import LocalObjects


@pytest.fixture
def lake(odd_lake):
    return odd_lake


def shared(lake, *batches, version=1):
    """Receipts of days that lie in one object of their month."""
    days = [Partition("market_data", "1day", batch["ts"][0].as_py().date()) for batch in batches]
    return lake.combine([write(lake, *both, version) for both in zip(batches, days, strict=True)])


def assert_holds(lake, path, batches, label, value):
    """The file has these rows, sorted, and says of what span they are."""
    with lake.objects.open(path) as stream:
        found = pq.read_table(stream)
        stream.seek(0)
        assert pq.read_schema(stream).metadata[label] == value
    expected = pa.Table.from_batches(batches).sort_by([(name, "ascending") for name in MARKET_DATA.sort])
    assert found.cast(expected.schema).equals(expected)


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
    assert_holds(lake, receipts[0].path, batches, b"thermocline.month", b"2024-01")


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
    assert_holds(lake, receipts[0].path, batches, b"thermocline.year", b"2024")


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
