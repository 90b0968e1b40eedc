"""What a count of the rows and the tellings of sources say of each series."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np

from thermocline.model.coverage.due import Due, Outcome, Telling
from thermocline.model.coverage.states import Cover, Findings, Mask, Series, expected_over
from thermocline.model.dataset import Dataset
from thermocline.model.partition import ONE_DAY, DayRange, hull_of
from thermocline.model.sessions import DAY_SECONDS, Expectation, Numbers, day_of, number_of, seconds_of


def asset_class_of(symbol: str) -> str:
    """The asset class of a symbol of which nothing else tells it: a pair is crypto, all else a share."""
    return "crypto" if "/" in symbol else "equity"


@dataclass(frozen=True)
class Evidence:
    """What was found of one interval.

    The rows of `days` were `counted`: of each series the days that have some, in order, and how many. `due` has what
    sources told, oldest first; `known` are the series that the ledger has.
    """

    dataset: Dataset
    interval: str
    days: DayRange
    counted: Mapping[Series, tuple[Numbers, Numbers]]
    due: Sequence[Due]
    known: Collection[Series]
    now: datetime

    @cached_property
    def series(self) -> list[Series]:
        """Every series of which something is known."""
        return sorted({*self.counted, *self.known, *self._told})

    @cached_property
    def _told(self) -> dict[Series, list[tuple[Due, list[Telling]]]]:
        """What was told of each series, by the run that was told it."""
        named: dict[str, Series] = {}
        for series in (*self.known, *self.counted):
            named[series.symbol] = series
        found: dict[Series, list[tuple[Due, list[Telling]]]] = {}
        for due in self.due:
            own: dict[Series, list[Telling]] = {}
            for telling in due.tellings:
                own.setdefault(self._series_of(telling, named), []).append(telling)
            for series, tellings in own.items():
                found.setdefault(series, []).append((due, tellings))
        return found

    def _series_of(self, telling: Telling, named: Mapping[str, Series]) -> Series:
        if "asset_class" not in self.dataset.names:
            return Series(self.dataset.name, "", telling.symbol, self.interval)
        if not telling.asset_class and telling.symbol in named:
            return named[telling.symbol]
        asset_class = telling.asset_class or asset_class_of(telling.symbol)
        return Series(self.dataset.name, asset_class, telling.symbol, self.interval)

    def of(self, series: Series, cover: Cover, expected: Expectation | None) -> Iterator[Findings]:
        """What is to be noted of a series, in order: the rows first, then what was told."""
        spans = [telling.days(self.now) for _, tellings in self._told.get(series, ()) for telling in tellings]
        there, _ = self.counted.get(series, (np.zeros(0, np.int64), None))
        if len(there):
            spans.append(DayRange(day_of(int(there[0])), day_of(int(there[-1]) + 1)))
        if (known := cover.days) and known.start < self.days.end and self.days.start < known.end:
            spans.append(DayRange(max(known.start, self.days.start), min(known.end, self.days.end)))
        spans = [span for span in spans if span is not None]
        if not spans:
            return
        hull = hull_of(spans)
        none = np.zeros((hull.end - hull.start).days, dtype=bool)
        yield Findings(number_of(hull.start), self._rows(series, hull), none, none, "")
        for due, tellings in self._told.get(series, ()):
            yield from self._findings(series, due, tellings, expected)

    def _findings(
        self, series: Series, due: Due, tellings: Sequence[Telling], expected: Expectation | None
    ) -> Iterator[Findings]:
        heard = [each for each in tellings if each.outcome in {Outcome.ANSWERED, Outcome.QUARANTINED}]
        if heard:
            days = hull_of([each.days(self.now) for each in heard])
            answered = _covered([each for each in heard if each.outcome is Outcome.ANSWERED], expected, days)
            quarantined = np.zeros(len(answered), dtype=bool)
            for each in heard:
                if each.outcome is Outcome.QUARANTINED:
                    low = number_of(each.days(self.now).start) - number_of(days.start)
                    quarantined[low] = True
            rows = self._rows(series, days)
            yield Findings(number_of(days.start), rows, answered, quarantined, due.source, at=due.at)
            yield from self._of_open_day(series, due, heard, expected)
        for each in tellings:
            if each.outcome is Outcome.FAILED:
                days = each.days(self.now)
                none = np.zeros((days.end - days.start).days, dtype=bool)
                rows = self._rows(series, days)
                yield Findings(number_of(days.start), rows, none, none, due.source, each.reason, due.at)

    def _of_open_day(
        self, series: Series, due: Due, heard: Sequence[Telling], expected: Expectation | None
    ) -> Iterator[Findings]:
        """Until when all was told of the day of which bars were still to come when the source was asked."""
        step = seconds_of(self.interval)
        if due.at is None or step is None:
            return
        day = DayRange(due.at.date(), due.at.date() + ONE_DAY)
        wanted, at = expected_over(expected, day), due.at.timestamp()
        if wanted.closes[0] <= at:
            return
        spans = _merged([each for each in heard if each.outcome is Outcome.ANSWERED])
        # A span ends after the `ts` of the last bar that it tells of, and that bar is over one length later.
        until = max((min(end + step, at) for start, end in spans if start <= wanted.opens[0]), default=0.0)
        if until > wanted.opens[0]:
            every, none = np.ones(1, dtype=bool), np.zeros(1, dtype=bool)
            asked = datetime.fromtimestamp(until, UTC)
            yield Findings(number_of(day.start), self._rows(series, day), every, none, due.source, at=asked)

    def _rows(self, series: Series, days: DayRange) -> Numbers:
        """How many rows each of the days has."""
        made = np.zeros((days.end - days.start).days, dtype=np.int64)
        if series in self.counted:
            at, counts = self.counted[series]
            places = at - number_of(days.start)
            inside = (places >= 0) & (places < len(made))
            made[places[inside]] = counts[inside]
        return made


def _covered(answered: Sequence[Telling], expected: Expectation | None, days: DayRange) -> Mask:
    """The days of which all was told: the spans together reach from the day's first bar to the end of its last.

    Of a bar that is a day's only one the instant that it carries is enough.
    """
    wanted = expected_over(expected, days)
    midnights = np.arange(number_of(days.start), number_of(days.end)) * DAY_SECONDS
    opens = np.where(wanted.opens >= 0, wanted.opens, midnights)
    closes = np.where(wanted.closes >= 0, wanted.closes, midnights + DAY_SECONDS)
    if expected is not None and (wanted.counts <= 1).all() and (opens == midnights).all():
        closes = np.where(wanted.counts == 1, midnights + 1, closes)
    made = np.zeros(len(midnights), dtype=bool)
    for start, end in _merged(answered):
        made |= (opens >= start) & (closes <= end)
    return made


def _merged(spans: Sequence[Telling]) -> Iterator[tuple[float, float]]:
    """Spans in seconds, those that touch as one."""
    start = end = None
    for low, high in sorted((each.start.timestamp(), each.end.timestamp()) for each in spans):
        if end is not None and start is not None and low <= end:
            end = max(end, high)
            continue
        if start is not None and end is not None:
            yield start, end
        start, end = low, high
    if start is not None and end is not None:
        yield start, end
