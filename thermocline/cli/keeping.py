"""Commands that keep house: vacuum, migrate, stop."""

from collections.abc import Sequence
from pathlib import Path

import click

from thermocline.cli.commands import command
from thermocline.cli.invocation import Invocation
from thermocline.cli.options import datasets_argument
from thermocline.cli.words import Size, Table, first_rows, plural, vacuum_line


@command(examples=("thermocline vacuum", "thermocline vacuum market_data --force"))
@datasets_argument
@click.option("--force", is_flag=True, help="Every table, also where nothing is to be gained.")
def vacuum(invocation: Invocation, datasets: Sequence[str], force: bool) -> None:
    """Run VACUUM (ANALYZE) on what stays hot, where it pays.

    On the tables of the named datasets, or of all, of which a tenth is dead rows or which have no statistics yet.
    `rotate` does it by itself.
    """
    with invocation.opened() as opened, invocation.progress() as progress:
        report = opened.vacuum(datasets, force=force, progress=progress)
    rows = [
        (each.table, Size(each.bytes_before), Size(each.bytes_after), each.dead_rows, f"{each.seconds:.2f} s")
        for each in report.tables
    ]
    dead = sum(each.dead_rows for each in report.tables)
    invocation.answer(
        report.document(),
        *first_rows(Table(("table", "before", "after", "dead rows", "took"), rows)),
        vacuum_line(len(rows), dead, report.reclaimed_bytes),
    )


@command(examples=("thermocline migrate", "thermocline migrate --audit-owner thermocline_auditor"))
@click.option(
    "--audit-owner",
    metavar="ROLE",
    help="Instead, give the audit log to this role, so that the one it has now can only append.",
)
def migrate(invocation: Invocation, audit_owner: str | None) -> None:
    """Bring PostgreSQL's tables up to date with this release.

    Every command does so when it first needs to; this does it at a time of your choice, and for all datasets. With
    `--audit-owner` it changes nothing but who owns the audit log; run that once, connected as a superuser.
    """
    with invocation.opened() as opened:
        if audit_owner:
            guard, names = opened.protect_audit(audit_owner), []
        else:
            names = opened.migrate()
            guard = opened.audit_guard()
        url = opened.hot.url
    gaps = f", but could be changed: {'; '.join(guard.gaps)}" if guard.gaps else " and can only be appended to"
    invocation.answer(
        {"hot_url": url, "datasets": names, "audit": {"owner": guard.owner, "gaps": list(guard.gaps)}},
        *([f"{url} is up to date, with tables for {plural(len(names), 'dataset')}."] if names else []),
        f"The audit log belongs to {guard.owner}{gaps}.",
    )


@command(examples=("thermocline stop",))
def stop(invocation: Invocation) -> None:
    """Stop the embedded PostgreSQL of the home.

    The next command starts it again. Rows stay; connections end. A PostgreSQL that you run yourself is left alone.
    """
    from thermocline.settings import load_settings  # noqa: PLC0415  # slow to import
    from thermocline.stores.embedded import stop as stop_server  # noqa: PLC0415

    home, config = (Path(given) if given else None for given in (invocation.home, invocation.config))
    settings = load_settings(home, config)
    if settings.hot_url is not None:
        stopped, said = False, f"Nothing to stop: the hot tier is {settings.hot_url}, which Thermocline does not run."
    elif stopped := stop_server(settings.home):
        said = f"The PostgreSQL of {settings.home} is stopped."
    else:
        said = f"No PostgreSQL was running in {settings.home}."
    invocation.answer({"stopped": stopped, "home": str(settings.home)}, said)
