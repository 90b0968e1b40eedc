"""Connections to PostgreSQL that are used again, and those that must not be."""

import gc
import os
import sys
import threading
from contextlib import closing

import psycopg
import pytest

from thermocline.model.datasets import MARKET_DATA
from thermocline.stores.postgres import PostgresHot, pool
from thermocline.stores.postgres.connection import connect
from thermocline.stores.postgres.pool import Pool


@pytest.fixture
def url(new_database):
    return new_database("embedded")


def sessions(url, act="pid"):
    """The server processes that serve others in this database, after doing something to each."""
    with psycopg.connect(url, autocommit=True) as connection:
        return sorted(
            row[0]
            for row in connection.execute(
                f"SELECT {act} FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND backend_type = 'client backend'"
            )
        )


def test_one_connection_serves_one_act_after_another(url):
    hot = PostgresHot(url)
    hot.hot_days(MARKET_DATA)
    [first] = sessions(url)
    with hot.writer(MARKET_DATA):
        assert len(sessions(url)) == 2  # its lock must end with it
    hot.late(MARKET_DATA)
    assert sessions(url) == [first]
    hot.close()
    assert sessions(url) == []
    assert hot.hot_days(MARKET_DATA) == []


def test_connections_end_with_the_store_that_has_them(url):
    hot = PostgresHot(url)
    hot.hot_days(MARKET_DATA)
    assert len(sessions(url)) == 1
    del hot
    gc.collect()
    assert sessions(url) == []


@pytest.mark.parametrize("asked_first", [False, True], ids=["at once", "after a while"])
def test_a_connection_that_the_server_ended_is_replaced_unseen(url, monkeypatch, asked_first):
    if asked_first:
        monkeypatch.setattr(pool, "_has_news", lambda _: False)
        monkeypatch.setattr(pool, "_UNASKED_SECONDS", 0.0)
    hot = PostgresHot(url)
    hot.hot_days(MARKET_DATA)
    before = sessions(url)
    assert sessions(url, "pg_terminate_backend(pid, 5000)") == [True]
    assert hot.hot_days(MARKET_DATA) == []
    assert sessions(url) != before


def test_what_an_error_or_an_open_transaction_left_is_not_used_again(url):
    connections = Pool(url)
    with pytest.raises(psycopg.errors.DivisionByZero), connections.lent() as connection:
        connection.execute("SET search_path = nowhere; SELECT 1 / 0")
    with connections.lent() as connection:
        assert connection.execute("SHOW search_path").fetchone() != ("nowhere",)
        connection.execute("BEGIN")
    assert sessions(url) == []
    with connections.lent() as connection:
        assert connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE


def test_no_more_are_kept_than_are_needed_and_none_for_long(url, monkeypatch):
    monkeypatch.setattr(pool, "MOST_IDLE", 2)
    connections = Pool(url)
    taken = [connections.take() for _ in range(4)]
    for connection in taken:
        connections.give(connection)
    assert [connection.closed for connection in taken] == [True, True, False, False]
    with connections.lent() as connection:
        assert connection is taken[3]
        assert connection.execute("SHOW idle_session_timeout").fetchone() == ("1min",)
    monkeypatch.setattr(pool, "LONGEST_SECONDS", 0.0)
    with connections.lent() as connection:
        pass
    assert taken[3].closed
    monkeypatch.setattr(pool, "TRUSTED_SECONDS", 0.0)
    with connections.lent() as connection:
        assert connection not in taken
    assert taken[2].closed


def test_threads_have_a_connection_each(url):
    connections = Pool(url)
    at_it, seen = threading.Barrier(4), []

    def look():
        with connections.lent() as connection:
            at_it.wait(20)
            seen.append(connection.info.backend_pid)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 4
    assert sessions(url) == sorted(seen)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_neither_uses_nor_ends_the_connections_of_its_parent(url):
    hot = PostgresHot(url)
    hot.hot_days(MARKET_DATA)
    [mine] = sessions(url)
    child = os.fork()
    if child == 0:
        left = 1
        try:
            hot.hot_days(MARKET_DATA)
            assert len(sessions(url)) == 2
            hot.close()
            del hot
            gc.collect()
            left = 0 if sessions(url) == [mine] else 2
        finally:
            os._exit(left)
    assert os.waitpid(child, 0)[1] == 0
    assert hot.hot_days(MARKET_DATA) == []
    assert sessions(url) == [mine]


@pytest.mark.parametrize(("told", "taken"), [(4, "2"), (2.5, "2"), (1.1, "1.1")])
def test_a_page_out_of_order_costs_little_in_our_sessions_and_what_somebody_set_lower_stays(url, told, taken):
    asked = f"{url}&options=-c%20random_page_cost%3D{told}"
    with closing(connect(asked)) as connection:
        assert connection.execute("SHOW random_page_cost").fetchone() == (taken,)
