"""What a backfill tells the coverage ledger."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from thermocline.model.coverage.due import MOST_SYMBOLS, Due, Outcome, Telling, named_symbols
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.offenders import UNKNOWN_SERIES, Series
from thermocline.model.partition import ALL_DAYS, DayRange, Partition
from thermocline.ports import Answered, FetchRequest
from thermocline.tasks.told import Told

NOW = datetime(2024, 6, 1, tzinfo=UTC)
WEEK = DayRange(date(2024, 1, 8), date(2024, 1, 13))
MONDAY = Partition("market_data", "1min", WEEK.start)


def at(hour):
    return datetime(2024, 1, 8, tzinfo=UTC) + timedelta(hours=hour)


def told():
    return Told("vendor", "run", NOW)


def request(*symbols, days=WEEK):
    return FetchRequest(MARKET_DATA, days, frozenset(symbols), frozenset({"1min"}))


def test_pages_that_follow_each_other_are_one_span_for_each_symbol():
    told_ = told()
    told_.answered(Answered(symbol, "1min", at(hour), at(hour + 1)) for hour in range(5) for symbol in ("A", "B"))
    told_.answered([Answered("A", "1min", at(9), at(10))])
    [due] = told_.due([MONDAY])
    assert [(t.symbol, t.start, t.end) for t in due.tellings] == [
        ("A", at(0), at(5)),
        ("B", at(0), at(5)),
        ("A", at(9), at(10)),
    ]


def test_what_was_asked_for_by_name_is_told_with_the_first_line_of_what_went_wrong():
    told_ = told()
    told_.asked(request("A", "B"))
    told_.asked(request("C"), failed="503 for ever\nand more")
    told_.asked(request("D", days=ALL_DAYS))
    [due] = told_.due([])
    assert [(t.symbol, t.outcome, t.reason) for t in due.tellings] == [
        ("A", Outcome.ASKED, ""),
        ("B", Outcome.ASKED, ""),
        ("C", Outcome.FAILED, "503 for ever"),
    ]
    assert (due.start, due.end, due.symbols) == (WEEK.start, WEEK.end, ("A", "B", "C"))


def spans(told_, outcome):
    return [
        (due.interval, t.symbol, t.start, t.end) for due in told_.due([]) for t in due.tellings if t.outcome is outcome
    ]


def test_days_of_rows_in_quarantine_are_told_of_what_was_asked_for():
    told_ = told()
    monday = Series("A", "1min", WEEK.start, "equity")
    told_.quarantined([monday, monday._replace(symbol="B"), monday._replace(interval="1day")], request("A"))
    assert spans(told_, Outcome.QUARANTINED) == [("1min", "A", at(0), at(1))]
    [due] = told_.due([])
    assert due.tellings[0].asset_class == "equity"


@pytest.mark.parametrize(
    ("of", "left"),
    [
        (Series("A", "1min", None), [("B", at(0), at(120))]),
        (Series("A", "1min", date(1970, 1, 20)), [("B", at(0), at(120))]),
        (Series("", "1min", WEEK.start), [("A", at(24), at(120)), ("B", at(24), at(120))]),
        (Series("A", "a minute", WEEK.start), [("A", at(24), at(120)), ("B", at(0), at(120))]),
        (UNKNOWN_SERIES, []),
        (Series("C", "1min", None), [("A", at(0), at(120)), ("B", at(0), at(120))]),
    ],
)
def test_where_a_bad_row_may_lie_the_source_has_not_told_all(of, left):
    told_ = told()
    told_.answered(Answered(symbol, "1min", at(0), at(120)) for symbol in ("A", "B"))
    told_.quarantined([of], request("A", "B"))
    assert spans(told_, Outcome.ANSWERED) == [("1min", *each) for each in left]
    assert spans(told_, Outcome.QUARANTINED) == []


def test_too_many_symbols_to_name_mean_all():
    told_ = told()
    told_.symbols.update(f"S{number}" for number in range(MOST_SYMBOLS + 1))
    [due] = told_.due([MONDAY])
    few = Due("1min", WEEK.start, WEEK.end, due.run_id, ("A",))
    assert [each.symbols for each in named_symbols([replace(few, symbols=()), few, due])] == [(), ("A",), ()]


def test_a_line_of_a_commit_takes_the_symbols_that_its_run_named():
    commit = Due("1min", WEEK.start, WEEK.end, "run", number=1)
    other = Due("1min", WEEK.start, WEEK.end, "another", number=2)
    named = Due("1min", WEEK.start, WEEK.end, "run", ("A",), number=3)
    assert [due.symbols for due in named_symbols([commit, other, named])] == [("A",), (), ("A",)]


def test_a_telling_is_written_and_read_again():
    telling = Telling("BTC/USDT", at(0), at(1), Outcome.FAILED, "crypto", "503")
    assert Telling.parse(telling.document()) == telling
