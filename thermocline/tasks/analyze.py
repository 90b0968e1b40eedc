"""Analyze: a query that is run to see where its time goes. Its rows are counted and thrown away."""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from thermocline.model.dataset import Dataset
from thermocline.model.partition import DayRange
from thermocline.model.query import Query, Segment, Tier
from thermocline.ports import Hot, Lake, Snapshot, Traffic, answered_from

if TYPE_CHECKING:
    import pyarrow as pa

    Opened = Callable[[Hot, Lake], AbstractContextManager[pa.RecordBatchReader]]

Span = tuple[float, float]


@dataclass
class Scanned:
    """What one segment gave: its rows, their bytes in memory, and when it was worked on."""

    dataset: str
    segment: Segment
    rows: int = 0
    rows_bytes: int = 0
    kept_in: str = ""
    spans: list[Span] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The segment as JSON. `cache` is where its answer was kept."""
        days = self.segment.days
        return {
            "dataset": self.dataset,
            "tier": self.segment.tier.value,
            "interval": self.segment.interval or None,
            "first": days[0].isoformat(),
            "last": days[-1].isoformat(),
            "days": len(days),
            "rows": self.rows,
            "rows_bytes": self.rows_bytes,
            "ms": _ms(_covered(self.spans)),
            "cache": self.kept_in or None,
        }


@dataclass(frozen=True)
class Analysis:
    """Where the time of one run went, in seconds.

    Both tiers may be read at the same time, so that their times can add up to more than the whole. `merge_seconds` is
    what neither was at work in after the plan: putting rows in order, and handing them out. `requests` and
    `fetched_bytes` are what this process asked of a bucket meanwhile; None where the lake is on a disk.
    """

    seconds: float
    plan_seconds: float
    hot_seconds: float
    cold_seconds: float
    merge_seconds: float
    first_rows_seconds: float | None
    rows: int
    scans: Sequence[Scanned]
    requests: int | None = None
    fetched_bytes: int | None = None

    @property
    def cache_hits(self) -> int:
        """How many segments were answered from a cache."""
        return sum(bool(scan.kept_in) for scan in self.scans)

    def document(self) -> dict[str, Any]:
        """The run as JSON, with times in milliseconds."""
        return {
            "ms": _ms(self.seconds),
            "plan_ms": _ms(self.plan_seconds),
            "hot_ms": _ms(self.hot_seconds),
            "cold_ms": _ms(self.cold_seconds),
            "merge_ms": _ms(self.merge_seconds),
            "first_rows_ms": None if self.first_rows_seconds is None else _ms(self.first_rows_seconds),
            "rows": self.rows,
            "requests": self.requests,
            "fetched_bytes": self.fetched_bytes,
            "cache_hits": self.cache_hits,
            "segments": [scan.document() for scan in self.scans],
        }


def analyze(hot: Hot, lake: Lake, opened: "Opened") -> Analysis:
    """Run what `opened` opens over these stores to its end, and say where the time went."""
    watch = _Watch()
    before = lake.traffic()
    began, rows = perf_counter(), 0
    first_rows: float | None = None
    with opened(cast("Hot", _WatchedHot(hot, watch)), cast("Lake", _WatchedLake(lake, watch))) as reader:
        for batch in reader:
            rows += batch.num_rows
            if first_rows is None and rows:
                first_rows = perf_counter()
    ended = perf_counter()
    spans = [span for scan in watch.scans for span in scan.spans]
    # What is asked of another dataset first, such as an instrument's symbols, is no part of the plan.
    last = watch.scans[-1].dataset if watch.scans else ""
    planned = min((start for scan in watch.scans if scan.dataset == last for start, _ in scan.spans), default=ended)
    fetched = _since(before, lake.traffic())
    return Analysis(
        seconds=ended - began,
        plan_seconds=planned - began - _covered(span for span in spans if span[0] < planned),
        hot_seconds=_covered(watch.spans(Tier.HOT)),
        cold_seconds=_covered(watch.spans(Tier.COLD)),
        merge_seconds=ended - planned - _covered(span for span in spans if span[0] >= planned),
        first_rows_seconds=None if first_rows is None else first_rows - began,
        rows=rows,
        scans=sorted(watch.scans, key=lambda scan: (scan.segment.interval, scan.segment.days[0])),
        requests=fetched.requests if fetched else None,
        fetched_bytes=fetched.fetched_bytes if fetched else None,
    )


def _since(before: Traffic | None, after: Traffic | None) -> Traffic | None:
    if before is None or after is None:
        return None
    return Traffic(after.requests - before.requests, after.fetched_bytes - before.fetched_bytes)


class _Watch:
    """Notes what segments give, from whichever thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.scans: list[Scanned] = []

    def spans(self, tier: Tier) -> list[Span]:
        return [span for scan in self.scans if scan.segment.tier is tier for span in scan.spans]

    @contextmanager
    def scan(
        self, query: Query, segment: Segment, opened: "Callable[[], AbstractContextManager[pa.RecordBatchReader]]"
    ) -> "Iterator[pa.RecordBatchReader]":
        import pyarrow as pa  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it

        noted = Scanned(query.dataset.name, segment)
        with self._lock:
            self.scans.append(noted)
        answered_from.set("")
        began = perf_counter()
        with opened() as reader:
            noted.spans.append((began, perf_counter()))
            noted.kept_in = answered_from.get()
            yield pa.RecordBatchReader.from_batches(reader.schema, _timed(reader, noted))


def _timed(reader: "Iterable[pa.RecordBatch]", noted: Scanned) -> "Iterator[pa.RecordBatch]":
    batches = iter(reader)
    while True:
        began = perf_counter()
        batch = next(batches, None)
        noted.spans.append((began, perf_counter()))
        if batch is None:
            return
        noted.rows += batch.num_rows
        noted.rows_bytes += batch.nbytes
        yield batch


class _WatchedHot:
    """A hot tier whose snapshots are watched; all else is its own."""

    def __init__(self, hot: Hot, watch: _Watch) -> None:
        self._hot, self._watch = hot, watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hot, name)

    @contextmanager
    def snapshot(
        self, datasets: Sequence[Dataset], days: DayRange, intervals: Collection[str] = ()
    ) -> Iterator[Snapshot]:
        with self._hot.snapshot(datasets, days, intervals) as snapshot:
            yield cast("Snapshot", _WatchedSnapshot(snapshot, self._watch))


class _WatchedSnapshot:
    """A snapshot whose scans are watched."""

    def __init__(self, snapshot: Snapshot, watch: _Watch) -> None:
        self._snapshot, self._watch = snapshot, watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._snapshot, name)

    def scan(self, query: Query, segment: Segment) -> "AbstractContextManager[pa.RecordBatchReader]":
        return self._watch.scan(query, segment, lambda: self._snapshot.scan(query, segment))


class _WatchedLake:
    """A lake whose scans are watched."""

    def __init__(self, lake: Lake, watch: _Watch) -> None:
        self._lake, self._watch = lake, watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lake, name)

    def scan(
        self, query: Query, segment: Segment, late: "pa.Table | None" = None
    ) -> "AbstractContextManager[pa.RecordBatchReader]":
        return self._watch.scan(query, segment, lambda: self._lake.scan(query, segment, late))


def _covered(spans: Iterable[Span]) -> float:
    """The time in which at least one of the spans lay."""
    covered, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        covered += max(end - max(start, until), 0.0)
        until = max(until, end)
    return covered


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
