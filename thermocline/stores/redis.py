"""Answers in a Redis, or in a Valkey, that processes share.

What is stored is Arrow's IPC format and nothing else, compressed, behind a checksum that covers the key. The space is
ours to bound: which answers there are, when each was asked for last and what they take is noted beside them, by
scripts, so that no two processes count differently. A Redis that is gone, slow or full of something else costs one
query a moment; the others pass it by until a pause is over.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from hashlib import blake2b
from typing import TypeVar

import pyarrow as pa
import pyarrow.ipc
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from thermocline.errors import CacheError
from thermocline.model.url import redacted, without_secrets
from thermocline.ports import CacheState
from thermocline.stores.results import write_ipc

T = TypeVar("T")

_log = logging.getLogger(__name__)

_PREFIX = "{thermocline:answers:1}:"
"""Of every key, with the version of what is stored. The braces put all of them into one slot of a cluster."""

_USES, _SIZES, _COUNTS = f"{_PREFIX}uses", f"{_PREFIX}sizes", f"{_PREFIX}counts"

_MAGIC, _CHECKSUM_BYTES = b"TCA1", 16
_HEADER_BYTES = len(_MAGIC) + _CHECKSUM_BYTES

_TIMEOUT_SECONDS = 0.25  # what is read anew takes no longer from most lakes
_SLOW_SECONDS = 1.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 60.0

_FAILURES = (redis.RedisError, OSError, ValueError)
_UNREACHABLE = (redis.ConnectionError, redis.TimeoutError, OSError)

# Where nothing can be noted, as in one that is full, what it has is given all the same.
_GET = """
local found = redis.call('GETRANGE', KEYS[1], 0, ARGV[2] - 1)
if #found == 0 then
  redis.pcall('HINCRBY', KEYS[3], 'misses', 1)
  return found
end
local now = redis.call('TIME')
redis.pcall('ZADD', KEYS[2], 'XX', now[1] * 1000 + math.floor(now[2] / 1000), ARGV[1])
redis.pcall('HINCRBY', KEYS[3], 'hits', 1)
return found
"""

# The notes come first: a Redis that is full, or that has something else there, refuses what a script writes first, and
# then nothing was written. `total` is no name of an answer: those are hexadecimal. Where Redis itself threw the notes
# away, what they spoke of is gone after its seconds, and counting begins anew.
_PUT = """
local prefix, name, value = ARGV[1], ARGV[2], ARGV[3]
local seconds, limit, size = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local now = redis.call('TIME')
local at = now[1] * 1000 + math.floor(now[2] / 1000)
local total = tonumber(redis.call('HGET', KEYS[3], 'total') or '0')
total = total - tonumber(redis.call('HGET', KEYS[3], name) or '0')
redis.call('ZADD', KEYS[2], at, name)
local function let_go(other)
  redis.call('DEL', prefix .. other)
  total = total - tonumber(redis.call('HGET', KEYS[3], other) or '0')
  redis.call('HDEL', KEYS[3], other)
  redis.call('ZREM', KEYS[2], other)
end
local ended = '(' .. (at - seconds * 1000)
for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ended, 'LIMIT', 0, 1000)) do
  let_go(old)
end
while total + size > limit do
  local oldest = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if oldest == name then
    redis.call('DEL', KEYS[3])
    total = 0
    break
  end
  let_go(oldest)
end
redis.call('SET', KEYS[1], value, 'EX', seconds)
redis.call('HSET', KEYS[3], name, size, 'total', total + size)
redis.call('EXPIRE', KEYS[2], seconds * 2)
redis.call('EXPIRE', KEYS[3], seconds * 2)
return total + size
"""

_OVERHEAD_BYTES = 512
"""What an answer takes beside its value: its key, twice its name, and Redis's own."""


class _Pause:
    """How long something that failed is left alone: longer with each failure, until it succeeds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._failures, self._until = clock, 0, 0.0

    @property
    def is_over(self) -> bool:
        return self._clock() >= self._until

    def begin(self) -> tuple[float, bool]:
        """Begin one; say how long it is, and whether it is the first in a row."""
        seconds = min(_FIRST_PAUSE_SECONDS * 2**self._failures, _LONGEST_PAUSE_SECONDS)
        self._failures = min(self._failures + 1, 16)
        self._until = self._clock() + seconds
        return seconds, self._failures == 1

    def end(self) -> None:
        self._failures, self._until = 0, 0.0


class RedisCache:
    """The port `Cache` over a Redis. Nothing connects before it is asked for something."""

    name = "redis"

    def __init__(
        self,
        url: str,
        *,
        limit_bytes: int,
        max_entry_bytes: int,
        ttl_seconds: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep at most `limit_bytes`, each answer at most `ttl_seconds` and in `max_entry_bytes`, compressed."""
        self._url, self._limit_bytes, self._max_entry_bytes = url, limit_bytes, min(max_entry_bytes, limit_bytes)
        self._ttl_seconds, self._clock = ttl_seconds, clock
        self._lock = threading.Lock()
        self._reading, self._writing = _Pause(clock), _Pause(clock)

    def __repr__(self) -> str:
        """The class and the URL without its password."""
        return f"RedisCache({redacted(self._url)!r})"

    @cached_property
    def _client(self) -> "redis.Redis":
        # A connection that was idle for long may be closed at the other end: that one failure is tried again.
        return redis.Redis.from_url(
            self._url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        )

    @cached_property
    def _scripts(self) -> tuple[Callable[..., object], Callable[..., object]]:
        return self._client.register_script(_GET), self._client.register_script(_PUT)

    def get(self, key: str) -> pa.Table | None:
        """See `Cache.get`. Of a value that is larger than any of ours not more than that is fetched."""
        most = self._max_entry_bytes + _HEADER_BYTES

        def ask() -> object:
            return self._scripts[0](keys=[_PREFIX + key, _USES, _COUNTS], args=[key, most])

        found = self._tried(ask, self._reading)
        if not isinstance(found, bytes) or not found:
            return None
        try:
            return _decoded(key, found)
        except (ValueError, OSError, pa.ArrowException) as error:
            _log.warning("an answer in the shared cache at %s is damaged and is read anew: %s", self._shown, error)
            self._tried(lambda: self._client.delete(_PREFIX + key), self._writing)
            return None

    def put(self, key: str, answer: pa.Table) -> None:
        """See `Cache.put`."""
        if not (self._reading.is_over and self._writing.is_over):
            return
        value = _encoded(key, answer)
        size_bytes = len(value) + _OVERHEAD_BYTES
        if len(value) > self._max_entry_bytes + _HEADER_BYTES or size_bytes > self._limit_bytes:
            return
        arguments = [_PREFIX, key, value, self._ttl_seconds, self._limit_bytes, size_bytes]
        self._tried(lambda: self._scripts[1](keys=[_PREFIX + key, _USES, _SIZES], args=arguments), self._writing)

    def state(self) -> CacheState:
        """See `Cache.state`. Answers that are too old may be counted still."""
        state = CacheState(self.name, self._limit_bytes, url=self._shown)
        try:
            pipeline = self._client.pipeline(transaction=False)
            pipeline.zcard(_USES)
            pipeline.hget(_SIZES, "total")
            pipeline.hgetall(_COUNTS)
            entries, total, counts = pipeline.execute()
        except _FAILURES as error:
            return CacheState(state.name, state.limit_bytes, url=state.url, trouble=_told(error))
        return CacheState(
            state.name,
            state.limit_bytes,
            entries=entries,
            size_bytes=int(total or 0),
            hits=int(counts.get(b"hits", 0)),
            misses=int(counts.get(b"misses", 0)),
            url=state.url,
        )

    def clear(self) -> int:
        """See `Cache.clear`."""
        notes = {_USES.encode(), _SIZES.encode(), _COUNTS.encode()}
        count = 0
        try:
            pattern = _PREFIX + "*"
            for key in self._client.scan_iter(match=pattern, count=1000):
                count += int(self._client.delete(key)) * (key not in notes)
        except _FAILURES as error:
            msg = (
                f"the shared cache at {self._shown} can't be cleared: {_told(error)}. Every answer in it is right and "
                f"ends by itself within {self._ttl_seconds} s; run this again once it can be reached"
            )
            raise CacheError(msg) from None
        return count

    def close(self) -> None:
        """See `Cache.close`."""
        if "_client" in self.__dict__:
            with suppress(*_FAILURES):
                self._client.close()

    @property
    def _shown(self) -> str:
        return redacted(self._url)

    def _tried(self, ask: Callable[[], T], pause: _Pause) -> T | None:
        """What Redis answers; None where it does not, or is left alone for now."""
        with self._lock:
            if not (pause.is_over and self._reading.is_over):
                return None
        began = self._clock()
        try:
            answer = ask()
        except _FAILURES as error:
            # Nobody who can't be reached takes anything either; who takes nothing may still give.
            self._leave_alone(self._reading if isinstance(error, _UNREACHABLE) else pause, _told(error))
            return None
        if (took := self._clock() - began) > _SLOW_SECONDS:
            self._leave_alone(self._reading, f"it took {took:.1f} s")
        else:
            with self._lock:
                pause.end()
        return answer

    def _leave_alone(self, pause: _Pause, reason: str) -> None:
        with self._lock:
            seconds, is_first = pause.begin()
        _log.log(
            logging.WARNING if is_first else logging.DEBUG,
            "the shared cache at %s is left alone for %d s, answers are read anew: %s",
            self._shown,
            seconds,
            reason,
        )


def _told(error: BaseException) -> str:
    """An error in one line, without any secret."""
    lines = without_secrets(str(error)).splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])


def _encoded(key: str, answer: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    write_ipc(sink, answer, pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", 1)))
    stream = sink.getvalue()
    return b"".join((_MAGIC, _checksum(key, stream), stream))


def _decoded(key: str, value: bytes) -> pa.Table:
    """The answer that a value holds.

    Raises:
        ValueError: It is none that was put there under this key.
    """
    stream = memoryview(value)[_HEADER_BYTES:]
    if not value.startswith(_MAGIC) or value[len(_MAGIC) : _HEADER_BYTES] != _checksum(key, stream):
        msg = "its checksum is not that of what was put there"
        raise ValueError(msg)
    with pa.ipc.open_stream(pa.py_buffer(stream)) as reader:
        return reader.read_all()


def _checksum(key: str, stream: "pa.Buffer | memoryview") -> bytes:
    digest = blake2b(key.encode(), digest_size=_CHECKSUM_BYTES)
    digest.update(stream)
    return digest.digest()
