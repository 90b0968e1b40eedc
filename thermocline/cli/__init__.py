"""The `thermocline` command: the verbs of `thermocline.api` in the shell.

A module a group of commands; to add a command, write it beside its kin and name it in `_SECTIONS`. Nothing here imports
more than click until a command runs, so that help stays quick.
"""

from collections.abc import Mapping, Sequence

import click

from thermocline.cli.aggregating import aggregate, resample
from thermocline.cli.asking import query, sql, status, verify
from thermocline.cli.bucket_rules import lifecycle
from thermocline.cli.checking import audit, check, drill
from thermocline.cli.cleanup import cleanup
from thermocline.cli.commands import CommandLine, global_options
from thermocline.cli.coverage import coverage
from thermocline.cli.demo import demo
from thermocline.cli.deriving import derive
from thermocline.cli.explaining import explain
from thermocline.cli.instruments import instruments
from thermocline.cli.keeping import migrate, stop, vacuum
from thermocline.cli.kept import cache
from thermocline.cli.lake import compact, expire
from thermocline.cli.moving import backfill, ingest, load, rehydrate, rotate, undo
from thermocline.cli.quarantine import quarantine
from thermocline.cli.recover import recover
from thermocline.cli.restore import restore
from thermocline.cli.schemas import schema
from thermocline.cli.tiers import tiers
from thermocline.cli.vintages import accept, diff, reject, vintages
from thermocline.model.datasets import DATASETS

__all__ = ["main"]

_SECTIONS: Mapping[str, Sequence[click.Command]] = {
    "Start here": (demo,),
    "Moving rows": (backfill, ingest, derive, load, rotate, undo, rehydrate),
    "Asking": (
        query,
        aggregate,
        resample,
        explain,
        sql,
        instruments,
        status,
        coverage,
        check,
        verify,
        drill,
        audit,
        quarantine,
    ),
    "Vintages": (vintages, diff, accept, reject),
    "Keeping house": (
        cleanup,
        vacuum,
        compact,
        expire,
        tiers,
        lifecycle,
        restore,
        cache,
        schema,
        migrate,
        recover,
        stop,
    ),
}


def _print_version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if not value or context.resilient_parsing:
        return
    from importlib.metadata import version  # noqa: PLC0415  # only here

    click.echo(f"thermocline {version('thermocline')}")
    context.exit()


@click.group(
    "thermocline",
    cls=CommandLine,
    sections=_SECTIONS,
    context_settings={"max_content_width": 100},
    epilog=f"Datasets: {', '.join(DATASETS)}.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Say the version and exit.",
)
@global_options
def main() -> None:
    """Market data that moves itself: a Parquet lake, the last days hot in PostgreSQL, and one question to both.

    Without any setting everything lives in the folder .thermocline, with a PostgreSQL of its own. The options below can
    stand before or after the command.
    """
