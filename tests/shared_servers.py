"""Servers that all workers of a test run share: the first who needs one starts it, it ends with the last who uses it.

Every user holds a shared lock on a file of the server's folder. A process that outlives them waits for the exclusive
one and stops the server then, so that nothing stays behind where a worker is killed.
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"alone-{os.getpid()}"
_PATIENCE_SECONDS = 60
_STANDING_BY: list["subprocess.Popen[bytes]"] = []
"""They outlive this process; Python warns of a process that is forgotten while it runs."""

Address = Mapping[str, Any]
"""Where a server is found."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at now, and that nobody is given meanwhile by the system."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def wait_for_port(port: int) -> None:
    """Return once something accepts connections there."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise TimeoutError(port)


@contextmanager
def shared_server(
    name: str, begin: Callable[[Path], tuple[Sequence[str], Address]], ready: Callable[[Address], None]
) -> Iterator[Address]:
    """The address of a server, as `begin` told it.

    Args:
        name: What it is called among the servers of this run.
        begin: Given an empty folder, says with which command the server starts and where it will be found.
        ready: Given where it is found, returns once it answers.
    """
    folder = Path(tempfile.gettempdir()) / f"tc-servers-{os.getuid()}" / _RUN / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users").open("a") as users:
        with (folder / "door").open("a") as door:
            fcntl.flock(door, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_SH)
            address_file = folder / "address.json"
            if not address_file.exists():
                shutil.rmtree(folder / "kept", ignore_errors=True)
                (folder / "kept").mkdir()
                command, address = begin(folder / "kept")
                with (folder / "log").open("w") as log:
                    standing_by = subprocess.Popen(
                        [sys.executable, __file__, str(folder), *command],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                _STANDING_BY.append(standing_by)
                ready(address)
                address_file.write_text(json.dumps(address))
        yield json.loads((folder / "address.json").read_text())


def _stand_by(folder: Path, command: Sequence[str]) -> None:
    """Run the server until nobody uses it any more, then take everything away."""
    server = subprocess.Popen(command, cwd=folder / "kept")
    with (folder / "users").open("a") as users, (folder / "door").open("a") as door:
        while True:
            fcntl.flock(users, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_UN)
            fcntl.flock(door, fcntl.LOCK_EX)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # somebody came in just now
                fcntl.flock(door, fcntl.LOCK_UN)
                continue
            break
        server.send_signal(signal.SIGKILL)
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _stand_by(Path(sys.argv[1]), sys.argv[2:])
