"""Verbs that move rows."""

from collections.abc import Callable, Collection, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thermocline.arguments import (
    Day,
    as_day,
    as_days,
    as_folded_datasets,
    as_rotated_datasets,
    as_table,
)
from thermocline.errors import ThermoclineError, UsageError
from thermocline.model.partition import ALL_DAYS, parse_interval
from thermocline.model.report import Moved
from thermocline.ports import (
    SILENT,
    Fetched,
    FetchRequest,
    Progress,
    Source,
)
from thermocline.tasks.backfill import Backfilled
from thermocline.tasks.fetching import fetch_missing
from thermocline.tasks.ingest import IngestReport
from thermocline.tasks.load import Loaded, load, rehydrate
from thermocline.tasks.rotate import Rotated, Rotation, plan_rotation
from thermocline.tasks.undo import Undone, undo

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


from thermocline.api.covering import Covering
from thermocline.api.opened import new_run_id

DAYS_BACK = 7
"""For how many days a rehydrated day stays where nothing else is said."""


class Moving(Covering):
    """Verbs that move rows."""

    def backfill(
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
        as_of: Day | None = None,
        repair: bool = False,
        missing: bool = False,
        ask_again: bool = False,
        refetch: bool = False,
        asset_class: str | None = None,
        accept_restatements: bool = False,
        strictness: str | None = None,
        max_bad_share: float | None = None,
        progress: Progress = SILENT,
        on_published: Callable[[Moved], None] = lambda _: None,
        run_id: str | None = None,
    ) -> Backfilled:
        """Bring rows of a source into the lake; days that say nothing new are not written again.

        A day of which much that is published would change (`storage.lifecycle.restatements`) is held: written, but not
        live before `accept`.

        Args:
            dataset: The dataset's name.
            source: A source's name (`files`, `lean`, `sample`, `synthetic`, or one of thermocline.yaml), or a source.
            path: Where the source's files are, for sources that have files.
            options: Options of the source, which go before those of thermocline.yaml.
            start: The first day; everything the source has when None.
            end: The first day no more.
            symbols: Only these, all when empty.
            intervals: Only these, all when empty.
            as_of: Today, for deciding what may be hot.
            repair: Re-read every day that comes, and write those anew whose object or receipt is missing or damaged.
                Days that what came can't stand in for are left, and named as `failed`.
            missing: Ask only for what `coverage` says is missing, in the fewest requests: of every series that is
                known, or of those named, from `start` or its first row on, up to `end` or now. A request that fails is
                named as `unfetched`, and the others are published.
            ask_again: Ask also for what this source has told not to have; else it is asked again after
                `coverage.ask_again_days`.
            refetch: Ask a vendor also for pages that an earlier run, which did not finish, has kept.
            asset_class: What symbols are that are named and of which nothing is known yet.
            accept_restatements: Publish such days too.
            strictness: How rows that break a rule are taken this time: `strict`, `warn` or `off`.
            max_bad_share: The share of rows that may be bad before nothing is written.
            progress: Told how far it is.
            on_published: Called for each partition once it is committed.
            run_id: Named in receipts and the audit log; made up when None.
        """
        chosen, opened = self._dataset(dataset), self._source(source, path, options)
        backfill = self._backfill(
            opened,
            self.settings.lifecycle,
            as_of,
            repair=repair,
            refetch=refetch,
            accept_restatements=accept_restatements,
            rulebook=self._rulebook(chosen, strictness, max_bad_share),
            progress=progress,
            on_published=on_published,
            run_id=run_id,
        )
        if not missing:
            wanted = frozenset(map(parse_interval, intervals))
            return backfill.run(FetchRequest(chosen, as_days(start, end), frozenset(symbols), wanted))
        plan = self.plan_missing(
            dataset,
            source=opened,
            start=start,
            end=end,
            symbols=symbols,
            intervals=intervals,
            asset_class=asset_class,
            ask_again=ask_again,
            progress=progress,
        )
        return fetch_missing(backfill, chosen, plan)

    def load_hot(
        self,
        datasets: Collection[str] = (),
        *,
        as_of: Day | None = None,
        hot_days: int | None = None,
        progress: Progress = SILENT,
        on_loaded: Callable[[Moved], None] = lambda _: None,
        run_id: str | None = None,
    ) -> Loaded:
        """Bring the last `hot_days` of the lake to hot, for the named datasets or for all: their eligible intervals."""
        return load(
            self.hot,
            self.lake,
            self._datasets(datasets),
            self._lifecycle(hot_days),
            as_of=self._as_of(as_of),
            run_id=run_id or new_run_id(),
            progress=progress,
            on_loaded=on_loaded,
        )

    def plan_rotation(
        self,
        datasets: Collection[str] = (),
        *,
        full: bool = False,
        as_of: Day | None = None,
        hot_days: int | None = None,
    ) -> list[Moved]:
        """What `rotate` would move; changes nothing."""
        self._datasets(datasets)
        return plan_rotation(
            self.hot,
            as_rotated_datasets(datasets, full=full),
            self._lifecycle(hot_days),
            as_of=self._as_of(as_of),
            folding=as_folded_datasets(datasets, full=full),
        )

    def rotate(
        self,
        datasets: Collection[str] = (),
        *,
        full: bool = False,
        force: bool = False,
        as_of: Day | None = None,
        hot_days: int | None = None,
        progress: Progress = SILENT,
        on_moved: Callable[[Moved], None] = lambda _: None,
        run_id: str | None = None,
    ) -> Rotated:
        """Move every day that is due from hot to cold, verified; market_data alone unless others are named or `full`.

        Late rows of cold days are folded in of every dataset, or of those that are named.

        Raises:
            ThermoclineError: Automatic rotation is switched off and `force` was not given.
        """
        if not (force or self.settings.storage.lifecycle.auto_rotation.enabled):
            msg = (
                "rotation is switched off (storage.lifecycle.auto_rotation.enabled is false); nothing was moved. "
                "Run it all the same with --force"
            )
            raise ThermoclineError(msg)
        rotation = Rotation(
            self.hot,
            self.lake,
            self._spools,
            self._lifecycle(hot_days),
            run_id or new_run_id(),
            progress,
            on_moved,
        )
        self._datasets(datasets)
        return rotation.run(
            as_rotated_datasets(datasets, full=full),
            as_of=self._as_of(as_of),
            folding=as_folded_datasets(datasets, full=full),
        )

    def undo(
        self,
        dataset: str,
        *,
        start: Day | None = None,
        end: Day | None = None,
        intervals: Collection[str] = (),
        days: int | None = None,
        until: Day | None = None,
        as_of: Day | None = None,
        run_id: str | None = None,
    ) -> Undone:
        """Bring rotated days back to hot as they were, to stay for `days` from `as_of` on or until a day.

        With neither they are due again at once.
        """
        return undo(
            self.hot,
            self._dataset(dataset),
            as_days(start, end),
            intervals,
            run_id=run_id or new_run_id(),
            until=None if days is None and until is None else self._until(days, until, as_of),
        )

    def rehydrate(
        self,
        dataset: str,
        *,
        start: Day | None = None,
        end: Day | None = None,
        intervals: Collection[str] = (),
        days: int | None = None,
        until: Day | None = None,
        as_of: Day | None = None,
        progress: Progress = SILENT,
        run_id: str | None = None,
    ) -> Loaded:
        """Bring cold days back to hot for a set time, whatever their age.

        Args:
            dataset: The dataset's name.
            start: The first day; everything that is cold when None.
            end: The first day no more.
            intervals: Only these, all when empty.
            days: For how many days from `as_of` on rotation leaves them there; 7 when None.
            until: The day of the rotation that may take them out again, instead of `days`.
            as_of: Today.
            progress: Told how far it is.
            run_id: Named in the audit log; made up when None.
        """
        return rehydrate(
            self.hot,
            self.lake,
            self._dataset(dataset),
            as_days(start, end),
            intervals,
            until=self._until(days, until, as_of),
            run_id=run_id or new_run_id(),
            progress=progress,
        )

    def _until(self, days: int | None, until: Day | None, as_of: Day | None) -> date:
        """The first day on which rotation may take days out again that are brought back.

        Raises:
            UsageError: Both were said, or the day is not after today.
        """
        today = self._as_of(as_of)
        if days is not None and until is not None:
            msg = "say either for how many days or until when, not both"
            raise UsageError(msg)
        ends = as_day(until) if until is not None else today + timedelta(days=DAYS_BACK if days is None else days)
        if ends <= today:
            msg = f"they would not stay: {ends} is not after {today}"
            raise UsageError(msg)
        return ends

    def ingest(
        self,
        dataset: str,
        rows: "pa.Table | pd.DataFrame | Path | str",
        *,
        source: str = "ingest",
        as_of: Day | None = None,
        accept_restatements: bool = False,
        strictness: str | None = None,
        max_bad_share: float | None = None,
        run_id: str | None = None,
    ) -> IngestReport:
        """Accept rows at once: an Arrow table, a DataFrame, or a file that the source `files` can read.

        They are durable and visible to every query on return, whether their days are hot or cold. Only rows of a day
        of which they would change much that is published (`storage.lifecycle.restatements`) are held for `accept`,
        unless `accept_restatements`. Rows that break a rule go to quarantine, unless `strictness` or the settings say
        otherwise; where more than `max_bad_share` of them do, none is accepted.
        """
        chosen = self._dataset(dataset)
        if isinstance(rows, str | Path):
            from thermocline.sources.open import open_source  # noqa: PLC0415  # it brings vendors' SDKs

            reader = open_source("files", path=str(rows))
            fetched = reader.fetch(FetchRequest(chosen, ALL_DAYS))
        else:
            fetched = iter([Fetched(as_table(rows), source)])
        return self._ingest(
            chosen,
            list(fetched),
            source,
            as_of,
            run_id=run_id,
            accept_restatements=accept_restatements,
            strictness=strictness,
            max_bad_share=max_bad_share,
        )
