"""The points at which tests stop a process: declared, placed, and free where nobody listens."""

import re
import timeit
from pathlib import Path

import pytest

import thermocline
from thermocline.faults import POINTS, Step, listening, reached, step

_PLACED = re.compile(r"reached\(\s*\"([^\"]+)\"")


def test_a_step_tells_its_points_in_order_and_none_after_a_failure():
    told: list[str] = []
    with listening(told.append):
        with step(Step.PUBLISH):
            reached("publish:committing")
        with pytest.raises(ZeroDivisionError), step(Step.LOAD):
            _ = 1 / 0
    with step(Step.UNDO):
        pass
    assert told == ["publish:before", "publish:committing", "publish:after", "load:before"]


def test_a_step_decorates_an_act_that_is_done_twice():
    told: list[str] = []
    act = step(Step.UNDO)(lambda: told.append("done"))
    with listening(told.append):
        act()
        act()
    assert told == ["undo:before", "done", "undo:after"] * 2


def test_every_point_in_the_code_is_declared_and_every_declared_one_is_in_the_code():
    code = "".join(path.read_text() for path in Path(thermocline.__file__).parent.rglob("*.py"))
    edges = {f"{name}:{edge}" for name in Step for edge in ("before", "after")}
    assert set(_PLACED.findall(code)) == set(POINTS) - edges
    placed = set(re.findall(r"step\(Step\.([A-Z_]+)\)", code))
    assert placed >= {name.name for name in Step} - {"EXPIRE"}


def test_a_step_costs_less_than_a_microsecond_where_nobody_listens():
    def once() -> None:
        with step(Step.PUBLISH):
            pass

    assert min(timeit.repeat(once, number=1_000, repeat=20)) / 1_000 < 1e-6
