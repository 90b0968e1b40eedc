"""Named points in the work at which a test can stop a process, and nothing else.

Points stand around every step that leaves something behind (an object, a snapshot, a commit), and inside of those that
leave more than one thing or that commit a transaction, so that a process killed at each of them leaves every state that
a death can leave. Off, a point costs a comparison with None, and a step less than a microsecond.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ContextDecorator, contextmanager
from enum import StrEnum
from types import TracebackType


class Step(StrEnum):
    """A step that leaves something behind, or that something must not be left behind without."""

    GATHER = "gather"
    OPEN_FETCH = "open-fetch"
    KEEP_PAGE = "keep-page"
    FINISH_FETCH = "finish-fetch"
    QUARANTINE = "quarantine"
    ARCHIVE = "archive"
    COMBINE = "combine"
    UPLOAD = "upload"
    PUT = "put"
    REPLACE = "replace"
    READ_BACK = "read-back"
    VERIFY = "verify"
    JOURNAL = "journal"
    COMMIT = "commit"
    PUBLISH = "publish"
    CUT_OVER = "cut-over"
    DETACH = "detach"
    NOTE_HEAD = "note-head"
    RELEASE = "release"
    FILL = "fill"
    LOAD = "load"
    UNDO = "undo"
    INGEST = "ingest"
    DELETE = "delete"
    SWAP = "swap"
    EXPIRE = "expire"
    DELETE_OBJECT = "delete-object"
    TRANSITION = "transition"
    HOLD = "hold"
    ACCEPT = "accept"
    REJECT = "reject"
    REHEARSE = "rehearse"
    REGISTER = "register"
    RESTORE = "restore"
    NOTE_SCHEMA = "note-schema"
    EVOLVE_TABLE = "evolve-table"
    EVOLVE = "evolve"
    NOTE_DERIVATIONS = "note-derivations"


INSIDE: Mapping[Step, tuple[str, ...]] = {
    Step.PUT: ("written", "named"),
    Step.REPLACE: ("written",),
    Step.COMMIT: ("committed",),
    Step.PUBLISH: ("committing",),
    Step.CUT_OVER: ("proved", "published", "committing"),
    Step.RELEASE: ("committing",),
    Step.FILL: ("copied",),
    Step.LOAD: ("committing",),
    Step.UNDO: ("attached", "committing"),
    Step.INGEST: ("committing",),
    Step.DELETE: ("committing",),
    Step.RESTORE: ("committing",),
    Step.EVOLVE_TABLE: ("committed",),
    Step.EVOLVE: ("altered", "committing"),
    Step.NOTE_DERIVATIONS: ("committing",),
    Step.SWAP: ("renamed", "committed"),
    Step.EXPIRE: ("committing",),
    Step.HOLD: ("committing",),
    Step.REJECT: ("committing",),
    Step.REHEARSE: ("loaded",),
}
"""Points between the first and the last of a step. `committing` is the last moment before a COMMIT is sent."""

POINTS: tuple[str, ...] = tuple(
    f"{name}:{where}" for name in Step for where in ("before", *INSIDE.get(name, ()), "after")
)
"""Every point there is. A test kills a process at each, and fails where one is not reached any more."""

_listener: Callable[[str], None] | None = None


def reached(point: str) -> None:
    """Say that a point is reached; whoever listens may stop the process there."""
    if _listener is not None:
        _listener(point)


def step(name: Step) -> "_Around":
    """A step, with a point before it and one after it; none after it where it failed. For `with`, or as a decorator."""
    return _Around(name)


class _Around(ContextDecorator):
    """What `step` gives. A class, since a generator would cost several times as much where nobody listens."""

    __slots__ = ("_name",)

    def __init__(self, name: Step) -> None:
        self._name = name

    def __enter__(self) -> None:
        if _listener is not None:
            _listener(f"{self._name}:before")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if _listener is not None and kind is None:
            _listener(f"{self._name}:after")


@contextmanager
def listening(listener: Callable[[str], None]) -> Iterator[None]:
    """Tell `listener` each point that this process reaches inside the block, in any thread."""
    global _listener  # noqa: PLW0603  # one process, one listener: a point must not have to look for it
    _listener, earlier = listener, _listener
    try:
        yield
    finally:
        _listener = earlier
