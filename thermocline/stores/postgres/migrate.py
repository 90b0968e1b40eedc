"""Bringing schema `thermocline` to the revision this code needs."""

from importlib.resources import as_file, files

from thermocline.errors import HotStoreError
from thermocline.model.url import redacted
from thermocline.stores.client import client_name
from thermocline.stores.postgres.connection import Connection, scalar

REVISION = "0007"
"""The newest revision in `migrations/versions`."""


def migrate(connection: Connection, url: str) -> None:
    """Apply the revisions that are missing; a look at the version is all it costs when none is.

    Raises:
        HotStoreError: The database was written by a newer release.
    """
    if _revision(connection) == REVISION:
        return
    # Two processes that start at once: the second one waits here and then finds nothing to do.
    connection.execute("SELECT pg_advisory_lock(hashtextextended('thermocline migrate', 0))")
    try:
        if _revision(connection) != REVISION:
            _upgrade(connection, url)
    finally:
        connection.execute("SELECT pg_advisory_unlock(hashtextextended('thermocline migrate', 0))")


def refuse_outdated(connection: Connection, url: str) -> None:
    """Refuse a database whose tables are not those of this release, and leave it as it is.

    Raises:
        HotStoreError: They are missing, older or newer.
    """
    if _revision(connection) != REVISION:
        msg = (
            f"PostgreSQL at {redacted(url)} does not have the tables of this release; nothing was changed. Run "
            "`thermocline migrate` first, as the role that Thermocline works as"
        )
        raise HotStoreError(msg)


def _revision(connection: Connection) -> str | None:
    if scalar(connection, "SELECT to_regclass('thermocline.alembic_version')") is None:
        return None
    return scalar(connection, "SELECT version_num FROM thermocline.alembic_version")  # type: ignore[no-any-return]


def _upgrade(connection: Connection, url: str) -> None:
    # Alembic and SQLAlchemy are slow to import and only needed here.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415
    from sqlalchemy import NullPool, create_engine  # noqa: PLC0415

    connection.execute("CREATE SCHEMA IF NOT EXISTS thermocline")
    engine = create_engine("postgresql+psycopg://", creator=lambda: _another(connection, url), poolclass=NullPool)
    with as_file(files("thermocline.stores.postgres") / "migrations") as folder, engine.connect() as alchemy:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = alchemy
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            msg = (
                f"PostgreSQL at {redacted(url)} was written by a newer Thermocline than this one; nothing was changed. "
                "Upgrade this one"
            )
            raise HotStoreError(msg) from error


def _another(connection: Connection, url: str) -> Connection:
    """A second connection in SQLAlchemy's own transaction mode; the first one holds the lock meanwhile."""
    return type(connection).connect(url, application_name=client_name())
