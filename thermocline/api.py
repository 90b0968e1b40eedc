"""The verbs of Thermocline in Python; the `thermocline` command is a thin twin of this.

```python
import thermocline

with thermocline.open() as tc:
    tc.backfill("market_data", source="sample", start="2012-01-01", end="2013-03-01")
    tc.load_hot(as_of="2013-02-15")
    tc.rotate(as_of="2013-02-25")
    bars = tc.query("market_data", symbols=["AAPL"], interval="1day", start="2013-01-01").to_arrow()
```

Days are `date` or ISO text, instants `datetime` or ISO text (without an offset: UTC); `start` is inclusive, `end`
exclusive.
"""

import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from zoneinfo import ZoneInfo

from thermocline.answer import Answer
from thermocline.arguments import (
    Day,
    Instant,
    as_datasets,
    as_day,
    as_days,
    as_query,
    as_rotated_datasets,
    as_table,
)
from thermocline.errors import ThermoclineError, UsageError
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import DATASETS, dataset_named
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS, parse_interval
from thermocline.model.query import Tier
from thermocline.model.report import Moved
from thermocline.ports import (
    SILENT,
    Analytics,
    Fetched,
    FetchRequest,
    Hot,
    Lake,
    Mapped,
    Progress,
    Source,
    SpoolFactory,
)
from thermocline.settings import Settings, load_settings
from thermocline.tasks.backfill import Backfill, Backfilled
from thermocline.tasks.cleanup import Cleaned, CleanupPlan, apply_cleanup, plan_cleanup
from thermocline.tasks.delete import Deletion, delete
from thermocline.tasks.ingest import IngestReport, ingest
from thermocline.tasks.load import Loaded, load, rehydrate
from thermocline.tasks.query import Explanation, explain, query
from thermocline.tasks.rotate import Rotated, Rotation, plan_rotation
from thermocline.tasks.sql import sql
from thermocline.tasks.status import SeriesStatus, status
from thermocline.tasks.undo import Undone, undo
from thermocline.tasks.vacuum import VacuumReport, vacuum
from thermocline.tasks.verify import VerifyReport, verify

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Storage = Literal["hybrid", "parquet", "postgres"]

_TIERS: Mapping[str, tuple[Tier, ...]] = {
    "hybrid": (Tier.HOT, Tier.COLD),
    "parquet": (Tier.COLD,),
    "postgres": (Tier.HOT,),
}


def open(  # noqa: A001  # `thermocline.open()` reads as what it does
    *,
    home: Path | str | None = None,
    config: Path | str | None = None,
    storage: Storage = "hybrid",
    settings: Settings | None = None,
) -> "Thermocline":
    """Open Thermocline with the settings of a home; nothing connects before it is needed.

    Args:
        home: Where everything lives that is not set otherwise; `THERMOCLINE_HOME`, else `.thermocline`.
        config: A `thermocline.yaml`.
        storage: What `save`, `load`, `exists`, `delete` and `get_date_range` speak of: both tiers, or one alone.
        settings: Settings made elsewhere, instead of `home` and `config`.

    Raises:
        SettingsError: A setting is wrong.
    """
    from thermocline.stores.home import open_stores  # noqa: PLC0415  # a second of imports that `--help` need not pay

    if storage not in _TIERS:
        msg = f"storage is one of {', '.join(_TIERS)}, not {storage!r}"
        raise UsageError(msg)
    if settings is None:
        settings = load_settings(Path(home) if home else None, Path(config) if config else None)
    stores = open_stores(settings)
    return Thermocline(
        settings,
        hot=stores.hot,
        lake=stores.lake,
        spools=stores.spools,
        analytics=stores.analytics,
        storage=storage,
    )


class Thermocline:
    """Both tiers, and what moves rows between them. Use it as a context manager, or call `close`."""

    def __init__(
        self,
        settings: Settings,
        *,
        hot: Hot,
        lake: Lake,
        spools: SpoolFactory,
        analytics: Analytics,
        storage: Storage = "hybrid",
    ) -> None:
        """Put opened stores together; `thermocline.open` does it from settings."""
        self.settings = settings
        self.hot = hot
        self.lake = lake
        self._spools = spools
        self._analytics = analytics
        self._storage: Storage = storage
        self._tiers = _TIERS[storage]

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Give connections back. They are opened again when something is asked again."""
        self.lake.close()

    @property
    def today(self) -> date:
        """Today where the nightly schedule runs."""
        return datetime.now(ZoneInfo(self.settings.storage.lifecycle.auto_rotation.timezone)).date()

    # ------------------------------------------------------------------------------------------------- moving rows

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
        progress: Progress = SILENT,
        on_published: Callable[[Moved], None] = lambda _: None,
        run_id: str | None = None,
    ) -> Backfilled:
        """Bring rows of a source into the lake; days that say nothing new are not written again.

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
            repair: Re-read days that say nothing new, and write those anew whose object is missing or damaged.
            progress: Told how far it is.
            on_published: Called for each partition once it is committed.
            run_id: Named in receipts and the audit log; made up when None.
        """
        request = FetchRequest(
            dataset_named(dataset), as_days(start, end), frozenset(symbols), frozenset(map(parse_interval, intervals))
        )
        backfill = self._backfill(
            self._source(source, path, options),
            self.settings.lifecycle,
            as_of,
            repair=repair,
            progress=progress,
            on_published=on_published,
            run_id=run_id,
        )
        return backfill.run(request)

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
            as_datasets(datasets),
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
        chosen = as_rotated_datasets(datasets, full=full)
        return plan_rotation(self.hot, chosen, self._lifecycle(hot_days), as_of=self._as_of(as_of))

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
        return rotation.run(as_rotated_datasets(datasets, full=full), as_of=self._as_of(as_of))

    def undo(
        self,
        dataset: str,
        *,
        start: Day | None = None,
        end: Day | None = None,
        intervals: Collection[str] = (),
        run_id: str | None = None,
    ) -> Undone:
        """Bring rotated days back to hot as they were."""
        return undo(self.hot, dataset_named(dataset), as_days(start, end), intervals, run_id=run_id or new_run_id())

    def rehydrate(
        self,
        dataset: str,
        *,
        start: Day | None = None,
        end: Day | None = None,
        intervals: Collection[str] = (),
        progress: Progress = SILENT,
        run_id: str | None = None,
    ) -> Loaded:
        """Bring cold days back to hot, whatever their age, until the next rotation."""
        chosen, days = dataset_named(dataset), as_days(start, end)
        run_id = run_id or new_run_id()
        return rehydrate(self.hot, self.lake, chosen, days, intervals, run_id=run_id, progress=progress)

    def vacuum(
        self,
        datasets: Collection[str] = (),
        *,
        force: bool = False,
        progress: Progress = SILENT,
        run_id: str | None = None,
    ) -> VacuumReport:
        """VACUUM (ANALYZE) what stays hot, where it pays; everything with `force`."""
        run_id = run_id or new_run_id()
        return vacuum(self.hot, as_datasets(datasets), run_id=run_id, force=force, progress=progress)

    def migrate(self) -> list[str]:
        """Bring the tables of every dataset up to date with this release; return the datasets' names.

        Everything else does so too when it first needs them.
        """
        for dataset in DATASETS.values():
            self.hot.hot_days(dataset)
        return list(DATASETS)

    def plan_cleanup(
        self,
        dataset: str,
        *,
        hot_days: int | None = None,
        as_of: Day | None = None,
        columns: Mapping[str, str] | None = None,
        constants: Mapping[str, str] | None = None,
    ) -> CleanupPlan:
        """What lies in PostgreSQL by month and interval, and what `cleanup` would do with it; changes nothing.

        Args:
            dataset: The dataset, whose table may be plain and older than Thermocline.
            hot_days: The window, instead of the setting.
            as_of: Today.
            columns: For a plain table, from the dataset's column names to the table's, where they differ.
            constants: For a plain table, what to fill required columns with that it lacks.
        """
        mapped = Mapped(columns or {}, constants or {})
        lifecycle = self._lifecycle(hot_days)
        return plan_cleanup(self.hot, dataset_named(dataset), lifecycle, mapped, as_of=self._as_of(as_of))

    def cleanup(
        self,
        plan: CleanupPlan,
        *,
        columns: Mapping[str, str] | None = None,
        constants: Mapping[str, str] | None = None,
        progress: Progress = SILENT,
        run_id: str | None = None,
    ) -> Cleaned:
        """Do exactly what a plan of `plan_cleanup` says.

        Raises:
            PlanDriftError: The state changed since; nothing was done.
        """
        lifecycle = plan.lifecycle
        run_id = run_id or new_run_id()
        archived = replace(lifecycle, archive_on_backfill=True)
        return apply_cleanup(
            plan,
            self.hot,
            self.lake,
            Mapped(columns or {}, constants or {}),
            run_id=run_id,
            progress=progress,
            archive=lambda source, request: self._backfill(
                source, archived, plan.as_of, progress=progress, run_id=run_id
            ).run(request),
            rotate=lambda dataset: Rotation(self.hot, self.lake, self._spools, lifecycle, run_id, progress).run(
                [dataset], as_of=plan.as_of
            ),
        )

    def ingest(
        self,
        dataset: str,
        rows: "pa.Table | pd.DataFrame | Path | str",
        *,
        source: str = "ingest",
        as_of: Day | None = None,
        run_id: str | None = None,
    ) -> IngestReport:
        """Accept rows at once: an Arrow table, a DataFrame, or a file that the source `files` can read.

        They are durable and visible to every query on return, whether their days are hot or cold.
        """
        chosen = dataset_named(dataset)
        if isinstance(rows, str | Path):
            from thermocline.sources.open import open_source  # noqa: PLC0415  # it brings vendors' SDKs

            reader = open_source("files", path=str(rows))
            fetched = reader.fetch(FetchRequest(chosen, ALL_DAYS))
        else:
            fetched = iter([Fetched(as_table(rows), source)])
        return self._ingest(chosen, list(fetched), source, as_of, run_id=run_id)

    # ------------------------------------------------------------------------------------------------- asking for rows

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
    ) -> Answer:
        """Rows wherever they live, each exactly once, ordered by interval, time and key."""
        asked = as_query(
            dataset,
            symbols=symbols,
            interval=interval,
            intervals=intervals,
            start=start,
            end=end,
            columns=columns,
            limit=limit,
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
    ) -> Explanation:
        """How `query` would answer: which tier, which objects, how many bytes."""
        return explain(
            self.hot, as_query(dataset, symbols=symbols, interval=interval, intervals=intervals, start=start, end=end)
        )

    def sql(self, statement: str) -> Answer:
        """The answer to one read-only SELECT in DuckDB's SQL; every dataset is a table over both tiers.

        Raises:
            UsageError: The statement is wrong or would do more than read.
        """
        return Answer(lambda: sql(self.hot, self.lake, self._analytics, statement, DATASETS.values()))

    def status(self, datasets: Collection[str] = (), *, as_of: Day | None = None) -> list[SeriesStatus]:
        """What is where and what is due, a line a dataset and interval."""
        return status(self.hot, as_datasets(datasets), self.settings.lifecycle, as_of=self._as_of(as_of))

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

    # ---------------------------------------------------------------------------- one layer for programs, any storage

    def save(
        self, dataset: str, rows: "pa.Table | pd.DataFrame", *, source: str = "save", as_of: Day | None = None
    ) -> int:
        """Keep rows; on a key that is there, these win. Returns how many were taken in.

        `parquet` and `hybrid` publish them in the lake (and in the days that are hot), `postgres` takes them into hot.
        """
        chosen = dataset_named(dataset)
        table = as_table(rows)
        if self._storage == "postgres":
            report = self._ingest(chosen, [Fetched(table, source)], source, as_of, always_hot=True)
            return report.hot_rows + report.late_rows
        lifecycle = self.settings.lifecycle
        if self._storage == "parquet":
            lifecycle = replace(lifecycle, archive_on_backfill=True)
        rows_source = _TableSource(table, source)
        backfill = self._backfill(rows_source, lifecycle, as_of)
        return backfill.run(FetchRequest(chosen, ALL_DAYS)).rows

    def load(
        self,
        dataset: str,
        *,
        symbols: Collection[str] = (),
        interval: str | None = None,
        start: Instant | None = None,
        end: Instant | None = None,
        columns: Sequence[str] = (),
    ) -> Answer:
        """The rows that this storage has."""
        asked = as_query(dataset, symbols=symbols, interval=interval, start=start, end=end, columns=columns)
        return Answer(lambda: query(self.hot, self.lake, asked, self._tiers))

    def exists(
        self,
        dataset: str,
        *,
        symbols: Collection[str] = (),
        interval: str | None = None,
        start: Instant | None = None,
        end: Instant | None = None,
    ) -> bool:
        """Whether this storage has any such row."""
        asked = as_query(dataset, symbols=symbols, interval=interval, start=start, end=end, columns=["ts"], limit=1)
        with query(self.hot, self.lake, asked, self._tiers) as reader:
            return any(batch.num_rows for batch in reader)

    def delete(
        self,
        dataset: str,
        *,
        symbols: Collection[str] = (),
        interval: str | None = None,
        start: Day | None = None,
        end: Day | None = None,
    ) -> int:
        """Delete rows of whole days from this storage; return how many. Earlier vintages of cold days are kept."""
        chosen, days = dataset_named(dataset), as_days(start, end)
        intervals = [parse_interval(interval)] if interval else []
        asked = as_query(dataset, symbols=symbols, interval=interval, start=start, end=end, columns=["ts"])
        with query(self.hot, self.lake, asked, self._tiers) as reader:
            rows: int = sum(batch.num_rows for batch in reader)
        delete(
            self.hot,
            self.lake,
            Deletion(chosen, days, intervals, symbols),
            run_id=new_run_id(),
            cold=Tier.COLD in self._tiers,
            warm=Tier.HOT in self._tiers,
        )
        return rows

    def get_date_range(
        self, dataset: str, *, symbols: Collection[str] = (), interval: str | None = None
    ) -> tuple[datetime, datetime] | None:
        """The first and last `ts` that this storage has, or None when it has no such row."""
        asked = as_query(dataset, symbols=symbols, interval=interval, columns=["ts"])
        first = last = None
        with query(self.hot, self.lake, asked, self._tiers) as reader:
            for batch in reader:
                stamps = batch.column("ts").to_pylist()
                first = min(stamps if first is None else [first, *stamps])
                last = max(stamps if last is None else [last, *stamps])
        return None if first is None or last is None else (first, last)

    # ------------------------------------------------------------------------------------------------------ inside

    def _as_of(self, day: Day | None) -> date:
        return self.today if day is None else as_day(day)

    def _lifecycle(self, hot_days: int | None) -> Lifecycle:
        """The windows in force; `hot_days` replaces every one of them."""
        return self.settings.lifecycle.with_hot_days(hot_days)

    def _source(self, source: str | Source, path: str | None, options: Mapping[str, Any] | None) -> Source:
        if not isinstance(source, str):
            return source
        from thermocline.sources.open import open_source  # noqa: PLC0415  # it brings vendors' SDKs

        return open_source(source, path=path, options={**self.settings.sources.get(source, {}), **(options or {})})

    def _backfill(
        self,
        source: Source,
        lifecycle: Lifecycle,
        as_of: Day | None,
        *,
        repair: bool = False,
        progress: Progress = SILENT,
        on_published: Callable[[Moved], None] = lambda _: None,
        run_id: str | None = None,
    ) -> Backfill:
        return Backfill(
            source=source,
            hot=self.hot,
            lake=self.lake,
            spool=self._spools,
            lifecycle=lifecycle,
            as_of=self._as_of(as_of),
            now=datetime.now(UTC),
            run_id=run_id or new_run_id(),
            repair=repair,
            progress=progress,
            on_published=on_published,
        )

    def _ingest(
        self,
        dataset: Dataset,
        fetched: Sequence[Fetched],
        source: str,
        as_of: Day | None,
        *,
        run_id: str | None = None,
        always_hot: bool = False,
    ) -> IngestReport:
        return ingest(
            self.hot,
            dataset,
            fetched,
            self.settings.lifecycle,
            source=source,
            as_of=self._as_of(as_of),
            now=datetime.now(UTC),
            run_id=run_id or new_run_id(),
            always_hot=always_hot,
        )


class _TableSource:
    """Rows that are there already."""

    def __init__(self, table: "pa.Table", name: str) -> None:
        self._table = table
        self.name = name

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """All of them."""
        del request
        yield Fetched(self._table, self.name)


def new_run_id() -> str:
    """A name for one run: when it began, and a part that no other run has."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
