"""Trading calendars, from the package exchange_calendars (https://pypi.org/project/exchange-calendars).

What it says by default is no more than its last twenty years, so that every range is asked for by name. A calendar of
thirty years takes most of a second to build; what was built is kept, and asked for again only where days are missing.
Its sessions are dates without a zone, its instants are UTC.
"""

import difflib
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from thermocline.errors import SettingsError
from thermocline.model.calendars import ALWAYS, NONE, WEEK
from thermocline.model.partition import DayRange
from thermocline.model.sessions import Sessions, around_the_clock, forex_week

_ROUND = timedelta(days=10)
"""Days that are built before and after: a session may open on the day before its date, a week has its Monday."""
_LAST = date(2100, 1, 1)
_FIRST = date(1900, 1, 1)
_DAILY_PAUSE_SECONDS = {"CMES": 3600, "us_futures": 3600}
"""What the package leaves out: Globex is shut from 16:00 to 17:00 in Chicago, so that a session has 23 hours
(https://www.cmegroup.com/trading-hours.html, read 2026-11)."""
_WHOLE_DAY_SECONDS = 86_400


class ExchangeCalendars:
    """See `Calendars`. `24/7` and `24/5` are our own, all others those of exchange_calendars."""

    def __init__(self) -> None:
        """Nothing is built before it is asked for."""
        self._built: dict[str, Sessions] = {}

    def sessions(self, name: str, days: DayRange) -> Sessions:
        """See `Calendars.sessions`."""
        days = _within_reason(days)
        if name == ALWAYS:
            return around_the_clock(days)
        known = self._built.get(name)
        if known is None or known.days.start > days.start or known.days.end < days.end:
            start = min(days.start, known.days.start) if known else days.start
            end = max(days.end, known.days.end) if known else days.end
            # Whole years, so that a range that grows by a day is not built anew each time.
            wide = DayRange(date(start.year, 1, 1), date(end.year + 1, 1, 1))
            known = forex_week(wide) if name == WEEK else _built(name, wide)
            self._built[name] = known
        return known


def zone_of(name: str) -> str:
    """The time zone of a calendar's exchange.

    Raises:
        SettingsError: No calendar is called so.
    """
    import exchange_calendars  # noqa: PLC0415  # more than a second, for those who ask for a calendar of it
    from exchange_calendars.errors import InvalidCalendarName  # noqa: PLC0415

    if name in {ALWAYS, WEEK}:
        return "UTC" if name == ALWAYS else "America/New_York"
    try:
        return str(exchange_calendars.get_calendar(name).tz)
    except InvalidCalendarName:
        raise _no_calendar(name) from None


def _no_calendar(name: str) -> SettingsError:
    import exchange_calendars  # noqa: PLC0415

    names = [ALWAYS, WEEK, NONE, *exchange_calendars.get_calendar_names()]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else "write an exchange's MIC such as XNYS, XLON or XTKS, or 24/7"
    return SettingsError(f"no trading calendar is called {name!r}; {hint} See `calendars` in thermocline.yaml")


def _within_reason(days: DayRange) -> DayRange:
    start, end = max(days.start, _FIRST), min(days.end, _LAST)
    return DayRange(start, end) if start < end else DayRange(_FIRST, _FIRST + timedelta(days=1))


@lru_cache(maxsize=32)  # for whoever is opened anew in the same process, as each run of Dagster's is
def _built(name: str, days: DayRange) -> Sessions:
    """The calendar's sessions over those days, as far as it knows them."""
    import exchange_calendars  # noqa: PLC0415  # more than a second, for those who ask for a calendar of it
    from exchange_calendars.errors import InvalidCalendarName, NoSessionsError  # noqa: PLC0415

    try:
        start, end = days.start - _ROUND, days.end + _ROUND
        try:
            built = exchange_calendars.get_calendar(name, start=start.isoformat(), end=end.isoformat())
        except (ValueError, NoSessionsError):
            # The days reach over the first or last that it knows.
            plain = exchange_calendars.get_calendar(name)
            first, last = _day(plain.bound_min()) or _FIRST, _day(plain.bound_max()) or _LAST
            # Days that lie outside as a whole leave the calendar's first ones, or its last.
            start, end = max(min(start, last - 2 * _ROUND), first), min(max(end, first + 2 * _ROUND), last)
            built = exchange_calendars.get_calendar(name, start=start.isoformat(), end=end.isoformat())
    except InvalidCalendarName:
        raise _no_calendar(name) from None
    inside = max(days.start, start), min(days.end, end)
    return _as_sessions(name, DayRange(*inside) if inside[0] < inside[1] else DayRange(start, end), built)


def _as_sessions(name: str, days: DayRange, built: Any) -> Sessions:
    schedule = built.schedule
    dates = schedule.index.to_numpy().astype("datetime64[D]").astype(np.int64)
    opens, closes = _seconds(schedule["open"]), _seconds(schedule["close"])
    pauses = np.stack([_seconds(schedule["break_start"]), _seconds(schedule["break_end"])], axis=1)
    if pause := _DAILY_PAUSE_SECONDS.get(name):
        closes = np.where(closes - opens == _WHOLE_DAY_SECONDS, closes - pause, closes)
    zone = ZoneInfo(str(built.tz))
    offsets = [datetime.fromtimestamp(at, UTC).astimezone(zone).utcoffset() or timedelta() for at in opens.tolist()]
    ahead = np.array([offset.total_seconds() for offset in offsets], dtype=np.int64)
    return Sessions(name, days, dates, opens, closes, pauses, ahead)


def _seconds(instants: Any) -> Any:
    """Instants as seconds since the epoch, -1 for none."""
    values = instants.dt.tz_localize(None).to_numpy().astype("datetime64[s]")
    return np.where(np.isnat(values), -1, values.astype(np.int64))


def _day(bound: Any) -> date | None:
    return None if bound is None else bound.date()
