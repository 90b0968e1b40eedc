"""Plots of what was measured: a bar for each way, as SVG whose letters are text."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from pages import image, number

OURS, OTHERS = "#0b6e8a", "#b9c3c9"
_SPREAD = 30
"""From how many times as large as the least the greatest figure is to be, for a logarithmic axis."""

# Text stays text, and the same figures give the same bytes.
mpl.rcParams.update(
    {"svg.fonttype": "none", "svg.hashsalt": "thermocline", "font.family": "sans-serif", "font.size": 9}
)


def draw_all(tables: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Draw every table that wants it, and delete plots of tables that are gone."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {image(table) for table in tables if table["chart"]}
    for path in folder.glob("bench_*.svg"):
        if path.name not in drawn:
            path.unlink()
    for table in tables:
        if table["chart"]:
            draw(table, folder / image(table))


def draw(table: Mapping[str, Any], path: Path) -> None:
    """Draw one."""
    column = table["columns"].index(table["chart"])
    found = [(line[0], line[column]) for line in table["lines"] if isinstance(line[column], int | float)]
    found.reverse()  # the first on top
    names = [re.sub(r"\*\*(.*)\*\*", r"\1", name) for name, _ in found]
    figures = [figure for _, figure in found]
    figure = Figure(figsize=(8, 0.8 + 0.3 * len(found)))
    axes = figure.add_subplot()
    colours = [OURS if name.startswith("**") else OTHERS for name, _ in found]
    bars = axes.barh(names, figures, color=colours, height=0.7)
    least, most = min((each for each in figures if each > 0), default=1), max(figures, default=1)
    if most > _SPREAD * least:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda figure, _: number(figure))
        axes.set_xlim(least / 2, most * 3)
    else:
        axes.set_xlim(0, most * 1.15)
    axes.bar_label(bars, labels=[number(each) for each in figures], padding=3)
    axes.set_xlabel(table["chart"] + (", logarithmic" if axes.get_xscale() == "log" else ""))
    axes.set_title(table["title"], loc="left", fontsize=10)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(left=False)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None, "Creator": None})
