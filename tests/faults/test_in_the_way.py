"""What other sessions and other hands put in a rotation's way: locks, VACUUM, odd tables, the settings of roles.

Each has a clear outcome, and whatever it is, every row is still answered once.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from hot_acts import about_to_cut_over, answer, assert_answers, day, hot_set, ingest, rotate
from made_rows import DAY, NOON, as_sorted_lists, bars

from thermocline.errors import HotStoreError, LockTimeoutError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS
from thermocline.stores.postgres import PostgresHot, locks, writer
from thermocline.stores.spool import DuckDBSpool
from thermocline.tasks.rotate import Rotation
from thermocline.tasks.undo import undo

LEAF = "thermocline_hot.market_data_1min_20240115"
SERIES = "thermocline_hot.market_data_1min"
AS_OF = DAY + timedelta(days=400)


@pytest.fixture
def url(new_database):
    """A database with three hot days."""
    url = new_database("embedded")
    ingest(PostgresHot(url), *EVERY, hot_days=[day(0), day(1), day(2)])
    return url


EVERY = [bars(day(number)) for number in range(3)]


@contextmanager
def session(url, *statements):
    """Somebody else's session, left open after these statements."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)
        yield connection


def sql(url, *statements):
    with session(url, *statements):
        pass


def night(url, lake):
    """Rotate whatever is due; what moved, and the reasons of what did not."""
    rotation = Rotation(PostgresHot(url), lake, DuckDBSpool, Lifecycle(hot_days=30), "run")
    done = rotation.run([MARKET_DATA], as_of=AS_OF)
    return {moved.partition for moved in done.moved}, {failed.partition: failed.reason for failed in done.failed}


# --------------------------------------------------------------------------------------------------- sessions of others


def test_a_reader_that_stays_on_one_day_keeps_that_day_hot_and_no_other(url, lake, monkeypatch):
    monkeypatch.setattr(writer, "CUTOVER_PATIENCE_SECONDS", 0.3)
    with session(url, "SET application_name = 'psql'", "BEGIN", f"SELECT count(*) FROM {LEAF}"):
        moved, failed = night(url, lake)
        assert moved == {day(1), day(2)}
        assert set(failed) == {day(0)}
        assert "stays hot" in failed[day(0)]
        assert "psql, since" in failed[day(0)]
        assert_answers(PostgresHot(url), lake, *EVERY)
    assert night(url, lake) == ({day(0)}, {})
    assert_answers(PostgresHot(url), lake, *EVERY)


def test_a_vacuum_that_ends_soon_is_waited_for(url, lake):
    hot = PostgresHot(url)
    with a_vacuum(url, LEAF, seconds=1.5) as vacuum, about_to_cut_over(hot, lake, day(0)) as cut_over:
        began = time.monotonic()
        cut_over()
        assert time.monotonic() - began > 0.5
        assert vacuum.result() is None
    assert hot_set(hot) == {day(1), day(2)}
    assert_answers(hot, lake, *EVERY)


def test_a_vacuum_that_goes_on_keeps_its_day_hot_and_is_not_cancelled(url, lake, monkeypatch):
    monkeypatch.setattr(writer, "CUTOVER_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(locks, "VACUUM_LOCK_TIMEOUT", "1200ms")  # longer than the server takes to cancel somebody
    many, big = a_large_day(url)
    at_it = "SELECT pid FROM pg_stat_progress_vacuum WHERE relid = %s::regclass"
    with session(url) as watching, ThreadPoolExecutor() as threads:
        slow = ["SET vacuum_cost_delay = 100", "SET vacuum_cost_limit = 1", f"VACUUM (FREEZE) {big}"]
        vacuum = threads.submit(sql, url, *slow)
        [pid] = wait_for(lambda: watching.execute(at_it, [big]).fetchone())
        moved, failed = night(url, lake)
        assert watching.execute(at_it, [big]).fetchone() == (pid,)
        watching.execute("SELECT pg_cancel_backend(%s)", [pid])
        with pytest.raises(psycopg.errors.QueryCanceled):
            vacuum.result()
    assert moved == {day(0), day(1), day(2)}
    assert set(failed) == {day(3)}
    assert f"server process {pid}" in failed[day(3)]
    assert night(url, lake) == ({day(3)}, {})
    assert_answers(PostgresHot(url), lake, *EVERY, many)


def test_readers_and_writers_of_a_day_are_not_held_up_by_a_cutover_that_waits_for_its_vacuum(url, lake, monkeypatch):
    monkeypatch.setattr(writer, "CUTOVER_PATIENCE_SECONDS", 3.0)
    hot, longest = PostgresHot(url), 0.0
    with a_vacuum(url, LEAF, seconds=3), ThreadPoolExecutor() as threads:
        rotation = threads.submit(night, url, lake)
        while not rotation.done():
            began = time.monotonic()
            assert_answers(hot, lake, *EVERY)
            ingest(hot, bars(day(1), ["AAPL"], 1))  # says nothing new
            longest = max(longest, time.monotonic() - began)
    assert longest < 1.5  # a busy machine; the cutover waited for twice as long


def test_an_autovacuum_that_prevents_nothing_gives_way(url, lake, embedded_url):
    """The server cancels it when somebody has waited for a second, which no wait of a cutover was before."""
    hot = PostgresHot(url)
    many, big = a_large_day(url)
    knobs = "autovacuum_naptime = 1", "autovacuum_vacuum_cost_delay = 100", "autovacuum_vacuum_cost_limit = 1"
    try:
        with session(url) as connection:
            for knob in knobs:
                connection.execute(f"ALTER SYSTEM SET {knob}")
            connection.execute("SELECT pg_reload_conf()")
            connection.execute(f"ALTER TABLE {big} SET (autovacuum_vacuum_threshold = 0)")
            connection.execute(f"UPDATE {big} SET volume = volume")
            at_it = "SELECT pid FROM pg_stat_progress_vacuum WHERE relid = %s::regclass"
            wait_for(lambda: connection.execute(at_it, [big]).fetchone())
            began = time.monotonic()
            rotate(hot, lake, day(3))
            assert time.monotonic() - began < 20
    finally:
        with session(embedded_url) as connection:
            for knob in knobs:
                connection.execute(f"ALTER SYSTEM RESET {knob.partition(' ')[0]}")
            connection.execute("SELECT pg_reload_conf()")
    assert_answers(hot, lake, *EVERY, many)


def a_large_day(url):
    """A hot day of so many pages that a VACUUM which sleeps after each of them takes minutes, and its table."""
    many = bars(day(3), [f"S{number:04d}" for number in range(3000)], 3)
    ingest(PostgresHot(url), many, hot_days=[day(3)])
    return many, LEAF.replace("15", "18")


def wait_for(look, seconds=30):
    """What is seen as soon as there is something to see."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)
    return seen


@contextmanager
def a_vacuum(url, table, seconds):
    """A session that holds for so long what VACUUM holds; on a table of a few rows VACUUM itself is done at once."""
    holding, over = threading.Event(), threading.Event()

    def hold():
        with session(url, "BEGIN", f"LOCK TABLE {table} IN SHARE UPDATE EXCLUSIVE MODE") as connection:
            holding.set()
            over.wait(seconds)
            connection.execute("COMMIT")

    with ThreadPoolExecutor() as threads:
        running = threads.submit(hold)
        assert holding.wait(10)
        try:
            yield running
        finally:
            over.set()


@pytest.mark.parametrize(
    "setting",
    [
        "statement_timeout = '300ms'",
        "idle_in_transaction_session_timeout = '300ms'",
        "lock_timeout = '1ms'",
        "default_transaction_isolation = 'serializable'",
        "datestyle = 'German'",
    ],
)
def test_limits_that_a_role_has_for_people_do_not_cut_a_rotation_or_a_query_off(url, lake, setting):
    with owner(url) as theirs:
        sql(url, f"ALTER ROLE {urlsplit(theirs).username} SET {setting}")
        hot = PostgresHot(theirs)
        with hot.writer(MARKET_DATA) as writer_, writer_.export(day(0)) as export:
            time.sleep(0.6)
            assert export.rows == EVERY[0].num_rows
            assert sum(batch.num_rows for batch in export.batches()) == export.rows
        assert night(theirs, lake) == ({day(0), day(1), day(2)}, {})
        assert_answers(hot, lake, *EVERY)


def test_a_role_that_may_only_read_is_told_so(url, lake):
    with owner(url) as theirs:
        sql(url, f"ALTER ROLE {urlsplit(theirs).username} SET default_transaction_read_only = on")
        with pytest.raises(HotStoreError, match=r"may only be read .*nothing was changed"):
            ingest(PostgresHot(theirs), bars(day(0), ["IBM"]))
    assert_answers(PostgresHot(url), lake, *EVERY)


def test_a_role_that_may_not_create_is_told_so(new_database):
    url = new_database("external")
    sql(url, "CREATE ROLE nobody LOGIN PASSWORD 'nobody'")
    try:
        with pytest.raises(HotStoreError, match=r"needs CREATE on the database"):
            PostgresHot(with_user(url, "nobody", "nobody")).hot_days(MARKET_DATA)
    finally:
        sql(url, "DROP ROLE nobody")


@contextmanager
def owner(url):
    """The URL of another superuser's sessions, whose settings are nobody else's."""
    name = f"role_{time.time_ns()}"
    sql(url, f"CREATE ROLE {name} LOGIN SUPERUSER")
    try:
        yield with_user(url, name, "")
    finally:
        sql(url, f"REASSIGN OWNED BY {name} TO CURRENT_USER", f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def with_user(url, name, password):
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{quote(name)}:{quote(password)}@{host}" if password else f"{name}@{host}").geturl()


# ---------------------------------------------------------------------------------------------------------- odd tables


@pytest.mark.parametrize(
    "statement",
    [
        f"CREATE TABLE odd PARTITION OF {SERIES} FOR VALUES FROM ('2024-03-01') TO ('2024-03-01 12:00')",
        f"CREATE TABLE odd PARTITION OF {SERIES} FOR VALUES FROM ('2024-03-01') TO ('2024-03-03')",
        f"CREATE TABLE odd PARTITION OF {SERIES} FOR VALUES FROM (MINVALUE) TO ('2000-01-01')",
        f"CREATE TABLE odd PARTITION OF {SERIES} DEFAULT",
        "CREATE TABLE odd PARTITION OF market_data DEFAULT",
        f"CREATE TABLE odd PARTITION OF {SERIES} FOR VALUES FROM ('2024-03-01') TO ('2024-03-02')",
    ],
    ids=["half a day", "two days", "from the beginning", "default", "default of the dataset", "a day of its own"],
)
@pytest.mark.parametrize("hot", [True, False], ids=["beside hot days", "beside cold days alone"])
def test_a_partition_made_by_hand_is_named_and_its_rows_are_neither_hidden_nor_lost(url, lake, statement, hot):
    store = PostgresHot(url)
    if not hot:
        assert night(url, lake)[0] == {day(0), day(1), day(2)}
    interval = "'5min'" if "market_data DEFAULT" in statement else "'1min'"
    ts = "timestamptz '1999-12-31'" if "MINVALUE" in statement else "timestamptz '2024-03-01 01:00'"
    values = f"'equity', 'IBM', {interval}, {ts}, 1, 1, 1, 1, 1, NULL, 1, 'psql', now()"
    sql(url, "SET timezone = 'UTC'", statement, f"INSERT INTO market_data VALUES ({values})")
    with pytest.raises(HotStoreError, match=r"odd .*nothing was touched. Detach"):
        answer(store, lake)
    if hot:
        moved, failed = night(url, lake)
        assert moved == set()
        assert set(failed) == {day(0), day(1), day(2)}
        assert all("odd" in reason for reason in failed.values())
    parent = "market_data" if "market_data DEFAULT" in statement else SERIES
    sql(url, f"ALTER TABLE {parent} DETACH PARTITION odd")
    assert_answers(store, lake, *EVERY)
    if hot:
        assert night(url, lake) == ({day(0), day(1), day(2)}, {})
        assert_answers(store, lake, *EVERY)
    with session(url) as connection:
        assert connection.execute("SELECT count(*) FROM odd").fetchone() == (1,)


def test_an_empty_partition_of_a_day_of_its_own_is_no_trouble(url, lake):
    sql(
        url,
        "SET timezone = 'UTC'",
        f"CREATE TABLE odd PARTITION OF {SERIES} FOR VALUES FROM ('2024-03-01') TO ('2024-03-02')",
    )
    assert_answers(PostgresHot(url), lake, *EVERY)


def test_values_in_a_column_that_the_dataset_does_not_know_keep_their_days_hot(url, lake):
    hot = PostgresHot(url)
    sql(url, "ALTER TABLE market_data ADD COLUMN desk text", f"UPDATE {LEAF} SET desk = 'mine' WHERE symbol = 'AAPL'")
    assert_answers(hot, lake, *EVERY)
    moved, failed = night(url, lake)
    assert moved == {day(1), day(2)}
    assert set(failed) == {day(0)}
    assert "has values in desk, which market_data does not know" in failed[day(0)]
    assert_answers(hot, lake, *EVERY)
    with session(url) as connection:
        kept = "SELECT count(*) FROM market_data WHERE desk = 'mine'"
        assert connection.execute(kept).fetchone() == (3,)
        # New days, and an interval's first one, get the column too.
        more = [bars(day(3)), bars(day(0, "5min"))]
        ingest(hot, *more, hot_days=[day(3), day(0, "5min")])
        assert_answers(hot, lake, *EVERY, *more)
        connection.execute(f"UPDATE {LEAF} SET desk = NULL")
    assert night(url, lake) == ({day(0), day(3), day(0, "5min")}, {})
    assert_answers(hot, lake, *EVERY, *more)


def test_a_column_that_is_filled_while_its_day_is_rotated_keeps_it_hot(url, lake):
    with about_to_cut_over(PostgresHot(url), lake, day(0)) as cut_over:
        # A default fills every row without touching one.
        sql(url, "ALTER TABLE market_data ADD COLUMN desk text DEFAULT 'mine'")
        with pytest.raises(HotStoreError, match="has values in desk"):
            cut_over()
    assert day(0) in hot_set(PostgresHot(url))


@pytest.mark.parametrize(
    ("change", "back", "named"),
    [
        ("ALTER COLUMN close TYPE float8", "ALTER COLUMN close TYPE numeric(18,8)", "close is double precision, not"),
        ("ALTER COLUMN source DROP NOT NULL", "ALTER COLUMN source SET NOT NULL", "source may be null"),
        ("RENAME COLUMN vwap TO average", "RENAME COLUMN average TO vwap", "vwap is gone"),
    ],
)
def test_a_column_that_was_changed_by_hand_is_named_before_a_row_is_misread(url, lake, change, back, named):
    hot = PostgresHot(url)
    sql(url, f"ALTER TABLE market_data {change}")
    with pytest.raises(HotStoreError, match=named):
        answer(hot, lake)
    with pytest.raises(HotStoreError, match=named):
        ingest(hot, bars(day(0), ["IBM"]))
    moved, failed = night(url, lake)
    assert moved == set()
    assert set(failed) == {day(0), day(1), day(2)}
    assert all(named in reason for reason in failed.values())
    assert hot.live(MARKET_DATA, ALL_DAYS) == []
    sql(url, f"ALTER TABLE market_data {back}")
    assert night(url, lake)[1] == {}
    assert_answers(hot, lake, *EVERY)


@pytest.mark.parametrize("act", ["DETACH PARTITION {leaf}", "DROP"])
def test_a_hot_day_whose_table_was_taken_away_is_named_and_the_others_move(url, lake, act):
    if act == "DROP":
        sql(url, f"DROP TABLE {LEAF}")
    else:
        sql(url, f"ALTER TABLE {SERIES} {act.format(leaf=LEAF)}")
    moved, failed = night(url, lake)
    assert moved == {day(1), day(2)}
    assert set(failed) == {day(0)}
    assert "has no table" in failed[day(0)]
    hot = PostgresHot(url)
    with pytest.raises(HotStoreError, match="has no table"):
        answer(hot, lake)
    if act != "DROP":
        sql(url, f"ALTER TABLE {SERIES} ATTACH PARTITION {LEAF} FOR VALUES FROM ('2024-01-15Z') TO ('2024-01-16Z')")
        assert night(url, lake) == ({day(0)}, {})
        assert_answers(hot, lake, *EVERY)


def test_a_day_that_lost_its_primary_key_moves_unless_it_holds_a_key_twice(url, lake):
    hot = PostgresHot(url)
    sql(url, "ALTER TABLE market_data DROP CONSTRAINT market_data_pkey CASCADE")
    sql(url, f"INSERT INTO {LEAF} SELECT * FROM {LEAF} WHERE symbol = 'AAPL' LIMIT 1")
    moved, failed = night(url, lake)
    assert moved == {day(1), day(2)}
    assert set(failed) == {day(0)}
    assert "several rows of one key" in failed[day(0)]
    assert "ADD PRIMARY KEY" in failed[day(0)]
    sql(
        url,
        f"DELETE FROM {LEAF} a USING {LEAF} b WHERE a.symbol = b.symbol AND a.ts = b.ts AND a.ctid > b.ctid",
    )
    assert night(url, lake) == ({day(0)}, {})
    assert_answers(hot, lake, *EVERY)


def test_a_day_that_lacks_a_column_since_it_was_rotated_comes_back_by_rehydrate_alone(url, lake):
    hot = PostgresHot(url)
    night(url, lake)
    sql(url, "ALTER TABLE market_data ADD COLUMN desk text")
    with pytest.raises(HotStoreError, match=r"desk.*nothing was changed"):
        undo(hot, MARKET_DATA, ALL_DAYS, run_id="run")
    assert_answers(hot, lake, *EVERY)


def test_another_rotation_s_holder_is_named(url):
    hot = PostgresHot(url)
    with (
        hot.writer(MARKET_DATA),
        pytest.raises(LockTimeoutError, match=r"server process \d+, since"),
        hot.writer(MARKET_DATA, wait_seconds=0),
    ):
        pass


def test_rows_are_the_same_before_and_after(url, lake):
    """The comparison itself can fail: a row that is changed by hand is seen."""
    hot = PostgresHot(url)
    before = as_sorted_lists(answer(hot, lake), MARKET_DATA)
    ingest(hot, bars(day(0), ["AAPL"], 1, close="1", ingested_at=NOON + timedelta(days=1)))
    assert as_sorted_lists(answer(hot, lake), MARKET_DATA) != before
