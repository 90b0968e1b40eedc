"""What the tests of contracts share."""

import pytest

from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.postgres import PostgresHot


@pytest.fixture(params=["memory", "embedded", "external"])
def hot(request):
    """A hot tier of each kind, empty."""
    if request.param == "memory":
        return MemoryHot()
    return PostgresHot(request.getfixturevalue("new_database")(request.param))
