"""A long answer is streamed in memory that does not grow with it, and too little memory is said to be that."""

import sys

import pytest
from hot_acts import day, load, migrated, publish
from made_rows import bars
from peaks import told_by

from thermocline.errors import LakeError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.query import Query
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot
from thermocline.tasks.query import query

SYMBOLS, MINUTES, DAYS, HOT_FROM = 200, 500, 24, 12
TAKE = """
import sys
from datetime import UTC, datetime
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.query import Query
from thermocline.stores.open import open_lake
from thermocline.stores.postgres import PostgresHot
from thermocline.tasks.query import query

lake = open_lake(sys.argv[2], catalog_url="", memory_limit_mib=64, threads=2)
hot = PostgresHot(sys.argv[1])
def take(**asked):
    rows = size = 0
    with query(hot, lake, Query(MARKET_DATA, **asked)) as reader:
        for batch in reader:
            rows, size = rows + batch.num_rows, size + batch.nbytes
    return rows, size

def instant(day):
    return datetime.fromisoformat(day).replace(tzinfo=UTC)

_, size = take(start=instant(sys.argv[3]), end=instant(sys.argv[4]))
before = peak()
rows, whole = take()
print(rows, whole - size, peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
def test_an_answer_of_more_days_takes_no_more_memory(new_database, tmp_path):
    url = new_database("embedded")
    migrated(url)
    hot, lake = PostgresHot(url), open_lake(f"{tmp_path}/lake", catalog_url="")
    names = [f"S{number:05d}" for number in range(SYMBOLS)]
    for number in range(DAYS):
        [vintage] = publish(hot, lake, bars(day(number), names, MINUTES))
        if number >= HOT_FROM:
            load(hot, lake, vintage)
    hot.close()
    given = url, f"{tmp_path}/lake", f"{day(HOT_FROM - 3).day}", f"{day(HOT_FROM + 3).day}"
    rows, more_bytes, grown_bytes = told_by(TAKE, *given)
    assert rows == DAYS * SYMBOLS * MINUTES
    assert more_bytes > 200 << 20
    assert grown_bytes < more_bytes / 3


def test_too_little_memory_for_duckdb_is_said_and_the_next_answer_comes(hot_url, tmp_path):
    migrated(hot_url)
    hot = PostgresHot(hot_url)
    publish(hot, lake := open_lake(f"{tmp_path}/lake", catalog_url=""), bars(day(), [f"S{n}" for n in range(500)], 400))
    with open_lake(f"{tmp_path}/lake", catalog_url="", memory_limit_mib=8, threads=1) as small:
        with pytest.raises(LakeError, match=r"raise storage\.duckdb\.memory_limit_mib"):
            take(hot, small)
        assert take(hot, small, symbols=("S7",)).num_rows == 400
    assert take(hot, lake).num_rows == 200_000


def take(hot, lake, **asked):
    with query(hot, lake, Query(MARKET_DATA, **asked)) as reader:
        return reader.read_all()
