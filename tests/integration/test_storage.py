"""One layer for programs: the same five calls on every storage."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

import thermocline
from thermocline.settings import load_settings

STORAGES = ("parquet", "postgres", "hybrid")


@pytest.fixture(params=STORAGES)
def opened(request, home, hot_url):
    settings = load_settings(home, environ={"THERMOCLINE_HOT_URL": hot_url})
    with thermocline.open(settings=settings, storage=request.param) as opened:
        yield opened


def bars(*days: str, symbols: tuple[str, ...] = ("AAPL", "IBM"), price: str = "69.13") -> pa.Table:
    rows = [(symbol, day) for day in days for symbol in symbols]
    return pa.table(
        {
            "asset_class": ["equity"] * len(rows),
            "symbol": [symbol for symbol, _ in rows],
            "interval": ["1day"] * len(rows),
            "ts": [day for _, day in rows],
            **{name: [price] * len(rows) for name in ("open", "high", "low", "close")},
        }
    )


def closes(answer) -> dict[tuple[str, date], Decimal]:
    rows = answer.to_arrow().to_pylist()
    found = {(row["symbol"], row["ts"].date()): row["close"] for row in rows}
    assert len(found) == len(rows), "a row came twice"
    return found


def test_saved_rows_come_back_exactly(opened):
    assert opened.save("market_data", bars("2024-01-15", "2024-01-16")) == 4
    assert closes(opened.load("market_data")) == {
        (symbol, date(2024, 1, day)): Decimal("69.13000000") for symbol in ("AAPL", "IBM") for day in (15, 16)
    }


def test_saving_again_changes_nothing_and_newer_values_win(opened):
    opened.save("market_data", bars("2024-01-15"))
    opened.save("market_data", bars("2024-01-15"))
    opened.save("market_data", bars("2024-01-15", symbols=("IBM",), price="70"))
    assert closes(opened.load("market_data")) == {
        ("AAPL", date(2024, 1, 15)): Decimal("69.13000000"),
        ("IBM", date(2024, 1, 15)): Decimal("70.00000000"),
    }


def test_rows_are_found_by_symbol_interval_and_range(opened):
    opened.save("market_data", bars("2024-01-15", "2024-01-16"))
    asked = {"symbols": ["AAPL"], "interval": "1day", "start": "2024-01-16"}
    assert list(closes(opened.load("market_data", **asked))) == [("AAPL", date(2024, 1, 16))]
    assert opened.exists("market_data", **asked)
    assert not opened.exists("market_data", symbols=["MSFT"])
    assert not opened.exists("market_data", end="2024-01-15")


def test_the_date_range_is_that_of_the_symbol(opened):
    opened.save("market_data", bars("2024-01-15", "2024-01-16", symbols=("AAPL",)))
    opened.save("market_data", bars("2024-01-17", symbols=("IBM",)))
    first, last = (datetime(2024, 1, day, tzinfo=UTC) for day in (15, 16))
    assert opened.get_date_range("market_data", symbols=["AAPL"]) == (first, last)
    assert opened.get_date_range("market_data", symbols=["MSFT"]) is None


def test_deleted_rows_are_gone_and_no_others(opened):
    opened.save("market_data", bars("2024-01-15", "2024-01-16"))
    assert opened.delete("market_data", symbols=["IBM"], start="2024-01-16", end="2024-01-17") == 1
    assert opened.delete("market_data", start="2024-01-15", end="2024-01-16") == 2
    assert list(closes(opened.load("market_data"))) == [("AAPL", date(2024, 1, 16))]
    assert opened.delete("market_data", symbols=["IBM"]) == 0


def test_a_deleted_row_can_be_saved_again(opened):
    opened.save("market_data", bars("2024-01-15"))
    opened.delete("market_data")
    assert closes(opened.load("market_data")) == {}
    opened.save("market_data", bars("2024-01-15", symbols=("IBM",)))
    assert list(closes(opened.load("market_data"))) == [("IBM", date(2024, 1, 15))]


def test_what_one_storage_saved_a_query_over_both_tiers_has_once(opened):
    opened.save("market_data", bars("2024-01-15"))
    opened.load_hot(as_of="2024-01-20")
    assert len(closes(opened.query("market_data"))) == 2
    opened.rotate(as_of="2024-03-20")
    assert len(closes(opened.query("market_data"))) == 2
