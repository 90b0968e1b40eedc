"""Whether the rows of the last session that is over are there, as the exchange's calendar has it."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from thermocline.errors import SettingsError
from thermocline.model.dataset import Dataset
from thermocline.model.partition import ONE_DAY, DayRange
from thermocline.ports import Calendars, Hot

_DAILY = "1day"
_LONGEST_CLOSURE = timedelta(days=60)
"""Longer than any exchange was shut since the second world war; XNYS was for a week in 2001."""


@dataclass(frozen=True)
class Freshness:
    """The last session whose rows are due, since when, and the newest day that is there up to then."""

    session: date
    due: datetime
    newest: date | None

    @property
    def is_fresh(self) -> bool:
        """Whether the session's rows are there."""
        return self.newest == self.session

    @property
    def reason(self) -> str:
        """In words, what is there and what is not."""
        if self.is_fresh:
            return f"the rows of {self.session} are there"
        newest = f"the newest before are of {self.newest}" if self.newest else "there are none in the two months before"
        return f"the rows of {self.session} were due at {self.due:%Y-%m-%d %H:%M} UTC and are not there; {newest}"


def freshness(
    hot: Hot, calendars: Calendars, dataset: Dataset, calendar: str, hours: int, *, now: datetime, interval: str = ""
) -> Freshness:
    """Whether the last session that closed at least so many hours ago has rows, hot or cold. It asks the ledger alone.

    A day on which the exchange is shut is no session, so nothing is due then.

    Raises:
        SettingsError: No calendar is called so, or it knows no session of late.
    """
    interval = (interval or _DAILY) if dataset.has_intervals else ""
    today = now.astimezone(UTC).date()
    around = DayRange(today - _LONGEST_CLOSURE, today + ONE_DAY)
    session, due = _last_due(calendars, calendar, around, now - timedelta(hours=hours))
    span = DayRange(around.start, session + ONE_DAY)
    intervals = (interval,) if interval else ()
    days = {vintage.partition.day for vintage in hot.live(dataset, span, intervals)}
    days |= {
        day.partition.day
        for day in hot.hot_days(dataset)
        if day.partition.interval == interval and day.partition.day in span
    }
    return Freshness(session, due + timedelta(hours=hours), max(days, default=None))


def _last_due(calendars: Calendars, name: str, days: DayRange, before: datetime) -> tuple[date, datetime]:
    from thermocline.model.sessions import day_of  # noqa: PLC0415  # numpy, for a run alone

    known = calendars.sessions(name, days)
    over = known.closes <= before.timestamp()
    if not over.any():
        msg = f"the calendar {name} knows no session in the two months before {before:%Y-%m-%d}; see `freshness`"
        raise SettingsError(msg)
    return day_of(int(known.dates[over][-1])), datetime.fromtimestamp(int(known.closes[over][-1]), UTC)
