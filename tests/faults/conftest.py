"""Deaths, hostile stores and wreckage. `make test-faults` runs them and lists the points at which processes died."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator

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


def pytest_collection_modifyitems(items) -> None:
    """Put what takes longest first."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


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
