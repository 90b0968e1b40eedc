"""Accept and reject: what a person says of restatements that are held."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from thermocline.errors import LakeError
from thermocline.faults import Step, step
from thermocline.model.dataset import Dataset
from thermocline.model.fingerprint import contents_of
from thermocline.model.journal import Entry, Event
from thermocline.model.partition import DayRange, Partition, months_of, span_of
from thermocline.model.receipt import Receipt, Vintage, VintageState
from thermocline.model.report import Failed, Moved
from thermocline.ports import Hot, Lake, Publication, SpoolFactory, Writer
from thermocline.tasks.archive import archive, confirm, settled_head, trusted
from thermocline.tasks.repack import unpack

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_DAYS = 32
"""Days that share one commit to the table."""


@dataclass
class Judged:
    """What became of held restatements."""

    dataset: str
    run_id: str
    moved: list[Moved] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "dataset": self.dataset,
            "run_id": self.run_id,
            "partitions": [moved.document() for moved in self.moved],
            "failed": [failed.document() for failed in self.failed],
        }


@dataclass(frozen=True)
class Choice:
    """Which held vintages: of these days, intervals (none: all) and of this version (None: all)."""

    dataset: Dataset
    days: DayRange
    intervals: Collection[str] = ()
    version: int | None = None

    def of(self, hot: Hot) -> list[Vintage]:
        """Those that are held now, the oldest of each day first."""
        held = hot.vintages(self.dataset, self.days, self.intervals, [VintageState.HELD])
        return [vintage for vintage in held if self.version in (None, vintage.receipt.version)]


def reject(hot: Hot, lake: Lake, choice: Choice, *, now: datetime, run_id: str) -> Judged:
    """Never make held vintages live. They stay listed as rejected; their objects are deleted in time."""
    result = Judged(choice.dataset.name, run_id)
    with lake.run(run_id), hot.writer(choice.dataset) as writer:
        held = choice.of(hot)
        if held:
            lake.note(choice.dataset, [_entry(vintage, now, run_id, vintage.reason) for vintage in held])
            writer.reject(held, run_id=run_id)
    result.moved = [_moved(vintage.receipt, "rejected") for vintage in held]
    return result


def accept(hot: Hot, lake: Lake, spool: SpoolFactory, choice: Choice, *, now: datetime, run_id: str) -> Judged:
    """Make held vintages live, each read back first, and merge their rows into days that are hot.

    Where the day's live vintage has changed since, held rows go over it as those of a backfill do (of one key, the
    later `ingested_at` wins) and the day is published as a new vintage. Of several held for one day the oldest goes
    first. A day whose held object is not good stays held and is reported.
    """
    result = Judged(choice.dataset.name, run_id)
    with lake.run(run_id), hot.writer(choice.dataset) as writer:
        waiting = choice.of(hot)
        while waiting:
            # One of each day at a time: the next one is merged with what this one made live.
            first: dict[Partition, Vintage] = {}
            for vintage in waiting:
                if len(first) < _BATCH_DAYS:
                    first.setdefault(vintage.partition, vintage)
            chosen = list(first.values())
            _Acceptance(hot, lake, spool, choice.dataset, writer, now, run_id, result).publish(chosen)
            waiting = [vintage for vintage in waiting if vintage not in chosen]
    return result


@dataclass(frozen=True)
class _Acceptance:
    """Some held vintages of different days, while their dataset's writer is held."""

    hot: Hot
    lake: Lake
    spool: SpoolFactory
    dataset: Dataset
    writer: Writer
    now: datetime
    run_id: str
    result: Judged

    def publish(self, held: Sequence[Vintage]) -> None:
        """Publish what is good and says something new, in one commit."""
        head = settled_head(self.writer, self.lake, self.dataset, run_id=self.run_id)
        span = span_of([vintage.partition for vintage in held])
        live = {vintage.partition: vintage for vintage in self.writer.live(span)}
        receipts: dict[Partition, Receipt] = {}
        for vintage in held:
            try:
                receipts[vintage.partition] = self._to_publish(vintage, live.get(vintage.partition))
            except LakeError as error:
                self.result.failed.append(Failed(vintage.partition, f"it stays held: {error}"))
        good = [vintage for vintage in held if vintage.partition in receipts]
        nothing_new = [v for v in good if v.partition in live and receipts[v.partition] == live[v.partition].receipt]
        accepted = [vintage for vintage in good if vintage not in nothing_new]
        if accepted:
            self._commit(head, accepted, receipts, live)
        self._end(nothing_new, "accepted, but the live version says all of it")
        self.result.moved += [_moved(receipts[v.partition], "accepted") for v in accepted]
        self.result.moved += [_moved(receipts[v.partition], "unchanged") for v in nothing_new]

    def _to_publish(self, held: Vintage, live: Vintage | None) -> Receipt:
        """What is to be live: the held object where it says what a merge would, else a new one, or the live one."""
        if live is None:
            confirm(self.lake, held.receipt)
            return held.receipt
        with self.spool(self.dataset) as spool:
            spool.append(trusted(self.lake, live.receipt))
            spool.append(trusted(self.lake, held.receipt))
            merged = contents_of(self.dataset, spool.batches(held.partition)).content_fingerprint
            if merged == live.receipt.contents.content_fingerprint:
                return live.receipt
            if merged == held.receipt.contents.content_fingerprint and live.receipt.version < held.receipt.version:
                confirm(self.lake, held.receipt)
                return held.receipt
            version = self.writer.next_versions([held.partition])[held.partition]
            return archive(self.lake, held.partition, version, spool.batches(held.partition), run_id=self.run_id)

    def _commit(
        self,
        head: str,
        accepted: Sequence[Vintage],
        receipts: Mapping[Partition, Receipt],
        live: Mapping[Partition, Vintage],
    ) -> None:
        added = [receipts[vintage.partition] for vintage in accepted]
        replaced = {receipt.partition for receipt in added if receipt.partition in live}
        head = unpack(self.writer, self.lake, self.dataset, replaced, head=head, run_id=self.run_id)
        now_live = [vintage for days in months_of(replaced) for vintage in self.writer.live(days)]
        removed = [vintage.receipt.path for vintage in now_live if vintage.partition in replaced]
        merged = [vintage for vintage in accepted if receipts[vintage.partition] != vintage.receipt]
        head = self.lake.publish(self.dataset, added=added, removed=removed, expected_head=head, run_id=self.run_id)
        self._note(merged, receipts)
        new = [receipts[vintage.partition] for vintage in merged]
        publication = Publication(self.dataset, head, self.run_id, new, accepted=accepted)
        with step(Step.ACCEPT):
            self.writer.publish(publication, None, {r.partition: _StoredRows(self.lake, r) for r in added})

    def _note(self, merged: Sequence[Vintage], receipts: Mapping[Partition, Receipt]) -> None:
        """Tell the lake of vintages that are not live themselves, but in another one."""
        entries = [_entry(v, self.now, self.run_id, v.accepted_in(receipts[v.partition].version)) for v in merged]
        self.lake.note(self.dataset, entries)

    def _end(self, held: Sequence[Vintage], reason: str) -> None:
        if held:
            entries = [_entry(v, self.now, self.run_id, f"{v.reason}; {reason}") for v in held]
            self.lake.note(self.dataset, entries)
            self.writer.reject(held, run_id=self.run_id, reason=reason)


@dataclass(frozen=True)
class _StoredRows:
    """A vintage's rows, read from the lake when they are needed and not before."""

    lake: Lake
    receipt: Receipt

    def __iter__(self) -> "Iterator[pa.RecordBatch]":
        return trusted(self.lake, self.receipt)


def _entry(vintage: Vintage, now: datetime, run_id: str, reason: str) -> Entry:
    return Entry(Event.REJECT, now, run_id, vintage.partition, vintage.receipt.version, vintage.receipt, reason)


def _moved(receipt: Receipt, action: str) -> Moved:
    return Moved(receipt.partition, action, receipt.contents.rows, receipt.size_bytes, receipt.path)
