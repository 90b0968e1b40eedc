"""What `MemoryHot` keeps: hot rows and the ledger, as one value that a commit replaces whole."""

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

import pyarrow as pa

from thermocline.errors import StaleStateError
from thermocline.model.coverage.due import Due
from thermocline.model.coverage.states import Run, Series
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import DATASETS
from thermocline.model.derivation import Derivation
from thermocline.model.partition import DayRange, Partition
from thermocline.model.receipt import Receipt, Vintage, VintageState
from thermocline.model.rejected import Rejected
from thermocline.model.report import Failed
from thermocline.model.schema import Schema, is_overtaken, overtaken
from thermocline.ports import (
    Act,
    Detached,
    Holding,
    Publication,
    Quarantined,
    QuarantineState,
    Trouble,
    Verdict,
)
from thermocline.ports.ledger import KNOWN_ALREADY
from thermocline.ports.quarantine import judged_meanwhile
from thermocline.stores.client import client_name
from thermocline.stores.memory_rows import merged, newest, widened

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Day:
    """A hot day. Its table is replaced when a row changes and never otherwise, so `is` tells whether any did."""

    version: int
    rows: pa.Table
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A day that left hot, with its rows."""

    day: Detached
    rows: pa.Table


@dataclass(frozen=True)
class State:
    """Rows and ledger. Nothing in the dictionaries is ever changed in place, so a shallow copy is a snapshot.

    `late` holds a day's late rows as they came, oldest first; `vintages` a partition's, oldest version first.
    """

    hot: dict[Partition, Day] = field(default_factory=dict)
    late: dict[Partition, tuple[pa.Table, ...]] = field(default_factory=dict)
    vintages: dict[Partition, tuple[Vintage, ...]] = field(default_factory=dict)
    heads: dict[str, str] = field(default_factory=dict)
    detached: dict[str, Kept] = field(default_factory=dict)
    quarantine: dict[int, Quarantined] = field(default_factory=dict)
    audit: list[Act] = field(default_factory=list)
    unnamed: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    trouble: dict[tuple[Partition, str], Trouble] = field(default_factory=dict)
    derivations: dict[Partition, Derivation] = field(default_factory=dict)
    coverage: dict[Series, tuple[Run, ...]] = field(default_factory=dict)
    due: dict[str, tuple[Due, ...]] = field(default_factory=dict)
    schemas: dict[str, tuple[Schema, ...]] = field(default_factory=dict)

    def copy(self) -> "State":
        """A state that can be changed without touching this one."""
        return State(
            dict(self.hot),
            dict(self.late),
            dict(self.vintages),
            dict(self.heads),
            dict(self.detached),
            dict(self.quarantine),
            list(self.audit),
            dict(self.unnamed),
            dict(self.trouble),
            dict(self.derivations),
            dict(self.coverage),
            dict(self.due),
            dict(self.schemas),
        )

    def note_due(self, dataset: Dataset, due: Sequence[Due]) -> None:
        """Have days looked at again."""
        numbered = (replace(each, number=next(_numbers)) for each in due)
        self.due[dataset.name] = (*self.due.get(dataset.name, ()), *numbered)

    def covered(self, dataset: Dataset, symbols: Collection[str], intervals: Collection[str]) -> list[Run]:
        """What is known of the series of those symbols and intervals (none: all), in order."""
        return [
            run
            for series in sorted(self.coverage)
            if series.dataset == dataset.name
            and (not symbols or series.symbol in symbols)
            and (not intervals or series.interval in intervals)
            for run in self.coverage[series]
        ]

    def current(self, dataset: Dataset) -> Dataset:
        """The dataset as it was applied last, or now if it never was, for whoever is about to write it."""
        newest = self.schemas.setdefault(dataset.name, (Schema.of(dataset, 1),))[-1]
        if is_overtaken(dataset, newest):
            DATASETS.apply_one(newest)  # the next run in this process knows it
            raise overtaken(dataset, newest)
        return newest.dataset_as(dataset)

    def evolve(self, dataset: Dataset, schemas: Sequence[Schema], run_id: str, now: datetime) -> None:
        """Give every table of the dataset the columns of the last version, and know all of them."""
        schema = schemas[-1].dataset_as(dataset).arrow_schema
        for partition, day in self.hot.items():
            if partition.dataset == dataset.name:
                self.hot[partition] = replace(day, rows=widened(day.rows, schema))
        for partition, late in self.late.items():
            if partition.dataset == dataset.name:
                self.late[partition] = tuple(widened(each, schema) for each in late)
        for name, kept in self.detached.items():
            if kept.day.partition.dataset == dataset.name:
                self.detached[name] = replace(kept, rows=widened(kept.rows, schema))
        self.schemas[dataset.name] = tuple(
            replace(each, applied_at=each.applied_at or now, run_id=each.run_id or run_id) for each in schemas
        )
        detail = {"dataset": dataset.name, "version": schemas[-1].version, "columns": schema.names}
        self.record(Act("evolve-schema", None, run_id, detail), now)

    def live_of(self, partition: Partition) -> Vintage | None:
        """The partition's live vintage."""
        for vintage in reversed(self.vintages.get(partition, ())):
            if vintage.superseded_at is None and vintage.state is VintageState.PUBLISHED:
                return vintage
        return None

    def live(self, dataset: Dataset, days: DayRange, intervals: Collection[str] = ()) -> list[Vintage]:
        """The live vintages of those days, in order."""
        return [
            vintage
            for partition in sorted(self.vintages)
            if partition.dataset == dataset.name
            and partition.day in days
            and (not intervals or partition.interval in intervals)
            and (vintage := self.live_of(partition))
        ]

    def vintages_of(
        self,
        dataset: Dataset,
        days: DayRange,
        intervals: Collection[str] = (),
        states: Collection[VintageState] = (),
    ) -> list[Vintage]:
        """Every vintage of those days, or those in the named states, in order."""
        return [
            vintage
            for partition in sorted(self.vintages, key=lambda p: (p.interval, p.day))
            if partition.dataset == dataset.name
            and partition.day in days
            and (not intervals or partition.interval in intervals)
            for vintage in sorted(self.vintages[partition], key=lambda vintage: vintage.receipt.version)
            if not states or vintage.state in states
        ]

    def as_of(self, dataset: Dataset, days: DayRange, intervals: Collection[str], instant: datetime) -> list[Vintage]:
        """The vintages of those days that were live at an instant, in order."""
        return [
            vintage
            for vintage in self.vintages_of(dataset, days, intervals, (VintageState.PUBLISHED, VintageState.EXPIRED))
            if vintage.published_at <= instant and (vintage.superseded_at is None or instant < vintage.superseded_at)
        ]

    def publish(self, publication: Publication, now: datetime) -> None:
        """Supersede what is withdrawn or replaced, make the new vintages live, quarantine, note the head."""
        now = max([now, *self._dates_of(publication.dated)])  # a clock that was set back does not change the past
        for partition in (*publication.withdrawn, *(receipt.partition for receipt in publication.receipts)):
            if ended := self.live_of(partition):
                self.alter(replace(ended, superseded_at=now))
        for receipt in publication.receipts:
            earlier = self.vintages.get(receipt.partition, ())
            self.vintages[receipt.partition] = (*earlier, Vintage(receipt, now))
        self.accept(publication, now)
        self.relocate(publication.relocated, now)
        for receipt in (*publication.receipts, *publication.relocated):
            self.unnamed.pop(receipt.path, None)
        self.reject(publication.rejected, publication.run_id, now)
        if publication.head is not None:
            self.heads[publication.dataset.name] = publication.head

    def _dates_of(self, partitions: Iterable[Partition]) -> Iterator[datetime]:
        for vintage in (vintage for partition in partitions for vintage in self.vintages.get(partition, ())):
            if vintage.state in {VintageState.PUBLISHED, VintageState.EXPIRED}:
                yield vintage.superseded_at or vintage.published_at

    def hold(self, holdings: Sequence[Holding], run_id: str, now: datetime) -> None:
        """Note vintages that wait for a person."""
        for holding in holdings:
            receipt, restatement = holding.receipt, holding.restatement
            earlier = self.vintages.get(receipt.partition, ())
            vintage = Vintage(receipt, now, state=VintageState.HELD, reason=restatement.reason)
            self.vintages[receipt.partition] = (*earlier, vintage)
            self.unnamed.pop(receipt.path, None)
            detail = {"version": receipt.version, "path": receipt.path} | restatement.counts()
            self.record(Act("hold", receipt.partition, run_id, detail), now)

    def accept(self, publication: Publication, now: datetime) -> None:
        """Make held vintages live, or note which published vintage has their rows."""
        merged = {receipt.partition: receipt.version for receipt in publication.receipts}
        for vintage in publication.accepted:
            version = vintage.receipt.version
            live_version = merged.get(vintage.partition, version)
            if vintage.partition in merged:
                self._end(vintage, vintage.accepted_in(live_version), now)
            else:
                self._check_held(vintage)
                if ended := self.live_of(vintage.partition):
                    self.alter(replace(ended, superseded_at=now))
                self.alter(replace(vintage, state=VintageState.PUBLISHED, published_at=now))
            detail = {"version": version, "live_version": live_version, "rows": vintage.receipt.contents.rows}
            act = Act("accept", vintage.partition, publication.run_id, detail | {"reason": vintage.reason})
            self.record(act, now)

    def dismiss(self, vintages: Sequence[Vintage], run_id: str, reason: str, now: datetime) -> None:
        """Note that held vintages are never to be live; their objects may go in time."""
        for vintage in vintages:
            self._end(vintage, f"{vintage.reason}; {reason}" if reason else vintage.reason, now)
            detail = {"version": vintage.receipt.version, "path": vintage.receipt.path, "reason": vintage.reason}
            self.record(Act("reject", vintage.partition, run_id, detail), now)

    def _end(self, vintage: Vintage, reason: str, now: datetime) -> None:
        self._check_held(vintage)
        self.alter(replace(vintage, state=VintageState.REJECTED, reason=reason))
        self.note_unnamed([vintage.receipt.path], vintage.partition.dataset, now)

    def _check_held(self, vintage: Vintage) -> None:
        version = vintage.receipt.version
        known = [known for known in self.vintages.get(vintage.partition, ()) if known.receipt.version == version]
        if not known or known[0].state is not VintageState.HELD:
            msg = f"version {version} of {vintage.partition} is not held any more; nothing was done"
            raise StaleStateError(msg)

    def restore(
        self, dataset: Dataset, vintages: Iterable[Vintage], head: str, unnamed: Collection[str], now: datetime
    ) -> None:
        """Take vintages in as they were, with the head; refuse where some are known."""
        if any(partition.dataset == dataset.name for partition in self.vintages):
            raise StaleStateError(KNOWN_ALREADY.format(dataset.name))
        for vintage in sorted(vintages, key=lambda vintage: vintage.receipt.version):
            self.vintages[vintage.partition] = (*self.vintages.get(vintage.partition, ()), vintage)
        self.note_unnamed(unnamed, dataset.name, now)
        self.heads[dataset.name] = head

    def alter(self, vintage: Vintage) -> None:
        """Put a vintage in place of the one of the same version."""
        partition, version = vintage.partition, vintage.receipt.version
        self.vintages[partition] = tuple(
            vintage if known.receipt.version == version else known for known in self.vintages[partition]
        )

    def relocate(self, receipts: Iterable[Receipt], now: datetime) -> None:
        """Note that vintages lie in other objects now. Objects that no vintage names any more may go in time."""
        for receipt in receipts:
            for known in self.vintages[receipt.partition]:
                if known.receipt.version == receipt.version:
                    self.alter(replace(known, receipt=receipt))
                    self.note_unnamed([known.receipt.path], receipt.partition.dataset, now)

    def note_unnamed(self, paths: Iterable[str], dataset: str, now: datetime) -> None:
        """Note, of these objects, those that no vintage names from now on."""
        named = self.named()
        for path in paths:
            if path not in named:
                self.unnamed.setdefault(path, (dataset, now))

    def named(self) -> set[str]:
        """The objects that kept vintages name."""
        return {
            vintage.receipt.path
            for vintages in self.vintages.values()
            for vintage in vintages
            if vintage.state in {VintageState.PUBLISHED, VintageState.HELD}
        }

    def expire(self, vintage: Vintage) -> None:
        """Mark a vintage that was superseded as expired."""
        for known in self.vintages.get(vintage.partition, ()):
            superseded = known.superseded_at is not None and known.state is VintageState.PUBLISHED
            if superseded and known.receipt.version == vintage.receipt.version:
                self.alter(replace(known, state=VintageState.EXPIRED))

    def record(self, act: Act, now: datetime) -> None:
        """Append to the audit log."""
        self.audit.append(replace(act, at=now, actor=client_name(), client=client_name()))

    def keep(self, partition: Partition, until: date | None) -> None:
        """Have rotation leave a hot day alone for longer; a later day that was said earlier stays."""
        day = self.hot.get(partition)
        if day and until and (day.until is None or day.until < until):
            self.hot[partition] = replace(day, until=until)

    def note_trouble(self, act: str, failed: Iterable[Failed], run_id: str, now: datetime) -> None:
        """Count a failure of each, with its reason."""
        for each in failed:
            known = self.trouble.get((each.partition, act))
            times, first_at = (known.times + 1, known.first_at) if known else (1, now)
            self.trouble[each.partition, act] = Trouble(each.partition, act, each.reason, run_id, times, first_at, now)

    def end_trouble(self, act: str, partitions: Iterable[Partition]) -> None:
        """The act succeeded for these, or they need it no more."""
        for partition in partitions:
            self.trouble.pop((partition, act), None)

    def reject(self, rejected: Sequence[Rejected], run_id: str, now: datetime) -> None:
        """Keep rows that may not go in; the same row of the same origin with the same reason once."""
        known = {_identity(each.row) for each in self.quarantine.values()} if rejected else set()
        number = max(self.quarantine, default=0)
        for row in rejected:
            if _identity(row) not in known:
                known.add(_identity(row))
                number += 1
                self.quarantine[number] = Quarantined(number, row, QuarantineState.KEPT, now, run_id)

    def judge(self, verdict: Verdict, run_id: str, now: datetime) -> None:
        """Say of kept rows what becomes of them."""
        ids = set(verdict.ids)
        kept = {
            number
            for number in ids
            if (each := self.quarantine.get(number))
            and each.state is QuarantineState.KEPT
            and each.row.dataset == verdict.dataset.name
        }
        if kept != ids:
            raise StaleStateError(judged_meanwhile(len(ids - kept)))
        for number in ids:
            self.quarantine[number] = replace(
                self.quarantine[number],
                state=verdict.state,
                judged_at=now,
                judged_by=client_name(),
                judged_run=run_id,
                why=verdict.why,
            )
        self.record(Act(verdict.act_name, None, run_id, verdict.detail), now)

    def accepts(self, partition: Partition, may_start: Collection[Partition]) -> bool:
        """Whether the day takes rows in hot: it is hot, or it may become so because nothing of it is cold."""
        if partition in self.hot:
            return True
        return partition in may_start and self.live_of(partition) is None and partition not in self.late

    def put(self, dataset: Dataset, partition: Partition, rows: pa.Table, version: int) -> Day:
        """Bring rows into a day, which is hot from then on, and its late rows with them."""
        day = self.hot.get(partition)
        merged_rows = merged(day.rows, rows, dataset) if day else newest(rows, dataset)
        if late := self.late.pop(partition, ()):
            merged_rows = merged(merged_rows, newest(pa.concat_tables(late), dataset), dataset)
        self.hot[partition] = Day(max(version, day.version if day else 0), merged_rows, day.until if day else None)
        return self.hot[partition]


def _identity(row: Rejected) -> tuple[str, ...]:
    return row.dataset, row.source, row.origin, row.record, row.reason
