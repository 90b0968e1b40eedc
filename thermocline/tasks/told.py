"""What a backfill has to tell the coverage ledger: which symbols it brought, what its source told, what went wrong."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from thermocline.model.coverage.due import Due, Outcome, Telling, due_of, names_of
from thermocline.model.partition import ALL_DAYS, Partition, midnight
from thermocline.model.rejected import Rejected
from thermocline.ports import Answered, FetchRequest

_MOST_REJECTED = 100_000
"""Rows in quarantine that are looked through one by one; of more, the first."""


@dataclass
class Told:
    """What is gathered on the way: symbols that had rows, tellings by interval, and where the newest of a symbol is."""

    source: str
    run_id: str
    now: datetime
    symbols: set[str] = field(default_factory=set)
    tellings: dict[str, list[Telling]] = field(default_factory=dict)
    newest: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def asked(self, request: FetchRequest, failed: str | None = None) -> None:
        """Note what was asked for by name, and why it could not be had where it could not."""
        if request.days.start == ALL_DAYS.start or request.days.end == ALL_DAYS.end:
            return
        start, end = midnight(request.days.start), midnight(request.days.end)
        outcome = Outcome.ASKED if failed is None else Outcome.FAILED
        reason = (failed or "").partition("\n")[0]
        for interval in sorted(request.intervals) if request.dataset.has_intervals else [""]:
            for symbol in sorted(request.symbols):
                self._add(interval, Telling(symbol, start, end, outcome, reason=reason))

    def answered(self, spans: Iterable[Answered]) -> None:
        """Note spans of which the source has told all; a page that begins where the last one ended goes on with it."""
        for each in spans:
            telling = Telling(each.symbol, each.start, each.end, Outcome.ANSWERED, each.asset_class)
            known = self.tellings.setdefault(each.interval, [])
            key = (each.interval, each.symbol, each.asset_class)
            place = self.newest.get(key)
            if place is not None and known[place].start <= each.start <= known[place].end:
                known[place] = replace(telling, start=known[place].start, end=max(known[place].end, each.end))
                continue
            self.newest[key] = len(known)
            known.append(telling)

    def quarantined(self, rejected: Sequence[Rejected], requests: Sequence[FetchRequest]) -> None:
        """Note the days of rows that may not go in, as far as they can be told, of symbols that were asked for."""
        column = requests[0].dataset.symbol_column
        days = {found for each in rejected[:_MOST_REJECTED] if (found := _day_of(each, column))}
        wanted = frozenset[str]().union(*(request.symbols for request in requests))
        everything = not all(request.symbols for request in requests)
        for interval, asset_class, symbol, at in sorted(days):
            if everything or symbol in wanted:
                telling = Telling(symbol, at, at.replace(hour=1), Outcome.QUARANTINED, asset_class)
                self._add(interval, telling)

    def due(self, partitions: Iterable[Partition]) -> list[Due]:
        """A line for each interval: what changed of it, and what was told."""
        changed = {each.interval: each for each in due_of(partitions, self.run_id, self.symbols)}
        found = []
        for interval in sorted({*changed, *self.tellings}):
            tellings = tuple(self.tellings.get(interval, ()))
            spans = [telling.days(self.now) for telling in tellings]
            own = changed.get(interval)
            start = own.start if own else min(each.start for each in spans)
            end = own.end if own else max(each.end for each in spans)
            named = {*self.symbols, *(telling.symbol for telling in tellings)}
            found.append(Due(interval, start, end, self.run_id, names_of(named), self.source, self.now, tellings))
        return found

    def _add(self, interval: str, telling: Telling) -> None:
        self.tellings.setdefault(interval, []).append(telling)


def _day_of(rejected: Rejected, symbol_column: str) -> tuple[str, str, str, datetime] | None:
    """The interval, asset class, symbol and day of a row that was refused; None where it does not tell them."""
    try:
        record: dict[str, Any] = json.loads(rejected.record)
        day = midnight(datetime.fromisoformat(str(record["ts"])).date())
        return str(record.get("interval") or ""), str(record.get("asset_class") or ""), str(record[symbol_column]), day
    except (ValueError, KeyError, TypeError):
        return None
