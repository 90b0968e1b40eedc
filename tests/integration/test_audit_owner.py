"""An audit log that belongs to somebody else: the application appends to it, and whatever else it tries is refused."""

from datetime import timedelta
from urllib.parse import quote, urlsplit
from uuid import uuid4

import psycopg
import pyarrow as pa
import pytest
from made_rows import DAY, NOON, bars

from thermocline.errors import HotStoreError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS, Partition
from thermocline.ports import Act, AuditQuery, Fetched, FetchRequest
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot
from thermocline.stores.spool import DuckDBSpool
from thermocline.tasks.backfill import Backfill
from thermocline.tasks.load import load, rehydrate
from thermocline.tasks.rotate import Rotation
from thermocline.tasks.undo import undo

LIFECYCLE = Lifecycle(hot_intervals={"1min": 5}, undo_days=0)


@pytest.fixture(scope="session")
def prepare_database() -> None:
    """The tables are to belong to a role of the test's."""


@pytest.fixture
def roles(hot_url):
    """The URL of a DBA, that of a plain role which owns what Thermocline makes, and a name for the log's owner."""
    writer, owner = (f"{name}_{uuid4().hex[:12]}" for name in ("writer", "auditor"))
    with psycopg.connect(hot_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {writer} LOGIN PASSWORD 'open'")
        connection.execute(f"GRANT CREATE, TEMPORARY ON DATABASE {connection.info.dbname} TO {writer}")
        connection.execute(f"GRANT CREATE ON SCHEMA public TO {writer}")
    try:
        yield hot_url, as_role(hot_url, writer), owner
    finally:
        with psycopg.connect(hot_url, autocommit=True) as connection:
            for role in (writer, owner):
                if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                    connection.execute(f"DROP OWNED BY {role} CASCADE")
                    connection.execute(f"DROP ROLE {role}")


def as_role(url, name):
    parts = urlsplit(url)
    where = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{quote(name)}:open@{where}").geturl()


@pytest.fixture
def protected(roles):
    """The same, with the log handed over."""
    dba, writer, owner = roles
    PostgresHot(writer).hot_days(MARKET_DATA)
    assert PostgresHot(dba).protect_audit(owner, run_id="handed over").holds
    return roles


def test_without_a_second_role_changes_are_refused_all_the_same(roles):
    """The owner could take the trigger away; by mistake nobody does."""
    _, writer, _ = roles
    hot = PostgresHot(writer)
    hot.record(Act("rotate", None, "run"))
    for statement in CHANGES:
        assert "append-only" in refused(writer, statement) or "permission denied" in refused(writer, statement)
    with psycopg.connect(writer, autocommit=True) as connection:
        connection.execute("GRANT ALL ON thermocline_audit.log TO CURRENT_USER")
    for statement in CHANGES:
        assert "append-only" in refused(writer, statement)
    assert len(hot.audit(AuditQuery())) == 1
    assert "owns it" in " ".join(hot.audit_guard().gaps)


CHANGES = (
    "UPDATE thermocline_audit.log SET run_id = 'other'",
    "DELETE FROM thermocline_audit.log",
    "DELETE FROM thermocline_audit.log WHERE false",
    "TRUNCATE thermocline_audit.log",
)
WAYS = (
    *CHANGES,
    "ALTER TABLE thermocline_audit.log DISABLE TRIGGER append_only",
    "ALTER TABLE thermocline_audit.log DISABLE TRIGGER ALL",
    "DROP TRIGGER append_only ON thermocline_audit.log",
    "CREATE TRIGGER swallow BEFORE INSERT ON thermocline_audit.log FOR EACH ROW EXECUTE FUNCTION swallow()",
    "CREATE RULE swallow AS ON INSERT TO thermocline_audit.log DO INSTEAD NOTHING",
    "ALTER TABLE thermocline_audit.log ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE thermocline_audit.log ALTER COLUMN actor SET DEFAULT 'nobody'",
    "ALTER TABLE thermocline_audit.log RENAME TO other",
    "ALTER TABLE thermocline_audit.log SET SCHEMA public",
    "ALTER TABLE thermocline_audit.log OWNER TO CURRENT_USER",
    "DROP TABLE thermocline_audit.log CASCADE",
    "DROP FUNCTION thermocline_audit.refuse_change() CASCADE",
    """CREATE OR REPLACE FUNCTION thermocline_audit.refuse_change() RETURNS trigger LANGUAGE plpgsql
       AS $$ BEGIN RETURN NULL; END $$""",
    "ALTER FUNCTION thermocline_audit.refuse_change() OWNER TO CURRENT_USER",
    "ALTER SCHEMA thermocline_audit RENAME TO other",
    "ALTER SCHEMA thermocline_audit OWNER TO CURRENT_USER",
    "DROP SCHEMA thermocline_audit CASCADE",
    "CREATE TABLE thermocline_audit.other (id int)",
    "GRANT {owner} TO CURRENT_USER",
    "SET ROLE {owner}",
    "SET session_replication_role = replica",
    "ALTER SEQUENCE thermocline_audit.audit_audit_id_seq RESTART WITH 1",
    "SELECT setval('thermocline_audit.audit_audit_id_seq', 1)",
    "DROP EXTENSION plpgsql CASCADE",
    "INSERT INTO thermocline_audit.log (name, run_id, detail, at) VALUES ('rotate', 'r', '{{}}', '2000-01-01')",
    "INSERT INTO thermocline_audit.log (name, run_id, detail, actor) VALUES ('rotate', 'r', '{{}}', 'nobody')",
    """INSERT INTO thermocline_audit.log (audit_id, name, run_id, detail) OVERRIDING SYSTEM VALUE
       VALUES (1, 'rotate', 'r', '{{}}')""",
)


def refused(url, statement):
    """The error that PostgreSQL answers a statement with."""
    try:
        with psycopg.connect(url) as connection:
            connection.execute(statement)
    except psycopg.Error as error:
        return str(error)
    pytest.fail(f"went through: {statement}")


def test_the_application_can_not_change_a_log_that_is_not_its_own(protected):
    dba, writer, owner = protected
    PostgresHot(writer).record(Act("rotate", None, "run", {"rows": 1}))
    with psycopg.connect(writer) as connection:
        connection.execute("CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$")
    before = lines(dba)
    for way in WAYS:
        message = refused(writer, way.format(owner=owner) if "{" in way else way)
        assert any(
            word in message for word in ("permission denied", "must be owner", "must be able", "must have admin")
        ), (way, message)
    with psycopg.connect(writer) as connection:
        # PostgreSQL only warns of this one, and grants nothing.
        connection.execute("GRANT ALL ON thermocline_audit.log TO CURRENT_USER")
    assert PostgresHot(writer).audit_guard().holds
    assert lines(dba) == before
    assert [act.name for act in PostgresHot(writer).audit(AuditQuery())] == ["rotate", "protect-audit"]


def test_what_the_application_owns_can_go_and_the_log_stays(protected):
    """The worst that it may do: drop its own schemas with all that depends on them, and everything it owns."""
    dba, writer, _ = protected
    before = lines(dba)
    with psycopg.connect(writer) as connection:
        connection.execute("DROP SCHEMA thermocline CASCADE")
        connection.execute("DROP OWNED BY CURRENT_USER CASCADE")
    assert lines(dba) == before
    with psycopg.connect(dba) as connection, pytest.raises(psycopg.Error, match="append-only"):
        connection.execute("DELETE FROM thermocline_audit.log")


def lines(url):
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT * FROM thermocline_audit.log ORDER BY audit_id").fetchall()


def test_every_act_works_as_before_once_the_log_is_somebody_elses(protected):
    _, url, _ = protected
    hot = PostgresHot(url)
    as_of, first = DAY + timedelta(days=10), Partition("market_data", "1min", DAY)
    days = [Partition("market_data", "1min", DAY + timedelta(days=number)) for number in range(3)]
    with open_lake("memory://", catalog_url="", threads=2) as lake:
        backfill = Backfill(_Bars(days), hot, lake, DuckDBSpool, LIFECYCLE, as_of=DAY, now=NOON, run_id="backfill")
        assert backfill.run(FetchRequest(MARKET_DATA, ALL_DAYS)).written == 3
        assert load(hot, lake, [MARKET_DATA], LIFECYCLE, as_of=DAY, run_id="load").loaded == 3
        rotation = Rotation(hot, lake, DuckDBSpool, LIFECYCLE, "rotate")
        assert len(rotation.run([MARKET_DATA], as_of=as_of).moved) == 3
        assert len(undo(hot, MARKET_DATA, ALL_DAYS, run_id="undo").moved) == 3
        hot.ingest(MARKET_DATA, _table(bars(first, ["IBM"])), hot_days=(), run_id="ingest")
        assert len(rotation.run([MARKET_DATA], as_of=as_of).moved) == 3
        assert rehydrate(hot, lake, MARKET_DATA, ALL_DAYS, until=as_of, run_id="rehydrate").loaded == 3
        assert len(rotation.run([MARKET_DATA], as_of=as_of + timedelta(days=3650)).released) == 3
        hot.vacuum(MARKET_DATA, force=True)
    found = {act.name for act in hot.audit(AuditQuery())}
    assert found >= {"publish", "load", "rotate", "undo", "ingest", "rehydrate", "release", "protect-audit"}
    assert {act.actor for act in hot.audit(AuditQuery(names=["rotate"]))} == {urlsplit(url).username}
    guard = hot.audit_guard()
    assert guard.holds, guard.gaps


class _Bars:
    name = "made"

    def __init__(self, partitions):
        self.partitions = partitions

    def fetch(self, request):
        for partition in self.partitions:
            if partition.day in request.days:
                yield Fetched(_table(bars(partition)), str(partition))


def _table(batch):
    return pa.Table.from_batches([batch])


@pytest.mark.parametrize(
    ("rights", "named"),
    [
        ("ALTER ROLE {writer} SUPERUSER", "is a superuser"),
        ("CREATE ROLE {owner} NOLOGIN; GRANT {owner} TO {writer}", "member of"),
        ("GRANT UPDATE (detail) ON thermocline_audit.log TO PUBLIC", "more rights"),
    ],
)
def test_a_hand_over_that_would_not_hold_is_refused_and_changes_nothing(roles, rights, named):
    dba, url, owner = roles
    writer = urlsplit(url).username
    PostgresHot(url).hot_days(MARKET_DATA)
    with psycopg.connect(dba) as connection:
        connection.execute(rights.format(writer=writer, owner=owner))
    with pytest.raises(HotStoreError, match=named):
        PostgresHot(dba).protect_audit(owner, run_id="run")
    assert PostgresHot(dba).audit_guard().owner == writer
    assert lines(dba) == []


def test_a_role_that_may_create_roles_could_reach_the_log_and_is_named(roles):
    """Before PostgreSQL 16 it could make itself a member of any role; since then, only of those that it made."""
    dba, url, owner = roles
    PostgresHot(url).hot_days(MARKET_DATA)
    with psycopg.connect(dba) as connection:
        connection.execute(f"ALTER ROLE {urlsplit(url).username} CREATEROLE")
        version = connection.info.server_version
    if version < 160_000:
        with pytest.raises(HotStoreError, match="may create roles"):
            PostgresHot(dba).protect_audit(owner, run_id="run")
    else:
        PostgresHot(dba).protect_audit(owner, run_id="run")
        assert "permission denied" in refused(url, f"GRANT {owner} TO CURRENT_USER")


def test_a_plain_role_can_not_hand_the_log_over(roles):
    _, url, owner = roles
    PostgresHot(url).hot_days(MARKET_DATA)
    with pytest.raises(HotStoreError, match="may not do this"):
        PostgresHot(url).protect_audit(owner, run_id="run")


def test_a_database_without_tables_is_left_as_it_is(roles):
    dba, _, owner = roles
    with psycopg.connect(dba, autocommit=True) as connection:
        with pytest.raises(HotStoreError, match="thermocline migrate"):
            PostgresHot(dba).protect_audit(owner, run_id="run")
        assert connection.execute("SELECT to_regnamespace('thermocline')").fetchone() == (None,)


def test_a_log_that_was_handed_over_can_be_handed_on(protected):
    dba, url, owner = protected
    other = f"{owner}_2"
    with pytest.raises(HotStoreError, match="already"):
        PostgresHot(dba).protect_audit(owner, run_id="run")
    try:
        PostgresHot(dba).protect_audit(other, run_id="run")
        assert PostgresHot(url).audit_guard().holds
    finally:
        with psycopg.connect(dba, autocommit=True) as connection:
            connection.execute(f"REASSIGN OWNED BY {other} TO CURRENT_USER")
            connection.execute(f"DROP OWNED BY {other}; DROP ROLE {other}")
