"""Commands that speak of vintages: vintages."""

from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

from thermocline.cli.commands import command
from thermocline.cli.invocation import Invocation
from thermocline.cli.options import dataset_argument, days_options, intervals_option
from thermocline.cli.words import Size, Table, first_rows
from thermocline.model.receipt import VintageState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from thermocline.model.receipt import Vintage


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
