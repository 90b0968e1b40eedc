"""The command `recover`: when the database or the newest metadata of the lake is lost."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from thermocline.cli.commands import command
from thermocline.cli.invocation import FAILED, Invocation, exit_with
from thermocline.cli.options import datasets_argument
from thermocline.cli.words import Table, first_rows, plural

if TYPE_CHECKING:
    from thermocline.model.report import Failed
    from thermocline.tasks.recover import DatasetRecovery, Recovered

_HOT_ONLY = (
    "Rows that were in PostgreSQL alone (never rotated, or late) are not in the lake and did not come back; restore "
    "them from a backup of PostgreSQL, or backfill and ingest them again."
)


@command(examples=("thermocline recover --dry-run", "thermocline recover market_data --verify"))
@datasets_argument
@click.option("--dry-run", is_flag=True, help="Only say what would be rebuilt.")
@click.option("--verify", is_flag=True, help="Read every object whole, instead of comparing sizes.")
def recover(invocation: Invocation, datasets: Sequence[str], dry_run: bool, verify: bool) -> None:
    """Rebuild catalog and ledger from the lake alone.

    For the named datasets, or for all: where the hot database is lost and a new, empty one stands in its place, its
    ledger is made anew from the journal and the table in the lake. Where only the newest metadata of the lake is lost,
    the table is made anew from the ledger. What is there is left alone. No other database may use the lake.

    Rows that were in PostgreSQL alone do not come back by it; PostgreSQL's own backups are for those.
    """
    with invocation.opened() as opened, invocation.progress() as progress:
        done = opened.recover(datasets, dry_run=dry_run, verify=verify, progress=progress)
    found = [each for each in done.datasets if each.outcome != "empty"]
    columns = ("dataset", "outcome", "days", "rows", "vintages", "adopted", "missing")
    rows = [
        (x.dataset, x.outcome.value, x.days, x.rows, x.vintages, len(x.adopted), len(x.missing) + len(x.unread))
        for x in found
    ]
    told = first_rows(Table(columns, rows)) if found else ("The lake holds nothing to recover.",)
    invocation.answer({"dry_run": dry_run, **done.document()}, *told, *_told(done, dry_run=dry_run))
    for each in found:
        for remark in _problems(each):
            click.echo(remark, err=True)
    if not done.is_whole:
        exit_with(FAILED)


def _told(done: "Recovered", *, dry_run: bool) -> list[str]:
    rebuilt = [each for each in done.datasets if each.outcome == "rebuilt"]
    lines = [
        f"{each.dataset}: the table that other engines read: {each.table}."
        for each in done.datasets
        if each.outcome == "table"
    ]
    for each in rebuilt:
        lines.append(f"{each.dataset}: from the journal and the table: {each.table}.")
        lines += [
            f"  {moved.partition}: {plural(moved.rows, 'row')} that no commit proves are taken in, from {moved.path}"
            for moved in each.adopted
        ]
    if rebuilt:
        lines.append(_HOT_ONLY)
    if dry_run and lines:
        lines.append("Nothing was changed.")
    elif rebuilt:
        lines.append("`thermocline load` brings the last days back to hot; `thermocline verify` reads every object.")
    elif not lines and done.is_whole:
        lines.append("Nothing needs to be rebuilt.")
    return lines


def _problems(each: "DatasetRecovery") -> list[str]:
    def line(what: str, failed: "Failed") -> str:
        return f"{what} {failed.partition}: {failed.reason}"

    return [
        *(f"FAILED {each.dataset}: {each.error}" for _ in range(bool(each.error))),
        *(line("MISSING", failed) for failed in each.missing),
        *(f"UNREADABLE {what}" for what in each.unread),
        *(line("NOT TAKEN", failed) for failed in each.left),
    ]
