"""docs/benchmarks.md and the README say what docs/benchmarks/results.json says; how fast anything is, no test says."""

import re
from pathlib import Path

import pages
import pytest
from measures import MEASURES

ROOT = Path(__file__).parents[2]
RESULTS = pages.read(pages.RESULTS)


@pytest.mark.parametrize("page", [pages.PAGE, pages.README], ids=lambda page: page.name)
def test_tables_say_what_was_measured(page):
    text = page.read_text(encoding="utf-8")
    assert pages.filled(text, RESULTS) == text, 'run: make bench ARGS="--render"'
    assert "<!-- measured: " in text


def test_every_topic_has_its_place_in_the_page_and_is_whole():
    places = set(re.findall(r"<!-- measured: (\w+) -->", pages.PAGE.read_text(encoding="utf-8")))
    assert set(RESULTS.get("topics", {})) <= places
    assert all(entry["share"] == 1.0 for entry in RESULTS.get("topics", {}).values())


def test_every_plot_is_there_and_no_other():
    wanted = {pages.image(table) for table in pages.tables(RESULTS) if table["chart"]}
    assert {path.name for path in pages.IMAGES.glob("bench_*.svg")} == wanted


def test_what_the_readme_says_in_short_is_measured():
    assert set(pages.IN_SHORT) <= {measure.name for measure in MEASURES}


def test_figures_have_three_digits_that_say_something():
    told = [pages.number(each) for each in (0, 1_234_567, 4_321.5, 12.345, 1.0, 0.0432, 0.00123)]
    assert told == ["0", "1,234,567", "4,322", "12.3", "1", "0.0432", "0.001"]


def test_a_table_shows_gaps_and_words():
    table = {
        "columns": ["way", "seconds", ""],
        "lines": [["**ours**", 1.5, ""], ["theirs", None, "failed"]],
        "note": "",
    }
    assert pages.table_text(table) == (
        "| way | seconds |  |\n|---|---:|---|\n| **ours** | 1.5 |  |\n| theirs | – | failed |\n"  # noqa: RUF001
    )
