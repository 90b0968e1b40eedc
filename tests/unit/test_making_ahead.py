"""Items that are made ahead are the same items, and so are the errors on the way."""

import threading

import pytest

from thermocline.stores.ahead import ahead


def test_items_come_in_order_and_are_made_in_another_thread():
    made_in = []

    def numbers():
        for number in range(5):
            made_in.append(threading.current_thread())
            yield number

    assert list(ahead(numbers())) == [0, 1, 2, 3, 4]
    assert threading.current_thread() not in made_in
    assert list(ahead([])) == []
    assert list(ahead([None, None])) == [None, None]


def test_what_is_raised_comes_after_the_items_before_it():
    def failing():
        yield 1
        raise LookupError

    items = ahead(failing())
    assert next(items) == 1
    with pytest.raises(LookupError):
        next(items)


def test_whoever_stops_early_leaves_no_thread_and_closes_what_made_the_items():
    closed = []

    def endless():
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    items = ahead(endless())
    next(items)
    items.close()
    del items
    assert closed == [True]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("thermocline-ahead")]
