"""`vacuum`: PostgreSQL's dead rows and statistics, a partition a dataset; `nightly_vacuum`: after a rotation."""

from collections.abc import Sequence
from time import monotonic

import dagster as dg
from pydantic import Field

from assets import rotation
from assets.progress import LoggedProgress
from assets.report import bars, table
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import DATASETS, dataset_named
from thermocline.ports import Hot
from thermocline.tasks.vacuum import vacuum

KEY = dg.AssetKey("vacuum")
NIGHTLY_KEY = dg.AssetKey("nightly_vacuum")
GROUP = rotation.GROUP


class VacuumConfig(dg.Config):
    """Which tables are vacuumed."""

    force: bool = Field(
        default=False,
        description="Every table of the dataset; otherwise those where dead rows or missing statistics make it pay.",
    )


def vacuum_asset() -> dg.AssetsDefinition:
    """What can be vacuumed at any time, a dataset at a time."""

    # Not named as the asset, since a job of that name exists and Dagster wants one name for one thing.
    @dg.multi_asset(
        name="vacuum_tables",
        specs=[
            dg.AssetSpec(
                KEY,
                description="VACUUM (ANALYZE) of a dataset's tables, outside any transaction.",
                group_name=GROUP,
                kinds={"postgres"},
            )
        ],
        partitions_def=dg.StaticPartitionsDefinition(list(DATASETS)),
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool="hot",
    )
    def vacuum_tables(
        context: dg.AssetExecutionContext, config: VacuumConfig, hot: dg.ResourceParam[Hot]
    ) -> dg.MaterializeResult[None]:
        return _vacuumed(context, hot, [dataset_named(key) for key in context.partition_keys], force=config.force)

    return vacuum_tables


def nightly_vacuum_asset(days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """What a night reclaims, in every dataset, once its rotation is over and its checks have passed."""

    @dg.asset(
        key=NIGHTLY_KEY,
        deps=[rotation.KEY],
        description="VACUUM (ANALYZE) of what stays hot, after the night's rotation.",
        group_name=GROUP,
        kinds={"postgres"},
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool="hot",
    )
    def nightly_vacuum(
        context: dg.AssetExecutionContext, config: VacuumConfig, hot: dg.ResourceParam[Hot]
    ) -> dg.MaterializeResult[None]:
        return _vacuumed(context, hot, list(DATASETS.values()), force=config.force)

    return nightly_vacuum


def _vacuumed(
    context: dg.AssetExecutionContext, hot: Hot, datasets: Sequence[Dataset], *, force: bool
) -> dg.MaterializeResult[None]:
    began = monotonic()
    report = vacuum(hot, datasets, run_id=context.run.run_id, force=force, progress=LoggedProgress(context.log))
    document = report.document()
    return dg.MaterializeResult(
        metadata={
            "tables": len(report.tables),
            "dead rows": document["dead_rows"],
            "reclaimed bytes": report.reclaimed_bytes,
            "bytes": sum(each.bytes_after for each in report.tables),
            "seconds": round(monotonic() - began, 3),
            "preview": dg.MetadataValue.md(table(document["tables"][:50])),
            "plot": bars("bytes a table", {each.table: each.bytes_after for each in report.tables}),
        }
    )
