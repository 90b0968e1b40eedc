"""A place on disk where rows of one dataset gather in any order and come out sorted, day by day."""

import shutil
import tempfile
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pyarrow as pa

from thermocline.errors import LakeError
from thermocline.model.dataset import Dataset
from thermocline.model.partition import Partition
from thermocline.stores.duckdb import Engine, columns_sql, explained, identifier
from thermocline.stores.sorted_rows import last_of_each_run

_PENDING_BYTES = 16 << 20
_WINDOW_BYTES = 64 << 20
_BATCH_ROWS = 65_536


class DuckDBSpool:
    """The port `Spool` in an on-disk DuckDB database of its own, removed when the spool is closed.

    Rows are appended as they come. The first time they are asked for they are sorted once, on disk where memory does not
    suffice; from then on a day is a contiguous piece of the table. Days that are small are fetched together with those
    that follow, up to 64 MiB, so that asking for thousands of them in order costs a few queries.
    """

    def __init__(self, dataset: Dataset, directory: Path | None = None, memory_limit_mib: int = 1024) -> None:
        """Make the database in a fresh folder inside `directory`, or the system's folder for temporary files."""
        self._dataset = dataset
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0
        self._bytes = self._rows = 0
        self._counts: dict[Partition, int] | None = None
        self._window: dict[Partition, pa.Table] = {}
        with ExitStack() as resources:
            folder = _fresh_folder(directory)
            resources.callback(shutil.rmtree, folder, ignore_errors=True)
            engine = Engine(memory_limit_mib=memory_limit_mib, temp_dir=folder)
            self._connection = resources.enter_context(engine.connection(str(folder / "spool.duckdb")))
            self._connection.register("waiting", dataset.arrow_schema.empty_table())
            self._connection.execute("CREATE TABLE spooled AS FROM waiting")
            # Nothing in here has to survive this process: one transaction spares every commit's fsync.
            self._connection.execute("BEGIN")
            self._resources = resources.pop_all()

    def __enter__(self) -> Self:
        """Hand the spool over."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Remove it."""
        self.close()

    def close(self) -> None:
        """Forget every row and remove the database."""
        self._pending.clear()
        self._window.clear()
        self._resources.close()

    def append(self, batches: Iterable[pa.RecordBatch]) -> None:
        """See `Spool.append`."""
        for batch in batches:
            self._counts = None
            self._pending.append(batch)
            self._pending_bytes += batch.nbytes
            self._bytes += batch.nbytes
            self._rows += batch.num_rows
            if self._pending_bytes >= _PENDING_BYTES:
                self._flush()

    def partitions(self) -> Mapping[Partition, int]:
        """See `Spool.partitions`."""
        if self._counts is None:
            self._window.clear()
            self._flush()
            self._sort()
            self._counts = self._counted()
        return self._counts

    def batches(self, partition: Partition) -> Iterator[pa.RecordBatch]:
        """See `Spool.batches`."""
        counts = self.partitions()
        if partition not in counts:
            return
        if partition not in self._window:
            window = self._following(partition)
            if len(window) == 1:
                yield from self._sorted(window)
                return
            self._window = self._fetched(window)
        yield from self._window[partition].to_batches(max_chunksize=_BATCH_ROWS)
