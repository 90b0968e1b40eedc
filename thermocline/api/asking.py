"""Verbs that ask."""

from collections.abc import Collection, Sequence

from thermocline.answer import Answer
from thermocline.api.opened import Opened
from thermocline.arguments import (
    Day,
    Instant,
    as_datasets,
    as_days,
    as_instant,
    as_query,
)
from thermocline.model.datasets import DATASETS
from thermocline.ports import (
    SILENT,
    Progress,
    Trouble,
)
from thermocline.tasks.query import Explanation, explain, query
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
    ) -> Answer:
        """Rows wherever they live, each exactly once, ordered by interval, time and key.

        With `as_of_vintage` each day comes from the vintage that was live at that instant, whatever was published
        since; rows that were in no vintage then are no part of the answer.
        """
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
        return Answer(lambda: query(self.hot, self.lake, asked))

    def explain(
        self,
        dataset: str,
        *,
        symbols: Collection[str] = (),
        interval: str | None = None,
        intervals: Collection[str] = (),
        start: Instant | None = None,
        end: Instant | None = None,
        as_of_vintage: Instant | None = None,
    ) -> Explanation:
        """How `query` would answer: which tier, which objects, how many bytes."""
        asked = as_query(
            dataset,
            symbols=symbols,
            interval=interval,
            intervals=intervals,
            start=start,
            end=end,
            as_of_vintage=as_of_vintage,
        )
        return explain(self.hot, asked)

    def sql(self, statement: str, *, as_of_vintage: Instant | None = None) -> Answer:
        """The answer to one read-only SELECT in DuckDB's SQL; every dataset is a table over both tiers.

        With `as_of_vintage` every table is as its vintages were at that instant.

        Raises:
            UsageError: The statement is wrong or would do more than read.
        """
        at = as_instant(as_of_vintage)
        return Answer(lambda: sql(self.hot, self.lake, self._analytics, statement, DATASETS.values(), as_of_vintage=at))

    def status(self, datasets: Collection[str] = (), *, as_of: Day | None = None) -> list[SeriesStatus]:
        """What is where and what is due, a line a dataset and interval."""
        return status(self.hot, as_datasets(datasets), self.settings.lifecycle, as_of=self._as_of(as_of))

    def trouble(self, datasets: Collection[str] = ()) -> list[Trouble]:
        """Partitions that a rotation, release, backfill or load could not do: the last reason, how often, since when.

        Each is as it was before, and is out of trouble with the commit in which the act succeeds.
        """
        return troubles(self.hot, as_datasets(datasets))

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
        return verify(self.hot, self.lake, as_datasets(datasets), days, intervals, progress=progress)
