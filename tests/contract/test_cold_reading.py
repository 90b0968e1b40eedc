"""What reading the cold tier promises, whatever store it lies in: what is read of it."""

from contextlib import suppress
from datetime import timedelta

import pytest
from conftest import STORES
from made_rows import DAY, NOON, bars

from thermocline.errors import LakeError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import Partition
from thermocline.model.query import Query, Segment, Tier
from thermocline.model.receipt import Vintage
from thermocline.stores import kept_ends, parquet
from thermocline.stores.open import open_lake

SYMBOLS = [f"S{number:03d}" for number in range(60)]
"""More than a row group has."""


@pytest.fixture(autouse=True)
def _small_row_groups(monkeypatch):
    """Else days as small as these would be one row group each."""
    monkeypatch.setattr(parquet, "ROW_GROUP_FEW", 0)


@pytest.fixture(params=STORES)
def lake(request, tmp_path, new_lake_url):
    with open_lake(new_lake_url(request.param), catalog_url=f"sqlite:///{tmp_path}/catalog.db", threads=2) as lake:
        yield lake


@pytest.fixture
def local(tmp_path):
    with open_lake(str(tmp_path / "lake"), catalog_url=f"sqlite:///{tmp_path}/catalog.db", threads=2) as lake:
        yield lake


def day(number):
    return Partition("market_data", "1min", DAY + timedelta(days=number))


def written(lake, days=3, count=2, symbols=SYMBOLS):
    return [lake.write(day(n), 1, [bars(day(n), symbols, count)], run_id="run") for n in range(days)]


def segment(receipts):
    days = tuple(receipt.partition.day for receipt in receipts)
    return Segment(Tier.COLD, "1min", days, tuple(Vintage(receipt, NOON) for receipt in receipts))


def test_footers_tell_which_row_groups_a_query_reads_and_how_much_of_them(lake):
    receipts = written(lake)
    everything = lake.row_groups(Query(MARKET_DATA), receipts)
    assert (everything.total, everything.read) == (6, 6)
    assert 0 < everything.read_bytes < sum(receipt.size_bytes for receipt in receipts)
    one = lake.row_groups(Query(MARKET_DATA, symbols=("S055",)), receipts)
    assert (one.total, one.read) == (6, 3)
    assert one.read_bytes < everything.read_bytes / 2
    narrow = lake.row_groups(Query(MARKET_DATA, symbols=("S055",), columns=("close",)), receipts)
    assert narrow.read_bytes < one.read_bytes
    both = lake.row_groups(Query(MARKET_DATA, symbols=("S005", "S055"), end=day(1).start), receipts)
    assert (both.total, both.read) == (6, 2)
    assert lake.row_groups(Query(MARKET_DATA, symbols=("T",)), receipts).read == 0
    month = lake.combine(receipts)
    assert lake.row_groups(Query(MARKET_DATA), month).total == 2
    assert lake.row_groups(Query(MARKET_DATA, start=day(1).start, end=day(2).start), month[:1]).read == 0


def test_footers_of_objects_that_are_gone_are_missed(lake):
    receipts = written(lake, days=2)
    lake.delete(receipts[1].path)
    with pytest.raises(LakeError, match="verify"):
        lake.row_groups(Query(MARKET_DATA), receipts)


@pytest.mark.parametrize("end_bytes", [kept_ends.END_BYTES, 1_024], ids=["kept whole", "kept in part"])
@pytest.mark.parametrize("limit", [None, 150])
def test_an_object_that_is_deleted_between_two_queries_is_answered_whole_or_missed(lake, monkeypatch, end_bytes, limit):
    monkeypatch.setattr(kept_ends, "END_BYTES", end_bytes)
    receipts = written(lake)
    asked = Query(MARKET_DATA, limit=limit)

    def rows():
        with lake.scan(asked, segment(receipts)) as reader:
            return reader.read_all().to_pylist()

    before = rows()
    assert len(before) == (limit or 3 * 2 * len(SYMBOLS))
    lake.delete(receipts[1].path)
    # Of what was opened a moment ago the end is still here; it can't have changed, since no object ever does.
    with suppress(LakeError):
        assert rows() == before
        assert limit


def test_a_limited_query_misses_an_object_that_was_deleted_before_the_kept_end_grew_old(lake, monkeypatch):
    monkeypatch.setattr(kept_ends, "_KEPT_SECONDS", 0.0)
    receipts = written(lake)
    for path in [receipt.path for receipt in receipts[1:]]:
        lake.delete(path)
    with pytest.raises(LakeError), lake.scan(Query(MARKET_DATA, limit=150), segment(receipts)) as reader:
        reader.read_all()
