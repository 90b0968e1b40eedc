"""Stores that live in this process's memory: for tests and trials, and as the shortest statement of each port."""

import errno
import io
import itertools
import os
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, Self

import fsspec

from thermocline.errors import ArchivedError, CatalogConflictError, ObjectExistsError, PlanDriftError
from thermocline.model.dataset import Dataset
from thermocline.model.receipt import StoredObject
from thermocline.model.recovery import TableVersion
from thermocline.model.storage_classes import Provider, first_class, storage_class
from thermocline.ports import Rule

_numbers = itertools.count(1)


class MemoryObjects:
    """Objects in a dictionary. The etag is a number that grows with every write.

    With a provider it has that one's storage classes. A restore is there as soon as it is asked for.
    """

    def __init__(self, provider: Provider | None = None) -> None:
        """Start empty."""
        self._root = f"memory://{next(_numbers)}"
        self._lock = threading.Lock()
        self._contents: dict[str, tuple[bytes, StoredObject]] = {}
        self._writes = itertools.count(1)
        self._provider = provider
        self._rules: list[Rule] = []

    @property
    def url(self) -> str:
        """A URL that no other lake of this process has."""
        return self._root

    @property
    def filesystem(self) -> fsspec.AbstractFileSystem:
        """A read-only fsspec file system that opens `location`s."""
        return _MemoryFileSystem(self._root, self, skip_instance_cache=True)

    @property
    def classes(self) -> Self | None:
        """See `Objects.classes`."""
        return self if self._provider else None

    @property
    def provider(self) -> Provider:
        """See `Classes.provider`."""
        return self._provider or Provider.LOCAL

    def put(
        self,
        path: str,
        content: BinaryIO,
        *,
        storage_class: str = "",
        labels: Mapping[str, str] | None = None,  # noqa: ARG002  # nobody looks at them here
    ) -> StoredObject:
        """See `Objects.put`."""
        body = content.read()
        with self._lock:
            if path in self._contents:
                msg = f"{self.location(path)} exists already; an object is never overwritten"
                raise ObjectExistsError(msg)
            return self._keep(path, body, storage_class)

    def replace(self, path: str, content: bytes) -> StoredObject:
        """See `Objects.replace`."""
        with self._lock:
            return self._keep(path, bytes(content))

    def open(self, path: str) -> BinaryIO:
        """See `Objects.open`."""
        body, stored = self._found(path)
        self._check_readable(stored)
        return io.BytesIO(body)

    def stat(self, path: str) -> StoredObject:
        """See `Objects.stat`."""
        return self._found(path)[1]

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

    def survey(self, prefix: str) -> Iterator[StoredObject]:
        """See `Classes.survey`."""
        return (self._found(path)[1] for path in self.list(prefix))

    def transition(self, stored: StoredObject, storage_class: str) -> StoredObject:
        """See `Classes.transition`."""
        with self._lock:
            body, now = self._found(stored.path)
            if now.etag != stored.etag:
                msg = f"{self.location(stored.path)} changed since it was surveyed; nothing was changed"
                raise PlanDriftError(msg)
            self._check_readable(now)
            return self._keep(stored.path, body, storage_class)

    def restore(self, path: str, *, days: int, speed: str) -> None:  # noqa: ARG002  # all are as fast
        """See `Classes.restore`."""
        with self._lock:
            body, stored = self._found(path)
            until = datetime.now(UTC) + timedelta(days=days)
            self._contents[path] = body, replace(stored, readable_until=until)

    def rules(self) -> Sequence[Rule]:
        """See `Classes.rules`."""
        return list(self._rules)

    def replace_rules(self, rules: Sequence[Rule], *, expected: Sequence[Rule]) -> None:
        """See `Classes.replace_rules`."""
        if self._rules != list(expected):
            msg = f"the rules of {self._root} changed since they were read; nothing was changed"
            raise PlanDriftError(msg)
        self._rules = list(rules)

    def _check_readable(self, stored: StoredObject) -> None:
        if not self._provider or storage_class(self._provider, stored.storage_class).is_read_at_once:
            return
        if stored.readable_until is None or stored.readable_until < datetime.now(UTC):
            msg = f"{self.location(stored.path)} lies in {stored.storage_class}; restore it before it is read"
            raise ArchivedError(msg)

    def _found(self, path: str) -> tuple[bytes, StoredObject]:
        try:
            return self._contents[path]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.location(path)) from None

    def _keep(self, path: str, body: bytes, named: str = "") -> StoredObject:
        if self._provider:
            named = storage_class(self._provider, named).name if named else first_class(self._provider).name
        stored = StoredObject(path, len(body), str(next(self._writes)), named, datetime.now(UTC))
        self._contents[path] = body, stored
        return stored


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

    def unnamed_metadata(self, dataset: Dataset, before: datetime) -> Sequence[StoredObject]:  # noqa: ARG002  # has none
        """See `Catalog.unnamed_metadata`."""
        return ()

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
