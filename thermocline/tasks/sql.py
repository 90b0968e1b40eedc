"""Read-only SQL over the datasets, each a table that spans both tiers."""

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from thermocline.model.dataset import Dataset
from thermocline.model.partition import ALL_DAYS
from thermocline.model.query import Query, Route, Segment, Tier, plan_route
from thermocline.ports import Analytics, Hot, Lake, Relation, Snapshot
from thermocline.tasks.query import as_of_route

if TYPE_CHECKING:
    import pyarrow as pa


@contextmanager
def sql(
    hot: Hot,
    lake: Lake,
    analytics: Analytics,
    statement: str,
    datasets: Collection[Dataset],
    *,
    as_of_vintage: datetime | None = None,
) -> "Iterator[pa.RecordBatchReader]":
    """The answer to one SELECT. Every dataset it names is seen at the same moment; read the stream inside the block.

    With `as_of_vintage` each of them is as its vintages were at that instant, see `Query`.

    Raises:
        UsageError: The statement is wrong or would do more than read.
        ArchivedError: An object of a dataset that it names must be restored first, whichever days it asks for.
    """
    named = analytics.mentioned(statement, datasets)
    if not named:
        with analytics.run(statement, []) as reader:
            yield reader
        return
    with hot.snapshot(named, ALL_DAYS) as snapshot:
        routes = [_route(snapshot, Query(dataset, as_of_vintage=as_of_vintage)) for dataset in named]
        with lake.readable(vintage.receipt for route in routes for vintage in route.vintages):
            relations = [_relation(snapshot, lake, route) for route in routes]
            with analytics.run(statement, relations) as reader:
                yield reader


def _route(snapshot: Snapshot, asked: Query) -> Route:
    if asked.as_of_vintage is not None:
        return as_of_route(snapshot, asked, asked.as_of_vintage)
    return plan_route(asked, hot=snapshot.hot, live=snapshot.live, late=snapshot.late)


def _relation(snapshot: Snapshot, lake: Lake, route: Route) -> Relation:
    asked = route.query
    dataset = asked.dataset
    if asked.as_of_vintage is not None:
        return Relation(dataset, lake.locations(route.vintages), None, lambda: _hot_rows(snapshot, route, []))
    hot_segments = [segment for segment in route.segments if segment.tier is Tier.HOT]
    late = any(partition.dataset == dataset.name for partition in snapshot.late)
    return Relation(
        dataset,
        lake.locations(route.vintages),
        snapshot.late_rows(asked) if late else None,
        lambda: _hot_rows(snapshot, route, hot_segments),
    )


@contextmanager
def _hot_rows(snapshot: Snapshot, route: Route, segments: Sequence[Segment]) -> "Iterator[pa.RecordBatchReader]":
    import pyarrow as pa  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it

    def stream() -> "Generator[pa.RecordBatch, None, None]":
        for segment in segments:
            opened: AbstractContextManager[pa.RecordBatchReader] = snapshot.scan(route.query, segment)
            with opened as reader:
                yield from reader

    batches = stream()
    try:
        yield pa.RecordBatchReader.from_batches(route.query.dataset.arrow_schema, batches)
    finally:
        batches.close()
