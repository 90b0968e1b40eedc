"""Connections that are used again: opening one costs more than most questions.

What a connection must not carry from one act into the next is never there: acts that hold a session lock have a
connection of their own, which ends with them; all others set nothing beyond their transaction, and one that is left by
an error, or in a transaction, is closed. Nobody waits for a connection: where none is idle, one is opened.
"""

import os
import select
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from math import inf
from time import monotonic

import psycopg
from psycopg.pq import TransactionStatus

from thermocline.stores.postgres.connection import IDLE_SESSION_SECONDS, Connection, connect

MOST_IDLE = 8
"""Connections that are kept while nobody uses them. A server takes a hundred by default, from all its clients."""

TRUSTED_SECONDS = IDLE_SESSION_SECONDS / 2
"""For how long an idle one is kept. The server itself ends it a while later, also where this process sleeps."""

LONGEST_SECONDS = 600.0
"""For how long one is used at all: its server process remembers every table that it ever read, and new settings of a
role or database are those of new sessions."""

_UNASKED_SECONDS = 1.0
"""For how long an idle one may be used without asking it first; a machine that vanished closes no socket."""


@dataclass(frozen=True, slots=True)
class _Idle:
    connection: Connection
    since: float


class Pool:
    """Connections to one server, for any number of threads. After a fork the child has none of its parent's."""

    def __init__(self, address: str | Callable[[], str]) -> None:
        """Name the server by its URL, or by what finds it on first use."""
        self._address = address
        self._forget()

    @cached_property
    def url(self) -> str:
        """Where the server is, with what it takes to get in."""
        return self._address if isinstance(self._address, str) else self._address()

    def _forget(self) -> None:
        self._idle: deque[_Idle] = deque()
        self._opened_at: weakref.WeakKeyDictionary[Connection, float] = weakref.WeakKeyDictionary()
        self._process = os.getpid()
        self._closer = weakref.finalize(self, _close, self._idle, self._process)

    def close(self) -> None:
        """Close those that are idle. More are opened when they are needed."""
        _close(self._idle, self._process)

    @contextmanager
    def lent(self) -> Iterator[Connection]:
        """A connection for an act that leaves nothing behind in its session; it may have served others before.

        Raises:
            HotStoreError: The server can't be reached.
        """
        connection = self.take()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self.give(connection)

    def take(self) -> Connection:
        """A connection that is to be given back, or closed where an error came up.

        Raises:
            HotStoreError: The server can't be reached.
        """
        if self._process != os.getpid():
            # Closing one would end the parent's session, so the child lets them be for as long as it lives.
            _INHERITED.append(self._idle)
            self._closer.detach()
            self._forget()
        # The last that was given back is taken first, so that those that are too many grow old.
        with suppress(IndexError):
            while True:
                idle = self._idle.pop()
                if _is_usable(idle):
                    return idle.connection
                idle.connection.close()
        connection = connect(self.url, kept=True)
        self._opened_at[connection] = monotonic()
        return connection

    def give(self, connection: Connection) -> None:
        """Take a connection back. One that is in a transaction, or old, is closed instead."""
        now = monotonic()
        is_clean = connection.pgconn.transaction_status == TransactionStatus.IDLE  # which a closed one is not
        if not is_clean or now - self._opened_at.get(connection, -inf) > LONGEST_SECONDS:
            connection.close()
            return
        self._idle.append(_Idle(connection, now))
        with suppress(IndexError):
            while len(self._idle) > MOST_IDLE or now - self._idle[0].since > TRUSTED_SECONDS:
                self._idle.popleft().connection.close()


_INHERITED: list[deque[_Idle]] = []
"""What a fork brought along. It must be neither used, nor closed, nor collected."""


def _is_usable(idle: _Idle) -> bool:
    """Whether the server has not ended it: then its socket says so. One that was idle for a while is asked."""
    seconds = monotonic() - idle.since
    connection = idle.connection
    if connection.closed or seconds > TRUSTED_SECONDS or _has_news(connection):
        return False
    if seconds > _UNASKED_SECONDS:
        try:
            connection.execute("")
        except psycopg.Error:
            return False
    return True


def _has_news(connection: Connection) -> bool:
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


def _close(idle: deque[_Idle], process: int) -> None:
    if process != os.getpid():
        _INHERITED.append(idle)
        return
    with suppress(IndexError):
        while True:
            idle.pop().connection.close()
