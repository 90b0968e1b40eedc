"""Everything that Dagster loads, put together from the settings."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from assets.checks import lake_checks
from assets.compaction import compaction_asset
from assets.cross_checks import cross_checks
from assets.drill import drill_asset
from assets.drops import KEY as DROPPED_FILES
from assets.drops import drop_asset
from assets.expiry import expiry_asset
from assets.features import KEY as DERIVED_FEATURES
from assets.features import features_asset
from assets.feeds import NamedFeed, feed_assets
from assets.freshness import freshness_checks
from assets.hot import hot_assets
from assets.lake import lake_assets
from assets.placement import placement_checks
from assets.rotation import rotation_asset
from assets.storage_classes import storage_classes_asset
from assets.vacuum import nightly_vacuum_asset, vacuum_asset
from pipelines.feeds import feed_job, feed_schedule, feeds_of
from pipelines.jobs import JOBS, freshness_job
from pipelines.partitions import days_from, months_from
from pipelines.schedules import (
    cross_check_schedule,
    drill_schedule,
    freshness_schedule,
    nightly_schedule,
    rotation_freshness,
    storage_schedules,
)
from pipelines.sensors import derive_sensor, drop_sensor
from resources.analytics import AnalyticsResource
from resources.disclosure import refuse_open_secrets
from resources.drops import DropsResource
from resources.hot import HotResource
from resources.lake import LakeResource
from resources.settings import SettingsResource
from resources.sources import SourcesResource
from resources.spools import SpoolsResource
from thermocline.model.datasets import DATASETS, FEATURES
from thermocline.settings import Settings, load_settings
from thermocline.sources.calendars import ExchangeCalendars


def build_defs(resources: Mapping[str, Any] | None = None, settings: Settings | None = None) -> dg.Definitions:
    """Fresh definitions.

    Args:
        resources: Instead of those of the settings, by name: `settings`, `hot`, `lake`, `spools`, `sources`,
            `analytics`, `calendars`, `drops`. Any object with the port's methods will do.
        settings: What decides partitions and the schedule; those of the home where None.

    Raises:
        SettingsError: A setting is wrong, or a resource holds a password in plain text.
    """
    every_resource = _default_resources() | dict(resources or {})
    refuse_open_secrets(every_resource)
    settings = settings or load_settings()
    DATASETS.declare(settings.declared)
    auto_rotation = settings.storage.lifecycle.auto_rotation
    timezone, days, months = auto_rotation.timezone, days_from(settings), months_from(settings)
    feeds = feeds_of(settings)
    jobs = {named: feed_job(named) for named in feeds if named.is_declared}
    with warnings.catch_warnings():
        # A range as one run and checks with partitions may still change in Dagster. The tests run both, the version is
        # locked, and nobody who runs a job can do anything about it.
        warnings.filterwarnings("ignore", "Parameter `backfill_policy`", dg.BetaWarning)
        warnings.filterwarnings("ignore", "Specifying a partitions_def on an AssetCheckSpec", dg.PreviewWarning)
        assets = [
            *feed_assets(feeds, days),
            drop_asset(days),
            *lake_assets(days, _upstream(feeds, settings)),
            features_asset(days),
            *hot_assets(days),
            rotation_asset(days, rotation_freshness(auto_rotation)),
            nightly_vacuum_asset(days),
            vacuum_asset(),
            drill_asset(),
            compaction_asset(months),
            storage_classes_asset(months),
            expiry_asset(),
        ]
        asset_checks = [
            *lake_checks(days),
            cross_checks(days),
            placement_checks(),
            *freshness_checks(settings.freshness),
        ]
    fresh = freshness_job(settings.freshness)
    return dg.Definitions(
        assets=assets,
        asset_checks=asset_checks,
        jobs=[*JOBS, *jobs.values(), *([fresh] if fresh else [])],
        schedules=[
            nightly_schedule(auto_rotation),
            drill_schedule(settings.storage.lifecycle.drills, timezone),
            cross_check_schedule(settings.checks.nightly, timezone),
            *storage_schedules(settings),
            *(feed_schedule(named, job, timezone) for named, job in jobs.items() if named.feed.schedule),
            *([freshness_schedule(fresh)] if fresh else []),
        ],
        sensors=[drop_sensor(watches=bool(settings.drops)), derive_sensor(automatic=settings.features.automatic)],
        resources=every_resource,
        executor=dg.in_process_executor,
    )


def _upstream(feeds: Iterable[NamedFeed], settings: Settings) -> dict[str, list[dg.AssetKey]]:
    """The assets whose rows land in the lake, by dataset."""
    landing = [(named.dataset.name, named.key) for named in feeds]
    landing += [(name, DROPPED_FILES) for name in sorted({drop.dataset for drop in settings.drops.values()})]
    landing.append((FEATURES.name, DERIVED_FEATURES))
    found: dict[str, list[dg.AssetKey]] = {}
    for name, key in landing:
        found.setdefault(name, []).append(key)
    return found


def _default_resources() -> dict[str, Any]:
    settings = SettingsResource()
    return {
        "settings": settings,
        "hot": HotResource(settings=settings),
        "lake": LakeResource(settings=settings),
        "spools": SpoolsResource(settings=settings),
        "sources": SourcesResource(settings=settings),
        "analytics": AnalyticsResource(settings=settings),
        "calendars": ExchangeCalendars(),
        "drops": DropsResource(settings=settings),
    }


defs = build_defs()
