"""What every catalog promises: one commit at a time, on the head that was read, whole or not at all."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pyarrow as pa
import pytest
from catalog_acts import day, publish, put
from made_rows import DAY, as_sorted_lists, bars
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import StaticTable

from thermocline.errors import BrokenTableError, CatalogConflictError, LakeError
from thermocline.model.dataset import Column, Kind
from thermocline.model.datasets import MARKET_DATA, NEWS
from thermocline.model.paths import object_path, table_location
from thermocline.stores import iceberg_tables
from thermocline.stores.iceberg import IcebergCatalog
from thermocline.stores.memory import MemoryCatalog
from thermocline.stores.objects_local import LocalObjects
from thermocline.stores.open import open_objects

NOW = datetime.now(UTC)
NAMES = ["memory", "iceberg on disk", "iceberg in memory", "iceberg on s3", "iceberg on gcs"]


@pytest.fixture
def sqlite(tmp_path):
    return f"sqlite:///{tmp_path}/made here/catalog.db"


@pytest.fixture(params=NAMES)
def objects(request, new_lake_url):
    kind = request.param.rpartition(" ")[2]
    return open_objects(new_lake_url("local" if kind == "disk" else kind, "a lake"))


@pytest.fixture
def catalog(request, objects, sqlite):
    name = request.node.callspec.params["objects"]
    catalog = MemoryCatalog() if name == NAMES[0] else IcebergCatalog(sqlite, objects)
    yield catalog
    catalog.close()


# ----------------------------------------------------------------------------------------------------- every catalog


def test_nothing_is_published_at_first(catalog):
    assert catalog.head(MARKET_DATA) == ""
    assert catalog.paths(MARKET_DATA) == frozenset()


def test_a_commit_moves_the_head_and_shows_its_objects(catalog, objects):
    paths = [put(objects, number) for number in range(3)]
    first = publish(catalog, paths[:2])
    assert first
    assert first == catalog.head(MARKET_DATA)
    second = publish(catalog, paths[2:], head=first)
    assert second == catalog.head(MARKET_DATA) != first
    assert catalog.paths(MARKET_DATA) == frozenset(paths)


def test_a_new_vintage_replaces_the_earlier_one_in_one_commit(catalog, objects):
    paths = [put(objects, number) for number in range(3)]
    head = publish(catalog, paths)
    later = put(objects, 1, version=2, close="1")
    publish(catalog, [later], [paths[1]], head)
    assert catalog.paths(MARKET_DATA) == {paths[0], later, paths[2]}


def test_a_day_can_be_withdrawn(catalog, objects):
    paths = [put(objects, number) for number in range(2)]
    head = publish(catalog, paths)
    head = publish(catalog, removed=paths[:1], head=head)
    assert catalog.paths(MARKET_DATA) == {paths[1]}
    publish(catalog, removed=paths[1:], head=head)
    assert catalog.paths(MARKET_DATA) == frozenset()


def test_a_stale_head_changes_nothing(catalog, objects):
    paths = [put(objects, number) for number in range(2)]
    head = publish(catalog, paths[:1])
    for stale in ("", "12345"):
        with pytest.raises(CatalogConflictError, match="run it again"):
            publish(catalog, paths[1:], head=stale)
    assert catalog.head(MARKET_DATA) == head
    assert catalog.paths(MARKET_DATA) == {paths[0]}


def test_the_same_commit_again_changes_nothing(catalog, objects):
    paths = [put(objects, number) for number in range(2)]
    later = put(objects, 0, version=2, close="1")
    head = publish(catalog, [later, paths[1]], [paths[0]], publish(catalog, paths))
    assert publish(catalog, [later, paths[1]], [paths[0]], head) == head
    assert catalog.paths(MARKET_DATA) == {later, paths[1]}


def test_datasets_do_not_meet(catalog, objects):
    publish(catalog, [put(objects, 0)])
    assert catalog.head(NEWS) == ""
    assert catalog.paths(NEWS) == frozenset()


def test_of_commits_on_one_head_exactly_one_wins(catalog, objects):
    paths = [put(objects, number) for number in range(5)]
    head = publish(catalog, paths[:1])
    start = threading.Barrier(4)

    def attempt(path):
        start.wait()
        try:
            return publish(catalog, [path], head=head)
        except CatalogConflictError:
            return None

    with ThreadPoolExecutor(4) as pool:
        heads = list(pool.map(attempt, paths[1:]))
    (won,) = [number for number, moved in enumerate(heads) if moved]
    assert catalog.head(MARKET_DATA) == heads[won]
    assert catalog.paths(MARKET_DATA) == {paths[0], paths[1 + won]}


def test_the_newest_version_says_how_the_table_came_to_be(catalog, objects):
    assert catalog.newest(MARKET_DATA) is None
    paths = [put(objects, number) for number in range(2)]
    first = publish(catalog, paths[:1], run_id="a")
    second = publish(catalog, paths[1:], head=first, run_id="b")
    version = catalog.newest(MARKET_DATA)
    assert (version.head, version.paths, version.is_registered) == (second, frozenset(paths), True)
    assert list(version.commits) == [("", "a"), (first, "b")]


def test_a_version_that_is_registered_is_the_table(catalog, objects):
    head = publish(catalog, [put(objects, 0)])
    version = catalog.newest(MARKET_DATA)
    publish(catalog, [put(objects, 1)], head=head)
    assert catalog.register(MARKET_DATA, version) == catalog.head(MARKET_DATA) == head
    assert catalog.paths(MARKET_DATA) == version.paths
    later = publish(catalog, [put(objects, 2)], head=head)
    assert catalog.newest(MARKET_DATA).head == later
    assert catalog.register(MARKET_DATA, None) == catalog.head(MARKET_DATA) == ""
    assert publish(catalog, version.paths)
    assert catalog.paths(MARKET_DATA) == version.paths


# ----------------------------------------------------------------------------------------------------------- iceberg


@pytest.fixture
def local(tmp_path):
    return LocalObjects(tmp_path / "lake 'of' [mine]")


@pytest.fixture
def iceberg(local, sqlite):
    catalog = IcebergCatalog(sqlite, local)
    yield catalog
    catalog.close()


def table_of(uri):
    """The table as any program with PyIceberg opens it, by its own file access."""
    return SqlCatalog("thermocline", uri=uri).load_table(("thermocline", "market_data"))


def rows_of(table):
    return as_sorted_lists(table.scan().to_arrow().cast(MARKET_DATA.arrow_schema), MARKET_DATA)


def test_pyiceberg_reads_exactly_the_rows_of_the_newest_vintages(iceberg, local, sqlite):
    paths = [put(local, number) for number in range(3)]
    head = publish(iceberg, paths)
    publish(iceberg, [put(local, 1, version=2, close="1")], [paths[1]], head)
    expected = pa.Table.from_batches([bars(day(0)), bars(day(1), close="1"), bars(day(2))])
    table = table_of(sqlite)
    assert rows_of(table) == as_sorted_lists(expected, MARKET_DATA)
    assert table.scan(f"ts >= '{DAY + timedelta(days=2)}T00:00:00+00:00'").to_arrow().num_rows == 6
    table.catalog.close()


def test_the_table_says_how_it_is_keyed_partitioned_and_sorted(iceberg, local, sqlite):
    publish(iceberg, [put(local, 0)], run_id="run 7")
    table = table_of(sqlite)
    schema = table.schema()
    assert [field.name for field in schema.fields if field.required] == [
        column.name for column in MARKET_DATA.columns if not column.nullable
    ]
    assert schema.identifier_field_names() == set(MARKET_DATA.key)
    assert str(table.spec().fields[0].transform) == "year"
    assert [schema.find_column_name(field.source_id) for field in table.sort_order().fields] == list(MARKET_DATA.sort)
    assert table.name_mapping()
    assert table.format_version == 2
    assert table.properties["commit.retry.num-retries"] == "0"
    assert table.current_snapshot().summary["thermocline.run-id"] == "run 7"
    assert table.location() == local.location(table_location("market_data"))
    table.catalog.close()


def test_engines_that_read_by_path_find_the_newest_metadata(iceberg, local):
    head = ""
    for number in range(25):
        head = publish(iceberg, [put(local, number)], head=head)
    location = local.location(table_location("market_data"))
    table = StaticTable.from_metadata(location)
    assert str(table.current_snapshot().snapshot_id) == head
    assert len(rows_of(table)) == 25 * 6
    metadata = [path.rpartition("/")[2] for path in local.list(f"{table_location('market_data')}/metadata/")]
    assert len([name for name in metadata if name.endswith(".metadata.json")]) <= 2 * 21
    assert len(table.current_snapshot().manifests(table.io)) < 25


def metadata_of(objects):
    folder = f"{table_location('market_data')}/metadata/"
    return [path for path in objects.list(folder) if path.endswith(".metadata.json")]


def test_a_new_catalog_finds_the_newest_version_and_counts_on_from_it(iceberg, local, tmp_path):
    head = publish(iceberg, [put(local, 1)], head=publish(iceberg, [put(local, 0)]))
    other = IcebergCatalog(f"sqlite:///{tmp_path}/other.db", local)
    version = other.newest(MARKET_DATA)
    assert (version.head, version.is_registered, other.head(MARKET_DATA)) == (head, False, "")
    assert other.register(MARKET_DATA, version) == head
    publish(other, [put(local, 2)], head=head)
    assert len(rows_of(StaticTable.from_metadata(local.location(table_location("market_data"))))) == 3 * 6
    numbers = [path.rpartition("/")[2].partition("-")[0] for path in metadata_of(local) if "-" in path]
    assert sorted(numbers) == ["00000", "00001", "00002", "00003"]
    other.close()


def test_a_copy_stands_in_for_its_lost_original(iceberg, local, sqlite):
    head = publish(iceberg, [put(local, 0)])
    for path in metadata_of(local):
        if "-" in path:
            local.delete(path)
    with pytest.raises(BrokenTableError, match=r"no row is lost.*thermocline recover market_data"):
        iceberg.head(MARKET_DATA)
    assert iceberg.register(MARKET_DATA, iceberg.newest(MARKET_DATA)) == head
    assert publish(iceberg, [put(local, 1)], head=head) == iceberg.head(MARKET_DATA)
    table = table_of(sqlite)
    assert "/00002-" in table.metadata_location
    table.catalog.close()


def test_a_table_whose_files_of_a_snapshot_are_lost_is_as_broken(local, sqlite, tmp_path):
    """The snapshot before can still be read."""
    catalog = IcebergCatalog(sqlite, local)
    head = publish(catalog, [put(local, 0)])
    publish(catalog, [put(local, 1)], head=head)
    newest = table_of(sqlite)
    local.delete(newest.current_snapshot().manifest_list.removeprefix(local.location("x").removesuffix("x")))
    newest.catalog.close()
    read = (
        "import sys\nfrom pathlib import Path\nfrom thermocline.errors import BrokenTableError\n"
        "from thermocline.model.datasets import MARKET_DATA\nfrom thermocline.stores.iceberg import IcebergCatalog\n"
        "from thermocline.stores.objects_local import LocalObjects\n"
        "catalog = IcebergCatalog(sys.argv[1], LocalObjects(Path(sys.argv[2])))\n"
        "try:\n    catalog.paths(MARKET_DATA)\nexcept BrokenTableError:\n    print(catalog.newest(MARKET_DATA).head)\n"
    )
    # In a process of its own: PyIceberg keeps manifests that it has read.
    done = subprocess.run(
        [sys.executable, "-c", read, sqlite, str(tmp_path / "lake 'of' [mine]")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == head
    catalog.close()


def test_a_missing_object_is_not_published(iceberg, local):
    with pytest.raises(LakeError, match="is gone, so it can't be published"):
        publish(iceberg, [put(local, 0), object_path(day(1), 1)])
    assert iceberg.head(MARKET_DATA) == ""
    assert iceberg.paths(MARKET_DATA) == frozenset()


def test_an_object_that_is_no_parquet_is_not_published(iceberg, local):
    path = local.put(object_path(day(0), 1), BytesIO(b"PAR1 and then nothing")).path
    with pytest.raises(LakeError, match="nothing was published"):
        publish(iceberg, [path])
    assert iceberg.paths(MARKET_DATA) == frozenset()


def test_a_commit_that_loses_in_the_last_moment_is_not_put_on_top_of_the_winner(iceberg, local, sqlite, monkeypatch):
    """PyIceberg would retry; the winner's snapshot was compared with nothing."""
    paths = [put(local, number) for number in range(3)]
    head = publish(iceberg, paths[:1])
    other = IcebergCatalog(sqlite, local)
    original, won = iceberg_tables.described, []  # the last step before the commit

    def described(objects, table, new):
        found = list(original(objects, table, new))
        if not won:
            won.append("soon")
            won[0] = publish(other, paths[1:2], head=head)
        return found

    monkeypatch.setattr(iceberg_tables, "described", described)
    with pytest.raises(CatalogConflictError, match="moved meanwhile"):
        publish(iceberg, paths[2:], head=head)
    assert iceberg.head(MARKET_DATA) == won[0]
    assert iceberg.paths(MARKET_DATA) == set(paths[:2])
    other.close()


def test_a_second_process_sees_every_commit(iceberg, local, sqlite):
    other = IcebergCatalog(sqlite, local)
    head = publish(iceberg, [put(local, 0)])
    assert other.head(MARKET_DATA) == head
    later = publish(other, [put(local, 1)], head=head)
    assert iceberg.head(MARKET_DATA) == later
    other.close()


def test_a_closed_catalog_opens_again(iceberg, local):
    head = publish(iceberg, [put(local, 0)])
    iceberg.close()
    assert iceberg.head(MARKET_DATA) == head


def test_a_column_that_a_dataset_gained_is_added_to_its_table(iceberg, local, sqlite):
    head = publish(iceberg, [put(local, 0)])
    wider = replace(MARKET_DATA, columns=(*MARKET_DATA.columns, Column("turnover", Kind.MONEY)), schema_version=2)
    iceberg.publish(wider, added=[put(local, 1)], removed=(), expected_head=head, run_id="r")
    table = table_of(sqlite)
    found = table.scan().to_arrow()
    assert found["turnover"].null_count == found.num_rows == 12
    table.catalog.close()


def test_a_catalog_that_can_not_be_reached_is_an_error_without_its_password(local):
    catalog = IcebergCatalog("postgresql+psycopg://market:s3cret@127.0.0.1:1/nowhere", local)
    with pytest.raises(LakeError, match="correct THERMOCLINE_CATALOG_URL") as caught:
        catalog.head(MARKET_DATA)
    assert "s3cret" not in str(caught.value)
    catalog.close()


# ----------------------------------------------------------------------------------------------------------- snapshots


def test_old_snapshots_are_forgotten_but_never_the_newest(catalog, objects):
    assert catalog.snapshots(MARKET_DATA) == {}
    assert catalog.expire_snapshots(MARKET_DATA, NOW + timedelta(days=1)) == []
    heads = [""]
    for number in range(3):
        heads.append(publish(catalog, [put(objects, number)], head=heads[-1]))
    assert list(catalog.snapshots(MARKET_DATA)) == heads[1:]
    assert catalog.expire_snapshots(MARKET_DATA, NOW - timedelta(days=1)) == []
    assert sorted(catalog.expire_snapshots(MARKET_DATA, NOW + timedelta(days=1))) == sorted(heads[1:3])
    assert list(catalog.snapshots(MARKET_DATA)) == heads[3:] == [catalog.head(MARKET_DATA)]
    assert catalog.newest(MARKET_DATA).commits[-1][0] == heads[2]
    assert catalog.expire_snapshots(MARKET_DATA, NOW + timedelta(days=1)) == []
    assert len(catalog.paths(MARKET_DATA)) == 3
    last = publish(catalog, [put(objects, 3)], head=heads[-1])
    assert (catalog.head(MARKET_DATA), len(catalog.paths(MARKET_DATA))) == (last, 4)


# ------------------------------------------------------------------------------------------ metadata that nothing names


@pytest.fixture
def few_versions(monkeypatch):
    """Only two versions before the newest are kept."""
    monkeypatch.setattr(iceberg_tables, "_KEPT_METADATA", 2)
    monkeypatch.setitem(iceberg_tables._PROPERTIES, "write.metadata.previous-versions-max", "2")  # noqa: SLF001


def deleted_metadata(catalog, objects, before=NOW + timedelta(days=1)) -> list[str]:
    gone = [stored.path for stored in catalog.unnamed_metadata(MARKET_DATA, before)]
    for path in gone:
        objects.delete(path)
    return gone


@pytest.mark.usefixtures("few_versions")
def test_metadata_that_no_kept_version_names_can_go_and_kept_versions_stay_whole(catalog, objects):
    assert list(catalog.unnamed_metadata(MARKET_DATA, NOW + timedelta(days=1))) == []
    paths = [put(objects, number) for number in range(9)]
    head = ""
    for path in paths[:5]:
        head = publish(catalog, [path], head=head)
    lost = f"{table_location('market_data')}/metadata/00002-lost.metadata.json"
    strange = f"{table_location('market_data')}/metadata/README.md"
    for path in (lost, strange):
        objects.put(path, BytesIO(b"{}"))
    catalog.expire_snapshots(MARKET_DATA, NOW + timedelta(days=1))
    for number in range(5, 8):
        head = publish(catalog, [paths[number]], [paths[number - 5]], head=head)
    catalog.expire_snapshots(MARKET_DATA, NOW + timedelta(days=1))
    head = publish(catalog, paths[:1], head=head)
    head = publish(catalog, (), paths[:1], head=head)
    assert list(catalog.unnamed_metadata(MARKET_DATA, NOW - timedelta(days=1))) == []
    gone = deleted_metadata(catalog, objects)
    if isinstance(catalog, MemoryCatalog):
        assert gone == []
        return
    assert lost in gone
    assert strange not in gone
    assert any("/snap-" in path for path in gone)
    assert any("-m" in path for path in gone)
    assert deleted_metadata(catalog, objects) == []
    assert catalog.paths(MARKET_DATA) == set(paths[3:8])
    assert catalog.newest(MARKET_DATA).head == head
    publish(catalog, paths[8:], head=head)
    assert catalog.paths(MARKET_DATA) == set(paths[3:])


@pytest.mark.usefixtures("few_versions")
def test_an_engine_that_opened_a_version_that_is_kept_goes_on_reading(local, tmp_path):
    catalog = IcebergCatalog(f"sqlite:///{tmp_path}/catalog.db", local)
    head = publish(catalog, [put(local, 0)])
    head = publish(catalog, [put(local, 1)], head=head)
    folder = f"{table_location('market_data')}/metadata"
    with local.open(f"{folder}/version-hint.text") as stream:
        opened = StaticTable.from_metadata(local.location(f"{folder}/v{stream.read().decode()}.metadata.json"))
    publish(catalog, [put(local, 2)], head=head)
    catalog.expire_snapshots(MARKET_DATA, NOW + timedelta(days=1))
    deleted_metadata(catalog, local)
    assert len(opened.scan().to_arrow()) == 2 * 6
    catalog.close()


@pytest.mark.usefixtures("few_versions")
def test_nothing_goes_where_the_catalog_is_older_than_the_lake_or_the_lake_was_moved(local, tmp_path):
    catalog = IcebergCatalog(f"sqlite:///{tmp_path}/catalog.db", local)
    head = publish(catalog, [put(local, 0)])
    for number in range(1, 4):
        head = publish(catalog, [put(local, number)], head=head)
    newer = f"{table_location('market_data')}/metadata/00099-newer.metadata.json"
    local.put(newer, BytesIO(b"{}"))
    assert deleted_metadata(catalog, local) == []
    local.delete(newer)
    catalog.close()
    (tmp_path / "lake 'of' [mine]").rename(tmp_path / "moved")
    moved = IcebergCatalog(f"sqlite:///{tmp_path}/catalog.db", LocalObjects(tmp_path / "moved"))
    with suppress(LakeError):
        assert deleted_metadata(moved, LocalObjects(tmp_path / "moved")) == []
    moved.close()
