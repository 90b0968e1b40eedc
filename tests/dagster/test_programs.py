"""Dagster's own programs on a real home: embedded PostgreSQL, a lake on disk, the sample's bars, Dagster's SQLite."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import thermocline

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent


@pytest.fixture
def program(home, tmp_path):
    """Runs a program of Dagster as in a checkout; gives its exit code and everything it printed."""
    dagster_home = tmp_path / "dagster"
    dagster_home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", dagster_home)
    environ = os.environ | {
        "DAGSTER_HOME": str(dagster_home),
        "DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "1",
        "DAGSTER_EVENT_BATCH_SIZE": "500",
        "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        "THERMOCLINE_HOME": str(home),
    }

    def run(*words, **variables):
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        done = subprocess.run(words, cwd=ROOT, env=environ | variables, text=True, check=False, **both)
        return done.returncode, done.stdout

    return run


@pytest.mark.timeout(240)
def test_a_night_from_the_shell(program, home):
    code, said = program("dg", "launch", "--job", "backfill", "--partition-range", "2012-01-03...2012-03-01")
    assert code == 0, said
    with thermocline.open(home=home) as tc:
        bars = tc.query("market_data")
        assert len(bars.to_arrow()) == 41 * 4
        tc.load_hot(as_of="2012-02-15")
        (line,) = tc.status(["market_data"], as_of="2012-03-20")
        assert line.due_partitions > 0

        night = ("dagster", "job", "execute", "-m", "pipelines.definitions", "-j", "nightly_rotation", "--tags")
        tags = json.dumps({"dagster/partition": "2012-03-20"})
        code, said = program(*night, tags, THERMOCLINE_LAKE_URL=str(home / "no" / "such.yaml" / "lake"))
        assert code == 1, said
        # Nothing moved, and what could not move is marked as long as it could not.
        assert tc.status(["market_data"], as_of="2012-03-20") == [replace(line, trouble_partitions=line.due_partitions)]

        code, said = program(*night, tags)
        assert code == 0, said
        (line,) = tc.status(["market_data"], as_of="2012-03-20")
        assert line.due_partitions == 0
        assert len(bars.to_arrow()) == 41 * 4
