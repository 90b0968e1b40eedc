"""Keeping the audit log from those who write it.

The log lies in schema `thermocline_audit` with all it needs. A trigger refuses every change, whoever asks. That keeps
out mistakes; the log's owner, though, could drop the trigger, or the table. So the log can be given to another role:
then the role that Thermocline works as may append to it and read it, and nothing else.
"""

from psycopg import sql

from thermocline.errors import HotStoreError
from thermocline.ports import Act, AuditGuard
from thermocline.stores.postgres import ledger
from thermocline.stores.postgres.connection import Connection, scalar

_OWNERS = """
    SELECT DISTINCT pg_get_userbyid(owner) FROM (
        SELECT nspowner AS owner FROM pg_namespace WHERE nspname = 'thermocline_audit'
        UNION ALL SELECT relowner FROM pg_class WHERE oid = 'thermocline_audit.log'::regclass
        UNION ALL SELECT proowner FROM pg_proc WHERE oid = 'thermocline_audit.refuse_change()'::regprocedure
    ) AS owners ORDER BY 1
"""
_OWNER = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'thermocline_audit.log'::regclass"
_WRITTEN = ("name", "dataset", "interval", "day", "run_id", "detail")
"""What a line says of its act. Its number, time, actor and client are the server's to say."""

# From PostgreSQL 16 on, a role that may create roles has power over those alone that it is a member of.
_GAPS = """
    SELECT ARRAY(
        SELECT gap FROM (
            SELECT 1, role.rolname || ' is a superuser' FROM role WHERE role.rolsuper
            UNION ALL
            SELECT 2, role.rolname || ' owns it, or is a member of ' || owner.rolname
            FROM role, owner WHERE NOT role.rolsuper AND pg_has_role(role.oid, owner.oid, 'MEMBER')
            UNION ALL
            SELECT 3, role.rolname || ' may create roles, and so make itself a member of ' || owner.rolname
            FROM role, owner
            WHERE role.rolcreaterole AND NOT role.rolsuper AND current_setting('server_version_num')::int < 160000
              AND NOT pg_has_role(role.oid, owner.oid, 'MEMBER')
            UNION ALL
            SELECT 4, role.rolname || ' has more rights to it than INSERT and SELECT' FROM role, owner
            WHERE NOT pg_has_role(role.oid, owner.oid, 'MEMBER') AND (
                has_table_privilege(role.oid, 'thermocline_audit.log', 'UPDATE, DELETE, TRUNCATE, TRIGGER')
                OR has_any_column_privilege(role.oid, 'thermocline_audit.log', 'UPDATE')
                OR has_schema_privilege(role.oid, 'thermocline_audit', 'CREATE'))
        ) AS found (number, gap) ORDER BY number, gap
    )
"""


def look(connection: Connection) -> AuditGuard:
    """How the role of this very connection could change the log."""
    return _guard(connection, scalar(connection, "SELECT session_user"))


def hand_over(connection: Connection, owner: str, *, run_id: str) -> AuditGuard:
    """Make a role the owner of the log, creating it where it is missing; whoever had it may append and read.

    Raises:
        HotStoreError: The role that had it could still change it. Then nothing was changed.
    """
    with connection.transaction():
        had = scalar(connection, _OWNER)
        if had == owner:
            msg = f"{owner} owns the audit log already; nothing was changed. Name a role that Thermocline does not use"
            raise HotStoreError(msg)
        if not scalar(connection, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", (owner,)):
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(owner)))
        for statement in (
            "ALTER TABLE thermocline_audit.log OWNER TO {owner}",
            "ALTER FUNCTION thermocline_audit.refuse_change() OWNER TO {owner}",
            "ALTER SCHEMA thermocline_audit OWNER TO {owner}",
            "GRANT USAGE ON SCHEMA thermocline_audit TO {had}",
            "GRANT SELECT, INSERT ({written}) ON thermocline_audit.log TO {had}",
        ):
            connection.execute(
                sql.SQL(statement).format(
                    owner=sql.Identifier(owner),
                    had=sql.Identifier(had),
                    written=sql.SQL(", ").join(map(sql.Identifier, _WRITTEN)),
                )
            )
        guard = _guard(connection, had)
        if not guard.holds:
            msg = (
                f"giving the audit log to {owner} would not keep {had} from changing it ({'; '.join(guard.gaps)}); "
                "nothing was changed. Let Thermocline work as a role without these rights, or name another owner"
            )
            raise HotStoreError(msg)
        ledger.record(connection, Act("protect-audit", None, run_id, {"owner": owner, "writer": had}))
    return guard


def _guard(connection: Connection, role: str) -> AuditGuard:
    owners = [name for (name,) in connection.execute(_OWNERS)]
    gaps = scalar(
        connection,
        f"""WITH role AS (SELECT * FROM pg_roles WHERE rolname = %s),
                 owner AS (SELECT * FROM pg_roles WHERE rolname = ANY(%s))
            {_GAPS}""",  # noqa: S608  # a constant
        (role, owners),
    )
    return AuditGuard(" and ".join(owners), gaps)
