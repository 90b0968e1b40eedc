"""Room for rows that do not fit in memory."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from thermocline.model.dataset import Dataset
from thermocline.model.partition import Partition

if TYPE_CHECKING:
    import pyarrow as pa


class Spool(Protocol):
    """A place to gather rows of one dataset that don't fit in memory, and to take them out sorted, day by day."""

    def append(self, batches: "Iterable[pa.RecordBatch]") -> None:
        """Take rows in."""
        ...

    def partitions(self) -> Mapping[Partition, int]:
        """The partitions that have rows, in order, with their row counts before merging."""
        ...

    def batches(self, partition: Partition) -> "Iterator[pa.RecordBatch]":
        """A partition's rows sorted as a file is; of one key the row with the latest `ingested_at`, then the last."""
        ...


class SpoolFactory(Protocol):
    """Opens spools; each is gone, with its files, when its block ends."""

    def __call__(self, dataset: Dataset) -> AbstractContextManager[Spool]:
        """A new, empty spool."""
        ...
