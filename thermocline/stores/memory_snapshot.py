"""One look at a `State`, which nobody changes any more."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from thermocline.model.aggregates import Aggregation
from thermocline.model.dataset import Dataset
from thermocline.model.partials import partials_of_rows
from thermocline.model.partition import DayRange, Partition
from thermocline.model.query import Query, Segment
from thermocline.model.receipt import Vintage
from thermocline.stores.memory_rows import newest
from thermocline.stores.memory_state import State

BATCH_ROWS = 65_536


class MemorySnapshot:
    """See `Snapshot`."""

    def __init__(self, state: State, datasets: Sequence[Dataset], days: DayRange, intervals: Collection[str]) -> None:
        """Look at those days and intervals (none: all) of a state."""
        names = {dataset.name for dataset in datasets}
        self._state = state
        self._asked = (datasets, days, intervals)
        self.hot = frozenset(p for p in state.hot if p.dataset in names)
        self.live: Sequence[Vintage] = [v for dataset in datasets for v in state.live(dataset, days, intervals)]
        self.late = frozenset(p for p in state.late if p.dataset in names)

    def as_of(self, instant: datetime) -> Sequence[Vintage]:
        """See `Snapshot.as_of`."""
        datasets, days, intervals = self._asked
        return [v for dataset in datasets for v in self._state.as_of(dataset, days, intervals, instant)]

    @contextmanager
    def scan(self, query: Query, segment: Segment) -> Iterator[pa.RecordBatchReader]:
        """See `Snapshot.scan`."""
        dataset = query.dataset
        days = [self._state.hot[Partition(dataset.name, segment.interval, day)].rows for day in segment.days]
        rows = pa.concat_tables([dataset.arrow_schema.empty_table(), *days])
        rows = rows.filter(matches(rows, query)).sort_by([(name, "ascending") for name in query.order])
        answer = rows.slice(0, query.limit).select(list(query.names))
        yield pa.RecordBatchReader.from_batches(answer.schema, answer.to_batches(max_chunksize=BATCH_ROWS))

    @contextmanager
    def aggregate(self, asked: Aggregation, segment: Segment) -> Iterator[pa.RecordBatchReader]:
        """See `Snapshot.aggregate`."""
        with self.scan(replace(asked.query, columns=(), limit=None), segment) as reader:
            partials = partials_of_rows(asked, reader.read_all())
        yield pa.RecordBatchReader.from_batches(partials.schema, partials.to_batches())

    def cancel(self) -> None:
        """See `Snapshot.cancel`. There is nothing to wait for."""

    def late_rows(self, query: Query) -> pa.Table:
        """See `Snapshot.late_rows`."""
        dataset = query.dataset
        found = [rows for p in sorted(self.late) if query.wants(p) for rows in self._state.late[p]]
        rows = newest(pa.concat_tables([dataset.arrow_schema.empty_table(), *found]), dataset)
        # A row that moved to another symbol still stands in for the one that had this symbol.
        by_symbol = dataset.symbol_column in dataset.key
        return rows.filter(matches(rows, query if by_symbol else replace(query, symbols=())))


def matches(rows: pa.Table, query: Query) -> pa.ChunkedArray:
    """Which rows a query asks for."""
    found = pc.is_valid(rows["ts"])
    if query.start:
        found = pc.and_(found, pc.greater_equal(rows["ts"], pa.scalar(query.start, rows["ts"].type)))
    if query.end:
        found = pc.and_(found, pc.less(rows["ts"], pa.scalar(query.end, rows["ts"].type)))
    for column, wanted in ((query.dataset.symbol_column, query.symbols), ("interval", query.intervals)):
        if wanted:
            found = pc.and_(found, pc.is_in(rows[column], value_set=pa.array(wanted)))
    return found
