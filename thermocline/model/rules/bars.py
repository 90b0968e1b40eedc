"""Rules of bars."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.model.partition import interval_seconds
from thermocline.model.rules.rows import Mask, Rows

_PRICES = ("open", "high", "low", "close")
_MAY_BE_NEGATIVE = ("future", "index", "rate")
"""Crude oil for May 2020 settled at -37.63; spreads and yields fall below 0 too."""

_QUARTER_HOUR_SECONDS = 900
_DAY_SECONDS = 86_400
_VWAP_SLACK = 100  # a hundredth: odd lots count in a volume-weighted price, and set neither high nor low


def ohlc_broken(rows: Rows) -> Mask:
    """Where open, close or high lie below low, or open or close above high."""
    opened, high, low, close = (rows.price(name) for name in _PRICES)
    broken = (np.minimum(opened, close) < low) | (np.maximum(opened, close) > high) | (low > high)
    return rows.where_known(broken, *_PRICES)


def not_positive(rows: Rows) -> Mask:
    """Where a price is 0 or below, of what has a price that can't be."""
    opened, high, low, close = (rows.price(name) for name in _PRICES)
    lowest = np.minimum(np.minimum(opened, close), np.minimum(high, low))
    broken = rows.where_known(lowest <= 0, *_PRICES)
    if broken.any():
        exempt = pc.is_in(rows.array("asset_class"), value_set=pa.array(_MAY_BE_NEGATIVE))
        broken &= ~np.asarray(exempt)
    return broken


def vwap_zero(rows: Rows) -> Mask:
    """Where a vwap of 0 stands beside prices above 0."""
    if rows.array("vwap").null_count == len(rows):
        return np.zeros(len(rows), dtype=bool)
    return rows.where_known((rows.price("vwap") == 0) & (rows.price("low") > 0), "vwap", "low")


def vwap_outside(rows: Rows) -> Mask:
    """Where vwap lies more than a hundredth below low or above high."""
    if rows.array("vwap").null_count == len(rows):
        return np.zeros(len(rows), dtype=bool)
    vwap, high, low = (rows.price(name) for name in ("vwap", "high", "low"))
    outside = (vwap < low - np.abs(low) // _VWAP_SLACK) | (vwap > high + np.abs(high) // _VWAP_SLACK)
    return rows.where_known(outside, "vwap", "high", "low")


def misaligned(rows: Rows) -> Mask:
    """Where a bar opens at a moment at which none of its interval can.

    Sessions open on a quarter of an hour, whatever the zone, and bars are counted from there: an hourly bar may open at
    09:30, a bar of five minutes on each fifth minute. Bars of a day or more carry a date.
    """
    intervals, ticks = rows.array("interval"), rows.ticks()
    broken = np.zeros(len(rows), dtype=bool)
    spellings = pc.unique(intervals).drop_null().to_pylist()
    for spelling in spellings:
        off = ticks % (step_seconds(spelling) * 1_000_000) != 0
        if off.any():
            alone = len(spellings) == 1 and not intervals.null_count
            broken |= off if alone else off & np.asarray(pc.fill_null(pc.equal(intervals, spelling), fill_value=False))
    return rows.where_known(broken, "ts")


def step_seconds(interval: str) -> int:
    """On multiples of how many seconds a bar of that interval opens; 1 for what is no interval."""
    if interval.endswith("month"):
        return _DAY_SECONDS
    seconds = interval_seconds(interval) or 1
    return _DAY_SECONDS if seconds % _DAY_SECONDS == 0 else math.gcd(seconds, _QUARTER_HOUR_SECONDS)
