"""What lies beside the rows goes when it is as old as was set, and never a page of an open fetch."""

import os
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest

from thermocline.model.datasets import MARKET_DATA
from thermocline.model.paths import fetch_path, page_path
from thermocline.ports import AuditQuery
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog
from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.objects_local import LocalObjects
from thermocline.tasks.prefixes import PrefixExpiry, PrefixRetention

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
OLD, YOUNG = NOW - timedelta(days=10, seconds=1), NOW - timedelta(days=10) + timedelta(seconds=1)
TEN = PrefixRetention(raw_days=10, processed_days=10, cache_days=10, abandoned_fetch_days=10)


@pytest.fixture
def lake(tmp_path):
    return ParquetLake(LocalObjects(tmp_path), MemoryCatalog())


def put(lake, path, at, body=b"12345"):
    """Put an object that was written then."""
    lake.objects.put(path, BytesIO(body))
    os.utime(lake.objects.location(path), (at.timestamp(), at.timestamp()))
    return path


def page(lake, at, number=1, label="all", stamp="20260520_010101_abcdef01"):
    return put(lake, page_path("market_data", label, stamp, number, 1), at)


def lying(lake):
    return set(lake.objects.list(""))


def expiry(lake, hot=None, retention=TEN):
    return PrefixExpiry(hot or MemoryHot(), lake, retention, NOW)


def test_what_is_older_than_was_set_goes_and_all_else_stays(lake):
    old = [page(lake, OLD), put(lake, "processed/a/b.bin", OLD), put(lake, "cache/x", OLD)]
    old.append(put(lake, "metadata/fetches/market_data/a-1.json", OLD, b"no marker"))
    kept = [page(lake, YOUNG, 2), put(lake, "processed/c", YOUNG), put(lake, "cache/y", YOUNG)]
    never = ("metadata/receipts/market_data/a.jsonl", "metadata/schemas/market_data/1.json", "raw.txt", "cached/x")
    kept += [put(lake, path, OLD - timedelta(days=9_000)) for path in never]
    kept.append(put(lake, "cold_storage/market_data/year=2024/market_data_1day_2024.parquet", OLD))
    hot = MemoryHot()
    expiry(lake).run(run_id="markers")  # the damaged marker goes, and with it what protects the pages
    done = expiry(lake, hot).run(run_id="expire")
    assert lying(lake) == set(kept)
    assert [(each.prefix, len(each.deleted), each.kept) for each in done] == [
        ("raw/", 1, 1), ("metadata/fetches/", 0, 0), ("processed/", 0, 1), ("cache/", 0, 1),
    ]  # fmt: skip
    [act] = hot.audit(AuditQuery(names=["expire-prefix"]))
    assert (act.detail["prefix"], act.detail["deleted"], act.detail["deleted_bytes"]) == ("raw/", 1, 5)


def test_nothing_goes_where_nothing_is_set_and_a_plan_changes_nothing(lake):
    page(lake, OLD)
    put(lake, "cache/x", OLD)
    before = lying(lake)
    assert expiry(lake, retention=PrefixRetention()).run(run_id="expire") == []
    planned = expiry(lake).plan()
    assert [len(each.deleted) for each in planned] == [1, 0, 0, 1]
    assert lying(lake) == before


def test_a_page_of_an_open_fetch_never_goes(lake):
    marker = b'{"stamp": "20260520_010101_abcdef01", "dataset": "market_data", "label": "all", "source": "made"}'
    put(lake, fetch_path("market_data", "made", "0" * 32), YOUNG, marker)
    kept = page(lake, OLD)
    gone = page(lake, OLD, stamp="20260520_010101_99999999")
    expiry(lake).run(run_id="expire")
    assert kept in lying(lake)
    assert gone not in lying(lake)


def test_pages_stay_where_a_marker_can_not_be_read(lake):
    put(lake, fetch_path("market_data", "made", "0" * 32), YOUNG, b"{")
    kept = page(lake, OLD)
    expiry(lake).run(run_id="expire")
    assert kept in lying(lake)


def test_only_what_is_of_the_named_datasets_goes(lake):
    gone, other = page(lake, OLD), put(lake, page_path("news", "all", "20260520_010101_abcdef01", 1, 1), OLD)
    cached = put(lake, "cache/x", OLD)
    expiry(lake).run([MARKET_DATA], run_id="expire")
    assert lying(lake) == {other, cached}
    assert gone not in lying(lake)
