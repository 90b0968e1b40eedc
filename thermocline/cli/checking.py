"""Commands that check: check, drill, audit."""

import json
from collections.abc import Mapping, Sequence
from datetime import time
from typing import Any

import click

from thermocline.cli.commands import command
from thermocline.cli.invocation import FAILED, Invocation, exit_with
from thermocline.cli.options import (
    dataset_argument,
    datasets_argument,
    days_options,
    instants_options,
    intervals_option,
    symbols_option,
)
from thermocline.cli.words import Size, Table, first_rows, plural
from thermocline.model.checks.rules import RULES


@command(
    examples=(
        "thermocline check market_data",
        "thermocline check market_data --symbol AAPL --start 2000-01-01 --end 2001-01-01",
        "thermocline check market_data --rule jumps --rule mixed --json",
    )
)
@dataset_argument
@click.option(
    "--rule",
    "rules",
    multiple=True,
    type=click.Choice(list(RULES)),
    help="Only what this rule finds, also where the settings disable it; can be given several times.",
)
@symbols_option
@intervals_option
@instants_options
def check(invocation: Invocation, dataset: str, **asked: Any) -> None:
    """Look for bars that are wrong beside others.

    Jumps that no known split or dividend explains, rows out of line with both neighbours, the same series under two
    symbols, days that repeat the day before, symbols that were reused, restatements that are held. Changes nothing.
    Ends with exit code 1 when a finding of severity error is among them; those of severity warn are for you to judge.
    """
    with invocation.opened() as opened, invocation.progress() as progress:
        checked = opened.check(dataset, **asked, progress=progress)
    table = Table(
        ("rule", "severity", "symbol", "interval", "at (UTC)", "what"),
        [
            (
                each.rule, each.severity.value, each.symbol or None, each.interval or None,
                f"{each.ts:%Y-%m-%d}" if each.ts.time() == time() else f"{each.ts:%Y-%m-%d %H:%M}", each.detail,
            )
            for each in checked.findings
        ],
    )  # fmt: skip
    if not checked.rows and checked.dataset != "market_data":
        invocation.note(f"{checked.dataset} has no bars to compare; only restatements that are held were looked for")
    reasons = f", {len(checked.explained):,d} explained" if checked.explained else ""
    invocation.answer(
        checked.document(),
        *first_rows(table),
        f"{plural(checked.rows, 'row')} checked: {plural(sum(checked.counts.values()), 'finding')}{reasons}.",
    )
    if checked.errors:
        exit_with(FAILED)


@command(
    examples=(
        "thermocline drill",
        "thermocline drill market_data --count 20 --interval 1day --start 2013-01-01 --end 2013-02-01",
        "thermocline drill market_data --seed 7",
    )
)
@datasets_argument
@click.option(
    "--count", type=click.IntRange(1), metavar="N", help="How many partitions; else as the settings say, which is 5."
)
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Pick the partitions that this number picked before.")
@days_options
@intervals_option
def drill(invocation: Invocation, datasets: Sequence[str], **asked: Any) -> None:
    """Restore cold partitions for a trial and compare them.

    Of the named datasets, or of all, some that chance picks. Each is loaded into PostgreSQL as a restore would, into a
    table that nobody sees, read back out, and compared with its receipt, value by value; then the table is dropped.
    Ends with exit code 1, and says what differs, when one does not come back whole. `verify` is quicker, and reads
    every object, but leaves PostgreSQL out.
    """
    with invocation.opened() as opened, invocation.progress() as progress:
        done = opened.drill(datasets, **asked, progress=progress)
    for each in done.failed:
        click.echo(f"Error: {each.partition}: {each.path} can't be restored: {'; '.join(each.differences)}", err=True)
    rows = [
        (
            each.partition.dataset, each.partition.interval or None, each.partition.day, each.rows,
            Size(each.size_bytes), f"{each.seconds:.2f} s", "restored" if each.ok else "FAILED",
        )
        for each in done.rehearsals
    ]  # fmt: skip
    table = Table(("dataset", "interval", "day", "rows", "size", "took", "outcome"), rows)
    whole = len(done.rehearsals) - len(done.failed)
    said = (
        f"{whole} of {plural(len(rows), 'partition')} came back whole ({done.cold:,d} are cold; --seed {done.seed} "
        "picks the same)."
        if rows
        else "Nothing is cold that can be read at once, so there was nothing to restore."
    )
    if done.archived:
        said += f" {plural(done.archived, 'partition')} in an archive were left out."
    invocation.answer(done.document(), *first_rows(table), said)
    if done.failed:
        exit_with(FAILED)


@command(
    examples=(
        "thermocline audit",
        "thermocline audit market_data --act rotate --act undo --start 2013-01-01 --limit 20",
        "thermocline audit --run-id 20240115T020000-1a2b3c4d --json",
    )
)
@datasets_argument
@instants_options
@click.option("--act", "acts", multiple=True, metavar="NAME", help="Only this act, such as rotate; several times.")
@click.option("--run-id", metavar="ID", help="Only what this run did.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most the N newest lines.")
def audit(invocation: Invocation, datasets: Sequence[str], **asked: Any) -> None:
    """Say who or what did what, when, under which run.

    Every act that moved, undid, released, deleted, loaded or published rows, newest first; all of them with `--json`.
    `--start` and `--end` are about when it was done.
    """
    with invocation.opened() as opened:
        acts = opened.audit(datasets, **asked)
    rows = [
        (
            f"{act.at:%Y-%m-%d %H:%M:%S}" if act.at else None, act.name,
            str(act.partition) if act.partition else act.dataset, act.run_id, act.actor, act.client,
            _brief(act.detail),
        )
        for act in acts
    ]  # fmt: skip
    table = Table(("at (UTC)", "act", "what", "run", "role", "client", "detail"), rows)
    invocation.answer(
        {"acts": [act.document() for act in acts]},
        *first_rows(table),
        f"{plural(len(rows), 'act')}." if rows else "No such act.",
    )


_LETTERS = 60
"""How much of the detail a line on the screen holds."""


def _brief(detail: Mapping[str, Any]) -> str:
    """Counts and paths in a few words; what is empty, or stands in the line already, is left out. Paths come last."""
    names = sorted(detail.keys() - {"dataset", "interval", "day"}, key=lambda name: (name == "path", name))
    told = {name: detail[name] for name in names if detail[name] not in (None, [], "")}
    text = ", ".join(f"{name} {value if isinstance(value, str) else json.dumps(value)}" for name, value in told.items())
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]}…"
