"""What a PostgreSQL beside which others work must stand: their SQL, their locks, their deaths."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest
from hot_acts import about_to_cut_over, answer, assert_answers, day, hot_set, ingest, publish, rotate, table
from made_rows import DAY, as_sorted_lists, bars, rows

from thermocline.errors import HotStoreError, LockTimeoutError, StaleStateError
from thermocline.model.datasets import MARKET_DATA, NEWS, OPTIONS_DATA
from thermocline.model.partition import ALL_DAYS, Partition
from thermocline.model.query import Query
from thermocline.stores.postgres import PostgresHot, locks, tables, writer
from thermocline.stores.postgres import rows as postgres_rows
from thermocline.tasks.query import query

LEAF = 'thermocline_hot."market_data_1min_20240115"'


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO market_data SELECT asset_class, 'IBM', {} FROM {leaf} LIMIT 1",
        "UPDATE market_data SET volume = 1 WHERE symbol = 'AAPL'",
        "UPDATE {leaf} SET volume = volume WHERE symbol = 'AAPL'",
        "DELETE FROM {leaf} WHERE symbol = 'AAPL' AND trade_count = 1",
        """WITH gone AS (DELETE FROM {leaf} WHERE symbol = 'AAPL' RETURNING *)
           INSERT INTO market_data SELECT asset_class, 'IBM', {} FROM gone""",
    ],
    ids=["insert", "update", "update without effect", "delete", "replace"],
)
def test_cut_over_refuses_when_anybody_changed_a_row_by_sql(hot_url, lake, statement):
    hot = PostgresHot(hot_url)
    ingest(hot, bars(day()), hot_days=[day()])
    with about_to_cut_over(hot, lake, day()) as cut_over:
        with psycopg.connect(hot_url) as connection:
            connection.execute(statement.format(", ".join(MARKET_DATA.names[2:]), leaf=LEAF))
        with pytest.raises(StaleStateError):
            cut_over()
    before = as_sorted_lists(answer(hot, lake), MARKET_DATA)
    rotate(hot, lake, day())
    assert hot_set(hot) == set()
    assert as_sorted_lists(answer(hot, lake), MARKET_DATA) == before


@pytest.mark.parametrize(
    "statements",
    [
        ["INSERT INTO {leaf} SELECT asset_class, 'IBM', '5min', {rest} FROM {leaf} LIMIT 1"],
        ["UPDATE {leaf} SET interval = '5min' WHERE symbol = 'AAPL'"],
        ["UPDATE {leaf} SET interval = NULL WHERE symbol = 'AAPL'"],
        ["SET session_replication_role = replica", "UPDATE {leaf} SET interval = '5min' WHERE symbol = 'AAPL'"],
        [
            "ALTER TABLE {parent} DETACH PARTITION {leaf}",
            "UPDATE {leaf} SET interval = '5min' WHERE symbol = 'AAPL'",
            "ALTER TABLE {parent} ATTACH PARTITION {leaf} FOR VALUES FROM ('2024-01-15') TO ('2024-01-16')",
        ],
        [
            "ALTER TABLE {parent} DETACH PARTITION {leaf}",
            "UPDATE {leaf} SET interval = '5min' WHERE symbol = 'AAPL'",
            "ALTER TABLE {leaf} ADD CHECK (interval = '1min' AND interval IS NOT NULL) NOT VALID",
            "ALTER TABLE {parent} ATTACH PARTITION {leaf} FOR VALUES FROM ('2024-01-15') TO ('2024-01-16')",
        ],
    ],
    ids=["insert", "update", "null", "without triggers", "detach and attach", "a check that is not valid"],
)
def test_no_row_of_another_interval_gets_into_a_days_table(hot_url, lake, statements):
    """An export does not read what PostgreSQL says of every row of a day: this is what it relies upon."""
    hot = PostgresHot(hot_url)
    ingest(hot, bars(day()), hot_days=[day()])
    names = {"leaf": LEAF, "parent": "thermocline_hot.market_data_1min", "rest": ", ".join(MARKET_DATA.names[3:])}
    with psycopg.connect(hot_url) as connection, pytest.raises(psycopg.IntegrityError):
        connection.execute("; ".join(statements).format(**names))
    rotate(hot, lake, day())
    assert hot_set(hot) == set()
    assert_answers(hot, lake, bars(day()))


def test_a_day_that_was_moved_to_another_interval_is_exported_as_one_of_that(hot_url):
    hot = PostgresHot(hot_url)
    five = Partition("market_data", "5min", DAY)
    ingest(hot, bars(day()), hot_days=[day()])
    ingest(hot, bars(five), hot_days=[five])
    with psycopg.connect(hot_url) as connection:
        for statement in (
            "ALTER TABLE thermocline_hot.market_data_1min DETACH PARTITION {leaf}",
            "ALTER TABLE thermocline_hot.market_data_5min DETACH PARTITION thermocline_hot.market_data_5min_20240115",
            "UPDATE {leaf} SET interval = '5min', volume = 7",
            "ALTER TABLE thermocline_hot.market_data_5min ATTACH PARTITION {leaf} FOR VALUES FROM {bounds}",
        ):
            connection.execute(statement.format(leaf=LEAF, bounds="('2024-01-15') TO ('2024-01-16')"))
    with hot.writer(MARKET_DATA) as writer_, writer_.export(five) as export:
        for stream in (export.batches, export.unsorted, export.nearly_sorted):
            found = table(*stream())
            assert set(found["interval"].to_pylist()) == {"5min"}
            assert set(found["volume"].to_pylist()) == {7}
            assert found.drop_columns(["interval", "volume"]).equals(
                table(bars(day())).drop_columns(["interval", "volume"])
            )


def test_cut_over_is_not_fooled_by_vacuum(hot_url, lake):
    hot = PostgresHot(hot_url)
    ingest(hot, bars(day()), hot_days=[day()])
    with about_to_cut_over(hot, lake, day()) as cut_over:
        with psycopg.connect(hot_url, autocommit=True) as connection:
            connection.execute(f"VACUUM (FREEZE, ANALYZE) {LEAF}")
        cut_over()
    assert_answers(hot, lake, bars(day()))


def test_cut_over_waits_for_a_transaction_that_may_still_change_rows(hot_url, lake, monkeypatch):
    monkeypatch.setattr(writer, "CUTOVER_PATIENCE_SECONDS", 0.3)
    hot = PostgresHot(hot_url)
    ingest(hot, bars(day()), hot_days=[day()])
    with psycopg.connect(hot_url) as connection, about_to_cut_over(hot, lake, day()) as cut_over:
        connection.execute("DELETE FROM market_data WHERE symbol = 'AAPL'")
        with pytest.raises(LockTimeoutError):
            cut_over()
        connection.commit()
        with pytest.raises(StaleStateError):
            cut_over()
    assert_answers(hot, lake, bars(day(), ["MSFT"]))


def test_a_writer_whose_connection_died_can_not_commit_and_its_lock_is_gone(hot_url, lake):
    hot = PostgresHot(hot_url)
    ingest(hot, bars(day()), hot_days=[day()])
    with pytest.raises(HotStoreError, match="went away"), about_to_cut_over(hot, lake, day()) as cut_over:  # noqa: PT012
        with psycopg.connect(hot_url, autocommit=True) as connection:
            connection.execute(
                """SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
            )
        with hot.writer(MARKET_DATA, wait_seconds=5):
            pass
        cut_over()
    assert hot_set(hot) == {day()}
    assert hot.live(MARKET_DATA, ALL_DAYS) == []
    assert_answers(hot, lake, bars(day()))


def test_while_days_are_loaded_under_the_lock_of_a_writer_nobody_else_becomes_one_even_if_it_died(hot_url, lake):
    hot = PostgresHot(hot_url)
    [vintage] = publish(hot, lake, bars(day()))
    with pytest.raises(HotStoreError, match="went away"), hot.writer(MARKET_DATA) as doomed:  # noqa: PT012
        with doomed.beside() as loader:
            end_exclusive_locks(hot_url)
            with pytest.raises(LockTimeoutError, match="server process"), hot.writer(MARKET_DATA, wait_seconds=0):
                pass
            assert loader.load(vintage, lake.read(vintage.receipt), run_id="run") == 6
        with hot.writer(MARKET_DATA, wait_seconds=0) as heir:
            assert heir.live(ALL_DAYS) == [vintage]
        with doomed.beside():
            pytest.fail("it has no lock to work under")
    assert_answers(hot, lake, bars(day()))


def end_exclusive_locks(url):
    """End the sessions that hold a dataset's lock alone, as a broken connection would."""
    with psycopg.connect(url, autocommit=True) as connection:
        ended = connection.execute(
            """SELECT pg_terminate_backend(pid, 5000) FROM pg_locks
               WHERE locktype = 'advisory' AND granted AND mode = 'ExclusiveLock'
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
        ).fetchall()
        assert ended == [(True,)]


def test_a_writer_that_has_to_wait_too_long_says_who_stands_in_the_way(hot_url):
    hot = PostgresHot(hot_url)
    with (
        hot.writer(MARKET_DATA),
        pytest.raises(LockTimeoutError, match=r"server process [0-9]+, since"),
        hot.writer(MARKET_DATA, wait_seconds=0),
    ):
        pass


def test_a_detach_that_has_to_wait_does_not_hold_readers_up(hot_url, lake, monkeypatch):
    monkeypatch.setattr(writer, "CUTOVER_PATIENCE_SECONDS", 2.0)
    hot = PostgresHot(hot_url)
    ingest(hot, bars(day()), hot_days=[day()])
    longest = 0.0
    with hot.snapshot([MARKET_DATA], ALL_DAYS), ThreadPoolExecutor() as threads:
        rotation = threads.submit(rotate, hot, lake, day())
        while not rotation.done():
            started = time.monotonic()
            assert_answers(hot, lake, bars(day()))
            ingest(hot, bars(day(5), ["IBM"]))
            with hot.writer(NEWS) as other:
                other.delete(ALL_DAYS, (), (), run_id="run")
            with psycopg.connect(hot_url) as connection:
                connection.execute("DELETE FROM thermocline.late_market_data")
            longest = max(longest, time.monotonic() - started)
        with pytest.raises(LockTimeoutError):
            rotation.result()
    assert longest < 1.5  # the timeout is 50 ms a lock; the rest is a busy machine


def test_a_detach_does_not_queue_behind_somebody_who_reads_for_long(hot_url, lake):
    hot = PostgresHot(hot_url)
    ingest(hot, bars(day()), hot_days=[day()])
    queued = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
    with psycopg.connect(hot_url) as watching, ThreadPoolExecutor() as threads:
        with hot.snapshot([MARKET_DATA], ALL_DAYS):
            time.sleep(2 * locks.LONG_SECONDS)
            rotation = threads.submit(rotate, hot, lake, day())
            until, seen = time.monotonic() + 2, 0
            while time.monotonic() < until:
                seen += watching.execute(queued).fetchone()[0]
                watching.rollback()
            assert not rotation.done()
        rotation.result(timeout=20)
    assert seen == 0
    assert hot.hot_days(MARKET_DATA) == []
    assert_answers(hot, lake, bars(day()))


def test_a_reader_that_comes_while_a_day_is_being_cut_over_gets_every_row(hot_url, lake, monkeypatch):
    hot = PostgresHot(hot_url)
    ingest(hot, bars(day()), hot_days=[day()])
    about_to_commit, go_on = threading.Event(), threading.Event()
    detach = tables.detach

    def pausing(*args):
        kept = detach(*args)
        about_to_commit.set()
        go_on.wait(10)
        return kept

    monkeypatch.setattr(tables, "detach", pausing)
    with ThreadPoolExecutor() as threads:
        rotation = threads.submit(rotate, hot, lake, day())
        about_to_commit.wait(10)
        reader = threads.submit(assert_answers, hot, lake, bars(day()))
        time.sleep(0.2)
        assert not reader.done()
        go_on.set()
        rotation.result(timeout=10)
        reader.result(timeout=10)


def test_an_export_that_is_left_half_way_leaves_a_working_writer(hot_url, monkeypatch):
    monkeypatch.setattr(postgres_rows, "BATCH_ROWS", 500)
    hot = PostgresHot(hot_url)
    symbols = [f"S{number:05d}" for number in range(5000)]
    ingest(hot, bars(day(), symbols, 1), hot_days=[day()])
    with hot.writer(MARKET_DATA) as writer_:
        with writer_.export(day()) as export:
            batches = export.batches()
            assert next(batches).num_rows == 500
        assert writer_.next_versions([day()])[day()] == 1
        with writer_.export(day()) as export:
            assert sum(batch.num_rows for batch in export.batches()) == 5000


def test_a_reader_may_leave_half_way(hot_url, lake, monkeypatch):
    monkeypatch.setattr(postgres_rows, "BATCH_ROWS", 500)
    hot = PostgresHot(hot_url)
    ingest(hot, bars(day(), [f"S{number:05d}" for number in range(5000)], 1), hot_days=[day()])
    with query(hot, lake, Query(MARKET_DATA)) as reader:
        assert reader.read_next_batch().num_rows == 500


def test_a_hot_day_whose_table_was_taken_away_is_noticed(hot_url, lake):
    hot = PostgresHot(hot_url)
    ingest(hot, bars(day()), bars(day(1)), hot_days=[day(), day(1)])
    with psycopg.connect(hot_url) as connection:
        connection.execute(f"ALTER TABLE thermocline_hot.market_data_1min DETACH PARTITION {LEAF}")
    with pytest.raises(HotStoreError, match=r"market_data/1min/2024-01-15"):
        answer(hot, lake)


def test_text_sorts_by_bytes_whatever_the_collation(hot_url, lake):
    hot = PostgresHot(hot_url)
    symbols = ["a", "B", "ä", "Z", "z", "_"]
    ingest(hot, bars(day(), symbols, 1), hot_days=[day()])
    assert answer(hot, lake)["symbol"].to_pylist() == sorted(symbols, key=str.encode)


def test_an_infinite_time_or_date_is_refused_when_it_is_read(hot_url, lake):
    hot = PostgresHot(hot_url)
    partition = Partition("options_data", "", DAY)
    hot.ingest(OPTIONS_DATA, table(rows(OPTIONS_DATA)), hot_days=[partition], run_id="run")
    with psycopg.connect(hot_url) as connection:
        connection.execute("UPDATE options_data SET expiration = 'infinity'")
    with pytest.raises(HotStoreError, match="expiration"), query(hot, lake, Query(OPTIONS_DATA)) as reader:
        reader.read_all()


def test_a_vintage_is_dated_when_its_rows_are_in_hot_not_before_that_long_merge(hot_url, lake):
    hot, asked = PostgresHot(hot_url), []
    ingest(hot, bars(day()), hot_days=[day()])

    def merging():
        asked.append(datetime.now(UTC))  # whoever asks as of now gets no vintage, and is never to get one later
        yield bars(day(), close="9")

    [vintage] = publish(hot, lake, bars(day(), close="9"), rows_if_hot={day(): merging()})
    assert vintage.published_at > asked[0]
