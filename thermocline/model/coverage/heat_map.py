"""A picture of coverage, as SVG or HTML, for files, notebooks and Dagster."""

from collections.abc import Iterator
from datetime import date  # noqa: TC003  # beside the others
from html import escape
from itertools import groupby

from thermocline.errors import UsageError
from thermocline.model.coverage.heat_cells import Cell, Line, Picture, percent, picture
from thermocline.model.coverage.report import CoverageReport
from thermocline.model.coverage.states import State

_COLOURS = {
    State.COMPLETE: "#1f8a70",
    State.PARTIAL: "#e9c46a",
    State.EMPTY: "#dfe6ee",
    State.VENDOR_MISSING: "#c8453b",
    State.PENDING: "#9aa5b1",
    State.QUARANTINED: "#7b4fa3",
    None: "#f5f7f9",
}
_FEW, _MOST = (0xF4, 0xD8, 0x7A), (0x7F, 0xC2, 0x8A)
"""The colours of a day that has almost nothing, and of one that lacks almost nothing."""
_WORDS = {
    State.COMPLETE: "complete",
    State.PARTIAL: "partial",
    State.PENDING: "pending: not asked for, or not answered",
    State.VENDOR_MISSING: "vendor-missing: the source has none",
    State.QUARANTINED: "quarantined",
    State.EMPTY: "empty-confirmed: nothing to expect",
}
_INK, _FAINT = "#24303c", "#6b7885"
_MOST_COLUMNS = 400
_MOST_CELLS = 30_000
"""More would make a file that a browser is slow to show."""
_MOST_LINES = 1000
_PLOT_WIDTH = 960
_LETTER = 6.6
_TOP, _BOTTOM = 82, 14
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SUFFIXES = (".svg", ".html")


def check_name(name: str) -> None:
    """Refuse a file that no picture can be written to.

    Raises:
        UsageError: Its name ends neither in .svg nor in .html.
    """
    if not name.lower().endswith(_SUFFIXES):
        msg = f"{name!r} is no name for a picture; let it end in .svg or .html"
        raise UsageError(msg)


def written(report: CoverageReport, name: str) -> str:
    """The picture as the file of that name holds it."""
    drawn = svg(report)
    if name.lower().endswith(".svg"):
        return drawn
    head = f'<meta charset="utf-8"><title>{escape(f"Coverage of {report.dataset}")}</title>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{drawn}</body></html>\n'


def svg(report: CoverageReport) -> str:
    """Days against series as an SVG: a cell's colour is its state, a partial one's how much of it is there.

    Hovering over a cell says its days, its state and its bars. One series of several years has a line for each year.
    """
    shown = picture(report, min(_MOST_COLUMNS, max(_MOST_CELLS // max(len(report.series), 1), 60)), by_year=True)
    lines = shown.lines[:_MOST_LINES]
    height = 16 if len(lines) <= 60 else 9  # noqa: PLR2004  # lines that fit on a screen
    label = 20 + _LETTER * max([len(line.label) for line in lines], default=0)
    cell = min(_PLOT_WIDTH / max(len(shown.columns), 1), 18)
    plot = cell * len(shown.columns)
    counts = 16 + _LETTER * max([len(_count(line)) for line in lines], default=0)
    width, whole = max(label + plot + counts, 760), _TOP + height * len(lines) + _BOTTOM
    size = f'viewBox="0 0 {width:.0f} {whole:.0f}" width="{width:.0f}" height="{whole:.0f}"'
    style = f'role="img" font-family="system-ui, sans-serif" font-size="11" fill="{_INK}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        _text(12, 20, f"Coverage of {shown.title}", size=14, weight="600"),
        _text(12, 36, _subtitle(report, shown, len(lines)), fill=_FAINT),
        *_axis(shown, label, cell, height * len(lines)),
    ]
    for number, line in enumerate(lines):
        parts += _drawn_line(line, label, _TOP + number * height, cell, height, columns=len(shown.columns))
    parts += _legend(54)
    return "\n".join([*parts, "</svg>"])


def _subtitle(report: CoverageReport, shown: Picture, lines: int) -> str:
    expected = sum(each.bars_expected for each in report.series)
    missing = sum(each.bars_missing for each in report.series)
    parts = [f"a cell is a {shown.unit}"]
    if expected:
        parts.insert(0, f"{percent(missing, expected)} of {expected:,d} expected bars are there, {missing:,d} missing")
    if len(shown.lines) > lines:
        parts.append(f"{len(shown.lines) - lines:,d} further series are not shown")
    return "; ".join(parts)


def _axis(shown: Picture, left: float, cell: float, height: float) -> Iterator[str]:
    """Years, or months where there is room for their names."""
    ticks = list(_ticks(shown))
    room = 0.0
    for column, name in ticks:
        x = left + column * cell
        if x < room:
            continue
        room = x + _LETTER * (len(name) + 1)
        ends = f'x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 4}" y2="{_TOP + height:.0f}"'
        yield f'<line {ends} stroke="#c9d1d9" stroke-width=".6"/>'
        yield _text(x + 2, _TOP - 7, name, fill=_FAINT, size=10)


def _ticks(shown: Picture) -> Iterator[tuple[int, str]]:
    """The columns in which a month or a year begins, and its name; of many years only theirs."""
    few_years = shown.columns[-1].year - shown.columns[0].year <= 1
    before: date | None = None
    for column, day in enumerate(shown.columns):
        is_year = before is None or before.year != day.year
        if is_year and not shown.has_line_a_year:
            yield column, str(day.year)
        elif few_years and (before is None or before.month != day.month):
            yield column, _MONTHS[day.month - 1]
        before = day


def _drawn_line(line: Line, left: float, top: float, cell: float, height: int, *, columns: int) -> Iterator[str]:
    size = 11 if height > 10 else 8  # noqa: PLR2004  # pixels
    yield _text(left - 8, top + height * 0.72, line.label, size=size, anchor="end")
    at = 0
    for (colour, _), group in groupby(line.cells, key=lambda each: (_colour(each), each.state is None)):
        cells = list(group)
        x, wide = left + at * cell, len(cells) * cell
        at += len(cells)
        place = f'x="{x:.2f}" y="{top + 1:.1f}" width="{max(wide - 0.4, 0.6):.2f}" height="{height - 2}"'
        yield f'<rect {place} fill="{colour}"><title>{escape(_told(line.label, cells))}</title></rect>'
    right = left + columns * cell + 8
    if line.missing is not None:
        yield _text(right, top + height * 0.72, _count(line), size=size, fill=_INK if line.missing else _FAINT)


def _count(line: Line) -> str:
    """What stands to the right of a line: how much is there, and how many bars are missing."""
    if line.missing is None:
        return ""
    return percent(line.missing, line.expected) + (f", {line.missing:,d} missing" if line.missing else "")


def _told(label: str, cells: list[Cell]) -> str:
    first, last = cells[0].days.start, cells[-1].days.end
    there, expected = sum(each.there for each in cells), sum(each.expected for each in cells)
    state = cells[0].state.value if cells[0].state else "nothing expected"
    count = f"{there:,d} of {expected:,d} bars" if expected else f"{there:,d} rows"
    return f"{label}, {first} to before {last}: {state}, {count}"


def _colour(cell: Cell) -> str:
    if cell.state is not State.PARTIAL:
        return _COLOURS[cell.state]
    step = round(cell.share * 8) / 8  # few shades, so that neighbours are one
    mixed = (round(few + (most - few) * step) for few, most in zip(_FEW, _MOST, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _legend(y: float) -> Iterator[str]:
    x = 12.0
    for state, words in _WORDS.items():
        yield f'<rect x="{x:.0f}" y="{y - 9:.0f}" width="11" height="11" fill="{_COLOURS[state]}"/>'
        yield _text(x + 16, y, words, size=10, fill=_FAINT)
        x += 30 + 5.4 * len(words)


def _text(
    x: float, y: float, text: str, *, size: int = 11, fill: str = _INK, weight: str = "", anchor: str = ""
) -> str:
    more = (f' font-weight="{weight}"' if weight else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}"{more}>{escape(text)}</text>'
