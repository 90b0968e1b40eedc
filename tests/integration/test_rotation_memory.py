"""A rotation takes as much memory as it was given, however large a day is."""

import sys
from datetime import timedelta

import pytest
from hot_acts import day, ingest, load, migrated, publish
from made_rows import DAY, NOON, bars
from peaks import told_by

from thermocline.faults import listening
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.lifecycle import Lifecycle
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot
from thermocline.stores.spool import DuckDBSpool
from thermocline.tasks.rotate import Rotation

SYMBOLS, MINUTES, TIMES = 150, 500, 16
ROTATE = """
import sys
from datetime import date
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.lifecycle import Lifecycle
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot
from thermocline.tasks.rotate import Rotation

lake, hot = open_lake(sys.argv[2], catalog_url="sqlite:///" + sys.argv[2] + ".db"), PostgresHot(sys.argv[1])
def rotate(as_of):
    lifecycle = Lifecycle(hot_days=1, hot_intervals={"1min": None}, rotation_memory_mib=128)
    done = Rotation(hot, lake, None, lifecycle, "rotate").run([MARKET_DATA], as_of=date.fromisoformat(as_of))
    assert not done.failed, done.failed
    return sum(moved.rows for moved in done.moved)

few, before = rotate(sys.argv[3]), peak()
many, after = rotate(sys.argv[4]), peak()
print(few, many, after - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
def test_a_day_of_more_rows_takes_hardly_more_memory(new_database, tmp_path):
    url = new_database("embedded")
    migrated(url)
    hot, lake = PostgresHot(url), open_lake(f"{tmp_path}/lake", catalog_url=f"sqlite:///{tmp_path}/lake.db")
    for number, count in enumerate((SYMBOLS, SYMBOLS * TIMES)):
        names = [f"S{number:05d}" for number in range(count)]
        [vintage] = publish(hot, lake, bars(day(number), names, MINUTES))
        load(hot, lake, vintage)
        # So that what is in the lake is read, merged and written anew.
        ingest(hot, bars(day(number), names[-1:], 10, close="5", ingested_at=NOON + timedelta(hours=1)))
    hot.close()
    given = url, f"{tmp_path}/lake", f"{DAY + timedelta(days=2)}", f"{DAY + timedelta(days=3)}"
    few, many, grown_bytes = told_by(ROTATE, *given)
    assert (few, many) == (SYMBOLS * MINUTES, TIMES * SYMBOLS * MINUTES)
    assert grown_bytes < 128 << 20


@pytest.mark.parametrize(("memory_mib", "at_once"), [(128, {1}), (256, {1, 2})])
def test_days_are_copied_at_once_where_there_is_memory_for_it(hot_url, tmp_path, memory_mib, at_once):
    migrated(hot_url)
    hot, lake = PostgresHot(hot_url), open_lake(f"{tmp_path}/lake", catalog_url=f"sqlite:///{tmp_path}/lake.db")
    days = [day(number) for number in range(6)]
    ingest(hot, *(bars(each, [f"S{number}" for number in range(100)], 100) for each in days), hot_days=days)
    lifecycle = Lifecycle(hot_days=1, hot_intervals={"1min": None}, rotation_memory_mib=memory_mib)
    rotation = Rotation(hot, lake, DuckDBSpool, lifecycle, "rotate")
    writing, seen = 0, set()

    def count(point):
        nonlocal writing
        writing += {"archive:before": 1, "archive:after": -1}.get(point, 0)
        seen.add(writing)

    with listening(count):
        done = rotation.run([MARKET_DATA], as_of=DAY + timedelta(days=30))
    assert ([moved.partition for moved in done.moved], done.failed) == (days, [])
    assert seen - {0} <= at_once
