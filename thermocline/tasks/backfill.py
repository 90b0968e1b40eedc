"""Backfill: from a source into the lake, day by day, writing only what says something new.

All rows are gathered first, in a spool that may be larger than memory, because a source may hold one day in many
files. A source that fails therefore leaves nothing half done. Then days are published in batches, each whole: a run
that dies keeps the batches before, and running it again skips them.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from thermocline.errors import SourceError, ThermoclineError
from thermocline.faults import Step, step
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import Partition, chunks, whole_years
from thermocline.model.rejected import Rejected
from thermocline.model.report import Failed, Moved
from thermocline.model.restatement import NEVER, RestatementRule
from thermocline.model.rules import LENIENT, Rulebook
from thermocline.ports import (
    SILENT,
    Fetched,
    FetchRequest,
    Hot,
    Lake,
    Progress,
    Source,
    Spool,
    SpoolFactory,
)
from thermocline.tasks.batch import Batch
from thermocline.tasks.gate import Gate, Verdicts, asked_for
from thermocline.tasks.holding import HELD
from thermocline.tasks.schemas import applied, refuse_pending
from thermocline.tasks.told import Told, note
from thermocline.tasks.trouble import BACKFILL, note_trouble

BATCH_DAYS = 256
"""Partitions that are published in one commit; each commit costs the table a snapshot."""


@dataclass(frozen=True)
class Unfetched:
    """A request that its source could not answer to the end, and why; the rows that came before are in."""

    request: FetchRequest
    reason: str

    def document(self) -> dict[str, Any]:
        """The request and the reason as JSON."""
        return {**self.request.document(), "reason": self.reason}


@dataclass
class Backfilled:
    """What a backfill did. Counts are partitions, but for `rows`, `duplicates`, `rejected` and the pages of a vendor.

    `pages_resumed` were there already, from a run that did not finish; `pages_fetched` were asked for. `unfetched` are
    the requests that failed where others were to go on.
    """

    dataset: str
    run_id: str
    rows: int = 0
    written: int = 0
    unchanged: int = 0
    merged_hot: int = 0
    held: int = 0
    pages_fetched: int = 0
    pages_resumed: int = 0
    verdicts: Verdicts = field(default_factory=Verdicts)
    failed: list[Failed] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)
    unfetched: list[Unfetched] = field(default_factory=list)

    @property
    def rejected(self) -> int:
        """Rows that may not go in."""
        return self.verdicts.rejected

    @property
    def duplicates(self) -> int:
        """Rows that said just what another of their key says."""
        return self.verdicts.duplicates

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
            **self.verdicts.document(),
            "held": self.held,
            "pages_fetched": self.pages_fetched,
            "pages_resumed": self.pages_resumed,
            "failed": [failed.document() for failed in self.failed],
            "unfetched": [unfetched.document() for unfetched in self.unfetched],
            "partitions": [moved.document() for moved in self.moved],
        }


@dataclass(frozen=True)
class Backfill:
    """The parts of one backfill: from where, to where, under which rules, as of which day.

    With `keep_going` a request that its source can't answer is named, and the others are published; without it nothing
    is written then. With `refetch` a vendor is asked also for pages that a run which did not finish has kept.
    """

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
    keep_going: bool = False
    refetch: bool = False
    rulebook: Rulebook = LENIENT
    progress: Progress = SILENT
    on_published: Callable[[Moved], None] = lambda _: None
    on_committed: Callable[[], None] = lambda: None
    on_gathered: Callable[[Collection[Partition]], None] = lambda _: None

    def run(self, *requests: FetchRequest) -> Backfilled:
        """Fetch what is asked for and publish every day that says something new.

        Several requests, all of one dataset, are gathered before the first day is published.

        A day that would change more of what is published than the lifecycle's rule for restatements allows is held: it
        is written and verified, but readers get what they got before, from both tiers.

        `on_gathered` is told, before anything is written, which partitions have rows; `on_published` is called for
        each of them once it is committed (or found unchanged), and `on_committed` after those of a commit.

        Pages of a vendor are kept in the lake as they come. A run that did not come to its end is gone on from by the
        next; once all is published, the next run asks the vendor anew.

        Raises:
            SourceError: The source failed, and it was not to `keep_going`; nothing was written.
            TooManyBadRowsError: Too many rows may not go in; nothing was written.
            FingerprintMismatchError: The lake does not hold what was written; that batch was not published.
        """
        (dataset,) = applied(self.hot, [requests[0].dataset])
        refuse_pending(dataset)
        requests = tuple(replace(request, dataset=dataset) for request in requests)
        result = Backfilled(dataset.name, self.run_id)
        pages = self.lake.page_store.pages(now=self.now, run_id=self.run_id, anew=self.refetch)
        asked = [replace(request, now=request.now or self.now, pages=pages) for request in requests]
        told = Told(self.source.name, self.run_id, self.now)
        with self.lake.run(self.run_id), self.spool(dataset) as spool:
            self._gather(asked, spool, result, told)
            partitions = spool.partitions()
            self.on_gathered(partitions.keys())
            self.progress.begin(f"writing {dataset.name}", len(partitions))
            # A year that is damaged as a whole is mended as a whole.
            batches = whole_years if self.repair else chunks
            for days in batches(list(partitions), BATCH_DAYS):
                with self.hot.writer(dataset) as writer:
                    batch = Batch(self, dataset, writer, spool, self._rule(requests))
                    moved = self._published(batch, days)
                result.failed += batch.failed
                for partition in moved:
                    result.moved.append(partition)
                    self.on_published(partition)
                if moved:
                    self.on_committed()
            pages.finish()
            note(self.hot, dataset, told.due(partitions.keys()))
        result.pages_fetched, result.pages_resumed = pages.fetched, pages.resumed
        result.written = sum(moved.action == "written" for moved in result.moved)
        result.unchanged = sum(moved.action == "unchanged" for moved in result.moved)
        result.merged_hot = sum(moved.action == "merged" for moved in result.moved)
        result.held = sum(moved.action == HELD for moved in result.moved)
        return result

    def _rule(self, requests: Sequence[FetchRequest]) -> RestatementRule:
        """When a restatement waits; never, where what was asked for can't have enough symbols."""
        rule = self.lifecycle.restatements
        symbols = frozenset[str]().union(*(request.symbols for request in requests))
        can_hold = not all(request.symbols for request in requests) or rule.may_hold(len(symbols))
        return rule if can_hold and not self.accept_restatements else NEVER

    def _published(self, batch: Batch, partitions: Sequence[Partition]) -> list[Moved]:
        """Publish a batch. Where it fails, the trouble is that of the days at which it was, or of all of them."""
        try:
            moved = batch.publish(partitions)
        except ThermoclineError as error:
            failed = [Failed(partition, str(error)) for partition in batch.at or partitions]
            note_trouble(self.hot, BACKFILL, failed, run_id=self.run_id)
            raise
        note_trouble(self.hot, BACKFILL, batch.failed, run_id=self.run_id)
        unchanged = {each.partition for each in moved if each.action == "unchanged"}
        troubled = {trouble.partition for trouble in self.hot.trouble(batch.dataset) if trouble.act == BACKFILL}
        if unchanged & troubled:
            self.hot.end_trouble(BACKFILL, unchanged & troubled)
        return moved

    @step(Step.GATHER)
    def _gather(self, requests: Sequence[FetchRequest], spool: Spool, result: Backfilled, told: Told) -> None:
        """Take every row of the source in that may go in; too many others end the run before anything is written."""
        dataset = requests[0].dataset

        def quarantine(rejected: Sequence[Rejected]) -> None:
            self.hot.quarantine(rejected, run_id=self.run_id)

        gate = Gate(dataset, self.source.name, quarantine, self.now, self.rulebook, result.verdicts)
        self.progress.begin(f"reading {self.source.name}", None)
        for request in requests:
            before = frozenset(result.verdicts.quarantined.items())
            try:
                for fetched in self._fetched(request):
                    rows = asked_for(gate.admit(fetched, request.days), request)
                    spool.append(rows.to_batches())
                    result.rows += len(rows)
                    told.symbols.update(rows[dataset.symbol_column].unique().to_pylist())
                    told.answered(fetched.answered)
                    self.progress.advance(len(rows))
            except SourceError as error:
                if not self.keep_going:
                    raise
                result.unfetched.append(Unfetched(request, str(error)))
                told.asked(request, failed=str(error))
            else:
                told.asked(request)
            more = result.verdicts.quarantined.items() - before
            told.quarantined({series for series, _ in more}, request)
        gate.finish()

    def _fetched(self, request: FetchRequest) -> Iterator[Fetched]:
        """The source's pages. Its error says what it could not read; what that means for the lake is known here."""
        try:
            yield from self.source.fetch(request)
        except SourceError as error:
            if self.keep_going:
                raise
            msg = f"{str(error).rstrip().removesuffix('.')}\n{request.dataset.name}: nothing was written"
            raise type(error)(msg) from error
