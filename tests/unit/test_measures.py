"""What `make bench-quick` measures is told, and complete; how fast it is, no test says."""

import ast
from pathlib import Path

from measures import MEASURES

ROOT = Path(__file__).parents[2]


def test_every_measure_has_a_name_of_its_own_and_says_what_it_is():
    assert len({measure.name for measure in MEASURES}) == len(MEASURES)
    assert all(measure.says and measure.limit > 0 for measure in MEASURES)


def test_a_figure_is_held_against_the_right_side_of_its_limit():
    for measure in MEASURES:
        assert measure.is_reached(measure.limit)
        assert measure.is_reached(measure.limit / 2) is measure.is_most
        assert measure.is_reached(measure.limit * 2) is not measure.is_most


def test_every_measure_is_measured_by_one_of_the_topics():
    tree = ast.parse((ROOT / "benchmarks/topics.py").read_text(encoding="utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert {measure.name for measure in MEASURES} <= texts
