"""Writing a partition to the lake so that it can be trusted, and keeping the table and the ledger in step."""

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from thermocline.errors import FingerprintMismatchError, LakeError
from thermocline.faults import Step, step
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import dataset_named
from thermocline.model.fingerprint import Fingerprinter
from thermocline.model.journal import Journal
from thermocline.model.partition import ALL_DAYS, Partition
from thermocline.model.paths import holds_one_day
from thermocline.model.receipt import Contents, Receipt, by_object
from thermocline.ports import Lake, Publication, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    import pyarrow as pa


def archive(
    lake: Lake,
    partition: Partition,
    version: int,
    batches: "Iterable[pa.RecordBatch]",
    *,
    run_id: str,
    storage_class: str = "",
    told: "Callable[[Contents], None]" = lambda _: None,
) -> Receipt:
    """Write rows as one object, read it back from the store, and give its receipt only when both agree.

    `told` hears what the rows contain before they are stored; where it raises, nothing is.

    Raises:
        FingerprintMismatchError: The store does not hold what was written.
    """
    with step(Step.ARCHIVE):
        written = lake.write(partition, version, batches, run_id=run_id, storage_class=storage_class, told=told)
    confirm(lake, written)
    return written


def confirm(lake: Lake, *receipts: Receipt) -> None:
    """Read an object back, once, and compare it, byte by byte and row by row, with the receipts that name it.

    Raises:
        FingerprintMismatchError: It differs.
        LakeError: It is missing or can't be read.
    """
    with step(Step.READ_BACK):
        observed = lake.observe(*receipts)
    with step(Step.VERIFY):
        for receipt, found in zip(receipts, observed, strict=True):
            _compare(receipt, found)


def _compare(receipt: Receipt, observed: Receipt) -> None:
    if differences := disagreements(receipt, observed):
        msg = (
            f"{receipt.path} was read back and is not what was written ({'; '.join(differences)}); nothing was "
            f"deleted. Run `thermocline verify {receipt.partition.dataset} --start {receipt.partition.day}`"
        )
        raise FingerprintMismatchError(msg)


class ReadBack:
    """Confirms receipts one by one, and reads an object that several of them share once for all of them.

    Many threads may ask it.
    """

    def __init__(self, lake: Lake, receipts: Sequence[Receipt]) -> None:
        """Name the receipts that may be asked for; nothing is read yet."""
        self._lake = lake
        self._sharing = by_object(receipt for receipt in receipts if not holds_one_day(receipt.path))
        self._observed: dict[Partition, Receipt] = {}
        self._observing = threading.Lock()

    def confirm(self, receipt: Receipt) -> None:
        """See `confirm`."""
        if receipt.path not in self._sharing:
            confirm(self._lake, receipt)
            return
        with self._observing:
            if receipt.partition not in self._observed:
                sharing = self._sharing[receipt.path]
                with step(Step.READ_BACK):
                    observed = self._lake.observe(*sharing)
                self._observed |= {found.partition: found for found in observed}
        with step(Step.VERIFY):
            _compare(receipt, self._observed[receipt.partition])


def trusted(lake: Lake, receipt: Receipt) -> "Generator[pa.RecordBatch, None, None]":
    """The rows of an object that new rows are to be merged with; the end comes only if they were what they should be.

    Raises:
        FingerprintMismatchError: They are not the rows that the receipt speaks of.
    """
    fingerprinter = Fingerprinter(dataset_named(receipt.partition.dataset))
    for batch in lake.read(receipt):
        fingerprinter.update(batch)
        yield batch
    if differences := receipt.contents.differences(fingerprinter.contents()):
        msg = (
            f"{receipt.path} is not what its receipt says ({'; '.join(differences)}); nothing was changed. Restore it "
            "from a copy, or write the whole day again from its source with `thermocline backfill … --repair`"
        )
        raise FingerprintMismatchError(msg)


def unjournaled(lake: Lake, dataset: Dataset, receipts: Sequence[Receipt]) -> dict[Partition, str]:
    """Of live vintages, those whose receipt in the lake's journal is missing or says something else, with what it says.

    The journal is what a lost database is made anew from, so a day that it has wrong would come back wrong.
    """
    if not receipts:
        return {}
    # Most lie where the run that wrote them put them. Only who was moved since is looked up in the whole journal.
    wrong = _wrong_in(lake.journal(dataset, {receipt.run_id for receipt in receipts}), dataset, receipts)
    if not wrong:
        return {}
    return _wrong_in(lake.journal(dataset), dataset, [receipt for receipt in receipts if receipt.partition in wrong])


def _wrong_in(journal: Journal, dataset: Dataset, receipts: Sequence[Receipt]) -> dict[Partition, str]:
    """See `unjournaled`, of a journal or a part of it."""
    said: dict[tuple[Partition, int], list[Receipt]] = {}
    for entry in journal.entries:
        if entry.receipt:
            said.setdefault((entry.partition, entry.version), []).append(entry.receipt)
    unreadable = journal.unreadable
    damaged = f" ({len(unreadable)} files of it are damaged, such as {unreadable[0]})" if unreadable else ""
    wrong = {}
    for receipt in receipts:
        journaled = said.get((receipt.partition, receipt.version))
        if journaled is None:
            what = f"has no receipt of {receipt.path}{damaged}"
        # The last line may be of a run that died before it moved the day to another object.
        elif all(receipt.differences(each) for each in journaled):
            differences = receipt.differences(journaled[-1])
            what = f"says otherwise of {receipt.path} than the ledger ({'; '.join(differences)})"
        else:
            continue
        wrong[receipt.partition] = (
            f"the journal of {dataset.name} in the lake {what}; write the day anew from its source with "
            "`thermocline backfill … --repair`"
        )
    return wrong


def disagreements(receipt: Receipt, observed: Receipt) -> list[str]:
    """In words, where an object differs from its receipt."""
    facts = [
        f"{name}: {expected} against {actual}"
        for name, expected, actual in (
            ("bytes", receipt.size_bytes, observed.size_bytes),
            ("sha256", receipt.sha256, observed.sha256),
        )
        if expected != actual
    ]
    return facts + receipt.contents.differences(observed.contents)


def settled_head(writer: Writer, lake: Lake, dataset: Dataset, *, run_id: str, anew: bool = False) -> str:
    """The table's head, after making the table name the objects that the ledger calls live.

    They differ only when an earlier run died between its two commits; the ledger decides. What that run had published
    in the table alone is taken out of it again, and the run's day is done anew from the rows, which never left. Where
    the head is the one that was noted the table is taken at its word, unless it is to be looked at `anew`: something
    else than this program may have been at it.

    Raises:
        LakeError: The table belongs to another ledger; it is left as it is.
    """
    head, known = lake.head(dataset), writer.head()
    if known is None:
        if head or lake.holds(dataset):
            msg = (
                f"{lake.url} holds {dataset.name} of which this database's ledger knows nothing; nothing was changed. "
                "Point THERMOCLINE_HOT_URL at the database that wrote them. If that one is lost, run `thermocline "
                f"recover {dataset.name}`: it makes the ledger anew from the lake. Or choose another lake"
            )
            raise LakeError(msg)
        # Noted before anything is published, so that a first run that dies can be told from a foreign table.
        note_head(writer, dataset, head, run_id=run_id)
        return head
    if head == known and not anew:
        return head
    if lake.paths(dataset) != writer.live_paths():
        head = settle(lake, dataset, [vintage.receipt for vintage in writer.live(ALL_DAYS)], head, run_id=run_id)
    if head != known:
        note_head(writer, dataset, head, run_id=run_id)
    return head


def settle(lake: Lake, dataset: Dataset, live: Sequence[Receipt], head: str, *, run_id: str) -> str:
    """Make the table name the objects of these receipts and no others; return its head."""
    present = lake.paths(dataset)
    added = [receipt for receipt in live if receipt.path not in present]
    removed = present - {receipt.path for receipt in live}
    if not (added or removed):
        return head
    return lake.publish(dataset, added=added, removed=removed, expected_head=head, run_id=run_id, settling=True)


@step(Step.NOTE_HEAD)
def note_head(writer: Writer, dataset: Dataset, head: str, *, run_id: str) -> None:
    """Note in the ledger that it and the table agree as of that head."""
    writer.publish(Publication(dataset, head, run_id))
