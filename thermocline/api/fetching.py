"""Rows of one instrument from wherever they are, fetched from a source where they are nowhere."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from thermocline.answer import Answer
from thermocline.api.moving import Moving
from thermocline.api.opened import IN_POSTGRES, TIERS, Storage, new_run_id
from thermocline.arguments import Day, Instant, as_instant, as_query
from thermocline.errors import SourceError, UsageError
from thermocline.model.dataset import Dataset
from thermocline.model.partition import ONE_DAY, DayRange, parse_interval
from thermocline.ports import FetchRequest, Source
from thermocline.tasks.fetching import fetch_missing, request_of
from thermocline.tasks.query import query
from thermocline.tasks.told import Told, note

if TYPE_CHECKING:
    from thermocline.model.coverage.missing import MissingPlan


class Fetching(Moving):
    """Rows of one instrument from wherever they are, fetched from a source where they are nowhere."""

    def fetch(
        self,
        symbol: str,
        interval: str,
        start: Instant,
        end: Instant | None = None,
        *,
        dataset: str = "market_data",
        source: str | Source | None = None,
        asset_class: str | None = None,
        storage: Storage | None = None,
        path: str | None = None,
        options: Mapping[str, Any] | None = None,
        columns: Sequence[str] = (),
        ask_again: bool = False,
    ) -> Answer:
        """The bars of `[start, end)`, from PostgreSQL and the lake; what neither has is fetched first and kept.

        The call is the same for every storage. A second one makes no request: what came is there, and what the source
        has told not to have is not asked for again before `coverage.ask_again_days` are over. Of a session that is not
        over it has the intraday bars that are over, and asks once more are. Days that still lack bars are in the
        answer's `missing`.

        Args:
            symbol: The instrument.
            interval: The bar size, such as `1min` or `1day`.
            start: From this instant on.
            end: Before this instant; up to now when None.
            dataset: The dataset's name.
            source: Where to fetch from: a source or its name; else what `fetch_from` of the settings says for the asset
                class. Without any, the answer is what is there.
            asset_class: What the symbol is; else what is known of it, else crypto for a pair with `/`, else equity.
            storage: Where fetched rows are kept; what `thermocline.open` was told when None. `parquet` and `hybrid`
                publish them in the lake, `postgres` and `timescale` take them into PostgreSQL.
            path: Where the source's files are, for sources that have files.
            options: Options of the source, which go before those of thermocline.yaml.
            columns: Only these columns.
            ask_again: Ask also for what the source has told not to have.

        Raises:
            SourceError: The source could not bring some of what is missing. What it brought is kept, and what is there
                can be had with `query`.
        """
        kept_in = self._storage if storage is None else storage
        if kept_in not in TIERS:
            msg = f"storage is one of {', '.join(TIERS)}, not {kept_in!r}"
            raise UsageError(msg)
        chosen, bar = self._dataset(dataset), parse_interval(interval)
        since, until = as_instant(start), as_instant(end) if end is not None else datetime.now(UTC)
        asked = as_query(dataset, symbols=[symbol], interval=bar, start=since, end=until, columns=columns)
        last = (until.astimezone(UTC) - timedelta(microseconds=1)).date()
        days = DayRange(since.astimezone(UTC).date(), last + ONE_DAY)
        if source is None and self.settings.fetch_from:
            own = asset_class or self._asset_class(chosen, symbol, bar)
            source = self.settings.fetch_from.get(own)
        if source is not None:
            opened = self._source(source, path, options)
            plan = self.plan_missing(
                dataset,
                source=opened,
                start=days.start,
                end=days.end,
                symbols=[symbol],
                intervals=[bar],
                asset_class=asset_class,
                ask_again=ask_again,
            )
            if plan.fetches:
                self._bring(chosen, opened, plan, kept_in)
        series = self._keeper().look(
            chosen,
            symbols=[symbol],
            intervals=[bar],
            start=days.start,
            end=days.end,
            asset_class=asset_class,
            so_far=True,
        )
        missing = sorted({day for each in series for day in each.dates()})
        return Answer(lambda: query(self.hot, self.lake, asked), missing)

    def _asset_class(self, dataset: Dataset, symbol: str, interval: str) -> str:
        """What a symbol is, as far as it is known."""
        from thermocline.model.coverage.evidence import asset_class_of  # noqa: PLC0415  # numpy, for those who fetch

        known = self.hot.coverage(dataset, [symbol], [interval])
        return known[0].series.asset_class if known else asset_class_of(symbol)

    def _bring(self, dataset: Dataset, source: Source, plan: "MissingPlan", storage: str) -> None:
        """Fetch what is missing and keep it where the storage says."""
        if storage in IN_POSTGRES:
            self._bring_to_postgres(dataset, source, [request_of(dataset, fetch) for fetch in plan.fetches])
            return
        lifecycle = self.settings.lifecycle
        if storage == "parquet":
            lifecycle = replace(lifecycle, archive_on_backfill=True)
        done = fetch_missing(self._backfill(source, lifecycle, None, rulebook=self._rulebook(dataset)), dataset, plan)
        if done.unfetched:
            raise _unfetched(source, [each.reason for each in done.unfetched])
        if done.failed:
            raise _unfetched(source, [each.reason for each in done.failed])

    def _bring_to_postgres(self, dataset: Dataset, source: Source, requests: Sequence[FetchRequest]) -> None:
        """Take rows into PostgreSQL, whatever their age, and note what the source told."""
        now, run_id = datetime.now(UTC), new_run_id()
        told = Told(source.name, run_id, now)
        failed = []
        for request in requests:
            try:
                for fetched in source.fetch(replace(request, now=now)):
                    took = self._ingest(
                        dataset, [fetched], source.name, None, run_id=run_id, request=request, always_hot=True
                    )
                    told.quarantined(took.verdicts.quarantined, request)
                    told.answered(fetched.answered)
            except SourceError as error:
                told.asked(request, failed=str(error))
                failed.append(str(error))
            else:
                told.asked(request)
        note(self.hot, dataset, told.due([]))
        if failed:
            raise _unfetched(source, failed)


def _unfetched(source: Source, reasons: Sequence[str]) -> SourceError:
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return SourceError(
        f"{source.name}: {reasons[0].rstrip().removesuffix('.')}{more}; what it brought before is kept, and the same "
        "call asks for the rest. What is there can be had with query()"
    )


class HistoricalDataFetcher:
    """`Thermocline.fetch` under the name by which it is looked for; use it as a context manager, or call `close`.

    ```python
    with HistoricalDataFetcher(storage="hybrid", source="alpaca") as fetcher:
        bars = fetcher.fetch("AAPL", "1day", "2020-01-01", "2024-01-01").to_pandas()
        holes = fetcher.get_missing_dates("AAPL", "1day", "2020-01-01", "2024-01-01")
    ```
    """

    def __init__(
        self,
        *,
        storage: Storage = "hybrid",
        source: str | Source | None = None,
        home: Path | str | None = None,
        config: Path | str | None = None,
    ) -> None:
        """As `thermocline.open`; `source` is where rows come from unless a call says otherwise."""
        from thermocline.api import open as open_home  # noqa: PLC0415  # it is made of this module

        self._opened = open_home(home=home, config=config, storage=storage)
        self._source = source

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Give connections back."""
        self._opened.close()

    def fetch(self, symbol: str, interval: str, start: Instant, end: Instant | None = None, **how: Any) -> Answer:
        """See `Thermocline.fetch`."""
        return self._opened.fetch(symbol, interval, start, end, **{"source": self._source, **how})

    def get_missing_dates(
        self, symbol: str, interval: str, start: Day | None = None, end: Day | None = None, **how: Any
    ) -> list[date]:
        """See `Thermocline.get_missing_dates`."""
        return self._opened.get_missing_dates(symbol, interval, start, end, **how)
