"""Worlds to run jobs in."""

import dagster as dg
import pytest
from dagster_world import FIVE_DAYS_HOT, World

from thermocline.settings import load_settings
from thermocline.stores.spool import DuckDBSpool


@pytest.fixture
def settings(home):
    return load_settings(home, environ=FIVE_DAYS_HOT)


@pytest.fixture(scope="session")
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def make_world(settings, tmp_path, instance):
    """Makes a world; keyword arguments replace its parts."""
    parts = {
        "settings": settings,
        "spools": lambda dataset: DuckDBSpool(dataset, tmp_path / "spools", 256),
        "instance": instance,
    }
    return lambda **others: World(**parts | others)


@pytest.fixture
def world(make_world):
    return make_world()
