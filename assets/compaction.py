"""`compaction`: small objects of a closed month or year that became one; a partition is a month of rows."""

from time import monotonic

import dagster as dg
from pydantic import Field

from assets import rotation
from assets.days import day_or_today
from assets.lake import lake_key
from assets.months import log_months, months_of
from assets.progress import LoggedProgress
from assets.report import LISTED_PARTITIONS, Metadata, bars, table
from thermocline.model.datasets import DATASETS, dataset_named
from thermocline.model.storage_classes import Provider
from thermocline.ports import Hot, Lake
from thermocline.settings import Settings
from thermocline.tasks.compact import Compacted, Compaction, CompactionPlan
from thermocline.tasks.schemas import applied

KEY = dg.AssetKey("compaction")
GROUP = "storage"

_MIB = 1 << 20


class CompactionConfig(dg.Config):
    """What a compaction brings together."""

    dry_run: bool = Field(default=False, description="Show what would be brought together; write nothing.")
    earlier_months: bool = Field(
        default=False,
        description="Every month before the partition's as well, so that those that were missed are made up.",
    )
    datasets: list[str] = Field(default=[], description="Of these datasets; empty: of all.")
    target_mib: int | None = Field(
        default=None,
        ge=1,
        description="How large the objects of a year, or else of a month, may be together; empty: as the settings say.",
    )
    pay_early: bool = Field(
        default=False, description="Also where objects would be billed for their storage class for a while yet."
    )
    as_of: str = Field(default="", description="The day by which a month is closed, such as 2024-06-01; empty: today.")


def compaction_asset(months: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset. The days of a year's object belong to its months, so that materialising one may compact the year."""

    @dg.asset(
        key=KEY,
        deps=[rotation.KEY, *(lake_key(dataset) for dataset in DATASETS.values())],
        description="Small objects of a closed month or year that became one, read back and compared with the receipt "
        "of every day before anything names it. What they were goes with `expiry`.",
        group_name=GROUP,
        kinds={"parquet"},
        partitions_def=months,
        backfill_policy=dg.BackfillPolicy.single_run(),
        # No retries of the step: requests are made again by the lake, within a budget. A month that failed stays as it
        # was for the next run.
        pool="hot",
    )
    def compaction(
        context: dg.AssetExecutionContext,
        *,
        config: CompactionConfig,
        hot: dg.ResourceParam[Hot],
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
    ) -> dg.MaterializeResult[None]:
        began = monotonic()
        chosen = applied(hot, [dataset_named(name) for name in config.datasets] or list(DATASETS.values()))
        compaction = Compaction(
            hot,
            lake,
            settings.lifecycle,
            day_or_today(config.as_of, settings),
            months_of(context, months, earlier=config.earlier_months),
            target_bytes=(config.target_mib or settings.storage.lifecycle.compact_target_mib) * _MIB,
            progress=LoggedProgress(context.log),
            prices=settings.prices_at(lake.classes.provider if lake.classes else Provider.LOCAL),
            pay_early=config.pay_early,
        )
        if config.dry_run:
            return dg.MaterializeResult(metadata=_metadata(compaction.plan(chosen), monotonic() - began))
        done = compaction.run(chosen, run_id=context.run.run_id)
        metadata = _metadata(done, monotonic() - began)
        if done.failed:
            failed = "\n".join(f"{each.partition}: {each.reason}" for each in done.failed)
            msg = f"{len(done.periods)} months and years were brought together, these stay as they were:\n{failed}"
            raise dg.Failure(msg, metadata=metadata, allow_retries=False)
        days = {receipt.partition.day for period in done.periods for receipt in period.receipts}
        log_months(context, months, days, {"run": dg.MetadataValue.dagster_run(context.run.run_id)})
        return dg.MaterializeResult(metadata=metadata)

    return compaction


def _metadata(found: CompactionPlan | Compacted, seconds: float) -> Metadata:
    periods = [period.document() for period in found.periods[:LISTED_PARTITIONS]]
    left = [each.document() for each in found.left[:LISTED_PARTITIONS]]
    metadata: Metadata = {
        "brought together" if isinstance(found, Compacted) else "would bring together": dg.MetadataValue.int(
            len(found.periods)
        ),
        "left": dg.MetadataValue.int(len(found.left)),
        "objects before": dg.MetadataValue.int(sum(period.objects for period in found.periods)),
        "rows": dg.MetadataValue.int(sum(period.rows for period in found.periods)),
        "bytes before": dg.MetadataValue.int(sum(period.size_bytes for period in found.periods)),
        "seconds": dg.MetadataValue.float(round(seconds, 3)),
        "preview": dg.MetadataValue.md(table(periods)),
        "left because": dg.MetadataValue.md(table(left)),
        "plot": bars("objects that became one", {f"{each.dataset} {each}": each.objects for each in found.periods}),
    }
    if isinstance(found, Compacted):
        metadata["bytes"] = dg.MetadataValue.int(found.size_bytes)
        metadata["failed"] = dg.MetadataValue.int(len(found.failed))
    return metadata
