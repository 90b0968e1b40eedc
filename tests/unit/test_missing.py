"""The fewest requests for what is missing."""

from datetime import UTC, date, datetime, timedelta

import numpy as np

from thermocline.model.coverage.missing import AskAgain, Reach, plan_missing
from thermocline.model.coverage.report import looked_at
from thermocline.model.coverage.states import Findings, Series, nothing_known, updated
from thermocline.model.partition import DayRange
from thermocline.model.sessions import Expectation, number_of

DAY = date(2024, 1, 1)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
NONE = np.zeros(0, np.int64)


def lacking(symbol, rows, *, bars=100, answered=(), source="vendor", at=NOW):
    """A series with that many bars on each day, of so many that there should be."""
    days = np.arange(number_of(DAY), number_of(DAY) + len(rows)) * 86_400
    wanted = Expectation(number_of(DAY), np.full(len(rows), bars), days, days + 80_000, NONE, NONE, NONE)
    told = np.isin(np.arange(len(rows)), list(answered))
    findings = Findings(number_of(DAY), np.array(rows), told, np.zeros(len(rows), bool), source, at=at)
    cover = updated(nothing_known(Series("market_data", "equity", symbol, "1min")), findings, wanted, NOW)
    return looked_at(cover, wanted, "XNYS", DayRange(DAY, DAY + timedelta(days=len(rows))), NOW)


def planned(*series, rows_per_page=300, symbols_per_request=1, source="vendor", now=NOW, always=False):
    plan = plan_missing(
        series,
        dataset="market_data",
        source=source,
        reach=Reach(rows_per_page, symbols_per_request),
        again=AskAgain(now, 30, always=always),
    )
    asked = [((f.days.start - DAY).days, (f.days.end - DAY).days, " ".join(f.symbols), f.pages) for f in plan.fetches]
    return asked, plan


def test_spans_are_one_where_the_rows_between_cost_no_further_request():
    assert planned(lacking("A", [0, 100, 0]))[0] == [(0, 3, "A", 1)]
    assert planned(lacking("A", [0, *[100] * 4, 0]))[0] == [(0, 6, "A", 2)]
    assert planned(lacking("A", [0, *[100] * 5, 0]))[0] == [(0, 1, "A", 1), (6, 7, "A", 1)]


def test_a_source_that_does_not_page_is_asked_once():
    holes = [lacking("A", [0, *[100] * 50, 0]), lacking("B", [100, 0, 100])]
    many, _ = planned(*holes, rows_per_page=1 << 40, symbols_per_request=1 << 40)
    assert many == [(0, 52, "A B", 1)]


def test_symbols_that_lack_the_same_days_are_asked_for_together():
    same = [lacking(symbol, [100, 0, 100]) for symbol in "ABCDE"]
    assert planned(*same, symbols_per_request=2)[0] == [(1, 2, "A B", 1), (1, 2, "C D", 1), (1, 2, "E", 1)]
    assert planned(*same, symbols_per_request=5)[0] == [(1, 2, "A B C D E", 2)]


def test_neighbouring_holes_of_several_symbols_share_a_request():
    series = [lacking("A", [0, 100, 100]), lacking("B", [100, 0, 100]), lacking("C", [100, 100, 0])]
    assert planned(*series, rows_per_page=1000, symbols_per_request=3)[0] == [(0, 3, "A B C", 1)]
    assert len(planned(*series, rows_per_page=100, symbols_per_request=3)[0]) == 3


def test_bars_that_are_missing_of_a_day_are_counted():
    _, plan = planned(lacking("A", [40, 0, 100]))
    assert (plan.bars_missing, plan.pages, plan.known_missing) == (160, 1, 0)


def test_what_a_source_has_told_not_to_have_is_not_asked_of_it_again_for_a_while():
    hole = lacking("A", [100, 0, 40], answered=[1, 2])
    assert planned(hole)[0] == []
    assert planned(hole)[1].known_missing == 2
    assert planned(hole, source="another")[0] == planned(hole, always=True)[0] == [(1, 3, "A", 1)]
    assert planned(hole, now=NOW + timedelta(days=31))[0] == [(1, 3, "A", 1)]


def test_nothing_is_asked_for_where_nothing_is_missing():
    assert planned(lacking("A", [100, 100]))[0] == []
    assert planned()[0] == []
