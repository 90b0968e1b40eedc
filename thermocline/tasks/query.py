"""Query: one question, answered from both tiers in one consistent look."""

from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from thermocline.errors import LakeError
from thermocline.model.archives import KEEP_DAYS, ClassRead, Offer, is_archived, offers, reads_of, request_of
from thermocline.model.prices import PriceBook
from thermocline.model.query import Query, Route, Tier, plan_route
from thermocline.model.receipt import StoredObject, VintageState
from thermocline.model.storage_classes import Provider
from thermocline.ports import Hot, Lake, Snapshot

if TYPE_CHECKING:
    import pyarrow as pa


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

    Raises:
        ArchivedError: An object that it needs must be restored first; no row was given.
    """
    import pyarrow as pa  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it

    route = _route(snapshot, asked, tiers)
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


def _route(snapshot: Snapshot, asked: Query, tiers: Collection[Tier] = tuple(Tier)) -> Route:
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
    remaining = route.query.limit
    for segment in route.segments:
        asked = replace(route.query, limit=remaining)
        opened = snapshot.scan(asked, segment) if segment.tier is Tier.HOT else lake.scan(asked, segment, late)
        with opened as reader:
            for batch in reader:
                yield batch
                if remaining is not None:
                    remaining -= batch.num_rows
        if remaining is not None and remaining <= 0:
            return


@dataclass(frozen=True)
class Explanation:
    """How a query would be answered.

    Of a lake whose provider bills reading, `reads` is the most that it costs, by class, and `archived` are objects that
    must be restored first, for what `offers` say.
    """

    route: Route
    late_days: int
    reads: Sequence[ClassRead] = ()
    archived: Sequence[StoredObject] = ()
    offers: Sequence[Offer] = ()

    @property
    def to_restore(self) -> str:
        """What `thermocline restore request` is to be told for the archived objects, and for no others."""
        paths = {each.path for each in self.archived}
        receipts = (vintage.receipt for vintage in self.route.vintages)
        return request_of(receipt.partition for receipt in receipts if receipt.path in paths)

    def document(self) -> dict[str, Any]:
        """The route as JSON: for each segment the tier, the days, the objects and their bytes."""
        return {
            "dataset": self.route.query.dataset.name,
            "as_of_vintage": self.route.query.as_of_vintage and self.route.query.as_of_vintage.isoformat(),
            "late_days": self.late_days,
            "bytes": self.route.size_bytes,
            "files": len(self.route.paths),
            "reads": [each.document() for each in self.reads],
            "archived": [each.path for each in self.archived],
            "offers": [each.document() for each in self.offers],
            "segments": [
                {
                    "tier": segment.tier.value,
                    "interval": segment.interval or None,
                    "first": segment.days[0].isoformat(),
                    "last": segment.days[-1].isoformat(),
                    "days": len(segment.days),
                    "bytes": segment.size_bytes,
                    "files": segment.paths,
                }
                for segment in self.route.segments
            ],
        }


def explain(
    hot: Hot, asked: Query, lake: Lake | None = None, prices: Callable[[], PriceBook] | None = None
) -> Explanation:
    """Which tier answers which days, from which objects, and how many bytes those have.

    With a lake and `prices`, also what its provider takes for reading, from listings.
    """
    with hot.snapshot([asked.dataset], asked.days, asked.intervals) as snapshot:
        route = _route(snapshot, asked)
        cold = {day for segment in route.segments if segment.tier is Tier.COLD for day in segment.days}
        late = {p for p in snapshot.late if asked.wants(p) and p.day in cold}
    found = Explanation(route, 0 if asked.as_of_vintage is not None else len(late))
    if lake is None or prices is None or lake.classes is None or not route.paths:
        return found
    provider = lake.classes.provider
    if provider is Provider.LOCAL:
        return found
    objects, now = lake.states(route.paths), datetime.now(UTC)
    archived = [each for each in objects if is_archived(each, provider, now)]
    apart = {each.path for each in archived}
    book = prices()
    reads = reads_of([each for each in objects if each.path not in apart], book)
    return replace(found, reads=reads, archived=archived, offers=offers(archived, book, KEEP_DAYS))
