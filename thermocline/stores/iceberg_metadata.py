"""Files of a table's metadata that nothing names any more: manifests of forgotten snapshots, versions of lost commits.

PyIceberg forgets snapshots and leaves their files. A file is named by the newest version of the table, by the versions
before it that are kept, and by the snapshots and manifests of any of them, so that an engine that opened an earlier
version goes on reading.
"""

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime

from pyiceberg.io import FileIO
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata, TableMetadataUtil
from pyiceberg.table.snapshots import Snapshot

from thermocline.model.dataset import Dataset
from thermocline.model.paths import table_location
from thermocline.model.receipt import StoredObject
from thermocline.ports import Objects

_OURS = re.compile(r".*/(?:snap-[^/]+\.avro|[^/]+-m\d+\.avro|\d+-[^/]+\.metadata\.json|v\d+\.metadata\.json)")
_VERSION = re.compile(r".*/(?:(?P<number>\d+)-[^/]*|v(?P<copy>\d+))\.metadata\.json")
_THREADS = 8


def unnamed_files(objects: Objects, dataset: Dataset, table: Table, kept: int, before: datetime) -> list[StoredObject]:
    """The files in the metadata folder that were written before an instant and that nothing names.

    There are none where the folder is not the one that the table was made in, or where it has versions that are newer
    than the one that the catalog names: a catalog that came out of a backup knows nothing of what they need.

    Args:
        objects: The lake's objects.
        dataset: The dataset.
        table: Its table as the catalog has it.
        kept: How many copies of versions are kept.
        before: What was written later may be of a commit that is on its way.
    """
    location = table_location(dataset.name)
    root = objects.location("x").removesuffix("x")
    if table.metadata.location != root + location:
        return []
    found = list(_surveyed(objects, f"{location}/metadata/"))
    current = table.metadata_location.removeprefix(root)
    newest = _number(current)
    if newest is None or any((number := _number(stored.path)) and number > newest for stored in found):
        return []
    named = {entry.metadata_file.removeprefix(root) for entry in table.metadata.metadata_log} | {current}
    copies = {stored.path for stored in found if _is_kept_copy(stored.path, newest - kept)}
    versions = [table.metadata, *_read(objects, sorted((named | copies) - {current}))]
    named |= copies | {path.removeprefix(root) for path in _files_of(versions, table.io)}
    return [
        stored
        for stored in found
        if _OURS.fullmatch(stored.path)
        and stored.path not in named
        and stored.modified_at is not None
        and stored.modified_at < before
    ]


def _surveyed(objects: Objects, prefix: str) -> Iterator[StoredObject]:
    if classes := objects.classes:
        return classes.survey(prefix)
    return (objects.stat(path) for path in objects.list(prefix))


def _number(path: str) -> int | None:
    match = _VERSION.fullmatch(path)
    return int(match["number"] or match["copy"]) if match else None


def _is_kept_copy(path: str, after: int) -> bool:
    match = _VERSION.fullmatch(path)
    return bool(match and match["copy"] and int(match["copy"]) > after)


def _read(objects: Objects, paths: Iterable[str]) -> list[TableMetadata]:
    """Versions of the table; those that are gone are left out."""

    def read(path: str) -> TableMetadata | None:
        with suppress(FileNotFoundError), objects.open(path) as stream:
            return TableMetadataUtil.parse_raw(stream.read().decode())
        return None

    with ThreadPoolExecutor(_THREADS) as threads:
        return [metadata for metadata in threads.map(read, paths) if metadata]


def _files_of(versions: Iterable[TableMetadata], io: FileIO) -> set[str]:
    """The manifest lists and manifests of every snapshot that one of the versions knows."""
    snapshots = {each.manifest_list: each for version in versions for each in version.snapshots}

    def manifests(snapshot: Snapshot) -> list[str]:
        # An earlier version may know a snapshot whose files went long ago.
        with suppress(FileNotFoundError):
            return [manifest.manifest_path for manifest in snapshot.manifests(io)]
        return []

    with ThreadPoolExecutor(_THREADS) as threads:
        found = threads.map(manifests, snapshots.values())
        return {path for paths in found for path in paths} | set(snapshots)
