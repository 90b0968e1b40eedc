"""Commands that ask: query, sql, status, verify."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from textwrap import fill
from typing import TYPE_CHECKING, Any, TypeVar

import click

from thermocline.cli.commands import command
from thermocline.cli.invocation import FAILED, Invocation, exit_with
from thermocline.cli.options import (
    DAY,
    as_of_option,
    as_of_vintage_option,
    dataset_argument,
    datasets_argument,
    days_options,
    instants_options,
    intervals_option,
    output_option,
    symbols_option,
)
from thermocline.cli.words import ROWS_SHOWN, TERMINAL, Size, Table, first_rows, plural, size

if TYPE_CHECKING:
    from thermocline.answer import Answer
    from thermocline.api import Thermocline
    from thermocline.ports import Trouble, Unfinished
    from thermocline.tasks.status import SeriesStatus

F = TypeVar("F", bound=Callable[..., Any])

_COUNTED = 100_000
"""Rows that are counted beyond those on the screen; who wants to know more asks for a file."""


instrument_option = click.option(
    "--instrument",
    metavar="ID",
    help="The instrument with this id, under every symbol that it had (see `thermocline instruments`).",
)


no_cache_option = click.option("--no-cache", is_flag=True, help="Read anew what was answered before.")


def wait_options(command: F) -> F:
    """Give a command what says whether and how long to wait for archived objects that are being restored."""
    for option in reversed(
        (
            click.option("--wait", is_flag=True, help="Wait for archived objects whose restore is on its way."),
            click.option(
                "--wait-seconds",
                type=click.FloatRange(0),
                metavar="N",
                help="Wait N seconds at most.",
            ),
            click.option(
                "--poll-seconds",
                type=click.FloatRange(0.1),
                default=60.0,
                metavar="N",
                help="Ask the store every N seconds.  [default: 60]",
            ),
        )
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class Waiting:
    """What the options say of waiting."""

    wait: bool
    wait_seconds: float | None
    poll_seconds: float

    def once_restored(self, invocation: Invocation, opened: "Thermocline", answer: "Answer") -> "Answer":
        """The answer, which waits for restores where that was asked for."""
        if not (self.wait or self.wait_seconds is not None):
            return answer
        return opened.once_restored(
            answer, wait_seconds=self.wait_seconds, poll_seconds=self.poll_seconds, progress=invocation.progress
        )


@command(
    examples=(
        "thermocline query market_data --symbol AAPL --interval 1day --start 2013-01-01 --end 2013-03-02",
        "thermocline query market_data --symbol AAPL --symbol IBM --columns symbol,ts,close --limit 10 --json",
        "thermocline query market_data --interval 1day --output bars.parquet",
        "thermocline query market_data --symbol AAPL --as-of-vintage 2030-01-01",
        "thermocline query market_data --symbol AAPL --interval 1day --adjust splits --adjust-as-of 2013-03-01",
    )
)
@dataset_argument
@symbols_option
@intervals_option
@instants_options
@as_of_vintage_option
@instrument_option
@click.option(
    "--adjust",
    type=click.Choice(["splits", "all"]),
    help="Bars adjusted for splits, or for splits and dividends; they are raw otherwise.",
)
@click.option("--adjust-as-of", type=DAY, help="Only events up to and with this day count; today if not said.")
@click.option("--columns", metavar="A,B", help="Only these columns, separated by commas.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most the first N rows.")
@wait_options
@no_cache_option
@output_option
def query(
    invocation: Invocation, dataset: str, columns: str | None, limit: int | None, output: str | None, **asked: Any
) -> None:
    """Give rows wherever they live, each exactly once.

    Ordered by interval, time and key. On the screen the first rows; all of them with `--json`, where prices are exact
    strings and times UTC, or with `--output`. Where objects must be restored from an archive first it fails before the
    first row and says how; with `--wait` it waits for those that `restore request` has asked for.
    """
    waiting = _waiting(asked)
    names = [name.strip() for name in columns.split(",")] if columns else []
    with invocation.opened(cache=not asked.pop("no_cache")) as opened:

        def ask(most: int | None) -> "Answer":
            return waiting.once_restored(invocation, opened, opened.query(dataset, columns=names, limit=most, **asked))

        give(invocation, ask, limit, output, named=bool(names))


@command(
    examples=(
        'thermocline sql "select symbol, count(*), max(close) from market_data group by symbol order by symbol"',
        "thermocline sql \"select * from market_data where symbol = 'IBM'\" --output ibm.csv",
    )
)
@click.argument("statement")
@as_of_vintage_option
@wait_options
@output_option
def sql(invocation: Invocation, statement: str, as_of_vintage: str | None, output: str | None, **asked: Any) -> None:
    """Answer one read-only SELECT over both tiers, in DuckDB's SQL.

    Every dataset is a table of its name. STATEMENT - reads it from standard input. It reads the whole of each dataset
    that it names, so archived objects of any day must be restored first; `--wait` is as with `query`.
    """
    if statement == "-":
        statement = sys.stdin.read()
    waiting = _waiting(asked)
    with invocation.opened() as opened:

        def ask(_: int | None) -> "Answer":
            return waiting.once_restored(invocation, opened, opened.sql(statement, as_of_vintage=as_of_vintage))

        give(invocation, ask, None, output, named=True)


def _waiting(asked: dict[str, Any]) -> Waiting:
    """What of the options is about waiting; the others are left."""
    return Waiting(asked.pop("wait"), asked.pop("wait_seconds"), asked.pop("poll_seconds"))


def give(
    invocation: Invocation, ask: "Callable[[int | None], Answer]", limit: int | None, output: str | None, *, named: bool
) -> None:
    """Rows as they were asked for: into a file, as JSON, or the first few for the eye."""
    from thermocline.cli import files, rows  # noqa: PLC0415  # Arrow, for those who ask for rows

    if output:
        file = files.file_for(output)
        with ask(limit).batches() as reader, invocation.progress() as progress:
            count = file.write(reader, progress)
        written = file.path.stat().st_size
        document = {"output": str(file.path), "row_count": count, "bytes": written}
        invocation.answer(document, f"{plural(count, 'row')} written to {file.path} ({size(written)}).")
    elif invocation.as_json:
        rows.write_json(ask(limit).batches(), sys.stdout, invocation.problem_on_stdout)
        invocation.answered = True
    else:
        most = ROWS_SHOWN + _COUNTED
        with ask(most if limit is None else limit).batches() as reader:
            invocation.answer({}, *rows.preview(reader, most, hide=not named))


@command(examples=("thermocline status", "thermocline status market_data --as-of 2013-02-25 --json"))
@datasets_argument
@as_of_option
def status(invocation: Invocation, datasets: Sequence[str], as_of: date | None) -> None:
    """Say what is where and what is due.

    For each dataset and interval: rows and bytes in PostgreSQL and in the lake (which also counts days that are hot),
    and the span; below it the first day of the unbroken hot run, partitions that are due to rotate, late rows,
    partitions of which a restatement is held, partitions in trouble, and the last rotation. Then each partition that an
    act could not do: why, how often, and since when; and what was asked of a vendor by a backfill that did not finish.
    """
    with invocation.opened() as opened:
        series, trouble = opened.status(datasets, as_of=as_of), opened.trouble(datasets)
        unfinished = opened.unfinished(datasets)
    used = [each for each in series if each.first]
    unused = [each.dataset for each in series if not each.first]
    held = sum(each.held_partitions for each in series)
    waiting = (
        f"{plural(held, 'partition')} held: see `thermocline vintages DATASET --state held`, then accept or reject."
    )
    tables: list[Table | str] = [_rows_table(used), "", _due_table(used)] if used else []
    invocation.answer(
        {
            "datasets": [each.document() for each in series],
            "trouble": [each.document() for each in trouble],
            "unfinished": [each.document() for each in unfinished],
        },
        *tables,
        *first_rows(_trouble_table(trouble)),
        *first_rows(_unfinished_table(unfinished)),
        *([waiting] if held else []),
        *([fill(f"No rows yet: {', '.join(unused)}.", TERMINAL)] if unused else []),
    )


def _rows_table(series: "Sequence[SeriesStatus]") -> Table:
    return Table(
        ("dataset", "interval", "hot rows", "hot size", "cold rows", "cold size", "first", "last"),
        [
            (
                each.dataset, each.interval or None, each.hot_rows, Size(each.hot_bytes),
                each.cold_rows, Size(each.cold_bytes), each.first, each.last,
            )
            for each in series
        ],
    )  # fmt: skip


def _due_table(series: "Sequence[SeriesStatus]") -> Table:
    return Table(
        ("dataset", "interval", "hot since", "due", "late", "held", "trouble", "last rotation"),
        [
            (
                each.dataset, each.interval or None, each.watermark, each.due_partitions, each.late_rows,
                each.held_partitions, each.trouble_partitions,
                f"{each.last_rotation:%Y-%m-%d %H:%M}" if each.last_rotation else None,
            )
            for each in series
        ],
    )  # fmt: skip


def _unfinished_table(unfinished: "Sequence[Unfinished]") -> Table:
    return Table(
        ("not fetched to the end", "dataset", "source", "pages", "since"),
        [
            (each.label, each.dataset, each.source, each.pages, f"{each.opened_at:%Y-%m-%d %H:%M}")
            for each in unfinished
        ],
    )


def _trouble_table(trouble: "Sequence[Trouble]") -> Table:
    return Table(
        ("in trouble", "act", "times", "since", "reason"),
        [
            (str(each.partition), each.act, each.times, f"{each.first_at:%Y-%m-%d %H:%M}", each.reason)
            for each in trouble
        ],
    )


@command(
    examples=(
        "thermocline verify",
        "thermocline verify market_data --start 2013-01-01 --end 2013-02-01 --interval 1day",
    )
)
@datasets_argument
@days_options
@intervals_option
def verify(invocation: Invocation, datasets: Sequence[str], **asked: Any) -> None:
    """Re-read cold partitions and compare them with their receipts.

    Every byte of every object, and every row, and the receipts with those in the lake's journal; changes nothing. Ends
    with exit code 1, and names them, when objects are missing or are not what was written, when a receipt was edited,
    or when the Iceberg table lacks objects, names others, or is not at the snapshot that the ledger noted.
    """
    with invocation.opened() as opened, invocation.progress() as progress:
        report = opened.verify(datasets, **asked, progress=progress)
    for failed in report.failed:
        click.echo(f"Error: {failed.partition}: {failed.reason}", err=True)
    for problem in report.table:
        click.echo(f"Error: {problem}", err=True)
    wrong = plural(len(report.failed), "partition") + " wrong" if report.failed else "all as written"
    apart = f" {plural(len(report.archived), 'partition')} in an archive were not read." if report.archived else ""
    invocation.answer(
        report.document(),
        f"{plural(report.verified, 'partition')} verified: {plural(report.rows, 'row')}, "
        f"{size(report.size_bytes)}; {wrong}.{apart}",
    )
    if report.failed or report.table:
        exit_with(FAILED)
