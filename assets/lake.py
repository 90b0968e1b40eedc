"""`lake/<dataset>`: the cold lake, filled by backfill; a partition is a UTC day."""

from collections.abc import Mapping, Sequence

import dagster as dg
from pydantic import Field

from assets.fetching import FetchConfig, fetch_days
from assets.report import definition_metadata
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import DATASETS
from thermocline.model.partition import parse_interval
from thermocline.ports import Analytics, Calendars, Hot, Lake, SourceFactory, SpoolFactory
from thermocline.settings import Settings

GROUP = "lake"


class BackfillConfig(FetchConfig):
    """What a backfill fetches, and from where."""

    source: str = Field(
        default="sample",
        description="Where rows come from: `sample` (real daily bars 2000 to 2013), `lean`, `files`, `synthetic`, or a "
        "name under `sources:` in thermocline.yaml.",
    )
    symbols: list[str] = Field(default=[], description="Only these symbols; empty: all that the source has.")
    intervals: list[str] = Field(
        default=[], description="Only these bar sizes, such as `1min` or `1day`; empty: all that the source has."
    )


def lake_key(dataset: Dataset) -> dg.AssetKey:
    """The asset key of a dataset in the lake."""
    return dg.AssetKey(["lake", dataset.name])


def lake_assets(
    days: dg.DailyPartitionsDefinition, upstream: Mapping[str, Sequence[dg.AssetKey]]
) -> list[dg.AssetsDefinition]:
    """An asset for each dataset; `upstream` are those whose rows land in it too, by the dataset's name."""
    return [_lake_asset(dataset, days, upstream.get(dataset.name, ())) for dataset in DATASETS.values()]


def _lake_asset(
    dataset: Dataset, days: dg.DailyPartitionsDefinition, upstream: Sequence[dg.AssetKey]
) -> dg.AssetsDefinition:
    @dg.asset(
        key=lake_key(dataset),
        deps=upstream,
        description=f"{dataset.description}, in the cold lake. Days that say nothing new are not written again.",
        group_name=GROUP,
        kinds={"parquet", "iceberg"},
        metadata=definition_metadata(dataset),
        partitions_def=days,
        # A range is one run of one backfill; events tell Dagster of each day.
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool="hot",
    )
    def lake_asset(
        context: dg.AssetExecutionContext,
        *,
        config: BackfillConfig,
        sources: dg.ResourceParam[SourceFactory],
        hot: dg.ResourceParam[Hot],
        lake: dg.ResourceParam[Lake],
        spools: dg.ResourceParam[SpoolFactory],
        analytics: dg.ResourceParam[Analytics],
        calendars: dg.ResourceParam[Calendars],
        settings: dg.ResourceParam[Settings],
    ) -> dg.MaterializeResult[None]:
        return fetch_days(
            context,
            days,
            dataset,
            config,
            source=sources(config.source, path=config.path),
            symbols=frozenset(config.symbols),
            intervals=frozenset(map(parse_interval, config.intervals)),
            hot=hot,
            lake=lake,
            spools=spools,
            analytics=analytics,
            calendars=calendars,
            settings=settings,
        )

    return lake_asset
