"""Plain pictures as SVG or HTML: lines over days, and bars. For files, notebooks and Dagster."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from html import escape

from thermocline.errors import UsageError

_COLOURS = ("#1f6f8b", "#e07a3f", "#8a5fa8", "#6a994e", "#c8453b", "#9aa5b1")
_INK, _FAINT, _GRID = "#24303c", "#6b7885", "#e3e8ed"
_WIDTH, _HEIGHT = 860, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 24, 74, 40
_TICKS = 5
_MOST_POINTS = 400
_BAR, _GAP = 18, 8
_SUFFIXES = (".svg", ".html")


def check_name(name: str) -> None:
    """Refuse a file that no picture can be written to.

    Raises:
        UsageError: Its name ends neither in .svg nor in .html.
    """
    if not name.lower().endswith(_SUFFIXES):
        msg = f"{name!r} is no name for a picture; let it end in .svg or .html"
        raise UsageError(msg)


def as_file(drawn: str, title: str, name: str) -> str:
    """An SVG as the file of that name holds it."""
    if name.lower().endswith(".svg"):
        return drawn
    head = f'<meta charset="utf-8"><title>{escape(title)}</title>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{drawn}</body></html>\n'


def lines_svg(
    title: str, days: Sequence[date], lines: Mapping[str, Sequence[float]], said: Callable[[float], str]
) -> str:
    """A line for each name, a value for each day; `said` writes a value. The last value stands in the legend."""
    step = -(-len(days) // _MOST_POINTS) or 1
    chosen = [*range(0, len(days), step)]
    if chosen and chosen[-1] != len(days) - 1:
        chosen.append(len(days) - 1)
    top = _round_up(max((max(values, default=0.0) for values in lines.values()), default=0.0))
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(at: int) -> float:
        return _LEFT + wide * at / max(len(days) - 1, 1)

    def y(value: float) -> float:
        return _TOP + high * (1 - value / top)

    parts = [*_opened(title, _WIDTH, _HEIGHT)]
    for tick in range(_TICKS + 1):
        value = top * tick / _TICKS
        parts.append(f'<path d="M{_LEFT} {y(value):.1f}H{_WIDTH - _RIGHT}" stroke="{_GRID}"/>')
        parts.append(_text(_LEFT - 8, y(value) + 4, said(value), fill=_FAINT, anchor="end"))
    for at, year in _years(days, wide):
        parts.append(_text(x(at), _HEIGHT - _BOTTOM + 18, year, fill=_FAINT, anchor="middle"))
    legend = float(_LEFT)
    for number, (name, values) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        drawn = " ".join(f"{x(at):.1f},{y(values[at]):.1f}" for at in chosen)
        label = f"{name}: {said(values[-1])}" if values else name
        hint = f"<title>{escape(label)}</title>"
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2">{hint}</polyline>')
        parts.append(f'<rect x="{legend:.0f}" y="40" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(legend + 18, 50, label))
        legend += 40 + 6.4 * len(label)
    return "\n".join([*parts, "</svg>"])


def bars_svg(title: str, bars: Sequence[tuple[str, float, str]]) -> str:
    """A bar for each name, as long as its value is large; beside it what it says."""
    label = 20 + 6.6 * max((len(name) for name, _, _ in bars), default=0)
    room = max(_WIDTH - label - 200, 200)
    top = max((value for _, value, _ in bars), default=0.0) or 1.0
    height = 48 + (_BAR + _GAP) * len(bars)
    parts = [*_opened(title, _WIDTH, height)]
    for number, (name, value, says) in enumerate(bars):
        at, long = 40 + (_BAR + _GAP) * number, room * value / top
        parts.append(_text(label - 8, at + 13, name, anchor="end"))
        parts.append(
            f'<rect x="{label:.0f}" y="{at}" width="{max(long, 1):.1f}" height="{_BAR}" fill="{_COLOURS[0]}"/>'
        )
        parts.append(_text(label + long + 8, at + 13, says, fill=_FAINT))
    return "\n".join([*parts, "</svg>"])


def _opened(title: str, width: float, height: float) -> Iterator[str]:
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    style = f'role="img" font-family="system-ui, sans-serif" font-size="11" fill="{_INK}"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>'
    yield '<rect width="100%" height="100%" fill="#ffffff"/>'
    yield _text(12, 22, title, size=14)


def _years(days: Sequence[date], wide: float) -> Iterator[tuple[int, str]]:
    """Where years begin, and their names, as far as there is room for them."""
    begins = [at for at, day in enumerate(days) if at and day.year != days[at - 1].year]
    every = -(-len(begins) * 44 // int(wide)) or 1
    for at in begins[::every]:
        yield at, str(days[at].year)


def _round_up(value: float) -> float:
    """The next number with one or two digits that is easy to divide by five."""
    if value <= 0:
        return 1.0
    power = (
        10.0 ** (len(f"{value:.0f}") - 1)
        if value >= 1
        else 10.0 ** -next(n for n in range(1, 20) if value * 10**n >= 1)
    )
    return next(step * power for step in (1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10) if step * power >= value)


def _text(x: float, y: float, text: str, *, size: int = 11, fill: str = _INK, anchor: str = "") -> str:
    more = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}"{more}>{escape(text)}</text>'
