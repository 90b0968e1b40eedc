"""How many bars a session should have: holidays, half days, pauses, midnight in UTC, and the clock's own changes."""

from datetime import date, timedelta

import numpy as np
import pytest

from thermocline.errors import SettingsError
from thermocline.model.partition import DayRange
from thermocline.model.sessions import expectation
from thermocline.sources.calendars import ExchangeCalendars


@pytest.fixture(scope="module")
def calendars():
    return ExchangeCalendars()


@pytest.fixture
def expected(calendars):
    def expect(name, interval, first, days):
        span = DayRange(date.fromisoformat(first), date.fromisoformat(first) + timedelta(days=days))
        found = expectation(calendars.sessions(name, span), interval)
        return None if found is None else found.within(span)

    return expect


@pytest.mark.parametrize(
    ("calendar", "interval", "first", "counts"),
    [
        ("XNYS", "1day", "2024-07-01", [1, 1, 1, 0, 1, 0, 0]),  # Independence Day, and a half day before it
        ("XNYS", "1min", "2024-07-01", [390, 390, 210, 0, 390, 0, 0]),
        ("XNYS", "5min", "2024-07-03", [42, 0, 78]),
        ("XNYS", "1hour", "2024-07-03", [4, 0, 7]),  # 9:30 to 13:00 touches four hours of the clock
        ("XNYS", "4hour", "2024-01-02", [2, 2]),
        ("XNYS", "1week", "2024-01-01", [1, 0, 0, 0, 0, 0, 0, 1]),
        ("XNYS", "1month", "2024-02-01", [1, *[0] * 28, 1]),
        ("XTKS", "1min", "2024-01-04", [300, 300, 0]),  # a pause of an hour at noon
        ("XHKG", "1hour", "2024-01-02", [6]),
        ("XNZE", "1min", "2024-01-03", [405, 405, 225]),  # its session spans midnight in UTC
        ("CMES", "1min", "2024-01-02", [1380, 1380, 1380, 1320, 0, 60]),  # shut an hour a day, and at weekends
        ("24/5", "1min", "2024-03-08", [1320, 0, 180, 1440]),  # New York's clock goes forward on the Sunday
        ("24/5", "1day", "2023-12-22", [1, 0, 0, 0, 1]),
        ("24/7", "1min", "2024-03-09", [1440, 1440]),
        ("24/7", "7min", "2024-03-09", [206]),
        ("XNYS", "", "2024-07-03", [1, 0, 1]),
    ],
)
def test_each_day_has_as_many_bars_as_its_session_is_long(expected, calendar, interval, first, counts):
    assert expected(calendar, interval, first, len(counts)).counts.tolist() == counts


@pytest.mark.parametrize(
    ("calendar", "interval", "now", "counts"),
    [
        ("24/7", "1hour", "2024-07-03T12:05", [24, 12, 0]),
        ("XNYS", "1min", "2024-07-03T13:30:59", [390, 0, 0]),
        ("XNYS", "1min", "2024-07-03T13:35", [390, 5, 0]),
        ("XNYS", "1hour", "2024-07-03T15:59", [7, 2, 0]),  # of 9 and 10 o'clock
        ("XNYS", "1hour", "2024-07-03T17:00", [7, 4, 0]),  # it ends at one
        ("XNZE", "1min", "2024-07-03T00:10", [405, 10, 0]),  # its session of the 3rd began the day before
    ],
)
def test_of_an_open_session_bars_are_counted_that_are_over(calendars, calendar, interval, now, counts):
    span = DayRange(date(2024, 7, 2), date(2024, 7, 5))
    until = int(np.datetime64(now, "s").astype(int))
    found = expectation(calendars.sessions(calendar, span), interval, until).within(span)
    assert found.counts.tolist() == counts


def test_a_session_opens_at_the_exchanges_own_time_when_the_clock_changes(expected):
    opens = expected("XNYS", "1min", "2024-03-08", 4).opens
    assert [str(np.datetime64(at, "s")) for at in opens[[0, 3]].tolist()] == [
        "2024-03-08T14:30:00",
        "2024-03-11T13:30:00",
    ]


def test_an_hour_that_is_opened_at_nine_or_at_half_past_nine_counts_the_same(expected):
    found = expected("XNYS", "1hour", "2024-01-02", 1)
    [start], [end] = found.span_starts.tolist(), found.span_ends.tolist()
    at = [str(np.datetime64(second, "s")) for second in (start, end)]
    assert at == ["2024-01-02T14:00:00", "2024-01-02T21:00:00"]  # 9:00 to 16:00 in New York


def test_days_that_all_lie_before_a_calendar_begins_have_no_sessions():
    before = DayRange(date(1960, 1, 1), date(1960, 1, 31))
    found = expectation(ExchangeCalendars().sessions("XTKS", before), "1min")
    assert not found.within(before).counts.any()


def test_nothing_is_said_of_sizes_without_a_rule_or_of_days_that_a_calendar_does_not_know(expected):
    assert expected("XNYS", "2week", "2024-01-01", 7) is None
    assert not expected("XTKS", "1day", "1960-01-01", 30).counts.any()
    assert expected("XTKS", "1day", "1996-12-20", 20).counts.any()


def test_a_calendar_that_does_not_exist_is_refused_by_name(calendars):
    with pytest.raises(SettingsError, match="'NYSEE'; did you mean NYSE"):
        calendars.sessions("NYSEE", DayRange(date(2024, 1, 1), date(2024, 2, 1)))


def test_a_calendar_is_built_once_in_a_process():
    year = DayRange(date(2024, 1, 1), date(2024, 12, 31))
    assert ExchangeCalendars().sessions("XNYS", year) is ExchangeCalendars().sessions("XNYS", year)
