"""The end of an object is asked for once, however many threads open it, and ahead of whoever opens many."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from thermocline.stores import kept_ends
from thermocline.stores.kept_ends import KeptEnds


class Bucket:
    """Objects of a hundred bytes; what was asked for, and a gate that answers wait at."""

    def __init__(self):
        """Answer at once."""
        self.asked, self.gate, self.fails = [], threading.Event(), False
        self.gate.set()

    def ask(self, path):
        """What asks for an object."""

        def ask(within):
            self.asked.append((path, within))
            self.gate.wait(10)
            if self.fails:
                raise OSError(path)
            return 100, path.encode()

        return ask

    def asks(self, *paths):
        """What asks for each of them."""
        return {path: self.ask(path) for path in paths}


def wait_for(condition):
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


PATHS = [f"bucket/{number}" for number in range(100)]


def test_threads_that_open_an_object_at_once_share_a_request():
    ends, bucket = KeptEnds(), Bucket()
    bucket.gate.clear()
    with ThreadPoolExecutor(8) as threads:
        opened = [threads.submit(ends.of, "a", bucket.ask("a")) for _ in range(8)]
        wait_for(lambda: bucket.asked)
        bucket.gate.set()
        assert {each.result() for each in opened} == {(100, b"a")}
    assert len(bucket.asked) == 1


def test_all_that_share_a_request_hear_that_it_failed_and_the_next_one_asks_anew():
    ends, bucket = KeptEnds(), Bucket()
    bucket.gate.clear()
    bucket.fails = True
    with ThreadPoolExecutor(4) as threads:
        opened = [threads.submit(ends.of, "a", bucket.ask("a")) for _ in range(4)]
        wait_for(lambda: bucket.asked)
        time.sleep(0.05)
        bucket.gate.set()
        for each in opened:
            with pytest.raises(OSError, match="a"):
                each.result()
    bucket.fails = False
    assert ends.of("a", bucket.ask("a")) == (100, b"a")


def test_ends_come_ahead_a_few_more_for_each_that_is_opened():
    ends, bucket = KeptEnds(), Bucket()
    with ends.expecting(bucket.asks(*PATHS)):
        wait_for(lambda: len(bucket.asked) == kept_ends._AHEAD)  # noqa: SLF001
        time.sleep(0.05)
        assert len(bucket.asked) == kept_ends._AHEAD  # noqa: SLF001
        for path in PATHS:
            for _ in range(3):
                assert ends.of(path, bucket.ask(path)) == (100, path.encode())
    assert sorted(path for path, _ in bucket.asked) == sorted(PATHS)


def test_what_waits_to_be_opened_does_not_grow_old(monkeypatch):
    monkeypatch.setattr(kept_ends, "_KEPT_SECONDS", 0.05)
    ends, bucket = KeptEnds(), Bucket()
    with ends.expecting(bucket.asks("a", "b")):
        wait_for(lambda: len(bucket.asked) == 2)
        time.sleep(0.1)
        ends.of("a", bucket.ask("a"))
    assert len(bucket.asked) == 2


def test_what_fails_ahead_is_asked_for_by_whoever_opens_it():
    ends, bucket = KeptEnds(), Bucket()
    bucket.fails = True
    with ends.expecting(bucket.asks("a", "b")):
        wait_for(lambda: len(bucket.asked) == 2)
        bucket.fails = False
        wait_for(lambda: not ends._ends)  # noqa: SLF001
        assert ends.of("b", bucket.ask("b")) == (100, b"b")


def test_a_block_that_is_left_early_asks_for_no_more_and_the_next_one_asks_anew():
    ends, bucket = KeptEnds(), Bucket()
    before = threading.active_count()
    with ends.expecting(bucket.asks(*PATHS)):
        ends.of(PATHS[0], bucket.ask(PATHS[0]))
    assert threading.active_count() == before
    assert len(bucket.asked) <= kept_ends._AHEAD + 1  # noqa: SLF001
    bucket.asked.clear()
    ends.of(PATHS[0], bucket.ask(PATHS[0]))
    assert len(bucket.asked) == 1
