"""Paths in the lake: readable by people, and reversible."""

import ntpath
import re
from datetime import date
from pathlib import PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermocline.errors import UsageError
from thermocline.model.datasets import DATASETS
from thermocline.model.partition import Partition
from thermocline.model.paths import (
    decode,
    encode,
    journal_path,
    object_path,
    page_prefix,
    parse_object_path,
    table_location,
)
from thermocline.ports import Question

days = st.dates(date(1, 1, 1), date(9999, 12, 30))
units = st.sampled_from(["sec", "min", "hour", "day", "week", "month"])
intervals = st.builds("{}{}".format, st.integers(1, 9999), units)


@st.composite
def partitions(draw):
    dataset = draw(st.sampled_from(list(DATASETS.values())))
    return Partition(dataset.name, draw(intervals) if dataset.has_intervals else "", draw(days))


@given(partitions(), st.integers(1, 10**6))
def test_a_path_gives_its_partition_and_version_back(partition, version):
    assert parse_object_path(object_path(partition, version)) == (partition, version)


@given(partitions(), partitions(), st.integers(1, 50), st.integers(1, 50))
def test_no_two_vintages_share_a_path(one, other, version, other_version):
    same = (one, version) == (other, other_version)
    assert (object_path(one, version) == object_path(other, other_version)) == same


@given(partitions(), partitions())
def test_vintages_lie_below_their_table_and_their_folders_sort_by_day(one, other):
    folders = {object_path(p, 1).rpartition("/")[0].removeprefix(table_location(p.dataset)): p for p in (one, other)}
    assert all(folder.startswith("/year=") for folder in folders)
    assert [folders[folder].day for folder in sorted(folders)] == sorted({one.day, other.day})


def test_paths_are_those_that_were_promised():
    bars = Partition("market_data", "1min", date(2024, 1, 15))
    folder = "year=2024/month=01/day=15"
    assert object_path(bars, 1) == f"cold_storage/market_data/{folder}/market_data_1min_20240115.parquet"
    assert object_path(bars, 2) == f"cold_storage/market_data/{folder}/market_data_1min_20240115_v2.parquet"
    news = Partition("news", "", date(2024, 1, 15))
    assert object_path(news, 1) == f"cold_storage/news/{folder}/news_20240115.parquet"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "cold_storage/news/year=2024/month=01/day=15/news_20240115_v1.parquet",
        "cold_storage/news/year=2024/month=01/day=15/news_20240115_v02.parquet",
        "cold_storage/news/year=2024/month=01/day=16/news_20240115.parquet",
        "cold_storage/news/year=2024/month=01/day=15/features_20240115.parquet",
        "cold_storage/news/year=2024/month=13/day=15/news_20241315.parquet",
        "cold_storage/news/year=2024/month=01/day=15/news_20240115.parquet.tmp",
        "cold_storage/rumours/year=2024/month=01/day=15/rumours_20240115.parquet",
        "cold_storage/market_data/year=2024/month=01/day=15/market_data_20240115.parquet",
        "../cold_storage/news/year=2024/month=01/day=15/news_20240115.parquet",
    ],
)
def test_another_path_is_refused(path):
    with pytest.raises(UsageError):
        parse_object_path(path)


@given(st.text())
def test_any_text_can_stand_in_a_path_and_comes_back(text):
    encoded = encode(text)
    assert decode(encoded) == text
    assert re.fullmatch(r"[A-Za-z0-9.%-]*", encoded)
    assert not encoded.startswith(".")


@given(st.text(), st.text())
def test_encoded_texts_differ_where_texts_differ(one, other):
    assert (encode(one) == encode(other)) == (one == other)


@pytest.mark.parametrize(
    ("symbol", "encoded"),
    [
        ("BTC/USDT", "BTC%2FUSDT"),
        ("BTC/USDT:USDT", "BTC%2FUSDT%3AUSDT"),
        ("BRK.B", "BRK.B"),
        ("^GSPC", "%5EGSPC"),
        ("..", "%2E%2E"),
        ("TAP.", "TAP%2E"),
        ("CON", "%43ON"),
        ("con.x", "%63on.x"),
        ("CONN", "CONN"),
        ("100%", "100%25"),
        ("A B_C", "A%20B%5FC"),
        ("Ü", "%C3%9C"),
    ],
)
def test_a_symbol_of_any_shape_can_stand_in_a_file_s_name(symbol, encoded):
    assert encode(symbol) == encoded
    assert decode(encoded) == symbol


@given(st.text(min_size=1))
def test_no_encoded_text_is_a_name_that_windows_keeps_or_changes(text):
    encoded = encode(text)
    assert PureWindowsPath(encoded).name == encoded
    assert not ntpath.isreserved(encoded) if hasattr(ntpath, "isreserved") else True


@given(partitions(), partitions(), st.integers(1, 50), st.integers(1, 50))
def test_paths_of_vintages_differ_also_where_case_does_not_count(one, other, version, other_version):
    same = (one, version) == (other, other_version)
    assert (object_path(one, version).casefold() == object_path(other, other_version).casefold()) == same


def test_pages_of_symbols_that_differ_in_case_lie_apart_where_case_does_not_count():
    prefixes = set()
    for symbol in ("CON", "con", "Con"):
        asked = Question("vendor", "market_data", symbol, {"symbol": symbol})
        stamp = f"20240115_{asked.identity[:8]}"
        prefixes.add(page_prefix("market_data", symbol, stamp).casefold())
    assert len(prefixes) == 3


def test_receipts_of_one_run_are_numbered_in_order():
    paths = [journal_path("news", "nightly/2024-01-15", number) for number in (0, 2, 10)]
    assert paths[0] == "metadata/receipts/news/nightly%2F2024-01-15-00000.jsonl"
    assert paths == sorted(paths)
