"""Work of DuckDB ends when it takes too long or by Ctrl-C, and the connection can be used again."""

import signal
import threading

import pytest

from thermocline.errors import TimeLimitError
from thermocline.stores.duckdb import Engine

FOR_EVER = "SELECT count(*) FROM range(10_000_000) AS a, range(10_000_000) AS b WHERE a.range + b.range = 7"


def answers(work) -> bool:
    return work.run(lambda: work.connection.execute("SELECT 1").fetchone()) == (1,)


def test_what_takes_too_long_is_ended_and_the_next_query_is_answered():
    engine = Engine(timeout_seconds=0.2)
    with engine.connection() as connection, engine.work(connection) as work:
        with pytest.raises(TimeLimitError, match=r"storage\.duckdb\.timeout_seconds allows"):
            work.run(lambda: connection.execute(FOR_EVER).fetchone())
        with engine.work(connection) as following:
            assert answers(following)
    engine.close()


@pytest.fixture
def _hears_ctrl_c():
    """Also where the tests were started in the background, which makes a process deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_hears_ctrl_c")
def test_ctrl_c_ends_what_is_going_on_and_the_next_query_is_answered():
    engine = Engine()
    with engine.connection() as connection, engine.work(connection) as work:
        threading.Timer(0.2, signal.pthread_kill, (threading.get_ident(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            work.run(lambda: connection.execute(FOR_EVER).fetchone())
        assert answers(work)
    engine.close()


def test_a_stream_that_nobody_takes_is_ended_with_the_work():
    engine = Engine()
    with engine.connection() as connection, engine.work(connection) as work:
        work.stream(lambda: connection.execute(FOR_EVER).to_arrow_reader())
    with engine.connection() as connection, engine.work(connection) as work:
        assert answers(work)
    engine.close()


@pytest.mark.parametrize("batches", [0, 1, 2, 5])
def test_a_stream_has_every_batch_once(batches):
    engine, rows = Engine(), 2_048 * batches
    with engine.connection() as connection, engine.work(connection) as work:
        stream = work.stream(lambda: connection.execute(f"SELECT * FROM range({rows})").to_arrow_reader(2_048))
        assert [value for batch in stream for value in batch["range"].to_pylist()] == list(range(rows))
    engine.close()
