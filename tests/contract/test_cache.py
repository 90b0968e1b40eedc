"""What every cache of answers promises, and what the lake keeps in them."""

import logging
import multiprocessing
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
import redis as redis_client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_rows import DAY, NOON, bars, rows
from redis_server import redis_server

from thermocline.errors import CacheError
from thermocline.model.datasets import DATASETS, MARKET_DATA
from thermocline.model.partition import Partition, midnight
from thermocline.model.query import Query, Segment, Tier
from thermocline.model.receipt import Vintage
from thermocline.stores.open import open_lake, open_results
from thermocline.stores.redis import RedisCache
from thermocline.stores.results import MemoryCache, Results, key_of

MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@contextmanager
def redis_cache(server, **said):
    cache = RedisCache(server.url, **{"limit_bytes": 4 * MIB, "max_entry_bytes": MIB, "ttl_seconds": 60, **said})
    try:
        yield cache
    finally:
        cache.close()


@pytest.fixture
def redis(server):
    with redis_cache(server) as cache:
        cache.clear()
        yield cache


@pytest.fixture(params=["memory", "redis"])
def cache(request):
    return MemoryCache(4 * MIB) if request.param == "memory" else request.getfixturevalue("redis")


def noise(size_bytes, seed=0):
    """An answer that no compression makes smaller."""
    import random  # noqa: PLC0415

    return pa.table({"noise": [random.Random(seed).randbytes(size_bytes)]})  # noqa: S311


# ------------------------------------------------------------------------------------------------------------- a cache


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


# ------------------------------------------------------------------------------------------------ a Redis that is odd


def _use_from_another_process(url, answers):
    cache = RedisCache(url, limit_bytes=4 * MIB, max_entry_bytes=MIB, ttl_seconds=60)
    answers.put(cache.get("mine").num_rows)
    cache.put("theirs", noise(2000))
    cache.close()


def test_two_processes_share_what_they_keep(redis, server):
    redis.put("mine", noise(1000))
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    other = context.Process(target=_use_from_another_process, args=(server.url, answers))
    other.start()
    assert answers.get(timeout=60) == 1
    other.join()
    assert redis.get("theirs").equals(noise(2000))
    assert redis.state().entries == 2


def test_an_answer_leaves_redis_when_its_time_is_over(server):
    with redis_cache(server, ttl_seconds=1) as cache:
        cache.clear()
        cache.put("a", noise(1000))
        assert cache.get("a") is not None
        time.sleep(1.2)
        assert cache.get("a") is None
        cache.put("b", noise(1000))
        assert cache.state().entries == 1, "what has ended is not counted any more"


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"TCA1",
        lambda value: value[:-1],
        lambda value: value[:-1] + bytes([value[-1] ^ 1]),
        lambda value: b"\x80\x05" + value[2:],
        lambda value: value + b"more",
        lambda _: b"x" * 3 * MIB,
    ],
)
def test_what_is_damaged_in_redis_is_never_given_out(redis, server, damage):
    redis.put("a", noise(1000))
    with redis_client.Redis.from_url(server.url) as raw:
        name = next(key for key in raw.scan_iter() if key.endswith(b":a"))
        raw.set(name, damage(raw.get(name)))
        assert redis.get("a") is None
        redis.put("a", noise(1000))
        assert redis.get("a").equals(noise(1000))


def test_an_answer_under_another_key_is_not_that_key_s(redis, server):
    redis.put("a", noise(1000))
    with redis_client.Redis.from_url(server.url) as raw:
        name = next(key for key in raw.scan_iter() if key.endswith(b":a"))
        raw.rename(name, name[:-1] + b"b")
    assert redis.get("b") is None


def test_keys_that_mean_something_else_to_redis_are_told_and_passed_by(redis, server, caplog):
    with redis_client.Redis.from_url(server.url) as raw:
        raw.set("{thermocline:answers:1}:uses", "no set")
        redis.put("a", noise(1000))
        assert redis.get("a") is None
        raw.delete("{thermocline:answers:1}:uses")
    assert "WRONGTYPE" in caplog.text


def test_other_people_s_keys_are_left_alone(redis, server):
    with redis_client.Redis.from_url(server.url) as raw:
        raw.set("theirs", "value")
        redis.put("a", noise(1000))
        redis.clear()
        assert raw.keys() == [b"theirs"]
        raw.delete("theirs")


def test_a_redis_that_dies_costs_one_look_and_is_found_again(tmp_path, caplog):
    now = [0.0]
    with redis_server(tmp_path) as server, redis_cache(server, clock=lambda: now[0]) as cache:
        cache.put("a", noise(1000))
        server.kill()
        caplog.set_level(logging.DEBUG, "thermocline.stores.redis")
        for _ in range(50):
            assert cache.get("a") is None
            cache.put("b", noise(1000))
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        now[0] += 1.5
        assert cache.get("a") is None
        now[0] += 1.5
        assert cache.get("a") is None
        assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG"], "the second pause is longer"
        assert "can't" not in cache.state().trouble
        assert "Error" in cache.state().trouble
        with pytest.raises(CacheError, match="can't be cleared"):
            cache.clear()
        server.start()
        now[0] += 60
        assert cache.get("a") is None
        cache.put("a", noise(1000))
        assert cache.get("a").equals(noise(1000))


def test_a_redis_that_answers_nothing_costs_one_look(tmp_path, caplog):
    now = [0.0]
    with redis_server(tmp_path) as server, redis_cache(server, clock=lambda: now[0]) as cache:
        cache.put("a", noise(1000))
        with server.stopped():
            for _ in range(50):
                assert cache.get("a") is None
        assert len(caplog.records) == 1
        now[0] += 60
        assert cache.get("a") is not None


def test_a_redis_that_is_full_still_gives_what_it_has(tmp_path, caplog):
    with (
        redis_server(tmp_path, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as server,
        redis_cache(server, limit_bytes=64 * MIB) as cache,
    ):
        for number in range(8):
            cache.put(f"{number}", noise(500_000, number))
        assert cache.get("0").equals(noise(500_000, 0))
        assert cache.get("7") is None
    assert "OutOfMemoryError" in caplog.text


def test_a_redis_that_throws_things_away_itself_is_used_as_far_as_it_goes(tmp_path):
    with (
        redis_server(tmp_path, "--maxmemory", "4mb", "--maxmemory-policy", "allkeys-random") as server,
        redis_cache(server, limit_bytes=64 * MIB) as cache,
    ):
        for number in range(40):
            cache.put(f"{number}", noise(500_000, number))
            found = cache.get(f"{number // 2}")
            assert found is None or found.equals(noise(500_000, number // 2))
        assert not cache.state().trouble


def test_no_password_is_shown(tmp_path, caplog):
    with redis_server(tmp_path, "--requirepass", "hush") as server:
        cache = RedisCache(f"unix://:wrong-hush@{server.socket}", limit_bytes=MIB, max_entry_bytes=MIB, ttl_seconds=60)
        assert cache.get("a") is None
        with pytest.raises(CacheError) as error:
            cache.clear()
        told = caplog.text + repr(cache) + str(cache.state()) + str(error.value)
        cache.close()
        allowed = RedisCache(f"unix://:hush@{server.socket}", limit_bytes=MIB, max_entry_bytes=MIB, ttl_seconds=60)
        allowed.put("a", noise(1000))
        assert allowed.get("a") is not None
        allowed.close()
    assert "***" in told
    assert "hush" not in told


# -------------------------------------------------------------------------------------------------------------- levels


class Stream:
    """An answer that counts how often it is opened."""

    def __init__(self, *tables):
        """Answer with the rows of these tables."""
        self.tables, self.opened = tables, 0

    @contextmanager
    def __call__(self):
        """Open it."""
        self.opened += 1
        batches = (batch for table in self.tables for batch in table.to_batches())
        yield pa.RecordBatchReader.from_batches(self.tables[0].schema, batches)


def read(results, key, stream):
    with results.stream(key, stream.tables[0].schema, stream) as reader:
        return reader.read_all()


def test_what_the_far_cache_has_comes_to_the_near_one():
    near, far = MemoryCache(MIB), MemoryCache(MIB)
    far.put("a", noise(1000))
    results, stream = Results([near, far]), Stream(noise(1000))
    assert read(results, "a", stream).equals(noise(1000))
    assert read(results, "a", stream).equals(noise(1000))
    assert (stream.opened, near.state().hits, far.state().hits) == (0, 1, 1)


def test_only_what_was_read_to_its_end_is_kept():
    results, stream = Results([MemoryCache(MIB)]), Stream(noise(1000, 0), noise(1000, 1))
    with results.stream("a", stream.tables[0].schema, stream) as reader:
        reader.read_next_batch()
    assert read(results, "a", stream).num_rows == 2
    assert read(results, "a", stream).num_rows == 2
    assert stream.opened == 2


def test_what_breaks_off_is_not_kept():
    results = Results([MemoryCache(MIB)])

    @contextmanager
    def breaking():
        def batches():
            yield from noise(1000).to_batches()
            raise OSError("broke off")  # noqa: TRY003, EM101

        yield pa.RecordBatchReader.from_batches(noise(1).schema, batches())

    with results.stream("a", noise(1).schema, breaking) as reader, pytest.raises(OSError, match="broke off"):
        reader.read_all()
    assert [state.entries for state in results.states()] == [0]


def test_nothing_is_held_of_an_answer_that_is_too_large():
    results = Results([MemoryCache(64 * MIB)], max_entry_bytes=MIB)
    stream = Stream(*(noise(300_000, number) for number in range(20)))
    held = []
    before = pa.total_allocated_bytes()

    @contextmanager
    def made():
        def batches():
            for number in range(40):
                held.append(pa.total_allocated_bytes() - before)
                yield pa.record_batch({"number": pa.array(range(number, number + 40_000), pa.int64())})

        yield pa.RecordBatchReader.from_batches(pa.schema({"number": pa.int64()}), batches())

    with results.stream("b", pa.schema({"number": pa.int64()}), made) as reader:
        for _ in reader:
            pass
    assert max(held) < 3 * MIB
    assert read(results, "a", stream).num_rows == 20
    assert [state.entries for state in results.states()] == [0]


def test_a_made_answer_is_made_once():
    results, made = Results([MemoryCache(MIB)]), []

    def produce():
        made.append(1)
        return noise(1000)

    assert results.cached("a", produce).equals(results.cached("a", produce))
    assert len(made) == 1
    assert Results().cached("a", produce).equals(noise(1000))
    assert len(made) == 2


# ------------------------------------------------------------------------------------------------------------ the lake


@pytest.fixture
def lake(tmp_path):
    results = open_results(memory_mib=8, max_entry_mib=1)
    with open_lake(
        str(tmp_path / "lake"), catalog_url=f"sqlite:///{tmp_path}/catalog.db", threads=1, results=results
    ) as lake:
        yield lake


def written(lake, number=0, version=1, **said):
    partition = Partition("market_data", "1day", DAY + timedelta(days=number))
    return Vintage(lake.write(partition, version, [bars(partition, **said)], run_id="run-1"), NOON)


def cold(*vintages):
    return Segment(Tier.COLD, "1day", tuple(v.partition.day for v in vintages), vintages)


def answer(lake, query, segment, late=None):
    with lake.scan(query, segment, late) as reader:
        return reader.read_all()


def hits(lake):
    state = lake.kept_answers.states()[0]
    return state.hits, state.misses


def test_the_same_question_to_the_same_vintages_is_read_once(lake):
    segment = cold(written(lake), written(lake, 1))
    first = answer(lake, Query(MARKET_DATA), segment)
    assert answer(lake, Query(MARKET_DATA), segment).equals(first)
    assert first.num_rows == 12
    assert hits(lake) == (1, 1)


def test_a_new_vintage_is_read_anew(lake):
    old = written(lake)
    assert answer(lake, Query(MARKET_DATA, columns=("close",)), cold(old))["close"][0].as_py() == Decimal("187.15")
    new = written(lake, close="1")
    assert new.receipt.path != old.receipt.path
    assert answer(lake, Query(MARKET_DATA, columns=("close",)), cold(new))["close"][0].as_py() == 1
    assert hits(lake) == (0, 2)


def test_late_rows_are_neither_kept_nor_answered_from_what_is_kept(lake):
    vintage = written(lake)
    segment, query = cold(vintage), Query(MARKET_DATA, columns=("symbol", "close"))
    before = answer(lake, query, segment)
    late = pa.table(bars(vintage.partition, ("AAPL",), 1, close="5", ingested_at=NOON + timedelta(days=1)))
    assert answer(lake, query, segment, late)["close"][0].as_py() == 5
    assert hits(lake) == (0, 1)
    assert answer(lake, query, segment, late.slice(0, 0)).equals(before)
    assert hits(lake) == (1, 1)


def test_late_rows_of_other_days_keep_nothing_from_being_kept(lake):
    vintage, other = written(lake), written(lake, 1)
    query = Query(MARKET_DATA, columns=("symbol", "close"))
    late = pa.table(bars(other.partition, ("AAPL",), 1, close="5", ingested_at=NOON + timedelta(days=1)))
    before = answer(lake, query, cold(vintage), late)
    assert answer(lake, query, cold(vintage), late).equals(before)
    assert hits(lake) == (1, 1)
    assert answer(lake, query, cold(vintage, other), late)["close"].to_pylist().count(5) == 1
    assert hits(lake) == (1, 1)


def test_an_answer_that_is_kept_outlives_its_object(lake):
    """The ledger says which vintages are live; an object that is missing is what `verify` finds, by reading."""
    vintage = written(lake)
    first = answer(lake, Query(MARKET_DATA), cold(vintage))
    lake.delete(vintage.receipt.path)
    assert answer(lake, Query(MARKET_DATA), cold(vintage)).equals(first)
    lake.kept_answers.clear()
    with pytest.raises(Exception, match="can't be read"):
        answer(lake, Query(MARKET_DATA), cold(vintage))
    with pytest.raises(Exception, match="is missing"):
        lake.observe(vintage.receipt)


symbols = st.lists(st.sampled_from(["AAPL", "MSFT", "IBM"]), max_size=3).map(tuple)
hours = st.one_of(st.none(), st.integers(0, 71))
columns = st.lists(st.sampled_from(["symbol", "ts", "close", "volume"]), max_size=3, unique=True).map(tuple)


@pytest.fixture
def three_days(lake):
    return lake, cold(*(written(lake, number, count=30) for number in range(3)))


@given(symbols, st.tuples(hours, hours), columns, st.one_of(st.none(), st.integers(1, 20)))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_answer_is_the_one_that_is_read(three_days, symbols, between, columns, limit):
    """One cache for all examples: a key that two questions shared would show."""
    lake, segment = three_days
    first, last = between
    start = None if first is None else midnight(DAY) + timedelta(hours=first)
    end = None if last is None else midnight(DAY) + timedelta(hours=(first or 0) + last + 1)
    query = Query(MARKET_DATA, start, end, symbols, (), columns, limit)
    kept = lake._results  # noqa: SLF001  # the same lake without a cache
    found = answer(lake, query, segment)
    lake._results = Results()  # noqa: SLF001
    assert answer(lake, query, segment).equals(found)
    lake._results = kept  # noqa: SLF001


def test_questions_with_one_answer_have_one_key(lake):
    segment = cold(written(lake), written(lake, 1))
    asked = Query(MARKET_DATA, symbols=("AAPL", "MSFT"))
    alike = [
        replace(asked, symbols=("MSFT", "AAPL", "MSFT")),
        replace(asked, start=midnight(DAY)),
        replace(asked, start=datetime(1999, 1, 1, tzinfo=UTC), end=midnight(DAY + timedelta(days=2))),
        replace(asked, as_of_vintage=NOON),
        replace(asked, columns=MARKET_DATA.names),
    ]
    assert {key_of(each, segment) for each in alike} == {key_of(asked, segment)}
    moved = replace(segment.vintages[0].receipt, sha256="0" * 64)
    others = [
        key_of(replace(asked, limit=1), segment),
        key_of(replace(asked, columns=("ts",)), segment),
        key_of(replace(asked, symbols=()), segment),
        key_of(replace(asked, start=midnight(DAY) + timedelta(microseconds=1)), segment),
        key_of(replace(asked, end=midnight(DAY + timedelta(days=1))), segment),
        key_of(replace(asked, dataset=replace(MARKET_DATA, schema_version=2)), segment),
        key_of(asked, segment, "count"),
        key_of(asked, cold(segment.vintages[0])),
        key_of(asked, cold(replace(segment.vintages[0], receipt=moved), segment.vintages[1])),
        key_of(asked, replace(segment, interval="1min")),
    ]
    assert len({key_of(asked, segment), *others}) == len(others) + 1
