"""What `lake/…` and `sources/…` share: days are fetched from a source, all of them or what is missing, and shown."""

from datetime import UTC, datetime
from time import monotonic

import dagster as dg
from pydantic import Field

from assets.coverage import coverage_plot
from assets.days import DayLog, days_of, today
from assets.progress import LoggedProgress
from assets.report import Metadata, moved_metadata, preview, table
from thermocline.model.dataset import Dataset
from thermocline.ports import Analytics, Calendars, FetchRequest, Hot, Lake, Source, SpoolFactory
from thermocline.settings import Settings
from thermocline.tasks.backfill import Backfill, Backfilled, Unfetched
from thermocline.tasks.coverage import CoverageKeeper
from thermocline.tasks.expected import Expectations
from thermocline.tasks.fetching import fetch_missing
from thermocline.tasks.schemas import applied


class FetchConfig(dg.Config):
    """What is fetched of a source, whatever source it is."""

    path: str | None = Field(
        default=None, description="Where the source's files are, a folder or a pattern, for sources that have files."
    )
    missing: bool = Field(
        default=False,
        description="Ask only for what the coverage ledger says is missing on these days, in the fewest requests.",
    )
    ask_again: bool = Field(
        default=False, description="With `missing`: ask also for what the source has told not to have."
    )
    coverage: bool = Field(
        default=True, description="Draw what is there and what is missing afterwards; it counts the rows that came."
    )


def fetch_days(
    context: dg.AssetExecutionContext,
    days: dg.DailyPartitionsDefinition,
    dataset: Dataset,
    config: FetchConfig,
    *,
    source: Source,
    symbols: frozenset[str],
    intervals: frozenset[str],
    hot: Hot,
    lake: Lake,
    spools: SpoolFactory,
    analytics: Analytics,
    calendars: Calendars,
    settings: Settings,
    lands: dg.AssetKey | None = None,
    missing: bool = False,
) -> dg.MaterializeResult[None]:
    """Backfill a run's days from a source; an event tells of each day as it is committed.

    With `missing`, or where the config says so, only what the coverage ledger says is missing is asked for.

    Raises:
        Failure: Some of what is missing could not be had; all other days are done.
    """
    span, (dataset,) = days_of(context, days), applied(hot, [dataset])
    missing = missing or config.missing
    log, progress, now = DayLog(context, span, lands), LoggedProgress(context.log), datetime.now(UTC)
    began = monotonic()
    backfill = Backfill(
        source=source,
        hot=hot,
        lake=lake,
        spool=spools,
        lifecycle=settings.lifecycle,
        as_of=today(settings),
        now=now,
        run_id=context.run.run_id,
        rulebook=settings.validation_rules.rulebook(dataset),
        progress=progress,
        on_published=log.published,
        on_committed=log.committed,
        on_gathered=log.expect if missing else log.gathered,
    )
    keeper = CoverageKeeper(hot, lake, analytics, Expectations(calendars, settings.calendar_rules), now, progress)
    if missing:
        plan = keeper.plan(
            dataset,
            source,
            symbols=symbols,
            intervals=intervals,
            start=span.start,
            end=span.end,
            again_days=settings.coverage.ask_again_days,
            ask_again=config.ask_again,
        )
        done = fetch_missing(backfill, dataset, plan)
        log.rest([each.request.days for each in done.unfetched])
    else:
        done = backfill.run(FetchRequest(dataset, span, symbols, intervals))
    metadata = backfilled_metadata(done, monotonic() - began)
    if done.moved:
        metadata["preview"] = preview(hot, lake, dataset, done.moved[-1].partition.day)
    drawn = coverage_plot(keeper, dataset, span, symbols=symbols, intervals=intervals) if config.coverage else None
    if drawn:
        metadata["coverage"] = drawn
    result = log.result(metadata)
    if done.unfetched:
        raise dg.Failure(_unfetched(done.unfetched))
    return result


def backfilled_metadata(done: Backfilled, seconds: float) -> Metadata:
    """What a backfill did, for a materialisation."""
    return moved_metadata(done.moved, seconds) | {
        "written": dg.MetadataValue.int(done.written),
        "unchanged": dg.MetadataValue.int(done.unchanged),
        "merged into hot": dg.MetadataValue.int(done.merged_hot),
        "duplicates": dg.MetadataValue.int(done.duplicates),
        "held": dg.MetadataValue.int(done.held),
        "quarantined rows": dg.MetadataValue.int(done.rejected),
        "rows by broken rule": dg.MetadataValue.md(table(_broken_rules(done))),
    }


def _broken_rules(done: Backfilled) -> list[dict[str, object]]:
    """A line for each rule that rows broke: how many are in quarantine, came in with a warning or without a value."""
    made = done.verdicts
    rules = dict.fromkeys([*made.rejected_by, *made.warned_by, *made.cleared_by])
    return [
        {
            "rule": rule,
            "quarantined": made.rejected_by[rule],
            "warned of": made.warned_by[rule],
            "cleared": made.cleared_by[rule],
        }
        for rule in rules
    ]


def _unfetched(unfetched: list[Unfetched]) -> str:
    lines = [f"{each.request.days.start} to {each.request.days.end}: {each.reason}" for each in unfetched]
    return "\n".join(["some of what is missing could not be had; all else is published:", *lines])
