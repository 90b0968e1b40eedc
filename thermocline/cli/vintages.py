"""Commands that speak of vintages: vintages, accept, reject."""

from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

from thermocline.cli.commands import command
from thermocline.cli.invocation import FAILED, Invocation, exit_with
from thermocline.cli.moving import moved_table, tell_failed
from thermocline.cli.options import dataset_argument, days_options, intervals_option
from thermocline.cli.words import Size, Table, first_rows, plural
from thermocline.model.receipt import VintageState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from thermocline.model.receipt import Vintage
    from thermocline.tasks.restatements import Judged


@command(
    examples=(
        "thermocline vintages market_data --start 2013-01-14 --end 2013-01-19",
        "thermocline vintages market_data --state held",
    )
)
@dataset_argument
@days_options
@intervals_option
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in VintageState]),
    help="Only vintages in this state; can be given several times.",
)
def vintages(invocation: Invocation, dataset: str, **asked: Any) -> None:
    """List what each day was published as, and when.

    Every version of a day that was ever written: the live one, which queries get, those that it superseded, and those
    that are held for `thermocline accept` or `reject`. `query --as-of-vintage` reads superseded ones.
    """
    with invocation.opened() as opened:
        found = opened.vintages(dataset, **asked)
    invocation.answer({"vintages": [each.document() for each in found]}, *_listed(found))


_version_option = click.option(
    "--version", type=click.IntRange(1), metavar="N", help="Only this version; else every one that is held."
)


@command(examples=("thermocline accept market_data --start 2013-01-14 --end 2013-01-15",))
@dataset_argument
@days_options
@intervals_option
@_version_option
def accept(invocation: Invocation, dataset: str, **asked: Any) -> None:
    """Make restatements live that are held.

    All of the dataset, or those of the named days. Each is read back from the lake first. Where the day was published
    anew meanwhile, the held rows go over it as a backfill's do: of one key, the row that was ingested later wins. Days
    that are hot get the rows too.
    """
    with invocation.opened() as opened:
        _tell(invocation, opened.accept(dataset, **asked), "live now")


@command(examples=("thermocline reject market_data --start 2013-01-14 --end 2013-01-15",))
@dataset_argument
@days_options
@intervals_option
@_version_option
def reject(invocation: Invocation, dataset: str, **asked: Any) -> None:
    """Never make restatements live that are held.

    All of the dataset, or those of the named days. They stay listed as rejected; queries get what they got before.
    """
    with invocation.opened() as opened:
        _tell(invocation, opened.reject(dataset, **asked), "rejected")


def _tell(invocation: Invocation, done: "Judged", what: str) -> None:
    tell_failed(invocation, done.failed)
    count = sum(moved.action != "unchanged" for moved in done.moved)
    lines = [f"{plural(count, 'restatement')} {what}."] if count else []
    if same := len(done.moved) - count:
        lines.append(f"{plural(same, 'restatement')} said nothing that is not live already.")
    if not (done.moved or done.failed):
        lines.append("Nothing is held there.")
    invocation.answer(done.document(), *moved_table(done.moved), *lines)
    if done.failed:
        exit_with(FAILED)


def _listed(found: "Sequence[Vintage]") -> tuple[Table | str, ...]:
    if not found:
        return ("No such vintages.",)
    columns = (
        "interval",
        "day",
        "version",
        "state",
        "rows",
        "size",
        "published",
        "superseded",
        "run",
        "object",
        "reason",
    )
    rows = [
        (
            each.partition.interval or None,
            each.partition.day,
            each.receipt.version,
            "live" if each.is_live else each.state.value,
            each.receipt.contents.rows,
            Size(each.receipt.size_bytes),
            _at(each.published_at),
            each.superseded_at and _at(each.superseded_at),
            each.receipt.run_id,
            each.receipt.path,
            each.reason or None,
        )
        for each in found
    ]
    return first_rows(Table(columns, rows))


def _at(instant: "datetime") -> str:
    """The instant in UTC, every digit of it: `--as-of-vintage` takes it as it stands."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
