"""`expiry`: what is kept no longer: versions whose time is over, old snapshots, objects that nothing names any more."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic

import dagster as dg
from pydantic import Field

from assets import compaction
from assets.days import today
from assets.progress import LoggedProgress
from assets.report import LISTED_PARTITIONS, Metadata, bars, table
from thermocline.model.datasets import DATASETS, dataset_named
from thermocline.ports import Hot, Lake
from thermocline.settings import Settings
from thermocline.tasks.expire import Expired, Expiry
from thermocline.tasks.schemas import applied

KEY = dg.AssetKey("expiry")
GROUP = compaction.GROUP


class ExpiryConfig(dg.Config):
    """What goes. How long anything is kept, the settings say."""

    dry_run: bool = Field(default=False, description="Show what would go; delete nothing.")
    datasets: list[str] = Field(default=[], description="Of these datasets; empty: of all.")
    grace_hours: int | None = Field(
        default=None,
        ge=1,
        description="How long an object must have been without a name; longer than the longest query. Empty: as the "
        "settings say.",
    )


def expiry_asset() -> dg.AssetsDefinition:
    """The asset. It comes after compaction, which leaves the objects behind that it brought together."""

    @dg.asset(
        key=KEY,
        deps=[compaction.KEY],
        description="Objects that no kept version names are deleted once their grace is over, with old snapshots of "
        "the tables and versions that are kept no longer. A kept version never loses its object.",
        group_name=GROUP,
        kinds={"parquet"},
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool="hot",
    )
    def expiry(
        context: dg.AssetExecutionContext,
        *,
        config: ExpiryConfig,
        hot: dg.ResourceParam[Hot],
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
    ) -> dg.MaterializeResult[None]:
        began = monotonic()
        own = settings.storage.lifecycle
        chosen = applied(hot, [dataset_named(name) for name in config.datasets] or list(DATASETS.values()))
        expiry = Expiry(
            hot,
            lake,
            today(settings),
            datetime.now(UTC),
            own.keep_vintages_days,
            timedelta(hours=config.grace_hours or own.object_grace_hours),
            LoggedProgress(context.log),
        )
        done = expiry.plan(chosen) if config.dry_run else expiry.run(chosen, run_id=context.run.run_id)
        return dg.MaterializeResult(metadata=_metadata(done, monotonic() - began, dry_run=config.dry_run))

    return expiry


def _metadata(done: Sequence[Expired], seconds: float, *, dry_run: bool) -> Metadata:
    gone = [idle.document() for each in done for idle in each.deleted]
    strange = [idle.document() for each in done for idle in each.unaccounted]
    return {
        "would delete" if dry_run else "deleted": dg.MetadataValue.int(len(gone)),
        "bytes": dg.MetadataValue.int(sum(each.deleted_bytes for each in done)),
        "waiting": dg.MetadataValue.int(sum(len(each.waiting) for each in done)),
        "unaccounted": dg.MetadataValue.int(len(strange)),
        "versions": dg.MetadataValue.int(sum(len(each.vintages) for each in done)),
        "snapshots": dg.MetadataValue.int(sum(len(each.snapshots) for each in done)),
        "seconds": dg.MetadataValue.float(round(seconds, 3)),
        "preview": dg.MetadataValue.md(table(gone[:LISTED_PARTITIONS])),
        "unaccounted for": dg.MetadataValue.md(table(strange[:LISTED_PARTITIONS])),
        "plot": bars("bytes a dataset", {each.dataset: each.deleted_bytes for each in done if each.deleted}),
    }
