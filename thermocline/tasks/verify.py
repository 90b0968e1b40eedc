"""Verify: re-read cold partitions and hold them against their receipts."""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from thermocline.errors import LakeError
from thermocline.model.dataset import Dataset
from thermocline.model.partition import DayRange
from thermocline.model.receipt import Vintage
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
    """Read every live object of those days whole and compare bytes and rows with its receipt; nothing is changed.

    Also compares the table that other engines read with the ledger.
    """
    report = VerifyReport()
    for dataset in datasets:
        vintages = hot.live(dataset, days, intervals)
        progress.begin(f"verifying {dataset.name}", len(vintages))
        with ThreadPoolExecutor(_THREADS) as threads:
            for vintage, wrong in zip(vintages, threads.map(lambda v: _wrong(lake, v), vintages), strict=True):
                progress.advance()
                if wrong:
                    report.failed.append(Failed(vintage.partition, f"{vintage.receipt.path}: {'; '.join(wrong)}"))
                    continue
                report.verified += 1
                report.rows += vintage.receipt.contents.rows
                report.size_bytes += vintage.receipt.size_bytes
        named = {vintage.receipt.path for vintage in vintages}
        if missing := sorted(named - lake.paths(dataset)):
            report.table.append(
                f"the Iceberg table of {dataset.name} lacks {len(missing)} objects, such as {missing[0]}; the next "
                "backfill or rotation of the dataset puts them in"
            )
    return report


def _wrong(lake: Lake, vintage: Vintage) -> list[str]:
    try:
        return disagreements(vintage.receipt, lake.observe(vintage.receipt)[0])
    except LakeError as error:
        return [str(error)]
