"""Prices times fractions: each product is the exact one, rounded once."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermocline.model.adjusting.products import Multipliers

prices = st.decimals(-(10**9), 10**9, places=8)
ratios = st.builds(Fraction, st.integers(1, 60), st.integers(1, 60))
long_ratios = st.builds(lambda n: 1 - Fraction(n, 10**20 + 39), st.integers(1, 10**19))


def times(values, factors, which):
    multipliers = Multipliers()
    multipliers.add(factors)
    return multipliers.products(pa.array(values, pa.decimal128(18, 8)), np.array(which) + 1).to_pylist()


def exactly(value, factor):
    return value if value is None else Decimal(round(Fraction(value) * factor * 10**8)).scaleb(-8)


@given(st.lists(st.tuples(st.none() | prices, st.one_of(ratios.filter(lambda r: r < 9), long_ratios)), min_size=1))
def test_a_product_is_the_exact_one_rounded_half_even(pairs):
    values, factors = zip(*pairs, strict=True)
    found = times(values, factors, range(len(factors)))
    assert found == [exactly(value, factor) for value, factor in pairs]


@pytest.mark.parametrize("extra", [[], [Fraction(1, 3) ** 60]], ids=["small fractions", "beside a long one"])
def test_a_tie_goes_to_the_even_neighbour_also_where_the_factor_has_no_end(extra):
    values = [Decimal("0.00000007"), Decimal("0.00000021"), Decimal("0.00000035"), *[Decimal(1)] * len(extra)]
    found = times(values, [Fraction(1, 14), *extra], [0, 0, 0, *[1] * len(extra)])
    assert found[:3] == [Decimal("0E-8"), Decimal("2E-8"), Decimal("2E-8")]


def test_a_factor_of_many_reverse_splits_is_as_exact():
    assert times([Decimal("0.12345678"), None], [Fraction(10**7)], [0, 0]) == [Decimal("1234567.8"), None]
    long = Fraction(10**7) * (1 - Fraction(1, 3)) ** 60
    assert times([Decimal("0.5"), None], [long], [0, 0]) == [exactly(Decimal("0.5"), long), None]


def test_a_column_that_was_widened_is_as_exact():
    multipliers = Multipliers()
    multipliers.add([Fraction(1, 7), Fraction(10)])
    kind = pa.decimal128(28, 8)
    for value, number in (("645.57", 1), ("99999999999.5", 1), ("9999999999.5", 2)):
        values = pa.array([Decimal(value), None], kind)
        found = multipliers.products(values, np.array([number, number]))
        assert found.type == kind
        assert found.to_pylist() == [exactly(Decimal(value), [1, Fraction(1, 7), Fraction(10)][number]), None]


def test_a_product_that_is_no_price_any_more_is_refused():
    with pytest.raises(OverflowError, match="does not fit"):
        times([Decimal("9999999999.99999999")], [Fraction(10) ** 9 * (1 - Fraction(1, 3)) ** 9], [0])
    with pytest.raises(OverflowError, match="does not fit"):
        times([Decimal("9999999999.99999999")], [Fraction(10)], [0])
