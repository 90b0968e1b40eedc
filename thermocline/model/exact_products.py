"""Exact decimals times exact fractions, a column at a time. A product is rounded once, half-even, to eight places."""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.model.dataset import PRECISION, Kind

_PRICE = pa.decimal128(*PRECISION[Kind.PRICE])
_PLACES = PRECISION[Kind.PRICE][1]
_MOST = 10 ** PRECISION[Kind.PRICE][0]

# A price has 18 digits, so its product with a factor of 50 fits into the 76 of decimal256.
_FACTOR = pa.decimal256(50, 44)
_FACTOR_PLACES = 44
_PRODUCT = pa.decimal256(69, 52)
_HALF = Fraction(1, 2 * 10**_PLACES)
_NEAR = Fraction(1, 10**30)  # far more than the error of a factor of 44 places makes: 10**10 / 10**44


def products(values: pa.Array, factors: Sequence[Fraction], which: npt.NDArray[np.int64]) -> pa.Array:
    """Prices, each times `factors[which]`; null stays null.

    Raises:
        OverflowError: A product does not fit into a price.
    """
    used = [factors[number] for number in np.unique(which).tolist()]
    if all(each == 1 for each in used):
        return values
    if all(each.numerator * each.denominator < _SMALL for each in used):
        return _of_small(values, factors, which)
    return _of_any(values, factors, which)


_SMALL = 2**62


def _of_small(values: pa.Array, factors: Sequence[Fraction], which: npt.NDArray[np.int64]) -> pa.Array:
    """Products in whole numbers of 64 bits: (q·d + r)·n / d is q·n + r·n / d, and r·n is less than d·n."""
    valid = np.asarray(values.is_valid())
    amounts = _unscaled(values)
    small = [each if each.numerator * each.denominator < _SMALL else Fraction(1) for each in factors]
    numerators = np.array([each.numerator for each in small], dtype=np.int64)[which]
    denominators = np.array([each.denominator for each in small], dtype=np.int64)[which]
    if (np.abs(amounts.astype(np.float64)) * numerators / denominators >= _MOST * 0.999).any():
        return _of_any(values, factors, which)
    whole, rest = np.divmod(amounts, denominators)
    more, left = np.divmod(rest * numerators, denominators)
    found = whole * numerators + more
    # Half-even, with nothing to overflow: what is left against what is missing.
    missing = denominators - left
    found += (left > missing) | ((left == missing) & (found % 2 == 1))
    return _scaled(found, valid)


def _of_any(values: pa.Array, factors: Sequence[Fraction], which: npt.NDArray[np.int64]) -> pa.Array:
    """Products in decimals of 76 digits; where a tie can't be told from what is next to one, in Python's fractions."""
    rounded = [round(each * 10**_FACTOR_PLACES) for each in factors]
    inexact = np.array([Fraction(each, 10**_FACTOR_PLACES) != factors[n] for n, each in enumerate(rounded)])
    decimals = pa.array([_decimal(each, _FACTOR_PLACES) for each in rounded], _FACTOR)
    product = pc.multiply(values.cast(pa.decimal256(18, _PLACES)), decimals.take(pa.array(which)))
    nearest = pc.round(product, ndigits=_PLACES, round_mode="half_to_even")
    try:
        found = nearest.cast(pa.decimal256(_PRODUCT.precision, _PLACES)).cast(_PRICE)
    except pa.ArrowInvalid as error:
        msg = f"a price times its factor does not fit into {_PRICE}"
        raise OverflowError(msg) from error
    distance = pc.abs(pc.subtract(product, nearest))
    kind = distance.type
    tied = pc.less(pc.abs(pc.subtract(distance, _scalar(_HALF, kind))), _scalar(_NEAR, kind))
    rows = np.flatnonzero(np.asarray(pc.fill_null(tied, fill_value=False)) & inexact[which])
    if not len(rows):
        return found
    texts = found.to_pylist()
    for row in rows.tolist():
        exact = Fraction(values[row].as_py()) * factors[which[row]] * 10**_PLACES
        texts[row] = _decimal(round(exact), _PLACES)
    return pa.array(texts, _PRICE)


def _unscaled(values: pa.Array) -> npt.NDArray[np.int64]:
    """Prices in units of their last place; they have 18 digits, so that each fits into 64 bits. Null is 0."""
    whole = pc.fill_null(values.view(pa.decimal128(18, 0)), 0).cast(pa.int64())
    amounts: npt.NDArray[np.int64] = whole.to_numpy(zero_copy_only=False)
    return amounts


def _scaled(amounts: npt.NDArray[np.int64], valid: npt.NDArray[np.bool_]) -> pa.Array:
    whole = pa.array(amounts, pa.int64(), mask=~valid).cast(pa.decimal128(19, 0)).cast(pa.decimal128(18, 0))
    return whole.view(_PRICE)


def _decimal(amount: int, places: int) -> Decimal:
    return Decimal((amount < 0, tuple(map(int, str(abs(amount)))), -places))


def _scalar(value: Fraction, kind: pa.DataType) -> pa.Scalar:
    return pa.scalar(_decimal(round(value * 10**kind.scale), kind.scale), kind)
