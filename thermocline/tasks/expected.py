"""What is expected of an instrument, by the calendar that it has."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from thermocline.model.calendars import CalendarRules
from thermocline.model.partition import DayRange, hull_of
from thermocline.ports import Calendars

if TYPE_CHECKING:
    from thermocline.model.coverage.states import Series
    from thermocline.model.sessions import Expectation, Sessions

EACH_SESSION = frozenset({"options_data", "features"})
"""Datasets without bars that have a row, or more, for each session."""
_LONGEST_SESSION = timedelta(days=3)
_EQUITY = "equity"


def instrument_of(series: "Series") -> tuple[str, str]:
    """The asset class and symbol whose bars a series has; datasets without asset classes are of shares."""
    return series.asset_class or _EQUITY, series.symbol


@dataclass(frozen=True)
class Expectations:
    """How many bars series should have; each calendar and size is worked out once, over whole years."""

    calendars: Calendars
    rules: CalendarRules
    _known: "dict[tuple[str, str], tuple[DayRange, Sessions, Expectation | None]]" = field(default_factory=dict)

    def calendar_of(self, series: "Series") -> str | None:
        """The series' calendar; None where nothing is expected of it."""
        if not series.interval and series.dataset not in EACH_SESSION:
            return None
        return self.rules.of(*instrument_of(series))

    def of(self, series: "Series", days: DayRange, named: Sequence[DayRange] | None = None) -> "Expectation | None":
        """What is expected of a series, on those days at least; None where nothing is.

        `named` are the days on which its symbol named an instrument, and no others are expected; None: nobody said.
        """
        from thermocline.model.sessions import expectation  # noqa: PLC0415  # numpy, for those who look

        name = self.calendar_of(series)
        if name is None:
            return None
        of_all = self.by_calendar(name, series.interval, days)
        if named is None or any(each.start <= days.start and days.end <= each.end for each in named):
            return of_all
        _, sessions, _ = self._known[name, series.interval]
        return expectation(sessions.during(named), series.interval)

    def so_far(
        self, series: "Series", days: DayRange, now: datetime, named: Sequence[DayRange] | None = None
    ) -> "Expectation | None":
        """The same of the days around now, without intraday bars that are not over; None where there can be none."""
        from thermocline.model.sessions import expectation, seconds_of  # noqa: PLC0415  # numpy, for those who look

        name = self.calendar_of(series)
        around = DayRange(now.date() - _LONGEST_SESSION, now.date() + _LONGEST_SESSION)
        if name is None or seconds_of(series.interval) is None or days.end <= around.start:
            return None
        self.by_calendar(name, series.interval, hull_of([days, around]))
        sessions = self._known[name, series.interval][1].during([around])
        if named is not None:
            sessions = sessions.during(named)
        return expectation(sessions, series.interval, int(now.timestamp()))

    def by_calendar(self, name: str, interval: str, days: DayRange) -> "Expectation | None":
        """What bars of a size a calendar has, on those days at least."""
        from thermocline.model.sessions import expectation  # noqa: PLC0415  # numpy, for those who look

        known = self._known.get((name, interval))
        if known is None or known[0].start > days.start or known[0].end < days.end:
            start = min(days.start, known[0].start) if known else days.start
            end = max(days.end, known[0].end) if known else days.end
            wide = DayRange(date(start.year, 1, 1), date(min(end.year + 1, date.max.year), 1, 1))
            sessions = self.calendars.sessions(name, wide)
            known = wide, sessions, expectation(sessions, interval)
            self._known[name, interval] = known
        return known[2]
