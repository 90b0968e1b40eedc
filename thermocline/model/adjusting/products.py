"""Exact decimals times exact fractions, a column at a time. A product is rounded once, half-even, to eight places."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Self

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
_FACTOR_MOST = 10**50
_NEARLY_HALF = Decimal("0.5").scaleb(-_PLACES) - Decimal(1).scaleb(-30)
"""Less far from a half than 10**-30 may be a tie: a factor of 44 places is wrong by no more than 10**-34 of a price."""
_SMALL = 2**62


class Multipliers:
    """Factors by number, and prices times them. The first, 0, is 1."""

    def __init__(self) -> None:
        """Begin with the factor that changes nothing."""
        self._factors = [Fraction(1)]
        self._prepared = [_Prepared.of(self._factors)]

    def __len__(self) -> int:
        """How many there are, which is the number of the next one."""
        return len(self._factors)

    def add(self, factors: Iterable[Fraction]) -> None:
        """Give factors, above 0, the next numbers."""
        new = list(factors)
        self._factors += new
        self._prepared.append(_Prepared.of(new))

    def products(self, values: pa.Array, which: npt.NDArray[np.int64]) -> pa.Array:
        """Prices, each times the factor of its number; null stays null.

        Raises:
            OverflowError: A product does not fit into a price.
        """
        if values.null_count == len(values):
            return values
        if values.type != _PRICE:
            return self._of_wider(values, which)
        if len(self._prepared) > 1:
            self._prepared = [_Prepared.joined(self._prepared)]
        [prepared] = self._prepared
        if prepared.small[which].all():
            found = _of_small(values, prepared.numerators[which], prepared.denominators[which])
            if found is not None:
                return found
        return _of_any(values, self._factors, prepared, which)

    def _of_wider(self, values: pa.Array, which: npt.NDArray[np.int64]) -> pa.Array:
        """Products of a column that was widened to larger numbers; where there are none such, as those of prices."""
        try:
            return self.products(values.cast(_PRICE), which).cast(values.type)
        except (pa.ArrowInvalid, OverflowError):
            exact = [
                None if value is None else _exact(value, self._factors[number])
                for value, number in zip(values.to_pylist(), which.tolist(), strict=True)
            ]
            return _as_prices(lambda: pa.array(exact, values.type))


@dataclass(frozen=True)
class _Prepared:
    """Factors as arrays: as whole numbers where these are small, and as decimals, which may be inexact.

    A decimal is null where a factor is too large for it.
    """

    small: npt.NDArray[np.bool_]
    numerators: npt.NDArray[np.int64]
    denominators: npt.NDArray[np.int64]
    decimals: pa.Array
    inexact: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, factors: Sequence[Fraction]) -> Self:
        small = [each.numerator * each.denominator < _SMALL for each in factors]
        plain = [each if fits else Fraction(1) for each, fits in zip(factors, small, strict=True)]
        scaled = [each * 10**_FACTOR_PLACES for each in factors]
        rounded = [round(each) for each in scaled]
        decimals = [_decimal(each, _FACTOR_PLACES) if each < _FACTOR_MOST else None for each in rounded]
        return cls(
            np.array(small),
            np.array([each.numerator for each in plain], dtype=np.int64),
            np.array([each.denominator for each in plain], dtype=np.int64),
            pa.array(decimals, _FACTOR),
            np.array([one != other for one, other in zip(rounded, scaled, strict=True)]),
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        return cls(
            np.concatenate([each.small for each in parts]),
            np.concatenate([each.numerators for each in parts]),
            np.concatenate([each.denominators for each in parts]),
            pa.concat_arrays([each.decimals for each in parts]),
            np.concatenate([each.inexact for each in parts]),
        )


def _of_small(
    values: pa.Array, numerators: npt.NDArray[np.int64], denominators: npt.NDArray[np.int64]
) -> pa.Array | None:
    """Products in whole numbers of 64 bits, None where these might not suffice.

    (q·d + r)·n / d is q·n + r·n / d, and r·n is less than d·n.
    """
    amounts = _unscaled(values)
    if (np.abs(amounts.astype(np.float64)) * numerators / denominators >= _MOST * 0.999).any():
        return None
    whole, rest = np.divmod(amounts, denominators)
    more, left = np.divmod(rest * numerators, denominators)
    found = whole * numerators + more
    # Half-even, with nothing to overflow: what is left against what is missing.
    missing = denominators - left
    found += (left > missing) | ((left == missing) & (found % 2 == 1))
    counted = pa.array(found, pa.int64(), mask=~np.asarray(values.is_valid()))
    return counted.cast(pa.decimal128(19, 0)).cast(pa.decimal128(18, 0)).view(_PRICE)


def _of_any(
    values: pa.Array, factors: Sequence[Fraction], prepared: _Prepared, which: npt.NDArray[np.int64]
) -> pa.Array:
    """Products in decimals of 76 digits; where a tie can't be told from what is next to one, in Python's fractions."""
    decimals = prepared.decimals.take(pa.array(which))
    product = pc.multiply(values.cast(pa.decimal256(18, _PLACES)), decimals)
    nearest = pc.round(product, ndigits=_PLACES, round_mode="half_to_even")
    found = _as_prices(lambda: nearest.cast(pa.decimal256(nearest.type.precision, _PLACES)).cast(_PRICE))
    distance = pc.abs(pc.subtract(product, nearest))
    tied = pc.greater_equal(distance, pa.scalar(_NEARLY_HALF, distance.type))
    unsure = np.asarray(pc.fill_null(tied, fill_value=False)) & prepared.inexact[which]
    rows = np.flatnonzero(unsure | np.asarray(pc.and_(decimals.is_null(), values.is_valid())))
    if not len(rows):
        return found
    exact = found.to_pylist()
    for row in rows.tolist():
        exact[row] = _exact(values[row].as_py(), factors[which[row]])
    return _as_prices(lambda: pa.array(exact, _PRICE))


def _exact(value: Decimal, factor: Fraction) -> Decimal:
    return _decimal(round(Fraction(value) * factor * 10**_PLACES), _PLACES)


def _as_prices(made: Callable[[], pa.Array]) -> pa.Array:
    try:
        return made()
    except pa.ArrowInvalid as error:
        msg = f"a price times its factor does not fit into {_PRICE}"
        raise OverflowError(msg) from error


def _unscaled(values: pa.Array) -> npt.NDArray[np.int64]:
    """Prices in units of their last place; they have 18 digits, so that each fits into 64 bits. Null is 0."""
    whole = pc.fill_null(values.view(pa.decimal128(18, 0)), 0).cast(pa.int64())
    amounts: npt.NDArray[np.int64] = whole.to_numpy(zero_copy_only=False)
    return amounts


def _decimal(amount: int, places: int) -> Decimal:
    return Decimal((amount < 0, tuple(map(int, str(abs(amount)))), -places))
