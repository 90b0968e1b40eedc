"""Asset checks, partitioned by day as their assets are. A blocking one stops what comes after it in the same run."""

import dagster as dg

from assets.days import days_of
from assets.lake import lake_key
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import DATASETS
from thermocline.ports import Hot, Lake
from thermocline.tasks.schemas import applied
from thermocline.tasks.verify import VerifyReport, verify

READS_BACK = "reads_back"


def day_check(
    name: str, asset: dg.AssetKey, days: dg.DailyPartitionsDefinition, description: str, *, blocking: bool = True
) -> dg.AssetCheckSpec:
    """A check that has a result for each day."""
    return dg.AssetCheckSpec(name, asset=asset, description=description, blocking=blocking, partitions_def=days)


def lake_checks(days: dg.DailyPartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """For each dataset a check that re-reads a day's objects; hot loads and rotations in the same run wait for it."""
    return [_lake_check(dataset, days) for dataset in DATASETS.values()]


def _lake_check(dataset: Dataset, days: dg.DailyPartitionsDefinition) -> dg.AssetChecksDefinition:
    spec = day_check(
        READS_BACK, lake_key(dataset), days, "Every live object of the day is read whole and is what its receipt says."
    )

    @dg.multi_asset_check(name=f"{dataset.name}_{READS_BACK}", specs=[spec])
    def lake_check(
        context: dg.AssetCheckExecutionContext, hot: dg.ResourceParam[Hot], lake: dg.ResourceParam[Lake]
    ) -> dg.AssetCheckResult:
        report = verify(hot, lake, applied(hot, [dataset]), days_of(context, days))
        return verified(report)

    return lake_check


def verified(report: VerifyReport, name: str | None = None) -> dg.AssetCheckResult:
    """The result of re-reading objects. What the Iceberg table lacks is shown, but is fine: the next act mends it."""
    wrong = [f"{failed.partition}: {failed.reason}" for failed in report.failed]
    return dg.AssetCheckResult(
        passed=not wrong,
        check_name=name,
        description="\n".join(wrong) or f"{report.verified} objects read back",
        metadata={
            "objects": report.verified,
            "rows": report.rows,
            "bytes": report.size_bytes,
            "archived": len(report.archived),
            "table": "\n".join(report.table),
        },
    )
