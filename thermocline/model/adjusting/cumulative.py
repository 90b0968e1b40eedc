"""Splits and dividends out of cumulative factors that were rounded when they were written.

Between two neighbouring factors of a file lies one event. Their ratio is known only within the rounding of both, so the
event is the plainest one within that: for a split the fraction of the smallest numbers (0.0357143 / 0.25 is 1/7), for a
dividend the amount with the fewest decimal places.
"""

from decimal import Decimal
from fractions import Fraction

_ROUNDING = Fraction(1, 10**7)
"""Factors are written with seven places, where it was cut rather than rounded too: one unit of the last."""
_CENT = Fraction(1, 200)
"""Reference closes are written to the cent."""
_LARGEST = 200
"""Above this, a fraction is no share split that anybody announced; `1:n` is, whatever n."""
_PLACES = 8


def split_ratio(before: Fraction, after: Fraction) -> tuple[Decimal, Decimal] | None:
    """Old and new shares of the split between two cumulative split factors; None where there is none.

    Where no fraction of small numbers is near, as after a class of shares was handed out, it is the plain ratio to
    eight places, into one share.
    """
    low, high = _between(before, after)
    if low <= 1 <= high:
        return None
    plainest = simplest_between(low, high)
    small, large = sorted((plainest.numerator, plainest.denominator))
    if small == 1 or large <= _LARGEST:
        return Decimal(plainest.numerator), Decimal(plainest.denominator)
    return _decimal(before / after, _PLACES), Decimal(1)


def dividend_amount(before: Fraction, after: Fraction, close: Fraction) -> Decimal | None:
    """What was paid for a share between two cumulative price factors; `close` is that of the session before.

    None where there was no dividend.

    Raises:
        ValueError: The factors fall with time, or there is no close.
    """
    low, high = _between(before, after)
    if low <= 1 <= high:
        return None
    if low > 1:
        msg = "its price factor is larger than the next one: no dividend makes prices rise"
        raise ValueError(msg)
    if close <= 0:
        msg = "it has no reference close, without which a dividend can't be told"
        raise ValueError(msg)
    share = 1 - before / after
    amount = close * share
    error = close * (high - low) / 2 + share * _CENT
    for places in range(_PLACES):
        found = _decimal(amount, places)
        if found > 0 and abs(Fraction(found) - amount) <= error:
            return found
    return _decimal(amount, _PLACES)


def simplest_between(low: Fraction, high: Fraction) -> Fraction:
    """The fraction of the smallest denominator in `[low, high]`, both more than 0 (by their continued fractions)."""
    whole = -(-low.numerator // low.denominator)
    if whole <= high:
        return Fraction(whole)
    floor = whole - 1
    return floor + 1 / simplest_between(1 / (high - floor), 1 / (low - floor))


def _between(before: Fraction, after: Fraction) -> tuple[Fraction, Fraction]:
    """Between which values the ratio of two rounded factors lies."""
    one, other = (min(_ROUNDING, each / 200) for each in (before, after))
    return (before - one) / (after + other), (before + one) / (after - other)


def _decimal(value: Fraction, places: int) -> Decimal:
    return Decimal(round(value * 10**places)).scaleb(-places)
