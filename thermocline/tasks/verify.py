"""Verify: re-read cold partitions and hold them against their receipts."""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from thermocline.errors import ArchivedError, LakeError, LockTimeoutError
from thermocline.model.dataset import Dataset
from thermocline.model.partition import ALL_DAYS, DayRange, Partition
from thermocline.model.receipt import Receipt, by_object
from thermocline.model.report import Failed
from thermocline.ports import SILENT, Hot, Lake, Progress
from thermocline.tasks.archive import disagreements, unjournaled

_THREADS = 4


@dataclass
class VerifyReport:
    """What was re-read, and what is wrong with it. Of what is `archived` no row was read."""

    verified: int = 0
    rows: int = 0
    size_bytes: int = 0
    failed: list[Failed] = field(default_factory=list)
    table: list[str] = field(default_factory=list)
    archived: list[Partition] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "verified": self.verified,
            "rows": self.rows,
            "bytes": self.size_bytes,
            "failed": [failed.document() for failed in self.failed],
            "table": self.table,
            "archived": len(self.archived),
        }


def verify(
    hot: Hot,
    lake: Lake,
    datasets: Sequence[Dataset],
    days: DayRange,
    intervals: Collection[str] = (),
    *,
    progress: Progress = SILENT,
) -> VerifyReport:
    """Read every live object of those days whole and compare bytes and rows with its receipts; nothing is changed.

    Also compares the receipts with those in the lake's journal, and the table that other engines read with the ledger.
    """
    report = VerifyReport()
    with lake.run("verify"):
        for dataset in datasets:
            verify_objects(hot, lake, dataset, days, intervals, report=report, progress=progress)
            report.table += table_problems(hot, lake, dataset)
    return report


def verify_objects(
    hot: Hot,
    lake: Lake,
    dataset: Dataset,
    days: DayRange,
    intervals: Collection[str] = (),
    *,
    report: VerifyReport,
    progress: Progress = SILENT,
) -> None:
    """Compare the objects of some days, and what the journal says of them, with the ledger; add it to the report.

    What is archived is not read; of it the journal alone is compared.
    """
    objects = by_object(vintage.receipt for vintage in hot.live(dataset, days, intervals))
    progress.begin(f"verifying {dataset.name}", sum(map(len, objects.values())))
    journal = unjournaled(lake, dataset, [receipt for receipts in objects.values() for receipt in receipts])
    archived = {each.path for each in lake.archived(r for receipts in objects.values() for r in receipts)}
    with ThreadPoolExecutor(_THREADS) as threads:
        found = threads.map(
            lambda receipts: _wrong(lake, receipts) if receipts[0].path not in archived else None, objects.values()
        )
        for (path, receipts), wrong in zip(objects.items(), found, strict=True):
            report.size_bytes += 0 if wrong is None or all(wrong) else receipts[0].size_bytes
            for receipt, differences in zip(receipts, wrong or [[]] * len(receipts), strict=True):
                progress.advance()
                reasons = [f"{path}: {'; '.join(differences)}"] if differences else []
                reasons += [journal[receipt.partition]] if receipt.partition in journal else []
                if reasons:
                    report.failed.append(Failed(receipt.partition, "; ".join(reasons)))
                    continue
                if wrong is None:
                    report.archived.append(receipt.partition)
                    continue
                report.verified += 1
                report.rows += receipt.contents.rows


def table_problems(hot: Hot, lake: Lake, dataset: Dataset) -> list[str]:
    """In words, where the table that other engines read is not what the ledger says; whatever the days."""
    if not _table_differences(hot, lake, dataset):
        return []
    # A run that is between its two commits looks the same: look again while nobody writes.
    try:
        with hot.writer(dataset):
            return _table_differences(hot, lake, dataset)
    except LockTimeoutError:
        return []


def _table_differences(hot: Hot, lake: Lake, dataset: Dataset) -> list[str]:
    named = {vintage.receipt.path for vintage in hot.live(dataset, ALL_DAYS)}
    noted = hot.head(dataset) or ""
    try:
        head, present = lake.head(dataset), lake.paths(dataset)
    except LakeError as error:
        return [str(error)]
    remedy = "the next rotation of the dataset puts that right, or a backfill with --repair"
    table = f"the Iceberg table of {dataset.name}"
    problems = []
    if missing := sorted(named - present):
        problems.append(f"{table} lacks {len(missing)} objects, such as {missing[0]}; {remedy}")
    if beyond := sorted(present - named):
        problems.append(
            f"{table} names {len(beyond)} objects that are not live, such as {beyond[0]}; other engines read rows that "
            f"are no more; {remedy}"
        )
    if head != noted:
        problems.append(
            f"{table} is at snapshot {head or 'nothing'}, the ledger noted {noted or 'nothing'}: its pointer was moved "
            f"by something else, or a run died; {remedy}"
        )
    return problems


def _wrong(lake: Lake, receipts: Sequence[Receipt]) -> list[list[str]] | None:
    """For each of the receipts of one object, which is read once, what is wrong with it; None where it is archived."""
    try:
        return [disagreements(*both) for both in zip(receipts, lake.observe(*receipts), strict=True)]
    except ArchivedError:
        return None
    except LakeError as error:
        return [[str(error)] for _ in receipts]
