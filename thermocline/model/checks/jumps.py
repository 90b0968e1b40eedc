"""Jumps: closes far from the last one, and whether a known split or dividend is the reason."""

import numpy as np

from thermocline.model.checks.actions import Actions, explain
from thermocline.model.checks.bars import Bars
from thermocline.model.checks.finding import Finding
from thermocline.model.checks.rules import JumpRule, Severity

JUMPS = "jumps"

_USUAL_ROWS = 20

_RATIOS = {
    f"{new}:{old}": old / new
    for new, old in [*((n, 1) for n in range(2, 21)), (25, 1), (30, 1), (50, 1), (100, 1), (3, 2), (4, 3), (5, 2)]
}
_SPLITS = _RATIOS | {":".join(reversed(told.split(":"))): 1 / factor for told, factor in _RATIOS.items()}
"""What a split of each usual ratio, forward or reverse, makes of a price."""

_NEAR = 0.04
"""How far the open may be from one of them to be called near it: a split is there at the open, the day moves after."""


def jumps(bars: Bars, rule: JumpRule, actions: Actions) -> list[Finding]:
    """Every jump among the fresh rows. Those with a known reason are findings of severity `info`.

    A split is told from news only by what is known of splits. Of other jumps the text says whether the open is near
    the ratio of one, and whether the turnover was as before, as after a split, or many times that. (Apple halved twice
    in 2000. At the split it opened at 0.500 with 1.6 times the usual turnover, at the warning of low profits at 0.526
    with 10.9 times.)
    """
    last = bars.before(bars.close)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = bars.close / last
    far = bars.follows & bars.fresh & (last > 0) & (np.abs(ratio - 1) > rule.threshold)
    return [_judged(bars, int(row), float(ratio[row]), rule, actions) for row in np.flatnonzero(far)]


def _judged(bars: Bars, row: int, ratio: float, rule: JumpRule, actions: Actions) -> Finding:
    name, at = bars.name(row), bars.instant(row)
    known = actions.between(name, bars.instant(row - 1), at, bars.interval)
    explained = explain(known, float(bars.close[row - 1]), float(bars.close[row]), rule.tolerance)
    told = " and ".join(action.told for action in known)
    moved = f"the close went from {bars.close[row - 1]:g} to {bars.close[row]:g}, {ratio:.4g} times"
    if explained:
        detail, severity = f"{moved}: {told}", Severity.INFO
    elif known:
        detail, severity = f"{moved}; a {told} is known, which does not make so much", rule.severity
    else:
        detail, severity = f"{moved}; {_unexplained(bars, row, rule)}", rule.severity
    return Finding(JUMPS, at, bars.interval, *name, severity, detail, ratio)


def _unexplained(bars: Bars, row: int, rule: JumpRule) -> str:
    """What speaks for a split that is not known, and what against it."""
    at_open = float(bars.open[row] / bars.close[row - 1])
    nearest = min(_SPLITS, key=lambda told: abs(at_open / _SPLITS[told] - 1))
    if not abs(at_open / _SPLITS[nearest] - 1) <= _NEAR:
        return "no known reason"
    first = max(row - _USUAL_ROWS, int(np.searchsorted(bars.series, bars.series[row])))
    turnover = bars.close[first : row + 1] * bars.volume[first : row + 1]
    usual = np.nanmedian(turnover[:-1]) if np.isfinite(turnover[:-1]).any() else np.nan
    times = turnover[-1] / usual if usual > 0 else np.nan
    near = f"near {nearest}, but no split is known"
    if not np.isfinite(times):
        return near
    if 1 / rule.turnover <= times <= rule.turnover:
        return f"{near}; the turnover was {times:.1f} times the usual, as after a split: is one missing?"
    return f"{near}; the turnover was {times:.1f} times the usual, as a split would not make it"
