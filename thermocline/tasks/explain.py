"""Explain: how a query would be answered, and what that costs."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

from thermocline.errors import LakeError
from thermocline.model.archives import KEEP_DAYS, ClassRead, Offer, is_archived, offers, reads_of, request_of
from thermocline.model.latency import Latency, latency_of
from thermocline.model.prices import PriceBook
from thermocline.model.query import Query, Route, Segment, Tier
from thermocline.model.receipt import StoredObject
from thermocline.model.row_groups import RowGroups
from thermocline.model.storage_classes import Provider
from thermocline.ports import Hot, Lake
from thermocline.tasks.analyze import Analysis
from thermocline.tasks.query import route_of

_MOST_FOOTERS = 1_000
"""Objects of a segment whose footers are read to explain a query; each is a request in a bucket."""


@dataclass(frozen=True)
class Explanation:
    """How a query would be answered, and with an `analysis` how it was.

    `row_groups` are those of each segment, in order, where they are known. Of a lake whose provider bills reading,
    `reads` is the most that it costs, by class, and `archived` are objects that must be restored first, for what
    `offers` say.
    """

    route: Route
    latency: Latency
    late_days: int
    row_groups: Sequence[RowGroups | None] = ()
    reads: Sequence[ClassRead] = ()
    archived: Sequence[StoredObject] = ()
    offers: Sequence[Offer] = ()
    analysis: Analysis | None = None

    @property
    def all_row_groups(self) -> RowGroups | None:
        """Those of all segments, where those of each are known."""
        known = [each for each in self.row_groups if each is not None]
        is_known = bool(known) and len(known) == len(self.row_groups)
        return sum(known, RowGroups(0, 0, 0)) if is_known else None

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
            "latency": self.latency.document(),
            "bytes": self.route.size_bytes,
            "files": len(self.route.paths),
            "row_groups": _told(self.all_row_groups),
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
                    "row_groups": _told(groups) if segment.tier is Tier.COLD else None,
                    "files": segment.paths,
                }
                for segment, groups in zip_longest(self.route.segments, self.row_groups)
            ],
            "analysis": self.analysis and self.analysis.document(),
        }


def _told(groups: RowGroups | None) -> dict[str, int] | None:
    return None if groups is None else {"total": groups.total, "read": groups.read, "read_bytes": groups.read_bytes}


def explain(
    hot: Hot, asked: Query, lake: Lake | None = None, prices: Callable[[], PriceBook] | None = None
) -> Explanation:
    """Which tier answers which days, from which objects and row groups, how many bytes those have, and how soon.

    With a lake, its objects' footers are read, and with `prices` also what its provider takes for reading, from
    listings. Objects that can't be read are for `verify` to tell of; there are no row groups then.
    """
    with hot.snapshot([asked.dataset], asked.days, asked.intervals) as snapshot:
        route = route_of(snapshot, asked)
        cold = {day for segment in route.segments if segment.tier is Tier.COLD for day in segment.days}
        late = {p for p in snapshot.late if asked.wants(p) and p.day in cold}
    found = Explanation(route, latency_of(route, None), 0 if asked.as_of_vintage is not None else len(late))
    if lake is None:
        return found
    provider = lake.classes.provider if lake.classes else None
    if route.paths and prices is not None and provider not in {None, Provider.LOCAL}:
        found = _billed(found, lake, provider, prices())
    groups = [None if found.archived else _row_groups(lake, asked, segment) for segment in route.segments]
    known = [each for each in groups if each is not None]
    read_bytes = sum(each.read_bytes for each in known) if len(known) == len(groups) else None
    latency = latency_of(route, provider, found.archived, read_bytes)
    return replace(found, latency=latency, row_groups=groups)


def _billed(found: Explanation, lake: Lake, provider: Provider, book: PriceBook) -> Explanation:
    """What must be restored before it is read, and what the provider takes for that and for reading the rest."""
    objects, now = lake.states(found.route.paths), datetime.now(UTC)
    archived = [each for each in objects if is_archived(each, provider, now)]
    apart = {each.path for each in archived}
    reads = reads_of([each for each in objects if each.path not in apart], book)
    return replace(found, reads=reads, archived=archived, offers=offers(archived, book, KEEP_DAYS))


def _row_groups(lake: Lake, asked: Query, segment: Segment) -> RowGroups | None:
    """What is read of a segment's objects; None where that can't be told, or only by too many requests."""
    if segment.tier is Tier.HOT:
        return RowGroups(0, 0, 0)
    if len(segment.paths) > _MOST_FOOTERS:
        return None
    with suppress(LakeError):
        return lake.row_groups(asked, [vintage.receipt for vintage in segment.vintages])
    return None
