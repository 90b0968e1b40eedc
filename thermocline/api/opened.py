"""What the verbs share: the opened stores, today, and the parts of tasks that settings fill in."""

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from math import inf
from time import monotonic
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

from thermocline.arguments import (
    Day,
    as_datasets,
    as_day,
)
from thermocline.errors import UsageError
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import DATASETS, dataset_named
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ONE_DAY
from thermocline.model.query import Tier
from thermocline.model.report import Moved
from thermocline.model.rules import Rulebook, Strictness
from thermocline.ports import (
    SILENT,
    Analytics,
    Fetched,
    FetchRequest,
    Hot,
    Lake,
    Progress,
    Source,
    SpoolFactory,
)
from thermocline.settings import Settings
from thermocline.tasks.backfill import Backfill
from thermocline.tasks.ingest import IngestReport, ingest
from thermocline.tasks.schemas import applied

Storage = Literal["hybrid", "parquet", "postgres", "timescale"]

TIERS: Mapping[str, tuple[Tier, ...]] = {
    "hybrid": (Tier.HOT, Tier.COLD),
    "parquet": (Tier.COLD,),
    "postgres": (Tier.HOT,),
    "timescale": (Tier.HOT,),
}
"""What each storage speaks of. TimescaleDB is a PostgreSQL, and its rows lie in the same tables."""
IN_POSTGRES = frozenset({"postgres", "timescale"})
"""The storages that take rows into PostgreSQL alone."""


_ASK_AGAIN_SECONDS = 1.0


class Opened:
    """Both tiers, opened. Use it as a context manager, or call `close`."""

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
        self._asked_at = -inf
        self._tiers = TIERS[storage]

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Give connections back. They are opened again when something is asked again."""
        self.lake.close()
        self.hot.close()

    def _settle(self) -> None:
        """Have this process know the datasets as they are declared for, and applied in, this home.

        Another process may evolve one at any time. Asking costs a fifth of a small query, so it is not done for each.
        """
        DATASETS.declare(self.settings.declared)
        anew = monotonic() - self._asked_at > _ASK_AGAIN_SECONDS
        applied(self.hot, (), anew=anew)
        if anew:
            self._asked_at = monotonic()

    def _dataset(self, name: str) -> Dataset:
        """The dataset of that name, as the stores have it."""
        self._settle()
        return dataset_named(name)

    def _datasets(self, names: Collection[str] = ()) -> list[Dataset]:
        """The datasets of those names, as the stores have them; all of them when none is named."""
        self._settle()
        return as_datasets(names)

    @property
    def today(self) -> date:
        """Today where the nightly schedule runs."""
        return datetime.now(ZoneInfo(self.settings.storage.lifecycle.auto_rotation.timezone)).date()

    def _as_of(self, day: Day | None) -> date:
        return self.today if day is None else as_day(day)

    def _not_ahead(self, day: date) -> date:
        """A day that is no later than tomorrow, which it is somewhere.

        Raises:
            UsageError: It is, and what is to be done by it would delete days whose retention is not over.
        """
        if day > self.today + ONE_DAY:
            msg = f"{day} is in the future, and nothing is moved or deleted before its time; nothing was changed"
            raise UsageError(msg)
        return day

    def _lifecycle(self, hot_days: int | None) -> Lifecycle:
        """The windows in force; `hot_days` replaces every one of them."""
        return self.settings.lifecycle.with_hot_days(hot_days)

    def _rulebook(
        self, dataset: Dataset, strictness: str | None = None, max_bad_share: float | None = None
    ) -> Rulebook:
        """The dataset's rules as they are taken, with what was said for one run."""
        if max_bad_share is not None and not 0 <= max_bad_share <= 1:
            msg = f"max_bad_share is a share from 0 to 1, not {max_bad_share}"
            raise UsageError(msg)
        if strictness is not None and strictness not in list(Strictness):
            msg = f"strictness is one of {', '.join(Strictness)}, not {strictness!r}"
            raise UsageError(msg)
        return self.settings.validation_rules.for_run(strictness, max_bad_share).rulebook(dataset)

    def _source(self, source: str | Source, path: str | None, options: Mapping[str, Any] | None) -> Source:
        if not isinstance(source, str):
            return source
        from thermocline.sources.open import open_source  # noqa: PLC0415
        from thermocline.sources.transport.network import Network  # noqa: PLC0415  # it brings vendors' SDKs

        chosen = {**self.settings.sources.get(source, {}), **(options or {})}
        return open_source(source, path=path, options=chosen, network=Network.of(self.settings))

    def _backfill(
        self,
        source: Source,
        lifecycle: Lifecycle,
        as_of: Day | None,
        *,
        repair: bool = False,
        refetch: bool = False,
        accept_restatements: bool = False,
        rulebook: Rulebook,
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
            refetch=refetch,
            accept_restatements=accept_restatements,
            rulebook=rulebook,
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
        request: FetchRequest | None = None,
        always_hot: bool = False,
        accept_restatements: bool = False,
        strictness: str | None = None,
        max_bad_share: float | None = None,
    ) -> IngestReport:
        return ingest(
            self.hot,
            self.lake,
            dataset,
            fetched,
            self.settings.lifecycle,
            spool=self._spools,
            source=source,
            as_of=self._as_of(as_of),
            now=datetime.now(UTC),
            run_id=run_id or new_run_id(),
            request=request,
            always_hot=always_hot,
            accept_restatements=accept_restatements,
            rulebook=self._rulebook(dataset, strictness, max_bad_share),
        )


def new_run_id() -> str:
    """A name for one run: when it began, and a part that no other run has."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
