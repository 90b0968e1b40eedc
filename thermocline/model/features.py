"""Indicators of daily bars: RSI, moving averages, volatility and beta, adjusted for splits as of each day.

Every indicator of a day is made of the bars of the `REACH` before it and of no others, and its sums are taken in one
order. So it is the same to the last digit wherever a computation began, and a bar that changes, changes the indicators
of its own day and of the `REACH` after it, and no others. docs/guide/features.md has an example.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.model.partition import DayRange, midnight

REACH = timedelta(days=400)
"""How far back a day's indicators look. 253 sessions are 367 days in New York and 382 where there are most holidays."""

RECIPE = "1"
"""To be raised with every change of a formula: what was derived by another recipe is derived anew."""

RSI_BARS = 14
RSI_CHANGES = 252
"""Of how many changes an RSI is made; older ones would move it by less than 0.00001."""
VOLATILITY_RETURNS = 20
BETA_RETURNS = 252

SESSIONS_A_YEAR = 252
SESSIONS_A_YEAR_OF: Mapping[str, int] = {"crypto": 365}
"""Asset classes that trade on other than 252 days a year."""

DERIVED = ("rsi_14", "sma_20", "sma_50", "sma_200", "volatility_20", "beta")
"""The columns of `features` that are computed here; all others are their sources' alone."""

_REACH_DAYS = REACH.days
_FAR = 1 << 20
"""Between one series and the next, in days: more than all that a day can be."""
_PLACES = 10
"""Decimal places of what is no price: far finer than meaningful, and coarse enough to hide the last bits of floats."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Series:
    """Bars of one symbol after another, each in the order of time.

    `at` is the day, with `_FAR` added for each symbol before; `price` is the close in the shares of the symbol's first
    day; `before` counts the bars of the symbol that lie at most `REACH` before each.
    """

    at: Integers
    price: Floats
    before: Integers

    @classmethod
    def of(cls, at: Integers, price: Floats) -> "_Series":
        first = np.searchsorted(at, at - _REACH_DAYS)
        return cls(at, price, np.arange(len(at)) - first)

    def averages(self, bars: int) -> Floats:
        """The mean of the last closes; not a number where there are fewer."""
        return _only(_sums(self.price, bars) / bars, self.before >= bars - 1)

    def returns(self) -> Floats:
        """What one bar gained over the one before it, as a fraction."""
        return _changed(self.price, lambda new, old: new / old - 1.0)


def features_of(
    bars: pa.Table, splits: pa.Table, days: DayRange, *, benchmark: tuple[str, str] = ("equity", "SPY")
) -> pa.Table:
    """The indicators of every bar on those days.

    - `rsi_14`: Wilder's relative strength index (J. W. Wilder, New Concepts in Technical Trading Systems, 1978): the
      averages of the ups and downs of closes begin as means of the first 14 changes and go on as `(13 * average +
      change) / 14`; `100 * ups / (ups + downs)`. Made of the last 252 changes, from 14 on. Null where nothing moved.
    - `sma_20`, `sma_50`, `sma_200`: means of the last closes, in the shares of the bar's own day.
    - `volatility_20`: the sample standard deviation of the last 20 log returns, times the square root of 252 (crypto:
      365).
    - `beta`: covariance over variance of the last 252 returns of bar and benchmark, on days when both have a bar.

    An indicator is null until there are enough bars, and where they would reach back by more than `REACH`.

    Args:
        bars: Daily bars, in any order, one for each `asset_class`, `symbol` and `ts`, with their raw `close`; those of
            `REACH` before the days, of the benchmark too.
        splits: `asset_class`, `symbol`, `ts`, `old_shares` and `new_shares` of every split ever.
        days: Of which days.
        benchmark: The asset class and symbol of what beta is measured against.

    Returns:
        `asset_class`, `symbol` and `ts` as they came, and `DERIVED` as float64.
    """
    bars = bars.select(["asset_class", "symbol", "ts", "close"])
    bars = bars.sort_by([(name, "ascending") for name in ("asset_class", "symbol", "ts")]).combine_chunks()
    keys, numbers = _numbered(bars)
    day = _days(bars)
    shares = _shares(splits, keys, numbers * _FAR + day)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        series = _Series.of(numbers * _FAR + day, pc.cast(bars["close"], pa.float64()).to_numpy() * shares)
        year = np.array([SESSIONS_A_YEAR_OF.get(asset_class, SESSIONS_A_YEAR) for asset_class, _ in keys])
        found = {
            "rsi_14": _rsi(series),
            **{f"sma_{n}": series.averages(n) / shares for n in (20, 50, 200)},
            "volatility_20": _volatility(series) * np.sqrt(year)[numbers],
            "beta": _beta(series, day, numbers, keys, benchmark),
        }
    table = bars.drop_columns(["close"])
    for name, values in found.items():
        exact = values if name.startswith("sma_") else np.round(values, _PLACES)
        table = table.append_column(name, pa.array(exact, mask=~np.isfinite(values)))
    inside = pc.and_(
        pc.greater_equal(bars["ts"], midnight(days.start)),
        pc.less(bars["ts"], midnight(days.end)),
    )
    return table.filter(inside)


def _numbered(bars: pa.Table) -> tuple[list[tuple[str, str]], Integers]:
    """The asset classes and symbols of sorted bars, and for each bar the number of its own."""
    columns = [bars[name].combine_chunks() for name in ("asset_class", "symbol")]
    starts = np.ones(len(bars), dtype=bool)
    if len(bars):
        differs = [np.asarray(pc.not_equal(column[1:], column[:-1])) for column in columns]
        starts[1:] = differs[0] | differs[1]
    keys = zip(*(column.filter(pa.array(starts)).to_pylist() for column in columns), strict=True)
    return list(keys), (np.cumsum(starts) - 1).astype(np.int64)


def _days(table: pa.Table) -> Integers:
    days = pc.cast(pc.cast(table["ts"], pa.timestamp("us")), pa.date32(), safe=False)
    return np.asarray(pc.cast(days, pa.int32()), dtype=np.int64)


def _shares(splits: pa.Table, keys: list[tuple[str, str]], at: Integers) -> Floats:
    """How many shares one share of the symbol's first day has become, by each bar's day."""
    number = {key: index for index, key in enumerate(keys)}
    ratios: dict[int, float] = {}
    for split, day in zip(splits.to_pylist(), _days(splits).tolist(), strict=True):
        index = number.get((split["asset_class"], split["symbol"]))
        if index is not None and split["old_shares"] > 0 and split["new_shares"] > 0:
            ratios[index * _FAR + day] = float(split["new_shares"] / split["old_shares"])
    shares = np.ones(len(at))
    for split_at in sorted(ratios):
        first = np.searchsorted(at, split_at)
        last = np.searchsorted(at, split_at // _FAR * _FAR + _FAR)
        shares[first:last] *= ratios[split_at]
    return shares


# ---------------------------------------------------------------------------------------------------------- indicators


def _rsi(series: _Series) -> Floats:
    change = _changed(series.price, lambda new, old: new - old)
    used = np.minimum(series.before, RSI_CHANGES)
    ups, downs = (_smoothed(np.maximum(each, 0.0), used) for each in (change, -change))
    return _only(100.0 * (ups / (ups + downs)), used >= RSI_BARS)


def _smoothed(values: Floats, used: Integers) -> Floats:
    """Wilder's average of the last `used` values: the mean of the 14 oldest, then `(13 * average + value) / 14`."""
    rest = np.maximum(used - RSI_BARS, 0)
    keep = (RSI_BARS - 1) / RSI_BARS
    seeds = _sums(values, RSI_BARS) / RSI_BARS
    average = seeds[np.maximum(np.arange(len(values)) - rest, 0)] * keep**rest
    for lag in range(int(rest.max(initial=0))):
        weighed = values[: len(values) - lag] * (keep**lag / RSI_BARS)
        average[lag:] += np.where(rest[lag:] > lag, weighed, 0.0)
    return average


def _volatility(series: _Series) -> Floats:
    returns = _changed(series.price, lambda new, old: np.log(new / old))
    mean = _sums(returns, VOLATILITY_RETURNS) / VOLATILITY_RETURNS
    squares = _products(returns, mean, returns, mean, VOLATILITY_RETURNS)
    return _only(np.sqrt(squares / (VOLATILITY_RETURNS - 1)), series.before >= VOLATILITY_RETURNS)


def _beta(
    series: _Series, day: Integers, numbers: Integers, keys: list[tuple[str, str]], benchmark: tuple[str, str]
) -> Floats:
    beta = np.full(len(day), np.nan)
    if benchmark not in keys:
        return beta
    own = numbers == keys.index(benchmark)
    days, prices = day[own], series.price[own]
    match = np.minimum(np.searchsorted(days, day), len(days) - 1)
    both = days[match] == day
    common = _Series.of(series.at[both], series.price[both])
    theirs = _Series(common.at, prices[match[both]], common.before)
    ours, market = common.returns(), theirs.returns()
    mean, market_mean = (_sums(each, BETA_RETURNS) / BETA_RETURNS for each in (ours, market))
    covariance = _products(ours, mean, market, market_mean, BETA_RETURNS)
    variance = _products(market, market_mean, market, market_mean, BETA_RETURNS)
    beta[both] = _only(covariance / variance, common.before >= BETA_RETURNS)
    return beta


# ---------------------------------------------------------------------------------------------------------- arithmetic
# Windows are summed value by value in one order, each step over all bars at once. A running sum would be quicker, but
# its last digits depend on all that came before the window.


def _changed(prices: Floats, change: "np.ufunc | object") -> Floats:
    changes = np.full(len(prices), np.nan)
    if len(prices) > 1:
        changes[1:] = change(prices[1:], prices[:-1])  # type: ignore[operator]
    return changes


def _sums(values: Floats, count: int) -> Floats:
    """The sum of each value and the `count - 1` before it."""
    sums = values.copy()
    for lag in range(1, min(count, len(values))):
        sums[lag:] += values[:-lag]
    return sums


def _products(one: Floats, one_mean: Floats, other: Floats, other_mean: Floats, count: int) -> Floats:
    """The sum of products of the last deviations from both means."""
    sums = (one - one_mean) * (other - other_mean)
    for lag in range(1, min(count, len(one))):
        sums[lag:] += (one[:-lag] - one_mean[lag:]) * (other[:-lag] - other_mean[lag:])
    return sums


def _only(values: Floats, enough: Mask) -> Floats:
    return np.where(enough, values, np.nan)
