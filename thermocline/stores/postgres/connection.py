"""Connections to PostgreSQL, and its errors in our words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from thermocline.errors import HotStoreError, LockTimeoutError, ThermoclineError
from thermocline.model.url import redacted, without_secrets
from thermocline.stores.client import client_name
from thermocline.stores.embedded import NAME

Connection = psycopg.Connection[TupleRow]

MINIMUM_VERSION = 140_000  # detach and row-level features are tested from PostgreSQL 14 on
_CONNECT_SECONDS = 10

# A machine that vanishes says no goodbye. Both ends find out within about a minute: a run does not wait for ever, and
# the server frees the lock of a run that is gone. What the URL says goes before.
_KEEPALIVES = {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
_SESSION = """
    SET TIME ZONE 'UTC';
    -- Text output of bounds is parsed; a role's own DateStyle must not change it.
    SET DateStyle TO 'ISO, YMD';
    SET tcp_keepalives_idle = 30;
    SET tcp_keepalives_interval = 10;
    SET tcp_keepalives_count = 3;
    -- A look at both tiers, or at a day that is being archived, stays open while the lake is read or written; limits
    -- that a role or a database has for people must not cut it off.
    SET statement_timeout = 0;
    SET idle_in_transaction_session_timeout = 0;
    -- A question about thirty days is a plan of thirty tables, each of which is guessed to cost more than it does. What
    -- is called up for such a plan takes ten times as long as the plan.
    SET jit = off;
    SET parallel_setup_cost = 20000;
    -- By default a page out of order is taken to cost four in order, as on a spinning disk, and each of thirty tables
    -- gets a bitmap for a few rows that lie side by side. What somebody set lower stays.
    SELECT set_config('random_page_cost', '2', false) WHERE current_setting('random_page_cost')::float8 > 2;
"""  # all of them are there since PostgreSQL 14
_SINCE_17 = 170_000

IDLE_SESSION_SECONDS = 60
"""For how long the server lets a connection be that is kept for later."""


def connect(url: str, *, kept: bool = False) -> Connection:
    """A connection in autocommit whose session speaks UTC. One that is to be `kept` idle is ended in time.

    Raises:
        HotStoreError: The server can't be reached, refuses, or is older than PostgreSQL 14.
    """
    with translated(url):
        connection = _connected(url)
        try:
            _set_up(connection, url, kept=kept)
        except BaseException:
            connection.close()
            raise
        return connection


def _set_up(connection: Connection, url: str, *, kept: bool) -> None:
    """Set the session up, in one round trip."""
    version = connection.info.server_version
    if version < MINIMUM_VERSION:
        msg = f"PostgreSQL at {redacted(url)} is older than 14; upgrade it or leave THERMOCLINE_HOT_URL unset"
        raise HotStoreError(msg)
    idle = f"SET idle_session_timeout = '{IDLE_SESSION_SECONDS if kept else 0}s';"
    since_17 = "SET transaction_timeout = 0" if version >= _SINCE_17 else ""
    connection.execute(f"{_SESSION} {idle} {since_17}")


def _connected(url: str) -> Connection:
    try:
        address = make_conninfo("", **{**_KEEPALIVES, **conninfo_to_dict(url)})
        return psycopg.connect(
            address, autocommit=True, connect_timeout=_CONNECT_SECONDS, application_name=client_name()
        )
    except psycopg.ProgrammingError:
        # Neither its text nor itself goes on: it quotes the part that libpq can't read, which may be the password.
        msg = (
            f"PostgreSQL's client can't read the URL {redacted(url)}; correct THERMOCLINE_HOT_URL to one such as "
            "postgresql://USER:PASSWORD@HOST:5432/DATABASE, with %20 for a space and %25 for % in it"
        )
        raise HotStoreError(msg) from None


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn psycopg's errors into ours.

    Raises:
        LockTimeoutError: A lock could not be had in time.
        HotStoreError: Anything else that PostgreSQL refuses.
    """
    try:
        yield
    except ThermoclineError:
        raise
    except (pg.LockNotAvailable, pg.DeadlockDetected) as error:
        msg = (
            f"another session holds a lock in PostgreSQL at {redacted(url)}; nothing was changed, try again: "
            f"{_first_line(error)}"
        )
        raise LockTimeoutError(msg) from error
    except pg.InsufficientPrivilege as error:
        msg = (
            f"the role may not do this in PostgreSQL at {redacted(url)}: {_first_line(error)}; nothing was changed. "
            "It needs CREATE on the database and on the schema that holds the datasets"
        )
        raise HotStoreError(msg) from error
    except pg.ReadOnlySqlTransaction as error:
        msg = (
            f"PostgreSQL at {redacted(url)} may only be read ({_first_line(error)}); nothing was changed. It is a "
            "standby, or the role or the database has default_transaction_read_only: name the primary in "
            "THERMOCLINE_HOT_URL, with a role that may write"
        )
        raise HotStoreError(msg) from error
    except pg.DiskFull as error:
        msg = (
            f"the disk of PostgreSQL at {redacted(url)} is full ({_first_line(error)}); nothing was changed. Free some "
            "space, then run the same command again"
        )
        raise HotStoreError(msg) from error
    except pg.QueryCanceled as error:
        msg = (
            f"somebody cancelled a statement in PostgreSQL at {redacted(url)} ({_first_line(error)}); what was not "
            "committed changed nothing. Run the same command again"
        )
        raise HotStoreError(msg) from error
    except psycopg.OperationalError as error:
        advice = (
            "Run the same command again: it starts the server of the home"
            if _is_embedded(url)
            else "Start it or correct THERMOCLINE_HOT_URL, then run the same command again"
        )
        msg = (
            f"PostgreSQL at {redacted(url)} can't be reached or went away: {_first_line(error)}; what was not "
            f"committed changed nothing. {advice}"
        )
        raise HotStoreError(msg) from error
    except psycopg.Error as error:
        msg = f"PostgreSQL at {redacted(url)} refused: {_first_line(error)}; nothing was changed"
        raise HotStoreError(msg) from error


def _is_embedded(url: str) -> bool:
    """Whether the URL is of the kind that the embedded server has."""
    return url.startswith(f"postgresql://{NAME}@/{NAME}?host=/")


def _first_line(error: Exception) -> str:
    """The first line of an error's text; further lines may quote rows."""
    lines = str(error).strip().splitlines()
    return without_secrets(lines[0]) if lines else type(error).__name__


def scalar(connection: Connection, query: Any, parameters: Any = None) -> Any:
    """The first column of the first row, or None when there is no row."""
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row else None
