"""Verbs that ask."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cache, cached_property, partial
from typing import Literal

from thermocline.answer import Answer
from thermocline.api.opened import Opened
from thermocline.arguments import (
    Day,
    Instant,
    as_adjust,
    as_datasets,
    as_day,
    as_days,
    as_instant,
    as_query,
)
from thermocline.errors import UsageError
from thermocline.model.instruments import Naming, ZoneOf, new_york
from thermocline.ports import (
    SILENT,
    Progress,
    Trouble,
    Unfinished,
)
from thermocline.tasks.adjusted import query_adjusted
from thermocline.tasks.analyze import analyze as run_analyzed
from thermocline.tasks.explain import Explanation, explain
from thermocline.tasks.instruments import explain_instrument, known_instruments, listed_namings, query_instrument
from thermocline.tasks.query import query
from thermocline.tasks.sql import sql
from thermocline.tasks.status import SeriesStatus, status
from thermocline.tasks.trouble import troubles
from thermocline.tasks.verify import VerifyReport, verify


class Asking(Opened):
    """Verbs that ask."""

    def query(
        self,
        dataset: str,
        *,
        symbols: Collection[str] = (),
        interval: str | None = None,
        intervals: Collection[str] = (),
        start: Instant | None = None,
        end: Instant | None = None,
        columns: Sequence[str] = (),
        limit: int | None = None,
        as_of_vintage: Instant | None = None,
        instrument: str | None = None,
        adjust: Literal["splits", "all"] | None = None,
        adjust_as_of: Day | None = None,
    ) -> Answer:
        """Rows wherever they live, each exactly once, ordered by interval, time and key.

        Args:
            dataset: Whose rows.
            symbols: Only of these symbols; else of all.
            interval: Only of this interval.
            intervals: Only of these intervals.
            start: Rows from this instant on.
            end: Rows before this instant.
            columns: Only these columns.
            limit: At most the first so many rows.
            as_of_vintage: Each day as the vintage had it that was live at that instant, whatever was published since;
                rows that were in no vintage then are no part of the answer.
            instrument: The rows of the instrument with this id, under every symbol that it had, as one series.
            adjust: Bars with prices and volumes adjusted for `"splits"`, or for splits and dividends (`"all"`). Without
                it they are raw.
            adjust_as_of: Only events with an ex-date up to and with this day count; today if not said.

        Raises:
            UsageError: A name is unknown, no such instrument is known, or something that has no bars is to be adjusted.
            AdjustmentError: When the answer is taken: a dividend has no close before it, or makes no sense.
        """
        self._dataset(dataset)
        asked = as_query(
            dataset,
            symbols=symbols,
            interval=interval,
            intervals=intervals,
            start=start,
            end=end,
            columns=columns,
            limit=limit,
            as_of_vintage=as_of_vintage,
        )
        if adjust is not None:
            how, as_of = as_adjust(adjust), self._as_of(adjust_as_of)
            return Answer(
                lambda: query_adjusted(
                    self.hot, self.lake, asked, how, as_of=as_of, instrument_id=instrument, zone_of=self._zone_of
                )
            )
        if adjust_as_of is not None:
            msg = "adjust_as_of says up to which day events count; say also adjust, splits or all"
            raise UsageError(msg)
        if instrument is not None:
            return Answer(lambda: query_instrument(self.hot, self.lake, asked, instrument, zone_of=self._zone_of))
        return Answer(lambda: query(self.hot, self.lake, asked))

    @cached_property
    def _zone_of(self) -> ZoneOf:
        """The zone of the exchange whose calendar the settings give a symbol."""
        rules = self.settings.calendar_rules

        @cache
        def of_calendar(name: str) -> str:
            from thermocline.sources.calendars import zone_of  # noqa: PLC0415  # for those whose exchange is abroad

            return zone_of(name)

        def of(asset_class: str, symbol: str) -> str:
            name = rules.of(asset_class, symbol)
            return new_york(asset_class, symbol) if name is None or name == "XNYS" else of_calendar(name)

        return of

    def instruments(self, symbol: str | None = None, *, on: Day | None = None) -> list[Naming]:
        """Which instruments a symbol named and when, the oldest first; those of all symbols when none is said.

        Args:
            symbol: The symbol; every instrument that it ever named comes with all its symbols.
            on: Only what the symbol named on this day, or, without a symbol, the symbols of that day.
        """
        day = None if on is None else as_day(on)
        return listed_namings(known_instruments(self.hot, self.lake), symbol, day)

    def instrument(self, symbol: str, *, on: Day | None = None, asset_class: str = "equity") -> str | None:
        """The id of the instrument that a symbol named on a day, today if not said; None where it is not known."""
        return known_instruments(self.hot, self.lake).named(asset_class, symbol, self._as_of(on))

    def symbols(self, instrument: str) -> list[Naming]:
        """Every symbol that an instrument had, the oldest first."""
        return list(known_instruments(self.hot, self.lake).namings(instrument))

    def explain(
        self,
        dataset: str,
        *,
        symbols: Collection[str] = (),
        interval: str | None = None,
        intervals: Collection[str] = (),
        start: Instant | None = None,
        end: Instant | None = None,
        columns: Sequence[str] = (),
        limit: int | None = None,
        as_of_vintage: Instant | None = None,
        instrument: str | None = None,
        analyze: bool = False,
    ) -> Explanation:
        """How `query` would answer: which tier, objects and row groups, how many bytes, for which money, and how soon.

        With `analyze` it is asked, its rows are counted and thrown away, and `analysis` says where the time went.

        Raises:
            UsageError: A name is unknown, or no such instrument is known.
            ArchivedError: It is to be analyzed, and an object must be restored first.
        """
        self._dataset(dataset)
        asked = as_query(
            dataset,
            symbols=symbols,
            interval=interval,
            intervals=intervals,
            start=start,
            end=end,
            columns=columns,
            limit=limit,
            as_of_vintage=as_of_vintage,
        )
        if instrument is None:
            found = explain(self.hot, asked, self.lake, lambda: self.settings.prices)
            opened = partial(query, asked=asked)
        else:
            found = explain_instrument(self.hot, self.lake, asked, instrument, lambda: self.settings.prices)
            opened = partial(query_instrument, asked=asked, instrument_id=instrument, zone_of=self._zone_of)
        return replace(found, analysis=run_analyzed(self.hot, self.lake, opened)) if analyze else found

    def sql(self, statement: str, *, as_of_vintage: Instant | None = None) -> Answer:
        """The answer to one read-only SELECT in DuckDB's SQL; every dataset is a table over both tiers.

        With `as_of_vintage` every table is as its vintages were at that instant.

        Raises:
            UsageError: The statement is wrong or would do more than read.
        """
        at = as_instant(as_of_vintage)
        return Answer(lambda: sql(self.hot, self.lake, self._analytics, statement, self._datasets(), as_of_vintage=at))

    def unfinished(self, datasets: Collection[str] = ()) -> list[Unfinished]:
        """What a backfill asked of a vendor and did not publish, oldest first; running it again goes on from there."""
        named = {dataset.name for dataset in as_datasets(datasets)}
        return [each for each in self.lake.page_store.unfinished() if each.dataset in named]

    def status(self, datasets: Collection[str] = (), *, as_of: Day | None = None) -> list[SeriesStatus]:
        """What is where and what is due, a line a dataset and interval."""
        return status(self.hot, self._datasets(datasets), self.settings.lifecycle, as_of=self._as_of(as_of))

    def trouble(self, datasets: Collection[str] = ()) -> list[Trouble]:
        """Partitions that a rotation, release, backfill or load could not do: the last reason, how often, since when.

        Each is as it was before, and is out of trouble with the commit in which the act succeeds.
        """
        return troubles(self.hot, self._datasets(datasets))

    def verify(
        self,
        datasets: Collection[str] = (),
        *,
        start: Day | None = None,
        end: Day | None = None,
        intervals: Collection[str] = (),
        progress: Progress = SILENT,
    ) -> VerifyReport:
        """Re-read cold partitions and hold them against their receipts."""
        days = as_days(start, end)
        return verify(self.hot, self.lake, self._datasets(datasets), days, intervals, progress=progress)
