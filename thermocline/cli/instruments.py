"""The command that says who is who: instruments."""

from datetime import date

import click

from thermocline.cli.commands import command
from thermocline.cli.invocation import Invocation
from thermocline.cli.options import DAY
from thermocline.cli.words import Table, first_rows, plural


@command(
    examples=(
        "thermocline instruments WM",
        "thermocline instruments WM --on 2005-06-01",
        "thermocline instruments --on 2013-02-25 --json",
    )
)
@click.argument("symbol", required=False)
@click.option(
    "--on", type=DAY, help="Only what the symbol named on this day; without a symbol, all that were symbols then."
)
def instruments(invocation: Invocation, symbol: str | None, on: date | None) -> None:
    """Say which instruments a symbol named, and all their symbols.

    From the dataset `instruments`. An id is permanent: it outlives renames, and a symbol that another company takes
    over names another id from then on. `query --instrument ID` gives the rows of one as one series.
    """
    with invocation.opened() as opened:
        found = opened.instruments(symbol, on=on)
    table = Table(
        ("instrument", "asset class", "symbol", "from", "until", "exchange", "name"),
        [
            (each.instrument_id, each.asset_class, each.symbol, each.start, each.until, each.exchange, each.name)
            for each in found
        ],
    )
    count = len({each.instrument_id for each in found})
    nothing = f"No instrument is known{f' that {symbol} named' if symbol else ''}{f' on {on}' if on else ''}."
    invocation.answer(
        {"instruments": [each.document() for each in found]},
        *first_rows(table),
        f"{plural(count, 'instrument')}; `until` is the first day that no longer counts." if found else nothing,
    )
