"""Bars for a terminal."""

import shutil
from collections.abc import Sequence

import click

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LONGEST_LABEL = 40
_ROOM = 100


def bars(rows: Sequence[tuple[str, float, str]], *, colours: Sequence[str] = ("cyan",)) -> tuple[str, ...]:
    """A line for each name: a bar as long as its value is large, and what it says."""
    if not rows:
        return ()
    label = min(max(len(name) for name, _, _ in rows), _LONGEST_LABEL)
    says = max(len(text) for _, _, text in rows)
    room = max(min(shutil.get_terminal_size((_ROOM, 24)).columns, _ROOM) - label - says - 4, 10)
    top = max(value for _, value, _ in rows) or 1.0
    lines = []
    for number, (name, value, text) in enumerate(rows):
        drawn = _bar(room * value / top) if value else ""
        coloured = click.style(drawn, fg=colours[number % len(colours)])
        lines.append(f"{name[:_LONGEST_LABEL]:<{label}}  {coloured}{'' if not drawn else ' '}{text}".rstrip())
    return tuple(lines)


def _bar(length: float) -> str:
    """A bar of that many characters, to an eighth; never nothing."""
    whole, rest = divmod(max(round(length * 8), 1), 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")
