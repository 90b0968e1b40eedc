"""The versions of a table that its metadata files in the lake still tell, for when the catalog does not.

Beside each metadata file `00012-<uuid>.metadata.json` lies a copy `v12.metadata.json`, written once the catalog names
it. So a copy says that its commit stands, while a file without a copy may be that of a commit that lost.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

from pyiceberg.table.metadata import TableMetadata, TableMetadataUtil
from pyiceberg.table.snapshots import Snapshot

from thermocline.errors import ThermoclineError
from thermocline.model.dataset import Dataset
from thermocline.model.paths import table_location
from thermocline.model.recovery import TableVersion
from thermocline.ports import Objects
from thermocline.stores.iceberg_io import ObjectsFileIO

RUN_ID = "thermocline.run-id"
"""The property of a snapshot that names the run which made it."""

BUILT_ON = "thermocline.built-on"
"""The property of a snapshot that names the head before it; its parent is forgotten with the snapshots that expire."""

_COPY = re.compile(r".*/v(?P<number>\d+)\.metadata\.json")
_FILE = re.compile(r".*/(?P<number>\d+)-[^/]*\.metadata\.json")


def found_version(objects: Objects, dataset: Dataset, named: str | None) -> TableVersion | None:
    """The version at the path that the catalog names, else the newest of the lake that can be read whole."""
    for path in _candidates(objects, dataset, named):
        try:
            return _version(objects, dataset, path, is_registered=path == named)
        except ThermoclineError:
            raise
        except Exception:  # noqa: BLE001, S112  # whatever a damaged file brings up, an older one may be good
            continue
    return None


def numbered_file(objects: Objects, path: str) -> str:
    """The path of a file with the same metadata under a name that PyIceberg counts on from."""
    copy = _COPY.fullmatch(path)
    if copy is None:
        return path
    body, folder, number = _body(objects, path), path.rpartition("/")[0], int(copy["number"])
    for candidate in objects.list(f"{folder}/{number:05d}-"):
        if _FILE.fullmatch(candidate) and _body(objects, candidate) == body:
            return candidate
    return objects.replace(f"{folder}/{number:05d}-{uuid4()}.metadata.json", body).path


def _candidates(objects: Objects, dataset: Dataset, named: str | None) -> Iterator[str]:
    """Paths of metadata files, the likeliest to be the newest first: a file is only read when those before it fail."""
    folder = f"{table_location(dataset.name)}/metadata"
    if named is not None:
        yield named
    try:
        hint = _body(objects, f"{folder}/version-hint.text").decode().strip()
    except (FileNotFoundError, ValueError):
        hint = ""
    yield f"{folder}/v{hint}.metadata.json"
    paths = list(objects.list(f"{folder}/"))
    for pattern in (_COPY, _FILE):
        numbered = [(int(match["number"]), path) for path in paths if (match := pattern.fullmatch(path))]
        yield from (path for _, path in sorted(numbered, reverse=True))


def _version(objects: Objects, dataset: Dataset, path: str, *, is_registered: bool) -> TableVersion:
    metadata = TableMetadataUtil.parse_raw(_body(objects, path).decode())
    folder = table_location(dataset.name)
    root = metadata.location.removesuffix(folder)
    io = ObjectsFileIO.at(root, objects)
    snapshot = metadata.current_snapshot()
    manifests = snapshot.manifests(io) if snapshot else []
    files = [entry.data_file for manifest in manifests for entry in manifest.fetch_manifest_entry(io)]
    stamp = snapshot.timestamp_ms if snapshot else metadata.last_updated_ms
    return TableVersion(
        head=str(snapshot.snapshot_id) if snapshot else "",
        at=datetime.fromtimestamp(stamp / 1000, UTC),
        paths=frozenset(file.file_path.removeprefix(root) for file in files),
        commits=_commits(metadata, snapshot),
        location=path if metadata.location == objects.location(folder) else "",
        is_registered=is_registered,
    )


def _commits(metadata: TableMetadata, snapshot: Snapshot | None) -> list[tuple[str, str]]:
    """From the oldest known snapshot to the newest, the head that each was built on and its run."""
    found = []
    while snapshot is not None:
        parent = snapshot.parent_snapshot_id
        properties = snapshot.summary.additional_properties if snapshot.summary else {}
        head = properties.get(BUILT_ON, None if parent is None else str(parent))
        if head is None and snapshot.sequence_number == 1:
            head = ""
        if head is not None:
            found.append((head, properties.get(RUN_ID, "")))
        snapshot = metadata.snapshot_by_id(parent) if parent is not None else None
    return found[::-1]


def _body(objects: Objects, path: str) -> bytes:
    with objects.open(path) as stream:
        return stream.read()
