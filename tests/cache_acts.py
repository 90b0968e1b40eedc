"""Caches of answers, as tests of them and of the lake tell of them."""

from contextlib import contextmanager

import pyarrow as pa

from thermocline.stores.redis import RedisCache

MIB = 1 << 20


@contextmanager
def redis_cache(server, **said):
    cache = RedisCache(server.url, **{"limit_bytes": 4 * MIB, "max_entry_bytes": MIB, "ttl_seconds": 60, **said})
    try:
        yield cache
    finally:
        cache.close()


def noise(size_bytes, seed=0):
    """An answer that no compression makes smaller."""
    import random  # noqa: PLC0415

    return pa.table({"noise": [random.Random(seed).randbytes(size_bytes)]})  # noqa: S311
