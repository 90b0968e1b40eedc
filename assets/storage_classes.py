"""`storage_classes`: objects of the lake in the class that is due for them; a partition is a month of rows."""

from collections import Counter
from collections.abc import Iterable
from datetime import date
from time import monotonic
from typing import Any

import dagster as dg
from pydantic import Field

from assets import compaction
from assets.days import day_or_today, today
from assets.months import log_months, months_of
from assets.progress import LoggedProgress
from assets.report import LISTED_PARTITIONS, Metadata, long_bars, table, usd
from thermocline.model.datasets import DATASETS, dataset_named
from thermocline.model.partition import ALL_DAYS, ONE_DAY, DayRange, parse_interval
from thermocline.model.storage_classes import Provider
from thermocline.ports import SILENT, Hot, Lake, Progress
from thermocline.settings import Settings
from thermocline.tasks.schemas import applied
from thermocline.tasks.tiered import Planned, Shown, Tiered
from thermocline.tasks.tiers import Tiering

KEY = dg.AssetKey("storage_classes")
GROUP = compaction.GROUP

_PREVIEW = (
    "dataset",
    "interval",
    "last_day",
    "from",
    "to",
    "bytes",
    "fee_usd",
    "saving_usd_per_month",
    "break_even_days",
)
_LEFT = ("dataset", "interval", "last_day", "from", "to", "bytes", "reason", "detail")


class TieringConfig(dg.Config):
    """What a run moves."""

    dry_run: bool = Field(default=False, description="Show what would move, what that costs and saves; move nothing.")
    digest: str = Field(
        default="",
        description="The digest that a dry run showed: do exactly that, or nothing where anything changed since. "
        "Empty: do what is due now.",
    )
    earlier_months: bool = Field(
        default=False,
        description="Every month before the partition's as well, so that those that were missed are made up.",
    )
    datasets: list[str] = Field(default=[], description="Objects of these datasets; empty: of all.")
    intervals: list[str] = Field(default=[], description="Objects of these intervals; empty: of all.")
    max_requests: int | None = Field(
        default=None,
        ge=1,
        description="How many objects this run may move, those that save most; the next run goes on. Empty: as the "
        "settings say.",
    )
    as_of: str = Field(default="", description="The day to which ages are counted, such as 2024-06-01; empty: today.")


def storage_classes_asset(months: dg.MonthlyPartitionsDefinition) -> dg.AssetsDefinition:
    """The asset. An object belongs to the month of its youngest row."""

    @dg.asset(
        key=KEY,
        deps=[compaction.KEY],
        description="Objects of the lake in the storage class that the retention policy has for rows of their age, "
        "where moving them pays; days whose retention is over leave the lake.",
        group_name=GROUP,
        kinds={"parquet"},
        partitions_def=months,
        backfill_policy=dg.BackfillPolicy.single_run(),
        # No retries of the step: requests are made again by the lake, within a budget. An object that could not be
        # moved is left for the next run, which costs nothing but time.
        pool="hot",
    )
    def storage_classes(
        context: dg.AssetExecutionContext,
        *,
        config: TieringConfig,
        hot: dg.ResourceParam[Hot],
        lake: dg.ResourceParam[Lake],
        settings: dg.ResourceParam[Settings],
    ) -> dg.MaterializeResult[None]:
        began = monotonic()
        tiering = tiering_of(
            hot,
            lake,
            settings,
            day_or_today(config.as_of, settings),
            days=months_of(context, months, earlier=config.earlier_months),
            intervals=config.intervals,
            max_requests=config.max_requests,
            progress=LoggedProgress(context.log),
        )
        chosen = applied(hot, [dataset_named(name) for name in config.datasets] or list(DATASETS.values()))
        if config.dry_run:
            shown = tiering.show(chosen)
            planned = _plan_metadata(shown.planned) | shown_metadata(shown)
            return dg.MaterializeResult(metadata=planned | _seconds(began))
        if tiering.as_of > today(settings) + ONE_DAY:
            msg = f"{config.as_of} is in the future, and nothing is moved or deleted before its time"
            raise dg.Failure(msg, allow_retries=False)
        digest = config.digest or tiering.plan(chosen).digest
        done = tiering.apply(chosen, digest, run_id=context.run.run_id)
        metadata = _done_metadata(done) | shown_metadata(tiering.show(chosen)) | _seconds(began)
        if done.failed:
            failed = "\n".join(f"{each.object.path}: {each.reason}" for each in done.failed[:LISTED_PARTITIONS])
            msg = f"{len(done.moved)} objects moved, {len(done.failed)} are where they were:\n{failed}"
            raise dg.Failure(msg, metadata=metadata, allow_retries=False)
        changed = [each.object.last_day for each in done.moved] + [each.object.last_day for each in done.removed]
        log_months(context, months, changed, {"run": dg.MetadataValue.dagster_run(context.run.run_id)})
        return dg.MaterializeResult(metadata=metadata)

    return storage_classes


def tiering_of(
    hot: Hot,
    lake: Lake,
    settings: Settings,
    as_of: date,
    *,
    days: DayRange = ALL_DAYS,
    intervals: list[str] | None = None,
    max_requests: int | None = None,
    progress: Progress = SILENT,
) -> Tiering:
    """The tiers of a lake by the settings, whichever lake it is."""
    provider = lake.classes.provider if lake.classes else Provider.LOCAL
    own = settings.storage.tiering
    return Tiering(
        hot,
        lake,
        settings.retention_at(provider),
        settings.prices_at(provider),
        as_of,
        days,
        [parse_interval(each) for each in intervals or ()],
        max_requests or own.max_requests_per_run,
        own.threads,
        lifecycle=settings.lifecycle,
        target_bytes=settings.storage.lifecycle.compact_target_mib << 20,
        progress=progress,
    )


def shown_metadata(shown: Shown) -> Metadata:
    """Bytes and dollars a month of each class, as a table and as plots."""
    by_class = shown.by_class
    listed = [{"class": name, "bytes": size, "USD a month": usd(cost)} for name, size, cost in by_class]
    return {
        "bytes": dg.MetadataValue.int(sum(size for _, size, _ in by_class)),
        "USD a month": _dollars([shown.usd_per_month]),
        "classes": dg.MetadataValue.md(table(listed)),
        "bytes a class": long_bars("bytes a class", [(name, size, f"{size:,}") for name, size, _ in by_class]),
        "USD a class": long_bars("US dollars a month", [(name, cost, usd(cost)) for name, _, cost in by_class]),
    }


def _plan_metadata(planned: Planned) -> Metadata:
    plan = planned.plan
    return _figures(planned) | {
        "would move": dg.MetadataValue.int(len(plan.transitions)),
        "would go": dg.MetadataValue.int(len(plan.removals)),
        "preview": _listed([each.document() for each in plan.transitions], _PREVIEW),
        "moved bytes": dg.MetadataValue.int(sum(each.object.size_bytes for each in plan.transitions)),
        "fee USD": _dollars([plan.fee_usd]),
        "saving USD a month": _dollars(each.saving_usd_per_month for each in plan.transitions),
        "postponed": dg.MetadataValue.int(plan.postponed),
    }


def _done_metadata(done: Tiered) -> Metadata:
    return _figures(done.planned) | {
        "moved": dg.MetadataValue.int(len(done.moved)),
        "gone": dg.MetadataValue.int(len(done.removed)),
        "failed": dg.MetadataValue.int(len(done.failed)),
        "preview": _listed([each.document() for each in done.moved], _PREVIEW),
        "moved bytes": dg.MetadataValue.int(sum(each.object.size_bytes for each in done.moved)),
        "fee USD": _dollars(each.fee_usd + each.penalty_usd for each in done.moved),
        "saving USD a month": _dollars(each.saving_usd_per_month for each in done.moved),
        "postponed": dg.MetadataValue.int(done.remaining),
        "stopped": dg.MetadataValue.text(done.stopped),
    }


def _figures(planned: Planned) -> Metadata:
    left = planned.plan.left
    reasons = Counter(each.reason.value for each in left)
    return {
        "digest": dg.MetadataValue.text(planned.digest),
        "has a policy": dg.MetadataValue.bool(planned.has_policy),
        "settled": dg.MetadataValue.int(planned.plan.settled),
        "left": dg.MetadataValue.int(len(left)),
        "left because": dg.MetadataValue.md(
            table([{"reason": name, "objects": n} for name, n in reasons.most_common()])
        ),
        "left objects": _listed([each.document() for each in left], _LEFT),
    }


def _listed(documents: list[dict[str, object]], columns: tuple[str, ...]) -> dg.MetadataValue[str]:
    """Objects, one a line, the first fifty of them."""
    rows = [{name: _shown(document.get(name)) for name in columns} for document in documents[:LISTED_PARTITIONS]]
    more = len(documents) - LISTED_PARTITIONS
    return dg.MetadataValue.md(f"{table(rows)}\n\nand {more} more" if more > 0 else table(rows))


def _shown(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def _dollars(amounts: Iterable[float]) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.float(float(sum(amounts)))


def _seconds(began: float) -> Metadata:
    return {"seconds": dg.MetadataValue.float(round(monotonic() - began, 3))}
