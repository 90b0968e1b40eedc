"""Retiring: days whose retention is over leave the lake, every version of them, on purpose and for good.

They are withdrawn from the table and the ledger in one publication, which the journal says first, so that a ledger made
anew from the lake does not bring them back. Then their versions count as expired, and the objects are deleted by
`expire` when its grace is over, since a query that began before may still read them. A run that dies is made good by
the next: what is withdrawn already is only expired then.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from thermocline.model.dataset import Dataset
from thermocline.model.journal import Entry, Event
from thermocline.model.partition import ALL_DAYS, Partition
from thermocline.model.receipt import Vintage, VintageState
from thermocline.ports import Hot, Lake, Publication, Writer
from thermocline.tasks.archive import settled_head

KEPT = (VintageState.PUBLISHED, VintageState.HELD)
"""The states of vintages whose objects are kept."""


def busy_days(hot: Hot, dataset: Dataset) -> dict[Partition, str]:
    """Days in which something is going on that retention does not interrupt, and what that is."""
    busy = {kept.partition: "can still be brought back by undo" for kept in hot.detached(dataset)}
    held = hot.vintages(dataset, ALL_DAYS, states=[VintageState.HELD])
    busy |= {vintage.partition: "has a version that waits for a person" for vintage in held}
    busy |= dict.fromkeys(hot.late(dataset), "has late rows")
    busy |= {day.partition: "is hot" for day in hot.hot_days(dataset)}
    return busy


def by_path(vintages: Sequence[Vintage]) -> dict[str, list[Vintage]]:
    """Vintages by the object that they lie in."""
    found: dict[str, list[Vintage]] = {}
    for vintage in vintages:
        found.setdefault(vintage.receipt.path, []).append(vintage)
    return found


def retire(
    hot: Hot, lake: Lake, dataset: Dataset, days_in: Mapping[str, Collection[Partition]], *, run_id: str
) -> dict[str, str]:
    """Let objects go, with every version of a day that lies in them; return those that were left alone, and why.

    `days_in` says which days each of them held when that was decided. One that holds others by now, or one of whose
    days something is going on in, stays as it is.
    """
    with hot.writer(dataset) as writer:
        head = settled_head(writer, lake, dataset, run_id=run_id, anew=True)
        kept = by_path(hot.vintages(dataset, ALL_DAYS, states=KEPT))
        busy = busy_days(hot, dataset)
        left: dict[str, str] = {}
        going: list[Vintage] = []
        for path, days in days_in.items():
            vintages = kept.get(path, [])
            stopped = sorted(busy.keys() & {vintage.partition for vintage in vintages})
            if {vintage.partition for vintage in vintages} != set(days):
                left[path] = f"{path} does not hold the days any more that it held when it was planned to go"
            elif stopped:
                left[path] = f"{stopped[0]} {busy[stopped[0]]}"
            else:
                going += vintages
        live = [vintage for vintage in going if vintage.is_live]
        _withdraw(writer, lake, dataset, live, head=head, run_id=run_id)
        # Asked for anew, since what was live is superseded by now.
        paths = {vintage.receipt.path for vintage in going}
        gone = [v for v in hot.vintages(dataset, ALL_DAYS, states=KEPT) if v.receipt.path in paths]
        _expire(writer, lake, dataset, gone, run_id=run_id)
        return left


def _withdraw(writer: Writer, lake: Lake, dataset: Dataset, live: Sequence[Vintage], *, head: str, run_id: str) -> None:
    if not live:
        return
    removed = {vintage.receipt.path for vintage in live}
    head = lake.publish(dataset, added=(), removed=removed, expected_head=head, run_id=run_id, withdrawn=live)
    gone = [vintage.partition for vintage in live]
    writer.publish(Publication(dataset, head, run_id, withdrawn=gone, name="retire"))


def _expire(writer: Writer, lake: Lake, dataset: Dataset, vintages: Sequence[Vintage], *, run_id: str) -> None:
    if not vintages:
        return
    at = datetime.now(UTC)
    lake.note(dataset, [Entry(Event.EXPIRE, at, run_id, v.partition, v.receipt.version) for v in vintages])
    writer.expire(vintages, run_id=run_id)
