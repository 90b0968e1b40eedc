"""The commands `quarantine list|show|release|drop|purge|rules`."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click

from thermocline.cli.commands import command, group
from thermocline.cli.invocation import Invocation
from thermocline.cli.options import DAY, PAIR, as_of_option, datasets_argument
from thermocline.cli.words import Table, first_rows, plural

if TYPE_CHECKING:
    from datetime import date

    from thermocline.ports import Quarantined, QuarantineGroup
    from thermocline.tasks.quarantine import Judgement

F = TypeVar("F", bound=Callable[..., Any])

_STATES = ("kept", "released", "dropped")
_LETTERS = 60

_ids_option = click.option("--id", "ids", multiple=True, type=int, metavar="N", help="Only this row; several times.")
_dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would happen.")
_yes_option = click.option("--yes", is_flag=True, help="Don't ask.")


def _which_options(function: F) -> F:
    """Give a command `--source` and `--rule`."""
    function = click.option(
        "--rule",
        "rules",
        multiple=True,
        metavar="NAME",
        help="Only rows that break this rule, or types, nulls, keys, unreadable; several times.",
    )(function)
    return click.option(
        "--source", "sources", multiple=True, metavar="NAME", help="Only from this source; several times."
    )(function)


@command("list", examples=("thermocline quarantine list", "thermocline quarantine list market_data --rule ohlc"))
@datasets_argument
@_which_options
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES), help="Only in this state.  [kept]")
def list_(invocation: Invocation, datasets: Sequence[str], **asked: Any) -> None:
    """Count the rows that may not go in.

    By dataset, source and the rules that they break, with one of the reasons of each kind.
    """
    asked["states"] = asked["states"] or ("kept",)
    with invocation.opened() as opened:
        found = opened.quarantine_list(datasets, **asked)
    rows = sum(each.rows for each in found)
    none = f"There are no {' or '.join(asked['states'])} rows in quarantine."
    total = f"{plural(rows, 'row')} in quarantine." if rows else none
    invocation.answer({"rows": rows, "groups": [each.document() for each in found]}, *_groups(found), total)


def _groups(found: "Sequence[QuarantineGroup]") -> tuple[Table | str, ...]:
    rows = [
        (
            each.dataset, each.source, _rules(each.rules), each.state.value, each.rows,
            f"{each.first_at:%Y-%m-%d %H:%M}", f"{each.last_at:%Y-%m-%d %H:%M}", _short(each.example),
        )
        for each in found
    ]  # fmt: skip
    return first_rows(
        Table(("dataset", "source", "rules", "state", "rows", "first (UTC)", "last (UTC)", "a reason"), rows)
    )


@command(
    examples=(
        "thermocline quarantine show market_data --rule ohlc --limit 5",
        "thermocline quarantine show --id 17 --json",
    )
)
@datasets_argument
@_ids_option
@_which_options
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES), help="Only in this state.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most the first N rows.")
def show(invocation: Invocation, datasets: Sequence[str], **asked: Any) -> None:
    """Show rows that may not go in, as they came.

    Each with its reasons, its source, where exactly it came from, and who released or dropped it. Long rows are
    cut here; --json has them whole.
    """
    with invocation.opened() as opened:
        found = opened.quarantine_show(datasets, **asked)
    rows = [
        (
            each.quarantine_id, each.row.dataset, each.row.source, each.row.origin, each.row.reason,
            _short(each.row.record), _state(each),
        )
        for each in found
    ]  # fmt: skip
    table = Table(("id", "dataset", "source", "origin", "reason", "record", "state"), rows)
    invocation.answer(
        {"rows": [_document(each) for each in found]},
        *first_rows(table),
        f"{plural(len(rows), 'row')}." if rows else "No such rows.",
    )


def _document(each: "Quarantined") -> dict[str, Any]:
    """The row with its record as an object, where it is one."""
    document = each.document()
    with suppress(json.JSONDecodeError):
        document["record"] = json.loads(document["record"])
    return document


def _state(each: "Quarantined") -> str:
    if each.judged_at is None:
        return each.state.value
    why = f": {each.why}" if each.why else ""
    return f"{each.state.value} {each.judged_at:%Y-%m-%d %H:%M} by {each.judged_by}{why}"


@command(
    examples=(
        "thermocline quarantine release market_data --rule ohlc --dry-run",
        "thermocline quarantine release --id 17 --accept --reason 'checked with the exchange' --yes",
        "thermocline quarantine release options_data --rule option_type --set option_type=call",
    )
)
@datasets_argument
@_ids_option
@_which_options
@click.option("--accept", is_flag=True, help="Let in what breaks a rule, or has the key of a row that is in.")
@click.option(
    "--set", "corrections", multiple=True, type=PAIR, metavar="COLUMN=VALUE", help="Give a column of each row a value."
)
@click.option("--reason", default="", metavar="TEXT", help="Why, for those who ask later.")
@as_of_option
@_dry_run_option
@_yes_option
def release(
    invocation: Invocation,
    datasets: Sequence[str],
    *,
    corrections: tuple[tuple[str, str], ...],
    as_of: "date | None",
    dry_run: bool,
    yes: bool,
    **asked: Any,
) -> None:
    """Send rows through the gate again.

    Those that pass, as the settings are now, are accepted as `ingest` would, once, and stay listed as released. What
    breaks types or nulls never passes; correct it with `--set`. Shows the plan and asks.
    """
    _can_ask(invocation, dry_run=dry_run, yes=yes)
    with invocation.opened() as opened:
        plan = opened.plan_quarantine_release(datasets, corrections=dict(corrections), **asked)
        if _wanted(invocation, plan, "would be released", "Release them?", dry_run=dry_run, yes=yes):
            done = opened.apply_judgement(plan, as_of=as_of)
            invocation.answer(done.document(), *_told(done, "released"))


@command(
    examples=(
        "thermocline quarantine drop market_data --rule positive_prices --reason 'test ticks' --dry-run",
        "thermocline quarantine drop --id 17 --id 18 --reason 'sent twice' --yes",
    )
)
@datasets_argument
@_ids_option
@_which_options
@click.option("--reason", required=True, metavar="TEXT", help="Why, for those who ask later.")
@_dry_run_option
@_yes_option
def drop(invocation: Invocation, datasets: Sequence[str], *, dry_run: bool, yes: bool, **asked: Any) -> None:
    """Say that rows shall never go in.

    They stay listed as dropped, with the reason, also when they come again; `purge` deletes them. Shows the plan and
    asks.
    """
    _can_ask(invocation, dry_run=dry_run, yes=yes)
    with invocation.opened() as opened:
        plan = opened.plan_quarantine_drop(datasets, **asked)
        if _wanted(invocation, plan, "would be dropped", "Drop them?", dry_run=dry_run, yes=yes):
            done = opened.apply_judgement(plan)
            invocation.answer(done.document(), *_told(done, "dropped"))


@command(examples=("thermocline quarantine purge --before 2024-01-01",))
@datasets_argument
@click.option("--before", required=True, type=DAY, help="Those that were released or dropped before this day.")
@_yes_option
def purge(invocation: Invocation, datasets: Sequence[str], *, before: "date", yes: bool) -> None:
    """Delete rows that were released or dropped long ago.

    Rows of which nobody has said anything yet are never deleted. The audit log keeps how many they were.
    """
    _can_ask(invocation, dry_run=False, yes=yes)
    if not yes and not click.confirm(f"Delete what was released or dropped before {before}?", err=True):
        invocation.answer({}, "Nothing was changed.")
        return
    with invocation.opened() as opened:
        rows = opened.quarantine_purge(datasets, before=before)
    invocation.answer({"rows": rows}, f"{plural(rows, 'row')} deleted from the quarantine.")


@command(examples=("thermocline quarantine rules", "thermocline quarantine rules options_data"))
@datasets_argument
def rules(invocation: Invocation, datasets: Sequence[str]) -> None:
    """List the rules, and what becomes of rows that break them.

    As the settings are now: reject puts rows in quarantine, warn counts them, clear makes a value null.
    """
    with invocation.opened() as opened:
        found = opened.validation_rules(datasets)
    rows = [(name, rule.name, severity.value, rule.says) for name, taken in found.items() for rule, severity in taken]
    document = [
        {"dataset": name, "rule": rule, "severity": severity, "says": says} for name, rule, severity, says in rows
    ]
    invocation.answer({"rules": document}, Table(("dataset", "rule", "severity", "says"), rows))


@group(list_, show, release, drop, purge, rules)
def quarantine() -> None:
    """Rows that may not go in: list, show, release, drop.

    Whatever breaks the schema or a rule is kept in quarantine with all its reasons, until somebody says what becomes of
    it.
    """


def _can_ask(invocation: Invocation, *, dry_run: bool, yes: bool) -> None:
    if invocation.as_json and not (dry_run or yes):
        msg = "with --json nobody can be asked; add --yes, or look first with --dry-run"
        raise click.UsageError(msg)


def _wanted(invocation: Invocation, plan: "Judgement", would: str, question: str, *, dry_run: bool, yes: bool) -> bool:
    """Whether the plan is to be done; where not, it was told."""
    if dry_run or not plan.rows:
        invocation.answer(plan.document(), *_told(plan, would))
        return False
    if yes:
        return True
    invocation.answer({}, *_told(plan, would))
    if click.confirm(question, err=True):
        return True
    invocation.answer({}, "Nothing was changed.")
    return False


def _told(plan: "Judgement", what: str) -> list[Table | str]:
    parts: list[Table | str] = []
    if plan.stays:
        rows = [(each.quarantine_id, each.reason) for each in plan.stays]
        parts += first_rows(Table(("id", "why it stays"), rows))
    parts += [f"{plural(len(each.ids), 'row')} of {each.dataset.name} {what}." for each in plan.verdicts]
    if plan.stays:
        stay = "stays" if len(plan.stays) == 1 else "stay"
        parts.append(f"{plural(len(plan.stays), 'row')} {stay} in quarantine.")
    return parts or ["There are no such rows."]


def _rules(names: Sequence[str]) -> str | None:
    return " + ".join(names) or None


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]}…"
