"""Some days of a backfill, published together."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING

from thermocline.errors import ArchivedError, LakeError, RequestBudgetError, TransientLakeError
from thermocline.model.dataset import Dataset
from thermocline.model.fingerprint import contents_of
from thermocline.model.partition import ALL_DAYS, DayRange, Partition, chunks
from thermocline.model.receipt import Receipt, Vintage
from thermocline.model.report import Failed, Moved
from thermocline.model.restatement import Restatement, RestatementRule, held_restatement
from thermocline.ports import Holding, Publication, Spool, Writer
from thermocline.tasks.archive import archive, settled_head, trusted
from thermocline.tasks.holding import HELD, held_vintages, hold, same_content, told
from thermocline.tasks.repack import unpack
from thermocline.tasks.repair import Repair, Wrong, torn_paths

if TYPE_CHECKING:
    import pyarrow as pa

    from thermocline.tasks.backfill import Backfill

_THREADS = 2
_DAYS_IN_FLIGHT = 16


@dataclass(frozen=True)
class Batch:
    """Some days of a backfill, published together while their dataset's writer is held."""

    backfill: "Backfill"
    dataset: Dataset
    writer: Writer
    spool: Spool
    rule: RestatementRule
    at: list[Partition] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)

    def publish(self, partitions: Sequence[Partition]) -> list[Moved]:
        """Write what is new, verify it, commit it once; merge it into the days that are hot."""
        lake, run_id = self.backfill.lake, self.backfill.run_id
        head = settled_head(self.writer, lake, self.dataset, run_id=run_id, anew=self.backfill.repair)
        live = self._live(partitions)
        hot = {day.partition for day in self.backfill.hot.hot_days(self.dataset)}
        wrong = self._repair.wrong([live[p] for p in partitions if p in live]) if self.backfill.repair else {}
        wrong, relocated = self._mended(wrong)
        partitions = [p for p in partitions if p not in self._refused]
        new = [p for p in partitions if p not in wrong and not self._is_content_of(live.get(p), p)]
        hot_only = {p for p in new if self._stays_hot(p, hot, live)}
        self._merge([live[p].receipt for p in new if p in live and p not in hot_only])
        new = [p for p in new if p not in self._refused]
        changed = [p for p in new if p not in hot_only and not self._is_content_of(live.get(p), p)]
        overtaken = self._overtaken(
            [live[p] for p in partitions if p in live and p not in {*changed, *wrong, *self._refused}]
        )
        partitions = [p for p in partitions if p not in self._refused]
        restated = self._too_far([p for p in (*changed, *sorted(hot_only)) if p in live], live)
        held = self._hold(restated, live, hot_only)
        changed = [p for p in changed if p not in restated] + overtaken + list(wrong)
        receipts = self._archive(changed)
        if receipts:
            torn = torn_paths(wrong)
            replaced = [r.partition for r in receipts if r.partition in live]
            whole = [p for p in replaced if live[p].receipt.path not in torn]
            head = unpack(self.writer, lake, self.dataset, whole, head=head, run_id=run_id)
            live = self._live(partitions)
            removed = {live[partition].receipt.path for partition in replaced}
            removed -= self._named_by_others({*replaced, *(receipt.partition for receipt in relocated)})
            head = lake.publish(
                self.dataset,
                added=receipts,
                removed=removed,
                relocated=relocated,
                expected_head=head,
                run_id=run_id,
            )
        hot_rows = {p: _SpooledRows(self.spool, p) for p in hot_only if p not in restated}
        # Live ingest may have started one of these days since the hot set was read. Of a day that is hot the lake may
        # say just this, and hot something else that was ingested in between.
        rows_if_hot = {p: _SpooledRows(self.spool, p) for p in partitions if p in changed or p in hot - restated.keys()}
        if receipts or hot_rows or rows_if_hot:
            publication = Publication(self.dataset, head, run_id, receipts, relocated=relocated)
            self.writer.publish(publication, hot_rows, rows_if_hot)
        written = {receipt.partition: receipt for receipt in receipts}
        return [held.get(p) or self._report(p, written.get(p), live.get(p), hot_only) for p in partitions]

    @cached_property
    def _repair(self) -> Repair:
        made = self.backfill
        return Repair(made.lake, self.writer, self.dataset, made.spool, self.rule, made.as_of)

    @property
    def _refused(self) -> set[Partition]:
        return {failed.partition for failed in self.failed}

    def _merge(self, receipts: Sequence[Receipt]) -> None:
        """Have what came go over what is there; the spool keeps the later row of each key.

        A day that would have to be restored from an archive first is refused, by itself.
        """
        for receipt in receipts:
            self.at[:] = [receipt.partition]
            try:
                self.spool.append(trusted(self.backfill.lake, receipt))
            except ArchivedError as error:
                self.failed.append(Failed(receipt.partition, str(error)))
        self.at.clear()

    def _mended(self, wrong: Mapping[Partition, Wrong]) -> tuple[dict[Partition, Wrong], list[Receipt]]:
        """Of the days that are not well, those to write anew from the spool, and where other days of theirs lie then.

        All others are refused, each by itself, but for days that share an object with one that can't be read.
        """
        mended: dict[Partition, Wrong] = {}
        with self.backfill.spool(self.dataset) as kept:
            for partition, each in wrong.items():
                if refusal := self._repair.refusal(each, self.spool, kept):
                    self.failed.append(Failed(partition, refusal))
                else:
                    mended[partition] = each
            for partition in kept.partitions() if mended else ():
                self.spool.append(kept.batches(partition))
        relocated: list[Receipt] = []
        for path in sorted(torn_paths(mended)):
            leaving = [partition for partition, each in mended.items() if each.receipt.path == path]
            try:
                relocated += self._repair.rest_of(path, leaving)
            except (TransientLakeError, RequestBudgetError):
                raise
            except LakeError as error:
                reason = (
                    f"other days of the month share {path}, and can't be taken out of it: {error}; backfill them, too"
                )
                self.failed.extend(Failed(partition, f"{partition}: {reason}") for partition in leaving)
        return {p: each for p, each in mended.items() if p not in self._refused}, relocated

    def _named_by_others(self, partitions: Collection[Partition]) -> set[str]:
        """The objects of all other live vintages: where the ledger was wrong, one that it named may be theirs."""
        if not self.backfill.repair:
            return set()
        return {v.receipt.path for v in self.writer.live(ALL_DAYS) if v.partition not in partitions}

    def _too_far(
        self, partitions: Sequence[Partition], live: Mapping[Partition, Vintage]
    ) -> dict[Partition, Restatement]:
        """The days that would change too much of what is published to go on without a person, and how much."""
        found = {}
        for partition in partitions:
            receipt = live[partition].receipt
            is_final = self.rule.concerns(partition.day, self.backfill.as_of)
            if is_final and self.rule.may_hold(receipt.contents.rows):  # a day has no more symbols than rows
                restatement = held_restatement(
                    self.dataset,
                    partial(self.backfill.lake.read, receipt),
                    partial(self.spool.batches, partition),
                    self.rule,
                )
                if restatement:
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

    def _overtaken(self, unchanged: Sequence[Vintage]) -> list[Partition]:
        """Unchanged days where rows that came go over late rows that say something else.

        Their vintages are written anew, for these rows to be the later ones.
        """
        late = self.backfill.hot.late(self.dataset)
        overtaken = []
        for vintage in unchanged:
            try:
                if vintage.partition in late and self._overtakes(vintage):
                    overtaken.append(vintage.partition)
            except ArchivedError as error:
                self.failed.append(Failed(vintage.partition, str(error)))
        return overtaken

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
