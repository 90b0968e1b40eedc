"""Answers that are kept, so that the same question to the same vintages need not be read again."""

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


answered_from: ContextVar[str] = ContextVar("answered_from", default="")
"""The name of the cache that the answer opened last in this thread came from; empty where it was read anew."""


@dataclass(frozen=True, slots=True)
class CacheState:
    """What a cache holds, and how often it had what it was asked for.

    Of one that processes share, hits and misses are those of all of them. `url` has no credentials; `trouble` says why
    it can't be used now, and is empty where it can.
    """

    name: str
    limit_bytes: int
    entries: int = 0
    size_bytes: int = 0
    hits: int = 0
    misses: int = 0
    url: str = ""
    trouble: str = ""

    def document(self) -> dict[str, Any]:
        """The state as one JSON object."""
        return {
            "cache": self.name,
            "url": self.url or None,
            "entries": self.entries,
            "bytes": self.size_bytes,
            "limit_bytes": self.limit_bytes,
            "hits": self.hits,
            "misses": self.misses,
            "trouble": self.trouble or None,
        }


class Cache(Protocol):
    """Answers by a key that says all of what was asked and of what: an answer never gets old, it is only let go.

    Many threads may use one. It never fails: what it can't give is not there, what it can't keep it does not keep.
    """

    @property
    def name(self) -> str:
        """What it is called among the caches."""
        ...

    def get(self, key: str) -> "pa.Table | None":
        """The answer that was put there, whole, or None."""
        ...

    def put(self, key: str, answer: "pa.Table") -> None:
        """Keep an answer, and let go what was not asked for longest where room is needed."""
        ...

    def state(self) -> CacheState:
        """What it holds."""
        ...

    def clear(self) -> int:
        """Let everything go; say how many answers that were.

        Raises:
            CacheError: It can't be reached; what it holds stays until it is too old.
        """
        ...

    def close(self) -> None:
        """Give connections back. They are opened again when it is used again."""
        ...


class KeptAnswers(Protocol):
    """What a lake keeps of its answers, in one cache behind another."""

    def states(self) -> Sequence[CacheState]:
        """What each cache holds, the nearest first."""
        ...

    def clear(self) -> int:
        """Let all answers go, everywhere; say how many there were.

        Raises:
            CacheError: A cache can't be reached; the nearer ones are empty.
        """
        ...
