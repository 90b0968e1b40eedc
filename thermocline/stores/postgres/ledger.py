"""The ledger: vintages, the hot set, detached days, quarantine and the audit log, in schema `thermocline`.

Functions here take a connection and run inside whatever transaction the caller has open; the caller decides what
commits together.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from psycopg.types.json import Jsonb

from thermocline.model.dataset import Dataset
from thermocline.model.partition import DayRange, Partition
from thermocline.model.receipt import Contents, Receipt, Vintage
from thermocline.model.rejected import Rejected
from thermocline.ports import Act, Detached, HotDay
from thermocline.stores.postgres.connection import Connection, scalar

_VINTAGE = """
    SELECT dataset, interval, day, version, path, size_bytes, sha256, etag, schema_version, run_id,
           rows, min_ts, max_ts, null_counts, fingerprint, content_fingerprint, published_at, superseded_at
    FROM thermocline.vintage
"""


def _vintage(row: Sequence[Any]) -> Vintage:
    (dataset, interval, day, version, path, size, sha256, etag, schema_version, run_id, *contents, at, until) = row
    rows, min_ts, max_ts, null_counts, fingerprint, content_fingerprint = contents
    receipt = Receipt(
        partition=Partition(dataset, interval, day),
        version=version,
        path=path,
        size_bytes=size,
        sha256=sha256,
        etag=etag,
        schema_version=schema_version,
        run_id=run_id,
        contents=Contents(rows, min_ts, max_ts, null_counts, fingerprint, content_fingerprint),
    )
    return Vintage(receipt, at, until)


def live(connection: Connection, dataset: Dataset, days: DayRange, intervals: Collection[str] = ()) -> list[Vintage]:
    """The live vintages of those days (of every interval when none is named), in order."""
    rows = connection.execute(
        _VINTAGE
        + """WHERE superseded_at IS NULL AND dataset = %s AND day >= %s AND day < %s
             AND (%s OR interval = ANY(%s)) ORDER BY interval, day""",
        (dataset.name, days.start, days.end, not intervals, list(intervals)),
    )
    return [_vintage(row) for row in rows]


def next_versions(connection: Connection, dataset: Dataset, partitions: Collection[Partition]) -> dict[Partition, int]:
    """For each partition of the dataset, one more than the newest version it ever had."""
    rows = connection.execute(
        """SELECT interval, day, max(version) FROM thermocline.vintage
           WHERE dataset = %s AND day = ANY(%s) GROUP BY interval, day""",
        (dataset.name, sorted({partition.day for partition in partitions})),
    )
    newest = {Partition(dataset.name, interval, day): version for interval, day, version in rows}
    return {partition: newest.get(partition, 0) + 1 for partition in partitions}


def head(connection: Connection, dataset: Dataset) -> str | None:
    """The table's head as of the last publication; None where none was ever noted."""
    return scalar(  # type: ignore[no-any-return]
        connection, "SELECT head FROM thermocline.catalog_head WHERE dataset = %s", (dataset.name,)
    )


def set_head(connection: Connection, dataset: Dataset, head: str) -> None:
    """Note the head that goes with what is being published."""
    connection.execute(
        """INSERT INTO thermocline.catalog_head (dataset, head) VALUES (%s, %s)
           ON CONFLICT (dataset) DO UPDATE SET head = excluded.head, published_at = clock_timestamp()""",
        (dataset.name, head),
    )


def supersede(connection: Connection, partitions: Iterable[Partition]) -> None:
    """End the life of whatever vintages are live for these partitions."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """UPDATE thermocline.vintage SET superseded_at = clock_timestamp()
               WHERE superseded_at IS NULL AND (dataset, interval, day) = (%s, %s, %s)""",
            [_key(partition) for partition in partitions],
        )


def add_vintages(connection: Connection, receipts: Sequence[Receipt]) -> None:
    """Make the receipts' vintages live in place of those before them."""
    supersede(connection, (receipt.partition for receipt in receipts))
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO thermocline.vintage
               (dataset, interval, day, version, path, size_bytes, sha256, etag, schema_version, run_id,
                rows, min_ts, max_ts, null_counts, fingerprint, content_fingerprint)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
            [
                (
                    *_key(r.partition),
                    r.version,
                    r.path,
                    r.size_bytes,
                    r.sha256,
                    r.etag,
                    r.schema_version,
                    r.run_id,
                    r.contents.rows,
                    r.contents.min_ts,
                    r.contents.max_ts,
                    Jsonb(dict(r.contents.null_counts)),
                    r.contents.fingerprint,
                    r.contents.content_fingerprint,
                )
                for r in receipts
            ],
        )


def hot_days(connection: Connection, datasets: Sequence[Dataset]) -> list[HotDay]:
    """The hot set of some datasets, in order."""
    rows = connection.execute(
        """SELECT dataset, interval, day, version FROM thermocline.hot_day
           WHERE dataset = ANY(%s) ORDER BY dataset, interval, day""",
        ([dataset.name for dataset in datasets],),
    )
    return [HotDay(Partition(dataset, interval, day), version) for dataset, interval, day, version in rows]


def add_hot_day(connection: Connection, partition: Partition, version: int) -> None:
    """Put a day into the hot set, or note the newer vintage that was merged into it."""
    connection.execute(
        """INSERT INTO thermocline.hot_day (dataset, interval, day, version) VALUES (%s, %s, %s, %s)
           ON CONFLICT (dataset, interval, day)
           DO UPDATE SET version = greatest(thermocline.hot_day.version, excluded.version)""",
        (*_key(partition), version),
    )


def remove_hot_day(connection: Connection, partition: Partition) -> None:
    """Take a day out of the hot set."""
    connection.execute("DELETE FROM thermocline.hot_day WHERE (dataset, interval, day) = (%s, %s, %s)", _key(partition))


def add_detached(
    connection: Connection, partition: Partition, table: str, *, version: int, rows: int, run_id: str
) -> None:
    """Note a table that left hot and can come back. `version` is the vintage that holds its rows."""
    connection.execute(
        """INSERT INTO thermocline.detached (dataset, interval, day, table_name, version, rows, run_id)
           VALUES (%s, %s, %s, %s, %s, %s, %s)""",
        (*_key(partition), table, version, rows, run_id),
    )


def detached(connection: Connection, dataset: Dataset) -> list[Detached]:
    """The days that can still come back, oldest detachment first."""
    rows = connection.execute(
        """SELECT interval, day, table_name, version, detached_at, rows FROM thermocline.detached
           WHERE dataset = %s AND ended_at IS NULL ORDER BY detached_at, interval, day""",
        (dataset.name,),
    )
    return [Detached(Partition(dataset.name, interval, day), *rest) for interval, day, *rest in rows]


def end_detached(connection: Connection, table: str) -> None:
    """Note that a detached table was brought back or dropped."""
    connection.execute(
        "UPDATE thermocline.detached SET ended_at = clock_timestamp() WHERE table_name = %s AND ended_at IS NULL",
        (table,),
    )


def add_rejected(connection: Connection, rejected: Sequence[Rejected], *, run_id: str) -> None:
    """Keep rows that may not go in; the same row with the same reason is kept once."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO thermocline.quarantine (dataset, source, origin, record, reason, run_id)
               VALUES (%s, %s, %s, %s, %s, %s)
               ON CONFLICT (dataset, source, origin, md5(record), reason) DO NOTHING""",
            [(r.dataset, r.source, r.origin, r.record.replace("\0", "\\u0000"), r.reason, run_id) for r in rejected],
        )


def record(connection: Connection, act: Act) -> None:
    """Append to the audit log."""
    dataset, interval, day = _key(act.partition) if act.partition else (act.detail.get("dataset"), None, None)
    connection.execute(
        """INSERT INTO thermocline.audit (name, dataset, interval, day, run_id, detail)
           VALUES (%s, %s, %s, %s, %s, %s)""",
        (act.name, dataset, interval, day, act.run_id, Jsonb(dict(act.detail))),
    )


def last_act(connection: Connection, name: str, dataset: Dataset) -> Act | None:
    """The newest act of that name on the dataset."""
    row = connection.execute(
        """SELECT interval, day, run_id, detail, at FROM thermocline.audit
           WHERE name = %s AND dataset = %s ORDER BY audit_id DESC LIMIT 1""",
        (name, dataset.name),
    ).fetchone()
    if row is None:
        return None
    interval, day, run_id, detail, at = row
    partition = None if day is None else Partition(dataset.name, interval, day)
    return Act(name, partition, run_id, detail, at)


def _key(partition: Partition) -> tuple[Any, Any, Any]:
    return partition.dataset, partition.interval, partition.day
