"""Commands that speak of schemas: schema list, show, diff, evolve."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from thermocline.cli.commands import command, group
from thermocline.cli.invocation import Invocation
from thermocline.cli.options import dataset_argument, datasets_argument
from thermocline.cli.words import Table, plural

if TYPE_CHECKING:
    from thermocline.model.schema import SchemaChange
    from thermocline.tasks.schemas import SchemaState


@command("list", examples=("thermocline schema list",))
@datasets_argument
def listed(invocation: Invocation, datasets: Sequence[str]) -> None:
    """List datasets, their versions, and what is declared otherwise.

    A dataset that was never used has no version yet: it gets the first one, as it is declared, with its first row.
    """
    with invocation.opened() as opened:
        found = opened.schemas(datasets)
    rows = [
        (
            state.dataset.name,
            state.version or None,
            len(state.dataset.columns),
            ", ".join(f"v{version}: {count:,d}" for version, count in sorted(state.objects.items())) or None,
            _standing(state),
        )
        for state in found
    ]
    columns = ("dataset", "version", "columns", "objects", "declaration")
    invocation.answer({"datasets": [state.document() for state in found]}, Table(columns, rows))


@command("show", examples=("thermocline schema show market_data", "thermocline schema show market_data --version 1"))
@dataset_argument
@click.option("--version", type=click.IntRange(1), metavar="N", help="This version instead of the newest.")
def show(invocation: Invocation, dataset: str, version: int | None) -> None:
    """Show the columns of a dataset, with their types in every store.

    A column with a `*` is in the key; `?` says that it may be null.
    """
    with invocation.opened() as opened:
        schema = opened.schema(dataset, version=version)
    document = schema.shown()
    rows = [
        (
            f"{column['name']}{'*' if column['key'] else ''}",
            f"{column['kind']}{'?' if column['nullable'] else ''}",
            *column["types"].values(),
            column["description"],
        )
        for column in document["columns"]
    ]
    when = f"{schema.applied_at:%Y-%m-%d %H:%M:%S} UTC" if schema.applied_at else "not applied yet"
    invocation.answer(
        document,
        Table(("column", "kind", "Arrow, Parquet", "PostgreSQL", "Iceberg", "what it is"), rows),
        f"{dataset}, version {schema.version}, {when}; one row for each {', '.join(schema.key)}.",
    )


@command(
    "diff",
    examples=("thermocline schema diff market_data", "thermocline schema diff market_data --from 1 --to 1"),
)
@dataset_argument
@click.option("--from", "from_version", type=click.IntRange(1), metavar="N", help="The version that counts as the old.")
@click.option("--to", "to_version", type=click.IntRange(1), metavar="N", help="The version that counts as the new.")
def diff(invocation: Invocation, dataset: str, from_version: int | None, to_version: int | None) -> None:
    """Say how what is declared differs from what the stores have.

    Or how two versions differ. What `schema evolve` would refuse is told with the reason.
    """
    with invocation.opened() as opened:
        changes = opened.schema_diff(dataset, from_version=from_version, to_version=to_version)
    old = f"version {from_version}" if from_version else "what is applied"
    new = f"version {to_version}" if to_version else "what is declared"
    invocation.answer(
        {"dataset": dataset, "changes": [change.document() for change in changes]},
        *(_told(changes) if changes else [f"{dataset}: {old} and {new} are the same."]),
    )


@command(
    "evolve",
    examples=("thermocline schema evolve market_data --dry-run", "thermocline schema evolve market_data"),
)
@dataset_argument
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
def evolve(invocation: Invocation, dataset: str, dry_run: bool) -> None:
    """Give both tiers the columns that are declared.

    New columns that may be null, a price that becomes money, a value that may now be missing: all at once, or nothing.
    Rows and files that are there stay as they are; in a new column they are null. Anything else is refused with the
    reason.
    """
    with invocation.opened() as opened:
        done = opened.plan_evolution(dataset) if dry_run else opened.evolve(dataset)
    would = "would be" if dry_run else "is now"
    invocation.answer(
        done.document() | {"dry_run": dry_run},
        *(_told(done.changes) if not done.anew else [f"{change.what}." for change in done.changes]),
        *([f"There is no row of {dataset}: its tables {'would be' if dry_run else 'are'} made anew."] * done.anew),
        f"{dataset} {would} at version {done.new.version}."
        if done.changes
        else f"{dataset} is as it is declared, at version {done.new.version}. Nothing to do.",
    )


@group(listed, show, diff, evolve)
def schema() -> None:
    """Say which columns datasets have, and add to them safely.

    Columns and whole datasets are declared in thermocline.yaml. The stores get what is declared by `schema evolve`, as
    a new version; until then no row of that dataset is taken in, all else goes on.
    """


def _standing(state: "SchemaState") -> str:
    if not state.versions:
        return "not used yet"
    if state.declared is None:
        return "not declared any more"
    kept = sum(change.is_kept for change in state.changes)
    waiting = len(state.changes) - kept
    told = [f"{plural(waiting, 'change')} to apply"] * bool(waiting) + [f"lacks {plural(kept, 'column')}"] * bool(kept)
    return ", ".join(told) or "applied"


def _told(changes: "Sequence[SchemaChange]") -> list[str]:
    return [f"{change.what}{f'. Refused: {change.refusal}' if change.refusal else ''}." for change in changes]
