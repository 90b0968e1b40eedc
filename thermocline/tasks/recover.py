"""Recover: make catalog and ledger anew from the lake, or the table anew from the ledger.

Where the hot database is lost, for each dataset while its writer is held:

1. find the newest version of the table that can be read, and what the journal says became of vintages;
2. work out from both which vintages there were and which were live (`model/recovery.py` says how);
3. read what is doubtful, and take it in where it verifies and lacks no key of what it stands in for;
4. look whether every object is there, as large as its receipt says (with `verify`: read them all);
5. bring the table into line: register what was found, commit the difference;
6. fill the ledger in one transaction.

Until 6 the ledger is empty, so a recovery that dies is simply run again. Where the ledger is alive and only the table
is broken, the newest version that can be read is registered and made to name what the ledger calls live.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from thermocline.errors import LakeError, ThermoclineError
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import dataset_named
from thermocline.model.journal import Event, entries_of
from thermocline.model.partition import ALL_DAYS
from thermocline.model.receipt import Receipt, Vintage, VintageState, by_object
from thermocline.model.recovery import Doubtful, Rebuilt, TableVersion
from thermocline.model.report import Failed, Moved
from thermocline.ports import SILENT, Act, Hot, Lake, Progress, Writer
from thermocline.tasks.archive import disagreements, note_head, settle, trusted
from thermocline.tasks.schemas import recover_schemas

if TYPE_CHECKING:
    import pyarrow as pa

_THREADS = 8


class Outcome(StrEnum):
    """What there was to do for a dataset."""

    REBUILT = "rebuilt"  # its ledger was empty
    TABLE = "table"  # its ledger is alive, its table was broken
    INTACT = "intact"
    EMPTY = "empty"  # the lake holds nothing of it
    FAILED = "failed"


@dataclass
class DatasetRecovery:
    """What became of one dataset.

    `adopted` are vintages that nothing proves to have been live; `left` are such as were not taken, with the reason;
    `missing` are vintages whose object is gone, damaged or not what its receipt says; `unread` are files of the
    journal, and objects of which there is no receipt, that can't be read.
    """

    dataset: str
    outcome: Outcome = Outcome.EMPTY
    days: int = 0
    rows: int = 0
    vintages: int = 0
    held: int = 0
    table: str = ""
    adopted: list[Moved] = field(default_factory=list)
    left: list[Failed] = field(default_factory=list)
    missing: list[Failed] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return not (self.missing or self.unread or self.error)

    def count(self, vintages: Sequence[Vintage]) -> None:
        """Say how much there is."""
        live = [vintage.receipt for vintage in vintages if vintage.is_live]
        self.days, self.rows = len(live), sum(receipt.contents.rows for receipt in live)
        self.vintages = len(vintages)
        self.held = sum(vintage.state is VintageState.HELD for vintage in vintages)

    def document(self) -> dict[str, Any]:
        """The dataset as JSON."""
        return {
            "dataset": self.dataset,
            "outcome": self.outcome.value,
            "days": self.days,
            "rows": self.rows,
            "vintages": self.vintages,
            "held": self.held,
            "table": self.table,
            "adopted": [moved.document() for moved in self.adopted],
            "left": [failed.document() for failed in self.left],
            "missing": [failed.document() for failed in self.missing],
            "unread": self.unread,
            "error": self.error,
        }


@dataclass
class Recovered:
    """What a recovery did, or would do."""

    run_id: str
    datasets: list[DatasetRecovery] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing anywhere."""
        return all(each.is_whole for each in self.datasets)

    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "run_id": self.run_id,
            "whole": self.is_whole,
            "datasets": [each.document() for each in self.datasets],
        }


@dataclass(frozen=True)
class Recovery:
    """The parts of one recovery. With `dry_run` nothing is changed; with `verify` every object is read whole."""

    hot: Hot
    lake: Lake
    run_id: str
    dry_run: bool = False
    verify: bool = False
    progress: Progress = SILENT

    def run(self, datasets: Sequence[Dataset]) -> Recovered:
        """Recover each dataset; what one can't do does not stop the next.

        What was in PostgreSQL alone (hot rows that were never rotated, late rows, the quarantine, the audit log) is
        not in the lake and can't come back from it.
        """
        result = Recovered(self.run_id)
        with self.lake.run(self.run_id):
            for dataset in datasets:
                report = DatasetRecovery(dataset.name)
                result.datasets.append(report)
                try:
                    found = dataset if self.dry_run else self._as_noted(dataset, report)
                    with self.hot.writer(found) as writer:
                        _Dataset(self, found, writer, report).recover()
                except ThermoclineError as error:
                    report.outcome, report.error = Outcome.FAILED, str(error)
        return result

    def _as_noted(self, dataset: Dataset, report: DatasetRecovery) -> Dataset:
        """The dataset with the columns that the lake notes, where its ledger knows of no vintage."""
        if self.hot.vintages(dataset, ALL_DAYS):
            return dataset
        try:
            return recover_schemas(self.hot, self.lake, dataset, run_id=self.run_id)
        except LakeError as error:  # what is declared may do; rows come before columns
            report.unread.append(str(error))
            return dataset


@dataclass(frozen=True)
class _Dataset:
    """One dataset, while its writer is held."""

    parts: Recovery
    dataset: Dataset
    writer: Writer
    report: DatasetRecovery

    def recover(self) -> None:
        """See what is broken, and make it good."""
        lake, report = self.parts.lake, self.report
        known = self.parts.hot.vintages(self.dataset, ALL_DAYS)
        table = lake.newest(self.dataset)
        if not known and not lake.holds(self.dataset):
            return
        report.table = _described(table)
        if not known:
            report.outcome = Outcome.REBUILT
            self._rebuild(table)
            return
        report.count(known)
        if table and table.is_registered:
            report.outcome = Outcome.INTACT
            return
        report.outcome = Outcome.TABLE
        self._check(known)
        if not self.parts.dry_run:
            head = self._table_in_line(table, [vintage.receipt for vintage in known if vintage.is_live])
            note_head(self.writer, self.dataset, head, run_id=self.parts.run_id)
            detail = {"dataset": self.dataset.name, "table": report.table}
            self.parts.hot.record(Act("recover", None, self.parts.run_id, detail))

    def _rebuild(self, table: TableVersion | None) -> None:
        lake, report, run_id = self.parts.lake, self.report, self.parts.run_id
        journal = lake.journal(self.dataset)
        rebuilt = Rebuilt(journal.entries, table)
        report.unread += journal.unreadable
        identified = self._identify(rebuilt, table)
        for doubtful in rebuilt.doubtful:
            self._adopt(rebuilt, doubtful)
        vintages = rebuilt.vintages
        report.count(vintages)
        self._check(vintages)
        if not (vintages or table):
            report.unread.append(
                f"{lake.url} has neither a table nor a journal of {self.dataset.name} that can be read; objects alone "
                "don't tell which of them were live. Backfill them from source `files`"
            )
        if self.parts.dry_run:
            return
        if identified and table:
            at = table.at
            lake.note(self.dataset, entries_of(Event.SETTLE, identified, at=at, run_id=run_id))
        live = rebuilt.live
        self._merge_into_hot(live)
        head = self._table_in_line(table, [vintage.receipt for vintage in live])
        self.writer.restore(vintages, head, unnamed=rebuilt.unnamed, run_id=run_id)
        # Until the ledger knew these days, live ingest could begin one of them; from now on it can't.
        self._merge_into_hot(live)

    def _identify(self, rebuilt: Rebuilt, table: TableVersion | None) -> list[Receipt]:
        """Read the objects of the table that no receipt speaks of."""
        found: list[Receipt] = []
        if table is None:
            return found
        self.parts.progress.begin(f"reading {self.dataset.name}", len(rebuilt.unknown))
        for path in rebuilt.unknown:
            try:
                receipts = self.parts.lake.identify(self.dataset, path, run_id=self.parts.run_id)
            except ThermoclineError as error:
                self.report.unread.append(f"{path} is live and has no receipt: {error}")
                continue
            rebuilt.add(receipts, table.at)
            found += receipts
            self.parts.progress.advance()
        return found

    def _adopt(self, rebuilt: Rebuilt, doubtful: Doubtful) -> None:
        """Take a doubtful object for live where it is what its receipts say and lacks nothing that is live."""
        new = [entry for entry in doubtful.entries if entry.event is Event.PUBLISH]
        try:
            wrong = _wrong(self.parts.lake, doubtful.receipts)
            for entry in () if wrong else new:
                live = rebuilt.live_of(entry.partition)
                if live and entry.receipt and (lost := _keys_lost(self.parts.lake, live.receipt, entry.receipt)):
                    wrong = f"it lacks {lost:,d} rows of version {live.receipt.version}, which stays live"
        except LakeError as error:
            wrong = str(error)
        if wrong:
            path = doubtful.receipts[0].path
            self.report.left += [Failed(entry.partition, f"{path}: {wrong}") for entry in new]
            return
        rebuilt.adopt(doubtful)
        for entry in new:
            if receipt := entry.receipt:
                moved = Moved(entry.partition, "adopt", receipt.contents.rows, receipt.size_bytes, receipt.path)
                self.report.adopted.append(moved)

    def _check(self, vintages: Sequence[Vintage]) -> None:
        """Name vintages whose object is not there, or is not what it was. They stay what they are."""
        kept = {VintageState.PUBLISHED, VintageState.HELD}
        objects = by_object(vintage.receipt for vintage in vintages if vintage.state in kept)
        self.parts.progress.begin(f"looking at {self.dataset.name}", len(objects))
        look = _wrong if self.parts.verify else _wrong_size
        with ThreadPoolExecutor(_THREADS) as threads:
            found = threads.map(lambda receipts: look(self.parts.lake, receipts), objects.values())
            for receipts, wrong in zip(objects.values(), found, strict=True):
                self.parts.progress.advance()
                if wrong:
                    path = receipts[0].path
                    self.report.missing += [Failed(receipt.partition, f"{path}: {wrong}") for receipt in receipts]

    def _merge_into_hot(self, live: Sequence[Vintage]) -> None:
        """Bring cold rows into days that live ingest has begun in the new database: a hot day must be complete."""
        begun = {day.partition: day.version for day in self.parts.hot.hot_days(self.dataset)}
        for vintage in live:
            lacks = begun.get(vintage.partition, vintage.receipt.version) < vintage.receipt.version
            if lacks and self.parts.lake.size_bytes(vintage.receipt.path) is not None:
                self.writer.load(vintage, trusted(self.parts.lake, vintage.receipt), run_id=self.parts.run_id)

    def _table_in_line(self, table: TableVersion | None, live: Sequence[Receipt]) -> str:
        """Register the table and make it name what is live. A table can't name an object that is not there."""
        lake = self.parts.lake
        head = table.head if table and table.is_registered else lake.register(self.dataset, table)
        present = [receipt for receipt in live if lake.size_bytes(receipt.path) is not None]
        return settle(lake, self.dataset, present, head, run_id=self.parts.run_id)


def _described(table: TableVersion | None) -> str:
    if table is None:
        return "no version of it can be read; a new one is made"
    which = "the one that the catalog names" if table.is_registered else (table.location or "of a lake that was moved")
    return f"{which}, as of {table.at:%Y-%m-%d %H:%M:%S} UTC"


def _wrong_size(lake: Lake, receipts: Sequence[Receipt]) -> str:
    """Whether an object is missing, or has another size than its receipts say."""
    expected, size = receipts[0].size_bytes, lake.size_bytes(receipts[0].path)
    if size is None:
        return "it is missing"
    return "" if size == expected else f"it has {size:,d} bytes instead of {expected:,d}"


def _wrong(lake: Lake, receipts: Sequence[Receipt]) -> str:
    """What is wrong with an object, read whole."""
    try:
        observed = lake.observe(*receipts)
    except LakeError as error:
        return str(error)
    pairs = zip(receipts, observed, strict=True)
    return "; ".join(dict.fromkeys(each for receipt, found in pairs for each in disagreements(receipt, found)))


def _keys_lost(lake: Lake, old: Receipt, new: Receipt) -> int:
    """How many rows of one vintage have no row of their key in another."""
    dataset = dataset_named(old.partition.dataset)
    return len(
        _keys(dataset, lake.read(old)).join(_keys(dataset, lake.read(new)), list(dataset.key), join_type="left anti")
    )


def _keys(dataset: Dataset, batches: "Iterable[pa.RecordBatch]") -> "pa.Table":
    import pyarrow as pa  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it

    empty = dataset.arrow_schema.empty_table().select(list(dataset.key))
    return pa.concat_tables([empty, *(pa.table(batch.select(list(dataset.key))) for batch in batches)])
