"""An answer that is being taken is cancelled from another thread, wherever it is just then."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial

import psycopg
import pytest
from hot_acts import day, ingest, publish, rotate, table
from made_rows import bars

from thermocline.answer import Answer
from thermocline.errors import QueryCancelledError
from thermocline.model.aggregates import Aggregation, Function, Measure
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.query import Query
from thermocline.stores.analytics import DuckDBAnalytics
from thermocline.stores.postgres import PostgresHot
from thermocline.tasks.aggregate import aggregate
from thermocline.tasks.query import query
from thermocline.tasks.sql import sql

SYMBOLS = [f"S{number:03d}" for number in range(100)]
HOT_DAYS, COLD_DAYS = (2, 3), (0, 1)
ROWS = 4 * 1_000 * 10
DAYS_TABLE, LEAF = "thermocline_hot.market_data_1min", "thermocline_hot.market_data_1min_20240117"
FOR_EVER = (
    "SELECT count(*) FROM range(10_000_000) AS a, range(10_000_000) AS b, market_data WHERE a.range + b.range = 7"
)


@pytest.fixture
def hot(hot_url, lake):
    """Two cold days and two hot ones."""
    with closing(PostgresHot(hot_url)) as hot:
        publish(hot, lake, *(bars(day(number), SYMBOLS, 100) for number in COLD_DAYS))
        days = [day(number) for number in HOT_DAYS]
        ingest(hot, *(bars(each, SYMBOLS, 100) for each in days), hot_days=days)
        yield hot


def everything(hot, lake, **asked) -> Answer:
    return Answer(lambda: query(hot, lake, Query(MARKET_DATA, **asked)))


def assert_free(hot, lake, hot_url, threads):
    """Nothing is going on any more, nothing is held, and the next question is answered."""
    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' "
        "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    until = time.monotonic() + 30
    with psycopg.connect(hot_url, autocommit=True) as connection:
        while connection.execute(busy).fetchone() != (0,) or threading.active_count() > threads:
            assert time.monotonic() < until
            time.sleep(0.01)
    assert everything(hot, lake).to_arrow().num_rows == ROWS
    rotate(hot, lake, day(2))  # which needs a lock that nobody else may have
    assert everything(hot, lake).to_arrow().num_rows == ROWS


@contextmanager
def locked(hot_url, name):
    """Somebody stands in the way of whoever reads a table; yields what waits until one does."""
    with psycopg.connect(hot_url) as locking, psycopg.connect(hot_url, autocommit=True) as watching:
        locking.execute(f"LOCK TABLE ONLY {name} IN ACCESS EXCLUSIVE MODE")

        def waited_for():
            while watching.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (0,):
                time.sleep(0.01)

        yield waited_for


def assert_ended(answer, hot_url, name):
    """It is cancelled, twice for good measure, while it waits for a table that somebody has locked."""
    with locked(hot_url, name) as waited_for, ThreadPoolExecutor(1) as taking:
        taken = taking.submit(answer.to_arrow)
        waited_for()
        answer.cancel()
        answer.cancel()
        with pytest.raises(QueryCancelledError, match="nothing was changed"):
            taken.result(timeout=30)


@pytest.mark.parametrize("name", [DAYS_TABLE, LEAF], ids=["while it is planned", "while PostgreSQL reads"])
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "not known"])
@pytest.mark.parametrize("asked", [{}, {"start": day(2).start}], ids=["both tiers", "hot"])
def test_what_waits_in_postgresql_is_ended(hot, lake, hot_url, *, name, is_known, asked):
    if is_known:
        for _ in range(2):
            everything(hot, lake).to_arrow()
    threads = threading.active_count()
    assert_ended(everything(hot, lake, **asked), hot_url, name)
    assert_free(hot, lake, hot_url, threads)


def test_a_long_computation_of_duckdb_is_ended(hot, lake, hot_url):
    threads = threading.active_count()
    answer = Answer(lambda: sql(hot, lake, DuckDBAnalytics(lake.engine), FOR_EVER, [MARKET_DATA]))
    with ThreadPoolExecutor(1) as taking:
        taken = taking.submit(answer.to_arrow)
        while not any(thread.name.startswith("thermocline-duckdb") for thread in threading.enumerate()):
            time.sleep(0.01)
        time.sleep(0.3)
        assert not taken.done()
        answer.cancel()
        with pytest.raises(QueryCancelledError):
            taken.result(timeout=30)
    assert_free(hot, lake, hot_url, threads)


def take_two(answer, between):
    with answer.batches() as reader:
        assert reader.read_next_batch().num_rows
        between()
        reader.read_next_batch()


def in_another(act):
    other = threading.Thread(target=act)
    other.start()
    other.join()


@pytest.mark.parametrize("asked", [{}, {"start": day(2).start}, {"end": day(2).start}], ids=["both", "hot", "cold"])
@pytest.mark.parametrize("cancelling", ["another thread", "this thread"])
def test_between_two_batches_the_next_one_is_refused(hot, lake, hot_url, *, asked, cancelling, monkeypatch):
    monkeypatch.setattr("thermocline.stores.postgres.rows.BATCH_ROWS", 1_000)
    monkeypatch.setattr("thermocline.stores.postgres.at_once.BATCH_ROWS", 1_000)
    monkeypatch.setattr("thermocline.stores.duckdb_scan._BATCH_ROWS", 2_048)
    for _ in range(2):
        everything(hot, lake).to_arrow()
    threads = threading.active_count()
    answer = everything(hot, lake, **asked)
    with pytest.raises(QueryCancelledError):
        take_two(answer, answer.cancel if cancelling == "this thread" else partial(in_another, answer.cancel))
    assert_free(hot, lake, hot_url, threads)


def test_what_was_cancelled_stays_so_and_no_other_answer_is(hot, lake):
    answer, other = everything(hot, lake), everything(hot, lake)
    with other.batches() as reader:
        answer.cancel()
        for _ in range(2):
            with pytest.raises(QueryCancelledError):
                answer.to_arrow()
            with pytest.raises(QueryCancelledError), answer.batches():
                pass
        assert reader.read_all().num_rows == ROWS


def test_an_answer_that_is_made_of_another_is_cancelled_with_it(hot, lake, hot_url):
    inner = everything(hot, lake)
    threads = threading.active_count()
    assert_ended(Answer(inner.batches), hot_url, LEAF)
    assert_free(hot, lake, hot_url, threads)


def test_an_aggregate_is_cancelled(hot, lake, hot_url):
    threads = threading.active_count()
    asked = Aggregation(Query(MARKET_DATA), (Measure("rows", Function.COUNT),), by=("symbol",))
    assert_ended(Answer(lambda: aggregate(hot, lake, asked)), hot_url, LEAF)
    assert_free(hot, lake, hot_url, threads)


def test_an_error_of_whoever_takes_the_answer_stays_theirs(hot, lake):
    answer = everything(hot, lake)

    def cancel_and_err():
        answer.cancel()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        take_two(answer, cancel_and_err)
    assert table(*everything(hot, lake).to_arrow().to_batches()).num_rows == ROWS
