"""Whether datasets are fresh by the calendar of an exchange: on holidays nothing is due, which cron can't know.

Dagster's own freshness policies go by cron or by a span of time. `rotation` has one, since it is to run on every night.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import dagster as dg

from assets.lake import lake_key
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import dataset_named
from thermocline.ports import Calendars, Hot
from thermocline.settings import Freshness
from thermocline.tasks.freshness import freshness

FRESH = "fresh"


def freshness_checks(declared: Mapping[str, Freshness]) -> list[dg.AssetChecksDefinition]:
    """A check for each dataset of which the settings say until when its rows are to be there."""
    return [_freshness_check(dataset_named(name), own) for name, own in sorted(declared.items())]


def _freshness_check(dataset: Dataset, own: Freshness) -> dg.AssetChecksDefinition:
    spec = dg.AssetCheckSpec(
        FRESH,
        asset=lake_key(dataset),
        description=f"Rows of the last session of {own.calendar} are there {own.hours} hours after its close.",
    )

    @dg.multi_asset_check(name=f"{dataset.name}_{FRESH}", specs=[spec])
    def freshness_check(hot: dg.ResourceParam[Hot], calendars: dg.ResourceParam[Calendars]) -> dg.AssetCheckResult:
        found = freshness(
            hot,
            calendars,
            dataset,
            own.calendar,
            own.hours,
            now=datetime.now(UTC),
            interval=own.interval or "",
        )
        return dg.AssetCheckResult(
            passed=found.is_fresh,
            description=found.reason,
            metadata={
                "calendar": own.calendar,
                "session": found.session.isoformat(),
                "due": dg.MetadataValue.timestamp(found.due),
                "newest": found.newest.isoformat() if found.newest else "none",
            },
        )

    return freshness_check
