"""Aggregate: measures of rows wherever they live, worked out by each tier of its part, at the same time."""

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from thermocline.model.aggregates import Aggregation
from thermocline.model.query import Route, Segment, Tier
from thermocline.ports import Hot, Lake, Snapshot
from thermocline.tasks.ahead import ReadAhead
from thermocline.tasks.query import route_of

if TYPE_CHECKING:
    import pyarrow as pa

    from thermocline.model.partials import Merger

_BATCH_ROWS = 65_536


@contextmanager
def aggregate(
    hot: Hot, lake: Lake, asked: Aggregation, tiers: Collection[Tier] = tuple(Tier)
) -> "Iterator[pa.RecordBatchReader]":
    """The measures of each group of rows, each row counted exactly once, in order of bucket and keys.

    What is held in memory grows with the groups, not with the rows. The look at both tiers ends before the block
    begins.

    Raises:
        ArchivedError: An object that it needs must be restored first; nothing was worked out.
    """
    import pyarrow as pa  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it

    query = asked.query
    with hot.snapshot([query.dataset], query.days, query.intervals) as snapshot:
        answer = merged_in(snapshot, lake, asked, tiers).answer()
    yield pa.RecordBatchReader.from_batches(answer.schema, answer.to_batches(max_chunksize=_BATCH_ROWS))


def merged_in(snapshot: Snapshot, lake: Lake, asked: Aggregation, tiers: Collection[Tier] = tuple(Tier)) -> "Merger":
    """What both tiers say of the groups, put together, in a look that is open already."""
    from thermocline.model.partials import Merger  # noqa: PLC0415  # it brings Arrow

    route = route_of(snapshot, asked.query, tiers)
    is_late = snapshot.late and Tier.HOT in tiers and asked.query.as_of_vintage is None
    late = snapshot.late_rows(asked.query) if is_late else None
    merger = Merger(asked)
    of_hot = [partial(snapshot.aggregate, asked, segment) for segment in segments_of(route, Tier.HOT)]
    of_cold = [partial(lake.aggregate, asked, segment, late) for segment in segments_of(route, Tier.COLD)]
    with lake.readable(vintage.receipt for vintage in route.vintages):
        if not (of_hot and of_cold):
            _add(merger, _each(asked, of_hot or of_cold))
            return merger
        ahead = ReadAhead(partial(_each, asked, of_hot), snapshot.cancel)
        try:
            _add(merger, _each(asked, of_cold))
            for batch in ahead:
                merger.add(batch)
        finally:
            ahead.close()
    return merger


def _add(merger: "Merger", opened: "AbstractContextManager[pa.RecordBatchReader]") -> None:
    with opened as reader:
        for batch in reader:
            merger.add(batch)


@contextmanager
def _each(
    asked: Aggregation, parts: "Sequence[Callable[[], AbstractContextManager[pa.RecordBatchReader]]]"
) -> "Iterator[pa.RecordBatchReader]":
    """The partials of several segments, one after the other."""
    import pyarrow as pa  # noqa: PLC0415  # as above

    def batches() -> "Generator[pa.RecordBatch, None, None]":
        for opened in parts:
            with opened() as reader:
                yield from reader

    stream = batches()
    try:
        yield pa.RecordBatchReader.from_batches(asked.partial_schema, stream)
    finally:
        stream.close()


def segments_of(route: Route, tier: Tier) -> list[Segment]:
    """What a tier answers, all days of an interval at once: no order has to be kept."""
    found: dict[str, Segment] = {}
    for segment in route.segments:
        if segment.tier is tier:
            known = found.get(segment.interval)
            found[segment.interval] = (
                segment
                if known is None
                else Segment(tier, segment.interval, (*known.days, *segment.days), (*known.vintages, *segment.vintages))
            )
    return list(found.values())
