"""What every cache of answers promises, in memory or in a Redis."""

import threading
import time

import pyarrow as pa
import pytest
from cache_acts import MIB, noise
from made_rows import rows

from thermocline.model.datasets import DATASETS, MARKET_DATA
from thermocline.stores.results import MemoryCache


@pytest.fixture(params=["memory", "redis"])
def cache(request):
    return MemoryCache(4 * MIB) if request.param == "memory" else request.getfixturevalue("redis")


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=lambda dataset: dataset.name)
def test_an_answer_comes_back_exactly_as_it_was_put_there(cache, dataset):
    answer = pa.Table.from_batches([rows(dataset, 50), rows(dataset, 30, seed=1)]).slice(7, 60)
    assert cache.get("a") is None
    cache.put("a", answer)
    assert repr(cache.get("a").to_pydict()) == repr(answer.to_pydict()), "compared as text for the sake of NaN"
    assert cache.get("a").schema == answer.schema
    assert cache.get("b") is None
    state = cache.state()
    assert (state.entries, state.hits, state.misses, state.trouble) == (1, 2, 2, "")
    assert 0 < state.size_bytes <= state.limit_bytes


def test_an_empty_answer_is_an_answer(cache):
    empty = MARKET_DATA.arrow_schema.empty_table()
    cache.put("a", empty)
    assert cache.get("a").equals(empty)


def test_what_was_not_asked_for_longest_goes_first(cache):
    for number in range(4):
        cache.put(f"{number}", noise(900_000, number))
        time.sleep(0.002)
    assert cache.get("0") is not None
    cache.put("4", noise(900_000, 4))
    assert [cache.get(f"{number}") is not None for number in range(5)] == [True, False, True, True, True]


def test_it_never_takes_more_than_it_was_given(cache):
    for number in range(40):
        cache.put(f"{number % 30}", noise(1000 * (17 * number % 700), number))
        assert cache.state().size_bytes <= 4 * MIB
    assert 2 < cache.state().entries < 30


def test_what_is_larger_than_all_of_it_is_not_kept_and_drives_nothing_out(cache):
    cache.put("small", noise(1000))
    cache.put("large", noise(5 * MIB))
    assert cache.get("large") is None
    assert cache.get("small") is not None


def test_putting_an_answer_again_counts_it_once(cache):
    cache.put("a", noise(1000))
    size_bytes = cache.state().size_bytes
    cache.put("a", noise(1000))
    assert (cache.state().entries, cache.state().size_bytes) == (1, size_bytes)


def test_what_is_cleared_is_gone_and_its_room_is_free(cache):
    for number in range(3):
        cache.put(f"{number}", noise(1000, number))
    assert cache.clear() == 3
    assert cache.get("0") is None
    assert (cache.state().entries, cache.state().size_bytes) == (0, 0)
    assert cache.clear() == 0


def test_many_threads_may_use_it(cache):
    answers = [noise(50_000, number) for number in range(12)]
    wrong = []

    def use(thread):
        for step in range(60):
            number = (step * 7 + thread) % len(answers)
            cache.put(f"{number}", answers[number])
            found = cache.get(f"{(number + 1) % len(answers)}")
            if found is not None and not found.equals(answers[(number + 1) % len(answers)]):
                wrong.append(number)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    state = cache.state()
    assert state.entries == len(answers)
    assert state.hits + state.misses == 4 * 60


def test_memory_is_counted_as_it_is_held():
    """A slice of a large batch holds that batch; what is kept of it must not."""
    cache = MemoryCache(64 * MIB)
    large = pa.table({"number": pa.array(range(1_000_000))})
    before = pa.total_allocated_bytes()
    for number in range(100):
        cache.put(f"{number}", large.slice(number * 1000, 1000))
    held = pa.total_allocated_bytes() - before
    assert 100 * 8000 <= held <= cache.state().size_bytes <= 100 * 10_000
