"""Backfill: from a source into the lake, day by day, writing only what says something new.

All rows are gathered first, in a spool that may be larger than memory, because a source may hold one day in many
files. A source that fails therefore leaves nothing half done. Then days are published in batches, each whole: a run
that dies keeps the batches before, and running it again skips them.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from thermocline.errors import LakeError, RequestBudgetError, SourceError, ThermoclineError, TransientLakeError
from thermocline.faults import Step, step
from thermocline.model.conform import conform
from thermocline.model.dataset import Dataset
from thermocline.model.fingerprint import contents_of
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import DayRange, Partition, chunks
from thermocline.model.receipt import Receipt, Vintage
from thermocline.model.rejected import Rejected
from thermocline.model.report import Failed, Moved
from thermocline.model.restatement import NEVER, Restatement, RestatementRule, restatement_of
from thermocline.ports import (
    SILENT,
    Fetched,
    FetchRequest,
    Holding,
    Hot,
    Lake,
    Progress,
    Publication,
    Source,
    Spool,
    SpoolFactory,
    Writer,
)
from thermocline.tasks.archive import ReadBack, archive, settled_head, trusted, unjournaled
from thermocline.tasks.holding import HELD, held_vintages, hold, same_content, told
from thermocline.tasks.repack import unpack
from thermocline.tasks.trouble import BACKFILL, note_trouble

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_DAYS = 256
"""Partitions that are published in one commit; each commit costs the table a snapshot."""

_THREADS = 2
_DAYS_IN_FLIGHT = 16


@dataclass
class Backfilled:
    """What a backfill did. Counts other than `rows` and `rejected` are partitions."""

    dataset: str
    run_id: str
    rows: int = 0
    written: int = 0
    unchanged: int = 0
    merged_hot: int = 0
    duplicates: int = 0
    rejected: int = 0
    held: int = 0
    moved: list[Moved] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "dataset": self.dataset,
            "run_id": self.run_id,
            "rows": self.rows,
            "written": self.written,
            "unchanged": self.unchanged,
            "merged_hot": self.merged_hot,
            "duplicates": self.duplicates,
            "rejected": self.rejected,
            "held": self.held,
            "partitions": [moved.document() for moved in self.moved],
        }


@dataclass(frozen=True)
class Backfill:
    """The parts of one backfill: from where, to where, under which rules, as of which day."""

    source: Source
    hot: Hot
    lake: Lake
    spool: SpoolFactory
    lifecycle: Lifecycle
    as_of: date
    now: datetime
    run_id: str
    repair: bool = False
    accept_restatements: bool = False
    progress: Progress = SILENT
    on_published: Callable[[Moved], None] = lambda _: None
    on_gathered: Callable[[Collection[Partition]], None] = lambda _: None

    def run(self, request: FetchRequest) -> Backfilled:
        """Fetch what is asked for and publish every day that says something new.

        A day that would change more of what is published than the lifecycle's rule for restatements allows is held: it
        is written and verified, but readers get what they got before, from both tiers.

        `on_gathered` is told, before anything is written, which partitions have rows; `on_published` is called for
        each of them once it is committed (or found unchanged).

        Raises:
            SourceError: The source failed; nothing was written.
            FingerprintMismatchError: The lake does not hold what was written; that batch was not published.
        """
        result = Backfilled(request.dataset.name, self.run_id)
        with self.lake.run(self.run_id), self.spool(request.dataset) as spool:
            self._gather(request, spool, result)
            partitions = spool.partitions()
            self.on_gathered(partitions.keys())
            self.progress.begin(f"writing {request.dataset.name}", len(partitions))
            for batch in chunks(list(partitions), BATCH_DAYS):
                with self.hot.writer(request.dataset) as writer:
                    moved = self._published(_Batch(self, request.dataset, writer, spool, self._rule(request)), batch)
                for partition in moved:
                    result.moved.append(partition)
                    self.on_published(partition)
        result.written = sum(moved.action == "written" for moved in result.moved)
        result.unchanged = sum(moved.action == "unchanged" for moved in result.moved)
        result.merged_hot = sum(moved.action == "merged" for moved in result.moved)
        result.held = sum(moved.action == HELD for moved in result.moved)
        return result

    def _rule(self, request: FetchRequest) -> RestatementRule:
        """When a restatement waits; never, where what was asked for can't have enough symbols."""
        rule = self.lifecycle.restatements
        can_hold = not request.symbols or rule.may_hold(len(request.symbols))
        return rule if can_hold and not self.accept_restatements else NEVER

    def _published(self, batch: "_Batch", partitions: Sequence[Partition]) -> list[Moved]:
        """Publish a batch. Where it fails, the trouble is that of the days at which it was, or of all of them."""
        try:
            moved = batch.publish(partitions)
        except ThermoclineError as error:
            failed = [Failed(partition, str(error)) for partition in batch.at or partitions]
            note_trouble(self.hot, BACKFILL, failed, run_id=self.run_id)
            raise
        unchanged = {each.partition for each in moved if each.action == "unchanged"}
        troubled = {trouble.partition for trouble in self.hot.trouble(batch.dataset) if trouble.act == BACKFILL}
        if unchanged & troubled:
            self.hot.end_trouble(BACKFILL, unchanged & troubled)
        return moved

    @step(Step.GATHER)
    def _gather(self, request: FetchRequest, spool: Spool, result: Backfilled) -> None:
        """Take every row of the source in; rows that may not go in are quarantined once all others are safe."""
        rejected: list[Rejected] = []
        self.progress.begin(f"reading {self.source.name}", None)
        for fetched in self._fetched(request):
            rejected += [
                Rejected(request.dataset.name, self.source.name, fetched.origin, record, reason)
                for record, reason in fetched.unreadable
            ]
            conformed = conform(
                fetched.incoming,
                request.dataset,
                source=self.source.name,
                ingested_at=self.now,
                origin=fetched.origin,
                days=request.days,
            )
            rows = _asked_for(conformed.rows, request)
            spool.append(rows.to_batches())
            rejected += conformed.rejected
            result.rows += len(rows)
            result.duplicates += conformed.duplicates
            self.progress.advance(len(rows))
        if rejected:
            with step(Step.QUARANTINE):
                self.hot.quarantine(rejected, run_id=self.run_id)
        result.rejected = len(rejected)

    def _fetched(self, request: FetchRequest) -> Iterator[Fetched]:
        """The source's pages. Its error says what it could not read; what that means for the lake is known here."""
        try:
            yield from self.source.fetch(request)
        except SourceError as error:
            msg = f"{str(error).rstrip().removesuffix('.')}\n{request.dataset.name}: nothing was written"
            raise type(error)(msg) from error


@dataclass(frozen=True)
class _Batch:
    """Some days of a backfill, published together while their dataset's writer is held."""

    backfill: Backfill
    dataset: Dataset
    writer: Writer
    spool: Spool
    rule: RestatementRule
    at: list[Partition] = field(default_factory=list)

    def publish(self, partitions: Sequence[Partition]) -> list[Moved]:
        """Write what is new, verify it, commit it once; merge it into the days that are hot."""
        lake, run_id = self.backfill.lake, self.backfill.run_id
        head = settled_head(self.writer, lake, self.dataset, run_id=run_id)
        live = self._live(partitions)
        hot = {day.partition for day in self.backfill.hot.hot_days(self.dataset)}
        new = [p for p in partitions if not self._is_content_of(live.get(p), p)]
        broken = self._broken([live[p] for p in partitions if p in live and p not in new])
        hot_only = {p for p in new if self._stays_hot(p, hot, live)}
        # What came goes over what is there; the spool keeps the later row of each key.
        for partition in new:
            if partition in live and partition not in hot_only:
                self.at[:] = [partition]
                self.spool.append(trusted(lake, live[partition].receipt))
        self.at.clear()
        changed = [p for p in new if p not in hot_only and not self._is_content_of(live.get(p), p)]
        overtaken = self._overtaken([live[p] for p in partitions if p in live and p not in changed])
        restated = self._too_far([p for p in (*changed, *sorted(hot_only)) if p in live], live)
        held = self._hold(restated, live, hot_only)
        changed = [p for p in changed if p not in restated] + overtaken + [p for p in broken if p not in overtaken]
        receipts = self._archive(changed)
        if receipts:
            replaced = [r.partition for r in receipts if r.partition in live]
            head = unpack(self.writer, lake, self.dataset, replaced, head=head, run_id=run_id)
            live = self._live(partitions)
            removed = [live[partition].receipt.path for partition in replaced]
            head = lake.publish(self.dataset, added=receipts, removed=removed, expected_head=head, run_id=run_id)
        hot_rows = {p: _SpooledRows(self.spool, p) for p in hot_only if p not in restated}
        # Live ingest may have started one of these days since the hot set was read. Of a day that is hot the lake may
        # say just this, and hot something else that was ingested in between.
        rows_if_hot = {p: _SpooledRows(self.spool, p) for p in partitions if p in changed or p in hot - restated.keys()}
        if receipts or hot_rows or rows_if_hot:
            self.writer.publish(Publication(self.dataset, head, run_id, receipts), hot_rows, rows_if_hot)
        written = {receipt.partition: receipt for receipt in receipts}
        return [held.get(p) or self._report(p, written.get(p), live.get(p), hot_only) for p in partitions]

    def _too_far(
        self, partitions: Sequence[Partition], live: Mapping[Partition, Vintage]
    ) -> dict[Partition, Restatement]:
        """The days that would change too much of what is published to go on without a person, and how much."""
        found = {}
        for partition in partitions:
            receipt = live[partition].receipt
            is_final = self.rule.concerns(partition.day, self.backfill.as_of)
            if is_final and self.rule.may_hold(receipt.contents.rows):  # a day has no more symbols than rows
                published = self.backfill.lake.read(receipt)
                restatement = restatement_of(self.dataset, published, self.spool.batches(partition))
                if self.rule.holds(restatement):
                    found[partition] = restatement
        return found

    def _hold(
        self,
        restated: Mapping[Partition, Restatement],
        live: Mapping[Partition, Vintage],
        hot_only: Collection[Partition],
    ) -> dict[Partition, Moved]:
        """Write and verify those days, and note them as held; what is held already is not held twice."""
        lake, hot = self.backfill.lake, self.backfill.hot
        for partition in restated:
            if partition in hot_only:  # all others are merged with their live vintage already
                self.spool.append(trusted(lake, live[partition].receipt))
        waiting = held_vintages(hot, self.dataset, restated.keys())
        known = {}
        for partition in restated if waiting else ():
            contents = contents_of(self.dataset, self.spool.batches(partition))
            if vintage := same_content(waiting, partition, contents.content_fingerprint):
                known[partition] = told(vintage)
        receipts = self._archive([p for p in restated if p not in known])
        holdings = [Holding(receipt, restated[receipt.partition]) for receipt in receipts]
        hold(self.writer, lake, self.dataset, holdings, now=self.backfill.now, run_id=self.backfill.run_id)
        return known | {r.partition: Moved(r.partition, HELD, r.contents.rows, r.size_bytes, r.path) for r in receipts}

    def _broken(self, unchanged: Sequence[Vintage]) -> list[Partition]:
        """With `repair`: unchanged days whose object or receipt is missing or damaged. What came says as much."""
        if not self.backfill.repair:
            return []
        lake, broken = self.backfill.lake, []
        receipts = [vintage.receipt for vintage in unchanged]
        astray, read_back = unjournaled(lake, self.dataset, receipts), ReadBack(lake, receipts)
        for vintage in unchanged:
            if vintage.partition in astray:
                broken.append(vintage.partition)
                continue
            try:
                read_back.confirm(vintage.receipt)
            except (TransientLakeError, RequestBudgetError):
                raise  # a store that does not answer says nothing of the object
            except LakeError:
                broken.append(vintage.partition)
        return broken

    def _overtaken(self, unchanged: Sequence[Vintage]) -> list[Partition]:
        """Unchanged days where rows that came go over late rows that say something else.

        Their vintages are written anew, for these rows to be the later ones.
        """
        late = self.backfill.hot.late(self.dataset)
        return [v.partition for v in unchanged if v.partition in late and self._overtakes(v)]

    def _overtakes(self, vintage: Vintage) -> bool:
        partition = vintage.partition
        with self.backfill.spool(self.dataset) as seen, self.writer.export(partition) as export:
            seen.append(trusted(self.backfill.lake, vintage.receipt))
            seen.append(export.batches())
            before = contents_of(self.dataset, seen.batches(partition)).content_fingerprint
            seen.append(self.spool.batches(partition))
            return before != contents_of(self.dataset, seen.batches(partition)).content_fingerprint

    def _live(self, partitions: Sequence[Partition]) -> dict[Partition, Vintage]:
        first, last = min(p.day for p in partitions), max(p.end.date() for p in partitions)
        return {vintage.partition: vintage for vintage in self.writer.live(DayRange(first, last))}

    def _is_content_of(self, vintage: Vintage | None, partition: Partition) -> bool:
        """Whether the spool's rows of the day say just what the vintage says."""
        if vintage is None:
            return False
        contents = contents_of(self.dataset, self.spool.batches(partition))
        return contents.content_fingerprint == vintage.receipt.contents.content_fingerprint

    def _stays_hot(self, partition: Partition, hot: set[Partition], live: dict[Partition, Vintage]) -> bool:
        """Whether the day goes to hot alone: it may be hot, is not to be archived yet, and is not cold alone."""
        lifecycle = self.backfill.lifecycle
        if lifecycle.archive_on_backfill or not lifecycle.is_hot(partition, self.backfill.as_of):
            return False
        return partition in hot or partition not in live

    def _archive(self, partitions: Sequence[Partition]) -> list[Receipt]:
        """Write and verify days, small ones side by side, in the order given."""
        receipts: list[Receipt] = []
        versions = self.writer.next_versions(partitions)
        with ThreadPoolExecutor(_THREADS) as threads:
            for some in chunks(partitions, _DAYS_IN_FLIGHT):
                waiting = [self._submit(threads, partition, versions[partition]) for partition in some]
                for partition, receipt in zip(some, waiting, strict=True):
                    self.at[:] = [partition]
                    receipts.append(receipt.result())
                    self.backfill.progress.advance()
        self.at.clear()
        return receipts

    def _submit(self, threads: ThreadPoolExecutor, partition: Partition, version: int) -> "Future[Receipt]":
        """Read a day in this thread, since a spool has one reader, and write it in another when it is small."""
        run_id = self.backfill.run_id
        self.at[:] = [partition]
        batches = self.spool.batches(partition)
        first = next(batches, None)
        second = next(batches, None)
        head = [batch for batch in (first, second) if batch is not None]
        if second is None:
            return threads.submit(archive, self.backfill.lake, partition, version, head, run_id=run_id)
        done: Future[Receipt] = Future()
        done.set_result(archive(self.backfill.lake, partition, version, chain(head, batches), run_id=run_id))
        return done

    def _report(
        self, partition: Partition, receipt: Receipt | None, vintage: Vintage | None, hot_only: set[Partition]
    ) -> Moved:
        if receipt:
            return Moved(partition, "written", receipt.contents.rows, receipt.size_bytes, receipt.path)
        self.backfill.progress.advance()
        if vintage is None or partition in hot_only:
            rows = sum(batch.num_rows for batch in self.spool.batches(partition))
            return Moved(partition, "merged", rows, 0, "")
        old = vintage.receipt
        return Moved(partition, "unchanged", old.contents.rows, old.size_bytes, old.path)


@dataclass(frozen=True)
class _SpooledRows:
    """A day's rows, read from the spool when they are needed and not before."""

    spool: Spool
    partition: Partition

    def __iter__(self) -> "Iterator[pa.RecordBatch]":
        return self.spool.batches(self.partition)


def _asked_for(rows: "pa.Table", request: FetchRequest) -> "pa.Table":
    """Rows of the symbols and intervals that were asked for; a source may deliver others along with them."""
    import pyarrow as pa  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it
    import pyarrow.compute as pc  # noqa: PLC0415

    for column, wanted in ((request.dataset.symbol_column, request.symbols), ("interval", request.intervals)):
        if wanted and column in rows.column_names:
            rows = rows.filter(pc.is_in(rows[column], value_set=pa.array(sorted(wanted))))
    return rows
