"""VACUUM of one table. Outside any transaction."""

import time

from psycopg import sql

from thermocline.ports import Vacuumed
from thermocline.stores.postgres.connection import Connection, scalar
from thermocline.stores.postgres.tables import Table


def pays(connection: Connection, table: Table) -> bool:
    """Whether VACUUM (ANALYZE) would do something: a tenth of the rows is dead, or there are no statistics yet."""
    return bool(
        scalar(
            connection,
            """SELECT n_dead_tup > 0.1 * (n_live_tup + n_dead_tup)
                      OR (n_live_tup > 0 AND last_analyze IS NULL AND last_autoanalyze IS NULL)
               FROM pg_stat_user_tables WHERE schemaname = %s AND relname = %s""",
            (table.schema, table.name),
        )
    )


def vacuum(connection: Connection, table: Table) -> Vacuumed:
    """VACUUM (ANALYZE) a table; what there was to do, and how long it took."""
    name = table.sql.as_string(connection)
    size = sql.SQL("SELECT pg_total_relation_size({})").format(sql.Literal(name))
    dead = scalar(
        connection,
        "SELECT n_dead_tup FROM pg_stat_user_tables WHERE schemaname = %s AND relname = %s",
        (table.schema, table.name),
    )
    before, started = scalar(connection, size), time.monotonic()
    connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(table.sql))
    return Vacuumed(str(table), before, scalar(connection, size), dead or 0, time.monotonic() - started)
