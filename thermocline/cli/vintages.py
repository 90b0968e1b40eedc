"""Commands that speak of vintages: vintages, diff, accept, reject."""

import sys
from contextlib import nullcontext
from datetime import UTC, date
from typing import TYPE_CHECKING, Any

import click

from thermocline.cli.commands import command
from thermocline.cli.invocation import FAILED, Invocation, exit_with
from thermocline.cli.moving import moved_table, tell_failed
from thermocline.cli.options import DAY, INTERVAL, dataset_argument, days_options, intervals_option, output_option
from thermocline.cli.words import ROWS_SHOWN, Size, Table, first_rows, plural, size
from thermocline.model.receipt import VintageState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from thermocline.model.changes import ChangeCounts
    from thermocline.model.receipt import Vintage
    from thermocline.tasks.diff import Comparison
    from thermocline.tasks.restatements import Judged


_COUNTED = 100_000
"""Lines that are counted beyond those on the screen."""


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


@command(
    examples=(
        "thermocline diff market_data 2013-01-15",
        "thermocline diff market_data 2013-01-15 --interval 1day --from 1 --to 2 --output changes.csv",
    )
)
@dataset_argument
@click.argument("day", type=DAY)
@click.option("--interval", type=INTERVAL, help="The bar size; needed where the day is there in several.")
@click.option("--from", "from_version", type=click.IntRange(1), metavar="N", help="The version that counts as the old.")
@click.option("--to", "to_version", type=click.IntRange(1), metavar="N", help="The version that counts as the new.")
@output_option
def diff(invocation: Invocation, dataset: str, day: date, output: str | None, **asked: Any) -> None:
    """Say what a version of a day says differently from another.

    Without versions: the newest that is held against the live one, else the last published against the one before it.
    For each row that was added or removed its key; for each value that changed what it was and is, exactly, where NULL,
    NaN and -0.0 are told apart. On the screen the first ones; all with `--json` or `--output`.
    """
    from thermocline.cli import files, rows  # noqa: PLC0415  # Arrow, for those who ask for rows

    with invocation.opened() as opened:
        comparison = opened.diff(dataset, day, **asked)
        with comparison.changes() as found:
            document = comparison.document(found.counts)
            told = _counted(comparison, found.counts)
            if output:
                file = files.file_for(output)
                with invocation.progress() as progress:
                    count = file.write(found.cells, progress)
                written = file.path.stat().st_size
                document |= {"output": str(file.path), "row_count": count, "bytes": written}
                invocation.answer(document, told, f"{plural(count, 'line')} written to {file.path} ({size(written)}).")
            elif invocation.as_json:
                rows.write_json(nullcontext(found.cells), sys.stdout, invocation.problem_on_stdout, document)
                invocation.answered = True
            else:
                most = ROWS_SHOWN + _COUNTED
                shown = rows.preview(found.cells, most, hide=False) if any(found.counts.document().values()) else ()
                invocation.answer({}, *shown, told)


def _counted(comparison: "Comparison", counts: "ChangeCounts") -> str:
    old, new = comparison.old, comparison.new
    return (
        f"{old.partition}, version {old.receipt.version} to version {new.receipt.version} ({_state(new)}): "
        f"{plural(counts.rows_added, 'row')} added, {counts.rows_removed:,d} removed, {counts.rows_changed:,d} changed "
        f"({plural(counts.symbols_changed, 'symbol')})."
    )


def _state(vintage: "Vintage") -> str:
    return "live" if vintage.is_live else vintage.state.value


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
        _tell(invocation, opened.accept(dataset, **asked), "accepted", "live now")


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
        _tell(invocation, opened.reject(dataset, **asked), "rejected", "rejected")


def _tell(invocation: Invocation, done: "Judged", verb: str, what: str) -> None:
    tell_failed(invocation, done.failed, verb)
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
        "reason",
        "object",
    )
    rows = [
        (
            each.partition.interval or None,
            each.partition.day,
            each.receipt.version,
            _state(each),
            each.receipt.contents.rows,
            Size(each.receipt.size_bytes),
            _at(each.published_at),
            each.superseded_at and _at(each.superseded_at),
            each.reason or None,
            each.receipt.path,
        )
        for each in found
    ]
    return first_rows(Table(columns, rows))


def _at(instant: "datetime") -> str:
    """The instant in UTC, every digit of it: `--as-of-vintage` takes it as it stands."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
