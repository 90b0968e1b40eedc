"""Partitions that an act could not do, until one succeeds. Functions run inside the caller's transaction."""

from collections.abc import Collection, Sequence

from thermocline.model.dataset import Dataset
from thermocline.model.partition import Partition
from thermocline.model.report import Failed
from thermocline.ports import Trouble
from thermocline.stores.postgres.connection import Connection


def all_of(connection: Connection, dataset: Dataset) -> list[Trouble]:
    """What is in trouble, in order."""
    rows = connection.execute(
        """SELECT interval, day, act, reason, run_id, times, first_at, last_at FROM thermocline.trouble
           WHERE dataset = %s ORDER BY interval, day, act""",
        (dataset.name,),
    )
    return [Trouble(Partition(dataset.name, interval, day), *rest) for interval, day, *rest in rows]


def note(connection: Connection, act: str, failed: Sequence[Failed], *, run_id: str) -> None:
    """Count a failure of each, with its reason."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO thermocline.trouble AS known (dataset, interval, day, act, reason, run_id)
               VALUES (%s, %s, %s, %s, %s, %s)
               ON CONFLICT (dataset, interval, day, act) DO UPDATE
               SET reason = excluded.reason, run_id = excluded.run_id, times = known.times + 1,
                   last_at = clock_timestamp()""",
            [
                (f.partition.dataset, f.partition.interval, f.partition.day, act, f.reason.replace("\0", ""), run_id)
                for f in failed
            ],
        )


def end(connection: Connection, act: str, partitions: Collection[Partition]) -> None:
    """The act succeeded for these, or they need it no more."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "DELETE FROM thermocline.trouble WHERE (act, dataset, interval, day) = (%s, %s, %s, %s)",
            [(act, partition.dataset, partition.interval, partition.day) for partition in partitions],
        )
