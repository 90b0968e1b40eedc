"""The lock of a dataset's writer, and getting at a table that others use without holding them up."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg
from psycopg import sql

from thermocline.errors import LockTimeoutError
from thermocline.model.dataset import Dataset
from thermocline.stores.postgres.connection import Connection, scalar
from thermocline.stores.postgres.tables import Table

VACUUM_LOCK_TIMEOUT = "3s"
"""How long a cutover queues behind VACUUM at a time: longer than the server's deadlock_timeout (1 s), after which it
cancels an autovacuum that stands in somebody's way."""

WRITING = "writing"

LONG_SECONDS = 0.25
"""Whoever has been in a transaction for so long is not about to end it: it is ten times what a detach may queue."""

_POLL_SECONDS = 0.2
_KEY = "hashtextextended(%s, 0)"
_NOBODY_SHARES = f"SELECT CASE WHEN pg_try_advisory_lock({_KEY}) THEN pg_advisory_unlock({_KEY}) ELSE false END"


def take_lock(connection: Connection, act: str, dataset: Dataset, wait_seconds: float) -> None:
    """Hold the dataset's advisory lock of that act for as long as the connection lives.

    A writer also waits for those who share in the lock of an earlier one, which may have died and left them at work.

    Raises:
        LockTimeoutError: Somebody else holds it for longer than that.
    """
    key = f"thermocline {'writer' if act == WRITING else act} {dataset.name}"
    deadline = time.monotonic() + wait_seconds
    while not scalar(connection, f"SELECT pg_try_advisory_lock({_KEY})", (key,)):
        _wait(connection, key, act, dataset, deadline)
    if act == WRITING:
        beside = _beside(dataset)
        while not scalar(connection, _NOBODY_SHARES, (beside, beside)):
            _wait(connection, beside, act, dataset, deadline)


@contextmanager
def sharing_lock(connection: Connection, writer: Connection, dataset: Dataset) -> Iterator[None]:
    """Let one more connection work under a writer's lock: until the block ends, nobody else becomes a writer.

    That stays so where the writer's own connection, and its lock with it, is lost meanwhile: whoever takes the lock
    then waits for this share in it.
    """
    key = (_beside(dataset),)
    connection.execute(f"SELECT pg_advisory_lock_shared({_KEY})", key)
    try:
        # Its lock lives as long as its connection: where that still answers, nobody was writer since.
        writer.execute("SELECT 1")
        yield
    finally:
        with suppress(psycopg.OperationalError):  # a connection that is gone holds nothing
            connection.execute(f"SELECT pg_advisory_unlock_shared({_KEY})", key)


def _beside(dataset: Dataset) -> str:
    return f"thermocline beside writer {dataset.name}"


def _wait(connection: Connection, key: str, act: str, dataset: Dataset, deadline: float) -> None:
    if time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        return
    holder = connection.execute(
        f"""SELECT a.pid, a.backend_start FROM pg_locks l JOIN pg_stat_activity a USING (pid)
            WHERE l.locktype = 'advisory' AND l.granted
              AND ((l.classid::bigint << 32) | l.objid::bigint) = {_KEY}""",  # noqa: S608  # a constant
        (key,),
    ).fetchone()
    who = f" (server process {holder[0]}, since {holder[1]:%H:%M:%S} UTC)" if holder else ""
    msg = f"another run is {act} {dataset.name}{who}; nothing was changed, try again when it is done"
    raise LockTimeoutError(msg)


def part_from_vacuum(connection: Connection, *tables: Table) -> None:
    """Wait until no VACUUM, ANALYZE or index build is at these tables, and let none begin before the transaction ends.

    The lock that keeps them out holds off no SELECT, INSERT, UPDATE or DELETE, neither once it is held nor while it is
    waited for. So it may be waited for long enough to make an autovacuum give way, which a cutover's own short waits
    never are.
    """
    connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(VACUUM_LOCK_TIMEOUT)))
    named = sql.SQL(", ").join(table.sql for table in tables)
    connection.execute(sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(named))


def are_held_for_long(connection: Connection, tables: Sequence[Table]) -> bool:
    """Whether somebody reads or writes one of these tables in a transaction that began a while ago.

    To queue behind one would hold up all who come later, for nothing. Of those whose sessions this role may not look at
    it is not known, and they don't count.
    """
    found: bool = scalar(
        connection,
        """SELECT EXISTS (
               SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
               WHERE l.granted AND l.pid <> pg_backend_pid()
                 AND l.mode IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
                 AND l.relation = ANY(SELECT to_regclass(name)::oid FROM unnest(%s::text[]) AS name)
                 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                 AND a.xact_start < clock_timestamp() - make_interval(secs => %s)
           )""",
        ([table.sql.as_string(connection) for table in tables], LONG_SECONDS),
    )
    return found


def holders(connection: Connection, tables: Sequence[Table]) -> str:
    """Who else has a lock on one of these tables, in brackets, or nothing: numbers, names and times, never a statement.

    A role that may not look at other roles' sessions learns the number alone.
    """
    found = connection.execute(
        """SELECT DISTINCT a.pid, coalesce(nullif(a.application_name, ''), a.backend_type, ''),
                           coalesce('since ' || to_char(a.xact_start, 'HH24:MI:SS') || ' UTC', '')
           FROM pg_locks l JOIN pg_stat_activity a USING (pid)
           WHERE l.granted AND l.pid <> pg_backend_pid() AND l.relation = ANY(
               SELECT to_regclass(name)::oid FROM unnest(%s::text[]) AS name
           ) AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
           ORDER BY 1 LIMIT 3""",
        ([table.sql.as_string(connection) for table in tables],),
    )
    described = [", ".join(part for part in (f"server process {pid}", *rest) if part) for pid, *rest in found]
    return f" ({'; '.join(described)})" if described else ""
