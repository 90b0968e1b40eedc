"""Processes beside the measuring one: they prepare a part of what is measured, wait, and measure it when told to."""

import contextlib
import importlib
import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import Any

_SPAWNED = multiprocessing.get_context("spawn")
_FORKED = multiprocessing.get_context("forkserver")
_IMPORTED = [
    "duckdb",
    "pandas",
    "psycopg",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "sqlalchemy",
    "alembic.command",
    "pyiceberg.table",
    "thermocline.api.opened",
    "thermocline.sources.synthetic_bars",
    "thermocline.stores.home",
    "thermocline.stores.iceberg_tables",
    "thermocline.stores.lake",
    "thermocline.stores.postgres.store",
]
"""What most of them import, which takes as long as some of them need for the rest. Not Dagster, which few need."""

_FORKED.set_forkserver_preload(_IMPORTED)

Work = Callable[..., Iterator[Any]]
"""Yields once when it is prepared, and then what it found."""


def begin() -> None:
    """Have the process begin that others are forked from: it imports what they need while this one does the same."""
    forkserver.ensure_running()


def catch_up() -> None:
    """Import here what the others import, while they prepare: what is measured shall not wait for it."""
    for name in _IMPORTED:
        importlib.import_module(name)


class Aside:
    """A generator in a process of its own, which has a peak of memory and an interpreter lock of its own."""

    def __init__(self, work: Work, *args: Any, apart: bool = False) -> None:
        """Start it; it prepares at once.

        `apart` has it share no memory with others, not even that of modules: for what says how much it took.
        """
        self._pipe, theirs = _SPAWNED.Pipe()
        context: Any = _SPAWNED if apart else _FORKED
        self._process = context.Process(target=_attend, args=(theirs, work, args), daemon=True)
        self._process.start()
        theirs.close()

    def prepared(self) -> Any:
        """Wait until it is prepared; what it says then."""
        return self._received()

    def start(self) -> None:
        """Have it measure."""
        self._pipe.send("go")

    def result(self) -> Any:
        """Wait for what it found; the process is over then."""
        found = self._received()
        self._process.join()
        return found

    def measured(self) -> Any:
        """Have it measure, and wait."""
        self.start()
        return self.result()

    def _received(self) -> Any:
        try:
            what, value = self._pipe.recv()
        except EOFError:
            self._process.join()
            msg = f"a process ended with code {self._process.exitcode} before it was done"
            raise RuntimeError(msg) from None
        if what == "failed":
            raise RuntimeError(value)
        return value


def _attend(pipe: Connection, work: Work, args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the process that measures cleans up
    try:
        steps = work(*args)
        pipe.send(("done", next(steps)))
        with contextlib.suppress(EOFError):
            pipe.recv()
            pipe.send(("done", next(steps)))
    except Exception:  # noqa: BLE001  # told to whoever waits
        pipe.send(("failed", traceback.format_exc()))
