"""What a backfill has to tell the coverage ledger: which symbols it brought, what its source told, what went wrong."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from thermocline.errors import ThermoclineError
from thermocline.model.coverage.due import Due, Outcome, Telling, due_of, names_of
from thermocline.model.dataset import Dataset
from thermocline.model.partition import ALL_DAYS, ONE_DAY, DayRange, Partition, is_interval, midnight
from thermocline.ports import Answered, FetchRequest, Hot

if TYPE_CHECKING:
    from thermocline.model.offenders import Series


@dataclass
class Told:
    """What is gathered on the way: symbols that had rows, tellings by interval, and where the newest of a symbol is."""

    source: str
    run_id: str
    now: datetime
    symbols: set[str] = field(default_factory=set)
    tellings: dict[str, list[Telling]] = field(default_factory=dict)
    newest: dict[tuple[str, str, str], int] = field(default_factory=dict)
    doubts: set[tuple[str, str, datetime, datetime]] = field(default_factory=set)
    """Spans of a symbol and interval (empty: of any) in which a row may lie that does not say where it belongs."""

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

    def quarantined(self, refused: "Collection[Series]", request: FetchRequest) -> None:
        """Note the days of rows that may not go in, of symbols that were asked for.

        A row that does not say its day or symbol, or a day that was not asked for, may be any of those that are missing
        in the answer, so that the source has told all of none of them.
        """
        for each in sorted(refused, key=str):
            if each.symbol and request.symbols and each.symbol not in request.symbols:
                continue
            knows_interval = not request.dataset.has_intervals or is_interval(each.interval)
            if knows_interval and request.intervals and each.interval not in request.intervals:
                continue
            interval = each.interval if knows_interval else ""
            day = each.day if each.day in request.days else None
            if day and each.symbol and knows_interval:
                at = midnight(day)
                telling = Telling(each.symbol, at, at.replace(hour=1), Outcome.QUARANTINED, each.asset_class)
                self._add(interval, telling)
            else:
                span = DayRange(day, day + ONE_DAY) if day else request.days
                for symbol in [each.symbol] if each.symbol else sorted(request.symbols) or [""]:
                    self.doubts.add((symbol, interval, midnight(span.start), midnight(span.end)))

    def due(self, partitions: Iterable[Partition]) -> list[Due]:
        """A line for each interval: what changed of it, and what was told."""
        changed = {each.interval: each for each in due_of(partitions, self.run_id, self.symbols)}
        found = []
        told = {interval: self._certain(interval, tellings) for interval, tellings in self.tellings.items()}
        for interval in sorted({*changed, *(interval for interval, tellings in told.items() if tellings)}):
            tellings = told.get(interval, ())
            spans = [telling.days(self.now) for telling in tellings]
            own = changed.get(interval)
            start = own.start if own else min(each.start for each in spans)
            end = own.end if own else max(each.end for each in spans)
            named = {*self.symbols, *(telling.symbol for telling in tellings)}
            found.append(Due(interval, start, end, self.run_id, names_of(named), self.source, self.now, tellings))
        return found

    def _certain(self, interval: str, tellings: Sequence[Telling]) -> tuple[Telling, ...]:
        """The tellings; of the answers only what no doubt is left of."""
        found = []
        for telling in tellings:
            doubts = [
                (start, end)
                for symbol, which, start, end in self.doubts
                if symbol in {"", telling.symbol} and which in {"", interval}
            ]
            found += _without(telling, doubts) if telling.outcome is Outcome.ANSWERED else [telling]
        return tuple(found)

    def _add(self, interval: str, telling: Telling) -> None:
        self.tellings.setdefault(interval, []).append(telling)


def _without(telling: Telling, spans: Iterable[tuple[datetime, datetime]]) -> list[Telling]:
    """What of a telling lies in none of the spans."""
    rest = [telling]
    for start, end in spans:
        before = [replace(each, end=min(each.end, start)) for each in rest]
        after = [replace(each, start=max(each.start, end)) for each in rest]
        rest = [each for each in (*before, *after) if each.start < each.end]
    return rest


def note(hot: Hot, dataset: Dataset, due: Sequence[Due]) -> None:
    """Have coverage looked at. It is advice, so the rows that are in stand without it."""
    try:
        hot.note_due(dataset, due)
    except ThermoclineError:
        # The commits have left their lines. What is lost is what the source told, and it can be asked again.
        return
