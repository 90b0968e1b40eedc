"""The picture of coverage: readable as XML, a colour for each state, one line a series or a year."""

from datetime import UTC, date, datetime, timedelta
from xml.etree import ElementTree as ET

import click
import numpy as np
import pytest

from thermocline.cli.heat_map import drawn
from thermocline.errors import UsageError
from thermocline.model.coverage.heat_cells import percent, picture
from thermocline.model.coverage.heat_map import check_name, svg, written
from thermocline.model.coverage.report import CoverageReport, looked_at
from thermocline.model.coverage.states import Findings, Series, nothing_known, updated
from thermocline.model.partition import DayRange
from thermocline.model.sessions import Expectation, number_of

DAY = date(2023, 1, 1)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
NONE = np.zeros(0, np.int64)
RECT, TITLE, TEXT = (f"{{http://www.w3.org/2000/svg}}{name}" for name in ("rect", "title", "text"))


def report(rows_by_symbol, expected=10):
    series = []
    for symbol, rows in rows_by_symbol.items():
        days = np.arange(number_of(DAY), number_of(DAY) + len(rows)) * 86_400
        wanted = Expectation(number_of(DAY), np.full(len(rows), expected), days, days + 80_000, NONE, NONE, NONE)
        none = np.zeros(len(rows), bool)
        findings = Findings(number_of(DAY), np.array(rows), none, none, "vendor")
        cover = updated(nothing_known(Series("market_data", "equity", symbol, "1day")), findings, wanted, NOW)
        span = DayRange(DAY, DAY + timedelta(days=len(rows)))
        series.append(looked_at(cover, wanted, "XNYS", span, NOW))
    return CoverageReport("market_data", tuple(series))


def cells(made):
    rects = ET.fromstring(made).iter(RECT)  # noqa: S314  # our own
    return [(rect.get("fill"), rect.find(TITLE).text) for rect in rects if rect.find(TITLE) is not None]


@pytest.mark.parametrize(
    ("missing", "expected", "said"), [(0, 40_787, "100.00 %"), (2, 40_787, "99.99 %"), (214, 5_613, "96.19 %")]
)
def test_a_series_that_lacks_a_bar_is_not_said_to_be_whole(missing, expected, said):
    assert percent(missing, expected) == said


def test_there_is_room_for_what_stands_beside_a_line():
    made = ET.fromstring(svg(report({"A": [0] * 300}, expected=100_000)))  # noqa: S314  # our own
    [count] = [text for text in made.iter(TEXT) if (text.text or "").endswith("30,000,000 missing")]
    assert float(count.get("x")) + 6 * len(count.text) < float(made.get("width"))


def test_neighbours_of_one_state_are_one_cell_that_says_what_it_is():
    shown = cells(svg(report({"<A&B>": [10, 10, 10, 0, 5], "C": [10] * 5})))
    assert [text for _, text in shown] == [
        "<A&B>, 2023-01-01 to before 2023-01-04: complete, 30 of 30 bars",
        "<A&B>, 2023-01-04 to before 2023-01-05: pending, 0 of 10 bars",
        "<A&B>, 2023-01-05 to before 2023-01-06: partial, 5 of 10 bars",
        "C, 2023-01-01 to before 2023-01-06: complete, 50 of 50 bars",
    ]
    assert len({colour for colour, _ in shown}) == 3


def test_a_partial_cell_is_the_greener_the_more_of_it_is_there():
    few, many = (colour for colour, _ in cells(svg(report({"A": [1, 9]}))))
    assert few != many


def test_one_series_of_several_years_has_a_line_for_each():
    shown = picture(report({"A": [10] * 800}), 400, by_year=True)
    assert [line.label for line in shown.lines] == ["2023", "2024", "2025"]
    assert [len(line.cells) for line in shown.lines] == [365, 366, 365]


def test_days_become_weeks_months_quarters_and_years_where_they_are_too_many():
    made = report({"A": [10] * 800, "B": [10] * 800})
    assert [picture(made, most).unit for most in (800, 400, 50, 12, 3)] == ["day", "week", "month", "quarter", "year"]


def test_a_terminal_tells_states_by_marks_also_without_colours():
    lines = [click.unstyle(line) for line in drawn(report({"A": [10, 5, 0, 10]}), 10)]
    assert lines[2] == "A █▒·█"
    assert lines[3] == "█ complete   ▒ partial   · pending"


def test_html_holds_the_picture_and_other_names_are_refused():
    assert "<svg" in written(report({"A": [10]}), "a.html")
    with pytest.raises(UsageError, match=r"let it end in .svg or .html"):
        check_name("coverage.png")
