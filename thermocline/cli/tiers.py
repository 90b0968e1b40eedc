"""The commands `tiers show`, `plan`, `apply` and `simulate`: storage classes of the lake and what they cost."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from thermocline.cli.commands import command, group
from thermocline.cli.invocation import FAILED, Invocation, exit_with
from thermocline.cli.options import as_of_option, datasets_argument, days_options, intervals_option
from thermocline.cli.words import Number, Size, Table, first_rows, plural, size, usd

if TYPE_CHECKING:
    from thermocline.api import Thermocline
    from thermocline.model.tiering import Removal, TieredObject
    from thermocline.tasks.tiered import Planned, Shown, Tiered

F = TypeVar("F", bound=Callable[..., Any])

_MOST_REQUESTS = 10_000_000
_MOST_YEARS = 50
_COLOURS = ("cyan", "yellow", "magenta", "green")
_NO_POLICY = (
    "No retention is set, so nothing is due anywhere: choose storage.retention.preset in thermocline.yaml, or ages of "
    "your own (docs/tiering.md)."
)


def _remark(invocation: Invocation, opened: "Thermocline") -> None:
    """Say what is odd about the policy."""
    for remark in opened.settings.retention.remarks(opened.settings.provider):
        invocation.note(remark)


def _chosen(command: F) -> F:
    """Give a command what chooses objects."""
    return datasets_argument(days_options(intervals_option(as_of_option(command))))


max_requests_option = click.option(
    "--max-requests",
    type=click.IntRange(1, _MOST_REQUESTS),
    metavar="N",
    help="Make at most N requests in this run, instead of what the settings say; the next run goes on.",
)


@command(examples=("thermocline tiers show", "thermocline tiers show market_data --interval 1day"))
@_chosen
def show(invocation: Invocation, datasets: Sequence[str], **chosen: Any) -> None:
    """Say in which storage classes the lake lies, and what that costs.

    Bytes, objects and dollars a month by dataset and class, and the objects that are not in the class that is due for
    them by the retention policy.
    """
    with invocation.opened() as opened:
        shown = opened.tiers(datasets, **chosen)
        _remark(invocation, opened)
    invocation.answer(shown.document(), *_shown(invocation, shown))


@command(
    examples=(
        "thermocline tiers plan",
        "thermocline tiers plan market_data --start 2024-01-01 --end 2024-02-01 --json",
    )
)
@_chosen
@max_requests_option
def plan(invocation: Invocation, datasets: Sequence[str], **chosen: Any) -> None:
    """Say which objects would move to another class, and why.

    Of each its class, the class that is due, the fee, the saving a month and the days to break even, or the reason to
    leave it where it is; and the days that would be deleted because their retention is over. `apply --digest` does
    exactly that.
    """
    with invocation.opened() as opened:
        planned = opened.plan_tiers(datasets, **chosen)
        _remark(invocation, opened)
    invocation.answer(planned.document(), *_planned(planned))


@command(
    examples=(
        "thermocline tiers apply",
        "thermocline tiers apply market_data --yes --max-requests 1000",
        "thermocline tiers apply --digest 0123456789abcdef",
    )
)
@_chosen
@max_requests_option
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--digest", metavar="DIGEST", help="Don't ask, but do exactly the plan of this digest or refuse.")
def apply(invocation: Invocation, datasets: Sequence[str], *, yes: bool, digest: str | None, **chosen: Any) -> None:
    """Move objects to the classes that are due, as the plan says.

    Shows the plan, asks, and does exactly that; where something of it changed meanwhile nothing is done. Days whose
    retention is over are deleted from the lake. What is beyond the run's budget of requests is left to the next one.
    """
    if invocation.as_json and not (yes or digest):
        msg = "with --json nobody can be asked; add --yes, or --digest with the digest of `thermocline tiers plan`"
        raise click.UsageError(msg)
    with invocation.opened() as opened:
        if digest is None:
            planned = opened.plan_tiers(datasets, **chosen)
            digest = planned.digest
            if not invocation.as_json and not planned.is_empty and not yes:
                invocation.answer({}, *_planned(planned))
                if not click.confirm("Do this?", err=True):
                    invocation.answer({}, "Nothing was changed.")
                    return
        with invocation.progress() as progress:
            done = opened.apply_tiers(digest, datasets, progress=progress, **chosen)
    for failed in done.failed:
        click.echo(f"Error: {failed.object.path}: {failed.reason}", err=True)
    if done.stopped:
        click.echo(f"Error: {done.stopped}", err=True)
    invocation.answer(done.document(), *_done(done))
    if done.failed or done.stopped:
        exit_with(FAILED)


@command(
    examples=(
        "thermocline tiers simulate --years 10",
        "thermocline tiers simulate market_data --years 5 --output costs.svg",
    )
)
@_chosen
@click.option(
    "--growth",
    "growth_per_year",
    type=click.FloatRange(-0.9, 10),
    default=0.0,
    metavar="SHARE",
    help="By which share a day's bytes grow in a year, such as 0.2.",
)
@click.option("--years", type=click.IntRange(1, _MOST_YEARS), default=10, metavar="N", help="How far.  [default: 10]")
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Draw the picture into a file, too: .svg or .html.",
)
def simulate(invocation: Invocation, datasets: Sequence[str], *, years: int, output: str | None, **chosen: Any) -> None:
    """Say what the policy costs over years, day by day.

    Of a lake that begins empty and grows as this one did in its last year. Beside it, the same objects left in the
    first class, and the same rows kept in PostgreSQL.
    """
    if output:
        from thermocline.model.charts import check_name  # noqa: PLC0415  # for those who want a picture

        check_name(output)
    with invocation.opened() as opened:
        simulated = opened.simulate_tiers(datasets, years=years, **chosen)
    if output:
        from thermocline.cli.tier_costs import TITLE, drawn  # noqa: PLC0415  # as above
        from thermocline.model.charts import as_file  # noqa: PLC0415

        with open(output, "w", encoding="utf-8") as file:  # noqa: PTH123  # a name as the user wrote it
            file.write(as_file(drawn(simulated), TITLE, output))
        invocation.note(f"the picture is in {output}")
    from thermocline.cli.tier_costs import told  # noqa: PLC0415

    invocation.answer(simulated.document(), *told(simulated))


def _shown(invocation: Invocation, shown: "Shown") -> tuple[Table | str, ...]:
    rows = [
        (each.dataset, each.storage_class, each.objects, Size(each.size_bytes), Number(usd(each.usd_per_month)))
        for each in shown.holdings
    ]
    if not rows:
        return ("The lake holds nothing of these.",)
    total = sum(each.size_bytes for each in shown.holdings)
    parts: list[Table | str] = [
        Table(("dataset", "class", "objects", "size", "a month"), rows),
        *_bars(invocation, shown),
    ]
    objects = plural(sum(each.objects for each in shown.holdings), "object")
    parts.append(f"{objects} with {size(total)} cost {usd(shown.usd_per_month)} a month.")
    if not shown.has_policy:
        parts.append(_NO_POLICY)
    elif shown.misplaced:
        apart = size(sum(each.size_bytes for each in shown.misplaced))
        parts.append(
            f"{plural(len(shown.misplaced), 'object')} with {apart} are not in the class that is due; `thermocline "
            "tiers plan` says which would move."
        )
    else:
        parts.append("Every object is in the class that is due.")
    if shown.unnamed:
        parts.append(
            f"Beside them {plural(len(shown.unnamed), 'object')} with {size(shown.unnamed_bytes)} that no kept version "
            "names; `thermocline expire` deletes those whose grace is over."
        )
    if shown.strange:
        names = ", ".join(sorted({each.storage_class for each in shown.strange}))
        parts.append(
            f"{plural(len(shown.strange), 'object')} in {names}, of which nothing is known here, are not counted, and "
            "left alone."
        )
    parts += [f"{path} is missing: run `thermocline verify`." for path in shown.missing]
    return tuple(parts)


def _bars(invocation: Invocation, shown: "Shown") -> tuple[str, ...]:
    """The bytes of each class for a terminal; nothing where no person looks."""
    if invocation.as_json:
        return ()
    from thermocline.cli.charts import bars  # noqa: PLC0415  # for those who look

    by_class = [(name, float(bytes_), f"{size(bytes_)}, {usd(cost)} a month") for name, bytes_, cost in shown.by_class]
    return ("", *bars(by_class, colours=_COLOURS), "")


def _planned(planned: "Planned") -> tuple[Table | str, ...]:
    plan = planned.plan
    moves = [
        (
            move.object.dataset, move.object.interval or None, _days(move.object), move.object.storage_class, move.to,
            Size(move.object.size_bytes), Number(usd(move.fee_usd + move.penalty_usd)),
            Number(usd(move.saving_usd_per_month)), _break_even(move.break_even_days),
        )
        for move in plan.transitions
    ]  # fmt: skip
    columns = ("dataset", "interval", "days", "from", "to", "size", "costs", "saves a month", "pays after")
    parts: list[Table | str] = [*_deleted(plan.removals), *first_rows(Table(columns, moves)), *_left(planned)]
    moved = sum(move.object.size_bytes for move in plan.transitions)
    fees = sum(move.fee_usd + move.penalty_usd for move in plan.transitions)
    saved = sum(move.saving_usd_per_month for move in plan.transitions)
    if moves:
        objects = plural(len(moves), "object")
        parts.append(f"{objects} with {size(moved)} would move: {usd(fees)} once, {usd(saved)} less a month.")
    elif not planned.has_policy:
        parts.append(_NO_POLICY)
    else:
        parts.append("No object would move." if planned.plan.left else "Every object is in the class that is due.")
    if plan.postponed:
        parts.append(
            f"{plural(plan.postponed, 'object')} more are due, and left to later runs by the budget of requests."
        )
    if not planned.is_empty:
        parts.append(f"The digest of this plan is {planned.digest}.")
    return tuple(parts)


def _deleted(removals: "Sequence[Removal]") -> tuple[Table | str, ...]:
    """The days that go for good, before everything else."""
    if not removals:
        return ()
    rows = [
        (
            each.object.dataset,
            each.object.interval or None,
            _days(each.object),
            Size(each.object.size_bytes),
            each.age_days,
            Number(usd(each.penalty_usd)),
            Number(usd(each.freed_usd_per_month)),
        )
        for each in removals
    ]
    freed = size(sum(each.object.size_bytes for each in removals))
    early = sum(each.penalty_usd for each in removals)
    billed = (
        f" Gone before the minimum duration of their class is over, they are billed {usd(early)} more." if early else ""
    )
    warning = click.style("FOR GOOD", fg="red", bold=True)
    return (
        f"Deleted {warning}, since their retention is over: {plural(len(removals), 'object')} with {freed}.{billed}",
        *first_rows(Table(("dataset", "interval", "days", "size", "age in days", "costs", "saves a month"), rows)),
    )


def _left(planned: "Planned") -> tuple[Table | str, ...]:
    """How many objects stay where they are, by the reason."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for left in planned.plan.left:
        key = (left.object.dataset, left.due, left.reason.value)
        found.setdefault(key, []).append(left.object.size_bytes)
    rows = [(*key, len(sizes), Size(sum(sizes))) for key, sizes in sorted(found.items())]
    return first_rows(Table(("left of", "due", "since", "objects", "size"), rows))


def _done(done: "Tiered") -> tuple[Table | str, ...]:
    parts = []
    if done.removed:
        freed = size(sum(removal.object.size_bytes for removal in done.removed))
        parts.append(
            f"{plural(len(done.removed), 'object')} of days whose retention is over ({freed}) were taken out of the "
            "lake; `thermocline expire` deletes them when its grace is over."
        )
    if done.moved:
        moved = size(sum(move.object.size_bytes for move in done.moved))
        fees = sum(move.fee_usd + move.penalty_usd for move in done.moved)
        saved = sum(move.saving_usd_per_month for move in done.moved)
        objects = plural(len(done.moved), "object")
        parts.append(f"{objects} with {moved} moved: {usd(fees)} once, {usd(saved)} less a month.")
    if not parts and not done.failed:
        parts.append("There is nothing to do." if done.planned.has_policy else _NO_POLICY)
    if done.remaining:
        parts.append(f"{plural(done.remaining, 'object')} more are due; run it again to go on.")
    return tuple(parts)


def _days(tiered: "TieredObject") -> str:
    one = tiered.first_day == tiered.last_day
    return tiered.last_day.isoformat() if one else f"{tiered.first_day} to {tiered.last_day}"


def _break_even(days: float | None) -> Number | None:
    return None if days is None else Number(plural(round(days), "day"))


@group(show, plan, apply, simulate)
def tiers() -> None:
    """Move the lake's objects to cheaper storage classes.

    By the retention policy of the settings, where it pays.
    """
