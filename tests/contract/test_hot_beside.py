"""What every hot tier promises of those who write and read at the same time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hot_acts import answer, assert_answers, day, fold, hot_set, ingest, load, publish, rotate, table
from made_rows import NOON, as_sorted_lists, bars

from thermocline.errors import LockTimeoutError
from thermocline.model.datasets import MARKET_DATA, NEWS
from thermocline.model.partition import ALL_DAYS
from thermocline.model.query import Query
from thermocline.stores.postgres import writer
from thermocline.tasks.query import query


def test_two_writers_exclude_each_other_and_datasets_do_not(hot):
    with (
        hot.writer(MARKET_DATA),
        hot.writer(NEWS),
        pytest.raises(LockTimeoutError, match="another run is writing market_data"),
        hot.writer(MARKET_DATA, wait_seconds=0),
    ):
        pass
    with hot.writer(MARKET_DATA, wait_seconds=0):
        pass


def test_a_writer_waits_for_the_one_before_it(hot):
    done = []
    with ThreadPoolExecutor() as threads:
        with hot.writer(MARKET_DATA):
            second = threads.submit(_write_and_note, hot, done)
            time.sleep(0.3)
            assert done == []
        second.result(timeout=10)
    assert done == ["second"]


def _write_and_note(hot, done):
    with hot.writer(MARKET_DATA, wait_seconds=10):
        done.append("second")


def test_a_snapshot_is_undisturbed_by_a_rotation_that_runs_while_it_is_open(hot, lake, monkeypatch):
    monkeypatch.setattr(writer, "CUTOVER_PATIENCE_SECONDS", 0.3)
    ingest(hot, bars(day()), bars(day(1)), hot_days=[day(), day(1)])
    asked = Query(MARKET_DATA)
    with query(hot, lake, asked) as reader:
        first = reader.read_next_batch()
        with ThreadPoolExecutor() as threads:
            outcome = threads.submit(rotate, hot, lake, day()).exception(timeout=20)
        if outcome is not None:
            assert isinstance(outcome, LockTimeoutError)
            assert "it stays hot" in str(outcome)
            assert hot_set(hot) == {day(), day(1)}
        rest = reader.read_all()
    seen = pa.concat_tables([table(first), rest])
    assert as_sorted_lists(seen, MARKET_DATA) == as_sorted_lists(table(bars(day()), bars(day(1))), MARKET_DATA)
    assert_answers(hot, lake, bars(day()), bars(day(1)))
    if outcome is not None:
        rotate(hot, lake, day())
        assert_answers(hot, lake, bars(day()), bars(day(1)))


def test_a_snapshot_does_not_see_what_comes_after_it(hot, lake):
    [vintage] = publish(hot, lake, bars(day()))
    with hot.snapshot([MARKET_DATA], ALL_DAYS) as snapshot:
        assert snapshot.hot == frozenset()
        load(hot, lake, vintage)
        ingest(hot, bars(day(1)), bars(day(2)), hot_days=[day(1)])
        publish(hot, lake, bars(day(3)))
        assert snapshot.hot == frozenset()
        assert snapshot.late == frozenset()
        assert [v.partition for v in snapshot.live] == [day()]
        assert snapshot.late_rows(Query(MARKET_DATA)).num_rows == 0
    assert hot_set(hot) == {day(), day(1)}


def test_readers_beside_rotations_always_get_every_row_once(hot, lake):
    days = [day(number) for number in range(6)]
    ingest(hot, *map(bars, days), hot_days=days)
    stop = threading.Event()

    def look() -> int:
        looks = 0
        while not stop.is_set():
            assert_answers(hot, lake, *map(bars, days))
            looks += 1
        return looks

    with ThreadPoolExecutor() as threads:
        readers = [threads.submit(look) for _ in range(2)]
        try:
            for partition in days:
                rotate(hot, lake, partition)
        finally:
            stop.set()
        assert all(reader.result() > 0 for reader in readers)
    assert hot_set(hot) == set()


def test_ingest_beside_cutovers_never_loses_a_row(hot, lake):
    """Many small ingests into a few days, while these leave for the lake and come back again and again."""
    days = [day(number) for number in range(2)]
    rounds = 40
    accepted = threading.Semaphore(0)

    def feed(symbol: str) -> None:
        for number in range(rounds):
            batches = [bars(partition, [f"{symbol}{number}"], 1) for partition in days]
            ingest(hot, *batches, hot_days=days)
            accepted.release()

    def move() -> None:
        for number in range(rounds):
            accepted.acquire()
            accepted.acquire()
            partition = days[number % 2]
            vintages = [v for v in hot.live(MARKET_DATA, ALL_DAYS) if v.partition == partition]
            if number % 4 >= 2 and vintages:
                load(hot, lake, vintages[0])
            else:
                fold(hot, lake, partition)

    with ThreadPoolExecutor() as threads:
        for done in [threads.submit(feed, "A"), threads.submit(feed, "B"), threads.submit(move)]:
            done.result(timeout=100)
    expected = [
        bars(partition, [f"{symbol}{number}" for symbol in "AB" for number in range(rounds)], 1) for partition in days
    ]
    assert_answers(hot, lake, *expected)
    for partition in days:
        fold(hot, lake, partition)
    assert hot_set(hot) == set()
    assert_answers(hot, lake, *expected)


def test_ingests_that_start_days_and_change_the_same_rows_go_on_side_by_side(hot, lake):
    """Each takes its days and rows in another order; none may stand in another's way for good."""
    days = [day(number, interval) for number in range(3) for interval in ("1min", "1hour")]
    symbols = [f"S{number}" for number in range(20)]

    def feed(turn: int) -> None:
        for close in range(8):
            mine = days if turn % 2 else days[::-1]
            made = [bars(p, symbols, 1, close=str(close), ingested_at=NOON + timedelta(seconds=close)) for p in mine]
            rows_ = table(*made)
            ingest(
                hot,
                *(rows_ if turn % 2 else rows_.take(list(range(len(rows_)))[::-1])).to_batches(),
                hot_days=days[turn:],
            )

    with ThreadPoolExecutor() as threads:
        for done in [threads.submit(feed, turn) for turn in range(4)]:
            done.result(timeout=60)
    found = answer(hot, lake)
    assert len(found) == len(days) * len(symbols)
    assert set(found["close"].to_pylist()) == {Decimal(7)}
