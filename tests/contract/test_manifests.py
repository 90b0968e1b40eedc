"""What a table's manifests cost as it grows: each is read once, and there are never many, however often days change."""

from collections import Counter

import pytest
from catalog_acts import publish, put

from thermocline.errors import BrokenTableError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.paths import table_location
from thermocline.stores.iceberg import IcebergCatalog
from thermocline.stores.objects_local import LocalObjects

NIGHTS = 45


class Watched(LocalObjects):
    """Counts how often each of its objects was opened."""

    def __init__(self, folder):
        """Begin at none."""
        super().__init__(folder)
        self.opened = Counter()

    def open(self, path):
        """Count, and open."""
        self.opened[path.rpartition("/")[2]] += 1
        return super().open(path)

    def manifests(self):
        """Paths of all manifests."""
        listed = self.list(f"{table_location('market_data')}/metadata/")
        return [path for path in listed if path.endswith(".avro") and "/snap-" not in path]


@pytest.fixture
def objects(tmp_path):
    return Watched(tmp_path / "lake")


@pytest.fixture
def catalog(objects, tmp_path):
    catalog = IcebergCatalog(f"sqlite:///{tmp_path}/catalog.db", objects)
    yield catalog
    catalog.close()


def table_of(catalog):
    return catalog._tables._catalog.load_table(("thermocline", "market_data"))  # noqa: SLF001


def files_of(table, snapshot):
    entries = (entry for manifest in snapshot.manifests(table.io) for entry in manifest.fetch_manifest_entry(table.io))
    return {entry.data_file.file_path.rpartition("market_data/")[2] for entry in entries}


def test_a_manifest_is_read_once_by_those_who_add(catalog, objects):
    head, paths = "", []
    for number in range(6):
        paths.append(put(objects, number))
        head = publish(catalog, paths[-1:], head=head)
        assert catalog.paths(MARKET_DATA) == set(paths)
    manifests = [path.rpartition("/")[2] for path in objects.manifests()]
    assert len(manifests) == 6
    assert [objects.opened[name] for name in manifests] == [1] * 6


@pytest.mark.parametrize("damage", [b"", b"Obj\x01 and then nothing", None])
def test_a_manifest_that_was_read_and_is_damaged_since_is_noticed(catalog, objects, tmp_path, damage):
    head = publish(catalog, [put(objects, 0)])
    assert len(catalog.paths(MARKET_DATA)) == 1
    (path,) = objects.manifests()
    if damage is None:
        objects.delete(path)
    else:
        (tmp_path / "lake" / path).write_bytes(damage)
    with pytest.raises(BrokenTableError, match="thermocline recover market_data"):
        catalog.paths(MARKET_DATA)
    with pytest.raises(BrokenTableError, match="nothing was published"):
        publish(catalog, [put(objects, 1)], head=head)


def test_days_that_change_night_after_night_leave_few_manifests_and_whole_snapshots(catalog, objects):
    path = put(objects, 0)
    head, expected = publish(catalog, [path]), [{path}]
    for night in range(1, NIGHTS):
        gone, path = path, put(objects, night)
        again = put(objects, night - 1, version=2)
        head = publish(catalog, [path, again], [gone], head, run_id=f"run-{night}")
        expected.append((expected[-1] - {gone}) | {path, again})
        assert catalog.paths(MARKET_DATA) == expected[-1]
    table = table_of(catalog)
    assert len(table.current_snapshot().manifests(table.io)) < 40
    seen = [files_of(table, snapshot) for snapshot in table.snapshots()]
    assert len(seen) > NIGHTS  # some nights also brought manifests together
    told = [{each.rpartition("market_data/")[2] for each in paths} for paths in expected]
    assert [files for number, files in enumerate(seen) if number == 0 or files != seen[number - 1]] == told
    # What a lost database is made anew from still knows which run built on which head.
    commits = dict(catalog.newest(MARKET_DATA).commits)
    assert sorted(commits.values()) == sorted(["run-1", *(f"run-{night}" for night in range(1, NIGHTS))])
    assert catalog.newest(MARKET_DATA).head == head
