"""Answers of the lake that are kept: in memory, and behind it wherever else.

A key says everything that an answer depends on: the dataset's columns, the objects by path and SHA-256 with the days
that count of each, and the question. Vintages never change, so what is found under a key is right for ever; which
vintages are live is asked of the ledger each time, before any key is made.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from hashlib import blake2b

import pyarrow as pa
import pyarrow.ipc

from thermocline.model.partition import ONE_DAY, midnight
from thermocline.model.query import Query, Segment
from thermocline.ports import Cache, CacheState, answered_from

_FORM = "1"
"""To be raised whenever the same question to the same objects gets another answer than before, as by a bug fixed."""

_OVERHEAD_BYTES = 1024
"""What an entry takes beside its rows; small answers are not free."""


def key_of(query: Query, segment: Segment, *more: str) -> str:
    """The key of what a query asks of a cold segment without late rows; `more` is what is asked beyond its rows.

    Questions that can't but have the same answer have the same key: symbols in any order, a range that begins before
    the first day or at it.
    """
    dataset = query.dataset
    columns = [f"{c.name} {c.kind} {c.nullable}" for c in dataset.columns]
    days = [vintage.partition.day for vintage in segment.vintages]
    first, last = midnight(min(days)), midnight(max(days) + ONE_DAY)
    said = [
        _FORM,
        dataset.name,
        str(dataset.schema_version),
        "\x1f".join(columns),
        "\x1f".join(dataset.key),
        segment.interval,
        "\x1f".join(query.names),
        "\x1f".join(query.order),
        "\x1f".join(sorted(set(query.symbols))),
        _instant(query.start) if query.start and query.start > first else "",
        _instant(query.end) if query.end and query.end < last else "",
        "" if query.limit is None else str(query.limit),
        *more,
    ]
    digest = blake2b(digest_size=20)
    for text in said:
        digest.update(f"{len(text)}:{text}".encode())
    for vintage in segment.vintages:
        receipt = vintage.receipt
        digest.update(
            f"{receipt.partition.day}\x1f{receipt.path}\x1f{receipt.sha256}\x1f{receipt.schema_version}\x1e".encode()
        )
    return digest.hexdigest()


def _instant(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat()


class Results:
    """Answers in caches one behind another, the nearest first. Without any, everything is read anew each time."""

    def __init__(self, caches: Sequence[Cache] = (), max_entry_bytes: int = 8 << 20) -> None:
        """Put caches in a row; no answer of more than `max_entry_bytes` is kept."""
        self._caches, self._max_entry_bytes = tuple(caches), max_entry_bytes

    @property
    def keeps(self) -> bool:
        """Whether anything is kept at all; where not, no key need be made."""
        return bool(self._caches)

    @contextmanager
    def stream(
        self, key: str, schema: pa.Schema, opened: Callable[[], AbstractContextManager[pa.RecordBatchReader]]
    ) -> Iterator[pa.RecordBatchReader]:
        """The answer that is kept under the key, else the one that is opened.

        That is kept once it was read to its end. Of one that turns out too large nothing is held any longer, so that
        whoever streams it needs no more memory than without a cache.
        """
        if (kept := self._found(key)) is not None and kept.schema.equals(schema):
            yield kept.to_reader()
            return
        answered_from.set("")
        with opened() as reader:
            yield pa.RecordBatchReader.from_batches(reader.schema, self._collected(key, reader))

    def cached(self, key: str, produce: Callable[[], pa.Table]) -> pa.Table:
        """The answer that is kept under the key, else what `produce` returns, which is kept."""
        if (kept := self._found(key)) is not None:
            return kept
        answer = produce()
        if answer.nbytes <= self._max_entry_bytes:
            self._keep(key, answer)
        return answer

    def states(self) -> list[CacheState]:
        """See `KeptAnswers.states`."""
        return [cache.state() for cache in self._caches]

    def clear(self) -> int:
        """See `KeptAnswers.clear`."""
        return sum(cache.clear() for cache in self._caches)

    def close(self) -> None:
        """Give connections back."""
        for cache in self._caches:
            cache.close()

    def _found(self, key: str) -> pa.Table | None:
        for number, cache in enumerate(self._caches):
            if (kept := cache.get(key)) is not None:
                answered_from.set(cache.name)
                for nearer in self._caches[:number]:
                    nearer.put(key, kept)
                return kept
        return None

    def _keep(self, key: str, answer: pa.Table) -> None:
        for cache in self._caches:
            cache.put(key, answer)

    def _collected(self, key: str, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        """The batches as they come; those that are left before the end, or by an error, are not kept."""
        kept: list[pa.RecordBatch] | None = []
        size_bytes = 0
        for batch in reader:
            if kept is not None:
                size_bytes += batch.nbytes
                kept.append(batch)
                if size_bytes > self._max_entry_bytes:
                    kept = None
            yield batch
        if kept is not None:
            self._keep(key, pa.Table.from_batches(kept, schema=reader.schema))


class MemoryCache:
    """Answers in the memory of this process, in as many bytes as they are given."""

    name = "memory"

    def __init__(self, limit_bytes: int) -> None:
        """Keep nothing yet."""
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, pa.Buffer] = OrderedDict()
        self._size_bytes = self._hits = self._misses = 0

    def get(self, key: str) -> pa.Table | None:
        """See `Cache.get`. The rows are not copied; they stay as long as somebody has them."""
        with self._lock:
            if (kept := self._entries.get(key)) is None:
                self._misses += 1
                return None
            self._entries.move_to_end(key)
            self._hits += 1
        with pa.ipc.open_stream(kept) as reader:
            return reader.read_all()

    def put(self, key: str, answer: pa.Table) -> None:
        """See `Cache.put`.

        The rows are copied into one buffer: batches may share a larger one, of which a part would be counted and all
        be held.
        """
        size_bytes = _ipc_bytes(answer)
        if _counted(size_bytes) > self._limit_bytes:
            return
        kept = pa.allocate_buffer(size_bytes)
        with pa.FixedSizeBufferWriter(kept) as sink:
            write_ipc(sink, answer)
        with self._lock:
            if (earlier := self._entries.pop(key, None)) is not None:
                self._size_bytes -= _counted(earlier.size)
            self._entries[key] = kept
            self._size_bytes += _counted(size_bytes)
            while self._size_bytes > self._limit_bytes:
                _, oldest = self._entries.popitem(last=False)
                self._size_bytes -= _counted(oldest.size)

    def state(self) -> CacheState:
        """See `Cache.state`."""
        with self._lock:
            return CacheState(
                self.name,
                self._limit_bytes,
                entries=len(self._entries),
                size_bytes=self._size_bytes,
                hits=self._hits,
                misses=self._misses,
            )

    def clear(self) -> int:
        """See `Cache.clear`."""
        with self._lock:
            count = len(self._entries)
            self._entries.clear()
            self._size_bytes = 0
        return count

    def close(self) -> None:
        """See `Cache.close`. There are no connections; the answers stay."""


def write_ipc(sink: pa.NativeFile, answer: pa.Table, options: pa.ipc.IpcWriteOptions | None = None) -> None:
    """Write an answer as a stream of Arrow's IPC format, batch by batch."""
    with pa.ipc.new_stream(sink, answer.schema, options=options) as writer:
        batches: Iterable[pa.RecordBatch] = answer.to_batches()
        for batch in batches:
            writer.write_batch(batch)


def _ipc_bytes(answer: pa.Table) -> int:
    sink = pa.MockOutputStream()
    write_ipc(sink, answer)
    return int(sink.size())


def _counted(size_bytes: int) -> int:
    return size_bytes + _OVERHEAD_BYTES
