"""Which span of time a vendor is asked for, and how many of something at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypeVar

from thermocline.model.partition import DayRange, midnight

_EARLIEST = date(1970, 1, 1)
_FARTHEST_YEARS = 2
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Span:
    """Instants from `start` (inclusive) to `end` (exclusive)."""

    start: datetime
    end: datetime

    @property
    def last(self) -> datetime:
        """The last second of it, for vendors whose ends are inclusive. No bar opens within a second."""
        return self.end - timedelta(seconds=1)


def asked_span(days: DayRange, now: datetime) -> Span:
    """The instants of days, within what a vendor can make sense of.

    The end does not depend on the day on which it is asked for: a run that goes on tomorrow must ask the very same.
    """
    start, farthest = max(days.start, _EARLIEST), date(now.year + _FARTHEST_YEARS, 1, 1)
    return Span(midnight(start), midnight(max(min(days.end, farthest), start)))


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in runs of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
