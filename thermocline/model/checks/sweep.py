"""All checks over bars that pass by in pieces, whatever their number."""

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

import numpy as np
import pyarrow as pa

from thermocline.model.checks.actions import Actions
from thermocline.model.checks.bars import Bars, microseconds, tail_of
from thermocline.model.checks.copies import (
    REPEATED_DAY,
    SAME_SERIES,
    Name,
    Shared,
    repeated_days,
    same_series,
    shared_rows,
)
from thermocline.model.checks.finding import Finding
from thermocline.model.checks.jumps import JUMPS, jumps
from thermocline.model.checks.mixed import MIXED, Edge, alternating, mixed
from thermocline.model.checks.reuse import REUSED_SYMBOL, reused_symbols
from thermocline.model.checks.rules import CheckRules, Severity

MOST_FINDINGS = 10_000
"""So many findings of one rule are kept and the rest is counted: a wrong file could make millions."""


class Sweep:
    """Takes the bars of one interval in order of time, whole days at once, and keeps what the next piece needs.

    Findings of rows outside `[start, end)` are left out: those rows are neighbours of others. Memory holds one piece
    and a few rows of each series.
    """

    def __init__(
        self,
        rules: CheckRules,
        chosen: Collection[str],
        actions: Actions,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> None:
        """Begin with no bars."""
        self._rules, self._chosen, self._actions = rules, chosen, actions
        self._start, self._end = start, end
        self._tail: pa.Table | None = None
        self._appeared: list[pa.Table] = []
        self._interval = ""
        self._shared: dict[tuple[Name, Name], Shared] = {}
        self._edges: dict[Edge, str] = {}
        self._following: dict[Edge, datetime] = {}
        self._found: dict[str, list[Finding]] = {}
        self._left_out: Counter[str] = Counter()
        self.rows = 0
        self.counts: Counter[str] = Counter()

    def take(self, rows: pa.Table) -> None:
        """Check bars that come after all that were taken, against themselves and those."""
        before = rows.schema.empty_table() if self._tail is None else self._tail
        bars = Bars.of(before, rows)
        if not len(bars):
            return
        self.rows += len(rows)
        self._interval = bars.interval
        rules, chosen = self._rules, self._chosen
        if JUMPS in chosen:
            self._keep(jumps(bars, rules.jumps, self._actions))
        if MIXED in chosen:
            found, following = mixed(bars, rules.mixed)
            self._keep(found)
            self._following |= following
            for (asset_class, symbol, at), after in following.items():
                self._edges |= {(asset_class, symbol, each): MIXED for each in (at, after)}
        if REPEATED_DAY in chosen:
            self._keep(repeated_days(bars, rules.repeated_day))
        if SAME_SERIES in chosen:
            for pair, shared in shared_rows(bars).items():
                self._shared[pair] = self._shared[pair].with_more(shared) if pair in self._shared else shared
        both = pa.concat_tables([before, rows])
        if REUSED_SYMBOL in chosen:
            self._reused(bars)
            if self._start is not None:
                first = np.flatnonzero(bars.fresh & ~bars.follows & (bars.ts >= microseconds(self._start)))
                self._appeared.append(both.take(pa.array(bars.order[first])))
        self._tail = tail_of(bars, both)

    @property
    def appeared(self) -> pa.Table | None:
        """The first bars of series that had none among the neighbours: a symbol may have been another's long before."""
        appeared = [table for table in self._appeared if len(table)]
        return pa.concat_tables(appeared) if appeared else None

    def remember(self, earlier: pa.Table) -> None:
        """Compare those first bars with the last ones of the same symbols long before."""
        if self.appeared is not None:
            self._reused(Bars.of(earlier, self.appeared))

    def _reused(self, bars: Bars) -> None:
        found = reused_symbols(bars, self._rules.reused_symbol, self._actions)
        self._keep(found)
        self._edges.update({(each.asset_class, each.symbol, each.ts): REUSED_SYMBOL for each in found})

    def findings(self) -> list[Finding]:
        """What was found, in order. A jump that is the edge of a row out of line, or of a reused symbol, is that."""
        since = 0 if self._start is None else microseconds(self._start)
        if SAME_SERIES in self._chosen:
            self._keep(same_series(self._shared, self._interval, self._rules.same_series, since))
            self._shared = {}
        found = [self._as_edge(finding) for finding in self._found.get(JUMPS, [])]
        found += alternating(self._found.get(MIXED, []), self._following)
        found += [each for rule, kept in self._found.items() if rule not in {JUMPS, MIXED} for each in kept]
        self.counts = Counter()
        for finding in found:
            self.counts[finding.rule] += finding.severity is not Severity.INFO
        self.counts.update(self._left_out)
        return sorted(found)

    def _as_edge(self, jump: Finding) -> Finding:
        """The jump, for information only where another finding says more of the same row."""
        what = self._edges.get((jump.asset_class, jump.symbol, jump.ts))
        return replace(jump, severity=Severity.INFO, detail=f"{jump.detail}; see {what}") if what else jump

    def _keep(self, found: list[Finding]) -> None:
        for finding in found:
            inside = (self._start is None or finding.ts >= self._start) and (
                self._end is None or finding.ts < self._end
            )
            kept = self._found.setdefault(finding.rule, [])
            if inside and len(kept) < MOST_FINDINGS:
                kept.append(finding)
            elif inside:
                self._left_out[finding.rule] += 1
