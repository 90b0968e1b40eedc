"""What the tests of contracts share."""

import pytest
from cache_acts import redis_cache
from conftest import STORES
from redis_server import redis_server

from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot

ODD_NAME = 'la k\'e %20 "ü" [x]*?'


@pytest.fixture(params=["memory", "embedded", "external"])
def hot(request):
    """A hot tier of each kind, empty."""
    if request.param == "memory":
        return MemoryHot()
    return PostgresHot(request.getfixturevalue("new_database")(request.param))


@pytest.fixture(params=STORES)
def odd_lake(request, tmp_path, new_lake_url):
    """An empty lake in each kind of store, with a name that has to be quoted wherever it stands."""
    url, catalog_url = new_lake_url(request.param, ODD_NAME), f"sqlite:///{tmp_path}/catalog.db"
    with open_lake(url, catalog_url=catalog_url, threads=2) as lake:
        yield lake


@pytest.fixture
def local(tmp_path):
    """An empty lake in a folder."""
    with open_lake(f"file://{tmp_path}/lake", catalog_url=f"sqlite:///{tmp_path}/catalog.db", threads=2) as lake:
        yield lake


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory):
    """A server for the tests of a worker."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(shared_redis):
    """An empty cache there."""
    with redis_cache(shared_redis) as cache:
        cache.clear()
        yield cache
