"""A PostgreSQL for tests: the embedded server of a home, in a folder that its user may pass through."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from thermocline.stores import embedded


@contextmanager
def passable_folder() -> Iterator[Path]:
    """A temporary folder with a short path that the user of a server may pass through, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="tc-")).resolve()
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def create_database(connection: psycopg.Connection, name: str, template: str = "template0") -> None:
    """Copy a database file by file: dropping it is then several times as quick as after a copy through the log."""
    strategy = " STRATEGY FILE_COPY" if connection.info.server_version >= 15_00_00 else ""
    connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}{strategy}")


@contextmanager
def quick_server() -> Iterator[str]:
    """The embedded server of a home, with fsync off: tests don't cut the power. Stopped afterwards."""
    with passable_folder() as home:
        url = embedded.start(home)
        try:
            with psycopg.connect(url, autocommit=True) as connection:
                for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                    connection.execute(f"ALTER SYSTEM SET {setting} = off")
                connection.execute("SELECT pg_reload_conf()")
            yield url
        finally:
            embedded.stop(home)
