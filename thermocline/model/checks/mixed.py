"""Rows that are out of line with both of their neighbours."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from thermocline.model.checks.bars import Bars, Flags, Floats
from thermocline.model.checks.finding import Finding
from thermocline.model.checks.rules import MixedRule

MIXED = "mixed"

Edge = tuple[str, str, datetime]
"""The asset class, symbol and time of a row."""


def mixed(bars: Bars, rule: MixedRule) -> tuple[list[Finding], dict[Edge, datetime]]:
    """Rows whose close, high or low is far from those of the rows before and after, which agree with each other.

    Each row is judged once, when the one after it is fresh. Also returns, for those whose close is out of line, the
    time of the row after: both this row and that one are jumps by themselves.
    """
    if len(bars) < 3:  # noqa: PLR2004  # a row and its neighbours
        return [], {}
    middle = np.arange(1, len(bars) - 1)
    whole = bars.follows[middle] & bars.follows[middle + 1] & bars.fresh[middle + 1]
    middle = middle[whole]
    before, after, factor = middle - 1, middle + 1, 1 + rule.threshold
    with np.errstate(divide="ignore", invalid="ignore"):
        agree = np.abs(bars.close[after] / bars.close[before] - 1) <= rule.agreement
        up, down = bars.close[middle] / bars.close[before], bars.close[middle] / bars.close[after]
        close = agree & (_far(up, factor) & _far(down, factor)) & ((up > 1) == (down > 1))
        near = agree & ~_far(up, factor) & ~_far(down, factor)
        high = near & (bars.high[middle] > factor * np.maximum(bars.high[before], bars.high[after]))
        low = near & (bars.low[middle] * factor < np.minimum(bars.low[before], bars.low[after]))
    found: list[Finding] = []
    following: dict[Edge, datetime] = {}
    for at in np.flatnonzero(close | high | low):
        row = int(middle[at])
        what = "close" if close[at] else " and ".join(n for n, flags in (("high", high), ("low", low)) if flags[at])
        found.append(_finding(bars, row, what, rule))
        if close[at]:
            following[*bars.name(row), bars.instant(row)] = bars.instant(row + 1)
    return found, following


def alternating(found: Iterable[Finding], following: Mapping[Edge, datetime]) -> list[Finding]:
    """The findings, with one in place of those of rows next to each other: a series that goes to and fro.

    A single row of another instrument has no neighbour that is out of line itself.
    """
    runs: list[list[Finding]] = []
    for finding in sorted(found, key=lambda each: (each.asset_class, each.symbol, each.ts)):
        before = runs[-1][-1] if runs else None
        same = before and (before.asset_class, before.symbol) == (finding.asset_class, finding.symbol)
        if before and same and following.get((before.asset_class, before.symbol, before.ts)) == finding.ts:
            runs[-1].append(finding)
        else:
            runs.append([finding])
    return [_as_one(run) if len(run) > 1 else run[0] for run in runs]


def _as_one(run: Sequence[Finding]) -> Finding:
    last = f"{run[-1].ts:%Y-%m-%d %H:%M}"
    return replace(
        run[0], detail=f"{len(run)} rows up to {last} go to and fro between two prices, the first: {run[0].detail}"
    )


def _far(ratio: Floats, factor: float) -> Flags:
    far: Flags = (ratio > factor) | (ratio < 1 / factor)
    return far


def _finding(bars: Bars, row: int, what: str, rule: MixedRule) -> Finding:
    column = {"close": bars.close, "low": bars.low}.get(what, bars.high)
    here, before, after = (float(column[each]) for each in (row, row - 1, row + 1))
    detail = f"{what} {here:g} between {before:g} and {after:g}"
    if what != "close":
        detail += f", while the close is {bars.close[row]:g}"
    value = here / before if before else None
    return Finding(MIXED, bars.instant(row), bars.interval, *bars.name(row), rule.severity, detail, value)
