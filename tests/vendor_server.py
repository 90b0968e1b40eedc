r"""A vendor on this machine: an HTTP server on a real socket that pages, throttles, fails, lies, and keeps a log of it.

    with vendor_server() as vendor:
        @vendor.route("/v2/bars")
        def bars(request):                       # a path, or a pattern with groups: r"/bars/(?P<symbol>\w+)"
            return {"bars": [...], "next": None} # JSON; or bytes, or a Reply

        vendor.instead("/v2/bars", throttled(2), failing(503), reset(), cut(40))   # each once, in this order
        source = open_source("...", options={"url": vendor.url}, network=quick_network())
        assert vendor.asked("/v2/bars") == [...]

`vendor.log` has every request in order, and whether its answer went out whole.
"""

import json
import re
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from thermocline.sources.transport.calls import Patience
from thermocline.sources.transport.network import Network


@dataclass(frozen=True)
class Request:
    """What was asked for. `groups` are those of the route's pattern."""

    path: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """What goes out. After `cut_after` bytes of the body the connection is closed; a `reset` sends nothing at all."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    reset: bool = False


@dataclass
class Served:
    """A line of the log. An answer counts as whole from the moment it begins, until it is known to have broken off."""

    path: str
    parameters: Mapping[str, str]
    status: int
    whole: bool


Route = Callable[[Request], Any]


def throttled(retry_after: float | str = 1, status: int = 429) -> Reply:
    """Too many requests; `retry_after` are seconds or an HTTP date."""
    return Reply(b'{"message": "too many requests"}', status, {"Retry-After": str(retry_after)})


def failing(status: int = 500, body: bytes = b"no") -> Reply:
    """An error of the server, or a refusal."""
    return Reply(body, status)


def reset() -> Reply:
    """A connection that is reset before a word was said."""
    return Reply(reset=True)


def cut(after: int) -> Reply:
    """The right answer, broken off after so many bytes."""
    return Reply(cut_after=after)


@dataclass
class Vendor:
    """The server's side of a test."""

    url: str = ""
    log: list[Served] = field(default_factory=list)
    on_served: Callable[[Served], None] = lambda _: None
    """Called for each answer once it is out, in the server's thread."""
    _routes: list[tuple[re.Pattern[str], Route]] = field(default_factory=list)
    _instead: dict[str, deque[Reply]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def route(self, pattern: str) -> Callable[[Route], Route]:
        """Answer paths that match the whole pattern with what the function gives; the newest route goes first."""

        def add(function: Route) -> Route:
            self._routes.insert(0, (re.compile(pattern), function))
            return function

        return add

    def instead(self, path: str, *replies: Reply) -> None:
        """Give these for the next requests of a path, one each; then the route answers again."""
        with self._lock:
            self._instead.setdefault(path, deque()).extend(replies)

    def asked(self, path: str = "") -> list[Mapping[str, str]]:
        """The parameters of all requests of a path that were answered whole and well."""
        return [s.parameters for s in self.log if s.whole and s.status == 200 and path in {"", s.path}]

    def requests(self, path: str = "") -> int:
        """How many requests of a path came, however they ended."""
        return sum(path in {"", served.path} for served in self.log)

    def reply(self, request: Request) -> Reply:
        """What a request is answered with."""
        with self._lock:
            waiting = self._instead.get(request.path)
            planned = waiting.popleft() if waiting else None
        if planned and planned.cut_after is None:
            return planned
        found = self._answer(request)
        return Reply(found.body, found.status, found.headers, planned.cut_after) if planned else found

    def _answer(self, request: Request) -> Reply:
        for pattern, function in self._routes:
            if match := pattern.fullmatch(request.path):
                given = function(Request(request.path, request.parameters, request.headers, match.groupdict()))
                if isinstance(given, Reply):
                    return given
                if isinstance(given, bytes):
                    return Reply(given)
                body = json.dumps(given, default=_number).encode()
                return Reply(body, headers={"Content-Type": "application/json"})
        return Reply(b'{"message": "there is nothing"}', 404)

    def note(self, served: Served) -> Served:
        """Write a line of the log."""
        with self._lock:
            self.log.append(served)
        return served

    def forget(self) -> None:
        """Begin a new log, with no reply planned."""
        with self._lock:
            self.log.clear()
            self._instead.clear()


def _number(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(value)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet, or each answer waits 40 ms for an acknowledgement
    disable_nagle_algorithm = True
    vendor: Vendor

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.do_GET(dict(parse_qsl(form)))

    def do_GET(self, form: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(self.path)
        request = Request(parts.path, {**dict(parse_qsl(parts.query)), **(form or {})}, dict(self.headers))
        reply = self.vendor.reply(request)
        whole = not reply.reset and reply.cut_after is None
        # Before it goes out: whoever has got it all may look at the log at once.
        served = self.vendor.note(Served(request.path, request.parameters, 0 if reply.reset else reply.status, whole))
        try:
            self._send(reply)
        except OSError:
            self.close_connection, served.whole = True, False  # whoever asked is gone
        self.vendor.on_served(served)

    def _send(self, reply: Reply) -> None:
        if reply.reset:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RD)
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body[: reply.cut_after])
        self.wfile.flush()
        if reply.cut_after is not None:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Keep quiet; there is a log."""


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def __init__(self, vendor: Vendor) -> None:
        super().__init__(("127.0.0.1", 0), type("Handler", (_Handler,), {"vendor": vendor}))
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def handle_error(self, *_: Any) -> None:
        """A client that was killed is no error of the server."""

    def server_close(self) -> None:
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()


@contextmanager
def vendor_server() -> Iterator[Vendor]:
    """A vendor, for as long as the block lasts."""
    vendor = Vendor()
    server = _Server(vendor)
    vendor.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield vendor
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Clock:
    """Time that passes when somebody sleeps, and not otherwise."""

    now: float = 1_700_000_000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        """Seconds since 1970."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self.slept.append(seconds)
        self.now += seconds


def quick_network(clock: Clock | None = None, variables: Mapping[str, str] | None = None, **patience: Any) -> Network:
    """A network whose pauses take no time, with these variables as its environment."""
    from pydantic import SecretStr  # noqa: PLC0415

    clock, known = clock or Clock(), variables or {}

    def variable(*names: str) -> SecretStr | None:
        return next((SecretStr(known[name]) for name in names if name in known), None)

    return Network(None, variable, Patience(**patience), clock, clock.sleep, lambda _, high: high)
