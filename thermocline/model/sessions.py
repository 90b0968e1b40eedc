"""Trading sessions, and how many bars of which size they should have.

A daily bar carries its session's date; an intraday bar the instant it opens. Vendors open bars of one size at different
instants: the first hour of New York is 9:00 to some, 9:30 to others. What is counted are therefore the clock's own
pieces of that size, in the exchange's time zone, that a session touches; a row counts for the piece that it opens in.
Bars before and after the session are none of these: they are there as well, but never missing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from thermocline.model.calendars import ALWAYS, WEEK
from thermocline.model.partition import DayRange

Numbers = npt.NDArray[np.int64]

DAY_SECONDS = 86_400
_EPOCH = date(1970, 1, 1).toordinal()
_UNITS = {"sec": 1, "min": 60, "hour": 3600}
_LENGTH = re.compile(r"(\d+)([a-z]+)")
_NEW_YORK = ZoneInfo("America/New_York")
_MONDAY = 3  # the epoch was a Thursday, so that day 4 is a Monday
_FRIDAY = 4


def number_of(day: date) -> int:
    """The day as a count from the epoch."""
    return day.toordinal() - _EPOCH


def day_of(number: int) -> date:
    """The day of a count from the epoch."""
    return date.fromordinal(number + _EPOCH)


@dataclass(frozen=True)
class Sessions:
    """The sessions of a calendar that are dated on some days. Days count from the epoch, instants are its seconds.

    `dates` are the days that sessions are named after; `opens` and `closes` their instants; `pauses` the two instants
    of a pause in each, -1 where there is none; `offsets` what the exchange's clock is ahead of UTC as each opens.
    Outside `days` nothing is known.
    """

    name: str
    days: DayRange
    dates: Numbers
    opens: Numbers
    closes: Numbers
    pauses: Numbers
    offsets: Numbers

    def during(self, ranges: Iterable[DayRange]) -> "Sessions":
        """Those of them that are dated on a day of any of the ranges."""
        kept = np.zeros(len(self.dates), dtype=bool)
        for each in ranges:
            kept |= (self.dates >= number_of(each.start)) & (self.dates < number_of(each.end))
        return replace(
            self,
            dates=self.dates[kept],
            opens=self.opens[kept],
            closes=self.closes[kept],
            pauses=self.pauses[kept],
            offsets=self.offsets[kept],
        )


@dataclass(frozen=True)
class Expectation:
    """How many bars of one size each day of a range should have.

    All arrays but the last three have an element for each day from the day `first` on: `counts`, when the first of
    them opens (`opens`) and when the last is over (`closes`), in seconds, -1 where there is none. A row counts for the
    day `span_days[i]` if it opens in `[span_starts[i], span_ends[i])`; spans are in order and don't overlap.
    """

    first: int
    counts: Numbers
    opens: Numbers
    closes: Numbers
    span_days: Numbers
    span_starts: Numbers
    span_ends: Numbers

    def within(self, days: DayRange) -> "Expectation":
        """The same for fewer days, or for days of which nothing is known and nothing is expected."""
        first, last = number_of(days.start), number_of(days.end)
        spans = (self.span_days >= first) & (self.span_days < last)
        return Expectation(
            first,
            _cut(self.counts, self.first, first, last, 0),
            _cut(self.opens, self.first, first, last, -1),
            _cut(self.closes, self.first, first, last, -1),
            self.span_days[spans],
            self.span_starts[spans],
            self.span_ends[spans],
        )


def _cut(values: Numbers, at: int, first: int, last: int, filling: int) -> Numbers:
    """The values of the days `[first, last)`, of values that begin with the day `at`."""
    made = np.full(max(last - first, 0), filling, dtype=np.int64)
    low, high = max(first, at), min(last, at + len(values))
    if low < high:
        made[low - first : high - first] = values[low - at : high - at]
    return made


def around_the_clock(days: DayRange) -> Sessions:
    """Every UTC day is a session."""
    dates = np.arange(number_of(days.start), number_of(days.end), dtype=np.int64)
    opens = dates * DAY_SECONDS
    none = np.full((len(dates), 2), -1, dtype=np.int64)
    return Sessions(ALWAYS, days, dates, opens, opens + DAY_SECONDS, none, np.zeros_like(opens))


def forex_week(days: DayRange) -> Sessions:
    """Monday to Friday, each from 17:00 of the day before in New York; not Christmas and New Year."""
    dates = [day for day in days if day.weekday() <= _FRIDAY and (day.month, day.day) not in {(12, 25), (1, 1)}]
    five = time(17)
    opens = [datetime.combine(day - timedelta(days=1), five, _NEW_YORK) for day in dates]
    closes = [datetime.combine(day, five, _NEW_YORK) for day in dates]
    return Sessions(
        WEEK,
        days,
        np.array([number_of(day) for day in dates], dtype=np.int64),
        np.array([int(at.timestamp()) for at in opens], dtype=np.int64),
        np.array([int(at.timestamp()) for at in closes], dtype=np.int64),
        np.full((len(dates), 2), -1, dtype=np.int64),
        np.zeros(len(dates), dtype=np.int64),  # vendors cut the hours of this market by UTC
    )


def seconds_of(interval: str) -> int | None:
    """The length of an intraday bar in seconds; None for a day and longer."""
    match = _LENGTH.fullmatch(interval)
    if match is None or match[2] not in _UNITS:
        return None
    return int(match[1]) * _UNITS[match[2]]


def bucket_of(interval: str, numbers: Numbers) -> Numbers:
    """For each day the one that stands for it: itself, or the Monday of its week, or the first of its month."""
    match interval:
        case "1week":
            return numbers - (numbers + _MONDAY) % 7
        case "1month":
            return numbers.astype("datetime64[D]").astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    return numbers


def expectation(sessions: Sessions, interval: str, until: int | None = None) -> Expectation | None:
    """What bars of that size the sessions should have; None for sizes of which there is no rule.

    An empty `interval` is that of datasets without bars: a row on each session's date, or more. With `until` intraday
    bars of sessions that are open at that second are left out where they are not over.
    """
    step = seconds_of(interval)
    if step is not None and step <= DAY_SECONDS:
        return _intraday(sessions, step, until)
    if interval in {"", "1day", "1week", "1month"}:
        return _dated(sessions, interval)
    return None


def _dated(sessions: Sessions, interval: str) -> Expectation:
    """One bar for each date, week or month that has a session."""
    first, last = number_of(sessions.days.start), number_of(sessions.days.end)
    inside = (sessions.dates >= first) & (sessions.dates < last)
    buckets = bucket_of(interval, sessions.dates[inside])
    first = min(first, int(buckets[0])) if len(buckets) else first
    size = max(last - first, 0)
    counts, opens, closes = np.zeros(size, np.int64), np.full(size, -1, np.int64), np.full(size, -1, np.int64)
    counts[buckets - first] = 1
    opens[buckets - first] = buckets * DAY_SECONDS
    np.maximum.at(closes, buckets - first, sessions.closes[inside])
    days = np.unique(buckets)
    following = bucket_of(interval, days + {"1week": 7, "1month": 31}.get(interval, 1))
    return Expectation(first, counts, opens, closes, days, days * DAY_SECONDS, following * DAY_SECONDS)


def _intraday(sessions: Sessions, step: int, until: int | None) -> Expectation:
    """The pieces of the clock that sessions touch, counted on the UTC day on which each is first traded in."""
    starts, ends, offsets = _pieces(sessions)
    local_midnights = (starts + offsets) // DAY_SECONDS * DAY_SECONDS - offsets
    if until is not None:
        ends = np.where(ends > until, local_midnights + (until - local_midnights) // step * step, ends)
    lows = local_midnights + (starts - local_midnights) // step * step
    highs = local_midnights - (local_midnights - ends) // step * step
    # A long bar may span a pause; it belongs to what is before it.
    lows[1:] = np.maximum(lows[1:], highs[:-1])
    first = number_of(sessions.days.start)
    size = number_of(sessions.days.end) - first
    never = np.iinfo(np.int64).max
    counts, opens, closes = np.zeros(size, np.int64), np.full(size, never, np.int64), np.full(size, -1, np.int64)
    spans = [np.zeros((3, 0), np.int64)]
    at, counted = np.maximum(lows, starts), np.zeros(len(lows), np.int64)
    live = np.flatnonzero(at < highs)
    while len(live):
        begun = at[live]
        days = begun // DAY_SECONDS
        pausing = np.minimum(highs[live], (days + 1) * DAY_SECONDS)
        reached = -((lows[live] - pausing) // step)
        inside = (days >= first) & (days < first + size)
        chosen = (days - first)[inside]
        np.add.at(counts, chosen, (reached - counted[live])[inside])
        np.minimum.at(opens, chosen, begun[inside])
        np.maximum.at(closes, chosen, np.minimum(pausing, ends[live])[inside])
        floors = np.maximum(np.where(counted[live] > 0, begun, lows[live]), days * DAY_SECONDS)
        spans.append(np.stack([days, floors, pausing])[:, inside])
        at[live], counted[live] = pausing, reached
        live = live[pausing < highs[live]]
    joined = np.concatenate(spans, axis=1)
    joined = joined[:, np.argsort(joined[1], kind="stable")]
    return Expectation(first, counts, np.where(opens == never, -1, opens), closes, *joined)


def _pieces(sessions: Sessions) -> tuple[Numbers, Numbers, Numbers]:
    """The sessions cut at their pauses, in order."""
    paused = sessions.pauses[:, 0] >= 0
    before = np.where(paused, sessions.pauses[:, 0], sessions.closes)
    starts = np.concatenate([sessions.opens, sessions.pauses[paused, 1]])
    ends = np.concatenate([before, sessions.closes[paused]])
    offsets = np.concatenate([sessions.offsets, sessions.offsets[paused]])
    order = np.argsort(starts, kind="stable")
    return starts[order], ends[order], offsets[order]
