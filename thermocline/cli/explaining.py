"""The command that says how a query is answered: explain."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from thermocline.cli.asking import instrument_option, no_cache_option
from thermocline.cli.commands import command
from thermocline.cli.invocation import Invocation
from thermocline.cli.options import (
    as_of_vintage_option,
    dataset_argument,
    instants_options,
    intervals_option,
    symbols_option,
)
from thermocline.cli.restore import reading
from thermocline.cli.words import Number, Size, Table, first_rows, plural, size, usd

if TYPE_CHECKING:
    from thermocline.tasks.analyze import Analysis
    from thermocline.tasks.explain import Explanation


@command(
    examples=(
        "thermocline explain market_data --symbol AAPL --interval 1day --start 2013-01-01",
        "thermocline explain market_data --symbol AAPL --columns ts,close --analyze",
    )
)
@dataset_argument
@symbols_option
@intervals_option
@instants_options
@as_of_vintage_option
@instrument_option
@click.option("--columns", metavar="A,B", help="Only these columns, separated by commas.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most the first N rows.")
@click.option("--analyze", is_flag=True, help="Run the query as well, and say where its time goes.")
@no_cache_option
def explain(invocation: Invocation, dataset: str, columns: str | None, no_cache: bool, **asked: Any) -> None:
    """Say which tier, objects and bytes answer a query, and how soon.

    Takes the symbols, intervals, times, columns and the instrument that `query` takes, and reads no row of the answer,
    but footers of objects. With `--analyze` the query is run, and its rows are counted and thrown away.
    """
    names = [name.strip() for name in columns.split(",")] if columns else []
    with invocation.opened(cache=not no_cache) as opened:
        found = opened.explain(dataset, columns=names, **asked)
    document = found.document()
    invocation.answer(
        document,
        *_route(document),
        *_told(found, document),
        *_billed(found),
        *(_analyzed(found.analysis) if found.analysis else ()),
    )


def _route(document: dict[str, Any]) -> tuple[Table | str, ...]:
    segments = document["segments"]
    table = Table(
        ("tier", "interval", "first", "last", "days", "files", "row groups", "size", "to read"),
        [
            (
                s["tier"], s["interval"], s["first"], s["last"], s["days"], len(s["files"]),
                groups and Number(f"{groups['read']:,} of {groups['total']:,}"), Size(s["bytes"]),
                groups and Size(groups["read_bytes"]),
            )
            for s in segments
            for groups in [s["row_groups"]]
        ],
    )  # fmt: skip
    paths = dict.fromkeys(path for segment in segments for path in segment["files"])
    return *first_rows(table), *first_rows(Table(("object",), [(path,) for path in paths]))


def _told(found: "Explanation", document: dict[str, Any]) -> tuple[str, ...]:
    if not document["segments"]:
        return ("No day holds such rows.",)
    late = (
        f"; {plural(document['late_days'], 'day')} of it with late rows from PostgreSQL"
        if document["late_days"]
        else ""
    )
    groups = found.all_row_groups
    read = f", of which {size(groups.read_bytes)} are read" if groups is not None and groups.total else ""
    return (
        f"{plural(document['files'], 'object')} of the lake, {size(document['bytes'])}{read}{late}.",
        f"First rows within {found.latency}.",
    )


def _billed(found: "Explanation") -> tuple[Table | str, ...]:
    """What the lake's provider takes for reading, and what must be restored first."""
    parts = list(reading(found.reads))
    if found.archived:
        cost = "; ".join(f"{each.speed} {usd(each.usd)} within {each.hours:g} hours" for each in found.offers)
        objects = (
            f"{plural(len(found.archived), 'object')} with {size(sum(each.size_bytes for each in found.archived))}"
        )
        parts.append(f"{objects} must be restored first ({cost}): `thermocline restore request {found.to_restore}`.")
    return tuple(parts)


def _analyzed(analysis: "Analysis") -> Sequence[Table | str]:
    """Where the time of the run went."""
    steps = (
        ("plan", analysis.plan_seconds),
        ("hot", analysis.hot_seconds),
        ("cold", analysis.cold_seconds),
        ("merge", analysis.merge_seconds),
        ("in all", analysis.seconds),
    )
    scans = [each.document() for each in analysis.scans]
    asked = (
        f" {plural(analysis.requests, 'request')} of the bucket, {size(analysis.fetched_bytes or 0)}."
        if analysis.requests is not None
        else ""
    )
    kept = f" {plural(analysis.cache_hits, 'segment')} from a cache." if analysis.cache_hits else ""
    return (
        Table(("step", "ms"), [(name, Number(f"{1000 * seconds:,.1f}")) for name, seconds in steps]),
        *first_rows(
            Table(
                ("tier", "of", "first", "last", "rows", "ms", "from"),
                [
                    (
                        each["tier"], each["dataset"], each["first"], each["last"], each["rows"],
                        Number(f"{each['ms']:,.1f}"),
                        each["cache"] or ("PostgreSQL" if each["tier"] == "hot" else "the lake"),
                    )
                    for each in scans
                ],
            )
        ),
        f"{plural(analysis.rows, 'row')} in {1000 * analysis.seconds:,.1f} ms.{asked}{kept}",
    )  # fmt: skip
