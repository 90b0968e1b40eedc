"""What the coverage ledger has yet to look at: days whose rows changed, and what sources told of spans."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from thermocline.model.partition import ONE_DAY, DayRange, Partition

MOST_SYMBOLS = 1000
"""As many symbols as are named one by one; beyond it the days are looked at whole."""

ANY_SYMBOL = ""
"""Stands for more symbols than are named. No symbol is empty, and a line without any leaves them to other lines."""


_FIRST = date(1900, 1, 1)


class Outcome(StrEnum):
    """What came of asking for a span."""

    ASKED = "asked"
    ANSWERED = "answered"
    FAILED = "failed"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Telling:
    """What came of asking for the span `[start, end)` of a symbol; `asset_class` is empty where nobody said."""

    symbol: str
    start: datetime
    end: datetime
    outcome: Outcome
    asset_class: str = ""
    reason: str = ""

    def days(self, now: datetime) -> DayRange:
        """The days that it touches, but for those before any market and after today."""
        start = min(max(self.start.date(), _FIRST), now.date())
        last = (self.end - self.end.resolution).date()
        return DayRange(start, max(min(last, now.date()), start) + ONE_DAY)

    def document(self) -> dict[str, Any]:
        """The telling as JSON."""
        return {
            "symbol": self.symbol,
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "outcome": self.outcome.value,
            "asset_class": self.asset_class,
            "reason": self.reason,
        }

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> "Telling":
        """The telling that `document` wrote."""
        start, end = (datetime.fromisoformat(document[name]) for name in ("start", "end"))
        outcome = Outcome(document["outcome"])
        return cls(document["symbol"], start, end, outcome, document["asset_class"], document["reason"])


@dataclass(frozen=True, slots=True)
class Due:
    """Days `[start, end)` of an interval to look at again: rows of the symbols (none: of any) may have changed.

    A run that publishes leaves one with every commit, without symbols; one with its `run_id` and symbols says that it
    changed no others, unless `ANY_SYMBOL` is among them. `tellings` are what its `source` told.
    """

    interval: str
    start: date
    end: date
    run_id: str
    symbols: tuple[str, ...] = ()
    source: str = ""
    at: datetime | None = None
    tellings: tuple[Telling, ...] = ()
    number: int = 0


def due_of(partitions: Iterable[Partition], run_id: str, symbols: Collection[str] = ()) -> list[Due]:
    """The days of partitions whose rows changed, a line for each interval."""
    days: dict[str, list[date]] = {}
    for partition in partitions:
        days.setdefault(partition.interval, []).append(partition.day)
    named = names_of(symbols)
    return [Due(interval, min(some), max(some) + ONE_DAY, run_id, named) for interval, some in sorted(days.items())]


def names_of(symbols: Collection[str]) -> tuple[str, ...]:
    """The symbols as a line names them."""
    return tuple(sorted(symbols)) if len(symbols) <= MOST_SYMBOLS else (ANY_SYMBOL,)


def named_symbols(due: Sequence[Due]) -> list[Due]:
    """The lines with the symbols that the same run named elsewhere, where it did for their interval."""
    named: dict[tuple[str, str], set[str]] = {}
    for each in due:
        if each.symbols:
            named.setdefault((each.run_id, each.interval), set()).update(each.symbols)
    found = []
    for each in due:
        symbols = set(each.symbols) or named.get((each.run_id, each.interval), set())
        found.append(replace(each, symbols=() if ANY_SYMBOL in symbols else tuple(sorted(symbols))))
    return found
