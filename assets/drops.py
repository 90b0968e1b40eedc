"""`dropped_files`: files of drop folders, taken in one a run; rows land in lake/<dataset>."""

from datetime import UTC, datetime
from time import monotonic

import dagster as dg
from pydantic import Field

from assets.days import LandingLog, today
from assets.feeds import GROUP
from assets.fetching import backfilled_metadata
from assets.lake import lake_key
from assets.progress import LoggedProgress
from assets.report import preview
from thermocline.model.datasets import dataset_named
from thermocline.ports import DropFactory, Hot, Lake, SourceFactory, SpoolFactory
from thermocline.settings import Settings
from thermocline.tasks.backfill import Backfill
from thermocline.tasks.drops import take
from thermocline.tasks.schemas import applied

KEY = dg.AssetKey("dropped_files")


class DroppedFileConfig(dg.Config):
    """Which file is taken in."""

    drop: str = Field(description="The drop folder, by its name under `drops` in thermocline.yaml.")
    name: str = Field(description="The file's name in the folder.")
    mark: str = Field(
        default="",
        description="What the sensor saw of its size and age; a file that changed since is left alone.",
    )


def drop_asset(days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset; `days` are those of the lake, where the rows land."""

    @dg.asset(
        key=KEY,
        description="A file that was put into a drop folder: its rows are backfilled, then it is put away.",
        group_name=GROUP,
        kinds={"files"},
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool="hot",
    )
    def dropped_files(
        context: dg.AssetExecutionContext,
        *,
        config: DroppedFileConfig,
        drops: dg.ResourceParam[DropFactory],
        sources: dg.ResourceParam[SourceFactory],
        hot: dg.ResourceParam[Hot],
        lake: dg.ResourceParam[Lake],
        spools: dg.ResourceParam[SpoolFactory],
        settings: dg.ResourceParam[Settings],
    ) -> dg.MaterializeResult[None]:
        began = monotonic()
        folder = drops(config.drop)
        (dataset,) = applied(hot, [dataset_named(folder.dataset)])
        file = folder.find(config.name)
        backfill = Backfill(
            source=sources(folder.source, path=file.path if file else config.name),
            hot=hot,
            lake=lake,
            spool=spools,
            lifecycle=settings.lifecycle,
            as_of=today(settings),
            now=datetime.now(UTC),
            run_id=context.run.run_id,
            rulebook=settings.validation_rules.rulebook(dataset),
            progress=LoggedProgress(context.log),
            on_published=LandingLog(context, lake_key(dataset), days).published,
        )
        taken = take(folder, config.name, backfill, mark=config.mark)
        own = {
            "drop": dg.MetadataValue.text(config.drop),
            "dataset": dg.MetadataValue.text(dataset.name),
            "file": dg.MetadataValue.text(config.name),
            "now at": dg.MetadataValue.text(taken.path),
            "left alone": dg.MetadataValue.text(taken.why),
        }
        if taken.backfilled is None:
            return dg.MaterializeResult(metadata=own)
        metadata = own | backfilled_metadata(taken.backfilled, monotonic() - began)
        if taken.backfilled.moved:
            metadata["preview"] = preview(hot, lake, dataset, taken.backfilled.moved[-1].partition.day)
        return dg.MaterializeResult(metadata=metadata)

    return dropped_files
