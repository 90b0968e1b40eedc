"""Holding a restatement back until a person has looked at it: written to the lake and verified, but not live."""

from collections.abc import Collection, Sequence
from datetime import datetime

from thermocline.model.dataset import Dataset
from thermocline.model.journal import Entry, Event
from thermocline.model.partition import Partition, span_of
from thermocline.model.receipt import Vintage, VintageState
from thermocline.model.report import Moved
from thermocline.ports import Holding, Hot, Lake, Writer

HELD = "held"
"""The action that reports give partitions that wait for a person."""


def held_vintages(hot: Hot, dataset: Dataset, partitions: Collection[Partition]) -> list[Vintage]:
    """The vintages of those partitions that wait for a person."""
    if not partitions:
        return []
    span = span_of(partitions)
    return [v for v in hot.vintages(dataset, span, (), [VintageState.HELD]) if v.partition in partitions]


def same_content(held: Sequence[Vintage], partition: Partition, content_fingerprint: str) -> Vintage | None:
    """The held vintage of the partition that says just that."""
    for vintage in held:
        if (vintage.partition, vintage.receipt.contents.content_fingerprint) == (partition, content_fingerprint):
            return vintage
    return None


def hold(
    writer: Writer, lake: Lake, dataset: Dataset, holdings: Sequence[Holding], *, now: datetime, run_id: str
) -> None:
    """Note verified vintages as held, in the lake's journal and then in the ledger."""
    if not holdings:
        return
    entries = [
        Entry(
            Event.HOLD,
            now,
            run_id,
            holding.receipt.partition,
            holding.receipt.version,
            holding.receipt,
            holding.restatement.reason,
        )
        for holding in holdings
    ]
    lake.note(dataset, entries)
    writer.hold(holdings, run_id=run_id)


def told(vintage: Vintage) -> Moved:
    """A held vintage as reports tell it."""
    receipt = vintage.receipt
    return Moved(vintage.partition, HELD, receipt.contents.rows, receipt.size_bytes, receipt.path)
