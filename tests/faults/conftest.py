"""Deaths, hostile stores and wreckage. `make test-faults` runs them and lists the points at which processes died."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from hashlib import sha256

import pytest
from killing.world import World, world

from thermocline.faults import POINTS


@pytest.fixture(scope="session")
def killing_world(embedded_url) -> Iterator[World]:
    """A world of this worker's own; whoever uses it begins with `begin`."""
    with world(embedded_url) as made:
        yield made


LONGEST = ("test_readers.py", "test_model.py", "test_nights.py", "test_two_rotations.py", "test_postgres_dies.py")
"""Begun first, or one worker would end with them while the others have nothing left to do."""


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: these tests wait for servers, locks and timers for much of their time."""
    return min(os.cpu_count() or 1, 8) + 1


MANY = ("test_hostile_lake.py", "test_hostile_wire.py", "test_corruption.py")
"""What has so many cases that a run may do with a share of them, by its seed; in buckets with a fifth of it."""

SHARE = float(os.environ.get("CASES_SHARE", "1"))


def pytest_collection_modifyitems(items) -> None:
    """Put what takes longest first; of a share, leave the other cases out, but for the first of each test."""
    items.sort(key=lambda item: item.path.name not in LONGEST)
    seen = set()
    for item in list(items) if SHARE < 1 else ():
        test = item.nodeid.partition("[")[0]
        number = sha256(f"{os.environ.get('KILLS_SEED', '')} {item.nodeid}".encode()).digest()[0]
        share = SHARE / 5 if {"s3", "gcs"} & set(item.nodeid.partition("[")[2].strip("]").split("-")) else SHARE
        if item.path.name in MANY and test in seen and number >= share * 256:
            items.remove(item)
        seen.add(test)


def pytest_terminal_summary(terminalreporter) -> None:
    """List the points that were reached, and how often a process was killed at each of them."""
    kills: dict[str, Counter[str]] = defaultdict(Counter)
    lines = []
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "kill":
                task, point = value
                kills[task][point] += 1
            elif name == "counted":
                lines.append(value)
    if kills:
        terminalreporter.section("points reached, with a process killed by SIGKILL at each")
        for task in sorted(kills):
            told = ", ".join(f"{point} {kills[task][point]}" for point in POINTS if kills[task][point])
            terminalreporter.write_line(f"{task} ({kills[task].total()}): {told}")
        total = sum(points.total() for points in kills.values())
        different = len({point for points in kills.values() for point in points})
        terminalreporter.write_line(
            f"{total} kills at {different} points of {len(POINTS)} in {len(kills)} tasks; after each, every row was "
            "there exactly once, and so it was when the task was run again"
        )
    for line in lines:
        terminalreporter.write_line(line)
