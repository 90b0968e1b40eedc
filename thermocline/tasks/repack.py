"""Which object a day lies in: bringing days of a month or year together in one, and taking some of them out again.

Readers get the same rows before and after, vintages stay what they are; only where they lie changes. What is written is
compared with what was there before anything names it. The invariant that all of this keeps: an object that a live
vintage names holds exactly the rows of the live vintages that name it, so that the table has every row once.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from thermocline.errors import FingerprintMismatchError, LakeError, ThermoclineError
from thermocline.faults import Step, step
from thermocline.model.dataset import Dataset
from thermocline.model.partition import Partition, years_of
from thermocline.model.paths import holds_one_day
from thermocline.model.receipt import Receipt, by_object
from thermocline.ports import Lake, Publication, Writer
from thermocline.tasks.archive import archive, confirm, trusted


def combined(lake: Lake, receipts: Sequence[Receipt], *, storage_class: str = "") -> list[Receipt]:
    """Write days of one year as one object, read it back, and give their receipts only when every day is in it whole.

    Raises:
        FingerprintMismatchError: A day is not what it was, or the store does not hold what was written.
    """
    with step(Step.COMBINE):
        written = lake.combine(receipts, storage_class=storage_class)
    for source, found in zip(receipts, written, strict=True):
        _compare(source, found)
    confirm(lake, *written)
    return written


def alone(lake: Lake, receipt: Receipt, *, run_id: str, storage_class: str = "") -> Receipt:
    """Write a day, also one that shares an object, as an object of its own, read it back, and give its receipt.

    Raises:
        FingerprintMismatchError: The day is not what it was, or the store does not hold what was written.
    """
    rows = trusted(lake, receipt)
    found = archive(lake, receipt.partition, receipt.version, rows, run_id=run_id, storage_class=storage_class)
    _compare(receipt, found)
    # The name may be a later version's where the right one was taken; the vintage's version stays.
    return replace(receipt, path=found.path, size_bytes=found.size_bytes, sha256=found.sha256, etag=found.etag)


def relocate(
    writer: Writer,
    lake: Lake,
    dataset: Dataset,
    relocated: Sequence[Receipt],
    removed: Collection[str],
    *,
    head: str,
    run_id: str,
    name: str,
) -> str:
    """Have the table and the ledger name the objects that vintages lie in now; return the table's head.

    `name` is what the audit log calls it. A run that dies between the two is settled by the next: the ledger decides.
    """
    writer.head()  # a run that lost its lock with its connection learns it here, before it touches the table
    head = lake.publish(dataset, added=(), removed=removed, relocated=relocated, expected_head=head, run_id=run_id)
    writer.publish(Publication(dataset, head, run_id, relocated=relocated, name=name))
    return head


def unpack(
    writer: Writer,
    lake: Lake,
    dataset: Dataset,
    partitions: Collection[Partition],
    *,
    head: str,
    run_id: str,
    one_by_one: bool = False,
    on_failed: Callable[[Sequence[Partition], ThermoclineError], None] | None = None,
) -> str:
    """Give days that share an object with days which stay an object of their own; return the table's head.

    To be called with a settled head, before live vintages of these days are superseded or withdrawn. An earlier vintage
    then takes up a day's room and not a year's. Where none of an object's days stays it is left as it is, unless the
    days are to go `one_by_one`: then each must be able to stay when another one went.

    Args:
        writer: Held until what comes after is done.
        lake: Where the objects are.
        dataset: The dataset of the days.
        partitions: The days whose vintages are about to go.
        head: The table's head.
        run_id: The run.
        one_by_one: Whether some of the days may go, in the ledger, and others not.
        on_failed: Told which days can't be taken out, and why, while the others are; else that is raised.

    Raises:
        LakeError: An object can't be read or is not what it was; nothing was changed.
    """
    leaving = frozenset(partitions)
    relocated: list[Receipt] = []
    removed: list[str] = []
    for path, receipts in _shared(writer, leaving).items():
        going = [receipt for receipt in receipts if receipt.partition in leaving]
        staying = [receipt for receipt in receipts if receipt.partition not in leaving]
        if not going or (not staying and (len(going) == 1 or not one_by_one)):
            continue
        try:
            moved = [alone(lake, receipt, run_id=run_id) for receipt in going]
            moved += combined(lake, staying) if staying else []
        except ThermoclineError as error:
            if on_failed is None:
                raise _explained(path, error) from error
            on_failed([receipt.partition for receipt in going], _explained(path, error))
            continue
        relocated += moved
        removed.append(path)
    if not removed:
        return head
    return relocate(writer, lake, dataset, relocated, removed, head=head, run_id=run_id, name="unpack")


def _shared(writer: Writer, partitions: Collection[Partition]) -> dict[str, list[Receipt]]:
    """The objects that days share in the years of these partitions, each with all live vintages in it."""
    live = [vintage.receipt for days in years_of(partitions) for vintage in writer.live(days)]
    return by_object(receipt for receipt in live if not holds_one_day(receipt.path))


def _compare(source: Receipt, found: Receipt) -> None:
    if differences := source.contents.differences(found.contents):
        msg = (
            f"{source.path} does not hold {source.partition} as it was written ({'; '.join(differences)}); nothing was "
            "changed"
        )
        raise FingerprintMismatchError(msg)


def _explained(path: str, error: ThermoclineError) -> ThermoclineError:
    """The error, with what is to be known of an object that days share."""
    if not isinstance(error, LakeError):
        return error
    msg = f"{error}. Days share {path}: where it is damaged, backfill all of them with --repair"
    return type(error)(msg)
