"""The sample: exactly the prices of the package's CSV."""

import csv
import gzip
import importlib.resources
import sys
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from thermocline.errors import SourceError, UsageError
from thermocline.model.conform import conform
from thermocline.model.datasets import MARKET_DATA, NEWS, dataset_named
from thermocline.model.partition import ALL_DAYS, DayRange
from thermocline.ports import FetchRequest
from thermocline.sources.open import open_source

NOW = datetime(2024, 6, 1, tzinfo=UTC)


def rows(days=ALL_DAYS, symbols=(), intervals=()):
    found = []
    request = FetchRequest(MARKET_DATA, days, frozenset(symbols), frozenset(intervals))
    for page in open_source("sample").fetch(request):
        conformed = conform(page.rows, MARKET_DATA, source="sample", ingested_at=NOW, origin=page.origin, days=days)
        assert conformed.rejected == page.unreadable == ()
        found += conformed.rows.to_pylist()
    return found


def test_every_row_of_the_package_comes_with_its_exact_prices():
    packed = importlib.resources.files("bokeh_sampledata") / "_data" / "stocks.csv.gz"
    with packed.open("rb") as raw, gzip.open(raw, "rt", newline="") as opened:
        expected = {
            (row["Ticker"], date.fromisoformat(row["Date"])): [
                Decimal(row[name]) for name in ("Open", "High", "Low", "Close")
            ]
            for row in csv.DictReader(opened)
        }
    found = {
        (row["symbol"], row["ts"].date()): [row[name] for name in ("open", "high", "low", "close")] for row in rows()
    }
    assert found == expected
    assert len(found) == 12_154


def test_a_row_is_an_equity_s_daily_bar():
    (row,) = rows(DayRange(date(2000, 3, 1), date(2000, 3, 2)), symbols={"AAPL"})
    assert (row["asset_class"], row["interval"], row["ts"]) == ("equity", "1day", datetime(2000, 3, 1, tzinfo=UTC))
    assert (row["source"], row["volume"], row["close"]) == ("sample", 9616100.0, Decimal("130.31"))


def test_only_what_is_asked_for_is_read():
    assert {row["symbol"] for row in rows(symbols={"FB", "XYZ"})} == {"FB"}
    assert rows(intervals={"1min"}) == []


def test_its_splits_come_with_it():
    splits = dataset_named("splits")
    [page] = open_source("sample").fetch(FetchRequest(splits, ALL_DAYS, frozenset({"AAPL", "IBM"})))
    conformed = conform(page.rows, splits, source="sample", ingested_at=NOW, origin=page.origin)
    found = [
        (row["symbol"], row["ts"].date(), row["old_shares"], row["new_shares"]) for row in conformed.rows.to_pylist()
    ]
    assert found == [("AAPL", date(2000, 6, 21), 1, 2), ("AAPL", date(2005, 2, 28), 1, 2)]
    closes = {row["ts"].date(): row["close"] for row in rows(symbols={"AAPL"})}
    for before, day in ((date(2000, 6, 20), date(2000, 6, 21)), (date(2005, 2, 25), date(2005, 2, 28))):
        assert abs(closes[day] / closes[before] - Decimal("0.5")) < Decimal("0.06")


def test_other_datasets_are_refused():
    with pytest.raises(UsageError, match="market_data and splits, not news"):
        list(open_source("sample").fetch(FetchRequest(NEWS, ALL_DAYS)))


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "bokeh_sampledata", None)
    with pytest.raises(SourceError, match=r"pip install 'thermocline\[sample\]'"):
        rows()
