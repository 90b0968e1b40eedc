"""Jobs: one for each act. All run their steps in the run's own process; a step is too small for one of its own."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from assets.compaction import KEY as COMPACTION
from assets.drill import KEY as DRILL
from assets.drops import KEY as DROPPED_FILES
from assets.expiry import KEY as EXPIRY
from assets.features import KEY as DERIVED_FEATURES
from assets.freshness import FRESH
from assets.hot import GROUP as HOT
from assets.lake import lake_key
from assets.placement import CHECKS as PLACEMENT
from assets.rotation import KEY as ROTATION
from assets.storage_classes import KEY as STORAGE_CLASSES
from assets.vacuum import KEY as VACUUM
from assets.vacuum import NIGHTLY_KEY as NIGHTLY_VACUUM
from thermocline.model.checks.rules import RULES
from thermocline.model.datasets import MARKET_DATA, dataset_named

BACKFILL = dg.define_asset_job(
    "backfill",
    dg.AssetSelection.assets(lake_key(MARKET_DATA)).without_checks(),
    description="Bring days of market data from a source into the lake; a range of days is one run. Other datasets: "
    "materialise their assets.",
)
HOT_LOAD = dg.define_asset_job(
    "hot_load",
    dg.AssetSelection.groups(HOT),
    description="Bring the last days of the lake to PostgreSQL, as of the partition's day.",
)
NIGHTLY_ROTATION = dg.define_asset_job(
    "nightly_rotation",
    dg.AssetSelection.assets(ROTATION, NIGHTLY_VACUUM),
    description="Move what is due as of the partition's day to the lake, check it, then vacuum.",
)
VACUUM_JOB = dg.define_asset_job(
    "vacuum", dg.AssetSelection.assets(VACUUM), description="VACUUM (ANALYZE) the tables of a dataset."
)
RESTORE_DRILL = dg.define_asset_job(
    "restore_drill",
    dg.AssetSelection.assets(DRILL),
    description="Restore some cold partitions for a trial, and compare them with their receipts.",
)
CROSS_CHECKS = dg.define_asset_job(
    "cross_checks",
    dg.AssetSelection.checks(*(dg.AssetCheckKey(lake_key(MARKET_DATA), rule) for rule in RULES)),
    description="Look for bars that are wrong beside others. A run is for a range of days, which its tags name.",
)
DERIVE = dg.define_asset_job(
    "derive",
    dg.AssetSelection.assets(DERIVED_FEATURES),
    description="Derive features from bars, for the days whose bars or splits changed.",
)
TAKE_DROPPED_FILE = dg.define_asset_job(
    "take_dropped_file",
    dg.AssetSelection.assets(DROPPED_FILES),
    description="Take in a file of a drop folder; the sensor `drop_folders` asks for it.",
)
COMPACT = dg.define_asset_job(
    "compact",
    dg.AssetSelection.assets(COMPACTION),
    description="Bring the small objects of the partition's month together, or of its year once that is closed.",
)
LIFECYCLE_TIERING = dg.define_asset_job(
    "lifecycle_tiering",
    dg.AssetSelection.assets(STORAGE_CLASSES),
    description="Move the objects of the partition's month to the storage class that is due for them, then look "
    "whether the lake lies as it should.",
)
EXPIRE = dg.define_asset_job(
    "expire",
    dg.AssetSelection.assets(EXPIRY),
    description="Delete objects that nothing names any more, and what else is kept no longer.",
)
PLACEMENT_CHECKS = dg.define_asset_job(
    "placement_checks",
    dg.AssetSelection.checks(*(dg.AssetCheckKey(STORAGE_CLASSES, name) for name in PLACEMENT)),
    description="Look whether objects lie in the storage class that is due, and are there at all; moves nothing.",
)

JOBS = (
    BACKFILL,
    HOT_LOAD,
    NIGHTLY_ROTATION,
    VACUUM_JOB,
    RESTORE_DRILL,
    CROSS_CHECKS,
    DERIVE,
    TAKE_DROPPED_FILE,
    COMPACT,
    LIFECYCLE_TIERING,
    EXPIRE,
    PLACEMENT_CHECKS,
)


def freshness_job(datasets: Iterable[str]) -> Any:
    """The job of the checks whether datasets are fresh; None where there is none."""
    keys = [dg.AssetCheckKey(lake_key(dataset_named(name)), FRESH) for name in datasets]
    if not keys:
        return None
    return dg.define_asset_job(
        "freshness",
        dg.AssetSelection.checks(*keys),
        description="See whether the rows of the last sessions are there, as `freshness` in thermocline.yaml says.",
    )
