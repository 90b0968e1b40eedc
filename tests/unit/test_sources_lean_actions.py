"""LEAN map files and factor files: who was called what, splits and dividends."""

import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from thermocline.errors import SourceError, UsageError
from thermocline.model.conform import conform
from thermocline.model.datasets import FORECASTS, dataset_named
from thermocline.model.partition import ALL_DAYS, DayRange
from thermocline.ports import FetchRequest
from thermocline.sources.open import open_source

NOW = datetime(2024, 6, 1, tzinfo=UTC)
MAPS = {
    "aapl": "19980102,aapl,Q\n20501231,aapl,Q\n",
    "wm": "19980102,uw,N\n19980716,uw,N\n20090804,wmi,N\n20501231,wm,N\n",
    "gooav": "20140327,gooav\n20140402,gooav",
    "tap.a": "20050209,tapa,N\n20121231,tapa,N\n20501231,tap.a,N\n",
}
FACTORS = {
    "aapl": "19980102,0.8613657,0.0357143,1\n20140507,0.8613657,0.0357143,592.33\n20140606,0.8661672,0.0357143,645.57\n"
    "20200828,0.8661672,0.25,499.23\n20501231,0.8661672,1,0\n",
    "wm": "19980102,0.98,1,1\n20090304,0.98,1,27.19\n20121203,0.99,1,32.50\n20501231,1,1,0",
}


@pytest.fixture
def usa(tmp_path):
    folder = tmp_path / "Data" / "equity" / "usa"
    for kind, files in (("map_files", MAPS), ("factor_files", FACTORS)):
        (folder / kind).mkdir(parents=True)
        for name, text in files.items():
            (folder / kind / f"{name}.csv").write_text(text)
    return folder


def pages(path, dataset, days=ALL_DAYS, symbols=()):
    request = FetchRequest(dataset_named(dataset), days, frozenset(symbols))
    return list(open_source("lean", path=str(path)).fetch(request))


def rows(path, dataset, **asked):
    found = []
    for page in pages(path, dataset, **asked):
        assert page.unreadable == ()
        named = dataset_named(dataset)
        conformed = conform(page.rows, named, source="lean", ingested_at=NOW, origin=page.origin)
        assert (conformed.rejected, conformed.duplicates) == ((), 0)
        found += conformed.rows.to_pylist()
    return found


def test_an_instrument_is_named_for_good_by_its_first_symbol_and_day(usa):
    found = [row for row in rows(usa, "instruments") if row["instrument_id"] == "equity:UW:19980102"]
    assert [(row["symbol"], row["ts"].date(), row["until"]) for row in found] == [
        ("UW", date(1998, 1, 2), date(1998, 7, 17)),
        ("WMI", date(1998, 7, 17), date(2009, 8, 5)),
        ("WM", date(2009, 8, 5), None),
    ]
    assert found[0]["exchange"] == "XNYS"
    assert rows(usa, "instruments") == rows(usa.parent.parent, "instruments") == rows(usa / "map_files", "instruments")


def test_a_delisted_instrument_has_a_last_day(usa):
    [row] = [row for row in rows(usa, "instruments") if row["symbol"] == "GOOAV"]
    assert (row["instrument_id"], row["until"], row["exchange"]) == ("equity:GOOAV:20140327", date(2014, 4, 3), None)


def test_a_split_is_of_the_session_after_the_line_s_day(usa):
    assert [(row["symbol"], row["ts"].date(), row["old_shares"], row["new_shares"]) for row in rows(usa, "splits")] == [
        ("AAPL", date(2014, 6, 9), 1, 7),
        ("AAPL", date(2020, 8, 31), 1, 4),
    ]


def test_a_dividend_is_under_the_symbol_of_its_ex_date(usa):
    found = rows(usa / "factor_files", "dividends")
    assert [(row["symbol"], row["ts"].date(), row["amount"], row["currency"]) for row in found] == [
        ("AAPL", date(2014, 5, 8), Decimal("3.2835"), "USD"),
        ("WMI", date(2009, 3, 5), Decimal("0.2746"), "USD"),
        ("WM", date(2012, 12, 4), Decimal("0.325"), "USD"),
    ]


def test_only_the_days_and_symbols_that_are_asked_for_come(usa):
    days = DayRange(date(2010, 1, 1), date(2013, 1, 1))
    assert [row["symbol"] for row in rows(usa, "dividends", days=days)] == ["WM"]
    assert [row["symbol"] for row in rows(usa, "splits", symbols={"WM"})] == []


def test_the_newest_zip_of_files_is_read_too(usa):
    for folder in ("map_files", "factor_files"):
        files = list((usa / folder).glob("*.csv"))
        with zipfile.ZipFile(usa / folder / f"{folder}_20240101.zip", "w") as opened:
            for path in files:
                opened.write(path, path.name)
        with zipfile.ZipFile(usa / folder / f"{folder}_20230101.zip", "w") as opened:
            opened.writestr("old.csv", "nothing")
        loose = {dataset: rows(usa, dataset) for dataset in ("instruments", "splits", "dividends")}
        for path in files:
            path.unlink()
    assert {dataset: rows(usa, dataset) for dataset in loose} == loose


def test_lines_that_say_nothing_go_to_quarantine_and_the_others_stay(usa):
    (usa / "map_files" / "bad.csv").write_text("yesterday,bad,N\n20100104,bad,N\n20501231,bad,N\n")
    (usa / "factor_files" / "bad.csv").write_text(
        "20100104,0,1,5\n20110103,0.9,1,0\n20120103,0.8,1,7\n20501231,1,1,0\n"
    )
    [page] = pages(usa, "instruments")
    assert [text for text, _ in page.unreadable] == ["yesterday,bad,N"]
    [page] = pages(usa, "dividends")
    assert [(text, reason.partition(": ")[2]) for text, reason in page.unreadable] == [
        ("20100104,0,1,5", "a line of a factor file is YYYYMMDD,price factor,split factor,close, with factors above 0"),
        ("20110103,0.9,1,0", "its price factor is larger than the next one: no dividend makes prices rise"),
    ]
    assert "BAD" in page.rows["symbol"].to_pylist()


def test_a_damaged_zip_is_named_after_the_rest_was_delivered(usa):
    (usa / "factor_files" / "factor_files_20240101.zip").write_bytes(b"PK no zip")
    source = open_source("lean", path=str(usa)).fetch(FetchRequest(dataset_named("splits"), ALL_DAYS))
    assert len(next(source).rows) == 2
    with pytest.raises(SourceError, match=r"factor_files_20240101\.zip"):
        next(source)


def test_a_folder_without_such_files_says_what_was_expected(tmp_path):
    with pytest.raises(SourceError, match=r"no factor files there; expected .* equity/usa/factor_files"):
        pages(tmp_path, "dividends")
    with pytest.raises(SourceError, match="there is no such folder"):
        pages(tmp_path / "missing", "splits")
    with pytest.raises(UsageError, match=r"has market_data, .*instruments, splits, dividends, not forecasts"):
        pages(tmp_path, FORECASTS.name)
