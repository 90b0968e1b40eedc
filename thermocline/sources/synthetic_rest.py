"""Made-up rows of the datasets that are no bars. Plausible in kind and range, of no meaning beyond that."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.sources.synthetic_bars import day_of, dollars, grid, names, stamps
from thermocline.sources.synthetic_world import DAY_SECONDS, Floats, Integers, Keys, World

Maker = Callable[[World, list[str], Integers, str], pa.Table]

_EXPIRIES = 3
_STRIKES = 11
_CONTRACTS = _EXPIRIES * _STRIKES * 2
_STRIKE_CENTS = 500
_HORIZONS_DAYS = (1, 5, 20)
_ARTICLES = 4
_PLATFORMS = ("reddit", "stocktwits", "x")
_HOURS = 24
_FRIDAY = 4
_SHARES_OVER_100 = 10_000_000  # a billion shares, for prices in cents
_THIRD_WEEK = 15


def options_data(world: World, symbols: list[str], days: Integers, _: str) -> pa.Table:
    """A chain a day for each symbol: three monthly expirations, eleven strikes around the price, calls and puts."""
    each, codes, seconds = _each_of(world, symbols, days, _CONTRACTS)
    number = np.arange(len(seconds)) % _CONTRACTS
    spot = world.cents(each, seconds)
    offset = number // 2 % _STRIKES - _STRIKES // 2
    strike = np.maximum(spot // _STRIKE_CENTS + offset, 1) * _STRIKE_CENTS
    expiry = number // (2 * _STRIKES)
    expirations = {int(day): monthly_expirations(day_of(int(day))) for day in np.unique(seconds)}
    expiration = [expirations[day][which] for day, which in zip(seconds.tolist(), expiry.tolist(), strict=True)]
    days_left = np.array([each_date.toordinal() for each_date in expiration]) - (seconds // DAY_SECONDS + 719_163)
    call = number % 2 == 0
    volatility = np.round(0.15 + 0.4 * world.chance(each, seconds + number, 30), 4)
    years = days_left / 365
    spread = volatility * np.sqrt(years)
    distance = np.log(spot / strike) / spread
    density = np.exp(-0.5 * distance**2) / np.sqrt(2 * np.pi)
    delta_call = 1 / (1 + np.exp(-1.702 * distance))  # near enough to the normal's integral
    intrinsic = np.maximum(np.where(call, spot - strike, strike - spot), 0)
    middle = intrinsic + np.rint(spot * spread * density).astype(np.int64) + 3
    right = np.where(call, "C", "P")
    contracts = [
        f"{symbols[code]}{day:%y%m%d}{letter}{cents * 10:08d}"
        for code, day, letter, cents in zip(codes.tolist(), expiration, right, strike.tolist(), strict=True)
    ]
    return pa.table(
        {
            "contract_symbol": pa.array(contracts),
            "underlying": names(symbols, codes),
            "ts": stamps(seconds),
            "expiration": pa.array(expiration),
            "strike": dollars(strike),
            "option_type": pa.array(np.where(call, "call", "put")),
            "bid": dollars(middle - 2),
            "ask": dollars(middle + 2),
            "last": dollars(middle),
            "underlying_price": dollars(spot),
            "volume": pa.array(world.choice(each, seconds + number, 31, 2_000).astype(np.float64)),
            "open_interest": pa.array(world.choice(each, seconds + number, 32, 20_000).astype(np.float64)),
            "implied_volatility": pa.array(volatility),
            "delta": pa.array(_rounded(np.where(call, delta_call, delta_call - 1))),
            "gamma": pa.array(_rounded(100 * density / (spot * spread))),
            "theta": pa.array(_rounded(-spot * density * volatility / (200 * np.sqrt(years) * 365))),
            "vega": pa.array(_rounded(spot * density * np.sqrt(years) / 10_000)),
            "rho": pa.array(_rounded(np.where(call, delta_call, delta_call - 1) * strike * years / 10_000)),
        }
    )


def forecasts(world: World, symbols: list[str], days: Integers, _: str) -> pa.Table:
    """A forecast a day for each symbol and horizon."""
    each, codes, seconds = _each_of(world, symbols, days, len(_HORIZONS_DAYS))
    horizon = np.array(_HORIZONS_DAYS)[np.arange(len(seconds)) % len(_HORIZONS_DAYS)]
    price = world.cents(each, seconds + horizon * DAY_SECONDS)
    width = np.maximum(price * horizon // 200, 1)
    return pa.table(
        {
            "symbol": names(symbols, codes),
            "ts": stamps(seconds),
            "model_name": pa.repeat("synthetic", len(seconds)),
            "model_version": pa.repeat("1", len(seconds)),
            "horizon_days": pa.array(horizon),
            "predicted_price": dollars(price),
            "confidence_low": dollars(np.maximum(price - width, 1)),
            "confidence_high": dollars(price + width),
            "confidence_score": pa.array(_rounded(world.chance(each, seconds + horizon, 40))),
        }
    )


def news(world: World, symbols: list[str], days: Integers, _: str) -> pa.Table:
    """Four articles a day for each symbol."""
    each, codes, midnights = _each_of(world, symbols, days, _ARTICLES)
    number = np.arange(len(midnights)) % _ARTICLES
    seconds = midnights + world.choice(each, midnights + number, 50, DAY_SECONDS)
    symbol = names(symbols, codes).dictionary_decode()
    distinct, which = np.unique(midnights, return_inverse=True)
    day = names([f"{day_of(each):%Y%m%d}" for each in distinct.tolist()], which).dictionary_decode()
    identity = pc.binary_join_element_wise(symbol, day, pa.array(number).cast(pa.string()), "-")
    verb = names(["beats", "misses", "meets", "withdraws"], world.choice(each, midnights + number, 51, 4))
    return pa.table(
        {
            "article_id": identity,
            "symbol": symbol,
            "ts": stamps(seconds),
            "headline": pc.binary_join_element_wise(symbol, verb.dictionary_decode(), "expectations", " "),
            "publisher": pa.repeat("synthetic", len(seconds)),
            "category": pa.repeat("earnings", len(seconds)),
            "sentiment_score": pa.array(_rounded(2 * world.chance(each, midnights + number, 52) - 1)),
            "relevance_score": pa.array(_rounded(world.chance(each, midnights + number, 53))),
        }
    )


def features(world: World, symbols: list[str], days: Integers, asset_class: str) -> pa.Table:
    """A row a day for each symbol."""
    each, codes, seconds = _each_of(world, symbols, days, 1)
    price = world.cents(each, seconds)
    averages = {
        # The price half a window ago stands in for the average of the window.
        f"sma_{window}": dollars(world.cents(each, seconds - window * DAY_SECONDS // 2))
        for window in (20, 50, 200)
    }
    return pa.table(
        {
            "asset_class": pa.repeat(asset_class, len(seconds)),
            "symbol": names(symbols, codes),
            "ts": stamps(seconds),
            "rsi_14": pa.array(_rounded(100 * world.chance(each, seconds, 60))),
            **averages,
            "volatility_20": pa.array(_rounded(0.1 + 0.5 * world.chance(each, seconds, 61))),
            "beta": pa.array(_rounded(0.5 + world.chance(each, seconds, 62))),
            "market_cap": pa.array(price * _SHARES_OVER_100).cast(pa.decimal128(28, 8)),
            "pe_ratio": pa.array(_rounded(5 + 40 * world.chance(each, seconds, 63))),
        }
    )


def social_sentiment(world: World, symbols: list[str], days: Integers, _: str) -> pa.Table:
    """A row an hour for each symbol and platform."""
    each, codes, midnights = _each_of(world, symbols, days, _HOURS * len(_PLATFORMS))
    number = np.arange(len(midnights)) % (_HOURS * len(_PLATFORMS))
    platform = number // _HOURS
    seconds = midnights + number % _HOURS * 3_600
    positive, negative, neutral = (world.choice(each, seconds + platform, 70 + i, 500) for i in range(3))
    mentions = positive + negative + neutral
    return pa.table(
        {
            "platform": names(list(_PLATFORMS), platform),
            "symbol": names(symbols, codes),
            "ts": stamps(seconds),
            "sentiment_score": pa.array(_rounded((positive - negative) / np.maximum(mentions, 1))),
            "mention_count": pa.array(mentions),
            "positive_count": pa.array(positive),
            "negative_count": pa.array(negative),
            "neutral_count": pa.array(neutral),
            "engagement_count": pa.array(mentions * (1 + world.choice(each, seconds + platform, 73, 20))),
        }
    )


MAKERS: Mapping[str, tuple[Maker, int]] = {
    "options_data": (options_data, _CONTRACTS),
    "forecasts": (forecasts, len(_HORIZONS_DAYS)),
    "news": (news, _ARTICLES),
    "features": (features, 1),
    "social_sentiment": (social_sentiment, _HOURS * len(_PLATFORMS)),
}
"""For each dataset, what makes its rows, and how many a symbol has a day."""


def monthly_expirations(day: date) -> list[date]:
    """The next third Fridays after a day."""
    found: list[date] = []
    first = day.replace(day=1)
    while len(found) < _EXPIRIES:
        fifteenth = first.replace(day=_THIRD_WEEK)
        friday = fifteenth + timedelta(days=(_FRIDAY - fifteenth.weekday()) % 7)
        if friday > day:
            found.append(friday)
        first = (first + timedelta(days=31)).replace(day=1)
    return found


def _each_of(world: World, symbols: list[str], days: Integers, count: int) -> tuple[Keys, Integers, Integers]:
    keys, codes, seconds = grid(world.keys(symbols), days)
    return np.repeat(keys, count), np.repeat(codes, count), np.repeat(seconds, count)


def _rounded(values: Floats) -> Floats:
    return np.round(values, 4)
