"""The command that derives rows from rows."""

from typing import Any

import click

from thermocline.cli.commands import command
from thermocline.cli.invocation import Invocation
from thermocline.cli.options import DatasetName, as_of_option, days_options, symbols_option
from thermocline.cli.words import plural


@command(
    examples=(
        "thermocline derive features",
        "thermocline derive features --start 2012-01-01 --end 2013-01-01 --symbol AAPL --full",
    )
)
@click.argument("dataset", type=DatasetName(), default="features")
@days_options
@symbols_option
@click.option("--full", is_flag=True, help="Every day, also where nothing changed since it was derived.")
@as_of_option
def derive(invocation: Invocation, dataset: str, **asked: Any) -> None:
    """Derive RSI, moving averages, volatility and beta from bars.

    From the daily bars of market_data, with splits undone. Only days are derived whose bars or splits changed since
    they were last; days that say nothing new are not written, and what other sources say in the same rows stays. With
    `--symbol` the days stay due for all other symbols.
    """
    with invocation.opened() as opened, invocation.progress() as progress:
        done = opened.derive(dataset, **asked, progress=progress)
    made = done.backfilled
    if not done.days:
        invocation.note("there are no daily bars on such days; backfill market_data first")
    hot = f", {plural(made.merged_hot, 'partition')} merged into hot alone" if made.merged_hot else ""
    invocation.answer(
        done.document(),
        f"{len(done.due):,d} of {plural(done.days, 'day')} were due: {plural(made.rows, 'row')} of {dataset} derived, "
        f"{plural(made.written, 'partition')} written, {made.unchanged:,d} unchanged{hot}.",
    )
