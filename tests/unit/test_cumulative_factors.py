"""Splits and dividends out of cumulative factors that were rounded."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermocline.model.adjusting.cumulative import dividend_amount, simplest_between, split_ratio


def number(text):
    return Fraction(Decimal(text))


@pytest.mark.parametrize(
    ("before", "after", "old", "new"),
    [
        ("0.03571430", "0.25", 1, 7),  # Apple, 2014, rounded
        ("0.00892857", "0.01785710", 1, 2),  # Apple, 2000, one rounded and one cut
        ("0.6666667", "1", 2, 3),
        ("0.9523810", "1", 20, 21),
        ("8", "1", 8, 1),  # one for eight
        ("1e+07", "1e+06", 10, 1),
        ("0.997307", "1", Decimal("0.99730700"), 1),  # Google's class C shares, 2015: no ratio of small numbers
    ],
)
def test_a_split_is_the_plainest_ratio_within_the_rounding(before, after, old, new):
    assert split_ratio(number(before), number(after)) == (old, new)


def test_factors_that_differ_by_their_rounding_are_no_event():
    assert split_ratio(number("0.0357143"), number("0.0357142")) is None
    assert dividend_amount(number("0.8613657"), number("0.8613657"), number("101")) is None


@pytest.mark.parametrize(
    ("before", "after", "close", "amount"),
    [
        ("0.8613657", "0.8650639", "619.86", "2.65"),  # Apple, 2012-08-09
        ("0.9967882", "0.9985079", "119.03", "0.205"),  # Apple, 2020-11-06
        ("0.5995275", "0.5996504", "48.81", "0.01"),  # Waste Management, 1998-09-28
    ],
)
def test_a_dividend_is_the_plainest_amount_within_the_rounding(before, after, close, amount):
    assert dividend_amount(number(before), number(after), number(close)) == Decimal(amount)


def test_what_can_be_no_dividend_is_refused():
    with pytest.raises(ValueError, match="no dividend makes prices rise"):
        dividend_amount(number("0.9"), number("0.8"), number("10"))
    with pytest.raises(ValueError, match="no reference close"):
        dividend_amount(number("0.8"), number("0.9"), number("0"))


ratios = st.builds(Fraction, st.integers(1, 50), st.integers(1, 50))


@given(ratios.filter(lambda ratio: ratio != 1), st.integers(2, 100))
def test_a_split_comes_back_from_factors_of_seven_places(ratio, later):
    after = Fraction(1, later)
    written = [Fraction(round(each * 10**7), 10**7) for each in (ratio * after, after)]
    if written[0] > Fraction(1, 1000):
        old, new = split_ratio(*written)
        assert Fraction(old) / Fraction(new) == ratio


@given(st.fractions(min_value="1/1000", max_value=50), st.fractions(min_value="1/1000", max_value=50))
def test_no_fraction_between_has_a_smaller_denominator(one, other):
    low, high = sorted((one, other))
    found = simplest_between(low, high)
    assert low <= found <= high
    smaller = range(1, min(found.denominator, 200))
    assert not any(-(-low * each // 1) <= high * each for each in smaller)
