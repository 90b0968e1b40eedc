"""Stores that live in this process's memory: for tests and trials, and as the shortest statement of each port."""

import errno
import io
import itertools
import os
import threading
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO

import fsspec

from thermocline.errors import CatalogConflictError, ObjectExistsError
from thermocline.model.dataset import Dataset
from thermocline.model.receipt import StoredObject
from thermocline.model.recovery import TableVersion

_numbers = itertools.count(1)


class MemoryObjects:
    """Objects in a dictionary. The etag is a number that grows with every write."""

    def __init__(self) -> None:
        """Start empty."""
        self._root = f"memory://{next(_numbers)}"
        self._lock = threading.Lock()
        self._contents: dict[str, tuple[bytes, str]] = {}
        self._writes = itertools.count(1)

    @property
    def url(self) -> str:
        """A URL that no other lake of this process has."""
        return self._root

    @property
    def filesystem(self) -> fsspec.AbstractFileSystem:
        """A read-only fsspec file system that opens `location`s."""
        return _MemoryFileSystem(self._root, self, skip_instance_cache=True)

    def put(self, path: str, content: BinaryIO) -> StoredObject:
        """See `Objects.put`."""
        body = content.read()
        with self._lock:
            if path in self._contents:
                msg = f"{self.location(path)} exists already; an object is never overwritten"
                raise ObjectExistsError(msg)
            return self._keep(path, body)

    def replace(self, path: str, content: bytes) -> StoredObject:
        """See `Objects.replace`."""
        with self._lock:
            return self._keep(path, bytes(content))

    def open(self, path: str) -> BinaryIO:
        """See `Objects.open`."""
        return io.BytesIO(self._found(path)[0])

    def stat(self, path: str) -> StoredObject:
        """See `Objects.stat`."""
        body, etag = self._found(path)
        return StoredObject(path, len(body), etag)

    def delete(self, path: str) -> None:
        """See `Objects.delete`."""
        with self._lock:
            self._contents.pop(path, None)

    def list(self, prefix: str) -> Iterator[str]:
        """See `Objects.list`."""
        with self._lock:
            paths = sorted(self._contents)
        return (path for path in paths if path.startswith(prefix))

    def location(self, path: str) -> str:
        """The path below this store's URL."""
        return f"{self._root}/{path}"

    def _found(self, path: str) -> tuple[bytes, str]:
        try:
            return self._contents[path]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.location(path)) from None

    def _keep(self, path: str, body: bytes) -> StoredObject:
        etag = str(next(self._writes))
        self._contents[path] = body, etag
        return StoredObject(path, len(body), etag)


class _MemoryFileSystem(fsspec.AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """What DuckDB needs to read a `MemoryObjects`; nothing in a path is a pattern."""

    protocol = "memory"

    def __init__(self, root: str, objects: MemoryObjects, **options: Any) -> None:
        super().__init__(**options)
        self._objects = objects
        self._prefix = f"{root.removeprefix('memory://')}/"

    def _path(self, location: str) -> str:
        return location.removeprefix("memory://").removeprefix("/").removeprefix(self._prefix)

    def info(self, path: str, **_options: Any) -> dict[str, Any]:
        described = self._objects.stat(self._path(path))
        return {"name": path, "size": described.size_bytes, "type": "file"}

    def modified(self, path: str) -> datetime:
        return datetime.fromtimestamp(int(self._objects.stat(self._path(path)).etag), UTC)

    def glob(self, path: str, **_options: Any) -> list[str]:
        return [path] if self.exists(path) else []

    def open(self, path: str, mode: str = "rb", **_options: Any) -> BinaryIO:
        if mode != "rb":
            raise PermissionError(errno.EROFS, os.strerror(errno.EROFS), path)
        return self._objects.open(self._path(path))


class MemoryCatalog:
    """The table of each dataset as a set of paths. A head is a number that grows with every commit."""

    def __init__(self) -> None:
        """Start with nothing published."""
        self._lock = threading.Lock()
        self._tables: dict[str, tuple[str, frozenset[str]]] = {}
        self._commits: dict[str, list[tuple[str, str]]] = {}
        self._snapshots: dict[str, dict[str, datetime]] = {}

    def head(self, dataset: Dataset) -> str:
        """See `Catalog.head`."""
        return self._tables.get(dataset.name, ("", frozenset()))[0]

    def paths(self, dataset: Dataset) -> frozenset[str]:
        """See `Catalog.paths`."""
        return self._tables.get(dataset.name, ("", frozenset()))[1]

    def publish(
        self, dataset: Dataset, *, added: Collection[str], removed: Collection[str], expected_head: str, run_id: str
    ) -> str:
        """See `Catalog.publish`."""
        with self._lock:
            head, paths = self._tables.get(dataset.name, ("", frozenset()))
            if head != expected_head:
                msg = (
                    f"the table {dataset.name} is at {head or 'nothing'}, not at {expected_head or 'nothing'} as run"
                    f" {run_id} read it; nothing was changed, run it again"
                )
                raise CatalogConflictError(msg)
            after = (paths - frozenset(removed)) | frozenset(added)
            if after == paths:
                return head
            self._commits.setdefault(dataset.name, []).append((head, run_id))
            head = str(int(head or 0) + 1)
            self._tables[dataset.name] = head, after
            self._snapshots.setdefault(dataset.name, {})[head] = datetime.now(UTC)
            return head

    def evolve(self, dataset: Dataset) -> None:
        """See `Catalog.evolve`. A set of paths has no columns."""

    def newest(self, dataset: Dataset) -> TableVersion | None:
        """See `Catalog.newest`. Nothing is written down here, so a table that is lost is lost."""
        if dataset.name not in self._tables:
            return None
        head, paths = self._tables[dataset.name]
        commits = tuple(self._commits.get(dataset.name, ()))
        return TableVersion(head, datetime.now(UTC), paths, commits, head, is_registered=True)

    def register(self, dataset: Dataset, version: TableVersion | None) -> str:
        """See `Catalog.register`."""
        with self._lock:
            self._tables[dataset.name] = (version.head, version.paths) if version else ("", frozenset())
            self._commits[dataset.name] = list(version.commits) if version else []
            return self._tables[dataset.name][0]

    def snapshots(self, dataset: Dataset) -> Mapping[str, datetime]:
        """See `Catalog.snapshots`."""
        return dict(self._snapshots.get(dataset.name, {}))

    def expire_snapshots(self, dataset: Dataset, before: datetime) -> list[str]:
        """See `Catalog.expire_snapshots`."""
        with self._lock:
            known, head = self._snapshots.get(dataset.name, {}), self.head(dataset)
            old = [name for name, at in known.items() if at < before and name != head]
            for name in old:
                del known[name]
            return old

    def close(self) -> None:
        """Nothing is held open."""
