"""A place on disk where rows of one dataset gather in any order and come out sorted, day by day."""

import shutil
import tempfile
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from thermocline.errors import LakeError, SchemaError
from thermocline.model.dataset import Dataset
from thermocline.model.partition import Partition
from thermocline.stores.duckdb import Engine, explained
from thermocline.stores.duckdb_sql import columns_sql, identifier
from thermocline.stores.sorted_rows import last_of_each_run

_PENDING_BYTES = 16 << 20
_WINDOW_BYTES = 64 << 20
_BATCH_ROWS = 65_536
_DAY = "CAST(ts AS DATE)"  # in UTC, as every connection here is


class DuckDBSpool:
    """The port `Spool` in an on-disk DuckDB database of its own, removed when the spool is closed.

    Rows are appended as they come. The first time they are asked for they are sorted once, on disk where memory does
    not suffice; from then on a day is a contiguous piece of the table. Days that are small are fetched together with
    those that follow, up to 64 MiB, so that asking for thousands of them in order costs a few queries.
    """

    def __init__(self, dataset: Dataset, directory: Path | None = None, memory_limit_mib: int = 1024) -> None:
        """Make the database in a fresh folder inside `directory`, or the system's folder for temporary files."""
        self._dataset = dataset
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0
        self._bytes = self._rows = 0
        self._counts: dict[Partition, int] | None = None
        self._order: list[Partition] = []
        self._window: dict[Partition, pa.Table] = {}
        self._lock = threading.Lock()
        with ExitStack() as resources:
            folder = _fresh_folder(directory)
            resources.callback(shutil.rmtree, folder, ignore_errors=True)
            engine = Engine(memory_limit_mib=memory_limit_mib, temp_dir=folder)
            self._connection = resources.enter_context(engine.instance(str(folder / "spool.duckdb")))
            self._connection.register("waiting", dataset.arrow_schema.empty_table())
            self._connection.execute("CREATE TABLE spooled AS FROM waiting")
            self._connection.unregister("waiting")
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
        """See `Spool.append`.

        Raises:
            SchemaError: A batch is not in the dataset's schema.
        """
        schema = self._dataset.arrow_schema
        for batch in batches:
            if batch.schema.names != schema.names or batch.schema.types != schema.types:
                msg = f"rows of {self._dataset.name} came in another schema: {batch.schema.to_string()}"
                raise SchemaError(msg)
            with self._lock:
                self._counts = None
                self._pending.append(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
                self._pending_bytes += batch.nbytes
                self._bytes += batch.nbytes
                self._rows += batch.num_rows
                if self._pending_bytes >= _PENDING_BYTES:
                    self._flush()

    def partitions(self) -> Mapping[Partition, int]:
        """See `Spool.partitions`."""
        with self._lock:
            if self._counts is None:
                self._window = {}
                self._flush()
                self._sort()
                self._counts = self._counted()
                self._order = list(self._counts)
            return self._counts

    def batches(self, partition: Partition) -> Iterator[pa.RecordBatch]:
        """See `Spool.batches`."""
        counts = self.partitions()
        if partition not in counts:
            return
        with self._lock:
            table = self._window.get(partition)
            days = [partition] if table else self._following(partition, counts)
            if table is None and len(days) > 1:
                self._window = self._fetched(days)
                table = self._window[partition]
        yield from table.to_batches(max_chunksize=_BATCH_ROWS) if table else self._merged(days)

    def _flush(self) -> None:
        """Move waiting rows to disk."""
        if self._pending:
            with _explained():
                # DuckDB sets up an insert of its own, with its memory, for each chunk.
                self._connection.register("waiting", pa.Table.from_batches(self._pending).combine_chunks())
                self._connection.execute("INSERT INTO spooled FROM waiting")
                self._connection.unregister("waiting")
            self._pending, self._pending_bytes = [], 0

    def _sort(self) -> None:
        """Sort all rows, once. Rows of one key end up together, the one that stays as the last of them."""
        interval = f"{identifier('interval')}, " if self._dataset.has_intervals else ""
        order = f"{interval}{_DAY}, {columns_sql(self._dataset.sort)}, ingested_at, rowid"
        with _explained():
            self._connection.execute(f"CREATE TABLE sorted AS FROM spooled ORDER BY {order}")
            self._connection.execute("DROP TABLE spooled")
            self._connection.execute("ALTER TABLE sorted RENAME TO spooled")

    @property
    def _series(self) -> str:
        return identifier("interval") if self._dataset.has_intervals else "''"

    def _counted(self) -> dict[Partition, int]:
        with _explained():
            rows = self._connection.execute(
                f"SELECT {self._series} AS series, {_DAY} AS day, count(*) FROM spooled"  # noqa: S608  # as above
                " GROUP BY series, day ORDER BY series, day"
            ).fetchall()
        return {Partition(self._dataset.name, series, day): count for series, day, count in rows}

    def _following(self, first: Partition, counts: Mapping[Partition, int]) -> list[Partition]:
        """The partition and those after it of the same interval that fit into a window with it."""
        row_bytes = self._bytes / max(self._rows, 1)
        room = _WINDOW_BYTES / max(row_bytes, 1) - counts[first]
        days = [first]
        for following in islice(self._order, bisect_left(self._order, first) + 1, None):
            room -= counts[following]
            if room < 0 or following.series != first.series:
                break
            days.append(following)
        return days

    def _merged(self, days: Sequence[Partition]) -> Iterator[pa.RecordBatch]:
        """The rows of successive days, one a key."""
        schema = self._dataset.arrow_schema
        sql = f"SELECT {columns_sql(schema.names)} FROM spooled WHERE ts >= $start AND ts < $end"  # noqa: S608  # as above
        values: dict[str, object] = {"start": days[0].start, "end": days[-1].end}
        if self._dataset.has_intervals:
            sql += f" AND {self._series} = $series"
            values["series"] = days[0].interval
        if set(self._dataset.sort) - set(self._dataset.key):
            # Rows of one key need not be neighbours in the order of files, so DuckDB has to look for them.
            sql += (
                f" QUALIFY row_number() OVER (PARTITION BY {columns_sql(self._dataset.key)}"
                " ORDER BY ingested_at DESC, rowid DESC) = 1"
                f" ORDER BY {_DAY}, {columns_sql(self._dataset.sort)}"
            )
        with _explained(), self._connection.cursor() as cursor:
            reader = cursor.execute(sql, values).to_arrow_reader(_BATCH_ROWS)
            typed = (pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in reader)
            yield from last_of_each_run(typed, self._dataset.key)

    def _fetched(self, days: Sequence[Partition]) -> dict[Partition, pa.Table]:
        """The rows of successive days, fetched in one query."""
        table = pa.Table.from_batches(self._merged(days), self._dataset.arrow_schema).combine_chunks()
        found = np.asarray(table["ts"].cast(pa.timestamp("us")).cast(pa.date32(), safe=False).cast(pa.int32()))
        wanted = np.asarray(pa.array([partition.day for partition in days], pa.date32()).cast(pa.int32()))
        starts = np.searchsorted(found, wanted, "left")
        stops = np.searchsorted(found, wanted, "right")
        return {
            partition: table.slice(start, stop - start)
            for partition, start, stop in zip(days, starts.tolist(), stops.tolist(), strict=True)
        }


def _fresh_folder(directory: Path | None) -> Path:
    try:
        if directory:
            directory.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="thermocline-spool-", dir=directory))
    except OSError as error:
        msg = f"can't make a folder for temporary rows: {error}; free some space or choose another TMPDIR"
        raise LakeError(msg) from error


def _explained() -> AbstractContextManager[None]:
    return explained("rows can't be gathered on disk", "free some space for temporary files, then run it again")
