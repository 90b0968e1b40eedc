"""Symbols and instruments: renames, and symbols that another company takes over."""

from dataclasses import replace
from datetime import date
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from thermocline.model.instruments import Instruments, Naming


def naming(known, symbol, start, until=None):
    return Naming(known, "equity", symbol, date.fromisoformat(start), until and date.fromisoformat(until))


WASTE = [
    naming("waste", "UW", "1998-01-02", "1998-07-17"),
    naming("waste", "WMI", "1998-07-17", "2009-08-05"),
    naming("waste", "WM", "2009-08-05"),
]
BANK = naming("bank", "WM", "1998-01-02", "2008-09-27")
KNOWN = Instruments([*WASTE, BANK])


def test_a_symbol_names_whom_it_named_on_that_day():
    named = {
        day: KNOWN.named("equity", "WM", date.fromisoformat(day)) for day in ("2008-09-26", "2009-01-02", "2010-01-04")
    }
    assert named == {"2008-09-26": "bank", "2009-01-02": None, "2010-01-04": "waste"}
    assert KNOWN.named("crypto", "WM", date(2010, 1, 4)) is None
    assert KNOWN.named("equity", "XYZ", date(2010, 1, 4)) is None


def test_a_first_symbol_reaches_back_before_the_first_known_day_and_a_later_one_does_not():
    assert KNOWN.named("equity", "UW", date(1990, 1, 1)) == "waste"
    assert KNOWN.named("equity", "WM", date(1990, 1, 1)) == "bank"
    assert Instruments(WASTE).named("equity", "WM", date(1990, 1, 1)) is None
    later = Instruments([*WASTE, naming("bank", "WM", "2000-01-03", "2008-09-27"), naming("new", "UW", "2003-01-02")])
    assert later.named("equity", "UW", date(2001, 1, 2)) == "new"  # unknown before, and nobody else had it
    assert later.named("equity", "UW", date(1998, 7, 16)) == "waste"


def test_all_symbols_of_an_instrument_are_told_with_their_days():
    assert [(each.symbol, each.until) for each in KNOWN.namings("waste")] == [
        ("UW", date(1998, 7, 17)),
        ("WMI", date(2009, 8, 5)),
        ("WM", None),
    ]
    spans = KNOWN.spans_of("waste")
    assert [(symbol, span.start, span.end) for _, symbol, span in spans] == [
        ("UW", date.min, date(1998, 7, 17)),
        ("WMI", date(1998, 7, 17), date(2009, 8, 5)),
        ("WM", date(2009, 8, 5), date.max),
    ]
    assert set(KNOWN.kin(["WM"])) == {"WM", "WMI", "UW"}
    assert KNOWN.kin([]) == ()


def test_ids_of_two_sources_for_one_instrument_are_one():
    figi = replace(naming("BBG000BWVSR1", "WM", "2009-08-05"), source="vendor")
    late = replace(naming("vendor:7", "WMI", "2005-01-03", "2009-08-05"), source="other")
    both = Instruments([*WASTE, BANK, figi, late])
    assert both.named("equity", "WM", date(2010, 1, 4)) == both.named("equity", "WMI", date(2006, 1, 4)) == "waste"
    assert both.spans_of("BBG000BWVSR1") == both.spans_of("waste") == KNOWN.spans_of("waste")
    assert {each.instrument_id for each in both.namings("vendor:7")} == {"waste", "BBG000BWVSR1", "vendor:7"}
    assert both.named("equity", "WM", date(2008, 9, 26)) == "bank"


def test_sources_that_disagree_by_days_do_not_make_two_companies_one():
    sloppy = replace(naming("figi", "WM", "1990-01-02", "2009-08-20"), source="vendor")
    both = Instruments([*WASTE, sloppy])
    assert both.named("equity", "WM", date(2008, 9, 26)) == "figi"
    assert both.named("equity", "WM", date(2009, 8, 6)) == "waste"


def test_of_two_that_claim_a_symbol_the_one_that_took_it_last_has_it():
    both = Instruments([naming("old", "META", "2015-01-02"), naming("new", "META", "2022-06-09")])
    assert both.named("equity", "META", date(2022, 6, 8)) == "old"
    assert both.named("equity", "META", date(2022, 6, 9)) == "new"


days = st.dates(date(2000, 1, 1), date(2000, 2, 1))


@given(
    st.lists(
        st.builds(Naming, st.sampled_from("abc"), st.just("equity"), st.sampled_from("XY"), days, st.none() | days)
    )
)
def test_spans_of_a_symbol_cover_every_day_once(namings):
    known = Instruments(namings)
    for symbol in "XY":
        spans = known.spans("equity", symbol)
        assert (spans[0].start, spans[-1].end) == (date.min, date.max)
        assert all(one.end == next_.start for one, next_ in pairwise(spans))
        for each in namings:
            if each.symbol == symbol and (each.until is None or each.start < each.until):
                assert known.named("equity", symbol, each.start) is not None
