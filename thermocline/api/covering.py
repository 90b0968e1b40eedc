"""Verbs that say what should be there, what is, and what is missing."""

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from thermocline.api.opened import Opened
from thermocline.arguments import Day, as_day
from thermocline.model.partition import parse_interval
from thermocline.ports import SILENT, Progress, Source
from thermocline.tasks.coverage import CoverageKeeper
from thermocline.tasks.expected import Expectations

if TYPE_CHECKING:
    from thermocline.model.coverage.missing import MissingPlan
    from thermocline.model.coverage.report import CoverageReport


class Covering(Opened):
    """Verbs that say what should be there, what is, and what is missing."""

    @cached_property
    def _expectations(self) -> Expectations:
        from thermocline.sources.calendars import ExchangeCalendars  # noqa: PLC0415  # numpy, for those who look

        return Expectations(ExchangeCalendars(), self.settings.calendar_rules)

    def _keeper(self, progress: Progress = SILENT) -> CoverageKeeper:
        return CoverageKeeper(self.hot, self.lake, self._analytics, self._expectations, datetime.now(UTC), progress)

    def coverage(
        self,
        dataset: str = "market_data",
        *,
        symbols: Collection[str] = (),
        intervals: Collection[str] = (),
        start: Day | None = None,
        end: Day | None = None,
        asset_class: str | None = None,
        survey: bool = False,
        progress: Progress = SILENT,
    ) -> "CoverageReport":
        """What of each series should be there by its calendar, what is, and what is known of the rest.

        Args:
            dataset: The dataset's name.
            symbols: Only these, all that are known when empty.
            intervals: Only these, all that are known when empty.
            start: The first day; of each series the first with rows when None.
            end: The first day no more; of each series the one after the last with rows when None.
            asset_class: Only series of this one; it also tells what symbols are of which nothing is known yet.
            survey: Count every row anew, also where nothing is known to have changed.
            progress: Told how far it is.
        """
        from thermocline.model.coverage.report import CoverageReport  # noqa: PLC0415  # numpy

        chosen, keeper = self._dataset(dataset), self._keeper(progress)
        wanted = [parse_interval(interval) for interval in intervals]
        if survey:
            keeper.settle(chosen, again=True)
        series = keeper.look(
            chosen,
            symbols=symbols,
            intervals=wanted,
            start=None if start is None else as_day(start),
            end=None if end is None else as_day(end),
            asset_class=asset_class,
        )
        return CoverageReport(dataset, tuple(series))

    def plan_missing(
        self,
        dataset: str,
        *,
        source: str | Source,
        path: str | None = None,
        options: Mapping[str, Any] | None = None,
        start: Day | None = None,
        end: Day | None = None,
        symbols: Collection[str] = (),
        intervals: Collection[str] = (),
        asset_class: str | None = None,
        ask_again: bool = False,
        progress: Progress = SILENT,
    ) -> "MissingPlan":
        """What `backfill(missing=True)` would ask of the source, in the fewest requests; asks for nothing."""
        return self._keeper(progress).plan(
            self._dataset(dataset),
            self._source(source, path, options),
            symbols=symbols,
            intervals=[parse_interval(interval) for interval in intervals],
            start=None if start is None else as_day(start),
            end=None if end is None else as_day(end),
            asset_class=asset_class,
            again_days=self.settings.coverage.ask_again_days,
            ask_again=ask_again,
        )

    def get_missing_dates(
        self,
        symbol: str,
        interval: str,
        start: Day | None = None,
        end: Day | None = None,
        *,
        dataset: str = "market_data",
        asset_class: str | None = None,
    ) -> list[date]:
        """The days in `[start, end)` on which bars of the symbol are missing that its calendar says there should be.

        Holidays, weekends and what a source has told not to exist are no such days; a session that is not over is none
        yet. Without `start` or `end` it is asked from the first day with rows to the last.
        """
        report = self.coverage(
            dataset, symbols=[symbol], intervals=[interval], start=start, end=end, asset_class=asset_class
        )
        return sorted({day for each in report.series for day in each.dates()})
