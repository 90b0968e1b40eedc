"""What should be there, what is, and what is known of the rest: the coverage ledger's arithmetic.

A day of a series is in one of six states. `decided` is the table of decisions; docs/guide/coverage.md has it in words.
The ledger keeps runs of days that are alike, and a series is spread out to an element for each day to be worked with.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from thermocline.model.partition import DayRange
from thermocline.model.sessions import DAY_SECONDS, Expectation, Numbers, day_of, number_of

Mask = npt.NDArray[np.bool_]


class State(StrEnum):
    """What is known of a day of a series."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    EMPTY = "empty-confirmed"
    VENDOR_MISSING = "vendor-missing"
    PENDING = "pending"
    QUARANTINED = "quarantined"


STATES: Sequence[State | None] = (None, *State)
"""The states by their codes; code 0 is a day of which nothing is known and on which nothing is expected."""
CODES = {state: code for code, state in enumerate(STATES)}
MISSING = (State.PARTIAL, State.VENDOR_MISSING, State.PENDING, State.QUARANTINED)
"""The states of days that lack bars."""
_COMPLETE, _PARTIAL, _EMPTY, _VENDOR_MISSING, _PENDING, _QUARANTINED = (CODES[state] for state in State)


_FEW_DAYS = 31


@dataclass(frozen=True, order=True, slots=True)
class Series:
    """An instrument's rows of one size; `asset_class` and `interval` are empty where the dataset has none."""

    dataset: str
    asset_class: str
    symbol: str
    interval: str

    def __str__(self) -> str:
        """`market_data/equity/AAPL/1day`."""
        return "/".join(part for part in (self.dataset, self.asset_class, self.symbol, self.interval) if part)


@dataclass(frozen=True, slots=True)
class Told:
    """Who was asked for a day and told all, when last; or why nobody could tell."""

    sources: tuple[str, ...] = ()
    at: datetime | None = None
    reason: str = ""


NOTHING_TOLD = Told()


@dataclass(frozen=True, slots=True)
class Run:
    """Days `[start, end)` of a series that are in one state, and what was told of all of them.

    Days without a session may lie among them, and complete days in a partial run. `rows` are the bars that are there of
    those `expected`; `counts` has them day by day where they can't be told from the calendar.
    """

    series: Series
    start: date
    end: date
    state: State
    rows: int
    expected: int
    told: Told = NOTHING_TOLD
    counts: tuple[int, ...] | None = None

    def document(self) -> dict[str, Any]:
        """The run as JSON."""
        return {
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "state": self.state.value,
            "expected": self.expected,
            "there": self.rows,
            "sources": list(self.told.sources),
            "told_at": self.told.at and self.told.at.isoformat(),
            "reason": self.told.reason or None,
        }


@dataclass(frozen=True)
class Cover:
    """A series day by day, from the day `first` on: its states by code, the bars that are there, and what was told.

    `told` are places in `tellings`, of which the first is that nothing was.
    """

    series: Series
    first: int
    codes: Numbers
    rows: Numbers
    told: Numbers
    tellings: tuple[Told, ...] = (NOTHING_TOLD,)

    @property
    def end(self) -> int:
        """The first day after it."""
        return self.first + len(self.codes)

    @property
    def days(self) -> DayRange | None:
        """The days that it speaks of."""
        return DayRange(day_of(self.first), day_of(self.end)) if len(self.codes) else None

    def over(self, days: DayRange) -> "Cover":
        """The same for other days; of those that it does not speak of nothing is known."""
        first, size = number_of(days.start), (days.end - days.start).days
        codes, rows, told = (np.zeros(size, np.int64) for _ in range(3))
        made = Cover(self.series, first, codes, rows, told, self.tellings)
        low, high = max(first, self.first), min(first + size, self.end)
        if low < high:
            for mine, theirs in ((made.codes, self.codes), (made.rows, self.rows), (made.told, self.told)):
                mine[low - first : high - first] = theirs[low - self.first : high - self.first]
        return made


def nothing_known(series: Series) -> Cover:
    """A series of which the ledger says nothing."""
    none = np.zeros(0, np.int64)
    return Cover(series, 0, none, none, none)


@dataclass(frozen=True)
class Findings:
    """What is found out about some days of a series, from the day `first` on.

    `rows` are the bars that are there; on `answered` days the `source` has told all, `quarantined` ones had rows that
    may not go in. `failed` says why the source could not answer; `at` is when it was asked.
    """

    first: int
    rows: Numbers
    answered: Mask
    quarantined: Mask
    source: str
    failed: str = ""
    at: datetime | None = None


def decided(
    *, expected: Numbers, rows: Numbers, answered: Mask, quarantined: Mask, over: Mask, has_calendar: bool
) -> Numbers:
    """What each day is, by code: the first line that fits decides.

    -1 stands for a day of which nothing new is known; what it was before decides.
    """
    conditions = [
        (rows > 0) & (rows >= expected),
        rows > 0,
        quarantined,
        answered & over & (expected > 0),
        answered & over & np.full(len(rows), not has_calendar),
    ]
    codes = [np.int64(code) for code in (_COMPLETE, _PARTIAL, _QUARANTINED, _VENDOR_MISSING, _EMPTY)]
    return np.select(conditions, codes, default=np.int64(-1)).astype(np.int64)


def _settled(cover: Cover, expected: Numbers, *, has_calendar: bool) -> None:
    """What days are by those around them, and by what the calendar says today.

    Days before the first row of a series are not missing where a source has told all of them: the instrument was not
    there yet. Days between others on which bars are expected, and of which nothing was said, are still to come.
    """
    codes, rows = cover.codes, cover.rows
    nothing = np.isin(codes, (_EMPTY, _VENDOR_MISSING))
    there = np.flatnonzero(rows)
    early = np.arange(len(codes)) < (there[0] if len(there) else 0)
    if has_calendar:
        codes[nothing & (expected > 0)] = _VENDOR_MISSING
        codes[nothing & (expected > 0) & early] = _EMPTY
        codes[np.isin(codes, (_EMPTY, _VENDOR_MISSING, _PENDING)) & (expected == 0)] = 0
    codes[(codes == 0) & (expected > 0)] = _PENDING
    cover.told[np.isin(codes, (0, _COMPLETE))] = 0


def updated(cover: Cover, findings: Findings, expected: Expectation | None, now: datetime) -> Cover:
    """A series with what was found out about some of its days.

    `expected` covers at least those days and all that the series speaks of; None where nothing is expected.
    """
    days = DayRange(day_of(findings.first), day_of(findings.first + len(findings.rows)))
    known = cover.days
    hull = days if known is None else DayRange(min(days.start, known.start), max(days.end, known.end))
    made = cover.over(hull)
    wanted = expected_over(expected, hull)
    at = slice(findings.first - made.first, findings.first - made.first + len(findings.rows))
    seconds = min(now, findings.at or now).timestamp()
    midnights = (np.arange(findings.first, findings.first + len(findings.rows)) + 1) * DAY_SECONDS
    over = np.where(wanted.closes[at] >= 0, wanted.closes[at], midnights) <= seconds
    counts = wanted.counts[at]
    rows = np.where(counts > 0, np.minimum(findings.rows, counts), findings.rows)
    codes = decided(
        expected=counts,
        rows=rows,
        answered=findings.answered,
        quarantined=findings.quarantined,
        over=over,
        has_calendar=expected is not None,
    )
    before = np.where(np.isin(made.codes[at], (_COMPLETE, _PARTIAL)), 0, made.codes[at])
    made.codes[at], made.rows[at] = np.where(codes < 0, before, codes), rows
    _settled(made, wanted.counts, has_calendar=expected is not None)
    return _retold(made, at, findings, findings.at or now, over=over, closes=wanted.closes[at])


def _retold(cover: Cover, at: slice, findings: Findings, now: datetime, *, over: Mask, closes: Numbers) -> Cover:
    """Note who has told all, or why nobody could; what is complete needs nothing told.

    Who told all that there was of a session before it was over is kept until it is asked again or another is.
    """
    tellings = list(cover.tellings)
    places: dict[Told, int] = {told: place for place, told in enumerate(tellings)}

    def place_of(told: Told) -> int:
        if told not in places:
            places[told] = len(tellings)
            tellings.append(told)
        return places[told]

    told = cover.told[at].copy()
    codes = cover.codes[at]
    answered = findings.answered & (codes != _COMPLETE)
    asked = np.array([each.at.timestamp() if each.at else 0.0 for each in tellings])[told]
    outdated = answered & (~over | (asked < closes))
    for place in np.unique(told[answered & ~outdated]).tolist():
        sources = tuple(sorted({*tellings[place].sources, findings.source}))
        told[answered & ~outdated & (cover.told[at] == place)] = place_of(Told(sources, now))
    if outdated.any():
        told[outdated] = place_of(Told((findings.source,), now))
    if findings.failed:
        open_ = ~answered & np.isin(codes, (_PENDING, _PARTIAL))
        told[open_] = place_of(Told((), now, findings.failed))
    told[np.isin(codes, (0, _COMPLETE))] = 0
    cover.told[at] = told
    return replace(cover, tellings=tuple(tellings))


def expected_over(expected: Expectation | None, days: DayRange) -> Expectation:
    """What is expected on some days; nothing where nothing is known."""
    if expected is not None:
        return expected.within(days)
    none = np.zeros(0, np.int64)
    return Expectation(0, none, none, none, none, none, none).within(days)


def runs_of(cover: Cover, expected: Expectation | None, *, coarse: bool = False) -> list[Run]:
    """The series as runs of days in one state; those of the ledger are `coarse`.

    A coarse partial run may have complete days in it, which its counts tell: where every other day lacks a bar, five
    years would be a thousand runs.
    """
    if cover.days is None:
        return []
    counts = expected_over(expected, cover.days).counts
    # Days without a session join what is before them; without a calendar no day is known to be one.
    filled = np.maximum.accumulate(np.where(cover.codes != 0, np.arange(len(cover.codes)), -1))
    joins = (cover.codes == 0) & (filled >= 0) & (expected is not None) & (cover.codes[filled] != _QUARANTINED)
    codes = np.where(joins, cover.codes[filled], cover.codes)
    told = np.where(joins, cover.told[filled], cover.told)
    if coarse:
        codes, told = _coarse(codes, told)
    starts, ends = _alike(codes, told)
    return [
        _run(cover, counts, low, high, STATES[int(codes[low])])
        for low, high in zip(starts.tolist(), ends.tolist(), strict=True)
        if codes[low] != 0
    ]


def _alike(codes: Numbers, told: Numbers) -> tuple[Numbers, Numbers]:
    """Where runs of equal days begin and end."""
    alike = (codes[1:] == codes[:-1]) & (told[1:] == told[:-1])
    starts = np.flatnonzero(np.concatenate([[True], ~alike]))
    return starts, np.concatenate([starts[1:], [len(codes)]])


def _coarse(codes: Numbers, told: Numbers) -> tuple[Numbers, Numbers]:
    """A few complete days between partial ones count as partial."""
    starts, ends = _alike(codes, told)
    if len(starts) < 3:  # noqa: PLR2004  # one between two
        return codes, told
    own, heard = codes[starts], told[starts]
    between = np.zeros(len(starts), dtype=bool)
    between[1:-1] = (
        (own[1:-1] == _COMPLETE)
        & (own[:-2] == _PARTIAL)
        & (own[2:] == _PARTIAL)
        & (heard[:-2] == heard[2:])
        & ((ends - starts)[1:-1] <= _FEW_DAYS)
    )
    before = np.concatenate([[0], heard[:-1]])
    lengths = ends - starts
    return np.repeat(np.where(between, _PARTIAL, own), lengths), np.repeat(np.where(between, before, heard), lengths)


def _run(cover: Cover, expected: Numbers, low: int, high: int, state: State | None) -> Run:
    while cover.codes[high - 1] == 0:
        high -= 1
    rows = cover.rows[low:high]
    plain = not rows.any() or (state is State.COMPLETE and bool((rows == expected[low:high]).all()))
    return Run(
        cover.series,
        day_of(cover.first + low),
        day_of(cover.first + high),
        state or State.PENDING,
        int(rows.sum()),
        int(expected[low:high].sum()),
        cover.tellings[int(cover.told[low])],
        None if plain else tuple(rows.tolist()),
    )


def cover_of(series: Series, runs: Sequence[Run], expected: Expectation | None) -> Cover:
    """A series day by day, from the runs that the ledger keeps of it."""
    if not runs:
        return nothing_known(series)
    days = DayRange(min(run.start for run in runs), max(run.end for run in runs))
    counts = expected_over(expected, days).counts
    made = nothing_known(series).over(days)
    tellings: dict[Told, int] = {NOTHING_TOLD: 0}
    for run in runs:
        at = slice(number_of(run.start) - made.first, number_of(run.end) - made.first)
        made.codes[at] = CODES[run.state]
        made.told[at] = tellings.setdefault(run.told, len(tellings))
        if run.counts is not None:
            made.rows[at] = run.counts
            if run.state is State.PARTIAL:
                whole = (made.rows[at] > 0) & (made.rows[at] >= counts[at])
                made.codes[at] = np.where(whole, _COMPLETE, _PARTIAL)
                made.told[at] = np.where(whole, 0, made.told[at])
        elif run.state is State.COMPLETE:
            made.rows[at] = counts[at]
    if expected is not None:
        closed = (counts == 0) & (made.rows == 0) & (made.codes != _QUARANTINED)
        made.codes[closed], made.told[closed] = 0, 0
    return replace(made, tellings=tuple(tellings))
