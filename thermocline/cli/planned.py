"""What `backfill --missing` would ask for, and what could not be had."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from thermocline.cli.words import Table, first_rows, plural

if TYPE_CHECKING:
    from thermocline.api import Thermocline
    from thermocline.cli.invocation import Invocation
    from thermocline.tasks.backfill import Unfetched

_PLANNED = ("source", "path", "options", "start", "end", "symbols", "intervals", "asset_class", "ask_again", "progress")
_NAMED = 5
"""Symbols that stand in a line."""


def tell_plan(invocation: "Invocation", opened: "Thermocline", dataset: str, **asked: Any) -> None:
    """Say what `--missing` would ask for."""
    plan = opened.plan_missing(dataset, **{name: asked[name] for name in _PLANNED})
    fetches = [fetch.document() for fetch in plan.fetches]
    table = Table(
        ("symbols", "interval", "start", "end", "missing", "requests"),
        [(_some(f["symbols"]), f["interval"], f["start"], f["end"], f["missing"], f["requests"]) for f in fetches],
    )
    total = f"{plural(plan.pages, 'request')} to {plan.source} for {plural(plan.bars_missing, 'missing bar')}."
    known = f" {plural(plan.known_missing, 'day')} not asked for: {plan.source} has told that it has no more."
    invocation.answer(
        {"dry_run": True, **plan.document()},
        *first_rows(table),
        (total if fetches else "Nothing is to be asked for.") + (known if plan.known_missing else ""),
    )


def tell_unfetched(invocation: "Invocation", unfetched: "Sequence[Unfetched]") -> None:
    """Name the requests that failed on stderr, each with the reason."""
    for each in unfetched:
        request = each.request.document()
        asked = f"{_some(request['symbols'])} {' '.join(request['intervals'])}".strip()
        click.echo(f"Error: {asked}, {request['start']} to {request['end']}: {each.reason}", err=True)
    if unfetched:
        invocation.note(f"{plural(len(unfetched), 'request')} failed; what others brought was published. Run it again")


def _some(symbols: Sequence[str]) -> str:
    """The first few symbols, and how many there are."""
    shown = ", ".join(symbols[:_NAMED])
    return f"{shown} … ({len(symbols):,d})" if len(symbols) > _NAMED else shown
