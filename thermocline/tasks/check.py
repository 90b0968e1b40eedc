"""Check: bars against each other, their neighbours, and what is known of splits, dividends and instruments.

Everything is read in one look at both tiers, only the columns and days that matter, and in pieces of bounded size.
Nothing is changed.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from thermocline.model.checks.finding import Finding
from thermocline.model.checks.rules import RULES, Acknowledged, CheckRules, Severity
from thermocline.model.datasets import MARKET_DATA, dataset_named
from thermocline.model.partition import ALL_DAYS
from thermocline.model.query import Query
from thermocline.model.receipt import Vintage, VintageState
from thermocline.ports import SILENT, Hot, Lake, Progress, Snapshot
from thermocline.tasks.query import query_in

if TYPE_CHECKING:
    import pyarrow as pa

    from thermocline.model.checks.actions import Actions
    from thermocline.model.checks.sweep import Sweep

_PIECE_ROWS = 1_000_000
"""Rows that are checked together; a piece ends with a day, so that one may be larger."""

_LOOK_AHEAD = timedelta(days=7)
"""How far the row after the last one may be, which says whether that one is out of line."""

RESTATEMENT = "restatement"

_KNOWN = ("splits", "dividends", "instruments")
"""The datasets that explain what bars do."""


@dataclass
class Checked:
    """What was found in so many rows. `explained` have a known reason, or are acknowledged; they are no findings.

    `counts` has the findings of each rule that was looked for, also of those beyond what is kept of one rule.
    """

    dataset: str
    rows: int = 0
    findings: list[Finding] = field(default_factory=list)
    explained: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def errors(self) -> list[Finding]:
        """The findings that can hardly be anything but wrong."""
        return [finding for finding in self.findings if finding.severity is Severity.ERROR]

    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "dataset": self.dataset,
            "rows": self.rows,
            "counts": dict(self.counts),
            "findings": [finding.document() for finding in self.findings],
            "explained": [finding.document() for finding in self.explained],
        }


def check(
    hot: Hot,
    lake: Lake,
    asked: Query,
    rules: CheckRules,
    names: Collection[str] = (),
    *,
    progress: Progress = SILENT,
) -> Checked:
    """Look for what the rules of those names (none: all that are enabled) find among the rows that were asked for.

    Rows before and after them are read as neighbours. Of a dataset without bars only held restatements are looked for.

    Raises:
        UsageError: There is no such rule.
    """
    chosen = rules.chosen(names)
    result = Checked(asked.dataset.name, counts=Counter(dict.fromkeys([name for name in RULES if name in chosen], 0)))
    if asked.dataset.name == MARKET_DATA.name and chosen - {RESTATEMENT}:
        _check_bars(hot, lake, asked, rules=rules, chosen=chosen, result=result, progress=progress)
    if RESTATEMENT in chosen and not asked.symbols:
        held = _held(hot, asked, rules.restatement.severity)
        result.findings += held
        result.counts[RESTATEMENT] += len(held)
    _set_aside(result, rules)
    result.findings.sort()
    return result


def _set_aside(result: Checked, rules: CheckRules) -> None:
    """Take what a person has acknowledged out of the findings."""
    known = [
        each for each in result.findings if Acknowledged(each.rule, each.symbol, each.ts.date()) in rules.acknowledged
    ]
    result.counts.subtract(each.rule for each in known)
    result.findings = [each for each in result.findings if each not in known]
    result.explained += [replace(each, severity=Severity.INFO, detail=f"{each.detail}; acknowledged") for each in known]


def _check_bars(
    hot: Hot,
    lake: Lake,
    asked: Query,
    *,
    rules: CheckRules,
    chosen: Collection[str],
    result: Checked,
    progress: Progress,
) -> None:
    from thermocline.model.checks.bars import BAR_COLUMNS  # noqa: PLC0415  # numpy; `--help` shall not pay for it
    from thermocline.model.checks.sweep import Sweep  # noqa: PLC0415  # as above

    read = replace(
        asked,
        columns=BAR_COLUMNS,
        start=asked.start and asked.start - timedelta(days=rules.look_back_days),
        end=asked.end and asked.end + _LOOK_AHEAD,
    )
    with hot.snapshot([asked.dataset, *map(dataset_named, _KNOWN)], ALL_DAYS) as snapshot:
        actions = _actions(snapshot, lake, asked)
        sweeps: dict[str, Sweep] = {}
        progress.begin(f"checking {asked.dataset.name}", None)
        with query_in(snapshot, lake, read) as reader:
            for interval, piece in _pieces(reader):
                if interval not in sweeps:
                    sweeps[interval] = Sweep(rules, chosen, actions, asked.start, asked.end)
                sweeps[interval].take(piece)
                progress.advance(len(piece))
        # Only now, since one look has one stream at a time.
        for interval, sweep in sweeps.items():
            _remember(snapshot, lake, replace(read, intervals=(interval,), end=read.start, start=None), sweep)
    for sweep in sweeps.values():
        found = sweep.findings()
        result.rows += sweep.rows
        result.findings += [finding for finding in found if finding.severity is not Severity.INFO]
        result.explained += [finding for finding in found if finding.severity is Severity.INFO]
        result.counts.update(sweep.counts)


def _actions(snapshot: Snapshot, lake: Lake, asked: Query) -> "Actions":
    from thermocline.model.checks.actions import Actions  # noqa: PLC0415  # as above

    def known(name: str, start: datetime | None) -> "pa.Table":
        with query_in(snapshot, lake, Query(dataset_named(name), start, asked.end, asked.symbols)) as reader:
            return reader.read_all()

    # Bars shorter than a day may begin in the day before that of UTC, or after it.
    start = asked.start and asked.start - timedelta(days=1)
    splits, dividends, instruments = _KNOWN
    return Actions.from_tables(known(splits, start), known(dividends, start), known(instruments, None))


def _pieces(reader: "pa.RecordBatchReader") -> "Iterator[tuple[str, pa.Table]]":
    """The rows of each interval in pieces that end with a day, in order."""
    import pyarrow as pa  # noqa: PLC0415  # as above
    import pyarrow.compute as pc  # noqa: PLC0415

    interval, held = "", reader.schema.empty_table()
    for batch in reader:
        for name in pc.unique(batch["interval"]).to_pylist():
            rows = pa.Table.from_batches([batch.filter(pc.equal(batch["interval"], name))])
            if name != interval and len(held):
                yield interval, held
                held = held.slice(0, 0)
            interval, held = name, pa.concat_tables([held, rows])
            if len(held) >= _PIECE_ROWS and (complete := _complete_days(held)):
                yield interval, held.slice(0, complete)
                held = held.slice(complete)
    if len(held):
        yield interval, held


def _complete_days(rows: "pa.Table") -> int:
    """How many rows come before the last day of a table that is in order of time."""
    import pyarrow as pa  # noqa: PLC0415  # as above
    import pyarrow.compute as pc  # noqa: PLC0415

    days = pc.floor_temporal(rows["ts"], unit="day")
    complete: int = pc.sum(pc.less(days, days[-1]).cast(pa.int64())).as_py()
    return complete


def _remember(snapshot: Snapshot, lake: Lake, earlier: Query, sweep: "Sweep") -> None:
    """Give a sweep the last bars that symbols had before the neighbours, where those had none."""
    import pyarrow as pa  # noqa: PLC0415  # as above

    from thermocline.model.checks.bars import Bars, tail_of  # noqa: PLC0415

    if earlier.end is None or sweep.appeared is None:
        return
    symbols = tuple(sorted(set(sweep.appeared["symbol"].to_pylist())))
    with query_in(snapshot, lake, replace(earlier, symbols=symbols)) as reader:
        last = reader.schema.empty_table()
        for batch in reader:
            rows = pa.concat_tables([last, pa.Table.from_batches([batch])])
            last = tail_of(Bars.of(last.slice(0, 0), rows), rows)
    if len(last):
        sweep.remember(last)


def _held(hot: Hot, asked: Query, severity: Severity) -> list[Finding]:
    """The restatements that wait for a person."""
    held = hot.vintages(asked.dataset, asked.days, asked.intervals, [VintageState.HELD])
    return [
        Finding(RESTATEMENT, vintage.partition.start, vintage.partition.interval, "", "", severity, _waiting(vintage))
        for vintage in held
    ]


def _waiting(vintage: Vintage) -> str:
    return f"version {vintage.receipt.version} waits for `thermocline accept` or `reject`: {vintage.reason}"
