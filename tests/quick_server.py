"""A PostgreSQL for tests: the embedded server of a home, in a folder that its user may pass through."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import psycopg
import pytest

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


def lead_to(home: Path, patch: pytest.MonkeyPatch) -> None:
    """Let every default lead to a home, with no setting of this machine in sight."""
    for name in [name for name in os.environ if name.startswith("THERMOCLINE_")]:
        patch.delenv(name)
    patch.setenv("THERMOCLINE_HOME", str(home))
    patch.chdir(home.parent)


def create_database(connection: psycopg.Connection, name: str, template: str = "template0") -> None:
    """Copy a database file by file: dropping it is then several times as quick as after a copy through the log."""
    strategy = " STRATEGY FILE_COPY" if connection.info.server_version >= 15_00_00 else ""
    connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}{strategy}")


@contextmanager
def cluster_to_copy() -> Iterator[Path]:
    """A home whose server was created and stopped, with fsync off: tests don't cut the power."""
    with passable_folder() as home:
        try:
            with psycopg.connect(embedded.start(home), autocommit=True) as connection:
                # A commit is still handed to the system before it is answered: some tests kill the server.
                for setting in ("fsync", "full_page_writes"):
                    connection.execute(f"ALTER SYSTEM SET {setting} = off")
        finally:
            embedded.stop(home)
        yield home


@contextmanager
def created_quickly(original: Path) -> Iterator[None]:
    """Let homes of this process copy a stopped home's cluster, in a tenth of the time that creating one takes."""

    def copy(server: "embedded._Server") -> None:
        server._let_owner_pass()  # noqa: SLF001  # stands in for the creation alone
        subprocess.run(["cp", "-Rp", str(original / "postgres" / "data"), str(server.cluster)], check=True)

    with patch.object(embedded._Server, "_create", copy):  # noqa: SLF001  # nothing else of the server is replaced
        yield


@contextmanager
def quick_server(original: Path | None = None) -> Iterator[str]:
    """The embedded server of a home whose cluster is a copy, where need be of one made for it. Stopped afterwards."""
    with ExitStack() as made, passable_folder() as home:
        try:
            with created_quickly(original or made.enter_context(cluster_to_copy())):
                url = embedded.start(home)
            yield url
        finally:
            embedded.stop(home)
