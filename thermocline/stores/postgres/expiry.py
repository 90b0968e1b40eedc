"""What is kept no longer: vintages that expire, and objects that no kept vintage names, in schema `thermocline`.

As in `ledger`, functions run inside whatever transaction the caller has open.
"""

from collections.abc import Collection

from thermocline.model.dataset import Dataset
from thermocline.model.receipt import Vintage
from thermocline.ports import UnnamedObject
from thermocline.stores.postgres import ledger
from thermocline.stores.postgres.connection import Connection, scalar


def unnamed(connection: Connection, dataset: Dataset) -> list[UnnamedObject]:
    """The objects of the dataset that were noted, oldest first."""
    rows = connection.execute(
        "SELECT path, since FROM thermocline.unnamed_object WHERE dataset = %s ORDER BY since, path", (dataset.name,)
    )
    return [UnnamedObject(path, since) for path, since in rows]


def expire(connection: Connection, dataset: Dataset, vintages: Collection[Vintage]) -> None:
    """Mark vintages that were superseded as expired, and note the objects that nothing names from then on."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """UPDATE thermocline.vintage SET state = 'expired'
               WHERE (dataset, interval, day, version) = (%s, %s, %s, %s)
                 AND state = 'published' AND superseded_at IS NOT NULL""",
            [(dataset.name, v.partition.interval, v.partition.day, v.receipt.version) for v in vintages],
        )
    ledger.note_unnamed(connection, dataset.name, sorted({vintage.receipt.path for vintage in vintages}))


def may_go(connection: Connection, path: str) -> bool:
    """Whether an object was noted and nothing names it; what is named again is forgotten."""
    connection.execute(
        """DELETE FROM thermocline.unnamed_object u WHERE u.path = %s AND EXISTS (
               SELECT FROM thermocline.vintage v WHERE v.path = u.path AND v.state IN ('published', 'held')
           )""",
        (path,),
    )
    return bool(scalar(connection, "SELECT EXISTS (SELECT FROM thermocline.unnamed_object WHERE path = %s)", (path,)))


def forget(connection: Connection, path: str) -> None:
    """Forget an object that is gone."""
    connection.execute("DELETE FROM thermocline.unnamed_object WHERE path = %s", (path,))
