"""Verbs that ask for measures of rows, or for bars of a coarser size, instead of the rows themselves."""

from collections.abc import Collection, Mapping
from typing import Literal

from thermocline.answer import Answer
from thermocline.api.covering import Covering
from thermocline.arguments import Instant, as_interval, as_query
from thermocline.model.aggregates import Aggregation, buckets_of, parse_measures
from thermocline.tasks.aggregate import aggregate
from thermocline.tasks.resample import resample


class Aggregating(Covering):
    """Verbs that ask for measures of rows, or for bars of a coarser size, instead of the rows themselves."""

    def aggregate(
        self,
        dataset: str,
        measures: Mapping[str, str] | Collection[str],
        *,
        by: Collection[str] = (),
        every: str | None = None,
        symbols: Collection[str] = (),
        interval: str | None = None,
        intervals: Collection[str] = (),
        start: Instant | None = None,
        end: Instant | None = None,
        as_of_vintage: Instant | None = None,
    ) -> Answer:
        """Measures of groups of rows, each tier working out its part; the answer is that of one pass over all rows.

        Sums and averages of prices are exact decimals, of integers exact. Floats are added in no particular order, so
        the last bit of their sums may differ from one time to the next unless they are whole numbers.

        Args:
            dataset: Whose rows.
            measures: Texts such as `count`, `sum(volume)` or `max(high) as peak`, or names and such texts. There are
                count, sum, min, max, avg, first and last; nulls don't count, first and last are by `ts`, then key.
            by: Columns whose values rows of one group share.
            every: How long a group lasts, such as `1hour`, in UTC; the answer's `ts` says when it begins.
            symbols: Only rows of these symbols; else of all.
            interval: Only of this interval.
            intervals: Only of these intervals.
            start: Rows from this instant on.
            end: Rows before this instant; groups at either end may be cut.
            as_of_vintage: Each day as the vintage had it that was live at that instant, as with `query`.

        Raises:
            UsageError: A name is unknown, or a measure can't be told of its column.
        """
        self._dataset(dataset)
        seconds, origin = buckets_of(as_interval(every)) if every else (None, 0)
        asked = as_query(
            dataset,
            symbols=symbols,
            interval=interval,
            intervals=intervals,
            start=start,
            end=end,
            as_of_vintage=as_of_vintage,
        )
        question = Aggregation(asked, parse_measures(measures), tuple(by), seconds, origin)
        return Answer(lambda: aggregate(self.hot, self.lake, question))

    def resample(
        self,
        dataset: str = "market_data",
        *,
        to: str,
        interval: str = "1min",
        symbols: Collection[str] = (),
        start: Instant | None = None,
        end: Instant | None = None,
        align: Literal["session", "clock"] = "session",
        session: Literal["regular", "extended"] = "regular",
        columns: Collection[str] = (),
        limit: int | None = None,
        as_of_vintage: Instant | None = None,
    ) -> Answer:
        """Bars of a coarser size, made of those that there are; ordered by time and key.

        No bar has bars of two sessions in it. One of a day or longer carries its session's date at 00:00 UTC. Each is
        whole: the range is that of the `ts` of the bars that are made, whatever bars they are made of.

        Args:
            dataset: Whose bars; there is `market_data`.
            to: The size to make: a whole number of `interval`, `1day`, `1week` or `1month`.
            interval: The size that they are made of.
            symbols: Only these symbols; else all.
            start: Bars whose `ts` is this instant or later.
            end: Bars whose `ts` is before this instant.
            align: Whether the first bar of a session begins as it opens (09:30, 10:30 …), or bars begin with the clock
                of the exchange (09:30, 10:00 …).
            session: `"extended"` has bars before and after the session too; those of a day or longer then hold them.
            columns: Only these columns.
            limit: At most the first so many bars.
            as_of_vintage: Each day as the vintage had it that was live at that instant, as with `query`.

        Raises:
            UsageError: A size is no whole number of the other; or, when the answer is taken, there are bars of days
                that their exchange's calendar does not know.
        """
        from thermocline.model.resampling import Resampling  # noqa: PLC0415  # it brings Arrow

        self._dataset(dataset)
        asked = as_query(
            dataset,
            symbols=symbols,
            interval=None,
            start=start,
            end=end,
            columns=tuple(columns),
            limit=limit,
            as_of_vintage=as_of_vintage,
        )
        question = Resampling(asked, as_interval(interval), as_interval(to), align, session)
        known = self._expectations
        return Answer(lambda: resample(self.hot, self.lake, question, known.calendars, known.rules))
