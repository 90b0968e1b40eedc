"""The command `coverage`."""

from typing import TYPE_CHECKING, Any

import click

from thermocline.cli.commands import command
from thermocline.cli.invocation import Invocation
from thermocline.cli.options import dataset_argument, days_options, intervals_option, symbols_option
from thermocline.cli.words import Number, Table, first_rows, plural

if TYPE_CHECKING:
    from thermocline.model.coverage.report import CoverageReport

_GAPS_SHOWN = 20
_ROWS_DRAWN = 60


@command(
    examples=(
        "thermocline coverage market_data",
        "thermocline coverage market_data --symbol AAPL --interval 1day --start 2012-01-01 --end 2013-03-02",
        "thermocline coverage market_data --output coverage.svg",
    )
)
@dataset_argument
@symbols_option
@intervals_option
@days_options
@click.option("--asset-class", metavar="NAME", help="Only series of this one, such as equity or crypto.")
@click.option("--survey", is_flag=True, help="Count every row anew, also where nothing is known to have changed.")
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Draw the whole picture into a file instead: .svg or .html.",
)
def coverage(invocation: Invocation, dataset: str, output: str | None, **asked: Any) -> None:
    """Say what should be there, what is, and what is missing.

    Of each series: the bars that its calendar expects from the first day with rows to the last (or in the range that
    is given), how many are there and missing, its days by state, and the gaps. Below, a picture: a column for each
    day, week or month, a line for each series. Rows that changed since the last time are counted first.
    """
    if output:
        from thermocline.model.coverage.heat_map import check_name  # noqa: PLC0415  # for those who want a picture

        check_name(output)
    with invocation.opened() as opened, invocation.progress() as progress:
        report = opened.coverage(dataset, **asked, progress=progress)
    if not report.series:
        invocation.note(f"nothing is known of such rows of {dataset}; `thermocline backfill` brings some")
    if output and report.series:
        from thermocline.model.coverage.heat_map import written  # noqa: PLC0415  # as above

        with open(output, "w", encoding="utf-8") as file:  # noqa: PTH123  # a name as the user wrote it
            file.write(written(report, output))
        invocation.note(f"the picture is in {output}")
    invocation.answer(report.document(), *first_rows(_table(report)), *_gaps(report), *_drawn(invocation, report))


def _table(report: "CoverageReport") -> Table:
    from thermocline.model.coverage.heat_cells import percent  # noqa: PLC0415  # numpy
    from thermocline.model.coverage.states import State  # noqa: PLC0415  # numpy

    lines = []
    states = [state for state in State if any(each.count(state) for each in report.series)]
    for each in report.series:
        counts = [each.count(state) or None for state in states]
        share = percent(each.bars_missing, each.bars_expected) if each.bars_expected else "-"
        name = (each.series.asset_class or None, each.series.symbol, each.series.interval or None)
        bars = (each.bars_expected or None, each.bars_there, each.bars_missing)
        lines.append((*name, each.calendar, each.first, each.last, *bars, Number(share), *counts))
    names = ("asset class", "symbol", "interval", "calendar", "first", "last")
    columns = (*names, "expected", "there", "missing", "covered", *(state.value for state in states))
    return Table(columns, lines)


def _gaps(report: "CoverageReport") -> tuple[Table | str, ...]:
    """The gaps with the most bars."""
    gaps = [(each.series, run) for each in report.series for run in each.gaps()]
    if not gaps:
        return ()
    gaps.sort(key=lambda gap: gap[1].rows - gap[1].expected)
    rows = [
        (
            series.symbol, series.interval or None, run.start, run.end, run.state.value, run.expected - run.rows,
            ", ".join(run.told.sources) or run.told.reason or None,
        )
        for series, run in gaps[:_GAPS_SHOWN]
    ]  # fmt: skip
    left = len(gaps) - len(rows)
    table = Table(("gap of", "interval", "start", "end", "state", "missing", "told by"), rows)
    return (table, f"… and {plural(left, 'gap')} more; --json lists all") if left > 0 else (table,)


def _drawn(invocation: Invocation, report: "CoverageReport") -> tuple[str, ...]:
    """The picture for a terminal; nothing where no person looks."""
    if invocation.as_json or not report.series:
        return ()
    from thermocline.cli.heat_map import drawn  # noqa: PLC0415  # numpy and rich, for those who look

    return drawn(report, _ROWS_DRAWN)
