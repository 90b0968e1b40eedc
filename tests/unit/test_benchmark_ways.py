"""Ways of a benchmark take turns, are checked, and may be missing or fail without the others; nothing here is timed."""

import pytest
from peers import findings
from peers.findings import Way, check, compared, in_turns


@pytest.fixture(autouse=True)
def failures(monkeypatch):
    told = []
    monkeypatch.setattr(findings, "FAILURES", told)
    return told


def missing():
    raise ModuleNotFoundError


def test_ways_take_turns_and_nobody_always_comes_first():
    done = []
    in_turns({name: Way(lambda name=name: done.append(name)) for name in "abc"}, 3)
    assert "".join(done) == "abc" + "bca" + "cab"


def test_what_is_not_installed_is_left_out_with_a_word_and_is_no_failure(failures):
    ways = {"ours": Way(lambda: None), "theirs": Way(missing)}
    found = in_turns(ways, 2)
    assert len(found.taken["ours"]) == 2
    assert not failures
    assert compared(ways, found, "ours", 10, ours=["ours"])[1] == ["theirs", None, None, None, "not installed"]


def test_a_way_that_loses_a_row_has_no_figure_and_the_others_have(failures):
    ways = {
        "whole": Way(lambda: None, check=lambda: check((10, 5.0), (10, 5.0), "loaded")),
        "lossy": Way(lambda: None, check=lambda: check((9, 5.0), (10, 5.0), "loaded")),
    }
    found = in_turns(ways, 3)
    assert "lossy" not in found.taken
    assert len(found.taken["whole"]) == 3
    assert len(failures) == 1
    assert "not [10, 5.0]" in failures[0]


def test_a_slow_way_goes_less_often_and_warming_up_is_not_counted():
    found = in_turns({"slow": Way(lambda: None, rounds=1), "quick": Way(lambda: None)}, 3, warm=2)
    assert {name: len(each) for name, each in found.taken.items()} == {"slow": 1, "quick": 3}


def test_figures_are_for_each_row_where_a_way_gets_fewer():
    ways = {"all": Way(lambda: None), "part": Way(lambda: None, rows=10)}
    found = findings.Findings({"all": [2.0], "part": [1.0]})
    whole, part = compared(ways, found, "all", 100)
    assert whole[1:4] == [100, pytest.approx(20_000), pytest.approx(1)]
    assert part[1:4] == [10, pytest.approx(100_000), pytest.approx(0.2)]
