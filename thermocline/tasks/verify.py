"""Verify: re-read cold partitions and hold them against their receipts."""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from thermocline.errors import BrokenTableError, LakeError
from thermocline.model.dataset import Dataset
from thermocline.model.partition import DayRange
from thermocline.model.receipt import Receipt, by_object
from thermocline.model.report import Failed
from thermocline.ports import SILENT, Hot, Lake, Progress
from thermocline.tasks.archive import disagreements

_THREADS = 4


@dataclass
class VerifyReport:
    """What was re-read, and what is wrong with it."""

    verified: int = 0
    rows: int = 0
    size_bytes: int = 0
    failed: list[Failed] = field(default_factory=list)
    table: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "verified": self.verified,
            "rows": self.rows,
            "bytes": self.size_bytes,
            "failed": [failed.document() for failed in self.failed],
            "table": self.table,
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

    Also compares the table that other engines read with the ledger.
    """
    report = VerifyReport()
    for dataset in datasets:
        objects = by_object(vintage.receipt for vintage in hot.live(dataset, days, intervals))
        progress.begin(f"verifying {dataset.name}", sum(map(len, objects.values())))
        with ThreadPoolExecutor(_THREADS) as threads:
            found = threads.map(lambda receipts: _wrong(lake, receipts), objects.values())
            for (path, receipts), wrong in zip(objects.items(), found, strict=True):
                report.size_bytes += 0 if all(wrong) else receipts[0].size_bytes
                for receipt, differences in zip(receipts, wrong, strict=True):
                    progress.advance()
                    if differences:
                        report.failed.append(Failed(receipt.partition, f"{path}: {'; '.join(differences)}"))
                        continue
                    report.verified += 1
                    report.rows += receipt.contents.rows
        report.table += _table_lacks(lake, dataset, objects)
    return report


def _table_lacks(lake: Lake, dataset: Dataset, paths: Collection[str]) -> list[str]:
    """What is wrong with the table that other engines read."""
    try:
        missing = sorted({*paths} - lake.paths(dataset))
    except BrokenTableError as error:
        return [str(error)]
    lacks = f"the Iceberg table of {dataset.name} lacks {len(missing)} objects, such as {''.join(missing[:1])}"
    return [f"{lacks}; the next backfill or rotation of the dataset puts them in"] if missing else []


def _wrong(lake: Lake, receipts: Sequence[Receipt]) -> list[list[str]]:
    """For each of the receipts of one object, which is read once, what is wrong with it."""
    try:
        return [disagreements(*both) for both in zip(receipts, lake.observe(*receipts), strict=True)]
    except LakeError as error:
        return [[str(error)] for _ in receipts]
