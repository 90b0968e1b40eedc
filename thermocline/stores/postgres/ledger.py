"""The ledger: vintages, the hot set, detached days, quarantine and the audit log, in schema `thermocline`.

Functions here take a connection and run inside whatever transaction the caller has open; the caller decides what
commits together.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from typing import Any

from psycopg.types.json import Jsonb

from thermocline.errors import StaleStateError
from thermocline.model.dataset import Dataset
from thermocline.model.partition import DayRange, Partition
from thermocline.model.receipt import Contents, Receipt, Vintage, VintageState
from thermocline.ports import Act, AuditQuery, Detached, HotDay
from thermocline.ports.ledger import KNOWN_ALREADY
from thermocline.stores.postgres.connection import Connection, scalar

_VINTAGE = """
    SELECT dataset, interval, day, version, path, size_bytes, sha256, etag, schema_version, run_id,
           rows, min_ts, max_ts, null_counts, fingerprint, content_fingerprint,
           published_at, superseded_at, state, reason
    FROM thermocline.vintage
"""

_ACT = "SELECT name, dataset, interval, day, run_id, detail, at, actor, client FROM thermocline_audit.log "


def _vintage(row: Sequence[Any]) -> Vintage:
    (dataset, interval, day, version, path, size, sha256, etag, schema_version, run_id, *rest) = row
    *contents, at, until, state, reason = rest
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
    return Vintage(receipt, at, until, VintageState(state), reason)


def live(connection: Connection, dataset: Dataset, days: DayRange, intervals: Collection[str] = ()) -> list[Vintage]:
    """The live vintages of those days (of every interval when none is named), in order."""
    rows = connection.execute(
        _VINTAGE
        + """WHERE superseded_at IS NULL AND state = 'published' AND dataset = %s AND day >= %s AND day < %s
             AND (%s OR interval = ANY(%s)) ORDER BY interval, day""",
        (dataset.name, days.start, days.end, not intervals, list(intervals)),
    )
    return [_vintage(row) for row in rows]


def live_paths(connection: Connection, dataset: Dataset) -> frozenset[str]:
    """The objects of the dataset's live vintages."""
    rows = connection.execute(
        "SELECT DISTINCT path FROM thermocline.vintage"
        " WHERE superseded_at IS NULL AND state = 'published' AND dataset = %s",
        (dataset.name,),
    )
    return frozenset(path for (path,) in rows)


def vintages(
    connection: Connection,
    dataset: Dataset,
    days: DayRange,
    intervals: Collection[str] = (),
    states: Collection[VintageState] = (),
) -> list[Vintage]:
    """Every vintage of those days, in those states where some are named, by interval, day and version."""
    rows = connection.execute(
        _VINTAGE
        + """WHERE dataset = %s AND day >= %s AND day < %s AND (%s OR interval = ANY(%s)) AND (%s OR state = ANY(%s))
             ORDER BY interval, day, version""",
        (dataset.name, days.start, days.end, not intervals, list(intervals), not states, list(map(str, states))),
    )
    return [_vintage(row) for row in rows]


def as_of(
    connection: Connection, dataset: Dataset, days: DayRange, intervals: Collection[str], instant: datetime
) -> list[Vintage]:
    """The vintages of those days that were live at an instant, in order."""
    rows = connection.execute(
        _VINTAGE
        + """WHERE state IN ('published', 'expired') AND published_at <= %s
             AND (superseded_at IS NULL OR superseded_at > %s)
             AND dataset = %s AND day >= %s AND day < %s AND (%s OR interval = ANY(%s)) ORDER BY interval, day""",
        (instant, instant, dataset.name, days.start, days.end, not intervals, list(intervals)),
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


def now(connection: Connection, partitions: Collection[Partition] = ()) -> datetime:
    """The server's clock: one reading dates everything that one commit says.

    Never earlier than what these partitions were dated before: a clock that was set back must not change what was live
    at an instant that somebody has asked about.
    """
    named = sorted(set(partitions))
    at: datetime = scalar(
        connection,
        """SELECT greatest(clock_timestamp(), max(v.published_at), max(v.superseded_at))
           FROM thermocline.vintage v JOIN unnest(%s::text[], %s::text[], %s::date[]) AS named (dataset, interval, day)
             ON (v.dataset, v.interval, v.day) = (named.dataset, named.interval, named.day)
           WHERE v.state IN ('published', 'expired')""",
        ([p.dataset for p in named], [p.interval for p in named], [p.day for p in named]),
    )
    return at


def supersede(connection: Connection, partitions: Iterable[Partition], at: datetime) -> None:
    """End the life of whatever vintages are live for these partitions."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """UPDATE thermocline.vintage SET superseded_at = %s
               WHERE superseded_at IS NULL AND state = 'published' AND (dataset, interval, day) = (%s, %s, %s)""",
            [(at, *_key(partition)) for partition in partitions],
        )


def relocate(connection: Connection, receipts: Sequence[Receipt]) -> None:
    """Note that vintages lie in other objects now. Objects that no vintage names any more may go in time."""
    if not receipts:
        return
    old = _objects_of(connection, receipts)
    with connection.cursor() as cursor:
        cursor.executemany(
            """UPDATE thermocline.vintage SET path = %s, size_bytes = %s, sha256 = %s, etag = %s
               WHERE (dataset, interval, day, version) = (%s, %s, %s, %s)""",
            [(r.path, r.size_bytes, r.sha256, r.etag, *_key(r.partition), r.version) for r in receipts],
        )
    note_unnamed(connection, receipts[0].partition.dataset, old)


def _objects_of(connection: Connection, receipts: Sequence[Receipt]) -> list[str]:
    rows = connection.execute(
        """SELECT DISTINCT v.path FROM thermocline.vintage v
           JOIN unnest(%s::text[], %s::date[], %s::integer[]) AS moved (interval, day, version)
             ON (v.interval, v.day, v.version) = (moved.interval, moved.day, moved.version)
           WHERE v.dataset = %s""",
        (
            [r.partition.interval for r in receipts],
            [r.partition.day for r in receipts],
            [r.version for r in receipts],
            receipts[0].partition.dataset,
        ),
    )
    return [path for (path,) in rows]


def name_again(connection: Connection, receipts: Iterable[Receipt]) -> None:
    """Forget that nothing named the objects of these receipts; they may have been left by a run that died.

    Else their grace would be long over when they lose their name again.
    """
    paths = sorted({receipt.path for receipt in receipts})
    connection.execute("DELETE FROM thermocline.unnamed_object WHERE path = ANY(%s)", (paths,))


def note_unnamed(connection: Connection, dataset: str, paths: Collection[str]) -> None:
    """Note, of these objects, those that no vintage names from now on."""
    connection.execute(
        """INSERT INTO thermocline.unnamed_object (dataset, path)
           SELECT %s, path FROM unnest(%s::text[]) AS path
           WHERE NOT EXISTS (
               SELECT FROM thermocline.vintage v WHERE v.path = path.path AND v.state IN ('published', 'held')
           )
           ON CONFLICT (path) DO NOTHING""",
        (dataset, list(paths)),
    )


def add_vintages(connection: Connection, receipts: Sequence[Receipt], at: datetime) -> None:
    """Make the receipts' vintages live in place of those before them."""
    supersede(connection, (receipt.partition for receipt in receipts), at)
    insert_vintages(connection, [Vintage(receipt, at) for receipt in receipts])


def insert_vintages(connection: Connection, vintages: Sequence[Vintage]) -> None:
    """Write vintages down just as they are."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO thermocline.vintage
               (dataset, interval, day, version, path, size_bytes, sha256, etag, schema_version, run_id,
                rows, min_ts, max_ts, null_counts, fingerprint, content_fingerprint, published_at,
                superseded_at, state, reason)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
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
                    vintage.published_at,
                    vintage.superseded_at,
                    vintage.state.value,
                    vintage.reason,
                )
                for vintage in vintages
                for r in (vintage.receipt,)
            ],
        )


def restore(
    connection: Connection, dataset: Dataset, vintages: Iterable[Vintage], head: str, unnamed: Collection[str]
) -> None:
    """Write vintages as they were, with their times and states, and the head; refuse where some are known."""
    if scalar(connection, "SELECT EXISTS (SELECT FROM thermocline.vintage WHERE dataset = %s)", (dataset.name,)):
        raise StaleStateError(KNOWN_ALREADY.format(dataset.name))
    with connection.cursor() as cursor, cursor.copy(_RESTORE) as copy:
        for vintage in vintages:
            r, contents = vintage.receipt, vintage.receipt.contents
            what = (r.path, r.size_bytes, r.sha256, r.etag, r.schema_version, r.run_id)
            rows = (contents.rows, contents.min_ts, contents.max_ts, Jsonb(dict(contents.null_counts)))
            prints = (contents.fingerprint, contents.content_fingerprint)
            became = (vintage.published_at, vintage.superseded_at, vintage.state.value, vintage.reason)
            copy.write_row((*_key(r.partition), r.version, *what, *rows, *prints, *became))
    note_unnamed(connection, dataset.name, unnamed)
    set_head(connection, dataset, head)


_RESTORE = """
    COPY thermocline.vintage (dataset, interval, day, version, path, size_bytes, sha256, etag, schema_version, run_id,
        rows, min_ts, max_ts, null_counts, fingerprint, content_fingerprint, published_at, superseded_at, state, reason)
    FROM STDIN
"""


def hot_days(connection: Connection, datasets: Sequence[Dataset]) -> list[HotDay]:
    """The hot set of some datasets, in order."""
    rows = connection.execute(
        """SELECT dataset, interval, day, version, until FROM thermocline.hot_day
           WHERE dataset = ANY(%s) ORDER BY dataset, interval, day""",
        ([dataset.name for dataset in datasets],),
    )
    return [HotDay(Partition(dataset, interval, day), *rest) for dataset, interval, day, *rest in rows]


def add_hot_day(connection: Connection, partition: Partition, version: int, until: date | None = None) -> None:
    """Put a day into the hot set, or note the newer vintage that was merged into it, or that it stays longer."""
    connection.execute(
        """INSERT INTO thermocline.hot_day (dataset, interval, day, version, until) VALUES (%s, %s, %s, %s, %s)
           ON CONFLICT (dataset, interval, day)
           DO UPDATE SET version = greatest(thermocline.hot_day.version, excluded.version),
                         until = greatest(thermocline.hot_day.until, excluded.until)""",
        (*_key(partition), version, until),
    )


def keep_hot_day(connection: Connection, partition: Partition, until: date) -> None:
    """Have rotation leave a hot day alone for longer."""
    connection.execute(
        """UPDATE thermocline.hot_day SET until = greatest(until, %s)
           WHERE (dataset, interval, day) = (%s, %s, %s)""",
        (until, *_key(partition)),
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


def record(connection: Connection, act: Act) -> None:
    """Append to the audit log."""
    dataset, interval, day = _key(act.partition) if act.partition else (act.detail.get("dataset"), None, None)
    connection.execute(
        """INSERT INTO thermocline_audit.log (name, dataset, interval, day, run_id, detail)
           VALUES (%s, %s, %s, %s, %s, %s)""",
        (act.name, dataset, interval, day, act.run_id, Jsonb(dict(act.detail))),
    )


def last_act(connection: Connection, name: str, dataset: Dataset) -> Act | None:
    """The newest act of that name on the dataset."""
    row = connection.execute(
        _ACT + "WHERE name = %s AND dataset = %s ORDER BY audit_id DESC LIMIT 1", (name, dataset.name)
    ).fetchone()
    return _act(row) if row else None


def acts(connection: Connection, asked: AuditQuery) -> list[Act]:
    """The lines of the audit log that are asked for, newest first."""
    rows = connection.execute(
        _ACT
        + """WHERE (%(datasets)s::text[] IS NULL OR dataset = ANY(%(datasets)s))
               AND (%(names)s::text[] IS NULL OR name = ANY(%(names)s))
               AND (%(run_id)s::text IS NULL OR run_id = %(run_id)s)
               AND (%(start)s::timestamptz IS NULL OR at >= %(start)s)
               AND (%(end)s::timestamptz IS NULL OR at < %(end)s)
             ORDER BY audit_id DESC LIMIT %(limit)s""",
        {
            "datasets": [dataset.name for dataset in asked.datasets] or None,
            "names": list(asked.names) or None,
            "run_id": asked.run_id,
            "start": asked.start,
            "end": asked.end,
            "limit": asked.limit,
        },
    )
    return [_act(row) for row in rows]


def _act(row: Sequence[Any]) -> Act:
    name, dataset, interval, day, *rest = row
    return Act(name, None if day is None else Partition(dataset, interval, day), *rest)


def _key(partition: Partition) -> tuple[Any, Any, Any]:
    return partition.dataset, partition.interval, partition.day
