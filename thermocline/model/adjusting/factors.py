"""By what a raw price is multiplied so that splits and dividends after it leave no jump.

Back-adjusted, as vendors do it: the newest prices stay as they are, older ones are multiplied by the factors of all
events between them and the as-of day.

- A split of `old` shares into `new` multiplies prices before its ex-date by `old / new`, volumes by `new / old`.
- A dividend of `amount` multiplies prices before its ex-date by `1 - amount / close`, where `close` is the raw close of
  the session before the ex-date, in shares as they are on the ex-date (the formula of Yahoo's adjusted close,
  https://help.yahoo.com/kb/SLN28256.html, read 2026-11).
  Volumes don't change.

Factors are exact fractions; only the adjusted price is rounded.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fractions import Fraction

from thermocline.model.instruments import Instruments, Span

ONE = Fraction(1)


class Adjust(StrEnum):
    """What raw bars are adjusted for."""

    SPLITS = "splits"
    ALL = "all"  # splits and dividends


@dataclass(frozen=True, slots=True)
class Factor:
    """What prices and volumes are multiplied by."""

    price: Fraction = ONE
    volume: Fraction = ONE

    def __mul__(self, other: "Factor") -> "Factor":
        """Both, one after the other."""
        return Factor(self.price * other.price, self.volume * other.volume)


@dataclass(frozen=True, slots=True)
class Event:
    """A split or dividend under the symbol of its ex-date, the first session at the new price."""

    asset_class: str
    symbol: str
    ex_date: date
    factor: Factor


def split_factor(old_shares: Fraction, new_shares: Fraction) -> Factor:
    """The factor of a split of `old_shares` into `new_shares`, both more than 0."""
    return Factor(old_shares / new_shares, new_shares / old_shares)


def dividend_factor(amount: Fraction, close: Fraction) -> Factor:
    """The factor of a dividend; `close` is that of the session before, in shares as they are on the ex-date."""
    return Factor(1 - amount / close)


@dataclass(frozen=True, slots=True)
class Steps:
    """The factors of one symbol: `factors[i]` holds from `edges[i - 1]` up to `edges[i]`, days, both sides open."""

    edges: tuple[date, ...] = ()
    factors: tuple[Factor, ...] = (Factor(),)


class Adjustment:
    """The factors of every symbol, from the events that are known as of a day.

    Events follow the instrument through renames, and an event of a reused symbol leaves the bars of the other company
    alone. Where no instrument is known, a symbol stands for itself.
    """

    def __init__(self, instruments: Instruments, events: Iterable[Event], *, as_of: date) -> None:
        """Keep the events up to and with the as-of day."""
        self._instruments = instruments
        self._events: dict[_Owner, list[Event]] = {}
        for each in events:
            if each.ex_date <= as_of:
                span = instruments.span(each.asset_class, each.symbol, each.ex_date)
                self._events.setdefault(_owner(each.asset_class, each.symbol, span), []).append(each)

    def steps(self, asset_class: str, symbol: str) -> Steps:
        """The factors of one symbol's days."""
        edges: list[date] = []
        factors: list[Factor] = []
        for span in self._instruments.spans(asset_class, symbol):
            after = _after(self._events.get(_owner(asset_class, symbol, span), ()))
            starts = (span.start, *(day for day in after if span.start < day < span.end))
            for start in starts:
                factor = next(product for day, product in reversed(after.items()) if day <= start)
                if not factors or factors[-1] != factor:
                    edges.append(start)
                    factors.append(factor)
        return Steps(tuple(edges[1:]), tuple(factors))


_Owner = tuple[str, str, Span] | str


def _owner(asset_class: str, symbol: str, span: Span) -> _Owner:
    """Whose events those of a symbol in a span are: the instrument's, or the unknown one's of that very span."""
    return span.instrument_id or (asset_class, symbol, span)


def _after(events: Iterable[Event]) -> dict[date, Factor]:
    """For each day on which the factor changes, the product of all later events, the first day first.

    The first entry is that of the days before any event.
    """
    product = Factor()
    found: dict[date, Factor] = {}
    for each in sorted(events, key=lambda each: each.ex_date, reverse=True):
        found.setdefault(each.ex_date, product)
        product = each.factor * product
    return {date.min: product, **dict(reversed(found.items()))}
