"""What is known from one look to the next is never stale: each of its facts is changed between two looks."""

from contextlib import closing
from datetime import timedelta

import psycopg
import pytest
from hot_acts import answer, assert_answers, day, fold, ingest, load, publish, rotate
from made_rows import NOON, as_sorted_lists, bars

from thermocline.errors import HotStoreError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS, DayRange, midnight
from thermocline.stores.postgres import PostgresHot, reader

LATER = NOON + timedelta(hours=1)


SPANS = [ALL_DAYS, DayRange(day().day, day(1).day), DayRange(day(5).day, day(6).day)]


def seen(hot, lake, spans=SPANS):
    """All that looks at several spans of days see, and the answers."""
    found = []
    for days in spans:
        with hot.snapshot([MARKET_DATA], days) as look:
            late = {partition for partition in look.late if partition.day in days}
            found.append((look.hot, list(look.live), late))
        bounds = {} if days == ALL_DAYS else {"start": midnight(days.start), "end": midnight(days.end)}
        asked = ({}, {"intervals": ("1min",), "symbols": ("AAPL",), "limit": 1})
        found += [as_sorted_lists(answer(hot, lake, **bounds, **more), MARKET_DATA) for more in asked]
    return found


def run(url, *statements):
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement)


def undone(hot):
    with hot.writer(MARKET_DATA) as writer:
        writer.undo(hot.detached(MARKET_DATA)[-1], run_id="run")


def expired(hot):
    old = [vintage for vintage in hot.vintages(MARKET_DATA, ALL_DAYS) if vintage.superseded_at]
    with hot.writer(MARKET_DATA) as writer:
        writer.expire(old, run_id="run")


def changes(other, url, lake):
    """What other connections do, each of which changes what is so."""
    ours = "thermocline_hot.market_data_1min"
    yield lambda: publish(other, lake, bars(day()), bars(day(1)), bars(day(2, "1day")))
    yield lambda: load(other, lake, other.live(MARKET_DATA, ALL_DAYS)[-1])
    yield lambda: ingest(other, bars(day(5)), hot_days=[day(5)])
    yield lambda: ingest(other, bars(day(5, "1hour")), hot_days=[day(5, "1hour")])
    yield lambda: ingest(other, bars(day(5), ["AAPL"], close="7", ingested_at=LATER))
    yield lambda: ingest(other, bars(day(), ["AAPL"], close="9", ingested_at=LATER))
    yield lambda: rotate(other, lake, day(5))
    yield lambda: undone(other)
    yield lambda: publish(other, lake, bars(day(), close="200"))
    yield lambda: expired(other)
    yield lambda: fold(other, lake, day())
    yield lambda: publish(other, lake, withdrawn=[day(2, "1day")])
    yield lambda: run(url, "UPDATE thermocline.vintage SET reason = 'by hand'")
    yield lambda: run(
        url,
        f"ALTER TABLE {ours}_20240116 RENAME TO swapped",
        f"ALTER TABLE {ours}_20240120 RENAME TO market_data_1min_20240116",
        "ALTER TABLE thermocline_hot.swapped RENAME TO market_data_1min_20240120",
    )
    yield lambda: run(url, f"ALTER TABLE {ours}_20240116 SET SCHEMA public")


def test_a_look_sees_what_one_that_knows_nothing_sees_whatever_changed_since_the_last(new_database, lake):
    url = new_database("embedded")
    hot, other = PostgresHot(url), PostgresHot(url)
    for change in changes(other, url, lake):
        change()
        now = seen(hot, lake)
        assert now == seen(PostgresHot(url), lake)
        assert now == seen(hot, lake)


REFUSED = {
    "rows in a table that somebody attached": (
        """CREATE TABLE foreign_day (LIKE market_data INCLUDING ALL);
           INSERT INTO foreign_day SELECT asset_class, symbol, interval, ts + interval '9 days', open, high, low, close,
               volume, vwap, trade_count, source, ingested_at FROM market_data;
           ALTER TABLE thermocline_hot.market_data_1min ATTACH PARTITION foreign_day
               FOR VALUES FROM ('2024-01-24 00:00:00+00') TO ('2024-01-25 00:00:00+00')""",
        "ALTER TABLE thermocline_hot.market_data_1min DETACH PARTITION foreign_day",
        "not in the hot set",
    ),
    "an interval that somebody attached": (
        """CREATE TABLE foreign_series (LIKE market_data INCLUDING ALL);
           ALTER TABLE market_data ATTACH PARTITION foreign_series FOR VALUES IN ('1week')""",
        "ALTER TABLE market_data DETACH PARTITION foreign_series",
        "not one UTC day",
    ),
    "another type": (
        "ALTER TABLE market_data ALTER COLUMN volume TYPE numeric",
        "ALTER TABLE market_data ALTER COLUMN volume TYPE double precision",
        "somebody changed",
    ),
    "a null": (
        "ALTER TABLE market_data ALTER COLUMN source DROP NOT NULL",
        "ALTER TABLE market_data ALTER COLUMN source SET NOT NULL",
        "somebody changed",
    ),
    "a column that is gone": (
        "ALTER TABLE market_data RENAME COLUMN vwap TO average",
        "ALTER TABLE market_data RENAME COLUMN average TO vwap",
        "vwap is gone",
    ),
    "a day's table that is gone": (
        "ALTER TABLE thermocline_hot.market_data_1min DETACH PARTITION thermocline_hot.market_data_1min_20240115",
        """ALTER TABLE thermocline_hot.market_data_1min ATTACH PARTITION thermocline_hot.market_data_1min_20240115
               FOR VALUES FROM ('2024-01-15 00:00:00+00') TO ('2024-01-16 00:00:00+00')""",
        "no table",
    ),
}


def test_the_first_answer_after_a_change_is_that_of_one_who_knew_nothing(new_database, lake):
    url = new_database("embedded")
    hot, other = PostgresHot(url), PostgresHot(url)
    for change in changes(other, url, lake):
        for _ in range(3):
            answer(hot, lake)
        change()
        with closing(PostgresHot(url)) as fresh:
            expected = as_sorted_lists(answer(fresh, lake), MARKET_DATA)
        assert as_sorted_lists(answer(hot, lake), MARKET_DATA) == expected


def test_an_object_that_is_gone_since_the_last_look_is_not_missed(new_database, lake):
    url = new_database("embedded")
    hot, other = PostgresHot(url), PostgresHot(url)
    old, _ = publish(other, lake, bars(day()), bars(day(1)))
    for _ in range(3):
        assert_answers(hot, lake, bars(day()), bars(day(1)))
    publish(other, lake, bars(day(), close="200"))
    expired(other)
    lake.delete(old.receipt.path)
    assert_answers(hot, lake, bars(day(), close="200"), bars(day(1)))


def test_what_others_do_to_our_tables_is_refused_at_once_however_often_was_looked_before(new_database, lake):
    url = new_database("embedded")
    hot = PostgresHot(url)
    ingest(hot, bars(day()), hot_days=[day()])
    for done, taken_back, said in REFUSED.values():
        for _ in range(2):
            assert_answers(hot, lake, bars(day()))
        run(url, done)
        for _ in range(2):
            with pytest.raises(HotStoreError, match=said):
                answer(hot, lake, start=day().start, end=day().end, intervals=("1min",))
        run(url, taken_back)


def test_what_is_known_is_not_read_again(new_database, lake, monkeypatch):
    reads = []
    read = reader.read_facts
    monkeypatch.setattr(reader, "read_facts", lambda *given: reads.append(given) or read(*given))
    hot = PostgresHot(new_database("embedded"))
    publish(hot, lake, bars(day(1)))
    ingest(hot, bars(day()), hot_days=[day()])
    for _ in range(3):
        assert_answers(hot, lake, bars(day()), bars(day(1)))
    assert len(reads) == 1
    ingest(hot, bars(day(), ["AAPL"], close="7", ingested_at=LATER))  # changes no plan
    seen(hot, lake)
    assert len(reads) == 1
