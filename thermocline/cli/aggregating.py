"""Commands that ask for measures of rows, or for bars of a coarser size: aggregate, resample."""

from collections.abc import Sequence
from typing import Any

import click

from thermocline.cli.asking import give
from thermocline.cli.commands import command
from thermocline.cli.invocation import Invocation
from thermocline.cli.options import (
    INTERVAL,
    as_of_vintage_option,
    dataset_argument,
    instants_options,
    intervals_option,
    output_option,
    symbols_option,
)


@command(
    examples=(
        'thermocline aggregate market_data --measure count --measure "sum(volume)" --by symbol --interval 1day',
        'thermocline aggregate market_data --measure "max(high)" --by symbol --every 1week --interval 1day',
    )
)
@dataset_argument
@click.option(
    "--measure",
    "measures",
    multiple=True,
    required=True,
    metavar="TEXT",
    help="What to say of each group: count, sum, min, max, avg, first or last of a column; can be given several times.",
)
@click.option("--by", metavar="A,B", help="Columns whose values rows of one group share, separated by commas.")
@click.option("--every", metavar="SIZE", help="How long a group lasts, such as 1hour or 1day, in UTC.")
@symbols_option
@intervals_option
@instants_options
@as_of_vintage_option
@output_option
def aggregate(
    invocation: Invocation, dataset: str, measures: Sequence[str], by: str | None, output: str | None, **asked: Any
) -> None:
    """Give measures of groups of rows from both tiers.

    Each tier works out its part, both at once; the answer is that of one pass over all rows.
    """
    names = [name.strip() for name in by.split(",")] if by else []
    with invocation.opened() as opened:
        give(invocation, lambda _: opened.aggregate(dataset, measures, by=names, **asked), None, output, named=True)


@command(examples=("thermocline resample market_data --to 1week --interval 1day --symbol AAPL --start 2013-01-01",))
@dataset_argument
@click.option("--to", required=True, metavar="SIZE", help="The size to make, such as 1hour, 1day, 1week or 1month.")
@click.option("--interval", type=INTERVAL, default="1min", help="The size that they are made of.  [default: 1min]")
@symbols_option
@instants_options
@click.option(
    "--align",
    type=click.Choice(["session", "clock"]),
    default="session",
    help="Begin as the session does, or with the exchange's clock.",
)
@click.option(
    "--session",
    type=click.Choice(["regular", "extended"]),
    default="regular",
    help="With extended, bars before and after the session too.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most the first N bars.")
@as_of_vintage_option
@output_option
def resample(invocation: Invocation, dataset: str, limit: int | None, output: str | None, **asked: Any) -> None:
    """Give bars of a coarser size, right at session bounds.

    None has bars of two sessions in it, and each is whole: the range is that of the bars that are made.
    """
    with invocation.opened() as opened:
        give(invocation, lambda most: opened.resample(dataset, limit=most, **asked), limit, output, named=True)
