"""Columns of files, their names, and the symbols that they or a file's name give."""

import gzip
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from read_files import DAILY, MINUTES, NOW, file, pages, rows, times

from thermocline.errors import SettingsError, SourceError
from thermocline.model.conform import conform
from thermocline.model.datasets import MARKET_DATA


def test_columns_and_constants_are_named_by_options(tmp_path):
    text = "Tag;Letzter;o;h;l;Menge\n2024-01-02;1.5;1;2;1;100\n"
    columns = {"ts": "Tag", "close": "letzter", "volume": "Menge"}
    constants = {"symbol": "SAP", "asset_class": "index", "interval": "1day", "trade_count": 7}
    (row,) = rows(file(tmp_path, text), columns=columns, constants=constants)
    assert (row["symbol"], row["asset_class"], row["close"], row["volume"]) == ("SAP", "index", Decimal("1.5"), 100.0)
    assert row["trade_count"] == 7


def test_a_mapping_goes_before_a_column_of_the_same_name(tmp_path):
    text = "date,open,high,low,close,Adj Close\n2024-01-02,1,2,1,2,1.5\n"
    assert rows(file(tmp_path, text), columns={"close": "Adj Close"})[0]["close"] == Decimal("1.5")
    assert rows(file(tmp_path, text))[0]["close"] == Decimal(2)


def test_columns_that_nobody_asked_for_are_handed_on_to_be_listed(tmp_path):
    (page,) = pages(file(tmp_path, "date,open,high,low,close,Adj Close\n2024-01-02,1,2,1,2,1.5\n"))
    assert conform(page.rows, MARKET_DATA, source="s", ingested_at=NOW, origin="o").ignored_columns == ("Adj Close",)


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("t,o,h,l,c,v,vw,n", "1704153600000,1,2,1,2,10,1.5,3"),
        ("Timestamp,OPEN,HIGH,LOW,CLOSE,VOL", "2024-01-02,1,2,1,2,10"),
        ("<DATE>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>", "20240102,1,2,1,2,10"),
        (",Open,High,Low,Close,Volume", "2024-01-02,1,2,1,2,10"),
        ("Open Time,Open,High,Low,Close,Volume", "1704153600000,1,2,1,2,10"),
    ],
)
def test_columns_are_known_by_their_usual_names(tmp_path, header, line):
    (row,) = rows(file(tmp_path, f"{header}\n{line}\n"))
    assert (row["ts"], row["close"], row["volume"]) == (datetime(2024, 1, 2, tzinfo=UTC), Decimal(2), 10.0)


def test_a_ticker_goes_before_a_name(tmp_path):
    text = "Name,Ticker,date,open,high,low,close\nApple Inc.,AAPL,2024-01-02,1,2,1,2\n"
    assert rows(file(tmp_path, text))[0]["symbol"] == "AAPL"


def test_a_date_and_a_time_of_day_in_two_columns_are_one_time(tmp_path):
    text = "Date,Time,open,high,low,close\n2024-01-02,09:30:00,1,2,1,2\n2024-01-02,09:31:00,1,2,1,2\n"
    found = times(file(tmp_path, text), constants={"interval": "1min"}, timezone="America/New_York")
    assert found == [datetime(2024, 1, 2, 14, 30 + minute, tzinfo=UTC) for minute in (0, 1)]


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("AAPL_data.csv", "AAPL"),
        ("BTC%2FUSDT_1m.csv", "BTC/USDT"),
        ("BRK.B_data.csv", "BRK.B"),
        ("BRK.B.csv", "BRK.B"),
        ("aapl.csv.gz", "AAPL"),
    ],
)
def test_a_file_without_a_symbol_is_that_of_its_name(tmp_path, name, symbol):
    text = DAILY.replace(",Name", "").replace(",AAPL", "").encode()
    path = file(tmp_path, gzip.compress(text) if name.endswith("gz") else text, name)
    assert {row["symbol"] for row in rows(path)} == {symbol}


def test_a_pattern_finds_the_symbol_in_a_file_s_name(tmp_path):
    path = file(tmp_path, DAILY.replace(",Name", "").replace(",AAPL", ""), "daily-2012-XYZ.csv")
    assert rows(path, symbol_from=r"-(?P<symbol>[A-Z]+)\.")[0]["symbol"] == "XYZ"


def test_files_of_symbols_that_nobody_asked_for_are_passed_over(tmp_path):
    for name in ("AAA.csv", "BBB.csv"):
        file(tmp_path, DAILY.replace(",Name", "").replace(",AAPL", ""), name)
    (page,) = pages(tmp_path, symbols={"BBB"})
    assert page.origin.endswith("BBB.csv")


def test_wrong_names_in_options_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(SettingsError, match="has no column 'opn'"):
        pages(tmp_path / "missing", columns={"opn": "Open"})
    with pytest.raises(SettingsError, match="can't be both"):
        pages(tmp_path / "missing", columns={"open": "Open"}, constants={"open": "1"})
    with pytest.raises(SourceError, match="it has no column 'Opening'"):
        pages(file(tmp_path, DAILY), columns={"open": "Opening"})


def test_files_that_differ_in_case_alone_are_of_two_symbols(tmp_path):
    for name in ("con.csv", "CON.csv", "aapl.csv"):
        file(tmp_path, MINUTES, name)
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system does not tell upper from lower case")
    found = {row["symbol"] for row in rows(tmp_path, constants={"interval": "1min"})}
    assert found == {"con", "CON", "AAPL"}


def test_symbols_of_a_column_stay_as_they_are_written(tmp_path):
    symbols = [
        "brk.b",
        "BRK.B",
        "BTC/USDT",
        "BTC/USDT:USDT",
        "^GSPC",
        "CON",
        "con",
        ".x",
        "a b",
        "100%",
        "日本",
        "NA",
        "X" * 300,
    ]
    text = "symbol,date,open,high,low,close\n" + "".join(f"{symbol},2024-01-15,1,1,1,1\n" for symbol in symbols)
    assert [row["symbol"] for row in rows(file(tmp_path, text))] == symbols
