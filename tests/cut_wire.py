"""A wire between a client and a server that a test can cut."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_CHUNK_BYTES = 4096


@dataclass
class Wire:
    """A TCP proxy. Of the connections made from now on it breaks the first on which so many bytes have gone one way."""

    url: str
    to_server_bytes: int | None = None
    to_client_bytes: int | None = None
    cuts: int = 0
    sockets: list[socket.socket] = field(default_factory=list)

    def _carry(self, source: socket.socket, target: socket.socket, limit: str) -> None:
        carried, allowed = 0, getattr(self, limit)
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK_BYTES):
                carried += len(chunk)
                if allowed is not None and carried > allowed and getattr(self, limit) == allowed:
                    setattr(self, limit, None)
                    self.cuts += 1
                    break
                target.sendall(chunk)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def join(self, client: socket.socket, address: tuple[str, int]) -> None:
        """Carry bytes both ways until one end is closed or the wire is cut."""
        server = socket.create_connection(address)
        self.sockets += [client, server]
        for ends, limit in (((client, server), "to_server_bytes"), ((server, client), "to_client_bytes")):
            threading.Thread(target=self._carry, args=(*ends, limit), daemon=True).start()


@contextmanager
def wire_to(url: str) -> Iterator[Wire]:
    """A wire to the server of a URL; `Wire.url` goes through it."""
    parts = urlsplit(url)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        wire = Wire(parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{port}")).geturl())

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    wire.join(listening.accept()[0], (parts.hostname or "", parts.port or 0))

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield wire
        finally:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            for end in wire.sockets:
                end.close()
