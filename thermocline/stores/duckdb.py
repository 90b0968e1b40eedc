"""DuckDB, with as much of this machine as it may use, and what its errors say."""

import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from thermocline.errors import ArchivedError, LakeError, TransientLakeError
from thermocline.ports import Located
from thermocline.stores.instance import SharedInstance
from thermocline.stores.range_reader import ExactPaths
from thermocline.stores.work import Work

_OF_FILESYSTEMS = {error.__name__: error for error in (ArchivedError, LakeError, TransientLakeError)}


@dataclass(frozen=True)
class Engine:
    """How much of this machine DuckDB may use. None as threads means all cores, as `temp_dir` the system's.

    `filesystem` finds, once there is something to open, what opens the addresses of a lake that the operating system
    can't open by itself. All connections share one instance, and so its memory; a query may take `timeout_seconds`.
    """

    memory_limit_mib: int = 1024
    threads: int | None = None
    temp_dir: Path | None = None
    filesystem: Callable[[], Any] | None = None
    timeout_seconds: float | None = None
    _shared: SharedInstance = field(default_factory=SharedInstance, init=False, repr=False, compare=False)

    @contextmanager
    def connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with tables and views of its own, in UTC, that never reaches for the network; closed in the end.

        Settings are those of all connections: whoever changes any asks for an `instance`.

        Raises:
            LakeError: DuckDB refuses, runs out of memory or disk, or can't read a file.
        """
        with explained(), self._shared.cursor(self._open) as connection:
            yield connection

    @contextmanager
    def instance(self, database: str = ":memory:") -> Iterator[duckdb.DuckDBPyConnection]:
        """As `connection`, to an instance of its own with as much memory again, closed in the end."""
        with explained(), self._open(database) as connection:
            yield connection

    def work(self, connection: duckdb.DuckDBPyConnection) -> Work:
        """What a connection does for one query; it ends in time, by Ctrl-C, or where the query is cancelled."""
        return Work(connection, self.timeout_seconds)

    def expecting(self, located: Sequence[Located]) -> AbstractContextManager[None]:
        """While the block reads these, where each has to be asked for over a network, ask for several at a time."""
        filesystem = self.filesystem() if self.filesystem is not None and located else None
        if not isinstance(filesystem, ExactPaths):
            return nullcontext()
        return filesystem.expecting([each.location for each in located])

    def close(self) -> None:
        """Give memory and threads back. They are taken again for the next connection."""
        self._shared.close()

    def _open(self, database: str = ":memory:") -> duckdb.DuckDBPyConnection:
        spill = Path(self.temp_dir or tempfile.gettempdir()) / f"thermocline-{uuid.uuid4().hex}"
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{self.memory_limit_mib}MiB",
            "temp_directory": str(spill),  # DuckDB makes it when it spills, and removes it
            "autoinstall_known_extensions": False,
            "preserve_insertion_order": database != ":memory:",
            "enable_external_file_cache": False,  # the system keeps files by itself, and gives memory back
        }
        if self.threads is not None:
            config["threads"] = self.threads
        connection = duckdb.connect(database, config=config)
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        # It counts towards the memory limit, and a file of another time or size is looked at anew.
        connection.execute("SET GLOBAL parquet_metadata_cache = true")
        if self.filesystem is not None and (filesystem := self.filesystem()) is not None:
            connection.register_filesystem(filesystem)
        return connection


@contextmanager
def explained(
    what: str = "the lake can't be read",
    remedy: str = "run `thermocline verify` to see which objects are missing or damaged",
) -> Iterator[None]:
    """Turn an error of DuckDB into a LakeError that says what to do."""
    try:
        yield
    except duckdb.Error as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        # Of what a file system raises, DuckDB keeps the name and the text.
        name, _, told = reason.partition(": ")
        if told and (ours := _OF_FILESYSTEMS.get(name)):
            raise ours(told) from error
        if isinstance(error, duckdb.OutOfMemoryException):
            remedy = (
                "ask for less at once, raise storage.duckdb.memory_limit_mib, or free some disk for temporary files"
            )
        msg = f"{what}: {reason}; nothing was changed; {remedy}"
        raise LakeError(msg) from error
