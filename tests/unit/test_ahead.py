"""One tier is read while the other one is: in order, not too far ahead, and no longer than somebody waits."""

import threading
from contextlib import contextmanager

import pyarrow as pa
import pytest

from thermocline.tasks.ahead import ReadAhead

SCHEMA = pa.schema([("number", pa.int64())])


def batch(number):
    return pa.record_batch({"number": pa.array([number], pa.int64())})


def opening(batches, closed=None):
    @contextmanager
    def opened():
        try:
            yield pa.RecordBatchReader.from_batches(SCHEMA, batches)
        finally:
            if closed is not None:
                closed.set()

    return opened


def nothing():
    """Nothing to cancel."""


def test_batches_come_in_order_and_the_stream_is_closed_after_the_last():
    closed = threading.Event()
    reading = ReadAhead(opening(map(batch, range(100)), closed), nothing)
    assert [each["number"][0].as_py() for each in reading] == list(range(100))
    assert closed.is_set()
    reading.close()


def test_no_more_is_read_ahead_than_there_is_room_for():
    read, is_full = [], threading.Event()

    def numbers():
        for number in range(1_000):
            read.append(number)
            if number == 2:
                is_full.set()
            yield batch(number)

    reading = ReadAhead(opening(numbers()), nothing, ahead_bytes=3 * batch(0).nbytes)
    assert is_full.wait(10)
    taken = 0
    for each in reading:
        taken += each.num_rows
        assert len(read) <= taken + 4
    assert taken == 1_000
    reading.close()


def test_an_error_comes_after_the_batches_before_it():
    def broken():
        yield batch(1)
        raise LookupError

    reading = ReadAhead(opening(broken()), nothing)
    batches = iter(reading)
    assert next(batches).num_rows == 1
    with pytest.raises(LookupError):
        next(batches)
    reading.close()


def test_closing_cancels_a_read_that_waits_and_returns_when_it_is_closed():
    closed, cancelled = threading.Event(), threading.Event()

    def stuck():
        yield batch(1)
        assert cancelled.wait(10)
        raise InterruptedError

    reading = ReadAhead(opening(stuck(), closed), cancelled.set)
    assert next(iter(reading)).num_rows == 1
    reading.close()
    assert cancelled.is_set()
    assert closed.is_set()


def test_closing_ends_a_read_that_has_no_room():
    closed = threading.Event()
    reading = ReadAhead(opening((batch(number) for number in range(10**9)), closed), nothing)
    assert next(iter(reading)).num_rows == 1
    reading.close()
    assert closed.is_set()
