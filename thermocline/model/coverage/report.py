"""The coverage of a series as people ask for it: what is expected, what is there, and where the gaps are."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np

from thermocline.model.coverage.states import (
    CODES,
    MISSING,
    STATES,
    Cover,
    Mask,
    Run,
    Series,
    State,
    expected_over,
    runs_of,
)
from thermocline.model.partition import DayRange, hull_of
from thermocline.model.sessions import DAY_SECONDS, Expectation, Numbers, day_of, number_of, seconds_of


@dataclass(frozen=True)
class SeriesCoverage:
    """A series over some days as people ask for it: what is expected, what is there, and each day's state."""

    cover: Cover
    expected: Numbers
    calendar: str | None = None
    days: DayRange = field(kw_only=True)
    over_since: Numbers | None = field(default=None, kw_only=True)
    """When the last of the expected bars of each day was over, in seconds."""

    @property
    def series(self) -> Series:
        """Whose coverage it is."""
        return self.cover.series

    @property
    def bars_expected(self) -> int:
        """How many bars there should be."""
        return int(self.expected.sum())

    @property
    def bars_there(self) -> int:
        """How many of them are there; where none is expected on any day, how many there are."""
        rows = self.cover.rows
        return int((rows[self.expected > 0] if self.expected.any() else rows).sum())

    @property
    def bars_missing(self) -> int:
        """How many are not."""
        return int(np.maximum(self.expected - self.cover.rows, 0).sum())

    @property
    def sessions_expected(self) -> int:
        """On how many days bars are expected."""
        return int((self.expected > 0).sum())

    @property
    def up_to_date(self) -> Mask:
        """The days of which more is to come, and all is there that there should be by now."""
        pending: Mask = self.cover.codes == CODES[State.PENDING]
        return pending & (self.cover.rows >= self.expected)

    def count(self, state: State) -> int:
        """How many days are in a state."""
        return int((self.cover.codes == CODES[state]).sum())

    @property
    def first(self) -> date | None:
        """The first day with rows."""
        there = np.flatnonzero(self.cover.rows)
        return day_of(self.cover.first + int(there[0])) if len(there) else None

    @property
    def last(self) -> date | None:
        """The last day with rows."""
        there = np.flatnonzero(self.cover.rows)
        return day_of(self.cover.first + int(there[-1])) if len(there) else None

    def state_of(self, day: date) -> State | None:
        """A day's state; None where nothing is known and nothing expected."""
        return STATES[int(self.cover.codes[number_of(day) - self.cover.first])]

    def dates(self, states: Iterable[State] = MISSING) -> list[date]:
        """The days in those states."""
        chosen = np.isin(self.cover.codes, [CODES[state] for state in states]) & ~self.up_to_date
        return [day_of(self.cover.first + at) for at in np.flatnonzero(chosen).tolist()]

    def gaps(self) -> Iterator[Run]:
        """The runs of days that lack bars, in order; a few complete days between partial ones are not told apart."""
        none = np.zeros(0, np.int64)
        expected = Expectation(self.cover.first, self.expected, self.expected, self.expected, none, none, none)
        found = (run for run in runs_of(self.cover, expected, coarse=True) if run.state in MISSING)
        return (run for run in found if run.state is not State.PENDING or run.rows < run.expected)

    def document(self) -> dict[str, Any]:
        """The series as JSON."""
        return {
            "dataset": self.series.dataset,
            "asset_class": self.series.asset_class or None,
            "symbol": self.series.symbol,
            "interval": self.series.interval or None,
            "calendar": self.calendar,
            "start": self.days.start.isoformat(),
            "end": self.days.end.isoformat(),
            "first": self.first and self.first.isoformat(),
            "last": self.last and self.last.isoformat(),
            "sessions_expected": self.sessions_expected,
            "expected": self.bars_expected,
            "there": self.bars_there,
            "missing": self.bars_missing,
            "days": {state.value: self.count(state) for state in State},
            "gaps": [run.document() for run in self.gaps()],
        }


def looked_at(
    cover: Cover,
    expected: Expectation | None,
    calendar: str | None,
    days: DayRange,
    now: datetime,
    *,
    so_far: Expectation | None = None,
) -> SeriesCoverage:
    """A series over some days; one on which bars are expected and of which nothing is known is pending.

    Less may be `expected` than the ledger went by: what came is complete then, and nothing else is known of the day.
    One whose session is not over is pending, too. Nothing is missing of it yet, or what lacks of its bars that are
    over, which `so_far` has.
    """
    made = cover.over(days)
    wanted = expected_over(expected, days)
    counts, over_since = wanted.counts.copy(), wanted.closes.copy()
    if expected is not None:
        made.codes[(made.rows > 0) & (made.rows >= counts)] = CODES[State.COMPLETE]
        made.codes[(made.rows == 0) & (counts == 0) & (made.codes != CODES[State.QUARANTINED])] = 0
    made.codes[(made.codes == 0) & (counts > 0)] = CODES[State.PENDING]
    to_come = (wanted.closes > now.timestamp()) & (made.rows < counts)
    by_now = expected_over(so_far, days)
    counts[to_come] = np.maximum(made.rows, by_now.counts)[to_come]
    over_since[to_come] = _last_over(by_now, wanted, cover.series.interval, now)[to_come]
    made.codes[to_come] = np.where(counts[to_come] > 0, CODES[State.PENDING], 0)
    counts[made.codes == CODES[State.EMPTY]] = 0  # a source has told that there was nothing to expect
    return SeriesCoverage(made, counts, calendar, days=days, over_since=over_since)


def _last_over(so_far: Expectation, expected: Expectation, interval: str, now: datetime) -> Numbers:
    """When the last bar before now was over, by the clock or by the session's opening: vendors differ."""
    step = seconds_of(interval) or DAY_SECONDS
    since_open = (int(now.timestamp()) - expected.opens) // step
    return np.maximum(so_far.closes, np.where(since_open > 0, expected.opens + since_open * step, -1))


@dataclass(frozen=True)
class CoverageReport:
    """The coverage of some series of a dataset."""

    dataset: str
    series: tuple[SeriesCoverage, ...]

    @property
    def days(self) -> DayRange | None:
        """The days from the first of any series to the last."""
        return hull_of([each.days for each in self.series]) if self.series else None

    def svg(self) -> str:
        """A picture of it: days against series, see `model.coverage.heat_map`."""
        from thermocline.model.coverage.heat_map import svg  # noqa: PLC0415  # it needs what is here

        return svg(self)

    def document(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "dataset": self.dataset,
            "expected": sum(each.bars_expected for each in self.series),
            "there": sum(each.bars_there for each in self.series),
            "missing": sum(each.bars_missing for each in self.series),
            "series": [each.document() for each in self.series],
        }
