"""What is to stand in for hot days: a new vintage of each, or the live one, read back and compared with its rows."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from thermocline.errors import LakeError, RequestBudgetError
from thermocline.model.dataset import Dataset
from thermocline.model.partition import Partition
from thermocline.model.receipt import Receipt, Vintage
from thermocline.ports import Export, Lake, Mover, SpoolFactory, Writer
from thermocline.tasks.archive import ReadBack, archive
from thermocline.tasks.renew import Renewal, says_nothing
from thermocline.tasks.several import AT_ONCE, several

DAY_MIB = 128
"""What it takes to copy a day: a group of rows that waits to be written, a copy of it, and rows on their way."""

_SHARES = 64
"""Of what a day that is copied alone may take, the part that each stream of rows may be read ahead."""


@dataclass(frozen=True)
class ColdCopy:
    """A day that may leave hot: its export, and the receipt of a new vintage or of the live one, if it has rows."""

    export: Export
    receipt: Receipt | None
    is_new: bool


@dataclass(frozen=True)
class Copying:
    """Gets days of a dataset their cold copies while its writer is held; `live` are the days' live vintages.

    It takes at most `memory_mib` beside what the program takes anyway: with less than two days need, one at a time.
    """

    lake: Lake
    spool: SpoolFactory
    dataset: Dataset
    writer: Writer
    run_id: str
    live: Mapping[Partition, Vintage]
    memory_mib: int
    left: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def copies(self, partitions: Sequence[Partition]) -> Iterator[Iterable[tuple[Partition, Callable[[], ColdCopy]]]]:
        """Copy days, several at once; each comes with what waits for its copy, and raises why there is none.

        The writer may be used meanwhile where there are several days. A block that is left by an error ends those that
        have begun.
        """
        versions = self.writer.next_versions(partitions)
        read_back = ReadBack(self.lake, [vintage.receipt for vintage in self.live.values()])

        at_once = min(AT_ONCE, max(1, self.memory_mib // DAY_MIB))
        is_alone = at_once == 1 or len(partitions) == 1
        # Two days keep two cores busy by themselves, and more threads would only get in each other's way.
        ahead_bytes = (self.memory_mib << 20) // _SHARES if is_alone else 0
        spent: list[RequestBudgetError] = []

        def copy(mover: Mover, partition: Partition) -> ColdCopy:
            if spent:  # nothing more is begun
                raise spent[0]
            with _noting(spent), mover.export(partition) as export:
                archived = partial(archive, self.lake, partition, versions[partition], run_id=self.run_id)
                renewal = Renewal(self.lake, self.spool, self.dataset, export, archived, ahead_bytes, self.left)
                vintage = self.live.get(partition)
                return _copy(renewal, vintage.receipt if vintage else None, read_back)

        with several(self.writer, partitions, copy, is_writer_free=len(partitions) == 1, at_once=at_once) as coming:
            try:
                yield coming
            except BaseException:
                self.left.set()
                raise


@contextmanager
def _noting(spent: list[RequestBudgetError]) -> Iterator[None]:
    try:
        yield
    except RequestBudgetError as error:
        spent.append(error)
        raise


def _copy(renewal: Renewal, receipt: Receipt | None, read_back: ReadBack) -> ColdCopy:
    """Read a day once, to see whether it says anything new or, where that is likely, to write it at once."""
    export = renewal.export
    if receipt is None:
        if not export.rows:
            return ColdCopy(export, None, is_new=False)
        return ColdCopy(export, renewal.first(), is_new=True)
    try:
        if export.seems_changed or export.rows != receipt.contents.rows:
            return _renewed(renewal, receipt, read_back)
    except LakeError as error:
        if says_nothing(error) or not renewal.says(receipt):
            raise
        # The object is no good, but the rows are all there.
        return ColdCopy(export, renewal.first(), is_new=True)
    if renewal.says(receipt):
        return _confirmed_or_anew(renewal, receipt, read_back)
    return _renewed(renewal, receipt, read_back)


def _renewed(renewal: Renewal, receipt: Receipt, read_back: ReadBack) -> ColdCopy:
    if new := renewal.next(receipt):
        return ColdCopy(renewal.export, new, is_new=True)
    read_back.confirm(receipt)
    return ColdCopy(renewal.export, receipt, is_new=False)


def _confirmed_or_anew(renewal: Renewal, receipt: Receipt, read_back: ReadBack) -> ColdCopy:
    """The live vintage where its object is good, else a new one from the hot rows, which say the same."""
    try:
        read_back.confirm(receipt)
    except LakeError as error:
        if says_nothing(error):
            raise
        return ColdCopy(renewal.export, renewal.first(), is_new=True)
    return ColdCopy(renewal.export, receipt, is_new=False)
