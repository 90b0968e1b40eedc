"""The picture of coverage for a terminal: letters that differ, so that it reads without colours, too."""

import shutil

import click

from thermocline.model.coverage.heat_cells import Cell, picture
from thermocline.model.coverage.report import CoverageReport
from thermocline.model.coverage.states import State

_MARKS: dict[State | None, tuple[str, str | None]] = {
    State.COMPLETE: ("█", "green"),
    State.PARTIAL: ("▒", "yellow"),
    State.PENDING: ("·", None),
    State.VENDOR_MISSING: ("x", "red"),
    State.QUARANTINED: ("!", "magenta"),
    State.EMPTY: ("-", "cyan"),
    None: (" ", None),
}
_LONGEST_LABEL = 28


def drawn(report: CoverageReport, most_lines: int) -> tuple[str, ...]:
    """Lines of text: a heading, a line for each series, and what the marks mean."""
    room = shutil.get_terminal_size((100, 24)).columns
    label = min(max(len(each.series.symbol) for each in report.series) + 8, _LONGEST_LABEL)
    shown = picture(report, max(room - label - 2, 12), by_year=True)
    wide = min(max(len(line.label) for line in shown.lines), _LONGEST_LABEL)
    lines = ["", f"{shown.title}, a {shown.unit} a mark:"]
    for line in shown.lines[:most_lines]:
        marks = "".join(map(_mark, line.cells))
        lines.append(f"{line.label[:_LONGEST_LABEL]:<{wide}} {marks.rstrip()}")
    if len(shown.lines) > most_lines:
        lines.append(f"… and {len(shown.lines) - most_lines:,d} more; --output coverage.svg draws all")
    known = [state for state in _MARKS if state and any(c.state is state for line in shown.lines for c in line.cells)]
    lines.append("   ".join(f"{click.style(_MARKS[state][0], fg=_MARKS[state][1])} {state.value}" for state in known))
    return tuple(lines)


def _mark(cell: Cell) -> str:
    mark, colour = _MARKS[cell.state]
    return click.style(mark, fg=colour) if colour else mark
