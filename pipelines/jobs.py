"""Jobs: one for each act. All run their steps in the run's own process; a step is too small for one of its own."""

import dagster as dg

from assets.drill import KEY as DRILL
from assets.hot import hot_key
from assets.lake import lake_key
from assets.rotation import KEY as ROTATION
from assets.vacuum import KEY as VACUUM
from assets.vacuum import NIGHTLY_KEY as NIGHTLY_VACUUM
from thermocline.model.datasets import DATASETS, MARKET_DATA

BACKFILL = dg.define_asset_job(
    "backfill",
    dg.AssetSelection.assets(lake_key(MARKET_DATA)).without_checks(),
    description="Bring days of market data from a source into the lake; a range of days is one run. Other datasets: "
    "materialise their assets.",
)
HOT_LOAD = dg.define_asset_job(
    "hot_load",
    dg.AssetSelection.assets(*(hot_key(dataset) for dataset in DATASETS.values())),
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

JOBS = (BACKFILL, HOT_LOAD, NIGHTLY_ROTATION, VACUUM_JOB, RESTORE_DRILL)
