"""A world before anything is lost, and what readers get of it then."""

import pytest
from lost_world import World, agree, history, lived, rows_of


@pytest.fixture
def world(home, new_database):
    return World(home, new_database)


@pytest.fixture
def oracle(world):
    """What readers get, and what the ledger knows, before anything is lost."""
    with world.open() as tc:
        lived(tc)
        agree(tc)
        assert len(rows_of(tc)) == 8
        return rows_of(tc), history(tc)
