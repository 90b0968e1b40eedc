"""What a topic of `make bench` finds: tables of figures, and ways that are timed in turns and checked."""

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from measuring import median, say, seconds

Cell = str | int | float | None
Nothing = Callable[[], Any]


@dataclass(frozen=True)
class Asked:
    """How much is measured."""

    rows: Sequence[int] = (1_000_000, 5_000_000)
    share: float = 1.0
    rounds: int = 3

    def scaled(self, count: int) -> int:
        """So many, or the share of them."""
        return max(round(count * self.share), 2)


@dataclass(frozen=True)
class Table:
    """Figures side by side; `chart` names the column that is drawn, in which a line without a figure is left out."""

    name: str
    title: str
    columns: Sequence[str]
    lines: Sequence[Sequence[Cell]]
    chart: str = ""
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self)


@dataclass(frozen=True)
class Way:
    """One way to do something.

    `prepare` is done before each time and `check` after the first one; neither is timed. `rows` is how many rows it
    moves, where it is so slow that it gets a part.
    """

    act: Nothing
    rows: int = 0
    prepare: Nothing = lambda: None
    check: Nothing = lambda: None
    rounds: int = 0
    note: str = ""


@dataclass
class Findings:
    """Seconds by way, and which ways there were none of."""

    taken: dict[str, list[float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def seconds(self, name: str) -> float | None:
        """The median, or nothing."""
        return median(self.taken[name]) if name in self.taken else None


FAILURES: list[str] = []
"""What went wrong in this process, but did not keep the rest from being measured."""


def in_turns(ways: Mapping[str, Way], rounds: int, *, warm: int = 0) -> Findings:
    """Time each way, all in turns, so that what else the machine does hits all alike; nobody always comes first.

    A way that needs what is not installed is left out, and so is one that fails, which is a failure of the whole.
    """
    found = Findings()
    names = list(ways)
    for number in range(rounds + warm):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            way = ways[name]
            if name in found.missing or (way.rounds and number >= way.rounds + warm):
                continue
            try:
                way.prepare()
                taken = seconds(way.act)
                if not number:
                    way.check()
            except ImportError as error:
                found.missing[name] = "not installed"
                say(f"{name} is left out: {error}")
                continue
            except Exception as error:  # noqa: BLE001  # one peer's trouble is told, and the others are measured
                found.missing[name] = f"failed: {type(error).__name__}"
                found.taken.pop(name, None)
                FAILURES.append(f"{name}: {traceback.format_exc()}")
                say(f"{name} failed: {error}")
                continue
            if number >= warm:
                found.taken.setdefault(name, []).append(taken)
    return found


def compared(
    ways: Mapping[str, Way], found: Findings, baseline: str, rows: int, *, ours: Sequence[str] = ()
) -> list[list[Cell]]:
    """Lines of a table: the way, rows, seconds for a million rows, times the speed of the baseline, and a word."""
    base = found.seconds(baseline)
    lines: list[list[Cell]] = []
    for name, way in ways.items():
        of = way.rows or rows
        taken = found.seconds(name)
        label = f"**{name}**" if name in ours else name
        if taken is None or base is None:
            lines.append([label, None, None, None, found.missing.get(name, way.note)])
        else:
            per_row = taken / of
            lines.append([label, of, per_row * 1e6, (base / rows) / per_row, way.note])
    return lines


COMPARED = ("way", "rows", "seconds for 1 M rows", "× the speed of the first", "")
"""The columns of `compared`."""


def check(found: Sequence[Any], expected: Sequence[Any], what: str) -> None:
    """Refuse a result that does not hold the same rows."""
    if [float(each or 0) for each in found] != [float(each or 0) for each in expected]:
        msg = f"{what}: {list(found)}, not {list(expected)}"
        raise AssertionError(msg)


def short(rows: int) -> str:
    """A count of rows, in words for names."""
    million = 1_000_000
    return f"{rows / million:g}m" if rows >= million / 10 else f"{rows // 1000}k"
