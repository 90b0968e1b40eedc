"""Delete: take rows out of both tiers, on purpose. Earlier vintages keep them readable."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thermocline.model.dataset import Dataset
from thermocline.model.partition import DayRange
from thermocline.model.receipt import Receipt, Vintage
from thermocline.ports import Hot, Lake, Publication, Writer
from thermocline.tasks.archive import archive, settled_head, trusted
from thermocline.tasks.repack import unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa


@dataclass(frozen=True)
class Deletion:
    """Which rows are to go: of these days, intervals (none: all) and symbols (none: all)."""

    dataset: Dataset
    days: DayRange
    intervals: Collection[str] = ()
    symbols: Collection[str] = ()


def delete(hot: Hot, lake: Lake, deletion: Deletion, *, run_id: str, cold: bool = True, warm: bool = True) -> None:
    """Write a new vintage without those rows for every cold day, then delete them from hot.

    A run that dies in between is made good by deleting again. `cold` and `warm` choose the tiers.
    """
    with lake.run(run_id), hot.writer(deletion.dataset) as writer:
        if cold:
            _delete_cold(lake, writer, deletion, run_id)
        if warm:
            writer.delete(deletion.days, deletion.intervals, deletion.symbols, run_id=run_id)


def _delete_cold(lake: Lake, writer: Writer, deletion: Deletion, run_id: str) -> None:
    dataset = deletion.dataset
    head = settled_head(writer, lake, dataset, run_id=run_id)
    receipts: list[Receipt] = []
    withdrawn: list[Vintage] = []
    for vintage in writer.live(deletion.days, deletion.intervals):
        kept = sum(batch.num_rows for batch in _remaining(lake, vintage.receipt, deletion))
        if kept == vintage.receipt.contents.rows:
            continue
        if kept:
            version = writer.next_versions([vintage.partition])[vintage.partition]
            rows = _remaining(lake, vintage.receipt, deletion)
            receipts.append(archive(lake, vintage.partition, version, rows, run_id=run_id))
        else:
            withdrawn.append(vintage)
    gone = [vintage.partition for vintage in withdrawn]
    if changed := {*(receipt.partition for receipt in receipts), *gone}:
        head = unpack(writer, lake, dataset, changed, head=head, run_id=run_id)
        removed = [v.receipt.path for v in writer.live(deletion.days, deletion.intervals) if v.partition in changed]
        head = lake.publish(
            dataset, added=receipts, removed=removed, expected_head=head, run_id=run_id, withdrawn=withdrawn
        )
        writer.publish(Publication(dataset, head, run_id, receipts, gone, name="delete"))


def _remaining(lake: Lake, receipt: Receipt, deletion: Deletion) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it
    import pyarrow.compute as pc  # noqa: PLC0415

    if not deletion.symbols:
        return
    symbols = pa.array(sorted(deletion.symbols))
    for batch in trusted(lake, receipt):
        column = batch.column(deletion.dataset.symbol_column)
        if kept := batch.filter(pc.invert(pc.is_in(column, value_set=symbols))):
            yield kept
