"""Of two rows of one key the one that was accepted later is what readers get, by whichever way either came."""

from datetime import date

import pyarrow as pa
import pytest

import thermocline
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS
from thermocline.settings import load_settings

DAY, SOON, LATER = date(2024, 1, 15), date(2024, 1, 16), date(2024, 6, 1)


def bars(close: str, *symbols: str) -> pa.Table:
    return pa.table(
        {
            "asset_class": ["equity"] * len(symbols),
            "symbol": symbols,
            "interval": ["1day"] * len(symbols),
            "ts": pa.array([DAY] * len(symbols), pa.date32()),
            **{name: [close] * len(symbols) for name in ("open", "high", "low", "close")},
        }
    )


@pytest.fixture
def tc(new_database, tmp_path):
    settings = load_settings(tmp_path, environ={"THERMOCLINE_HOT_URL": new_database("embedded")})
    with thermocline.open(settings=settings) as tc:
        yield tc


def closes(tc) -> dict[str, str]:
    return {row["symbol"]: f"{row['close']:f}"[:2] for row in tc.query("market_data").to_arrow().to_pylist()}


def versions(tc) -> list[int]:
    return [vintage.receipt.version for vintage in tc.hot.live(MARKET_DATA, ALL_DAYS)]


def test_a_source_that_repeats_what_the_lake_says_goes_over_late_rows_in_between(tc):
    tc.save("market_data", bars("10", "AAPL", "IBM"), as_of=LATER)
    tc.ingest("market_data", bars("20", "AAPL"), as_of=LATER)
    assert closes(tc) == {"AAPL": "20", "IBM": "10"}
    tc.save("market_data", bars("10", "AAPL"), as_of=LATER)
    assert closes(tc) == {"AAPL": "10", "IBM": "10"}
    assert tc.rotate(as_of=LATER).failed == []
    assert closes(tc) == {"AAPL": "10", "IBM": "10"}


def test_a_source_that_repeats_what_the_lake_says_goes_over_hot_rows_in_between(tc):
    tc.save("market_data", bars("10", "AAPL", "IBM"), as_of=SOON)
    tc.load_hot(as_of=SOON)
    tc.ingest("market_data", bars("20", "AAPL"), as_of=SOON)
    assert closes(tc) == {"AAPL": "20", "IBM": "10"}
    tc.save("market_data", bars("10", "AAPL"), as_of=SOON)
    assert closes(tc) == {"AAPL": "10", "IBM": "10"}
    assert tc.rotate(as_of=LATER).failed == []
    assert closes(tc) == {"AAPL": "10", "IBM": "10"}


def test_a_source_that_says_nothing_new_writes_nothing_though_there_are_late_rows(tc):
    tc.save("market_data", bars("10", "AAPL", "IBM"), as_of=LATER)
    tc.ingest("market_data", bars("20", "MSFT"), as_of=LATER)
    for _ in range(2):
        tc.save("market_data", bars("10", "AAPL"), as_of=LATER)
        assert versions(tc) == [1]
    assert closes(tc) == {"AAPL": "10", "IBM": "10", "MSFT": "20"}
