"""What Yahoo's charts mean: bars, splits and dividends as they were on their day.

Yahoo divides every price, volume and dividend by all splits that came after, also in what it calls unadjusted
(https://github.com/ranaroussi/yfinance/issues/2611, read 2026-11). `Splits` multiplies that out again.

Its prices are 32-bit floats written as 64-bit ones: 148.47000122070312 is 148.47. What was divided has six decimals at
most, so of what is multiplied out only those digits are kept that can be right.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from thermocline.model.partition import ONE_DAY, midnight
from thermocline.sources.transport import answers
from thermocline.sources.transport.answers import Record, Row, end_of, number

_PRICE = pa.decimal128(28, 8)
_PRICES = ("open", "high", "low", "close")
BARS = pa.schema(
    [field.with_type(_PRICE) if field.name in _PRICES else field for field in answers.BARS],
)
DIVIDENDS = pa.schema(
    [field.with_type(_PRICE) if field.name == "amount" else field for field in answers.DIVIDENDS],
)

_KINDS = {
    "EQUITY": "equity",
    "ETF": "equity",
    "MUTUALFUND": "equity",
    "INDEX": "index",
    "CRYPTOCURRENCY": "crypto",
    "CURRENCY": "forex",
    "FUTURE": "future",
    "OPTION": "option",
}
_PLACES = Decimal("0.00000001")
_LEAST_STEP = 1e-6  # Yahoo writes six decimals
_MOST_PLACES = 4


def asset_class_of(chart: Record) -> str:
    """What the instrument of a chart is."""
    kind = str(chart["meta"]["instrumentType"])
    return _KINDS.get(kind, kind.lower())


@dataclass(frozen=True)
class Splits:
    """Splits of one instrument: the session that first traded at the new price, and how many shares became of one."""

    known: tuple[tuple[date, Decimal], ...] = ()

    def until(self, last: date) -> "Splits":
        """Those that had happened by a day; what was fetched then was divided by no others."""
        return Splits(tuple(each for each in self.known if each[0] <= last))

    def factor(self, session: date) -> Decimal:
        """By what a price of that session was divided."""
        return math.prod((ratio for first, ratio in self.known if first > session), start=Decimal(1))

    def price(self, divided: float | None, session: date) -> Decimal | None:
        """The price as it was on its day."""
        if divided is None:
            return None
        factor, exact = self.factor(session), _spelled(divided)
        if factor == 1:
            return exact.quantize(_PLACES, ROUND_HALF_EVEN)
        step = max(float(np.spacing(np.float32(divided))), _LEAST_STEP) * float(factor)
        places = min(_MOST_PLACES, max(0, math.floor(-math.log10(step))))
        return (exact * factor).quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN).quantize(_PLACES)

    def volume(self, multiplied: float | None, session: date) -> float | None:
        """The number of shares as it was on its day."""
        return None if multiplied is None else float(round(multiplied / float(self.factor(session))))


def splits_in(chart: Record) -> Splits:
    """The splits that a chart tells of, oldest first."""
    found = [(_day(chart, each["date"]), *_shares(each)) for each in _events(chart, "splits")]
    return Splits(tuple(sorted((day, new / old) for day, old, new in found)))


def split_rows(chart: Record, symbol: str) -> Iterator[Row]:
    """The splits that a chart tells of."""
    for each in _events(chart, "splits"):
        old, new = _shares(each)
        stamp = midnight(_day(chart, each["date"]))
        yield {
            "asset_class": asset_class_of(chart),
            "symbol": symbol,
            "ts": stamp,
            "old_shares": float(old),
            "new_shares": float(new),
        }


def dividend_rows(chart: Record, symbol: str, splits: Splits) -> Iterator[Row]:
    """The dividends that a chart tells of, as they were paid. Yahoo does not say which are special."""
    for each in _events(chart, "dividends"):
        day = _day(chart, each["date"])
        yield {
            "asset_class": asset_class_of(chart),
            "symbol": symbol,
            "ts": midnight(day),
            "kind": "regular",
            "amount": splits.price(number(each, "amount"), day),
            "currency": each.get("currency") or chart["meta"].get("currency"),
        }


def bar_rows(chart: Record, symbol: str, interval: str, told_until: datetime, splits: Splits) -> Iterator[Row]:
    """The bars of a chart that were over at `told_until`. Where Yahoo has gaps, all four prices are missing: no bar."""
    zone, asset_class, is_daily = _zone(chart), asset_class_of(chart), interval.endswith("day")
    (quotes,) = chart["indicators"]["quote"]
    for row, second in enumerate(chart.get("timestamp") or []):
        opens = datetime.fromtimestamp(second, UTC)
        session = opens.astimezone(zone).date()
        over = datetime.combine(session + ONE_DAY, time(), zone) if is_daily else end_of(opens, interval)
        values = {name: number({name: quotes[name][row]}, name) for name in (*_PRICES, "volume")}
        if over > told_until or all(values[name] is None for name in _PRICES):
            continue
        yield {
            "asset_class": asset_class,
            "symbol": symbol,
            "interval": interval,
            "ts": midnight(session) if is_daily else opens,
            **{name: splits.price(values[name], session) for name in _PRICES},
            "volume": splits.volume(values["volume"], session),
        }


def _events(chart: Record, kind: str) -> list[Any]:
    return list(((chart.get("events") or {}).get(kind) or {}).values())


def _shares(split: Record) -> tuple[Decimal, Decimal]:
    old, new = _spelled(split["denominator"]), _spelled(split["numerator"])
    if old <= 0 or new <= 0:
        msg = f"{split.get('splitRatio')!r} is no split"
        raise ValueError(msg)
    return old, new


def _day(chart: Record, second: int) -> date:
    return datetime.fromtimestamp(second, UTC).astimezone(_zone(chart)).date()


def _zone(chart: Record) -> ZoneInfo:
    return ZoneInfo(chart["meta"]["exchangeTimezoneName"])


def _spelled(value: float) -> Decimal:
    """The shortest decimal that means this number: as a 32-bit float, where it is one."""
    short = np.float32(value)
    return Decimal(str(short)) if float(short) == value else Decimal(repr(value))
