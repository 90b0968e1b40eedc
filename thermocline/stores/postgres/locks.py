"""Getting at a table that others use, without holding them up."""

from collections.abc import Sequence

from psycopg import sql

from thermocline.stores.postgres.connection import Connection
from thermocline.stores.postgres.tables import Table

VACUUM_LOCK_TIMEOUT = "3s"
"""How long a cutover queues behind VACUUM at a time: longer than the server's deadlock_timeout (1 s), after which it
cancels an autovacuum that stands in somebody's way."""


def part_from_vacuum(connection: Connection, *tables: Table) -> None:
    """Wait until no VACUUM, ANALYZE or index build is at these tables, and let none begin before the transaction ends.

    The lock that keeps them out holds off no SELECT, INSERT, UPDATE or DELETE, neither once it is held nor while it is
    waited for. So it may be waited for long enough to make an autovacuum give way, which a cutover's own short waits
    never are.
    """
    connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(VACUUM_LOCK_TIMEOUT)))
    named = sql.SQL(", ").join(table.sql for table in tables)
    connection.execute(sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(named))


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
