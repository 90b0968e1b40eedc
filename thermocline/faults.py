"""Named points in the work at which a test can stop a process, and nothing else.

Off, a point costs a comparison with None. Points stand around every step that leaves something behind (an object, a
snapshot, a commit), so that a process killed at each of them leaves every state that a death can leave.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class Step(StrEnum):
    """A step that leaves something behind, or that something must not be left behind without."""

    GATHER = "gather"
    ARCHIVE = "archive"
    UPLOAD = "upload"
    READ_BACK = "read-back"
    VERIFY = "verify"
    JOURNAL = "journal"
    COMMIT = "commit"
    PUBLISH = "publish"
    CUT_OVER = "cut-over"
    DETACH = "detach"
    NOTE_HEAD = "note-head"
    RELEASE = "release"
    LOAD = "load"
    UNDO = "undo"
    INGEST = "ingest"
    SWAP = "swap"
    EXPIRE = "expire"


_listener: Callable[[str], None] | None = None


def reached(point: str) -> None:
    """Say that a point is reached; whoever listens may stop the process there."""
    if _listener is not None:
        _listener(point)


@contextmanager
def step(name: Step) -> Iterator[None]:
    """A step, with a point before it and one after it; none after it where it failed."""
    reached(f"{name}:before")
    yield
    reached(f"{name}:after")


@contextmanager
def listening(listener: Callable[[str], None]) -> Iterator[None]:
    """Tell `listener` each point that this process reaches inside the block, in any thread."""
    global _listener  # noqa: PLW0603  # one process, one listener: a point must not have to look for it
    _listener, earlier = listener, _listener
    try:
        yield
    finally:
        _listener = earlier
