"""Query: one question, answered from both tiers in one consistent look."""

from collections.abc import Collection, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING

from thermocline.errors import LakeError
from thermocline.model.query import Query, Route, Segment, Tier, plan_route
from thermocline.model.receipt import VintageState
from thermocline.ports import Hot, Lake, Snapshot
from thermocline.tasks.ahead import ReadAhead

if TYPE_CHECKING:
    import pyarrow as pa

_FEW_ROWS = 10_000
"""A limit up to which the tiers are read one after the other: mostly the first one has the rows."""


@contextmanager
def query(
    hot: Hot, lake: Lake, asked: Query, tiers: Collection[Tier] = tuple(Tier)
) -> "Iterator[pa.RecordBatchReader]":
    """The rows that were asked for, each exactly once, in the order of the answer, as a stream of record batches.

    The look at both tiers is held while the block is open, so a rotation that runs meanwhile is not noticed. Read the
    stream inside the block. With one of the `tiers` alone, rows of the other are not looked at; late rows lie in
    PostgreSQL and count as hot then.

    Raises:
        ArchivedError: An object that it needs must be restored first; no row was given.
    """
    if Tier.HOT in tiers:
        with hot.at_once(asked) as reader:
            if reader is not None:
                yield reader
                return
    with (
        hot.snapshot([asked.dataset], asked.days, asked.intervals) as snapshot,
        query_in(snapshot, lake, asked, tiers) as reader,
    ):
        yield reader


@contextmanager
def query_in(
    snapshot: Snapshot, lake: Lake, asked: Query, tiers: Collection[Tier] = tuple(Tier)
) -> "Iterator[pa.RecordBatchReader]":
    """As `query`, in a look that is open already and covers what is asked for, for several questions to one state.

    They come one after the other. Where a stream is left before its end, nothing more can be asked in this look.

    Raises:
        ArchivedError: An object that it needs must be restored first; no row was given.
    """
    import pyarrow as pa  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it

    route = route_of(snapshot, asked, tiers)
    is_late = snapshot.late and Tier.HOT in tiers and asked.as_of_vintage is None
    late = snapshot.late_rows(asked) if is_late else None
    schema = pa.schema([asked.dataset.column(name).arrow_field for name in asked.names])
    batches = _batches(snapshot, lake, route, late)
    with lake.readable(vintage.receipt for vintage in route.vintages):
        try:
            yield pa.RecordBatchReader.from_batches(schema, batches)
        finally:
            # Whoever asked may leave before the end; the tiers' own streams must be over before the snapshot is.
            batches.close()


def route_of(snapshot: Snapshot, asked: Query, tiers: Collection[Tier] = tuple(Tier)) -> Route:
    """The route by which these tiers answer, as the snapshot sees them."""
    if asked.as_of_vintage is not None:
        return as_of_route(snapshot, asked, asked.as_of_vintage)
    return plan_route(
        asked,
        hot=snapshot.hot if Tier.HOT in tiers else (),
        live=snapshot.live if Tier.COLD in tiers else (),
        late=snapshot.late if Tier.HOT in tiers else (),
    )


def as_of_route(snapshot: Snapshot, asked: Query, instant: datetime) -> Route:
    """The route to the vintages that were live at an instant; no hot or late row is on it.

    Raises:
        LakeError: One of them has expired, so that its rows are kept no longer.
    """
    found = [vintage for vintage in snapshot.as_of(instant) if asked.wants(vintage.partition)]
    if expired := [vintage for vintage in found if vintage.state is VintageState.EXPIRED]:
        first = expired[0]
        others = f", and {len(expired) - 1} other partitions'" if len(expired) > 1 else ""
        msg = (
            f"{first.partition}: version {first.receipt.version}, which was live at {instant.isoformat()}, "
            f"has expired, so its rows can't be had any more{others}; nothing was read. `thermocline vintages "
            f"{first.partition.dataset} --start {first.partition.day}` shows which versions there are"
        )
        raise LakeError(msg)
    return plan_route(asked, hot=(), live=found)


def _batches(
    snapshot: Snapshot, lake: Lake, route: Route, late: "pa.Table | None"
) -> "Generator[pa.RecordBatch, None, None]":
    """The rows of each segment after those of the one before; while one tier is read, the next segment's is too."""
    remaining = route.query.limit
    reading: ReadAhead | None = None
    ahead: ReadAhead | None = None
    try:
        for segment, following in zip_longest(route.segments, route.segments[1:]):
            reading, ahead = ahead, None
            opened = partial(_opened, snapshot, lake, replace(route.query, limit=remaining), late)
            is_short = remaining is not None and remaining <= _FEW_ROWS
            # Opened before the next one is read ahead: the lake, which takes longer, is at work then.
            with nullcontext(reading) if reading else opened(segment) as batches:
                if following is not None and following.tier is not segment.tier and not is_short:
                    ahead = ReadAhead(
                        partial(opened, following), snapshot.cancel if following.tier is Tier.HOT else _let_end
                    )
                for batch in batches:
                    # What was read ahead may have been asked for before it was known how many rows come before.
                    rows = batch if remaining is None else batch.slice(0, remaining)
                    yield rows
                    if remaining is not None:
                        remaining -= rows.num_rows
            if remaining is not None and remaining <= 0:
                return
    finally:
        for each in (reading, ahead):
            if each is not None:
                each.close()


def _opened(
    snapshot: Snapshot, lake: Lake, asked: Query, late: "pa.Table | None", segment: Segment
) -> "AbstractContextManager[pa.RecordBatchReader]":
    return snapshot.scan(asked, segment) if segment.tier is Tier.HOT else lake.scan(asked, segment, late)


def _let_end() -> None:
    """A lake is read in small pieces; the one that is being read may end."""
