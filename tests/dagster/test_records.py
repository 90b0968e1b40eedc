"""Dagster's own records in SQLite: files are open while days are logged, and closed afterwards."""

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster_world import FIRST, days

from assets.records import kept_open

LAST = FIRST + timedelta(days=4)


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    with dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as instance:
        yield instance


def logs(instance):
    """The write-ahead logs that are there: SQLite deletes one when the last connection to its file is closed."""
    folder = Path(instance.event_log_storage.path_for_shard("index")).parent
    return {log.name.removesuffix(".db-wal") for log in folder.glob("*.db-wal")}


@pytest.mark.parametrize("at_once", ["0", "500"])
def test_both_files_of_records_are_open_while_days_are_logged(world, monkeypatch, at_once):
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", at_once)
    store, seen = SqliteEventLogStorage.store_event, []

    def stored(self, event):
        store(self, event)
        seen.append((event.dagster_event and event.dagster_event.event_type_value, logs(world.instance)))

    monkeypatch.setattr(SqliteEventLogStorage, "store_event", stored)
    run = world.run("backfill", FIRST, LAST)
    logged = [there for kind, there in seen if kind == "ASSET_MATERIALIZATION"]
    assert logged == [{run.run_id, "index"}] * 5
    assert [there for kind, there in seen if kind == "STEP_SUCCESS"] == [set()]
    assert list(world.events("lake", "market_data", run=run)) == [str(day) for day in days(5)]


def test_what_was_logged_is_there_for_another_process_before_the_files_are_closed(world):
    run = world.run("backfill", FIRST)
    with kept_open(world.instance, run.run_id):
        world.instance.report_engine_event("said while open", run.dagster_run)
        with dg.DagsterInstance.local_temp(world.instance.root_directory) as another:
            said = [entry.message for entry in another.all_logs(run.run_id)]
    assert "said while open" in said


def test_records_without_a_file_are_none_of_its_business(instance):
    with kept_open(instance, "no-such-run"):
        assert "no-such-run" not in logs(instance)
    assert not Path(instance.event_log_storage.path_for_shard("no-such-run")).exists()
    with dg.DagsterInstance.ephemeral() as elsewhere, kept_open(elsewhere, "any"):
        pass
