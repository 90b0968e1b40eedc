"""A folder without any settings, and files written there."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """No thermocline.yaml of the repository in sight."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path):
    """Write a thermocline.yaml into the current folder."""

    def write(text: str, name: str = "thermocline.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write
