"""Rules of option chains."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.model.parsing.times import DAY_MICROSECONDS
from thermocline.model.rules.rows import Mask, Rows, Words

QUOTES = ("bid", "ask", "last", "underlying_price")

_HIGHEST_VOLATILITY = 10.0  # 1,000 % a year; AAPL's chain of June 2014 has 3.99
_OCC = r"^(?P<root>[A-Za-z0-9./^-]{1,6}?) *(?P<day>[0-9]{6})(?P<right>[CP])(?P<strike>[0-9]{8})$"
"""The symbol of the Options Clearing Corporation: root, expiration, right, strike in thousandths."""

_WORDS_PER_THOUSANDTH = 100_000
_CENTURY = 100


def iv_zero(rows: Rows) -> Mask:
    """Where the implied volatility is 0."""
    zero: Mask = rows.number("implied_volatility") == 0
    return zero


def greeks_zero(names: Sequence[str]) -> Callable[[Rows], Mask]:
    """Where the volatility is unknown, and every Greek that is there is 0."""

    def broken(rows: Rows) -> Mask:
        volatility = rows.number("implied_volatility")
        unknown: Mask = np.isnan(volatility) | (volatility == 0)
        some = np.zeros(len(rows), dtype=bool)
        for name in names:
            greek = rows.number(name)
            some |= greek == 0
            unknown &= (greek == 0) | np.isnan(greek)
        found: Mask = unknown & some
        return found

    return broken


def neither_call_nor_put(rows: Rows) -> Mask:
    """Where option_type is something else."""
    return ~np.asarray(pc.is_in(rows.array("option_type"), value_set=pa.array(["call", "put", None])))


def crossed(rows: Rows) -> Mask:
    """Where somebody would pay more than somebody asks; a bid or ask of 0 is none."""
    bid, ask = rows.price("bid"), rows.price("ask")
    return rows.where_known((bid > ask) & (ask > 0), "bid", "ask")


def expired(rows: Rows) -> Mask:
    """Where the expiration lies before the row's day."""
    return rows.where_known(rows.days("expiration") < rows.ticks() // DAY_MICROSECONDS, "expiration", "ts")


def iv_absurd(rows: Rows) -> Mask:
    """Where an implied volatility is negative, or above 1,000 % a year."""
    volatility = rows.number("implied_volatility")
    return (volatility < 0) | (volatility > _HIGHEST_VOLATILITY)


def greeks_absurd(rows: Rows) -> Mask:
    """Where delta, gamma or vega can't be what they are."""
    return (np.abs(rows.number("delta")) > 1) | (rows.number("gamma") < 0) | (rows.number("vega") < 0)


def contradicts(rows: Rows) -> Mask:
    """Where a contract symbol in the form of the OCC says something else than expiration, option_type or strike.

    Symbols of other forms say nothing here. The symbol has a thousandth at least of a strike, and no more of it: after
    AAPL's 7:1 split there was one of 70.71.
    """
    parts = _Parts(rows)
    days = rows.days("expiration").astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    month = months.astype(np.int64) % 12 + 1
    year = months.astype("datetime64[Y]").astype(np.int64) + 1970
    dated = ((year % _CENTURY) * _CENTURY + month) * _CENTURY + (days - months).astype(np.int64) + 1
    right = np.where(parts.is_call, "put", "call")  # what it is not
    other = np.asarray(pc.fill_null(pc.equal(rows.array("option_type"), pa.array(right)), fill_value=False))
    off = np.abs(rows.price("strike") - parts.strike * _WORDS_PER_THOUSANDTH) >= _WORDS_PER_THOUSANDTH
    broken = parts.known & ((dated != parts.day) | other | off)
    return rows.where_known(broken, "expiration", "option_type", "strike")


def other_root(rows: Rows) -> Mask:
    """Where neither the root nor the underlying begins as the other does; digits of an adjusted root don't count."""
    parts = _Parts(rows)
    underlyings = pc.fill_null(rows.array("underlying"), "").dictionary_encode()
    names = [_letters(name) for name in underlyings.dictionary.to_pylist()]
    roots = [_letters(root) for root in parts.roots]
    codes = parts.index * max(len(names), 1) + underlyings.indices.to_numpy(zero_copy_only=False)
    pairs, inverse = np.unique(codes, return_inverse=True)
    other = np.zeros(len(pairs), dtype=bool)
    for number, pair in enumerate(pairs.tolist()):
        root, name = roots[pair // max(len(names), 1)], names[pair % max(len(names), 1)]
        other[number] = not (root.startswith(name) or name.startswith(root))
    found: Mask = parts.known & other[inverse]
    return found


class _Parts:
    """What the contract symbols say, each distinct one read once."""

    def __init__(self, rows: Rows) -> None:
        symbols = pc.fill_null(rows.array("contract_symbol"), "").dictionary_encode()
        self.index: Words = symbols.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        found = pc.extract_regex(symbols.dictionary, _OCC)
        self.known = np.asarray(found.is_valid())[self.index]
        self.roots: list[str] = [root or "" for root in found.field("root").to_pylist()]
        self.day = self._numbers(found, "day")[self.index]
        self.strike = self._numbers(found, "strike")[self.index]
        self.is_call = np.asarray(pc.equal(found.field("right"), "C"))[self.index]

    @staticmethod
    def _numbers(found: pa.StructArray, name: str) -> Words:
        text = pc.if_else(found.is_valid(), found.field(name), "0")
        numbers: Words = text.cast(pa.int64()).to_numpy(zero_copy_only=False)
        return numbers


def _letters(symbol: str) -> str:
    return "".join(filter(str.isalpha, symbol)).upper()
