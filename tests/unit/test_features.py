"""Indicators against values that others computed, and what they depend on."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from thermocline.model.datasets import MARKET_DATA, SPLITS
from thermocline.model.derivation import digests
from thermocline.model.features import DERIVED, REACH, features_of
from thermocline.model.partition import ALL_DAYS, DayRange, Partition, midnight

FIRST = date(2020, 1, 1)
# Closes of QQQQ from December 2009 on, and the RSI that StockCharts computed of them: ChartSchool, "Relative Strength
# Index (RSI)", the spreadsheet.
QQQQ = """
44.3389 44.0902 44.1497 43.6124 44.3278 44.8264 45.0955 45.4245 45.8433 46.0826 45.8931
46.0328 45.6140 46.2820 46.2820 46.0028 46.0328 46.4116 46.2222 45.6439 46.2122 46.2521
45.7137 46.4515 45.7835 45.3548 44.0288 44.1783 44.2181 44.5672 43.4205 42.6628 43.1314
"""
RSI = """70.53 66.32 66.55 69.41 66.36 57.97 62.93 63.26 56.06 62.38 54.71 50.42 39.99 41.46 41.87 45.46 37.30 33.08
37.77"""


def closes_of(*series, first=FIRST, step=1):
    """Daily bars: (symbol, closes), a bar each `step` days; None where a symbol has none."""
    made = [
        {
            "asset_class": asset_class,
            "symbol": symbol,
            "ts": midnight(first + timedelta(days=step * number)),
            "close": close,
        }
        for asset_class, symbol, closes in series
        for number, close in enumerate(closes)
        if close is not None
    ]
    schema = pa.schema([MARKET_DATA.arrow_schema.field(name) for name in ("asset_class", "symbol", "ts", "close")])
    return pa.Table.from_pylist(made, schema)


def exact(values):
    return [None if value is None else Decimal(f"{value:.4f}") for value in values]


def walk(count, seed, scale=0.02):
    return exact(100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, scale, count))))


def split(symbol, day, old, new):
    row = {
        "asset_class": "equity",
        "symbol": symbol,
        "ts": midnight(day),
        "old_shares": Decimal(old),
        "new_shares": Decimal(new),
        "source": "made",
        "ingested_at": datetime.now(UTC),
    }
    return pa.Table.from_pylist([row], SPLITS.arrow_schema)


NO_SPLITS = SPLITS.arrow_schema.empty_table()


def column(table, name, symbol):
    rows = table.filter(pc.equal(table["symbol"], symbol))
    return rows[name].to_numpy(zero_copy_only=False)


def test_the_rsi_is_that_of_a_published_table():
    bars = closes_of(("equity", "QQQQ", [Decimal(text) for text in QQQQ.split()]))
    found = features_of(bars, NO_SPLITS, ALL_DAYS)["rsi_14"].to_pylist()
    assert found[:14] == [None] * 14
    assert [f"{value:.2f}" for value in found[14:]] == RSI.split()


def test_an_rsi_is_a_hundred_where_all_rose_and_null_where_nothing_moved():
    bars = closes_of(("equity", "UP", exact(range(1, 21))), ("equity", "FLAT", exact([5] * 20)))
    found = features_of(bars, NO_SPLITS, ALL_DAYS)
    assert column(found, "rsi_14", "UP")[14:].tolist() == [100.0] * 6
    assert np.isnan(column(found, "rsi_14", "FLAT")).all()


def test_averages_volatility_and_beta_are_those_of_pandas():
    ours, market = walk(330, 1), walk(330, 2, 0.01)
    market[100] = None  # a session on which the benchmark has no bar
    found = features_of(closes_of(("equity", "AAPL", ours), ("equity", "SPY", market)), NO_SPLITS, ALL_DAYS)
    close = pd.Series([float(value) for value in ours])
    for bars in (20, 50, 200):
        expected = close.rolling(bars).mean().to_numpy()
        np.testing.assert_allclose(column(found, f"sma_{bars}", "AAPL"), expected, rtol=1e-13)
    deviation = np.log(close / close.shift()).rolling(20).std() * 252**0.5
    np.testing.assert_allclose(column(found, "volatility_20", "AAPL"), deviation.to_numpy(), atol=1e-9)
    pair = pd.DataFrame({"ours": close, "market": [None if v is None else float(v) for v in market]}).astype(float)
    returns = pair.dropna().pct_change()
    beta = returns["ours"].rolling(252).cov(returns["market"]) / returns["market"].rolling(252).var()
    np.testing.assert_allclose(column(found, "beta", "AAPL"), beta.reindex(pair.index).to_numpy(), atol=1e-9)
    assert np.isnan(column(found, "beta", "AAPL")[:253]).all()
    assert column(found, "beta", "SPY")[-1] == 1.0


def test_wilders_average_is_kept_to_where_its_past_no_longer_counts():
    closes = walk(600, 3)
    change = pd.Series([float(value) for value in closes]).diff()

    def smoothed(values):
        average = [values[1:15].mean()]
        for value in values[15:]:
            average.append((13 * average[-1] + value) / 14)
        return np.array(average)

    ups, downs = smoothed(change.clip(lower=0)), smoothed(-change.clip(upper=0))
    found = column(features_of(closes_of(("equity", "AAPL", closes)), NO_SPLITS, ALL_DAYS), "rsi_14", "AAPL")
    assert np.abs(found[14:] - 100 * ups / (ups + downs)).max() < 1e-5


def test_a_split_makes_no_jump_and_averages_are_in_the_shares_of_their_day():
    whole = walk(60, 4)
    day = FIRST + timedelta(days=30)
    raw = whole[:30] + [value / 4 for value in whole[30:]]
    plain = features_of(closes_of(("equity", "AAPL", whole)), NO_SPLITS, ALL_DAYS)
    found = features_of(closes_of(("equity", "AAPL", raw)), split("AAPL", day, 1, 4), ALL_DAYS)
    for name in ("rsi_14", "volatility_20"):
        np.testing.assert_allclose(column(found, name, "AAPL"), column(plain, name, "AAPL"), atol=1e-8)
    shares = np.where(np.arange(60) < 30, 1, 4)
    np.testing.assert_allclose(column(found, "sma_20", "AAPL") * shares, column(plain, "sma_20", "AAPL"), rtol=1e-12)


def test_a_value_is_the_same_to_the_last_digit_wherever_the_computation_began():
    bars = closes_of(*(("equity", name, walk(900, seed)) for seed, name in enumerate(["AAPL", "MSFT", "SPY"])))
    splits = pa.concat_tables([split("AAPL", FIRST, 3, 2), split("AAPL", FIRST + timedelta(days=700), 1, 3)])
    whole = features_of(bars, splits, ALL_DAYS)
    for offset, length in ((405, 1), (650, 77), (899, 1)):
        days = DayRange(FIRST + timedelta(days=offset), FIRST + timedelta(days=offset + length))
        read = bars.filter(pc.greater_equal(bars["ts"], midnight(days.start) - REACH))
        ts = whole["ts"]
        expected = whole.filter(pc.and_(pc.greater_equal(ts, midnight(days.start)), pc.less(ts, midnight(days.end))))
        assert features_of(read, splits, days).equals(expected)
        assert expected["beta"].null_count == 0


def test_a_window_that_would_reach_too_far_back_is_not_filled():
    bars = closes_of(("equity", "RARE", walk(60, 5)), step=30)
    found = features_of(bars, NO_SPLITS, ALL_DAYS)
    assert found["sma_20"].null_count == found["volatility_20"].null_count == found["rsi_14"].null_count == 60


def test_crypto_has_a_year_of_365_days_and_no_beta_without_a_benchmark():
    closes = walk(30, 6)
    found = features_of(closes_of(("crypto", "X", closes), ("equity", "X", closes)), NO_SPLITS, ALL_DAYS)
    crypto, equity = found["volatility_20"].to_numpy()[[29, 59]]
    assert crypto / equity == pytest.approx((365 / 252) ** 0.5)
    assert found["beta"].null_count == 60


def test_without_bars_there_is_nothing():
    found = features_of(closes_of(), NO_SPLITS, ALL_DAYS)
    assert (len(found), found.column_names) == (0, ["asset_class", "symbol", "ts", *DERIVED])


def test_a_day_is_due_when_a_bar_of_its_reach_changes_and_no_other_day_is():
    days = [FIRST + timedelta(days=number) for number in range(1200)]
    bars = {Partition("market_data", "1day", day): "a" for day in days}
    before = digests([bars], days, reach=REACH, recipe="1")
    changed = days[500]
    after = digests([bars | {Partition("market_data", "1day", changed): "b"}], days, reach=REACH, recipe="1")
    assert [day for day in days if before[day] != after[day]] == days[500:901]
    assert not set(before.values()) & set(digests([bars], days, reach=REACH, recipe="2").values())
