"""Coverage: keep the ledger of what is there and what is not up to date, and answer from it.

What changed is looked at when somebody asks: the rows of those days are counted in both tiers, what sources told is put
beside them, and the states follow (`model.coverage`).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from thermocline.errors import UsageError
from thermocline.model.coverage.due import Due, named_symbols
from thermocline.model.dataset import Dataset
from thermocline.model.partition import ONE_DAY, DayRange, hull_of
from thermocline.ports import SILENT, Analytics, CoverageWriter, Hot, Lake, Progress, Source
from thermocline.tasks.expected import Expectations, instrument_of
from thermocline.tasks.instruments import known_days
from thermocline.tasks.survey import Survey, intervals_there

if TYPE_CHECKING:
    from thermocline.model.coverage.missing import MissingPlan
    from thermocline.model.coverage.report import SeriesCoverage
    from thermocline.model.coverage.states import Cover, Run, Series

_LONGEST_BUCKET = timedelta(days=31)
_MOST_SYMBOLS = 1000


@dataclass(frozen=True)
class CoverageKeeper:
    """The parts that tell what should be there and what is."""

    hot: Hot
    lake: Lake
    analytics: Analytics
    expectations: Expectations
    now: datetime
    progress: Progress = SILENT

    def settle(self, dataset: Dataset, *, again: bool = False) -> None:
        """Look at all that changed since the last time; at every row where nothing is known yet, or `again`."""
        with self.hot.covering(dataset) as writer:
            due = named_symbols(writer.due())
            is_new = not writer.knows_any()
            if not due and not again and not is_new:
                return
            if again or is_new:
                there = intervals_there(self.hot, dataset)
                due = [*(Due(name, days.start, days.end, "") for name, days in there.items()), *due]
            intervals = sorted({each.interval for each in due})
            self.progress.begin(f"counting rows of {dataset.name}", len(intervals))
            for interval in intervals:
                self._settle(writer, dataset, interval, [each for each in due if each.interval == interval])
                self.progress.advance()
            writer.settle(due)

    def _settle(self, writer: CoverageWriter, dataset: Dataset, interval: str, due: Sequence[Due]) -> None:
        """Look at what is due of one interval."""
        from thermocline.model.coverage.evidence import Evidence  # noqa: PLC0415  # numpy
        from thermocline.model.coverage.states import cover_of, nothing_known, runs_of, updated  # noqa: PLC0415  # numpy

        symbols = set[str]().union(*(each.symbols for each in due), *((t.symbol for t in d.tellings) for d in due))
        if not all(each.symbols for each in due) or len(symbols) > _MOST_SYMBOLS:
            symbols = set()
        days = self._hull(due)
        surveying = Survey(self.hot, self.lake, self.analytics, self.expectations)
        counted = surveying.count(dataset, interval, days, symbols)
        known = _by_series(writer.runs(symbols, [interval]))
        evidence = Evidence(dataset, interval, days, counted, due, known.keys(), self.now)
        runs: list[Run] = []
        for series in evidence.series:
            own = known.get(series, [])
            expected = self.expectations.of(series, hull_of([days, *(DayRange(r.start, r.end) for r in own)]))
            cover = cover_of(series, own, expected) if own else nothing_known(series)
            for findings in evidence.of(series, cover, expected):
                cover = updated(cover, findings, expected, self.now)
            runs += runs_of(cover, expected, coarse=True)
        writer.replace(evidence.series, runs)

    def _hull(self, due: Sequence[Due]) -> DayRange:
        """All days that are due, and those that a week or month of theirs begins and ends with."""
        spans = [DayRange(each.start, each.end) for each in due]
        spans += [telling.days(self.now) for each in due for telling in each.tellings]
        days = hull_of(spans)
        if not due[0].interval.endswith(("week", "month")):
            return days
        start, end = days.start - _LONGEST_BUCKET, days.end + _LONGEST_BUCKET
        return DayRange(start.replace(day=1), end)

    def look(
        self,
        dataset: Dataset,
        *,
        symbols: Collection[str] = (),
        intervals: Collection[str] = (),
        start: date | None = None,
        end: date | None = None,
        asset_class: str | None = None,
        so_far: bool = False,
    ) -> "list[SeriesCoverage]":
        """The coverage of every series that is known, in order, of one `asset_class` if that is said.

        Without `start` it begins with the first row, without `end` it ends with the last; a series without rows is
        looked at over all that is known of it. A symbol that is named and not known is looked at where both are said.

        Nothing is missing of a session that is not over, or with `so_far` what lacks of its bars that are.

        The ledger goes by the calendar alone. On which days a symbol named an instrument is asked anew each time, so
        that what `instruments` learns counts at once, for days as well that are long settled.
        """
        from thermocline.model.coverage.report import looked_at  # noqa: PLC0415  # numpy

        self.settle(dataset)
        known = _by_series(self.hot.coverage(dataset, symbols, intervals))
        named = known_days(self.hot, self.lake, symbols)
        found = []
        for series in sorted({*known, *self._unknown(dataset, known, symbols, intervals, asset_class)}):
            if asset_class not in {None, series.asset_class}:
                continue
            own = known.get(series, [])
            days = self._days(own, start, end)
            if days is None:
                continue
            span = hull_of([days, *(DayRange(run.start, run.end) for run in own)])
            own_days = named.get(instrument_of(series))
            expected = self.expectations.of(series, span, own_days)
            by_now = self.expectations.so_far(series, span, self.now, own_days) if so_far else None
            calendar = self.expectations.calendar_of(series)
            found.append(looked_at(self._cover(series, own, span), expected, calendar, days, self.now, so_far=by_now))
        return found

    def plan(
        self,
        dataset: Dataset,
        source: Source,
        *,
        symbols: Collection[str] = (),
        intervals: Collection[str] = (),
        start: date | None = None,
        end: date | None = None,
        asset_class: str | None = None,
        again_days: int = 30,
        ask_again: bool = False,
    ) -> "MissingPlan":
        """What to ask of a source so that what is missing comes, in the fewest requests.

        Without `start` what is missing after the first row of each series, without `end` up to now.

        Raises:
            UsageError: Nothing is known of a symbol that is named, and no first day is said; or nothing at all.
        """
        from thermocline.model.coverage.missing import AskAgain, plan_missing, reach_of  # noqa: PLC0415  # numpy

        until = end or self.now.date() + ONE_DAY
        series = self.look(
            dataset,
            symbols=symbols,
            intervals=intervals,
            start=start,
            end=until,
            asset_class=asset_class,
            so_far=True,
        )
        unknown = sorted({*symbols} - {each.series.symbol for each in series})
        if unknown:
            msg = (
                f"nothing is known of {', '.join(unknown)} in {dataset.name}, so that it can't be told from which day "
                "on rows are missing; say the first day with --start, and the bar size with --interval"
            )
            raise UsageError(msg)
        if not series:
            msg = (
                f"nothing is known of such rows of {dataset.name}, so that it can't be told what is missing; name "
                "it with --symbol, --interval and --start, or backfill once without --missing"
            )
            raise UsageError(msg)
        again = AskAgain(self.now, again_days, always=ask_again)
        return plan_missing(series, dataset=dataset.name, source=source.name, reach=reach_of(source), again=again)

    @staticmethod
    def _unknown(
        dataset: Dataset,
        known: "Collection[Series]",
        symbols: Collection[str],
        intervals: Collection[str],
        asset_class: str | None,
    ) -> "Iterator[Series]":
        """Series that are named and of which nothing is known."""
        from thermocline.model.coverage.evidence import asset_class_of  # noqa: PLC0415  # numpy
        from thermocline.model.coverage.states import Series  # noqa: PLC0415  # numpy

        there = {(series.symbol, series.interval) for series in known}
        for symbol in symbols:
            for interval in intervals if dataset.has_intervals else [""]:
                if (symbol, interval) not in there:
                    has_class = "asset_class" in dataset.names
                    own = (asset_class or asset_class_of(symbol)) if has_class else ""
                    yield Series(dataset.name, own, symbol, interval)

    def _cover(self, series: "Series", runs: "Sequence[Run]", days: DayRange) -> "Cover":
        from thermocline.model.coverage.states import cover_of, nothing_known  # noqa: PLC0415  # numpy

        return cover_of(series, runs, self.expectations.of(series, days)) if runs else nothing_known(series)

    @staticmethod
    def _days(runs: "Sequence[Run]", start: date | None, end: date | None) -> DayRange | None:
        there = [run for run in runs if run.rows] or runs
        first = start or (min(run.start for run in there) if there else None)
        last = end or (max(run.end for run in there) if there else None)
        return DayRange(first, last) if first and last and first < last else None


def _by_series(runs: "Sequence[Run]") -> "dict[Series, list[Run]]":
    found: dict[Series, list[Run]] = {}
    for run in runs:
        found.setdefault(run.series, []).append(run)
    return found
