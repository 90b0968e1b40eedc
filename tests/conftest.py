"""Real PostgreSQL servers and empty homes for every test. Each worker of xdist has servers of its own."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit
from uuid import uuid4

import gcs_server as gcs_servers
import psycopg
import pytest
import s3_server as s3_servers
from hot_acts import migrated
from quick_server import cluster_to_copy, create_database, created_quickly, lead_to, passable_folder, quick_server

from thermocline.model.datasets import DATASETS
from thermocline.ports import Lake
from thermocline.stores import embedded
from thermocline.stores.embedded_process import Owner
from thermocline.stores.open import open_lake

OLDEST_SUPPORTED = 14


def url_of(server_url: str, database: str) -> str:
    """The URL of another database on the same server."""
    return urlsplit(server_url)._replace(path=f"/{database}").geturl()


@pytest.fixture(autouse=True)
def only_built_in_datasets() -> Iterator[None]:
    """Let no test find datasets or columns that an earlier one declared or applied."""
    yield
    DATASETS.forget()


# --------------------------------------------------------------------------------------------------------------- homes


@pytest.fixture(scope="session")
def session_folder() -> Iterator[Path]:
    """A folder that a server's user may pass through, for what several tests share."""
    with passable_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def stopped_cluster() -> Iterator[Path]:
    """A home whose server can be copied as often as somebody needs one."""
    with cluster_to_copy() as original:
        yield original


@pytest.fixture
def quick_clusters(stopped_cluster) -> Iterator[None]:
    """Let homes copy a cluster instead of creating it, whose rows the loss of power would not spare."""
    with created_quickly(stopped_cluster):
        yield


@pytest.fixture
def home(monkeypatch, quick_clusters) -> Iterator[Path]:  # noqa: ARG001  # it stays quick as long as the home
    """An empty home that every default leads to, with no setting of this machine in sight. Its server is stopped."""
    with passable_folder() as folder:
        home = folder / "home"
        lead_to(home, monkeypatch)
        try:
            yield home
        finally:
            embedded.stop(home)


# ------------------------------------------------------------------------------------------------------------- servers


@pytest.fixture(scope="session")
def embedded_url(stopped_cluster) -> Iterator[str]:
    """The embedded server of a home, with fsync off: tests don't cut the power."""
    with quick_server(stopped_cluster) as url:
        yield url


@pytest.fixture(scope="session")
def external_url() -> Iterator[str]:
    """A server from the system's own PostgreSQL programs, over TCP with a password; skips where there are none."""
    programs = _system_programs()
    if programs is None:
        pytest.skip(f"no PostgreSQL {OLDEST_SUPPORTED} or later of the system; install e.g. Debian's `postgresql`")
    with passable_folder() as folder:
        cluster = folder / "data"
        owner = Owner.of(cluster, folder)
        owner.own_folder(cluster)
        password = uuid4().hex
        secret = folder / "password"
        secret.write_text(password)
        secret.chmod(0o644)
        options = ["-U", "market", "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C"]
        _checked(owner.run([f"{programs}/initdb", "-D", str(cluster), *options, "--no-sync"]))
        secret.unlink()
        port = _start_on_free_port(owner, programs, cluster)
        try:
            yield f"postgresql://market:{password}@127.0.0.1:{port}/postgres"
        finally:
            _checked(owner.run([f"{programs}/pg_ctl", "stop", "-D", str(cluster), "-m", "immediate", "-w"]))


def _start_on_free_port(owner: Owner, programs: Path, cluster: Path) -> int:
    for _ in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        log = str(cluster / "start.log")
        command = [f"{programs}/pg_ctl", "start", "-D", str(cluster), "-w", "-l", log, "-o", options]
        started = owner.run(command)
        if started.returncode == 0:
            return port
    pytest.fail(f"the system's PostgreSQL does not start: {started.stdout}\n{Path(log).read_text()}")


def _checked(done: "subprocess.CompletedProcess[str]") -> None:
    assert done.returncode == 0, done.stdout


def _system_programs() -> Path | None:
    """The folder of the oldest supported PostgreSQL of this machine: the one least like the embedded."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    folders += [*Path("/opt/homebrew/opt").glob("postgresql*/bin"), *Path("/usr/local/opt").glob("postgresql*/bin")]
    if config := shutil.which("pg_config"):
        folders.append(
            Path(subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True).stdout.strip())
        )
    if program := shutil.which("postgres"):
        folders.append(Path(program).resolve().parent)
    usable = [(major, folder) for folder in folders if (major := _major(folder)) >= OLDEST_SUPPORTED]
    return min(usable)[1] if usable else None


def _major(folder: Path) -> int:
    if not ((folder / "postgres").exists() and (folder / "initdb").exists()):
        return 0
    shown = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+", shown)
    return int(found[0]) if found else 0


# --------------------------------------------------------------------------------------------------- stores of objects

STORES = ("local", "memory", "s3", "gcs")
"""Every kind of store that a lake can lie in."""


@pytest.fixture(scope="session")
def s3_server() -> Iterator[s3_servers.S3Server]:
    """A real S3 server, shared by all workers."""
    with s3_servers.seaweed() as server:
        yield server


@pytest.fixture(scope="session")
def moto_server() -> Iterator[s3_servers.S3Server]:
    """An imitation of S3 with archives and bucket rules, shared by all workers."""
    with s3_servers.moto() as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[gcs_servers.GcsServer]:
    """A server that speaks Google Cloud Storage's JSON API, shared by all workers."""
    with gcs_servers.gcs() as server:
        yield server


@pytest.fixture
def new_lake_url(request, tmp_path, monkeypatch) -> Callable[..., str]:
    """What makes the URL of an empty lake in a kind of `STORES`: a folder of a name, or a prefix of a bucket.

    The SDKs find the server, and nothing of this machine.
    """

    def new_lake_url(kind: str, name: str = "lake") -> str:
        if kind in {"local", "memory"}:
            return str(tmp_path / name) if kind == "local" else "memory://"
        server = request.getfixturevalue(f"{kind}_server")
        for variable, value in server.environment.items():
            monkeypatch.setenv(variable, value)
        place = f"gs://{server.new_bucket()}" if kind == "gcs" else f"s3://{server.new_prefix()}"
        return f"{place}/{quote(name)}"

    return new_lake_url


# ----------------------------------------------------------------------------------------------------------- databases


@pytest.fixture(scope="session")
def prepare_database() -> Callable[[str], None] | None:
    """What every fresh database holds already: the migrated schema, made by a function that takes its URL.

    The work is done once for each server, in a template. None, where a module overrides it: nothing at all.
    """
    return migrated


@pytest.fixture
def lake() -> Iterator[Lake]:
    """A lake in memory that is gone with the test. A folder or a test may have another one."""
    with open_lake("memory://", catalog_url="", threads=2) as lake:
        yield lake


_templates: dict[tuple[str, Callable[[str], None] | None], str] = {}


@pytest.fixture
def new_database(request, prepare_database) -> Iterator[Callable[[str], str]]:
    """What makes a fresh database on a kind of server, `embedded` or `external`; all are dropped afterwards."""
    with ExitStack() as made:
        yield lambda kind: made.enter_context(_database(request.getfixturevalue(f"{kind}_url"), prepare_database))


@pytest.fixture(params=os.environ.get("HOT_SERVERS", "embedded external").split())
def hot_url(request, new_database) -> str:
    """A fresh database on each kind of server, or on those that HOT_SERVERS names, dropped afterwards."""
    return new_database(request.param)


@contextmanager
def _database(server_url: str, prepare: Callable[[str], None] | None) -> Iterator[str]:
    template = _template(server_url, prepare)
    name = f"test_{uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        create_database(connection, name, template)
    try:
        yield url_of(server_url, name)
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _template(server_url: str, prepare: Callable[[str], None] | None) -> str:
    if prepare is None:
        return "template0"
    if (server_url, prepare) not in _templates:
        name = f"template_{uuid4().hex}"
        with psycopg.connect(server_url, autocommit=True) as connection:
            create_database(connection, name)
        prepare(url_of(server_url, name))
        _templates[server_url, prepare] = name
    return _templates[server_url, prepare]
