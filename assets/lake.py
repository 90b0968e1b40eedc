"""`lake/<dataset>`: the cold lake, filled by backfill; a partition is a UTC day."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic

import dagster as dg
from pydantic import Field

from assets.days import DayLog, days_of, today
from assets.progress import LoggedProgress
from assets.report import Metadata, definition_metadata, moved_metadata, preview, table
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import DATASETS
from thermocline.model.partition import parse_interval
from thermocline.ports import FetchRequest, Hot, Lake, SourceFactory, SpoolFactory
from thermocline.settings import Settings
from thermocline.tasks.backfill import Backfill, Backfilled
from thermocline.tasks.schemas import applied

GROUP = "lake"


class BackfillConfig(dg.Config):
    """What a backfill fetches, and from where."""

    source: str = Field(
        default="sample",
        description="Where rows come from: `sample` (real daily bars 2000 to 2013), `lean`, `files`, `synthetic`, or a "
        "name under `sources:` in thermocline.yaml.",
    )
    path: str | None = Field(
        default=None, description="Where the source's files are, a folder or a pattern, for sources that have files."
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
        settings: dg.ResourceParam[Settings],
    ) -> dg.MaterializeResult[None]:
        span = days_of(context, days)
        (known,) = applied(hot, [dataset])
        request = FetchRequest(known, span, frozenset(config.symbols), frozenset(map(parse_interval, config.intervals)))
        log = DayLog(context, span)
        began = monotonic()
        done = Backfill(
            source=sources(config.source, path=config.path),
            hot=hot,
            lake=lake,
            spool=spools,
            lifecycle=settings.lifecycle,
            as_of=today(settings),
            now=datetime.now(UTC),
            run_id=context.run.run_id,
            rulebook=settings.validation_rules.rulebook(dataset),
            progress=LoggedProgress(context.log),
            on_published=log.published,
            on_gathered=log.gathered,
        ).run(request)
        metadata = backfilled_metadata(done, monotonic() - began)
        if done.moved:
            metadata["preview"] = preview(hot, lake, known, done.moved[-1].partition.day)
        return log.result(metadata)

    return lake_asset


def backfilled_metadata(done: Backfilled, seconds: float) -> Metadata:
    """What a backfill did, for a materialisation."""
    return moved_metadata(done.moved, seconds) | {
        "written": dg.MetadataValue.int(done.written),
        "unchanged": dg.MetadataValue.int(done.unchanged),
        "merged into hot": dg.MetadataValue.int(done.merged_hot),
        "duplicates": dg.MetadataValue.int(done.duplicates),
        "held": dg.MetadataValue.int(done.held),
        "quarantined rows": dg.MetadataValue.int(done.rejected),
        "rows by broken rule": dg.MetadataValue.md(table(_broken_rules(done))),
    }


def _broken_rules(done: Backfilled) -> list[dict[str, object]]:
    """A line for each rule that rows broke, with how many went to quarantine, in with a warning, or in without that value."""
    made = done.verdicts
    rules = dict.fromkeys([*made.rejected_by, *made.warned_by, *made.cleared_by])
    return [
        {
            "rule": rule,
            "quarantined": made.rejected_by[rule],
            "warned of": made.warned_by[rule],
            "cleared": made.cleared_by[rule],
        }
        for rule in rules
    ]
