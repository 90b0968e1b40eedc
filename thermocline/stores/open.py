"""From a URL to a store. Each store's SDK is imported when it is asked for."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from thermocline.errors import UsageError
from thermocline.stores.duckdb import Engine
from thermocline.stores.iceberg import IcebergCatalog
from thermocline.stores.lake import ClosableCatalog, ParquetLake
from thermocline.stores.objects_local import LocalObjects
from thermocline.stores.retrying import Patience, RetryingObjects

_LATER = {"s3", "gs"}


def open_lake(
    lake_url: str,
    *,
    catalog_url: str | Callable[[], str],
    memory_limit_mib: int = 1024,
    threads: int | None = None,
    temp_dir: Path | None = None,
    patience: Patience | None = None,
) -> ParquetLake:
    """The lake at a URL: `file:///folder` or a plain path, or `memory://` for one that is gone with the process.

    `catalog_url` is the SQLAlchemy URL of the database that keeps the Iceberg catalog, or what finds it on first use;
    `memory://` needs none. Nothing is opened or made before the lake is used. Requests that fail for a moment are made
    again with `patience`.

    Raises:
        UsageError: No store serves such a URL.
    """
    engine = Engine(memory_limit_mib=memory_limit_mib, threads=threads, temp_dir=temp_dir)
    parts = urlsplit(lake_url)
    if parts.scheme == "memory":
        from thermocline.stores.memory import MemoryCatalog, MemoryObjects  # noqa: PLC0415  # spares fsspec

        return ParquetLake(RetryingObjects(MemoryObjects(), patience), MemoryCatalog(), engine)
    objects = RetryingObjects(LocalObjects(_folder(lake_url)), patience)
    catalog: ClosableCatalog = IcebergCatalog(catalog_url, objects)
    return ParquetLake(objects, catalog, engine)


def _folder(lake_url: str) -> Path:
    if "://" not in lake_url:
        return Path(lake_url).expanduser()
    parts = urlsplit(lake_url)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path:
        return Path(unquote(lake_url.split("://", 1)[1].removeprefix(parts.netloc)))
    what = "comes with a later release" if parts.scheme in _LATER else "is not served by any store"
    msg = f"a lake at {parts.scheme}:// {what}; use a folder, such as file:///srv/lake"
    raise UsageError(msg)
