"""Commands that move rows: backfill, ingest, load, rotate, undo, rehydrate."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from thermocline.cli.commands import command
from thermocline.cli.invocation import FAILED, Invocation, exit_with
from thermocline.cli.options import (
    YAML_PAIR,
    accept_restatements_option,
    as_of_option,
    dataset_argument,
    datasets_argument,
    days_options,
    hot_days_option,
    intervals_option,
    max_bad_share_option,
    strictness_option,
    symbols_option,
)
from thermocline.cli.planned import tell_plan, tell_unfetched
from thermocline.cli.words import Size, Table, first_rows, plural, vacuum_line
from thermocline.errors import ThermoclineError

if TYPE_CHECKING:
    from collections import Counter

    from thermocline.api import Thermocline
    from thermocline.model.report import Failed, Moved
    from thermocline.tasks.gate import Verdicts


@command(
    examples=(
        "thermocline backfill market_data --source sample --start 2012-01-01 --end 2013-03-02",
        "thermocline backfill market_data --source lean --path lean/data --symbol AAPL --interval 1day",
        "thermocline backfill market_data --source files --path 'bars/*.csv' --option timezone=America/New_York",
        "thermocline backfill market_data --source sample --missing --dry-run",
    )
)
@dataset_argument
@click.option(
    "--source",
    required=True,
    metavar="NAME",
    help="Where rows come from: files, lean, binance, alpaca … or a name under `sources` in thermocline.yaml.",
)
@click.option("--path", metavar="PATH", help="The source's file, folder or glob, for sources that have files.")
@days_options
@symbols_option
@intervals_option
@as_of_option
@click.option(
    "--option",
    "options",
    multiple=True,
    type=YAML_PAIR,
    help="An option of the source, as under `sources` in thermocline.yaml; can be given several times.",
)
@click.option(
    "--repair",
    is_flag=True,
    help="Re-read every day that comes, and write those anew whose object or receipt is missing or damaged.",
)
@click.option(
    "--refetch",
    is_flag=True,
    help="Ask a vendor also for pages that an earlier run, which did not finish, has kept.",
)
@click.option(
    "--missing",
    is_flag=True,
    help="Ask only for what `thermocline coverage` says is missing, in the fewest requests.",
)
@click.option("--dry-run", is_flag=True, help="With --missing: only say what would be asked for.")
@click.option("--ask-again", is_flag=True, help="With --missing: ask also for what this source has told not to have.")
@click.option(
    "--asset-class",
    metavar="NAME",
    help="With --missing: what the symbols are that are named and not known yet, such as equity or crypto.",
)
@accept_restatements_option
@strictness_option
@max_bad_share_option
def backfill(
    invocation: Invocation, dataset: str, options: Sequence[tuple[str, Any]], *, dry_run: bool, **asked: Any
) -> None:
    """Bring rows of a source into the lake.

    Everything the source has, unless a range, symbols or intervals are named. Days that say nothing new are not
    written again, so it can be repeated, and goes on where it was interrupted. Rows that break the schema or a rule
    land in quarantine with their reasons; where too many do, nothing is written. Days that are hot are updated there
    too. A day of which much that is published would change is held: written to the lake, but not what queries get
    before `thermocline accept`.

    With `--missing`, what is missing of every series that is known, or of those named: from `--start` or the first row
    on, up to `--end` or now. What one request fails to bring does not hold up the others.
    """
    with_missing = [name for name in ("ask_again", "asset_class") if asked[name]] + ["dry_run"] * dry_run
    if with_missing and not asked["missing"]:
        msg = f"--{with_missing[0].replace('_', '-')} goes with --missing"
        raise click.UsageError(msg)
    with invocation.opened() as opened, invocation.progress() as progress:
        if dry_run:
            tell_plan(invocation, opened, dataset, options=dict(options), progress=progress, **asked)
            return
        done = opened.backfill(dataset, **asked, options=dict(options), progress=progress)
        written = [moved.partition for moved in done.moved if moved.action == "written"]
        over = opened.past_retention(written, as_of=asked.get("as_of"))
    if over:
        invocation.note(
            f"the retention of {plural(len(over), 'partition')} that was written is over, {over[0]} to {over[-1]}: the "
            "next `thermocline tiers apply` deletes it again"
        )
    _tell_verdicts(invocation, dataset, done.verdicts)
    _tell_held(invocation, dataset, done.held)
    if done.pages_resumed:
        invocation.note(
            f"pages that an earlier run, which did not finish, has kept: {done.pages_resumed:,d}; "
            f"fetched now: {done.pages_fetched:,d}"
        )
    if not done.rows and not done.unfetched:
        nothing = "nothing came: nothing is missing, or the source does not have it"
        invocation.note(nothing if asked["missing"] else "the source has no such rows")
    held = f", {plural(done.held, 'partition')} held" if done.held else ""
    hot = f", {plural(done.merged_hot, 'partition')} merged into hot alone" if done.merged_hot else ""
    invocation.answer(
        done.document(),
        f"{plural(done.rows, 'row')} of {dataset} read from {asked['source']}: "
        f"{plural(done.written, 'partition')} written, {done.unchanged:,d} unchanged{hot}{held}.",
    )
    tell_failed(invocation, done.failed)
    tell_unfetched(invocation, done.unfetched)
    if done.failed or done.unfetched:
        exit_with(FAILED)


@command(examples=("thermocline ingest market_data late-bars.csv --source-name desk",))
@dataset_argument
@click.argument("file", type=click.Path())
@click.option(
    "--source-name",
    default="ingest",
    show_default=True,
    metavar="NAME",
    help="What the rows' column `source` says.",
)
@as_of_option
@accept_restatements_option
@strictness_option
@max_bad_share_option
def ingest(invocation: Invocation, dataset: str, file: str, source_name: str, **asked: Any) -> None:
    """Accept rows of a file at once.

    CSV, Parquet or Feather, read as the source `files` reads them. On return the rows are durable and every query sees
    them, whether their days are hot or cold; rows of cold days are folded into the lake by the next rotation. On a key
    that is there already, the new row wins. Rows that would change much of a published day are held for `thermocline
    accept`.
    """
    with invocation.opened() as opened:
        done = opened.ingest(dataset, file, source=source_name, **asked)
    _tell_verdicts(invocation, dataset, done.verdicts)
    _tell_held(invocation, dataset, len(done.held))
    held = f" {plural(done.held_rows, 'row')} held." if done.held else ""
    invocation.answer(
        done.document(),
        f"{plural(done.hot_rows + done.late_rows, 'row')} accepted: {done.hot_rows:,d} in hot days, "
        f"{plural(done.late_rows, 'late row')} of cold days.{held}",
    )


@command(
    examples=("thermocline load market_data --as-of 2013-02-15", "thermocline load --hot-days 10"),
)
@datasets_argument
@as_of_option
@hot_days_option
def load(invocation: Invocation, datasets: Sequence[str], as_of: date | None, hot_days: int | None) -> None:
    """Bring the last days of the lake to PostgreSQL.

    For the named datasets, or for all: the intervals that may be hot, from `--hot-days` before today on. Days that are
    there already are left alone, so it can be repeated.
    """
    with invocation.opened() as opened, invocation.progress() as progress:
        done = opened.load_hot(datasets, as_of=as_of, hot_days=hot_days, progress=progress)
    rows = sum(moved.rows for moved in done.moved)
    invocation.answer(
        done.document(),
        f"{plural(done.loaded, 'partition')} loaded to hot ({plural(rows, 'row')}), {done.unchanged:,d} there already.",
    )


@command(
    examples=(
        "thermocline rotate --as-of 2013-02-25 --dry-run",
        "thermocline rotate --as-of 2013-02-25",
        "thermocline rotate --full --force",
    )
)
@datasets_argument
@as_of_option
@hot_days_option
@click.option("--dry-run", is_flag=True, help="Only say what would move.")
@click.option("--force", is_flag=True, help="Run although the settings switch automatic rotation off.")
@click.option("--full", is_flag=True, help="All datasets, instead of market_data alone.")
@click.option("--no-vacuum", is_flag=True, help="Leave out the VACUUM (ANALYZE) afterwards.")
def rotate(
    invocation: Invocation,
    datasets: Sequence[str],
    *,
    as_of: date | None,
    hot_days: int | None,
    dry_run: bool,
    force: bool,
    full: bool,
    no_vacuum: bool,
) -> None:
    """Move every day older than the hot window to the lake.

    Of market_data, unless other datasets are named or `--full` is given; late rows of cold days are folded in of every
    dataset, unless some are named. Each day is written, read back from the lake and compared before it leaves
    PostgreSQL; readers never see it in neither place. Nights that were missed are made up; a second run finds nothing
    to do. `thermocline undo` brings days back. Ends with exit code 1 when a day could not be moved; that day stays hot
    as it was.
    """
    with invocation.opened() as opened, invocation.progress() as progress:
        if dry_run:
            plan = opened.plan_rotation(datasets, full=full, as_of=as_of, hot_days=hot_days)
            moving = [moved.document() for moved in plan]
            document: dict[str, Any] = {"dry_run": True, "partitions": moving, "failed": []}
            invocation.answer(document, *moved_table(plan), _total(plan, "would move", "nothing is due"))
            return
        done = opened.rotate(datasets, full=full, force=force, as_of=as_of, hot_days=hot_days, progress=progress)
        chosen = [] if full else datasets or ["market_data"]
        vacuumed = None if no_vacuum else _vacuumed(opened, chosen)
    tell_failed(invocation, done.failed)
    document = {"dry_run": False, **done.document(), "vacuum": vacuumed}
    lines = [_total(done.moved, "moved to the lake, verified", _nothing_moved(done.failed, "nothing was due"))]
    if done.released:
        lines.append(f"{plural(len(done.released), 'day')} of earlier rotations can no longer be undone.")
    failed = bool(done.failed)
    if vacuumed and "error" in vacuumed:
        failed = True
        invocation.note(f"Error: VACUUM failed, the rotation stands: {vacuumed['error']['message']}")
    elif vacuumed:
        lines.append(vacuum_line(len(vacuumed["tables"]), vacuumed["dead_rows"], vacuumed["reclaimed_bytes"]))
    invocation.answer(document, *moved_table(done.moved), *lines)
    if failed:
        exit_with(FAILED)


def _vacuumed(opened: "Thermocline", datasets: Sequence[str]) -> dict[str, Any]:
    """What VACUUM did. Its failure must not hide what the rotation before it has done."""
    try:
        return opened.vacuum(datasets).document()
    except ThermoclineError as error:
        return {"error": {"type": type(error).__name__, "message": str(error)}}


@command(
    examples=(
        "thermocline undo market_data --start 2013-01-20",
        "thermocline undo market_data --start 2013-01-20 --days 3",
    )
)
@dataset_argument
@days_options
@intervals_option
@click.option("--days", type=click.IntRange(1), metavar="N", help="Keep them for N days; else they are due at once.")
@as_of_option
def undo(invocation: Invocation, dataset: str, **asked: Any) -> None:
    """Bring rotated days back to PostgreSQL as they were.

    Possible until a rotation that runs `undo_days` later. A day that has got new rows in the lake since is refused;
    `thermocline rehydrate` brings it back with them. Without `--days` the days are due again at once: give them a
    longer hot window, or the next rotation takes them out.
    """
    with invocation.opened() as opened:
        done = opened.undo(dataset, **asked)
    tell_failed(invocation, done.failed)
    invocation.answer(
        done.document(),
        *moved_table(done.moved),
        _total(done.moved, "hot again", _nothing_moved(done.failed, "there was nothing to undo")),
    )
    if done.failed:
        exit_with(FAILED)


@command(
    examples=(
        "thermocline rehydrate market_data --start 2012-12-01 --end 2013-01-01 --interval 1day",
        "thermocline rehydrate market_data --start 2012-06-01 --end 2012-07-01 --days 30",
    )
)
@dataset_argument
@days_options
@intervals_option
@click.option(
    "--days", type=click.IntRange(1), default=7, show_default=True, metavar="N", help="For how many days they stay."
)
@as_of_option
def rehydrate(invocation: Invocation, dataset: str, **asked: Any) -> None:
    """Bring cold days back to PostgreSQL for a set time.

    Whatever their age. Rotation leaves them alone for `--days` days; then it takes them out again, and writes nothing
    where nothing changed. Days that are there already stay at least as long.
    """
    with invocation.opened() as opened, invocation.progress() as progress:
        done = opened.rehydrate(dataset, **asked, progress=progress)
    rows = sum(moved.rows for moved in done.moved)
    invocation.answer(
        done.document(),
        *moved_table(done.moved),
        f"{plural(done.loaded, 'partition')} brought to hot ({plural(rows, 'row')}), {done.unchanged:,d} there before.",
    )


def moved_table(moved: "Sequence[Moved]") -> tuple[Table | str, ...]:
    """The first partitions, each with what happened to it, and how many are left out."""
    rows = [
        (
            each.partition.dataset,
            each.partition.interval or None,
            each.partition.day,
            each.action,
            each.rows,
            Size(each.size_bytes),
        )
        for each in moved
    ]
    return first_rows(Table(("dataset", "interval", "day", "action", "rows", "size"), rows))


def _total(moved: "Sequence[Moved]", what: str, nothing: str) -> str:
    if not moved:
        return f"{nothing[0].upper()}{nothing[1:]}."
    return f"{plural(len(moved), 'partition')} ({plural(sum(each.rows for each in moved), 'row')}) {what}."


def tell_failed(invocation: Invocation, failed: "Sequence[Failed]", what: str = "moved") -> None:
    """Name the partitions that failed on stderr, each with the reason; `what` could not be done with them."""
    for each in failed:
        click.echo(f"Error: {_told(each)}", err=True)
    if failed:
        stayed = "it was" if len(failed) == 1 else "they were"
        invocation.note(f"{plural(len(failed), 'partition')} could not be {what} and stayed as {stayed}; see above.")


def _told(failed: "Failed") -> str:
    """The reason, and the partition where the reason does not name it."""
    named = str(failed.partition) in failed.reason
    return failed.reason if named else f"{failed.partition}: {failed.reason}"


def _nothing_moved(failed: "Sequence[Failed]", nothing: str) -> str:
    """What to say when nothing moved: there was nothing to do, or all of it failed."""
    if not failed:
        return nothing
    others = f" (and {plural(len(failed) - 1, 'other partition')})" if len(failed) > 1 else ""
    return f"nothing could be moved: {_told(failed[0]).removesuffix('.')}{others}"


def _tell_verdicts(invocation: Invocation, dataset: str, verdicts: "Verdicts") -> None:
    if verdicts.rejected:
        invocation.note(
            f"{plural(verdicts.rejected, 'row')} may not go in ({_by_rule(verdicts.rejected_by)}); see `thermocline "
            f"quarantine list {dataset}`"
        )
    if verdicts.warned_by:
        invocation.note(f"some rows that went in break a rule: {_by_rule(verdicts.warned_by)}")
    if verdicts.cleared_by:
        invocation.note(f"what can't be known was made null: {_by_rule(verdicts.cleared_by)}")


def _by_rule(counts: "Counter[str]") -> str:
    return ", ".join(f"{rule} {count:,d}" for rule, count in counts.most_common())


def _tell_held(invocation: Invocation, dataset: str, partitions: int) -> None:
    if partitions:
        invocation.note(
            f"{plural(partitions, 'partition')} held, because much that is published would change; queries get what "
            f"they got before. See `thermocline vintages {dataset} --state held`, then `thermocline accept {dataset}` "
            f"or `thermocline reject {dataset}`"
        )
