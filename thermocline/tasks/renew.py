"""A day's next vintage: its hot rows, merged with what the lake has of the day, written and read back.

Everything streams. Rows that are sorted already, as a load leaves them, are sorted no second time; rows that turn out
to lie otherwise are asked for again, sorted. What comes from hot, and from the lake, may be read ahead by a thread each
while another batch is merged and written.
"""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from thermocline.errors import LakeError, OutOfOrderError, RequestBudgetError, TransientLakeError
from thermocline.model.dataset import Dataset
from thermocline.model.fingerprint import contents_of
from thermocline.model.merging import can_merge, merged
from thermocline.model.receipt import Contents, Receipt
from thermocline.ports import Export, Lake, SpoolFactory
from thermocline.tasks.ahead import ReadAhead
from thermocline.tasks.archive import trusted

if TYPE_CHECKING:
    import pyarrow as pa


class Archive(Protocol):
    """Writes rows as a day's next object and reads it back; `told` hears what they contain before they are stored."""

    def __call__(self, batches: "Iterable[pa.RecordBatch]", *, told: Callable[[Contents], None] = ...) -> Receipt:
        """The receipt of the object."""
        ...


class LeftError(Exception):
    """The run ends, and nobody waits for this day any more."""


class _NothingNewError(Exception):
    """The rows say what the vintage says; the file that was made of them is given up."""


def _anew_beside(live: Receipt) -> Callable[[Contents], None]:
    """What gives rows up that say just what the live vintage says."""

    def told(contents: Contents) -> None:
        if contents.content_fingerprint == live.contents.content_fingerprint:
            raise _NothingNewError

    return told


@dataclass(frozen=True)
class Renewal:
    """How one day gets its next vintage. `archive` writes rows as the day's next object and reads it back.

    Each of its streams is read at most `ahead_bytes` ahead, by a thread; with 0 by nobody but who takes the rows. When
    the run is `left`, no more rows are read, and `LeftError` is raised.
    """

    lake: Lake
    spool: SpoolFactory
    dataset: Dataset
    export: Export
    archive: Archive
    ahead_bytes: int
    left: threading.Event

    def first(self) -> Receipt:
        """The hot rows as they are: the lake has nothing of the day that counts."""
        try:
            return self._first(self.export.nearly_sorted())
        except OutOfOrderError:
            return self._first(self.export.batches())

    def says(self, receipt: Receipt) -> bool:
        """Whether the hot rows say just what the vintage says."""
        with self._ahead(self.export.unsorted()) as rows:
            return contents_of(self.dataset, rows).content_fingerprint == receipt.contents.content_fingerprint

    def next(self, live: Receipt) -> Receipt | None:
        """The hot rows and those of the live vintage, of one key the later; None where that says nothing new.

        Raises:
            FingerprintMismatchError: The vintage's object is not what its receipt says.
        """
        try:
            return self._merged(live)
        except _NothingNewError:
            return None

    def _first(self, rows: "Generator[pa.RecordBatch, None, None]") -> Receipt:
        with self._ahead(rows) as batches:
            return self.archive(batches)

    def _merged(self, live: Receipt) -> Receipt:
        if can_merge(self.dataset):
            for rows in (self.export.nearly_sorted, self.export.batches):
                try:
                    return self._streamed(live, rows())
                except OutOfOrderError:
                    continue
        with self.spool(self.dataset) as spool:
            spool.append(trusted(self.lake, live))
            spool.append(self.export.unsorted())
            return self.archive(spool.batches(live.partition), told=_anew_beside(live))

    def _streamed(self, live: Receipt, rows: "Generator[pa.RecordBatch, None, None]") -> Receipt:
        with ExitStack() as reading:
            streams = [reading.enter_context(self._ahead(each)) for each in (trusted(self.lake, live), rows)]
            return self.archive(merged(self.dataset, streams), told=_anew_beside(live))

    @contextmanager
    def _ahead(self, batches: "Generator[pa.RecordBatch, None, None]") -> "Iterator[Iterable[pa.RecordBatch]]":
        """The batches, read by a thread of its own until the block ends, if they are to be read ahead."""
        if not self.ahead_bytes:
            with closing(batches):
                yield self._until_left(batches)
            return
        reader = ReadAhead(lambda: closing(batches), cancel=lambda: None, ahead_bytes=self.ahead_bytes)
        try:
            yield self._until_left(reader)
        finally:
            reader.close()

    def _until_left(self, batches: "Iterable[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
        for batch in batches:
            if self.left.is_set():
                raise LeftError
            yield batch


def says_nothing(error: LakeError) -> bool:
    """Whether the error is of a store that does not answer, and so says nothing of the object that was asked for."""
    return isinstance(error, (TransientLakeError, RequestBudgetError))
