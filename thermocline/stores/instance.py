"""An instance of DuckDB that the queries of a process share, and that a fork does not break."""

import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import duckdb

_LOCK = threading.RLock()
_OPEN: "weakref.WeakSet[SharedInstance]" = weakref.WeakSet()


class SharedInstance:
    """Opened for the first query, kept for the next ones; each gets a connection of its own.

    Opening an instance takes as long as a small answer does, and what it knows of files is gone with it.
    """

    def __init__(self) -> None:
        """Open nothing yet."""
        self._root: duckdb.DuckDBPyConnection | None = None
        self._users = 0

    @contextmanager
    def cursor(self, opened: Callable[[], duckdb.DuckDBPyConnection]) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the instance, with tables and views of its own, closed in the end."""
        with _LOCK:
            if self._root is None:
                self._root = opened()
                _OPEN.add(self)
            root = self._root
            connection = root.cursor()
            self._users += 1
        try:
            with connection:
                yield connection
        finally:
            with _LOCK:
                if root is self._root:
                    self._users -= 1

    def close(self) -> None:
        """Let it end as soon as no query uses it. The next one opens another."""
        with _LOCK:
            if self._root is not None:
                self._root.close()
            self._root, self._users = None, 0
            _OPEN.discard(self)

    def before_fork(self) -> None:
        """Close it where that disturbs nobody: a child has the memory of its threads, but not the threads."""
        if not self._users:
            self.close()

    def in_child(self) -> None:
        """Leave what could not be closed, for ever: to close it would be to wait for threads that are not there."""
        if self._root is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._root))
        self._root, self._users = None, 0


def _before_fork() -> None:
    _LOCK.acquire()
    for instance in list(_OPEN):
        instance.before_fork()


def _in_child() -> None:
    for instance in list(_OPEN):
        instance.in_child()
    _OPEN.clear()
    _LOCK.release()


os.register_at_fork(before=_before_fork, after_in_parent=_LOCK.release, after_in_child=_in_child)
