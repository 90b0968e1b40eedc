"""A way to a server of objects on which requests are cut, refused, delayed, or done without an answer."""

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_SLOW_DOWN = (
    b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>"
)
_HOP_BY_HOP = {"connection", "expect", "keep-alive", "transfer-encoding"}
_LOOKED_AT_BYTES = 512
DELAY_SECONDS = 0.2


class WireFault(StrEnum):
    """What a way may do to a request."""

    CUT_REQUEST = "the connection breaks in the middle of what is sent; the server sees nothing of it"
    CUT_ANSWER = "the connection breaks in the middle of the answer"
    LOST_ANSWER = "the request is done, and the connection breaks before the answer"
    SLOW_DOWN = "503 Slow Down; nothing is done"
    DELAY = "it takes its time"


@dataclass
class HostileWire:
    """An HTTP proxy. Of the requests whose method and path fit, it harms as many as are planned, and counts them."""

    server_url: str
    url: str = ""
    fired: Counter[WireFault] = field(default_factory=Counter)
    _plan: tuple[WireFault, str, int] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def harm(self, fault: WireFault, pattern: str, times: int) -> None:
        """Harm the next requests that look like it: `PUT /bucket/an/object.parquet?... b'how its body begins'`."""
        self._plan = (fault, pattern, times)

    def fault_of(self, request: str) -> WireFault | None:
        """What happens to a request."""
        with self._lock:
            if self._plan is None or not re.search(self._plan[1], request):
                return None
            fault, pattern, times = self._plan
            self._plan = (fault, pattern, times - 1) if times > 1 else None
            self.fired[fault] += 1
            return fault


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Proxy"

    def log_message(self, *_: Any) -> None:
        """Say nothing on stderr."""

    def _carry(self) -> None:
        wire = self.server.wire
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(min(length, _LOOKED_AT_BYTES))
        fault = wire.fault_of(f"{self.command} {self.path} {body!r}")
        if fault is WireFault.CUT_REQUEST:
            self.rfile.read(length // 2 - len(body) if length > 2 * len(body) else 0)
            self.close_connection = True
            return
        body += self.rfile.read(length - len(body))
        if fault is WireFault.SLOW_DOWN:
            self._answer(503, [("Content-Type", "application/xml")], _SLOW_DOWN)
            return
        if fault is WireFault.DELAY:
            time.sleep(DELAY_SECONDS)
        status, headers, answer = self._asked(body)
        if fault is WireFault.LOST_ANSWER:
            self.close_connection = True
            return
        self._answer(status, headers, answer, cut=fault is WireFault.CUT_ANSWER)

    def do_GET(self) -> None:
        self._carry()

    def do_HEAD(self) -> None:
        self._carry()

    def do_PUT(self) -> None:
        self._carry()

    def do_POST(self) -> None:
        self._carry()

    def do_PATCH(self) -> None:
        self._carry()

    def do_DELETE(self) -> None:
        self._carry()

    def _asked(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the server says."""
        parts = urlsplit(self.server.wire.server_url)
        server = HTTPConnection(str(parts.hostname), parts.port, timeout=30)
        try:
            server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP_BY_HOP:
                    server.putheader(name, value)
            server.endheaders(body)
            answer = server.getresponse()
            headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP]
            return answer.status, headers, answer.read()
        finally:
            server.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        named = {name.lower() for name, _ in headers}
        for name, value in headers:
            self.send_header(name, value)
        if "content-length" not in named and status not in {204, 304}:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if cut:
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        else:
            self.wfile.write(body)


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, wire: HostileWire) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.wire = wire

    def handle_error(self, *_: Any) -> None:
        """Whoever hung up has its reasons."""


@contextmanager
def hostile_wire(server_url: str) -> Iterator[HostileWire]:
    """A way to the server of a URL; `HostileWire.url` goes along it."""
    wire = HostileWire(server_url)
    proxy = _Proxy(wire)
    wire.url = f"http://127.0.0.1:{proxy.server_address[1]}"
    threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield wire
    finally:
        proxy.shutdown()
        with suppress(OSError):
            proxy.server_close()
