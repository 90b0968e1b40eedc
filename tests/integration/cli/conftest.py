"""A home that tests of the command ask, and leave as it is."""

import pytest
from cli_acts import END, SAMPLE, START, run
from quick_server import created_quickly, lead_to

from thermocline.stores import embedded


@pytest.fixture(scope="session")
def night_home(session_folder, stopped_cluster):
    """A home after one night: everything backfilled, the last days loaded, the oldest of those rotated."""
    home = session_folder / "night"
    with pytest.MonkeyPatch.context() as patch, created_quickly(stopped_cluster):
        lead_to(home, patch)
        run(*SAMPLE, "--start", START, "--end", END)
        run("load", "--as-of", "2013-02-15")
        run("rotate", "--as-of", "2013-02-25")
    yield home
    embedded.stop(home)


@pytest.fixture
def night(night_home, monkeypatch):
    """That home, to which every default leads."""
    lead_to(night_home, monkeypatch)
    return night_home
