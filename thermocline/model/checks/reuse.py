"""Symbols that name another instrument from a day on."""

import numpy as np

from thermocline.model.checks.actions import Actions, explain
from thermocline.model.checks.bars import DAY, Bars, Flags, microseconds
from thermocline.model.checks.finding import Finding
from thermocline.model.checks.rules import ReusedSymbolRule

REUSED_SYMBOL = "reused_symbol"


def reused_symbols(bars: Bars, rule: ReusedSymbolRule, actions: Actions) -> list[Finding]:
    """The first rows of symbols that name something else since the row before."""
    last = bars.before(bars.close)
    gaps = np.zeros(len(bars), dtype=np.int64)
    gaps[1:] = np.diff(bars.ts)
    long = bars.follows & bars.fresh & (gaps >= rule.gap_days * DAY)
    with np.errstate(divide="ignore", invalid="ignore"):
        elsewhere = long & (np.abs(bars.close / last - 1) > rule.threshold)
    moved = [int(row) for row in np.flatnonzero(elsewhere) if not _is_explained(bars, int(row), rule, actions)]
    told = {row: _after_gap(bars, row, int(gaps[row])) for row in moved}
    told |= _by_instruments(bars, actions, long)
    return [
        Finding(
            REUSED_SYMBOL, bars.instant(row), bars.interval, *bars.name(row), rule.severity, detail,
            float(bars.close[row] / last[row]) if last[row] else None,
        )
        for row, detail in sorted(told.items())
    ]  # fmt: skip


def _is_explained(bars: Bars, row: int, rule: ReusedSymbolRule, actions: Actions) -> bool:
    """Whether a known split while there was no bar is why the price is elsewhere."""
    known = actions.between(bars.name(row), bars.instant(row - 1), bars.instant(row), bars.interval)
    return explain(known, float(bars.close[row - 1]), float(bars.close[row]), rule.threshold)


def _after_gap(bars: Bars, row: int, gap: int) -> str:
    return (
        f"no bar for {gap // DAY} days, then {bars.close[row]:g} after {bars.close[row - 1]:g}: "
        "another instrument under the same symbol?"
    )


def _by_instruments(bars: Bars, actions: Actions, long: Flags) -> dict[int, str]:
    """The first rows of instruments whose symbol another one had, or nobody known, before a long gap."""
    numbers = {name: number for number, name in enumerate(bars.names)}
    told = {}
    for name in actions.instruments.keys() & numbers.keys():
        named = actions.instruments[name]
        first, end = np.searchsorted(bars.series, [numbers[name], numbers[name] + 1])
        stamps = bars.ts[first:end]
        for earlier, later in zip([None, *named], named, strict=False):
            row = int(first) + int(np.searchsorted(stamps, microseconds(later.ts)))
            if row >= end or row == first or not bars.fresh[row]:
                continue
            if earlier is None and long[row]:
                told[row] = (
                    f"{later.instrument_id} has the symbol from here on; whose bars those before are is not known"
                )
            elif earlier is not None and earlier.instrument_id != later.instrument_id:
                told[row] = f"{later.instrument_id} has the symbol from here on, {earlier.instrument_id} had it before"
    return told
