"""Drop folders: each whole file is taken in once, whatever is killed, and bad ones are put by with the reason."""

import os
import time
from datetime import date

import dagster as dg
import pytest
from dagster_world import FIVE_DAYS_HOT

from pipelines import sensors
from thermocline.errors import LakeError
from thermocline.settings import load_settings
from thermocline.sources.drops import LocalDrops

HEADER = "date,symbol,open,high,low,close,volume\n"
LONG_AGO = 1_700_000_000


@pytest.fixture
def folder(home):
    folder = home / "drop"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def world(make_world, home, folder):  # noqa: ARG001  # the folder is there when the world begins
    (home / "thermocline.yaml").write_text("drops: {broker: {folder: drop, dataset: market_data}}\n")
    world = make_world(settings=load_settings(home, environ=FIVE_DAYS_HOT))
    world.cursor = None
    return world


def drop(folder, name, day=1, body=None, changed=LONG_AGO):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(HEADER + (f"2024-01-{day:02d},AAPL,1,2,1,2,5\n" if body is None else body))
    os.utime(path, (changed, changed))
    return path


def look(world):
    """A tick of the sensor: the runs that it asks for."""
    ticked = tick(world)
    world.cursor = ticked.cursor
    return list(ticked.run_requests)


def tick(world):
    context = dg.build_sensor_context(
        instance=world.instance,
        cursor=world.cursor,
        repository_def=world.defs.get_repository_def(),
        resources={"drops": LocalDrops(world.settings.drops)},
    )
    return world.defs.resolve_sensor_def("drop_folders").evaluate_tick(context)


def take(world, request, *, ok=True):
    job = world.defs.resolve_job_def("take_dropped_file")
    run = job.execute_in_process(
        run_config=request.run_config, tags=request.tags, instance=world.instance, raise_on_error=False
    )
    assert run.success is ok, [event.message for event in run.all_events if event.is_failure]
    return run


def whole(world):
    """The runs that are asked for once files have lain there for two looks."""
    assert look(world) == []
    return look(world)


def days_there(world):
    return [day for _, day, _ in world.rows()]


def test_each_file_is_taken_in_once_and_put_away(world, folder):
    drop(folder, "b.csv", 2)
    drop(folder, "sub/a.csv", 1, changed=LONG_AGO + 5)
    drop(folder, ".hidden.csv")
    drop(folder, "c.csv.part")
    requests = whole(world)
    assert [request.run_config["ops"]["dropped_files"]["config"]["name"] for request in requests] == [
        "b.csv",
        "sub/a.csv",
    ]
    assert look(world) == [], "a file was asked for twice"
    for request in requests:
        run = take(world, request)
    assert days_there(world) == [date(2024, 1, 1), date(2024, 1, 2)]
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.csv")) == [
        ".hidden.csv",
        "done/b.csv",
        "done/sub/a.csv",
    ]
    assert look(world) == []
    (materialised,) = run.asset_materializations_for_node("dropped_files")[-1:]
    assert materialised.metadata["now at"].value == str(folder / "done" / "sub" / "a.csv")
    landed = [event.partition for event in run.asset_materializations_for_node("dropped_files") if event.partition]
    assert landed == ["2024-01-01"]


def test_a_file_that_is_still_written_waits(world, folder):
    path = drop(folder, "a.csv")
    assert look(world) == []
    with path.open("a") as file:
        file.write("2024-01-02,AAPL,1,2,1,2,5\n")
    assert look(world) == []
    assert look(world) == [], "it was written to less than ten seconds ago"
    os.utime(path, (LONG_AGO + 1, LONG_AGO + 1))
    assert look(world) == []
    (request,) = look(world)
    with path.open("a") as file:
        file.write("2024-01-03,AAPL,1,2,1,2,5\n")
    take(world, request)
    assert (days_there(world), path.exists()) == ([], True)


def test_a_bad_file_is_put_by_with_the_reason_and_stops_no_other(world, folder):
    drop(folder, "bad.csv", body="not,enough\n")
    drop(folder, "good.csv")
    bad, good = whole(world)
    run = take(world, bad, ok=False)
    take(world, good)
    (failure,) = run.get_step_failure_events()
    assert "bad.csv can't be taken in" in str(failure.step_failure_data.error)
    assert "bad.csv" in (folder / "failed" / "bad.csv.reason.txt").read_text() or (
        "may go in" in (folder / "failed" / "bad.csv.reason.txt").read_text()
    )
    assert (days_there(world), look(world)) == ([date(2024, 1, 1)], [])


def test_a_file_whose_run_died_is_asked_for_again_later_and_not_doubled(world, folder, monkeypatch):
    path = drop(folder, "a.csv")
    (request,) = whole(world)

    def killed(*_):
        msg = "the disk is full"
        raise LakeError(msg)

    monkeypatch.setattr("thermocline.sources.drops.LocalDropFolder.done", killed)
    take(world, request, ok=False)
    monkeypatch.undo()
    assert (path.exists(), len(days_there(world))) == (True, 1)
    assert look(world) == []
    now = time.time()
    monkeypatch.setattr(sensors.time, "time", lambda: now + 601)
    (again,) = look(world)
    assert again.run_key != request.run_key
    take(world, again)
    assert (path.exists(), len(days_there(world))) == (False, 1)


def test_the_same_name_can_be_dropped_again(world, folder):
    drop(folder, "a.csv", 1)
    take(world, *whole(world))
    drop(folder, "a.csv", 2)
    (request,) = look(world) or look(world)
    take(world, request)
    assert days_there(world) == [date(2024, 1, 1), date(2024, 1, 2)]
    assert len(list((folder / "done").iterdir())) == 2


def test_a_folder_that_is_missing_is_said(world, folder):
    folder.rmdir()
    assert "does not exist" in tick(world).skip_message


def test_nothing_reads_a_file_outside_of_its_folder(world, folder):
    (folder.parent / "secret.csv").write_text(HEADER)
    run = world.run("take_dropped_file", config={"drop": "broker", "name": "../secret.csv"})
    (materialised,) = run.asset_materializations_for_node("dropped_files")
    assert "is not there any more" in materialised.metadata["left alone"].value
    assert world.rows() == []
