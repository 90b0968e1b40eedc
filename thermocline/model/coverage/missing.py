"""What to ask of a source so that what is missing comes, in the fewest requests."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from thermocline.model.coverage.report import SeriesCoverage
from thermocline.model.coverage.states import CODES, MISSING, Mask, State
from thermocline.model.partition import DayRange
from thermocline.model.sessions import day_of

_WITHOUT_LIMIT = 1 << 40
_TOLD = (State.EMPTY, State.VENDOR_MISSING, State.PARTIAL, State.PENDING)
_LOOK_BACK = 50
"""Spans that a further one is tried to be joined with; all would take long where there are thousands."""


@dataclass(frozen=True)
class Reach:
    """How a source answers: rows in a page, and symbols that one request can ask for, whose rows share its pages.

    One that does not page, as files don't, is best asked once for all.
    """

    rows_per_page: int = _WITHOUT_LIMIT
    symbols_per_request: int = _WITHOUT_LIMIT

    def pages(self, rows: int) -> int:
        """In how many requests so many rows come; an answer without rows is one."""
        return max(-(-rows // max(self.rows_per_page, 1)), 1)


def reach_of(source: object) -> Reach:
    """How a source answers, by what it says of its pages."""
    rows = getattr(source, "rows_per_page", _WITHOUT_LIMIT)
    return Reach(max(int(rows), 1), max(int(getattr(source, "symbols_per_request", _WITHOUT_LIMIT)), 1))


@dataclass(frozen=True, order=True)
class Fetch:
    """Days of some symbols' bars of one size to ask for; `pages` is about how many requests that takes."""

    interval: str
    days: DayRange
    symbols: tuple[str, ...]
    pages: int = field(default=1, compare=False)
    bars_missing: int = field(default=0, compare=False)

    def document(self) -> dict[str, Any]:
        """What is asked for, as JSON."""
        return {
            "interval": self.interval or None,
            "symbols": list(self.symbols),
            "start": self.days.start.isoformat(),
            "end": self.days.end.isoformat(),
            "requests": self.pages,
            "missing": self.bars_missing,
        }


@dataclass(frozen=True)
class MissingPlan:
    """What is missing, and what is asked of the source for it.

    `known_missing` counts days that are missing and not asked for, because the source has told that it has nothing.
    """

    dataset: str
    source: str
    fetches: tuple[Fetch, ...]
    known_missing: int = 0

    @property
    def bars_missing(self) -> int:
        """How many bars are asked for that are missing."""
        return sum(fetch.bars_missing for fetch in self.fetches)

    @property
    def pages(self) -> int:
        """About how many requests it takes."""
        return sum(fetch.pages for fetch in self.fetches)

    def document(self) -> dict[str, Any]:
        """The plan as JSON."""
        return {
            "dataset": self.dataset,
            "source": self.source,
            "missing": self.bars_missing,
            "requests": self.pages,
            "days_not_asked_for": self.known_missing,
            "fetches": [fetch.document() for fetch in self.fetches],
        }


@dataclass(frozen=True)
class AskAgain:
    """When a source is asked again for what it did not have: after some days, or each time."""

    now: datetime
    days: int = 30
    always: bool = False


@dataclass
class _Span:
    """Days `[low, high)`, counted from the epoch, to ask for, with the symbols that lack bars there and how many."""

    low: int
    high: int
    symbols: set[str]
    missing: int


def plan_missing(
    series: Iterable[SeriesCoverage], *, dataset: str, source: str, reach: Reach, again: AskAgain
) -> MissingPlan:
    """The fewest requests that bring what is missing of some series.

    Days of which the source has told that it has no more are left out. Spans become one where asking for the rows
    between them again costs no further request, first those of a symbol, then those of symbols that one request can
    ask for.
    """
    by_interval: dict[str, list[SeriesCoverage]] = {}
    for each in series:
        by_interval.setdefault(each.series.interval, []).append(each)
    fetches: list[Fetch] = []
    left_out = 0
    for interval, some in sorted(by_interval.items()):
        rows = _Rows(some)
        spans: dict[tuple[int, int], _Span] = {}
        for each in some:
            wanted, known = _wanted(each, source, again)
            left_out += known
            for low, high in _merged(each.cover.first, wanted, rows, reach):
                at = slice(low - each.cover.first, high - each.cover.first)
                lacking = np.maximum(each.expected[at] - each.cover.rows[at], 0)[wanted[at]]
                span = spans.setdefault((low, high), _Span(low, high, set(), 0))
                span.symbols.add(each.series.symbol)
                span.missing += int(lacking.sum())
        for span in _joined([spans[key] for key in sorted(spans)], rows, reach):
            fetches += _split(interval, span, rows, reach)
    return MissingPlan(dataset, source, tuple(fetches), left_out)


class _Rows:
    """About how many rows a symbol has on some days: as the one of which most days are looked at should have."""

    def __init__(self, series: Sequence[SeriesCoverage]) -> None:
        widest = max(series, key=lambda each: len(each.expected))
        self._first = widest.cover.first
        self._before = np.concatenate([[0], np.cumsum(np.maximum(widest.expected, widest.cover.rows))])

    def between(self, low: int, high: int) -> int:
        """Rows on the days `[low, high)`, counted from the epoch."""
        last = len(self._before) - 1
        places = [min(max(day - self._first, 0), last) for day in (low, high)]
        return int(self._before[places[1]] - self._before[places[0]])


def _wanted(series: SeriesCoverage, source: str, again: AskAgain) -> tuple[Mask, int]:
    """Which days to ask for, and how many are left out because the source has told all of them.

    Of a session that is not over it has told all when it was asked since its last bar that is over.
    """
    codes = series.cover.codes
    since = again.now - timedelta(days=again.days)
    heard = [
        source in told.sources and told.at is not None and told.at > since and not again.always
        for told in series.cover.tellings
    ]
    told_all = np.array(heard)[series.cover.told]
    if series.over_since is not None:
        asked = np.array([told.at.timestamp() if told.at else 0.0 for told in series.cover.tellings])
        told_all &= asked[series.cover.told] >= series.over_since
    told_all &= np.isin(codes, [CODES[state] for state in _TOLD])
    missing = np.isin(codes, [CODES[state] for state in MISSING]) & ~series.up_to_date
    return (missing | (codes == CODES[State.EMPTY])) & ~told_all, int((told_all & missing).sum())


def _merged(first: int, wanted: Mask, rows: _Rows, reach: Reach) -> Iterator[tuple[int, int]]:
    """Spans of days to ask for; neighbours are one where that takes no more requests than the two apart."""
    places = (np.flatnonzero(wanted) + first).tolist()
    if not places:
        return
    low, high = places[0], places[0] + 1
    for place in places[1:]:
        apart = reach.pages(rows.between(low, high)) + reach.pages(rows.between(place, place + 1))
        if reach.pages(rows.between(low, place + 1)) <= apart:
            high = place + 1
        else:
            yield low, high
            low, high = place, place + 1
    yield low, high


def _joined(spans: Sequence[_Span], rows: _Rows, reach: Reach) -> list[_Span]:
    """Spans of several symbols as one where that takes no more requests than the two apart."""

    def cost(low: int, high: int, symbols: set[str]) -> int:
        requests, rest = divmod(len(symbols), reach.symbols_per_request)
        a_symbol = rows.between(low, high)
        full = reach.pages(a_symbol * reach.symbols_per_request) * requests if requests else 0
        return full + (reach.pages(a_symbol * rest) if rest else 0)

    joined: list[_Span] = []
    for span in spans:
        for other in joined[-_LOOK_BACK:]:
            low, high, both = min(other.low, span.low), max(other.high, span.high), other.symbols | span.symbols
            apart = cost(other.low, other.high, other.symbols) + cost(span.low, span.high, span.symbols)
            if cost(low, high, both) < apart:
                other.low, other.high, other.symbols = low, high, both
                other.missing += span.missing
                break
        else:
            joined.append(span)
    return joined


def _split(interval: str, span: _Span, rows: _Rows, reach: Reach) -> Iterator[Fetch]:
    """The span's symbols, as many at once as a request can ask for."""
    symbols = sorted(span.symbols)
    days = DayRange(day_of(span.low), day_of(span.high))
    for first in range(0, len(symbols), reach.symbols_per_request):
        some = tuple(symbols[first : first + reach.symbols_per_request])
        missing = span.missing * len(some) // len(symbols)
        yield Fetch(interval, days, some, reach.pages(rows.between(span.low, span.high) * len(some)), missing)
