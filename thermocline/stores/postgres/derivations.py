"""What derived days were made of."""

from collections.abc import Iterable

from thermocline.model.dataset import Dataset
from thermocline.model.derivation import Derivation
from thermocline.model.partition import Partition
from thermocline.stores.postgres.connection import Connection

_ALL = "SELECT interval, day, inputs, content FROM thermocline.derivation WHERE dataset = %s ORDER BY interval, day"
_NOTE = """
INSERT INTO thermocline.derivation (dataset, interval, day, inputs, content, run_id) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (dataset, interval, day) DO UPDATE
SET inputs = excluded.inputs, content = excluded.content, run_id = excluded.run_id, noted_at = clock_timestamp()
"""


def all_of(connection: Connection, dataset: Dataset) -> dict[Partition, Derivation]:
    """Every derived day of a dataset, in order."""
    found = {}
    for interval, day, inputs, content in connection.execute(_ALL, (dataset.name,)):
        partition = Partition(dataset.name, interval, day)
        found[partition] = Derivation(partition, inputs, content)
    return found


def note(connection: Connection, derivations: Iterable[Derivation], *, run_id: str) -> None:
    """Keep what days were made of, in place of what was noted of them before."""
    rows = [
        (each.partition.dataset, each.partition.interval, each.partition.day, each.inputs, each.content, run_id)
        for each in derivations
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_NOTE, rows)
