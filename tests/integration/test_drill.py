"""Restore drills on real objects and a real PostgreSQL: every way in which a copy can be wrong is found and named."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from hot_acts import publish
from made_rows import DAY, bars

from thermocline import faults
from thermocline.cli import main
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS, DayRange, Partition
from thermocline.ports import AuditQuery
from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot
from thermocline.stores.postgres.connection import connect
from thermocline.stores.postgres.scratch import clear
from thermocline.tasks.drill import drill

PARTITIONS = [Partition("market_data", "1min", DAY + timedelta(days=number)) for number in range(6)]


@pytest.fixture
def url(new_database):
    return new_database("embedded")


@pytest.fixture
def lake(tmp_path):
    with open_lake(str(tmp_path / "lake"), catalog_url=f"sqlite:///{tmp_path}/catalog.db", threads=2) as lake:
        yield lake


def run(hot, lake, **asked):
    settings = {"days": ALL_DAYS, "count": 99, "seed": 1, "run_id": "drill"} | asked
    return drill(hot, lake, [MARKET_DATA], settings.pop("days"), **settings)


def scratch_tables(url):
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'thermocline_scratch'")
        return [name for (name,) in found]


def test_each_partition_is_as_likely_as_another_and_the_seed_decides(lake):
    hot = MemoryHot()
    publish(hot, lake, *map(bars, PARTITIONS))
    picked = Counter(
        rehearsal.partition for seed in range(300) for rehearsal in run(hot, lake, count=1, seed=seed).rehearsals
    )
    assert picked.keys() == set(PARTITIONS)
    assert all(25 < times < 80 for times in picked.values())
    same = [run(hot, lake, count=3, seed=5).rehearsals for _ in range(2)]
    assert [each.partition for each in same[0]] == [each.partition for each in same[1]]
    two = DayRange(DAY, DAY + timedelta(days=2))
    assert run(hot, lake, days=two).cold == 2
    assert run(hot, lake, intervals=["1hour"]).document()["partitions"] == []


def missing(path):
    path.unlink()


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def another_day(path):
    path.write_bytes(next(other for other in path.parents[1].rglob("*.parquet") if other != path).read_bytes())


def changed(path):
    rewrite(path, lambda rows: [{**rows[0], "volume": 1.0}, *rows[1:]])


def doubled(path):
    rewrite(path, lambda rows: [rows[0], rows[0], *rows[2:]])


def nothing_for_null(path):
    rewrite(path, lambda rows: [{**rows[0], "vwap": 0}, *rows[1:]])


def rewrite(path, change):
    schema = pa.parquet.read_schema(path)
    table = pa.Table.from_pylist(change(pa.parquet.read_table(path, partitioning=None).to_pylist()), schema)
    pa.parquet.write_table(table, path)


@pytest.mark.parametrize("damage", [missing, truncated, empty, another_day, changed, doubled, nothing_for_null])
def test_a_copy_that_is_not_what_it_was_is_named_and_the_others_come_back(url, lake, damage):
    hot = PostgresHot(url)
    vintages = publish(hot, lake, *map(bars, PARTITIONS[:3]))
    lost = vintages[1].receipt
    damage(Path(lake.objects.location(lost.path)))
    done = run(hot, lake)
    assert [each.ok for each in done.rehearsals] == [True, False, True]
    [failed] = done.failed
    assert (failed.partition, failed.path) == (lost.partition, lost.path)
    assert done.document()["failed"] == 1
    lines = hot.audit(AuditQuery(names=["drill"], run_id="drill"))
    assert [(line.partition, line.detail["outcome"]) for line in reversed(lines)] == [
        (PARTITIONS[0], "restored"),
        (PARTITIONS[1], "failed"),
        (PARTITIONS[2], "restored"),
    ]
    assert lines[1].detail["differences"]
    assert scratch_tables(url) == []


KILLED = """
import os, signal, sys
from thermocline import faults
from thermocline.model.partition import Partition
from thermocline.stores.postgres import PostgresHot
from made_rows import bars

def die(point):
    if point == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

partition = Partition.parse("market_data/1min/2024-01-15")
with faults.listening(die):
    PostgresHot(sys.argv[1]).rehearse(partition, [bars(partition)])
"""


@pytest.mark.parametrize("point", ["rehearse:before", "rehearse:loaded", "rehearse:after"])
def test_what_a_killed_drill_leaves_is_cleared_by_the_next(url, lake, point):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    died = subprocess.run([sys.executable, "-c", KILLED, url, point], env=environment, check=False, timeout=60)
    assert died.returncode == -signal.SIGKILL
    assert len(scratch_tables(url)) == (point == "rehearse:loaded")
    hot = PostgresHot(url)
    publish(hot, lake, bars(PARTITIONS[0]))
    # The server may take a moment to notice the death; until it has, the table is nobody else's to drop.
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_sleep(0.2)")
    assert run(hot, lake).failed == []
    assert scratch_tables(url) == []


def test_a_drill_leaves_the_table_of_another_that_is_at_work(url):
    hot = PostgresHot(url)

    def slowly():
        yield bars(PARTITIONS[0])

    seen = []

    def look(point):
        if point == "rehearse:loaded" and not seen:
            seen.append(scratch_tables(url))
            assert hot.rehearse(PARTITIONS[1], [bars(PARTITIONS[1])]).rows == 6
            seen.append(scratch_tables(url))

    with faults.listening(look):
        assert hot.rehearse(PARTITIONS[0], slowly()).rows == 6
    assert seen[0] == seen[1]
    assert len(seen[0]) == 1
    assert scratch_tables(url) == []


def test_only_what_a_drill_made_is_cleared(url):
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE thermocline_scratch.mine (id int)")
        connection.execute("CREATE TABLE thermocline_scratch.rehearsal_old (id int)")
    connection = connect(url)
    try:
        assert clear(connection) == ["rehearsal_old"]
    finally:
        connection.close()
    assert scratch_tables(url) == ["mine"]


def answer(*arguments, code=0):
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout), result.stderr


def test_the_command_is_loud_when_a_copy_is_lost_and_the_log_remembers(home):
    assert answer("drill")[0]["partitions"] == []
    answer("backfill", "market_data", "--source", "sample", "--start", "2013-01-02", "--end", "2013-01-09")
    done, _ = answer("drill", "market_data", "--count", "3", "--seed", "7")
    assert (done["cold"], done["restored"], done["failed"], done["seed"]) == (5, 3, 0, 7)
    assert len(answer("drill")[0]["partitions"]) == 5
    lost = next((home / "lake" / "cold_storage").rglob("*20130103.parquet"))
    lost.unlink()
    done, said = answer("drill", code=1)
    assert (done["restored"], done["failed"]) == (4, 1)
    assert "Error: market_data/1day/2013-01-03" in said
    lines = answer("audit", "market_data", "--act", "drill", "--run-id", done["run_id"])[0]["acts"]
    assert Counter(line["detail"]["outcome"] for line in lines) == {"restored": 4, "failed": 1}
    assert [line["act"] for line in answer("audit", "--limit", "14")[0]["acts"]] == ["drill"] * 13 + ["publish"]
    assert answer("audit", "news")[0]["acts"] == []
    assert answer("audit", "--end", "2020-01-01")[0]["acts"] == []
    shown = CliRunner().invoke(main, ["audit", "--act", "publish"]).stdout
    assert "market_data" in shown
    assert "1 act." in shown
    guard, _ = answer("migrate")
    assert guard["audit"]["owner"]
    assert "superuser" in " ".join(guard["audit"]["gaps"])
    assert "error" in answer("migrate", "--audit-owner", "thermocline_auditor", code=1)[0]
