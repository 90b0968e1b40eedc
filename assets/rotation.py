"""`rotation`: what left PostgreSQL for the lake; a partition is the day that a rotation looks from.

The night of day X, at 2 AM, runs key X.
"""

from collections.abc import Iterator, Sequence
from time import monotonic

import dagster as dg
from pydantic import Field

from assets.checks import day_check, verified
from assets.days import as_of
from assets.hot import hot_key
from assets.progress import LoggedProgress
from assets.report import LISTED_PARTITIONS, Metadata, moved_metadata, partitions_table, preview, table
from thermocline.model.datasets import DATASETS, MARKET_DATA, dataset_named
from thermocline.model.report import Failed, Moved
from thermocline.ports import Hot, Lake, SpoolFactory, Trouble
from thermocline.settings import Settings
from thermocline.tasks.rotate import Rotated, Rotation, plan_rotation
from thermocline.tasks.safeguards import recount, verify_at_stake
from thermocline.tasks.schemas import applied
from thermocline.tasks.trouble import troubles

GROUP = "rotation"
KEY = dg.AssetKey("rotation")

COPIES_ARE_GOOD = "copies_are_good"
NOTHING_LOST_OR_DOUBLED = "nothing_lost_or_doubled"
NOTHING_DUE_IS_LEFT = "nothing_due_is_left"

_DAMAGED = (
    "copies in the lake are damaged, nothing was moved; put them back, or let `thermocline rotate` move the other days"
)


class RotationConfig(dg.Config):
    """What a rotation moves."""

    dry_run: bool = Field(default=False, description="Show what would move as the partition's metadata; move nothing.")
    force: bool = Field(default=False, description="Run although storage.lifecycle.auto_rotation.enabled is false.")
    full: bool = Field(
        default=False,
        description="Days of every dataset; of market_data alone otherwise. Late rows of "
        "cold days are folded in of every dataset in any case.",
    )
    hot_days: int | None = Field(
        default=None, ge=1, description="How many days before the partition's day stay hot; empty: as the settings say."
    )


def rotation_asset(
    days: dg.DailyPartitionsDefinition, freshness_policy: dg.FreshnessPolicy | None = None
) -> dg.AssetsDefinition:
    """The asset, with the checks that stand before and after it."""

    @dg.asset(
        key=KEY,
        deps=[hot_key(dataset) for dataset in DATASETS.values()],
        description="Days that left PostgreSQL for the lake: copied, read back, compared, then detached. Cumulative: a "
        "night that was missed is made up by the next.",
        group_name=GROUP,
        kinds={"postgres", "parquet"},
        partitions_def=days,
        # Rotating as of the last day of a range moves what the others would.
        backfill_policy=dg.BackfillPolicy.single_run(),
        freshness_policy=freshness_policy,
        pool="hot",
        check_specs=[
            day_check(
                COPIES_ARE_GOOD,
                KEY,
                days,
                "Before anything moves: every object that would be a day's only copy reads back as its receipt says.",
            ),
            day_check(
                NOTHING_LOST_OR_DOUBLED,
                KEY,
                days,
                "Every day that moved comes back to a reader with at least the rows it had, each once.",
            ),
            day_check(NOTHING_DUE_IS_LEFT, KEY, days, "No day is hot that should have left.", blocking=False),
        ],
    )
    def rotation(
        context: dg.AssetExecutionContext,
        *,
        config: RotationConfig,
        hot: dg.ResourceParam[Hot],
        lake: dg.ResourceParam[Lake],
        spools: dg.ResourceParam[SpoolFactory],
        settings: dg.ResourceParam[Settings],
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        day, lifecycle = as_of(context, days), settings.lifecycle.with_hot_days(config.hot_days)
        every = applied(hot, list(DATASETS.values()))
        chosen = every if config.full else [dataset_named(MARKET_DATA.name)]
        folding = [dataset for dataset in every if dataset not in chosen]
        _permit(config, settings)
        copies = verify_at_stake(hot, lake, chosen, lifecycle, as_of=day)
        yield verified(copies, COPIES_ARE_GOOD)
        if copies.failed:
            raise dg.Failure(_reasons(_DAMAGED, copies.failed))
        began = monotonic()
        planned = plan_rotation(hot, chosen, lifecycle, as_of=day, folding=folding)
        done = Rotated(context.run.run_id)
        if not config.dry_run:
            rotation = Rotation(hot, lake, spools, lifecycle, context.run.run_id, LoggedProgress(context.log))
            done = rotation.run(chosen, as_of=day, folding=folding)
        seconds = monotonic() - began
        yield _lost_or_doubled(recount(hot, lake, planned, done.moved))
        left = plan_rotation(hot, chosen, lifecycle, as_of=day, folding=folding)
        yield _left(left, dry_run=config.dry_run)
        trouble = troubles(hot, chosen)
        if done.failed:
            raise dg.Failure(
                _reasons(f"{len(done.moved)} days moved, these stay hot as they were", done.failed),
                metadata=_trouble_metadata(trouble),
            )
        metadata = _metadata(planned if config.dry_run else done.moved, done, seconds) | _trouble_metadata(trouble)
        if done.moved:
            first = done.moved[0].partition
            metadata["preview"] = preview(hot, lake, dataset_named(first.dataset), first.day)
        yield dg.MaterializeResult(metadata=metadata)

    return rotation


def _permit(config: RotationConfig, settings: Settings) -> None:
    if not (config.force or config.dry_run or settings.storage.lifecycle.auto_rotation.enabled):
        msg = (
            "rotation is switched off (storage.lifecycle.auto_rotation.enabled is false); nothing was moved. "
            "Run it all the same with `force: true`"
        )
        raise dg.Failure(msg, allow_retries=False)


def _metadata(moved: Sequence[Moved], done: Rotated, seconds: float) -> Metadata:
    return moved_metadata(moved, seconds) | {
        "moved": partitions_table(done.moved),
        "would move": partitions_table([] if done.moved else moved),
        "released": dg.MetadataValue.int(len(done.released)),
    }


def _trouble_metadata(trouble: Sequence[Trouble]) -> Metadata:
    return {
        "in trouble": dg.MetadataValue.int(len({each.partition for each in trouble})),
        "trouble": dg.MetadataValue.md(table([each.document() for each in trouble[:LISTED_PARTITIONS]])),
    }


def _lost_or_doubled(failed: Sequence[Failed]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not failed,
        check_name=NOTHING_LOST_OR_DOUBLED,
        description="\n".join(f"{each.partition}: {each.reason}" for each in failed) or None,
    )


def _left(left: Sequence[Moved], *, dry_run: bool) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not left,
        check_name=NOTHING_DUE_IS_LEFT,
        severity=dg.AssetCheckSeverity.WARN if dry_run else dg.AssetCheckSeverity.ERROR,
        description=f"{len(left)} days are due" + (", as this was a dry run" if dry_run else "") if left else None,
        metadata={"due": partitions_table(left)},
    )


def _reasons(what: str, failed: Sequence[Failed]) -> str:
    return "\n".join([f"{what}:", *(f"{each.partition}: {each.reason}" for each in failed)])
