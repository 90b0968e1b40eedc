"""The command `cleanup`: bring a PostgreSQL that is full already under the rules."""

from datetime import date
from typing import TYPE_CHECKING, Any

import click

from thermocline.cli.commands import command
from thermocline.cli.invocation import FAILED, Invocation, exit_with
from thermocline.cli.moving import moved_table, tell_failed
from thermocline.cli.options import PAIR, DatasetName, as_of_option, hot_days_option
from thermocline.cli.words import Size, Table, plural

if TYPE_CHECKING:
    from thermocline.model.report import Failed
    from thermocline.tasks.cleanup import Cleaned, CleanupPlan


@command(
    examples=(
        "thermocline cleanup market_data --analyze-only",
        "thermocline cleanup market_data --dry-run --hot-days 10",
        "thermocline cleanup market_data --map ts=time --set interval=1day --yes",
    )
)
@click.argument("dataset", type=DatasetName(), default="market_data")
@click.option(
    "--analyze-only", is_flag=True, help="Only say what is there, by month and interval, and what would move."
)
@click.option("--dry-run", is_flag=True, help="Only say that, and each partition that would move.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@as_of_option
@hot_days_option
@click.option(
    "--map",
    "columns",
    multiple=True,
    type=PAIR,
    metavar="COLUMN=NAME",
    help="What a plain table calls a column of the dataset; can be given several times.",
)
@click.option(
    "--set",
    "constants",
    multiple=True,
    type=PAIR,
    metavar="COLUMN=VALUE",
    help="What to fill a column with that a plain table lacks; can be given several times.",
)
def cleanup(
    invocation: Invocation,
    dataset: str,
    *,
    analyze_only: bool,
    dry_run: bool,
    yes: bool,
    as_of: date | None,
    hot_days: int | None,
    columns: tuple[tuple[str, str], ...],
    constants: tuple[tuple[str, str], ...],
) -> None:
    """Bring a PostgreSQL that holds years of rows under the rules.

    Of market_data unless another dataset is named. A plain table is adopted: every row that may go in is written to
    the lake and verified, then a partitioned table takes its place with the last days in it; the old table is kept,
    with every row that could not go in. A table that is partitioned already is rotated. Shows the plan, asks, and
    does exactly that.
    """
    if invocation.as_json and not (yes or analyze_only or dry_run):
        msg = "with --json nobody can be asked; add --yes, or look first with --dry-run"
        raise click.UsageError(msg)
    mapped: dict[str, Any] = {"columns": dict(columns), "constants": dict(constants)}
    with invocation.opened() as opened:
        plan = opened.plan_cleanup(dataset, hot_days=hot_days, as_of=as_of, **mapped)
        if analyze_only or dry_run:
            document = {"dry_run": True, **plan.document()}
            invocation.answer(document, *_shown(plan, partitions=dry_run))
            return
        if not invocation.as_json and not yes:
            invocation.answer({}, *_shown(plan, partitions=True))
            if not click.confirm("Do this?", err=True):
                invocation.answer({}, "Nothing was changed.")
                return
        with invocation.progress() as progress:
            done = opened.cleanup(plan, **mapped, progress=progress)
    failed = done.rotated.failed if done.rotated else []
    tell_failed(invocation, failed)
    invocation.answer({"dry_run": False, **done.document()}, *_told(done, failed))
    if failed:
        exit_with(FAILED)


def _shown(plan: "CleanupPlan", *, partitions: bool) -> list[Table | str]:
    months = [
        (month.interval or None, f"{month.month:%Y-%m}", month.rows, Size(month.size_bytes)) for month in plan.months
    ]
    parts: list[Table | str] = [Table(("interval", "month", "rows", "size"), months)] if months else []
    survey = plan.plain
    if partitions:
        parts += moved_table(plan.moves)
    if survey is None:
        parts.append(
            f"{plural(plan.moving_rows, 'row')} in {plural(len(plan.moves), 'partition')} would move to the lake."
        )
        return parts
    parts.append(
        f"{survey.table} was not made by Thermocline; its {plural(survey.rows, 'row')} would be adopted, but for those "
        f"named below. About {plan.moving_rows:,d} that may go in are older than the hot window or of intervals that "
        "live in the lake alone."
    )
    parts += [
        f"  {name} is missing and would be filled with {value!r}" for name, value in survey.filled_columns.items()
    ]
    aside = [
        (survey.duplicate_rows, "the key of a newer row"),
        (survey.undated_rows, "no usable time"),
        *((rows, why) for why, rows in plan.rejected_rows.items()),
    ]
    parts += [f"  {plural(rows, 'row')} would stay in the old table alone: {why}" for rows, why in aside if rows]
    if survey.unknown_columns:
        parts.append(f"  columns that stay in the old table alone: {', '.join(survey.unknown_columns)}")
    return parts


def _told(done: "Cleaned", failed: "list[Failed]") -> list[str]:
    if done.adopted:
        loaded = done.loaded.loaded if done.loaded else 0
        written = plural(done.adopted.written, "partition")
        told = [
            f"{plural(done.adopted.rows, 'row')} adopted: {written} written to the lake, {loaded:,d} loaded to hot."
        ]
        if done.stayed:
            rejected, undated = done.adopted.rejected, done.undated
            why = [
                (rejected, "rejected, each with its reason in thermocline.quarantine"),
                (undated, "without a usable time"),
                (done.stayed - rejected - undated, "the same as another row"),
            ]
            listed = "; ".join(f"{rows:,d} {what}" for rows, what in why if rows)
            stayed = plural(done.stayed, "row")
            told.append(f"WARNING: {stayed} did NOT go in and stayed behind in {done.kept_as} alone: {listed}.")
        return [*told, f"The old table is kept as {done.kept_as} until you drop it."]
    moved = done.rotated.moved if done.rotated else []
    return [] if failed and not moved else [f"{plural(len(moved), 'partition')} moved to the lake, verified."]
