"""What is looked at before a rotation takes rows out of PostgreSQL, and after it did.

Rotation verifies each day that it moves. These looks stand outside of it: the first at what would be left alone in the
world, the second at what a reader gets.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import groupby

from thermocline.model.dataset import Dataset
from thermocline.model.datasets import dataset_named
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ONE_DAY, DayRange, Partition
from thermocline.model.query import Query
from thermocline.model.report import Failed, Moved
from thermocline.ports import Hot, Lake
from thermocline.tasks.query import query
from thermocline.tasks.verify import VerifyReport, table_problems, verify_objects


def verify_at_stake(
    hot: Hot, lake: Lake, datasets: Sequence[Dataset], lifecycle: Lifecycle, *, as_of: date
) -> VerifyReport:
    """Re-read the objects of days whose detached rows a rotation as of that day drops for good.

    Days that are still hot are not at stake: rotation reads each one's object back by itself.
    """
    report = VerifyReport()
    last = as_of - timedelta(days=lifecycle.undo_days)
    for dataset in datasets:
        at_stake = {old.partition for old in hot.detached(dataset) if old.detached_at.date() <= last}
        for interval, days in unbroken(at_stake):
            verify_objects(hot, lake, dataset, days, [interval] if interval else [], report=report)
        report.table += table_problems(hot, lake, dataset) if at_stake else []
    return report


def unbroken(partitions: Iterable[Partition]) -> Iterator[tuple[str, DayRange]]:
    """Partitions of one dataset as intervals and unbroken runs of days, so that no other day is touched."""
    numbered = enumerate(sorted(partitions, key=lambda p: (p.interval, p.day)))
    for (interval, _), run in groupby(numbered, key=lambda each: (each[1].interval, each[1].day - each[0] * ONE_DAY)):
        days = [partition.day for _, partition in run]
        yield interval, DayRange(days[0], days[-1] + ONE_DAY)


def recount(hot: Hot, lake: Lake, planned: Sequence[Moved], moved: Collection[Moved]) -> list[Failed]:
    """Ask for every moved day as a reader does; name those that lost a row since the plan or have one twice.

    Rows may have been added since; that is no failure.
    """
    # Late rows are counted by arrival in a plan, several of one key as several.
    before = {plan.partition: plan.rows for plan in planned if plan.action == "rotate"}
    failed = []
    for partition in sorted(each.partition for each in moved):
        rows, keys = _count(hot, lake, partition)
        if rows < before.get(partition, 0):
            failed.append(Failed(partition, f"{before[partition]} rows were hot, {rows} come back"))
        if rows > keys:
            failed.append(Failed(partition, f"{rows} rows come back for {keys} keys"))
    return failed


def _count(hot: Hot, lake: Lake, partition: Partition) -> tuple[int, int]:
    """The rows that a reader gets of a day, and how many different keys they have."""
    dataset = dataset_named(partition.dataset)
    intervals = (partition.interval,) if partition.interval else ()
    asked = Query(dataset, partition.start, partition.end, intervals=intervals, columns=dataset.key)
    with query(hot, lake, asked) as reader:
        table = reader.read_all()
    return len(table), len(table.group_by(list(dataset.key)).aggregate([]))
