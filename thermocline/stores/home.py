"""Every store of a home, from its settings. Nothing connects and no server starts before a store is used."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from thermocline.model.dataset import Dataset
from thermocline.model.datasets import DATASETS
from thermocline.ports import Analytics, Hot, Lake, Spool, SpoolFactory
from thermocline.settings import Settings

_IN_USE = "in-use"


@dataclass(frozen=True)
class Stores:
    """The stores that settings name."""

    hot: Hot
    lake: Lake
    spools: SpoolFactory
    analytics: Analytics


def open_stores(settings: Settings, *, credentials: Any = None, cache: bool = True) -> Stores:
    """The hot tier, the lake, room for spools and the SQL engine; the datasets are known from then on.

    `credentials` ask a bucket instead of what its SDK finds: a `boto3.Session`, or a `google.cloud.storage.Client`.
    Without `cache` no answer is kept, whatever the settings say.
    """
    from thermocline.stores.analytics import DuckDBAnalytics  # noqa: PLC0415  # DuckDB, for those who ask for rows
    from thermocline.stores.gcs import GcsOptions  # noqa: PLC0415
    from thermocline.stores.open import open_lake, open_results  # noqa: PLC0415
    from thermocline.stores.postgres import PostgresHot  # noqa: PLC0415
    from thermocline.stores.retrying import Patience  # noqa: PLC0415
    from thermocline.stores.s3 import S3Options  # noqa: PLC0415

    DATASETS.declare(settings.declared)
    address = hot_address(settings)
    limits, patience, kept = settings.storage.duckdb, settings.storage.lake, settings.storage.cache
    temporary = settings.home / "tmp"
    lake = open_lake(
        settings.lake_url.reveal(),
        catalog_url=catalog_address(settings, address),
        memory_limit_mib=limits.memory_limit_mib,
        threads=limits.threads,
        timeout_seconds=limits.timeout_seconds,
        temp_dir=temporary,
        patience=Patience(patience.attempts, patience.max_retries_per_run, patience.max_requests_per_run),
        policy=settings.retention,
        prices=lambda: settings.prices,
        s3=S3Options(**settings.storage.s3.model_dump(), session=credentials),
        gcs=GcsOptions(**settings.storage.gcs.model_dump(), client=credentials),
        results=open_results(
            memory_mib=kept.memory_mib,
            max_entry_mib=kept.max_entry_mib,
            redis_url=kept.redis_url.reveal() if kept.redis_url else None,
            redis_mib=kept.redis_mib,
            ttl_seconds=kept.ttl_seconds,
        )
        if cache
        else None,
    )
    return Stores(
        hot=PostgresHot(address, schema=settings.storage.hot.schema_name),
        lake=lake,
        spools=_Spools(temporary, limits.memory_limit_mib),
        analytics=DuckDBAnalytics(lake.engine),
    )


def hot_address(settings: Settings) -> Callable[[], str]:
    """What finds the URL of PostgreSQL: the one that is set, else the embedded server's, which is started for it."""
    if settings.hot_url is not None:
        return settings.hot_url.reveal

    @cache
    def embedded() -> str:
        from thermocline.stores.embedded import start  # noqa: PLC0415  # only where PostgreSQL is ours

        return start(settings.home)

    return embedded


def catalog_address(settings: Settings, hot: Callable[[], str]) -> Callable[[], str]:
    """What finds the SQLAlchemy URL of the Iceberg catalog: the one that is set, else the hot database's own."""
    if settings.catalog_url is not None:
        return settings.catalog_url.reveal

    def in_hot_database() -> str:
        scheme, rest = hot().split("://", 1)
        parameter = f"options={quote('-csearch_path=thermocline')}"
        return f"{scheme.split('+')[0]}+psycopg://{rest}{'&' if '?' in rest else '?'}{parameter}"

    return in_hot_database


@dataclass(frozen=True)
class _Spools:
    """Opens spools in a folder of the home."""

    folder: Path
    memory_limit_mib: int

    def __call__(self, dataset: Dataset) -> AbstractContextManager[Spool]:
        return self._open(dataset)

    @contextmanager
    def _open(self, dataset: Dataset) -> Iterator[Spool]:
        from thermocline.stores.spool import DuckDBSpool  # noqa: PLC0415  # DuckDB, for those who move rows

        self.folder.mkdir(parents=True, exist_ok=True)
        self._clear_abandoned()
        with TemporaryDirectory(prefix="spool-", dir=self.folder) as name:
            folder = Path(name)
            with (folder / "not-yet").open("w") as in_use:
                fcntl.flock(in_use, fcntl.LOCK_EX)
                # Under this name only once it is locked, or it would look abandoned for a moment.
                (folder / "not-yet").rename(folder / _IN_USE)
                with DuckDBSpool(dataset, folder, memory_limit_mib=self.memory_limit_mib) as spool:
                    yield spool

    def _clear_abandoned(self) -> None:
        """Remove spools of processes that were killed: the lock on them went with the process."""
        for lock in self.folder.glob(f"spool-*/{_IN_USE}"):
            try:
                with lock.open("r") as abandoned:
                    fcntl.flock(abandoned, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # held, or removed by somebody else just now
                continue
            rmtree(lock.parent, ignore_errors=True)
