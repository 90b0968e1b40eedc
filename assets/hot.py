"""`hot/<dataset>`: the last days in PostgreSQL, loaded from the lake; a partition is the day that a load looks from."""

from time import monotonic

import dagster as dg
from pydantic import Field

from assets.days import as_of
from assets.lake import lake_key
from assets.progress import LoggedProgress
from assets.report import definition_metadata, moved_metadata, partitions_table, preview
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import DATASETS, dataset_named
from thermocline.ports import Hot, Lake
from thermocline.settings import Settings
from thermocline.tasks.load import load
from thermocline.tasks.schemas import applied

GROUP = "hot"


class LoadConfig(dg.Config):
    """How much of the lake comes to hot."""

    hot_days: int | None = Field(
        default=None,
        ge=1,
        description="How many days before the partition's day are loaded; empty: as the settings say.",
    )


def hot_key(dataset: Dataset) -> dg.AssetKey:
    """The asset key of a dataset in PostgreSQL."""
    return dg.AssetKey(["hot", dataset.name])


def hot_assets(days: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """An asset for each dataset."""
    return [_hot_asset(dataset, days) for dataset in DATASETS.values()]


def _hot_asset(dataset: Dataset, days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(
        key=hot_key(dataset),
        deps=[lake_key(dataset)],
        description=f"{dataset.description}, the last days of it in PostgreSQL. Days that are there are left alone.",
        group_name=GROUP,
        kinds={"postgres"},
        metadata=definition_metadata(dataset),
        partitions_def=days,
        # Loading as of the last day of a range loads what the others would.
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool="hot",
    )
    def hot_asset(
        context: dg.AssetExecutionContext,
        *,
        config: LoadConfig,
        hot: dg.ResourceParam[Hot],
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
    ) -> dg.MaterializeResult[None]:
        began = monotonic()
        done = load(
            hot,
            lake,
            applied(hot, [dataset]),
            settings.lifecycle.with_hot_days(config.hot_days),
            as_of=as_of(context, days),
            run_id=context.run.run_id,
            progress=LoggedProgress(context.log),
        )
        metadata = moved_metadata(done.moved, monotonic() - began)
        metadata["unchanged"] = dg.MetadataValue.int(done.unchanged)
        metadata["loaded"] = partitions_table(done.moved)
        if done.moved:
            metadata["preview"] = preview(hot, lake, dataset_named(dataset.name), done.moved[-1].partition.day)
        return dg.MaterializeResult(metadata=metadata)

    return hot_asset
