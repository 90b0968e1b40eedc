"""Which instrument a symbol named on a day: renames, and symbols that another company took over."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import combinations, pairwise

from thermocline.model.partition import DayRange

ZoneOf = Callable[[str, str], str]
"""The time zone of the exchange of an asset class and symbol; there a day of bars shorter than a day begins."""


def new_york(asset_class: str, symbol: str) -> str:
    """The zone of New York, whatever the symbol."""
    del asset_class, symbol
    return "America/New_York"


@dataclass(frozen=True, slots=True)
class Naming:
    """A symbol that an instrument had on the days `[start, until)`; `until` is None while it has it."""

    instrument_id: str
    asset_class: str
    symbol: str
    start: date
    until: date | None = None
    exchange: str | None = None
    name: str | None = None
    source: str = ""

    def holds(self, day: date) -> bool:
        """Whether the symbol names the instrument on a day."""
        return self.start <= day and (self.until is None or day < self.until)

    def overlap(self, other: "Naming") -> timedelta:
        """For how long both hold."""
        end = min(self.until or date.max, other.until or date.max)
        return end - max(self.start, other.start)

    def document(self) -> dict[str, str | None]:
        """The naming as JSON."""
        return {
            "instrument_id": self.instrument_id,
            "asset_class": self.asset_class,
            "symbol": self.symbol,
            "start": self.start.isoformat(),
            "until": self.until.isoformat() if self.until else None,
            "exchange": self.exchange,
            "name": self.name,
        }


@dataclass(frozen=True, slots=True)
class Span:
    """Days `[start, end)` on which a symbol named one instrument, or one that is not known: `instrument_id` is None."""

    start: date
    end: date
    instrument_id: str | None


def days_named(namings: Iterable[Naming]) -> dict[tuple[str, str], list[DayRange]]:
    """The days on which each asset class and symbol named some instrument, whichever.

    Here no symbol reaches back before its first day: what is to be fetched goes by what somebody said.
    """
    found: dict[tuple[str, str], list[DayRange]] = {}
    for each in namings:
        ranges = found.setdefault((each.asset_class, each.symbol), [])
        if each.start < (end := each.until or date.max):
            ranges.append(DayRange(each.start, end))
    return found


class Instruments:
    """What is known of instruments and their symbols.

    Sources have ids of their own. Where two of them say of a symbol, for more than a month, that it named two
    instruments at once, they speak of the same one, which then goes by the id of the longer history. Where one source
    says so, the instrument that took the symbol last has it.

    The first symbol of an instrument is taken to have named it before the first day too, back to the end of the one
    that had it before: the first day of a vendor's history is rarely the first day of trade.
    """

    def __init__(self, namings: Iterable[Naming]) -> None:
        """Take the namings, in any order."""
        ordered = sorted(namings, key=lambda each: (each.start, each.until or date.max, each.instrument_id))
        by_symbol: dict[tuple[str, str], list[Naming]] = {}
        for each in ordered:
            by_symbol.setdefault((each.asset_class, each.symbol), []).append(each)
        self._known_as = _same(ordered, by_symbol.values())
        self._of_instrument: dict[str, list[Naming]] = {}
        for each in ordered:
            self._of_instrument.setdefault(self._known_as[each.instrument_id], []).append(each)
        self._spans = {key: self._timeline(found) for key, found in by_symbol.items()}

    @property
    def ids(self) -> Sequence[str]:
        """Every instrument that is known."""
        return tuple(self._of_instrument)

    def named_by(self, symbol: str, on: date | None = None) -> list[str]:
        """The instruments that a symbol named, in whatever asset class; with `on`, those that it named on that day."""
        found = [
            span.instrument_id
            for (_, each), spans in self._spans.items()
            for span in spans
            if each == symbol and span.instrument_id and (on is None or span.start <= on < span.end)
        ]
        return list(dict.fromkeys(found))

    def namings(self, instrument_id: str) -> Sequence[Naming]:
        """Every symbol that the instrument had, the oldest first; none where it is not known."""
        return tuple(self._of_instrument.get(self._known_as.get(instrument_id, instrument_id), ()))

    def spans(self, asset_class: str, symbol: str) -> Sequence[Span]:
        """All days, the oldest first, divided where the symbol began or ceased to name an instrument."""
        return self._spans.get((asset_class, symbol), _UNKNOWN)

    def span(self, asset_class: str, symbol: str, on: date) -> Span:
        """The days around a day on which the symbol named the same."""
        return next(each for each in self.spans(asset_class, symbol) if each.start <= on < each.end)

    def named(self, asset_class: str, symbol: str, on: date) -> str | None:
        """The instrument that a symbol named on a day; None where it is not known."""
        return self.span(asset_class, symbol, on).instrument_id

    def spans_of(self, instrument_id: str) -> list[tuple[str, str, Span]]:
        """Asset class, symbol and days under which the instrument is found, in no other's days."""
        keys = dict.fromkeys((each.asset_class, each.symbol) for each in self.namings(instrument_id))
        known = self._known_as.get(instrument_id)
        found = [(*key, span) for key in keys for span in self._spans[key] if known and span.instrument_id == known]
        return sorted(found, key=lambda each: each[2].start)

    def kin(self, symbols: Iterable[str]) -> tuple[str, ...]:
        """The symbols, and every other one that an instrument of theirs had at some time."""
        wanted = dict.fromkeys(symbols)
        spans = [span for (_, symbol), found in self._spans.items() if symbol in wanted for span in found]
        ids = dict.fromkeys(span.instrument_id for span in spans if span.instrument_id is not None)
        return tuple(dict.fromkeys([*wanted, *(each.symbol for known in ids for each in self.namings(known))]))

    def days_of(self, asset_class: str, symbol: str, on: date) -> list[tuple[str, str, Span]]:
        """Asset class, symbol and days under which the rows are found of what a symbol named on a day."""
        span = self.span(asset_class, symbol, on)
        if span.instrument_id is None:
            return [(asset_class, symbol, span)]
        return self.spans_of(span.instrument_id)

    def _timeline(self, namings: Sequence[Naming]) -> Sequence[Span]:
        """The days of one symbol; `namings` are its own, by their start."""
        edges = sorted({date.min, date.max, *(day for each in namings for day in (each.start, each.until) if day)})
        spans: list[Span] = []
        for start, end in pairwise(edges):
            holders = [each for each in namings if each.holds(start)]
            holder = self._known_as[holders[-1].instrument_id] if holders else None
            if spans and spans[-1].instrument_id == holder:
                spans[-1] = Span(spans[-1].start, end, holder)
            else:
                spans.append(Span(start, end, holder))
        return tuple(self._reaching_back(spans, namings))

    def _reaching_back(self, spans: list[Span], namings: Sequence[Naming]) -> list[Span]:
        """Give an instrument the unknown days before it where the symbol was its first."""
        known = ((self._known_as[each.instrument_id], each) for each in namings)
        began = {(name, each.start) for name, each in known if self._of_instrument[name][0] == each}
        joined: list[Span] = []
        for each in spans:
            before = joined[-1] if joined else None
            if before and before.instrument_id is None and (each.instrument_id, each.start) in began:
                joined[-1] = Span(before.start, each.end, each.instrument_id)
            else:
                joined.append(each)
        return joined


_MONTH = timedelta(days=31)
"""Two sources may disagree by some days on when one company gave up a symbol and another took it."""


def _same(ordered: Iterable[Naming], by_symbol: Iterable[Sequence[Naming]]) -> dict[str, str]:
    """For each id the one that it goes by: the first of those that different sources give the same instrument."""
    goes_by = {each.instrument_id: each.instrument_id for each in ordered}

    def found(name: str) -> str:
        while goes_by[name] != name:
            name = goes_by[name]
        return name

    rank = {name: number for number, name in enumerate(goes_by)}
    for namings in by_symbol:
        for one, other in combinations(namings, 2):
            if one.source != other.source and one.overlap(other) > _MONTH:
                first, second = sorted((found(one.instrument_id), found(other.instrument_id)), key=rank.__getitem__)
                goes_by[second] = first
    return {name: found(name) for name in goes_by}


_UNKNOWN = (Span(date.min, date.max, None),)
