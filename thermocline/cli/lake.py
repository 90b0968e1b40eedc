"""Commands that keep the lake in order: compact, expire."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from thermocline.cli.commands import command
from thermocline.cli.invocation import FAILED, Invocation, exit_with
from thermocline.cli.options import as_of_option, datasets_argument, days_options, intervals_option
from thermocline.cli.words import Size, Table, first_rows, plural, size

if TYPE_CHECKING:
    from thermocline.tasks.compact import LeftApart
    from thermocline.tasks.expire import Expired
    from thermocline.tasks.periods import Period
    from thermocline.tasks.prefixes import ExpiredPrefix

_LARGEST_MIB = 1 << 20
_LONGEST_DAYS = 36_500


@command(
    examples=(
        "thermocline compact --dry-run",
        "thermocline compact market_data --interval 1day --start 2012-01-01 --end 2013-01-01",
    )
)
@datasets_argument
@days_options
@intervals_option
@click.option(
    "--target-mib",
    type=click.IntRange(1, _LARGEST_MIB),
    metavar="N",
    help="Bring a month or year together only if its objects are at most N MiB, instead of what the settings say.",
)
@click.option(
    "--pay-early",
    is_flag=True,
    help="Also where objects leave a storage class that they are billed for a while yet; --dry-run says what that is.",
)
@click.option("--dry-run", is_flag=True, help="Only say which months and years would be brought together.")
@as_of_option
def compact(
    invocation: Invocation, datasets: Sequence[str], *, dry_run: bool, as_of: date | None, **chosen: Any
) -> None:
    """Bring the objects of each closed year or month together in one.

    Of the named datasets, or of all. A month is closed when rotation would take every day of it and none of its days is
    hot, has late rows or waits for a person; a year when all of it is. A closed year that is too large is brought
    together month by month. Rows and answers stay the same; the old objects go with `expire`.
    """
    with invocation.opened() as opened:
        if dry_run:
            plan = opened.plan_compaction(datasets, as_of=as_of, **chosen)
            what = f"{_counted(plan.periods)} would be brought together."
            document = {"dry_run": True, **plan.document()}
            invocation.answer(document, *_listed(plan.periods), *_apart(plan.left), what)
            return
        with invocation.progress() as progress:
            done = opened.compact(datasets, as_of=as_of, progress=progress, **chosen)
    for failed in done.failed:
        click.echo(f"Error: {failed.partition.series} {failed.partition.day:%Y-%m}: {failed.reason}", err=True)
    before = sum(period.size_bytes for period in done.periods)
    invocation.answer(
        {"dry_run": False, **done.document()},
        *_listed(done.periods),
        *_apart(done.left),
        f"{_counted(done.periods)} compacted, verified: {size(before)} are now {size(done.size_bytes)}."
        if done.periods
        else "No closed month or year that could be brought together lies in more objects than one.",
    )
    if done.failed:
        exit_with(FAILED)


def _counted(periods: "Sequence[Period]") -> str:
    years = sum(period.is_year for period in periods)
    return f"{plural(years, 'year')} and {plural(len(periods) - years, 'month')}"


def _listed(periods: "Sequence[Period]") -> tuple[Table | str, ...]:
    rows = [
        (
            each.dataset,
            each.interval or None,
            str(each),
            len(each.receipts),
            each.rows,
            each.objects,
            Size(each.size_bytes),
        )
        for each in periods
    ]
    return first_rows(Table(("dataset", "interval", "period", "days", "rows", "objects", "size"), rows))


def _apart(left: "Sequence[LeftApart]") -> tuple[Table | str, ...]:
    rows = [
        (each.period.dataset, each.period.interval or None, str(each.period), each.reason, each.penalty_usd)
        for each in left
    ]
    return first_rows(Table(("dataset", "interval", "period", "left because", "early usd"), rows)) if rows else ()


@command(
    examples=(
        "thermocline expire --dry-run",
        "thermocline expire market_data --keep-vintages-days 365",
    )
)
@datasets_argument
@click.option(
    "--keep-vintages-days",
    type=click.IntRange(0, _LONGEST_DAYS),
    metavar="N",
    help="Keep a superseded version for N days, instead of what the settings say.",
)
@click.option(
    "--grace-hours",
    type=click.FloatRange(0),
    metavar="H",
    help="Delete what nothing named for H hours, instead of what the settings say; more than the longest query takes.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@as_of_option
def expire(
    invocation: Invocation, datasets: Sequence[str], *, dry_run: bool, as_of: date | None, **chosen: Any
) -> None:
    """Let go what is kept no longer.

    Superseded versions of days that are older than they are kept (by default they are kept forever), snapshots of the
    Iceberg table, and objects that no kept version names: those that compaction or a run that died left behind. An
    object is deleted only when it was without a name for the grace, 24 hours by default. So are files of the table
    that no kept version of it names, and what lies below raw/, processed/ and cache/ for longer than the settings say.
    """
    with invocation.opened() as opened:
        if dry_run:
            found = opened.plan_expiry(datasets, as_of=as_of, **chosen)
            prefixes = opened.plan_prefixes(datasets)
        else:
            with invocation.progress() as progress:
                found = opened.expire(datasets, as_of=as_of, progress=progress, **chosen)
                prefixes = opened.expire_prefixes(datasets, progress=progress)
    deleted = [(each.dataset, idle.path, Size(idle.size_bytes)) for each in found for idle in each.deleted]
    would = "would be " if dry_run else ""
    invocation.answer(
        {
            "dry_run": dry_run,
            "datasets": [each.document() for each in found],
            "prefixes": [each.document() for each in prefixes],
        },
        *first_rows(Table(("dataset", "object", "size"), deleted)),
        *_beside(prefixes),
        *_strange(found),
        _told(found, would),
    )


def _beside(prefixes: "Sequence[ExpiredPrefix]") -> tuple[Table | str, ...]:
    rows = [(each.prefix, each.days, len(each.deleted), Size(each.deleted_bytes), each.kept) for each in prefixes]
    return (Table(("prefix", "older than days", "deleted", "size", "kept"), rows),) if rows else ()


def _strange(found: "Sequence[Expired]") -> tuple[Table | str, ...]:
    rows = [(each.dataset, idle.path, Size(idle.size_bytes)) for each in found for idle in each.unaccounted]
    if not rows:
        return ()
    what = (
        f"{plural(len(rows), 'object')} stay: the lake's journal says that they were published, and this ledger never "
        "knew of it. Was PostgreSQL restored from a backup? Backfill these days again, or recover into an empty one."
    )
    return (*first_rows(Table(("dataset", "object", "size"), rows)), what)


def _told(found: "Sequence[Expired]", would: str) -> str:
    objects = sum(len(each.deleted) + len(each.metadata) for each in found)
    waiting = sum(len(each.waiting) for each in found)
    freed = size(sum(each.deleted_bytes for each in found))
    vintages, snapshots = sum(len(each.vintages) for each in found), sum(len(each.snapshots) for each in found)
    return (
        f"{plural(objects, 'object')} {would}deleted ({freed}), {plural(vintages, 'version')} and "
        f"{plural(snapshots, 'snapshot')} {would}forgotten; {plural(waiting, 'object')} without a name "
        f"{would}kept until the grace is over."
    )
