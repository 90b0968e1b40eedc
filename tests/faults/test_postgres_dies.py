"""PostgreSQL stops at once, its connections break in the middle of a COPY, or a disk is full: its own or the lake's."""

import os
import pwd
import resource
import signal
import subprocess
import time
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from cut_wire import wire_to
from hot_acts import answer, assert_answers, day, hot_set, ingest, load, publish
from made_rows import DAY, NOON, bars

import thermocline
from thermocline.errors import HotStoreError, LakeError
from thermocline.faults import listening
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS
from thermocline.ports import Fetched, FetchRequest
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot
from thermocline.stores.spool import DuckDBSpool
from thermocline.tasks.backfill import Backfill
from thermocline.tasks.load import rehydrate
from thermocline.tasks.rotate import Rotation

AS_OF = DAY + timedelta(days=4000)
MANY = [f"S{number:05d}" for number in range(4000)]


def night(hot, lake):
    """Rotate whatever is due; what moved, and the reasons of what did not."""
    done = Rotation(hot, lake, DuckDBSpool, Lifecycle(hot_days=30), "run").run([MARKET_DATA], as_of=AS_OF)
    return {moved.partition for moved in done.moved}, {failed.partition: failed.reason for failed in done.failed}


@contextmanager
def at(point, act):
    """Do something once, when a point is reached; it must be."""
    seen = []

    def listen(now):
        if now == point and not seen:
            seen.append(now)
            act()

    with listening(listen):
        yield
    assert seen, f"{point} was never reached"


# ------------------------------------------------------------------------------------------------- the server goes down


@pytest.mark.timeout(300)
def test_an_immediate_stop_at_any_point_loses_nothing_and_the_next_run_goes_on(home):
    """One home lives through all of it; each time the next use of it starts the server again, which recovers."""
    expected = []

    def stop():
        pid = int((home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGQUIT)  # what `pg_ctl stop -m immediate` sends
        deadline = time.monotonic() + 30
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def dies(point, act):
        with (
            thermocline.open(home=home) as tc,
            at(point, stop),
            pytest.raises(HotStoreError, match=r"went away|reached|can't be read"),
        ):
            act(tc)
        with thermocline.open(home=home) as tc:
            assert_answers(tc.hot, tc.lake, *expected)

    def rotated(tc):
        moved, failed = night(tc.hot, tc.lake)
        if failed:
            raise HotStoreError(next(iter(failed.values())))
        assert moved

    points = ["archive:before", "commit:before", "commit:after", "cut-over:published", "cut-over:committing"]
    for number, point in enumerate(points):
        partition = day(number)
        with thermocline.open(home=home) as tc:
            ingest(tc.hot, bars(partition), hot_days=[partition])
        expected.append(bars(partition))
        dies(point, rotated)
        with thermocline.open(home=home) as tc:
            assert night(tc.hot, tc.lake) == ({partition}, {})
            assert_answers(tc.hot, tc.lake, *expected)

    def hydrated(tc):
        rehydrate(tc.hot, tc.lake, MARKET_DATA, ALL_DAYS, until=DAY, run_id="run")

    for point in ("fill:copied", "load:committing"):
        dies(point, hydrated)
    with thermocline.open(home=home) as tc:
        hydrated(tc)
        assert hot_set(tc.hot) == {day(number) for number in range(len(points))}
        assert_answers(tc.hot, tc.lake, *expected)

    dies("ingest:committing", lambda tc: ingest(tc.hot, bars(day(0), ["IBM"]), bars(day(50), ["IBM"])))
    new = bars(day(60), ["IBM"])
    dies("publish:committing", lambda tc: backfill(tc.hot, tc.lake, new))
    with thermocline.open(home=home) as tc:
        backfill(tc.hot, tc.lake, new)
        assert_answers(tc.hot, tc.lake, *expected, new)
        assert night(tc.hot, tc.lake)[1] == {}
        assert_answers(tc.hot, tc.lake, *expected, new)


class OneDay:
    """A source of one table."""

    name = "made"

    def __init__(self, batch):
        """Take a day's rows."""
        self.batch = batch

    def fetch(self, _: FetchRequest):
        """Yield them."""
        yield Fetched(pa.Table.from_batches([self.batch]), "made")


def backfill(hot, lake, batch):
    begun = Backfill(OneDay(batch), hot, lake, DuckDBSpool, Lifecycle(), as_of=AS_OF, now=NOON, run_id="run")
    return begun.run(FetchRequest(MARKET_DATA, ALL_DAYS))


# --------------------------------------------------------------------------------------------------- the wire is cut


def test_a_wire_that_is_cut_in_the_middle_of_a_copy_changes_nothing(new_database, lake):
    url = new_database("external")
    direct, many = PostgresHot(url), bars(day(0), MANY, 1)
    [vintage] = publish(direct, lake, bars(day(1), MANY, 1))
    with wire_to(url) as wire:
        distant = PostgresHot(wire.url)
        assert distant.hot_days(MARKET_DATA) == []
        distant.close()  # else it would go on with a connection that was made before

        wire.to_server_bytes = 200_000
        with pytest.raises(HotStoreError, match="went away"):
            ingest(distant, many, hot_days=[day(0)])
        assert_answers(direct, lake, bars(day(1), MANY, 1))
        ingest(distant, many, hot_days=[day(0)])
        distant.close()

        wire.to_server_bytes = 200_000
        with pytest.raises(HotStoreError, match="went away"):
            load(distant, lake, vintage)
        assert hot_set(direct) == {day(0)}
        load(distant, lake, vintage)
        assert hot_set(direct) == {day(0), day(1)}
        distant.close()

        wire.to_client_bytes = 200_000
        moved, failed = night(distant, lake)
        assert moved == set()
        assert set(failed) == {day(0), day(1)}
        assert "went away" in failed[day(0)]
        assert_answers(direct, lake, many, bars(day(1), MANY, 1))
        distant.close()

        wire.to_client_bytes = 200_000
        with pytest.raises(HotStoreError, match="went away"):
            answer(distant, lake)
        assert wire.cuts == 4
        assert night(distant, lake) == ({day(0), day(1)}, {})
    assert_answers(direct, lake, many, bars(day(1), MANY, 1))


# ------------------------------------------------------------------------------------------------------- a full disk


@contextmanager
def no_room_for_large_files(folder):
    """Files of more than 8 KiB can't be written, as by a quota; works for everybody."""
    del folder
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def full(folder):
    """A real file system without a free byte."""
    filler = folder / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb") as stream:  # noqa: PT012
        while True:
            stream.write(b"0" * 65536)
            stream.flush()
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def small_disk(folder, size="4m", owner=0):
    """A file system of its own in a folder; skips where this user may not mount."""
    options = f"size={size},mode=0700,uid={owner}"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"this user may not mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("kind", ["a quota", "a full disk"])
def test_a_lake_that_is_full_stops_what_writes_and_loses_nothing(new_database, tmp_path, kind):
    url = new_database("embedded")
    folder = tmp_path / "disk"
    folder.mkdir()
    catalog = url.replace("postgresql://", "postgresql+psycopg://") + "&options=-csearch_path%3Dthermocline"
    hot = PostgresHot(url)
    many, other = bars(day(0), MANY, 1), bars(day(3), MANY, 1)
    ingest(hot, many, hot_days=[day(0)])
    with (
        small_disk(folder) if kind == "a full disk" else nullcontext(),
        open_lake(str(folder / "lake"), catalog_url=catalog, threads=2) as lake,
    ):
        with full(folder) if kind == "a full disk" else no_room_for_large_files(folder):
            moved, failed = night(hot, lake)
            assert moved == set()
            assert "can't write" in failed[day(0)]
            with pytest.raises(LakeError):
                backfill(hot, lake, other)
        assert_answers(hot, lake, many)
        assert night(hot, lake) == ({day(0)}, {})
        backfill(hot, lake, other)
        assert hot_set(hot) == set()
        assert_answers(hot, lake, many, other)


def test_a_postgresql_whose_disk_is_full_says_so_and_loses_nothing(new_database, session_folder, lake):
    url = new_database("external")
    folder = session_folder / "tablespace"
    folder.mkdir()
    many = bars(day(0), MANY, 3)
    with psycopg.connect(url, autocommit=True) as connection:
        [[cluster]] = connection.execute("SHOW data_directory").fetchall()
        owner = Path(cluster).stat().st_uid
        assert pwd.getpwuid(owner)
        with small_disk(folder, size="1m", owner=owner):
            connection.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
            name = connection.info.dbname
            connection.execute(f"ALTER DATABASE {name} SET default_tablespace = small")
            hot = PostgresHot(url)
            with pytest.raises(HotStoreError, match=r"disk of PostgreSQL .* is full .*nothing was changed"):
                ingest(hot, many, hot_days=[day(0)])
            assert_answers(hot, lake)
            assert hot_set(hot) == set()
            connection.execute(f"ALTER DATABASE {name} RESET default_tablespace")
            hot.close()  # the setting is that of sessions which begin from now on
            ingest(hot, many, hot_days=[day(0)])
            assert_answers(hot, lake, many)
            assert night(hot, lake) == ({day(0)}, {})
            assert_answers(hot, lake, many)
            connection.execute("DROP TABLESPACE small")
