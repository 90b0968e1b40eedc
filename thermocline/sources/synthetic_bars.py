"""Made-up bars."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from thermocline.errors import UsageError
from thermocline.model.parsing import from_scaled
from thermocline.model.parsing.times import INSTANT
from thermocline.model.partition import parse_interval
from thermocline.sources.synthetic_world import DAY_SECONDS, Integers, Keys, World

Session = Literal["24h", "us"]

_UNIT_SECONDS = {"sec": 1, "min": 60, "hour": 3_600, "day": DAY_SECONDS}
_NEW_YORK = ZoneInfo("America/New_York")
_OPENS, _CLOSES = time(9, 30), time(16)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_SATURDAY = 5
_MICROSECONDS = 1_000_000


def seconds_of(interval: str) -> int:
    """How long an interval is.

    Raises:
        UsageError: It is not made of seconds, minutes, hours or days.
    """
    unit = parse_interval(interval).lstrip("0123456789")
    if unit not in _UNIT_SECONDS:
        msg = f"synthetic makes no {interval} bars; ask for seconds, minutes, hours or days, such as 1min"
        raise UsageError(msg)
    return int(interval.removesuffix(unit)) * _UNIT_SECONDS[unit]


def opens_of(day: date, step: int, session: Session) -> Integers:
    """When the bars of a UTC day open, in seconds since 1970. The US session is that of weekdays, holidays or not."""
    number = day.toordinal() - _EPOCH_DAY
    midnight = number * DAY_SECONDS
    none = np.array([], dtype=np.int64)
    if session == "us" and day.weekday() >= _SATURDAY:
        return none
    if step >= DAY_SECONDS:
        return np.array([midnight], dtype=np.int64) if number % (step // DAY_SECONDS) == 0 else none
    if session == "24h":
        return np.arange(midnight, midnight + DAY_SECONDS, step, dtype=np.int64)
    opened, closed = (int(datetime.combine(day, at, _NEW_YORK).timestamp()) for at in (_OPENS, _CLOSES))
    return np.arange(opened, closed, step, dtype=np.int64)


def bars(world: World, symbols: list[str], opens: Integers, interval: str, asset_class: str) -> pa.Table:
    """A bar for each symbol and opening, by symbol and time. A bar closes at the price at which the next one opens."""
    _, codes, seconds = grid(world.keys(symbols), opens)
    # Symbols down, instants across: what depends on the symbol alone is worked out once.
    each, across = world.keys(symbols)[:, None], opens[None, :]
    opened = world.cents(each, across)
    closed = world.cents(each, across + seconds_of(interval))
    reach = 1 + opened // 1_000
    up, down = (world.bits(each, across, channel).astype(np.int64) & 0xFFFF for channel in (2, 3))
    high = np.maximum(opened, closed) + up % reach
    low = np.maximum(np.minimum(opened, closed) - down % reach, 1)
    trades = 1 + world.choice(each, across, 4, 400).ravel()
    # The average of the four, in hundredths of a cent, so that it is exact.
    average = (opened + high + low + closed) * 25
    return pa.table(
        {
            "asset_class": pa.repeat(asset_class, len(seconds)),
            "symbol": names(symbols, codes),
            "interval": pa.repeat(interval, len(seconds)),
            "ts": stamps(seconds),
            "open": dollars(opened),
            "high": dollars(high),
            "low": dollars(low),
            "close": dollars(closed),
            "volume": pa.array((100 * trades).astype(np.float64)),
            "vwap": from_scaled(average.ravel() * 10**4, 18, 8),
            "trade_count": pa.array(trades),
        }
    )


def grid(keys: Keys, seconds: Integers) -> tuple[Keys, Integers, Integers]:
    """Each symbol with each instant: its key, its number, the instant."""
    codes = np.repeat(np.arange(len(keys)), len(seconds))
    return keys[codes], codes, np.tile(seconds, len(keys))


def names(values: list[str], codes: Integers) -> pa.Array:
    """The values that the codes number."""
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(values))


def stamps(seconds: Integers) -> pa.Array:
    """Instants from seconds since 1970."""
    return pa.array(seconds * _MICROSECONDS).cast(INSTANT)


def dollars(cents: Integers) -> pa.Array:
    """Exact prices from cents."""
    return from_scaled(cents.ravel() * 10**6, 18, 8)


def day_of(seconds: int) -> date:
    """The UTC day of an instant."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).date()
