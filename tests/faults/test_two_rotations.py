"""Two rotations at once: processes that take turns, and one that has lost its lock without knowing it."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from hot_acts import answer, assert_answers, day, hot_set, ingest
from made_rows import DAY, bars

import thermocline
from thermocline.errors import LockTimeoutError
from thermocline.faults import listening
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS
from thermocline.stores import embedded
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot
from thermocline.stores.spool import DuckDBSpool
from thermocline.tasks.rotate import Rotation

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
AS_OF = DAY + timedelta(days=400)
DAYS = [day(number) for number in range(3)]
ROWS = [bars(partition) for partition in DAYS]


def acts(url, name="rotate"):
    """The days of the audit log's acts of that name, in order."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT day FROM thermocline_audit.log WHERE name = %s AND day IS NOT NULL ORDER BY day", [name]
        )
        return [found_day for (found_day,) in found]


# --------------------------------------------------------------------------------------------------------- processes


@pytest.mark.timeout(300)
@pytest.mark.parametrize("machines", ["one home", "two machines"])
def test_processes_that_rotate_at_once_move_every_day_once(home, new_database, tmp_path, monkeypatch, machines):
    homes = [home, home] if machines == "one home" else [home, home.with_name("other")]
    dagster_home = tmp_path / "dagster"
    dagster_home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", dagster_home)
    url = embedded.start(home) if machines == "one home" else new_database("external")
    if machines == "two machines":
        monkeypatch.setenv("THERMOCLINE_HOT_URL", url)
        monkeypatch.setenv("THERMOCLINE_LAKE_URL", (home.parent / "lake").as_uri())
    environ = os.environ | {"DAGSTER_HOME": str(dagster_home), "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"}
    hot = PostgresHot(url)
    ingest(hot, *ROWS, hot_days=DAYS)
    rotate = ["thermocline", "rotate", "--as-of", str(AS_OF), "--json", "--no-vacuum"]
    job = ["dagster", "job", "execute", "-m", "pipelines.definitions", "-j", "nightly_rotation", "--tags"]
    commands = [
        ([*job, json.dumps({"dagster/partition": str(AS_OF)})], homes[0]),
        (rotate, homes[0]),
        (rotate, homes[1]),
    ]
    running = []
    with hot.writer(MARKET_DATA):
        for number, (command, its_home) in enumerate(commands, 1):
            its = environ | {"THERMOCLINE_HOME": str(its_home)}
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            running.append(subprocess.Popen(command, cwd=ROOT, env=its, text=True, **pipes))
            wait_until_waiting(url, number)
    said = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    assert acts(url) == [partition.day for partition in DAYS]
    with thermocline.open(home=homes[1]) as tc:
        assert_answers(tc.hot, tc.lake, *ROWS)
        assert tc.lake.paths(MARKET_DATA) == {vintage.receipt.path for vintage in hot.live(MARKET_DATA, ALL_DAYS)}
    moved = [len(json.loads(out)["partitions"]) for out, _ in said[1:]]
    assert sorted(moved) in ([0, 0], [0, 3])


def wait_until_waiting(url, count):
    """Wait until so many processes ask for the dataset's lock again and again."""
    deadline = time.monotonic() + 90
    asking = """SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND query LIKE 'SELECT pg_try_advisory_lock%'
                  AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted)"""
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(asking).fetchone()[0] < count:
            assert time.monotonic() < deadline, "a process never came to ask for the lock"
            time.sleep(0.1)


# ----------------------------------------------------------------------------------------------------------- fencing


@pytest.fixture
def world(new_database, tmp_path):
    """A database with three hot days, and what opens one lake again and again."""
    url = new_database("embedded")
    ingest(PostgresHot(url), *ROWS, hot_days=DAYS)

    def opened():
        return open_lake(str(tmp_path / "lake"), catalog_url=f"sqlite:///{tmp_path}/catalog.db", threads=2)

    return url, opened


def night(url, opened):
    """A rotation with connections of its own; what moved, and the reasons of what did not."""
    with opened() as lake:
        rotation = Rotation(PostgresHot(url), lake, DuckDBSpool, Lifecycle(hot_days=30), f"run{time.time_ns()}")
        done = rotation.run([MARKET_DATA], as_of=AS_OF)
        return [moved.partition for moved in done.moved], {f.partition: f.reason for f in done.failed}


def lose_lock(url, modes=("ExclusiveLock", "ShareLock")):
    """End the session that holds the dataset's lock, and those that share in it, as broken connections would."""
    with psycopg.connect(url, autocommit=True) as connection:
        ended = connection.execute(
            """SELECT pg_terminate_backend(pid, 5000) FROM pg_locks
               WHERE locktype = 'advisory' AND granted AND mode = ANY(%s)
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())""",
            (list(modes),),
        ).fetchall()
        assert set(ended) == {(True,)}
        return len(ended)


def check(url, opened):
    """Every row once, everything cold, the table as the ledger, each day moved once, nothing left to do."""
    hot = PostgresHot(url)
    with opened() as lake:
        assert_answers(hot, lake, *ROWS)
        assert lake.paths(MARKET_DATA) == {vintage.receipt.path for vintage in hot.live(MARKET_DATA, ALL_DAYS)}
    assert hot_set(hot) == set()
    assert acts(url) == [partition.day for partition in DAYS]
    assert night(url, opened) == ([], {})


@pytest.mark.parametrize(
    "point",
    [
        "archive:before",
        "upload:after",
        "verify:after",
        "journal:before",
        "commit:before",
        "commit:after",
        "cut-over:before",
        "cut-over:proved",
        "cut-over:published",
        "detach:after",
        "cut-over:committing",
    ],
)
def test_a_rotation_that_lost_its_lock_commits_nothing_after_another_took_over(world, point):
    url, opened = world
    by_other = []

    def listen(now):
        if now == point and not by_other:
            by_other.append(None)
            lose_lock(url)
            by_other.append(night(url, opened))

    with listening(listen):
        moved, failed = night(url, opened)
    assert by_other, f"{point} was never reached"
    assert by_other[1] == (DAYS, {})
    assert moved == []
    assert set(failed) == set(DAYS)
    assert all("went away" in reason or "run it again" in reason for reason in failed.values()), failed
    check(url, opened)


@pytest.mark.parametrize("point", ["archive:before", "upload:after", "verify:after"])
def test_while_others_share_in_a_lock_that_is_lost_nobody_takes_over_and_nothing_is_committed(world, point):
    url, opened = world
    lost = []

    def listen(now):
        if now == point and not lost:
            lost.append(point)  # another day may come to it, too
            lost.append(lose_lock(url, ["ExclusiveLock"]))
            with pytest.raises(LockTimeoutError), PostgresHot(url).writer(MARKET_DATA, wait_seconds=0):
                pass

    with listening(listen):
        moved, failed = night(url, opened)
    assert lost == [point, 1]
    assert moved == []
    assert set(failed) == set(DAYS)
    assert night(url, opened) == (DAYS, {})
    check(url, opened)


def test_what_a_rotation_without_its_lock_publishes_behind_another_s_back_is_settled_by_the_other(world):
    """The other has read the table's head; then the head moves; then the other commits."""
    url, opened = world
    may_publish, first, reached = threading.Event(), threading.get_ident(), []
    stopped = threading.Event()
    with ThreadPoolExecutor() as threads:

        def listen(now):
            if now != "commit:before" or len(reached) > 1:
                return
            reached.append(threading.get_ident())
            if reached[-1] != first:
                stopped.set()
                may_publish.wait(60)
            else:
                may_publish.set()
                zombie.result(60)

        with listening(listen):
            zombie = threads.submit(night, url, opened)
            assert stopped.wait(60)
            lose_lock(url)
            assert night(url, opened) == (DAYS, {})
    assert len(reached) == 2
    moved, failed = zombie.result()
    assert moved == []
    assert set(failed) == set(DAYS)
    check(url, opened)


def test_a_dead_rotation_s_publication_is_settled_before_the_other_reads_the_head(world):
    url, opened = world
    seen = []

    def listen(now):
        if now == "commit:after" and not seen:
            seen.append(now)
            lose_lock(url)
            with opened() as lake:
                assert len(lake.paths(MARKET_DATA)) == 3
                # Readers go by the ledger: the rows are hot still.
                assert answer(PostgresHot(url), lake).num_rows == sum(batch.num_rows for batch in ROWS)

    with listening(listen):
        assert night(url, opened)[0] == []
    assert seen
    assert night(url, opened) == (DAYS, {})
    check(url, opened)
