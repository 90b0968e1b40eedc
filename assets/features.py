"""`derived/features`: indicators, derived from bars for the days that are due; rows land in lake/features.

It has no partitions: which days are due is what the ledger says, not what a person or Dagster picks.
"""

from datetime import UTC, datetime
from time import monotonic

import dagster as dg
from pydantic import Field

from assets.days import LandingLog, today
from assets.fetching import backfilled_metadata
from assets.lake import GROUP, lake_key
from assets.progress import LoggedProgress
from assets.report import preview
from thermocline.model.datasets import FEATURES, MARKET_DATA, SPLITS
from thermocline.model.partition import ALL_DAYS, DayRange, parse_day
from thermocline.ports import Hot, Lake, SpoolFactory
from thermocline.settings import Settings
from thermocline.tasks.derive import Derive

KEY = dg.AssetKey(["derived", FEATURES.name])

WHEN_BARS_CAME = (
    (dg.AutomationCondition.any_deps_updated().since_last_handled())
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
)
"""Bars or splits were written since the last run, and nothing is writing any now."""


class DeriveConfig(dg.Config):
    """What is derived."""

    start: str | None = Field(default=None, description="The first day, YYYY-MM-DD; empty: all there are bars of.")
    end: str | None = Field(default=None, description="The first day no more, YYYY-MM-DD.")
    symbols: list[str] = Field(
        default=[], description="Only these symbols; the days stay due for the others. Empty: all."
    )
    full: bool = Field(default=False, description="Every day, also where nothing changed since it was derived.")


def features_asset(days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset; `days` are those of the lake, where its rows land."""

    # Not named as the asset, since a job of that name exists and Dagster wants one name for one thing.
    @dg.multi_asset(
        name="derive_features",
        specs=[
            dg.AssetSpec(
                KEY,
                deps=[lake_key(MARKET_DATA), lake_key(SPLITS)],
                description="RSI, moving averages, volatility and beta of every daily bar, with splits undone. Only "
                "days whose bars or splits changed are derived; the rows are those of lake/features.",
                group_name=GROUP,
                kinds={"parquet", "iceberg"},
                automation_condition=WHEN_BARS_CAME,
            )
        ],
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool="hot",
    )
    def derive_features(
        context: dg.AssetExecutionContext,
        *,
        config: DeriveConfig,
        hot: dg.ResourceParam[Hot],
        lake: dg.ResourceParam[Lake],
        spools: dg.ResourceParam[SpoolFactory],
        settings: dg.ResourceParam[Settings],
    ) -> dg.MaterializeResult[None]:
        began = monotonic()
        own = settings.features
        done = Derive(
            hot,
            lake,
            spools,
            settings.lifecycle,
            as_of=today(settings),
            now=datetime.now(UTC),
            run_id=context.run.run_id,
            benchmark=(own.benchmark_asset_class, own.benchmark),
            progress=LoggedProgress(context.log),
            on_published=LandingLog(context, lake_key(FEATURES), days).published,
        ).run(
            DayRange(
                parse_day(config.start) if config.start else ALL_DAYS.start,
                parse_day(config.end) if config.end else ALL_DAYS.end,
            ),
            symbols=config.symbols,
            full=config.full,
        )
        metadata = backfilled_metadata(done.backfilled, monotonic() - began)
        metadata["days with bars"] = dg.MetadataValue.int(done.days)
        metadata["due"] = dg.MetadataValue.int(len(done.due))
        if done.due:
            metadata["derived"] = dg.MetadataValue.text(f"{done.due[0]} to {done.due[-1]}")
        if done.backfilled.moved:
            metadata["preview"] = preview(hot, lake, FEATURES, done.backfilled.moved[-1].partition.day)
        return dg.MaterializeResult(metadata=metadata)

    return derive_features
