"""From a URL to a store. Each store's SDK is imported when it is asked for."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from thermocline.errors import UsageError
from thermocline.model.prices import PriceBook
from thermocline.model.retention import RetentionPolicy
from thermocline.model.url import redacted
from thermocline.ports import Cache, Objects
from thermocline.stores.duckdb import Engine
from thermocline.stores.iceberg import IcebergCatalog
from thermocline.stores.lake import ParquetLake
from thermocline.stores.objects_local import LocalObjects
from thermocline.stores.results import MemoryCache, Results
from thermocline.stores.retrying import Patience, RetryingObjects

if TYPE_CHECKING:
    from thermocline.stores.gcs import GcsOptions
    from thermocline.stores.lake_publishing import ClosableCatalog
    from thermocline.stores.s3 import S3Options


def open_lake(
    lake_url: str,
    *,
    catalog_url: str | Callable[[], str],
    memory_limit_mib: int = 1024,
    threads: int | None = None,
    timeout_seconds: float | None = None,
    temp_dir: Path | None = None,
    patience: Patience | None = None,
    policy: RetentionPolicy | None = None,
    prices: Callable[[], PriceBook] | None = None,
    s3: "S3Options | None" = None,
    gcs: "GcsOptions | None" = None,
    results: Results | None = None,
) -> ParquetLake:
    """The lake at a URL: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `file:///FOLDER` or a plain path.

    `memory://` is one that is gone with the process.

    `catalog_url` is the SQLAlchemy URL of the database that keeps the Iceberg catalog, or what finds it on first use;
    `memory://` needs none. Nothing is opened or made before the lake is used. Requests that fail for a moment are made
    again with `patience`. Objects are written into the storage class that `policy` says; `prices` finds what
    restoring archived ones costs, `s3` and `gcs` say how a bucket is reached. `results` keeps answers.

    Raises:
        UsageError: No store serves such a URL.
    """
    engine = Engine(memory_limit_mib, threads, temp_dir, timeout_seconds=timeout_seconds)
    objects = RetryingObjects(open_objects(lake_url, s3=s3, gcs=gcs), patience)
    catalog: ClosableCatalog
    if urlsplit(lake_url).scheme == "memory":
        from thermocline.stores.memory import MemoryCatalog  # noqa: PLC0415  # spares fsspec

        catalog = MemoryCatalog()
    else:
        catalog = IcebergCatalog(catalog_url, objects)
    return ParquetLake(objects, catalog, engine, policy=policy, prices=prices, results=results)


def open_objects(lake_url: str, *, s3: "S3Options | None" = None, gcs: "GcsOptions | None" = None) -> Objects:
    """The store of objects at a lake's URL, whose requests are not made again where they fail.

    Raises:
        UsageError: No store serves such a URL, or what it needs is not installed.
    """
    parts = urlsplit(lake_url)
    if parts.scheme == "memory":
        from thermocline.stores.memory import MemoryObjects  # noqa: PLC0415

        return MemoryObjects()
    if parts.scheme not in {"s3", "gs"}:
        return LocalObjects(_folder(lake_url))
    if not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
        msg = f"{redacted(lake_url)} is not a lake's URL; write {parts.scheme}://BUCKET/PREFIX and nothing else"
        raise UsageError(msg)
    prefix = unquote(parts.path)
    if parts.scheme == "s3":
        _check_installed("s3", "boto3", "s3fs")
        from thermocline.stores.s3 import S3Objects  # noqa: PLC0415  # only where the lake is there

        return S3Objects(parts.netloc, prefix, s3)
    _check_installed("gcs", "google.cloud.storage", "gcsfs")
    from thermocline.stores.gcs import GcsObjects  # noqa: PLC0415

    return GcsObjects(parts.netloc, prefix, gcs)


def open_results(
    *, memory_mib: int, max_entry_mib: int, redis_url: str | None = None, redis_mib: int = 0, ttl_seconds: int = 1
) -> Results:
    """Where answers are kept: in memory, and behind it in the Redis at a URL, which is connected to when it is needed.

    Raises:
        UsageError: What Redis needs is not installed.
    """
    caches: list[Cache] = [MemoryCache(memory_mib << 20)] if memory_mib else []
    if redis_url and redis_mib:
        if not _is_there("redis"):
            msg = "storage.cache.redis_url needs redis; install it with `pip install 'thermocline[redis]'`"
            raise UsageError(msg)
        from thermocline.stores.redis import RedisCache  # noqa: PLC0415  # only where it is set

        caches.append(
            RedisCache(
                redis_url, limit_bytes=redis_mib << 20, max_entry_bytes=max_entry_mib << 20, ttl_seconds=ttl_seconds
            )
        )
    return Results(caches, max_entry_mib << 20)


def _check_installed(extra: str, *packages: str) -> None:
    if missing := [package for package in packages if not _is_there(package)]:
        msg = f"a lake there needs {' and '.join(missing)}; install them with `pip install 'thermocline[{extra}]'`"
        raise UsageError(msg)


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # not even the package that it is part of
        return False


def _folder(lake_url: str) -> Path:
    if "://" not in lake_url:
        return Path(lake_url).expanduser()
    parts = urlsplit(lake_url)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path:
        return Path(unquote(lake_url.split("://", 1)[1].removeprefix(parts.netloc)))
    msg = (
        f"a lake at {parts.scheme}:// is not served by any store; use s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, or a "
        "folder such as file:///srv/lake"
    )
    raise UsageError(msg)
