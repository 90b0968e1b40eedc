"""What the tests of contracts share."""

import pytest
from hot_acts import migrated

from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.postgres import PostgresHot


@pytest.fixture(scope="session")
def prepare_database():
    return migrated


@pytest.fixture(params=["memory", "embedded", "external"])
def hot(request):
    """A hot tier of each kind, empty."""
    if request.param == "memory":
        return MemoryHot()
    return PostgresHot(request.getfixturevalue("new_database")(request.param))
