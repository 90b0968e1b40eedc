"""Ingest: accept rows at once, whether their day is hot or cold."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from thermocline.errors import LockTimeoutError
from thermocline.model.dataset import Dataset
from thermocline.model.fingerprint import contents_of
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import Partition, is_of, partitions_of, rows_of, span_of
from thermocline.model.query import Query
from thermocline.model.receipt import Receipt, Vintage
from thermocline.model.report import Moved
from thermocline.model.restatement import Restatement, RestatementRule, held_restatement, symbols_in
from thermocline.model.rules import LENIENT, Rulebook
from thermocline.ports import Fetched, FetchRequest, Holding, Hot, Lake, SpoolFactory, Writer
from thermocline.tasks.archive import archive, trusted
from thermocline.tasks.gate import Gate, Verdicts, asked_for
from thermocline.tasks.holding import HELD, held_vintages, hold, same_content, told
from thermocline.tasks.query import query
from thermocline.tasks.schemas import applied, refuse_pending

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class IngestReport:
    """Where rows went. All of them are durable and visible to queries, but for `held_rows`, which wait for a person.

    `held` are the days that they wait for, as they would be: what is published with the new rows in it.
    """

    dataset: str
    run_id: str
    hot_rows: int = 0
    late_rows: int = 0
    held_rows: int = 0
    held: list[Moved] = field(default_factory=list)
    verdicts: Verdicts = field(default_factory=Verdicts)

    @property
    def rejected(self) -> int:
        """Rows that may not go in."""
        return self.verdicts.rejected

    @property
    def duplicates(self) -> int:
        """Rows that said just what another of their key says."""
        return self.verdicts.duplicates

    def document(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "dataset": self.dataset,
            "run_id": self.run_id,
            "rows": self.hot_rows + self.late_rows,
            "hot_rows": self.hot_rows,
            "late_rows": self.late_rows,
            "duplicates": self.duplicates,
            **self.verdicts.document(),
            "held_rows": self.held_rows,
            "held": [moved.document() for moved in self.held],
        }


def ingest(
    hot: Hot,
    lake: Lake,
    dataset: Dataset,
    fetched: Sequence[Fetched],
    lifecycle: Lifecycle,
    *,
    spool: SpoolFactory,
    source: str,
    as_of: date,
    now: datetime,
    run_id: str,
    request: FetchRequest | None = None,
    always_hot: bool = False,
    accept_restatements: bool = False,
    rulebook: Rulebook = LENIENT,
) -> IngestReport:
    """Accept rows: into hot where their day is hot or may become so, else as late rows that the next night folds in.

    With `always_hot` a day that has nothing cold becomes hot whatever its age or interval. Rows that would change more
    of a published day than the lifecycle's rule for restatements allows are held instead, unless `accept_restatements`:
    the day with them is written to the lake as a vintage that waits for a person. With a `request`, rows
    that it did not ask for, which a source may deliver along with the others, are left out.

    Raises:
        TooManyBadRowsError: Too many rows may not go in; none was accepted.
        LakeError: Rows could be such a restatement, and the day that they speak of can't be read; none was accepted.
    """
    (dataset,) = applied(hot, [dataset])
    refuse_pending(dataset)
    report = IngestReport(dataset.name, run_id)
    gate = Gate(
        dataset, source, lambda rejected: hot.quarantine(rejected, run_id=run_id), now, rulebook, report.verdicts
    )
    if request:
        tables = [asked_for(gate.admit(part, request.days), request) for part in fetched]
    else:
        tables = [gate.admit(part) for part in fetched]
    gate.finish()
    guard = _Guard(hot, lake, spool, dataset, run_id)
    with lake.run(run_id):
        restated = {} if accept_restatements else guard.restated(tables, lifecycle.restatements, as_of)
    for table in tables:
        rows = _without(table, restated)
        if restated and not len(rows):
            continue
        may_be_hot = {p for p in partitions_of(dataset, rows) if always_hot or lifecycle.is_hot(p, as_of)}
        went = hot.ingest(dataset, rows, hot_days=may_be_hot, run_id=run_id)
        report.hot_rows += went.hot_rows
        report.late_rows += went.late_rows
    if restated:
        report.held_rows = sum(len(rows_of(table, p)) for table in tables for p in restated)
        with lake.run(run_id):
            report.held = guard.hold(tables, restated, now=now)
    return report


@dataclass(frozen=True)
class _Guard:
    """Looks at rows that come for published days, and holds those back that would change too much."""

    hot: Hot
    lake: Lake
    spool: SpoolFactory
    dataset: Dataset
    run_id: str

    def restated(
        self, tables: "Sequence[pa.Table]", rule: RestatementRule, as_of: date
    ) -> dict[Partition, Restatement]:
        """The days that the rows would change too much, and how much.

        Compared with what readers get now, so that rows which were accepted once are accepted again. Rows of few
        symbols are let through without a look at either tier.
        """
        parts = self._parts(tables)
        final = {p: rows for p, rows in parts.items() if rule.concerns(p.day, as_of)}
        suspects = [p for p, rows in final.items() if rule.may_hold(symbols_in(self.dataset, rows))]
        if not suspects:
            return {}
        span = span_of(suspects)
        live = {vintage.partition for vintage in self.hot.live(self.dataset, span)}
        found = {}
        for partition in suspects:
            if partition in live:
                rows = parts[partition]
                published = partial(self._published, partition)
                if restatement := held_restatement(self.dataset, published, rows.to_batches, rule):
                    found[partition] = restatement
        return found

    def _parts(self, tables: "Sequence[pa.Table]") -> "dict[Partition, pa.Table]":
        """The rows by their partition."""
        import pyarrow as pa  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it

        rows = pa.concat_tables(tables) if tables else self.dataset.arrow_schema.empty_table()
        return {partition: rows_of(rows, partition) for partition in partitions_of(self.dataset, rows)}

    def _published(self, partition: Partition) -> "Iterator[pa.RecordBatch]":
        """What queries get of the partition now."""
        intervals = (partition.interval,) if partition.interval else ()
        asked = Query(self.dataset, partition.start, partition.end, intervals=intervals)
        with query(self.hot, self.lake, asked) as published:
            yield from published

    def hold(
        self, tables: "Sequence[pa.Table]", restated: Mapping[Partition, Restatement], *, now: datetime
    ) -> list[Moved]:
        """Write each day with the rows in it as a vintage that waits; what waits already is not written again."""
        parts = self._parts(tables)
        try:
            with self.hot.writer(self.dataset) as writer:
                waiting = held_vintages(self.hot, self.dataset, restated.keys())
                span = span_of(restated)
                live = {vintage.partition: vintage for vintage in writer.live(span)}
                moved = []
                for partition, restatement in restated.items():
                    known = self._held(writer, live.get(partition), partition, parts[partition], waiting)
                    if isinstance(known, Vintage):
                        moved.append(told(known))
                        continue
                    hold(writer, self.lake, self.dataset, [Holding(known, restatement)], now=now, run_id=self.run_id)
                    moved.append(Moved(partition, HELD, known.contents.rows, known.size_bytes, known.path))
                return moved
        except LockTimeoutError as error:
            days = ", ".join(map(str, restated))
            msg = (
                f"rows of {days} are a restatement that is to be held, and could not be written: {error}. All other "
                "rows were accepted; ingest them again, which changes nothing of those that are in"
            )
            raise LockTimeoutError(msg) from error

    def _held(
        self,
        writer: Writer,
        vintage: Vintage | None,
        partition: Partition,
        rows: "pa.Table",
        waiting: Sequence[Vintage],
    ) -> Vintage | Receipt:
        """What waits already and says the same, or the receipt of a new object."""
        with self.spool(self.dataset) as spool:
            if vintage:
                spool.append(trusted(self.lake, vintage.receipt))
            spool.append(rows.to_batches())
            contents = contents_of(self.dataset, spool.batches(partition))
            if known := same_content(waiting, partition, contents.content_fingerprint):
                return known
            version = writer.next_versions([partition])[partition]
            return archive(self.lake, partition, version, spool.batches(partition), run_id=self.run_id)


def _without(rows: "pa.Table", partitions: Mapping[Partition, Restatement]) -> "pa.Table":
    """The rows but for those of some partitions."""
    import pyarrow.compute as pc  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it

    for partition in partitions:
        rows = rows.filter(pc.invert(is_of(rows, partition)))
    return rows
