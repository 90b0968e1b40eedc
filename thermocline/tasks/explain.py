"""Explain: how a query would be answered, and what that costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from thermocline.model.archives import KEEP_DAYS, ClassRead, Offer, is_archived, offers, reads_of, request_of
from thermocline.model.prices import PriceBook
from thermocline.model.query import Query, Route, Tier
from thermocline.model.receipt import StoredObject
from thermocline.model.storage_classes import Provider
from thermocline.ports import Hot, Lake
from thermocline.tasks.query import route_of


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
        route = route_of(snapshot, asked)
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
