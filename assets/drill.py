"""`restore_drill`: cold partitions, picked by chance, restored for a trial and compared with their receipts."""

import secrets
from collections.abc import Iterator, Sequence
from time import monotonic

import dagster as dg
from pydantic import Field

from assets import rotation
from assets.progress import LoggedProgress
from assets.report import bars, table
from thermocline.model.datasets import DATASETS, dataset_named
from thermocline.model.partition import ALL_DAYS
from thermocline.ports import Hot, Lake
from thermocline.settings import Settings
from thermocline.tasks.drill import Drilled, Rehearsal, drill
from thermocline.tasks.schemas import applied

KEY = dg.AssetKey("restore_drill")
GROUP = rotation.GROUP

COPIES_CAN_BE_RESTORED = "copies_can_be_restored"


class DrillConfig(dg.Config):
    """What a drill restores."""

    datasets: list[str] = Field(default=[], description="Partitions of these datasets; empty: of all.")
    partitions: int | None = Field(default=None, ge=1, description="How many; empty: as the settings say.")
    seed: int | None = Field(
        default=None, ge=0, description="The seed of an earlier drill, to restore the same ones; empty: a new one."
    )


def drill_asset() -> dg.AssetsDefinition:
    """What was restored last, with the check that fails when a copy did not come back whole."""

    # Not named as the asset, since a job of that name exists and Dagster wants one name for one thing.
    @dg.multi_asset(
        name="drill_restores",
        specs=[
            dg.AssetSpec(
                KEY,
                description="Cold partitions, picked by chance: loaded into a table of no reader, read back, compared.",
                group_name=GROUP,
                kinds={"postgres", "parquet"},
            )
        ],
        check_specs=[
            dg.AssetCheckSpec(
                COPIES_CAN_BE_RESTORED,
                asset=KEY,
                description="Every partition of the drill came back as its receipt says, value by value.",
                # It stops nothing that comes after, but a run with a copy that is lost must not look well.
                blocking=True,
            )
        ],
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool="hot",
    )
    def drill_restores(
        context: dg.AssetExecutionContext,
        *,
        config: DrillConfig,
        hot: dg.ResourceParam[Hot],
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        began = monotonic()
        done = drill(
            hot,
            lake,
            applied(hot, [dataset_named(name) for name in config.datasets] or list(DATASETS.values())),
            ALL_DAYS,
            count=config.partitions or settings.storage.lifecycle.drills.partitions,
            seed=secrets.randbelow(2**32) if config.seed is None else config.seed,
            run_id=context.run.run_id,
            progress=LoggedProgress(context.log),
        )
        yield _result(done, monotonic() - began)
        yield _checked(done.failed, len(done.rehearsals))

    return drill_restores


def _result(done: Drilled, seconds: float) -> dg.MaterializeResult[None]:
    rehearsals = done.rehearsals
    return dg.MaterializeResult(
        metadata={
            "restored": len(rehearsals) - len(done.failed),
            "failed": len(done.failed),
            "cold partitions": done.cold,
            "rows": sum(each.rows for each in rehearsals),
            "bytes": sum(each.size_bytes for each in rehearsals),
            "seconds": round(seconds, 3),
            "seed": done.seed,
            "partitions": dg.MetadataValue.md(table([_line(each) for each in rehearsals])),
            "plot": bars("rows a partition", {each.partition: each.rows for each in rehearsals}),
        }
    )


def _line(rehearsal: Rehearsal) -> dict[str, object]:
    return {**rehearsal.document(), "differences": "; ".join(rehearsal.differences)}


def _checked(failed: Sequence[Rehearsal], restored: int) -> dg.AssetCheckResult:
    wrong = [f"{each.partition}: {each.path}: {'; '.join(each.differences)}" for each in failed]
    return dg.AssetCheckResult(
        passed=not wrong,
        check_name=COPIES_CAN_BE_RESTORED,
        description="\n".join(wrong) or f"{restored} partitions came back whole",
    )
