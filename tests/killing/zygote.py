"""A process that forks others, each of which does one act and may die by SIGKILL in the middle of it.

It has imported everything and opened nothing, so a fork begins to work within milliseconds and shares neither a thread
nor a connection with anybody. The one who dies says at which point, and then kills itself there: no exception is
raised, nothing is closed, nothing is written any more. At a moment instead of a point, it is killed from outside.
"""

import contextlib
import importlib
import json
import os
import pkgutil
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

_ALSO = (
    "alembic.command",
    "boto3",
    "botocore.handlers",
    "alembic.ddl.postgresql",
    "gcsfs",
    "google.cloud.storage",
    "pandas",
    "psycopg_binary",
    "pyarrow.dataset",
    "pyiceberg.avro.decoder_fast",
    "pyiceberg.io.pyarrow",
    "pyiceberg.table.update.snapshot",
    "s3fs",
    "sqlalchemy.dialects.postgresql.psycopg",
)


@dataclass(frozen=True)
class Kill:
    """Where a process is to die: at a point the n-th time it is reached, or after so many seconds."""

    point: str = ""
    occurrence: int = 1
    after_seconds: float | None = None


@dataclass(frozen=True)
class Ended:
    """How a process ended: its signal (0: none), the point at which it killed itself, and what it did reach."""

    signal: int
    killed_at: str = ""
    reached: Mapping[str, int] = field(default_factory=dict)
    error: str = ""

    @property
    def was_killed(self) -> bool:
        """Whether it died by SIGKILL, which nobody survives and nobody can clean up after."""
        return self.signal == signal.SIGKILL

    def done(self) -> Self:
        """Itself; an error where it neither died nor did what it should."""
        assert not self.error, self.error
        assert self.signal == 0, f"died by signal {self.signal}"
        return self


class Zygote:
    """The side of whoever gives the orders. One process works at a time."""

    def __init__(self) -> None:
        """Start it; it is ready when the first order is taken."""
        folder = Path(__file__).parent.parent
        environ = {name: value for name, value in os.environ.items() if not name.startswith("THERMOCLINE_")}
        environ["OPENBLAS_NUM_THREADS"] = "1"  # else importing numpy starts threads
        environ["PYTHONPATH"] = os.pathsep.join([str(folder.parent), str(folder)])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "killing.zygote"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ
        )

    def run(self, home: Path, act: str, order: Mapping[str, Any], kill: Kill | None = None) -> Ended:
        """Let a process do an act; say how it ended."""
        kill = kill or Kill()
        line = json.dumps([str(home), act, order, kill.point, kill.occurrence, kill.after_seconds])
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the zygote is gone"
        return Ended(**json.loads(answer))

    def close(self) -> None:
        """End it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)
        if self._process.stdout:
            self._process.stdout.close()


@contextlib.contextmanager
def zygote() -> Iterator[Zygote]:
    """A zygote, for as long as the block lasts."""
    started = Zygote()
    try:
        yield started
    finally:
        started.close()


# ------------------------------------------------------------------------------------------------ the zygote's side


def main() -> None:
    """Import everything, then take orders, a line each, until there are no more."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever a process prints is no answer
    _import_everything()
    if running := _threads():
        msg = f"threads run already, which a fork would lack: {running}"
        raise RuntimeError(msg)
    for line in sys.stdin:
        home, act, order, *kill = json.loads(line)
        answers.write(f"{json.dumps(_ended(home, act, order, Kill(*kill)))}\n".encode())


def _import_everything() -> None:
    """Import all but DuckDB, whose import starts a thread, and what can't be without it: 50 ms for each fork."""
    import thermocline  # noqa: PLC0415  # only here, not where the orders are given

    sys.modules["duckdb"] = None  # type: ignore[assignment]  # this makes its import fail
    importlib.import_module("_duckdb")
    names = [module.name for module in pkgutil.walk_packages(thermocline.__path__, "thermocline.")]
    for name in (*names, *_ALSO):
        if "migrations" not in name and not name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # needs DuckDB, or an extra that is not installed
                importlib.import_module(name)
    del sys.modules["duckdb"]


def _threads() -> list[str]:
    """The names of threads besides this one; jemalloc's own knows what a fork is, and starts anew in it."""
    tasks = Path("/proc/self/task")
    if not tasks.exists():
        return [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    names = [(task / "comm").read_text().strip() for task in tasks.iterdir() if task.name != str(os.getpid())]
    return [name for name in names if name != "jemalloc_bg_thd"]


def _ended(home: str, act: str, order: dict[str, Any], kill: Kill) -> dict[str, Any]:
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        _live_and_die(home, act, order, kill, tell)
    os.close(tell)
    if kill.after_seconds is not None:
        select.select([told], [], [], kill.after_seconds)
        os.kill(pid, signal.SIGKILL)  # still there, if only as a zombie: nobody has waited for it
    with os.fdopen(told, "rb") as pipe:
        last = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status), **(json.loads(last) if last else {})}
    return {"signal": 0, **(json.loads(last) if last else {"error": f"it ended without a word, with {status}"})}


def _live_and_die(home: str, act: str, order: dict[str, Any], kill: Kill, tell: int) -> None:
    """Be the process that works. Does not return."""
    counts: Counter[str] = Counter()
    counting = threading.Lock()

    def listener(point: str) -> None:
        with counting:
            counts[point] += 1
            if point == kill.point and counts[point] == kill.occurrence:
                os.write(tell, json.dumps({"killed_at": point, "reached": counts}).encode())
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)  # the lock is held: no other thread passes a point before the signal is there

    try:
        from killing.acts import do  # noqa: PLC0415  # brings DuckDB
        from thermocline.faults import listening  # noqa: PLC0415

        with listening(listener):
            do(home, act, order)
        os.write(tell, json.dumps({"reached": counts}).encode())
    except BaseException:  # noqa: BLE001  # whoever gave the order is to see it
        os.write(tell, json.dumps({"reached": counts, "error": traceback.format_exc()[-30_000:]}).encode())
    os._exit(0)


if __name__ == "__main__":
    main()
