"""A PostgreSQL that homes share, each with a database of its own: to make a server takes as long as a million rows."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from thermocline.stores import embedded


def database_url(url: str, name: str) -> str:
    """The URL of another database of a server."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


class Server:
    """An embedded server in a folder of its own, which begins at once, beside what else is done."""

    def __init__(self, folder: Path) -> None:
        """Have it begin. Until it `settles` it waits for no disk."""
        folder.mkdir()
        self._url = ThreadPoolExecutor(1).submit(self._begin, folder)

    def home(self, home: Path) -> Path:
        """A new home, whose settings name a new database of this server."""
        home.mkdir()
        self._do(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(home.name)))
        (home / "thermocline.yaml").write_text(f"hot_url: '{database_url(self._url.result(), home.name)}'\n")
        return home

    def drop(self, homes: Iterable[Path]) -> None:
        """Drop the databases of homes that are of no use any more."""
        self._do(*(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(home.name)) for home in homes))

    def settle(self) -> None:
        """Have all that was written on the disk, and wait for it from now on, as it does for users."""
        self._do("ALTER SYSTEM RESET fsync", "SELECT pg_reload_conf()", "CHECKPOINT")
        os.sync()

    def _begin(self, folder: Path) -> str:
        url = embedded.start(folder)
        _run(url, "ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()")
        return url

    def _do(self, *statements: LiteralString | sql.Composed) -> None:
        _run(self._url.result(), *statements)


def _run(url: str, *statements: LiteralString | sql.Composed) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)
