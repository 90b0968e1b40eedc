"""What becomes of rows in quarantine: released, where they pass the gate now or somebody forces them, or dropped."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from thermocline.errors import SchemaError, UsageError
from thermocline.model.conform import conform
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import dataset_named
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import partitions_of
from thermocline.model.query import Query
from thermocline.model.records import as_table
from thermocline.model.rejected import KEYS, UNREADABLE
from thermocline.model.rules import Rulebook, Validation
from thermocline.ports import Hot, Lake, Quarantined, QuarantineQuery, QuarantineState, Verdict
from thermocline.tasks.query import query
from thermocline.tasks.schemas import applied

if TYPE_CHECKING:
    import pyarrow as pa

_READ_AS = "the row could not be read, so it can't be released; mend it at its source and ingest it"
_OVERTAKEN = "another row of its key is in; --accept puts this one in its place"
_OLDER = "a row of its key that came later is released; drop this one, or release it by itself"


@dataclass(frozen=True)
class Stays:
    """A row that stays in quarantine, and why."""

    quarantine_id: int
    reason: str

    def document(self) -> dict[str, Any]:
        """The row as one flat JSON object."""
        return {"id": self.quarantine_id, "reason": self.reason}


@dataclass(frozen=True)
class Judgement:
    """What a release or drop does, or would do: by dataset, the rows and, for a release, what goes in for them."""

    state: QuarantineState
    run_id: str
    verdicts: Sequence[Verdict] = ()
    stays: Sequence[Stays] = ()
    tables: "Mapping[str, pa.Table]" = field(default_factory=dict)
    dry_run: bool = False

    @property
    def rows(self) -> int:
        """How many rows in quarantine are released or dropped."""
        return sum(len(verdict.ids) for verdict in self.verdicts)

    def document(self) -> dict[str, Any]:
        """The judgement as JSON."""
        return {
            "dry_run": self.dry_run,
            "run_id": self.run_id,
            "state": self.state.value,
            "rows": self.rows,
            "datasets": {
                verdict.dataset.name: {"rows": len(verdict.ids), "ids": list(verdict.ids)} for verdict in self.verdicts
            },
            "stays": [each.document() for each in self.stays],
        }


def rows_asked_for(hot: Hot, asked: QuarantineQuery) -> Sequence[Quarantined]:
    """The rows in quarantine that are asked for.

    Raises:
        UsageError: No row has one of the ids, or the one that has it is not among them.
    """
    rows = hot.quarantined(asked)
    is_cut = asked.limit is not None and len(rows) >= asked.limit
    missing = sorted(set(asked.ids).difference(row.quarantine_id for row in rows))
    if missing and not is_cut:
        others = {row.quarantine_id: row for row in hot.quarantined(QuarantineQuery(ids=missing, states=()))}
        said = [
            f"row {number} is one of {other.row.dataset} that is {other.state.value}"
            if (other := others.get(number))
            else f"no row in quarantine has the id {number}"
            for number in missing
        ]
        msg = f"{'; '.join(said)}; nothing was changed; `thermocline quarantine show` says which rows there are"
        raise UsageError(msg)
    return rows


def plan_release(
    hot: Hot,
    lake: Lake,
    asked: QuarantineQuery,
    validation: Validation,
    *,
    accept: bool,
    corrections: Mapping[str, str],
    why: str,
    now: datetime,
    run_id: str,
) -> Judgement:
    """Hold rows to the rules as they are now; changes nothing.

    With `accept` rules only warn, and a row may take the place of the one of its key that is in. Types and nulls hold
    whatever is said. `corrections` are values that columns get first.

    Raises:
        UsageError: See `rows_asked_for`.
    """
    verdicts: list[Verdict] = []
    stays: list[Stays] = []
    tables: dict[str, pa.Table] = {}
    taken = validation.for_run("warn", 1.0) if accept else validation.for_run(None, 1.0)
    for name, rows in _by_dataset(rows_asked_for(hot, asked)):
        (dataset,) = applied(hot, [dataset_named(name)])
        release = _Release(hot, lake, dataset, taken.rulebook(dataset), accept, corrections, now)
        table, ids = release.admit(rows)
        stays += release.stays
        if ids:
            verdicts.append(Verdict(dataset, ids, QuarantineState.RELEASED, why))
            tables[name] = table
    return Judgement(QuarantineState.RELEASED, run_id, verdicts, stays, tables, dry_run=True)


def plan_drop(hot: Hot, asked: QuarantineQuery, *, why: str, run_id: str) -> Judgement:
    """Which rows would be dropped; changes nothing.

    Raises:
        UsageError: See `rows_asked_for`.
    """
    verdicts = [
        Verdict(dataset_named(name), [row.quarantine_id for row in rows], QuarantineState.DROPPED, why)
        for name, rows in _by_dataset(rows_asked_for(hot, asked))
    ]
    return Judgement(QuarantineState.DROPPED, run_id, verdicts, dry_run=True)


def apply_judgement(hot: Hot, plan: Judgement, lifecycle: Lifecycle, *, as_of: date) -> Judgement:
    """Do exactly what the plan says, a transaction for each dataset: no row is accepted twice, whatever dies when.

    Raises:
        StaleStateError: Somebody else has released or dropped one of a dataset's rows since; none of it was changed.
    """
    for verdict in plan.verdicts:
        table = plan.tables.get(verdict.dataset.name)
        if table is None:
            hot.judge(verdict, run_id=plan.run_id)
            continue
        may_be_hot = {p for p in partitions_of(verdict.dataset, table) if lifecycle.is_hot(p, as_of)}
        hot.ingest(verdict.dataset, table, hot_days=may_be_hot, run_id=plan.run_id, verdict=verdict)
    return Judgement(plan.state, plan.run_id, plan.verdicts, plan.stays)


@dataclass
class _Release:
    """Rows of one dataset on their way through the gate."""

    hot: Hot
    lake: Lake
    dataset: Dataset
    rulebook: Rulebook
    accept: bool
    corrections: Mapping[str, str]
    now: datetime
    stays: list[Stays] = field(default_factory=list)

    def admit(self, rows: Sequence[Quarantined]) -> "tuple[pa.Table, list[int]]":
        """What goes in, one row of each key, and the rows in quarantine that it stands for. The rest is in `stays`."""
        import pyarrow as pa  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it

        tables, ids, same = [self.dataset.arrow_schema.empty_table()], [], []
        for (source, origin), page in groupby(rows, key=lambda row: (row.row.source, row.row.origin)):
            table, own, copies = self._page(source, origin, list(page))
            tables.append(table)
            ids += own
            same += copies
        table, numbers = self._newest(pa.concat_tables(tables), ids, same)
        if not self.accept and numbers:
            table, numbers = self._without_overtaken(table, numbers)
        # A copy goes with the row that says the same; where one of those stays, it is looked at again by itself.
        left = len(ids) > len(numbers)
        self.stays += [Stays(number, _OVERTAKEN) for number in same if left]
        return table, numbers if left else [*numbers, *same]

    def _newest(self, table: "pa.Table", ids: list[int], same: list[int]) -> "tuple[pa.Table, list[int]]":
        """Of rows of one key, which came in several pages, the one that came last."""
        import numpy as np  # noqa: PLC0415  # as above
        import pyarrow as pa  # noqa: PLC0415  # as above

        from thermocline.model.duplicates import duplicates_of  # noqa: PLC0415  # as above

        order = np.argsort(np.array(ids, dtype=np.int64), kind="stable")
        table, numbers = table.take(pa.array(order)), [ids[at] for at in order.tolist()]
        found = duplicates_of(table, self.dataset, np.arange(len(table)))
        self.stays += [Stays(numbers[at], _OLDER) for at in found.conflicting.tolist()]
        same += [numbers[at] for at in found.identical.tolist()]
        kept = np.setdiff1d(np.arange(len(table)), np.concatenate([found.conflicting, found.identical]))
        return table.take(pa.array(kept)), [numbers[at] for at in kept.tolist()]

    def _without_overtaken(self, table: "pa.Table", numbers: list[int]) -> "tuple[pa.Table, list[int]]":
        """The rows but for those of a key of which readers get another one now: it came since, and is the better."""
        import numpy as np  # noqa: PLC0415  # as above
        import pyarrow as pa  # noqa: PLC0415  # as above

        from thermocline.model.duplicates import duplicates_of  # noqa: PLC0415  # as above

        both = pa.concat_tables([table, self._published(table)]).combine_chunks()
        found = duplicates_of(both, self.dataset, np.arange(len(both)))
        overtaken = found.conflicting[found.conflicting < len(table)]
        self.stays += [Stays(numbers[at], _OVERTAKEN) for at in overtaken.tolist()]
        kept = np.setdiff1d(np.arange(len(table)), overtaken)
        return table.take(pa.array(kept)), [numbers[at] for at in kept.tolist()]

    def _published(self, table: "pa.Table") -> "pa.Table":
        """What readers get now of the rows' symbols at their instants."""
        import pyarrow as pa  # noqa: PLC0415  # as above
        import pyarrow.compute as pc  # noqa: PLC0415  # as above

        instants = pc.unique(table["ts"])
        partitions = partitions_of(self.dataset, table)
        symbols = pc.unique(table[self.dataset.symbol_column]).to_pylist()
        intervals = sorted({partition.interval for partition in partitions if partition.interval})
        first, end = min(p.start for p in partitions), max(p.end for p in partitions)
        asked = Query(self.dataset, first, end, tuple(sorted(symbols)), tuple(intervals))
        with query(self.hot, self.lake, asked) as reader:
            found = [batch.filter(pc.is_in(batch.column("ts"), value_set=instants)) for batch in reader]
        return pa.Table.from_batches(found, self.dataset.arrow_schema)

    def _page(self, source: str, origin: str, rows: Sequence[Quarantined]) -> "tuple[pa.Table, list[int], list[int]]":
        """What passes of a page, the row in quarantine of each, and those that say the same as one of them."""
        records, numbers = [], []
        for row in rows:
            record = _record(row)
            if record is None:
                self.stays.append(Stays(row.quarantine_id, _READ_AS))
            elif KEYS in row.row.rules and not self.accept:
                self.stays.append(Stays(row.quarantine_id, _OVERTAKEN))
            else:
                # It is accepted now, whatever it says: of two rows of a key the one that was accepted later counts.
                record.pop("ingested_at", None)
                records.append({**record, **self.corrections})
                numbers.append(row.quarantine_id)
        nothing = self.dataset.arrow_schema.empty_table()
        if not records:
            return nothing, [], []
        try:
            conformed = conform(
                as_table(records),
                self.dataset,
                source=source,
                ingested_at=self.now,
                origin=origin,
                rulebook=self.rulebook,
            )
        except SchemaError as error:
            self.stays += [Stays(number, str(error)) for number in numbers]
            return nothing, [], []
        bad, kept = conformed.bad_at.tolist(), conformed.kept_at.tolist()
        refused = [number for number, is_bad in zip(numbers, bad, strict=True) if is_bad]
        self.stays += [
            Stays(number, rejected.reason) for number, rejected in zip(refused, conformed.rejected, strict=True)
        ]
        own = [number for number, is_kept in zip(numbers, kept, strict=True) if is_kept]
        passed = zip(numbers, bad, kept, strict=True)
        return conformed.rows, own, [number for number, is_bad, is_kept in passed if not (is_bad or is_kept)]


def _by_dataset(rows: Sequence[Quarantined]) -> Iterator[tuple[str, list[Quarantined]]]:
    ordered = sorted(rows, key=lambda row: (row.row.dataset, row.row.source, row.row.origin, row.quarantine_id))
    for name, some in groupby(ordered, key=lambda row: row.row.dataset):
        yield name, list(some)


def _record(row: Quarantined) -> dict[str, Any] | None:
    """The row as it came, unless it never was one."""
    if UNREADABLE in row.row.rules:
        return None
    try:
        record = json.loads(row.row.record)
    except json.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None
