"""Everything that Dagster loads, put together from the settings."""

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.checks import lake_checks
from assets.cross_checks import cross_checks
from assets.drill import drill_asset
from assets.hot import hot_assets
from assets.lake import lake_assets
from assets.rotation import rotation_asset
from assets.vacuum import nightly_vacuum_asset, vacuum_asset
from pipelines.jobs import JOBS
from pipelines.partitions import days_from
from pipelines.schedules import drill_schedule, nightly_schedule, rotation_freshness
from resources.disclosure import refuse_open_secrets
from resources.hot import HotResource
from resources.lake import LakeResource
from resources.settings import SettingsResource
from resources.sources import SourcesResource
from resources.spools import SpoolsResource
from thermocline.settings import Settings, load_settings


def build_defs(resources: Mapping[str, Any] | None = None, settings: Settings | None = None) -> dg.Definitions:
    """Fresh definitions.

    Args:
        resources: Instead of those of the settings, by name: `settings`, `hot`, `lake`, `spools`, `sources`. Any object
            with the port's methods will do.
        settings: What decides partitions and the schedule; those of the home where None.

    Raises:
        SettingsError: A setting is wrong, or a resource holds a password in plain text.
    """
    every_resource = _default_resources() | dict(resources or {})
    refuse_open_secrets(every_resource)
    settings = settings or load_settings()
    auto_rotation = settings.storage.lifecycle.auto_rotation
    days = days_from(settings)
    with warnings.catch_warnings():
        # A range as one run and checks with partitions may still change in Dagster. The tests run both, the version is
        # locked, and nobody who runs a job can do anything about it.
        warnings.filterwarnings("ignore", "Parameter `backfill_policy`", dg.BetaWarning)
        warnings.filterwarnings("ignore", "Specifying a partitions_def on an AssetCheckSpec", dg.PreviewWarning)
        assets = [
            *lake_assets(days),
            *hot_assets(days),
            rotation_asset(days, rotation_freshness(auto_rotation)),
            nightly_vacuum_asset(days),
            vacuum_asset(),
            drill_asset(),
        ]
        asset_checks = [*lake_checks(days), cross_checks(days)]
    return dg.Definitions(
        assets=assets,
        asset_checks=asset_checks,
        jobs=JOBS,
        schedules=[
            nightly_schedule(auto_rotation),
            drill_schedule(settings.storage.lifecycle.drills, auto_rotation.timezone),
        ],
        resources=every_resource,
        executor=dg.in_process_executor,
    )


def _default_resources() -> dict[str, Any]:
    settings = SettingsResource()
    return {
        "settings": settings,
        "hot": HotResource(settings=settings),
        "lake": LakeResource(settings=settings),
        "spools": SpoolsResource(settings=settings),
        "sources": SourcesResource(settings=settings),
    }


defs = build_defs()
