"""Factors of bars: the product of all events of their instrument that come after them, and of no others."""

from bisect import bisect_right
from datetime import date
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from thermocline.model.adjusting.factors import Adjustment, Event, Factor, dividend_factor, split_factor
from thermocline.model.instruments import Instruments, Naming

days = st.dates(date(2000, 1, 1), date(2000, 2, 15))
symbols = st.sampled_from("XYZ")
factors = st.one_of(
    st.builds(split_factor, st.integers(1, 9).map(Fraction), st.integers(1, 9).map(Fraction)),
    st.builds(dividend_factor, st.integers(1, 5).map(Fraction), st.integers(6, 99).map(Fraction)),
)
events = st.lists(st.builds(Event, st.just("equity"), symbols, days, factors), max_size=12)
namings = st.lists(
    st.builds(Naming, st.sampled_from("ab"), st.just("equity"), symbols, days, st.none() | days), max_size=4
)


def factor_on(adjustment, symbol, day):
    steps = adjustment.steps("equity", symbol)
    assert len(steps.factors) == len(steps.edges) + 1
    assert list(steps.edges) == sorted(set(steps.edges))
    return steps.factors[bisect_right(steps.edges, day)]


@given(namings, events, symbols, days, days)
def test_a_bar_s_factor_is_the_product_of_its_instrument_s_later_events_up_to_the_as_of_day(
    named, happened, symbol, day, as_of
):
    instruments = Instruments(named)
    mine = instruments.span("equity", symbol, day)
    expected = Factor()
    for event in happened:
        span = instruments.span("equity", event.symbol, event.ex_date)
        unknown = span.instrument_id is None and (event.symbol, span) == (symbol, mine)
        known = span.instrument_id is not None and span.instrument_id == mine.instrument_id
        if (known or unknown) and day < event.ex_date <= as_of:
            expected *= event.factor
    assert factor_on(Adjustment(instruments, happened, as_of=as_of), symbol, day) == expected


def test_the_four_splits_of_apple_make_a_hundred_and_twelve():
    splits = {"2000-06-21": 2, "2005-02-28": 2, "2014-06-09": 7, "2020-08-31": 4}
    happened = [
        Event("equity", "AAPL", date.fromisoformat(day), split_factor(Fraction(1), Fraction(into)))
        for day, into in splits.items()
    ]
    adjustment = Adjustment(Instruments([]), happened, as_of=date(2024, 1, 1))
    assert factor_on(adjustment, "AAPL", date(1998, 1, 2)) == Factor(Fraction(1, 112), Fraction(112))
    assert factor_on(adjustment, "AAPL", date(2014, 6, 6)).price == Fraction(1, 28)
    assert factor_on(adjustment, "AAPL", date(2014, 6, 9)).price == Fraction(1, 4)
    assert adjustment.steps("crypto", "AAPL").factors == (Factor(),)
