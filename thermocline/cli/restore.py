"""The commands `restore request` and `restore status`: archived objects that are to be read again."""

from typing import TYPE_CHECKING, Any

import click

from thermocline.cli.commands import command, group
from thermocline.cli.invocation import FAILED, Invocation, exit_with
from thermocline.cli.options import dataset_argument, days_options, intervals_option
from thermocline.cli.words import Number, Size, Table, first_rows, plural, size, usd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thermocline.model.archives import ClassRead
    from thermocline.model.receipt import StoredObject
    from thermocline.tasks.restores import Requested, Restores

_MOST_DAYS = 365


@command(
    examples=(
        "thermocline restore request market_data --start 2012-01-01 --end 2013-01-01 --dry-run",
        "thermocline restore request market_data --interval 1day --speed Standard --days 3 --yes",
    )
)
@dataset_argument
@days_options
@intervals_option
@click.option(
    "--speed",
    type=click.Choice(["Bulk", "Standard", "Expedited"], case_sensitive=False),
    default="Bulk",
    help="How fast; the faster, the dearer.  [default: Bulk]",
)
@click.option(
    "--days",
    "keep_days",
    type=click.IntRange(1, _MOST_DAYS),
    default=7,
    metavar="N",
    help="Keep the copies for N days.  [default: 7]",
)
@click.option("--dry-run", is_flag=True, help="Say what it costs and takes, and ask for nothing.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def request(invocation: Invocation, dataset: str, *, dry_run: bool, yes: bool, **chosen: Any) -> None:
    """Have archived objects of some days made readable for a while.

    Shows what is archived, what bringing it back costs and how long it takes, asks, and then asks the store for it.
    What is on its way already is not asked for again. The objects stay in their class; a copy is kept for some days.
    """
    if invocation.as_json and not (yes or dry_run):
        msg = "with --json nobody can be asked; add --yes, or --dry-run to see what it costs"
        raise click.UsageError(msg)
    with invocation.opened() as opened:
        plan = opened.restores(dataset, **chosen)
        offer = plan.offer
        if dry_run or offer is None:
            invocation.answer(plan.document(), *_shown(plan))
            return
        if not yes:
            invocation.answer({}, *_shown(plan))
            if not click.confirm(f"Ask for it, for about {usd(offer.usd)}?", err=True):
                invocation.answer({}, "Nothing was asked for.")
                return
        with invocation.progress() as progress:
            done = opened.request_restores(plan, progress=progress)
    for path, reason in done.failed.items():
        click.echo(f"Error: {path}: {reason}", err=True)
    invocation.answer(done.document(), _done(done))
    if done.failed:
        exit_with(FAILED)


@command(examples=("thermocline restore status market_data --start 2012-01-01 --end 2013-01-01",))
@dataset_argument
@days_options
@intervals_option
def status(invocation: Invocation, dataset: str, **chosen: Any) -> None:
    """Say what is archived, on its way back, and readable until when.

    From the store's listings; asks for nothing.
    """
    with invocation.opened() as opened:
        plan = opened.restores(dataset, **chosen)
    invocation.answer(plan.document(), *_shown(plan))


def _shown(plan: "Restores") -> tuple[Table | str, ...]:
    held = (("archived", plan.archived), ("on its way", plan.restoring), ("restored", plan.restored))
    rows = [row for state, objects in held for row in _by_class(state, objects)]
    if not rows:
        at_once = f"{plural(plan.at_once, 'object')} can be read at once; nothing is to be restored."
        return (*reading(plan.reads), at_once)
    parts: list[Table | str] = [Table(("state", "class", "objects", "size", "readable until"), rows)]
    parts += first_rows(
        Table(
            ("speed", "requests", "retrieval", f"copies for {plural(plan.keep_days, 'day')}", "all of it", "within"),
            [
                (
                    each.speed, Number(usd(each.request_usd)), Number(usd(each.retrieval_usd)),
                    Number(usd(each.copies_usd)), Number(usd(each.usd)), Number(f"{each.hours:g} hours"),
                )
                for each in plan.offers
            ],
        )
    )  # fmt: skip
    if plan.at_once:
        parts.append(f"{plural(plan.at_once, 'object')} of these days can be read at once.")
    return tuple(parts)


def reading(reads: "Sequence[ClassRead]") -> tuple[Table | str, ...]:
    """What the lake's provider takes for reading objects, by their class."""
    rows = [
        (each.storage_class, each.objects, Size(each.size_bytes), None if each.usd is None else Number(usd(each.usd)))
        for each in reads
    ]
    return first_rows(Table(("class", "objects", "size", "reading it whole"), rows))


def _by_class(state: str, objects: "Sequence[StoredObject]") -> list[tuple[object, ...]]:
    found: dict[str, list[StoredObject]] = {}
    for each in objects:
        found.setdefault(each.storage_class, []).append(each)
    rows: list[tuple[object, ...]] = []
    for name, held in sorted(found.items()):
        until = min((each.readable_until for each in held if each.readable_until), default=None)
        text = f"{until:%Y-%m-%d %H:%M}" if until and state == "restored" else None
        rows.append((state, name, len(held), Size(sum(each.size_bytes for each in held)), text))
    return rows


def _done(done: "Requested") -> str:
    offer = done.plan.offer
    if offer is None or not done.requested:
        return "Nothing was asked for."
    asked = size(sum(each.size_bytes for each in done.requested))
    return (
        f"{plural(len(done.requested), 'object')} with {asked} asked for, {offer.speed}: readable within "
        f"{offer.hours:g} hours, for {plural(done.plan.keep_days, 'day')}. `thermocline restore status "
        f"{done.plan.dataset}` says how far it is; a query can --wait for it."
    )


@group(request, status)
def restore() -> None:
    """Bring back what lies in an archive, to be read.

    Of S3's GLACIER and DEEP_ARCHIVE, for some days. Every other class is read at once. For a lost database see
    `recover`, for a trial of copies `drill`.
    """
