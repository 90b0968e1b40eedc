"""The series in a batch of rows: which rows are of which symbol, and the instants between its sessions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from thermocline.model.dataset import Dataset
from thermocline.model.instruments import Span, ZoneOf

_WHOLE_DAYS = ("day", "week", "month")
_EARLIEST, _LATEST = -(2**63), 2**63 - 1


@dataclass(frozen=True, slots=True)
class Series:
    """Rows of one symbol. The asset class is empty where the dataset has none; `daily` also says weekly and so on."""

    asset_class: str
    symbol: str
    daily: bool

    def begins(self, day: date, zone_of: ZoneOf) -> int:
        """When the day's rows begin, in microseconds since 1970.

        Daily rows carry their session's date. Shorter bars begin with the exchange's midnight: those of the hours after
        a session's close lie on the next UTC day.
        """
        if day in {date.min, date.max}:
            return _EARLIEST if day == date.min else _LATEST
        midnight = datetime.combine(
            day, time(), UTC if self.daily else ZoneInfo(zone_of(self.asset_class, self.symbol))
        )
        return int(midnight.timestamp()) * 1_000_000


def columns_of_series(dataset: Dataset) -> tuple[str, ...]:
    """The columns by which `series_of` and `ticks` tell rows apart."""
    wanted = ("asset_class", dataset.symbol_column, *(["interval"] if dataset.has_intervals else []), "ts")
    return tuple(name for name in wanted if name in dataset.names)


def series_of(batch: pa.RecordBatch, dataset: Dataset) -> Iterator[tuple[Series, npt.NDArray[np.int64]]]:
    """Each series of a batch and the numbers of its rows, which stay in their order."""
    which = np.zeros(len(batch), dtype=np.int64)
    found: list[tuple[str, ...]] = [()]
    names = [name for name in columns_of_series(dataset) if name != "ts"]
    for name in names:
        encoded = batch.column(name).dictionary_encode()
        values = encoded.dictionary.to_pylist()
        mixed = which * len(values) + encoded.indices.to_numpy(zero_copy_only=False)
        distinct, which = np.unique(mixed, return_inverse=True)
        found = [(*found[number // len(values)], values[number % len(values)]) for number in distinct.tolist()]
    order = np.argsort(which, kind="stable")
    edges = np.searchsorted(which[order], np.arange(len(found) + 1))
    for number, values in enumerate(found):
        said = dict(zip(names, values, strict=True))
        daily = said.get("interval", "1day").endswith(_WHOLE_DAYS)
        series = Series(said.get("asset_class", ""), said[dataset.symbol_column], daily)
        yield series, order[edges[number] : edges[number + 1]]


def ticks(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """The instants of a batch's rows, in microseconds since 1970."""
    found: npt.NDArray[np.int64] = batch.column("ts").cast(pa.int64()).to_numpy(zero_copy_only=False)
    return found


def rows_within(
    batch: pa.RecordBatch, dataset: Dataset, spans: Sequence[tuple[str, str, Span]], zone_of: ZoneOf
) -> pa.RecordBatch:
    """The rows whose asset class, symbol and day are within one of the spans."""
    keep = np.zeros(len(batch), dtype=bool)
    instants = ticks(batch)
    for series, rows in series_of(batch, dataset):
        at = instants[rows]
        for asset_class, symbol, span in spans:
            if symbol == series.symbol and series.asset_class in {"", asset_class}:
                keep[rows] |= (at >= series.begins(span.start, zone_of)) & (at < series.begins(span.end, zone_of))
    return batch.filter(pa.array(keep))


def first_rows(batches: Iterator[pa.RecordBatch], limit: int | None) -> Iterator[pa.RecordBatch]:
    """The first `limit` rows of a stream."""
    for batch in batches:
        if limit is None:
            yield batch
            continue
        yield batch.slice(0, limit)
        limit -= batch.num_rows
        if limit <= 0:
            return
