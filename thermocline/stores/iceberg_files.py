"""The data files of a table: which objects its manifests name, and how new ones are described to it."""

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow.parquet as pq
from pyiceberg.manifest import DataFile, ManifestFile
from pyiceberg.table import Table

from thermocline.errors import LakeError
from thermocline.model.receipt import StoredObject
from thermocline.ports import Objects
from thermocline.stores.iceberg_statistics import FileStatistics

_THREADS = 8

Item = TypeVar("Item")
Result = TypeVar("Result")


class TableFiles:
    """The objects that the newest snapshot of each table names.

    A manifest is never written anew, so what it names is kept, for as long as the newest snapshot has it and the store
    says that it lies there as it was: a commit costs as much in a table's fifth year as in its first.
    """

    def __init__(self, objects: Objects) -> None:
        """Know of nothing yet."""
        self._objects = objects
        self._root = objects.location("x").removesuffix("x")
        self._known: dict[str, dict[str, tuple[StoredObject, list[str]]]] = {}

    def manifests(self, table: Table) -> dict[str, ManifestFile]:
        """The path of every object of the newest snapshot, and the manifest that names it."""
        snapshot = table.current_snapshot()
        manifests = snapshot.manifests(table.io) if snapshot else []
        known = self._known.get(table.metadata.location, {})

        def look(manifest: ManifestFile) -> tuple[StoredObject, list[str]]:
            path = manifest.manifest_path.removeprefix(self._root)
            stored = self._objects.stat(path)
            if path in known and known[path][0] == stored:
                return known[path]
            return stored, list(self._entries(table, manifest))

        seen = list(_mapped(self._objects, look, manifests))
        self._known[table.metadata.location] = {stored.path: (stored, paths) for stored, paths in seen}
        return {path: manifest for manifest, (_, paths) in zip(manifests, seen, strict=True) for path in paths}

    def described(self, table: Table, paths: Collection[str], named: dict[str, ManifestFile]) -> list[DataFile]:
        """Objects that the table has, as it describes them. `named` is what `manifests` said."""
        holding = {named[path].manifest_path: named[path] for path in paths}
        found = {path: file for manifest in holding.values() for path, file in self._entries(table, manifest).items()}
        return [found[path] for path in paths]

    def _entries(self, table: Table, manifest: ManifestFile) -> dict[str, DataFile]:
        files = [entry.data_file for entry in manifest.fetch_manifest_entry(table.io)]
        return {file.file_path.removeprefix(self._root): file for file in files}


def described(objects: Objects, table: Table, paths: Iterable[str]) -> Iterator[DataFile]:
    """Data files from the footers.

    Raises:
        LakeError: An object is gone.
    """
    statistics = FileStatistics(table)

    def describe(path: str) -> DataFile:
        try:
            with objects.open(path) as stream:
                footer = pq.read_metadata(stream)
            size = objects.stat(path).size_bytes
        except FileNotFoundError:
            msg = f"{objects.location(path)} is gone, so it can't be published; write the day again"
            raise LakeError(msg) from None
        return statistics.described(objects.location(path), size, footer)

    return _mapped(objects, describe, paths)


def _mapped(objects: Objects, look: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Look at each, several at once where they are not on this machine: a local file is read faster than told of."""
    if objects.filesystem is None:
        yield from map(look, items)
        return
    with ThreadPoolExecutor(_THREADS) as pool:
        yield from pool.map(look, items)
