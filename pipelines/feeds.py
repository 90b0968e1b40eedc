"""What vendors deliver, and the jobs and schedules of the feeds that thermocline.yaml declares."""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from assets.feeds import NamedFeed, named_feeds
from thermocline.settings import Settings
from thermocline.sources.open import KINDS, NETWORK_KINDS

FIRST_DAY, LAST_DAY = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
"""The tags by which Dagster knows a run for a range of partitions; `dg launch --partition-range` sets them as well."""

DELIVERED = {
    "alpaca": ("market_data", "options_data", "news", "splits", "dividends"),
    "binance": ("market_data",),
    "coinbase": ("market_data",),
    "databento": ("market_data", "options_data"),
    "kraken": ("market_data",),
    "massive": ("market_data", "options_data", "news", "splits", "dividends", "instruments"),
    "sec": ("news",),
    "yfinance": ("market_data", "splits", "dividends"),
}
"""The datasets of each vendor. Sources without a vendor, such as `files`, have assets where `feeds` name them."""


def feeds_of(settings: Settings) -> list[NamedFeed]:
    """Every source and dataset that has an asset."""
    return named_feeds(
        settings, {kind: datasets for kind, datasets in DELIVERED.items() if kind in {*KINDS, *NETWORK_KINDS}}
    )


def feed_job(named: NamedFeed) -> Any:
    """The job of a feed that the settings declare: days of it, as it is declared."""
    return dg.define_asset_job(
        f"fetch_{named.word}_{named.dataset.name}",
        dg.AssetSelection.assets(named.key).without_checks(),
        description=f"Fetch days of {named.dataset.name} from {named.source}, as `feeds` in thermocline.yaml says; a "
        "range of days is one run.",
    )


def feed_schedule(named: NamedFeed, job: Any, timezone: str) -> dg.ScheduleDefinition:
    """When a feed is fetched: its last days in one run, so that one that failed or was missed is made up for."""
    zone, days = ZoneInfo(timezone), named.feed.days

    @dg.schedule(
        name=job.name,
        job=job,
        cron_schedule=str(named.feed.schedule),
        execution_timezone=timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Fetch the last {days} days of {named.dataset.name} from {named.source}.",
    )
    def fetch(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        at = context.scheduled_execution_time.astimezone(zone)
        first = at.date() - timedelta(days=days - 1)
        tags = {
            FIRST_DAY: first.isoformat(),
            LAST_DAY: at.date().isoformat(),
        }
        return dg.RunRequest(run_key=at.isoformat(), tags=tags)

    return fetch
