"""A cache in a Redis that is shared, damaged, full, slow, or gone."""

import logging
import multiprocessing
import time

import pytest
import redis as redis_client
from cache_acts import MIB, noise, redis_cache
from redis_server import redis_server

from thermocline.errors import CacheError
from thermocline.stores.redis import RedisCache


def _use_from_another_process(url, answers):
    cache = RedisCache(url, limit_bytes=4 * MIB, max_entry_bytes=MIB, ttl_seconds=60)
    answers.put(cache.get("mine").num_rows)
    cache.put("theirs", noise(2000))
    cache.close()


def test_two_processes_share_what_they_keep(redis, shared_redis):
    redis.put("mine", noise(1000))
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    other = context.Process(target=_use_from_another_process, args=(shared_redis.url, answers))
    other.start()
    assert answers.get(timeout=60) == 1
    other.join()
    assert redis.get("theirs").equals(noise(2000))
    assert redis.state().entries == 2


def test_an_answer_leaves_redis_when_its_time_is_over(shared_redis):
    with redis_cache(shared_redis, ttl_seconds=1) as cache:
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
def test_what_is_damaged_in_redis_is_never_given_out(redis, shared_redis, damage):
    redis.put("a", noise(1000))
    with redis_client.Redis.from_url(shared_redis.url) as raw:
        name = next(key for key in raw.scan_iter() if key.endswith(b":a"))
        raw.set(name, damage(raw.get(name)))
        assert redis.get("a") is None
        redis.put("a", noise(1000))
        assert redis.get("a").equals(noise(1000))


def test_an_answer_under_another_key_is_not_that_key_s(redis, shared_redis):
    redis.put("a", noise(1000))
    with redis_client.Redis.from_url(shared_redis.url) as raw:
        name = next(key for key in raw.scan_iter() if key.endswith(b":a"))
        raw.rename(name, name[:-1] + b"b")
    assert redis.get("b") is None


def test_keys_that_mean_something_else_to_redis_are_told_and_passed_by(redis, shared_redis, caplog):
    with redis_client.Redis.from_url(shared_redis.url) as raw:
        raw.set("{thermocline:answers:1}:uses", "no set")
        redis.put("a", noise(1000))
        assert redis.get("a") is None
        raw.delete("{thermocline:answers:1}:uses")
    assert "WRONGTYPE" in caplog.text


def test_other_people_s_keys_are_left_alone(redis, shared_redis):
    with redis_client.Redis.from_url(shared_redis.url) as raw:
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
