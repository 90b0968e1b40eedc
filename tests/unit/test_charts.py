"""Plain pictures: readable as XML, one line or bar a name, with what it says."""

from datetime import date, timedelta
from xml.etree import ElementTree as ET

import pytest

from thermocline.errors import UsageError
from thermocline.model.charts import as_file, bars_svg, check_name, lines_svg

SVG = "{http://www.w3.org/2000/svg}"
DAYS = [date(2026, 1, 1) + timedelta(days=number) for number in range(1_000)]


def said(value: float) -> str:
    return f"${value:,.0f}"


def test_a_line_for_each_name_with_its_last_value_and_the_years_below():
    made = ET.fromstring(lines_svg("Costs <of all>", DAYS, {"a": range(1_000), "b": [1.0] * 1_000}, said))  # noqa: S314
    lines = [line.get("points").split() for line in made.iter(f"{SVG}polyline")]
    assert [points[-1].split(",")[0] for points in lines] == [lines[0][-1].split(",")[0]] * 2
    heights = [[float(point.split(",")[1]) for point in points] for points in lines]
    assert heights[0] == sorted(heights[0], reverse=True)
    assert len(set(heights[1])) == 1
    texts = [text.text for text in made.iter(f"{SVG}text")]
    assert {"Costs <of all>", "a: $999", "b: $1", "2027", "2028", "$1,000"} <= set(texts)


@pytest.mark.parametrize("top", [0.0, 0.0004, 0.2, 1.0, 9.9, 1_234.0])
def test_the_scale_ends_at_or_a_little_above_the_largest_value(top):
    made = ET.fromstring(lines_svg("x", DAYS[:2], {"a": [0.0, top]}, repr))  # noqa: S314
    scale = [float(t.text) for t in made.iter(f"{SVG}text") if t.get("text-anchor") == "end"]
    assert top <= max(scale) <= max(2.5 * top, 1.0)


def test_bars_are_as_long_as_their_values():
    made = ET.fromstring(bars_svg("x", [("a", 10, "ten"), ("b", 5, "five"), ("c", 0, "none")]))  # noqa: S314
    first, second, third = (float(bar.get("width")) for bar in list(made.iter(f"{SVG}rect"))[1:])
    assert first == pytest.approx(2 * second)
    assert third == 1
    assert {"ten", "five", "none"} <= {text.text for text in made.iter(f"{SVG}text")}


def test_nothing_to_draw_is_a_picture_too():
    ET.fromstring(lines_svg("x", [], {}, said))  # noqa: S314
    ET.fromstring(bars_svg("x", []))  # noqa: S314


def test_a_file_is_what_its_name_says():
    check_name("a.HTML")
    with pytest.raises(UsageError, match=r"\.svg or \.html"):
        check_name("a.png")
    assert as_file("<svg/>", "x", "a.svg") == "<svg/>"
    assert as_file("<svg/>", "a & b", "a.html").startswith("<!doctype html>")
