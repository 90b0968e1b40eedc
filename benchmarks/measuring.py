"""What every measurement shares: room of its own that is cleaned up, acts in turns, medians, and words on the way."""

import contextlib
import os
import platform
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Act = Callable[[], Any]

PACKAGES = (
    "thermocline",
    "duckdb",
    "pyarrow",
    "psycopg",
    "pandas",
    "dagster",
    "polars",
    "connectorx",
    "adbc-driver-postgresql",
    "asyncpg",
    "pgpq",
)
"""Whose versions are told with the figures."""

_BEGAN = time.perf_counter()
_BYTES_PER_KIB = 1024


def say(text: str) -> None:
    """Tell how far it is, on stderr."""
    print(f"[{time.perf_counter() - _BEGAN:6.1f} s] {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def scratch(parent: Path | None = None) -> Iterator[Path]:
    """A folder that is gone afterwards, with every PostgreSQL that was started in it, also after Ctrl-C."""
    from thermocline.stores import embedded  # noqa: PLC0415  # `--help` need not pay for it
    from thermocline.stores.embedded_process import is_server  # noqa: PLC0415  # as above

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="thermocline-benchmark-", dir=parent))
    folder.chmod(0o755)  # the server may run as somebody else, and reads and writes files of COPY here
    try:
        yield folder
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave a server running
        for data in folder.glob("*/postgres/data/postmaster.pid"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                pid = int(data.read_text().splitlines()[0])
                if is_server(pid, data.parent):
                    os.kill(pid, signal.SIGQUIT)  # at once, and all of them: nothing need be kept
        for data in folder.glob("*/postgres"):
            with contextlib.suppress(Exception):
                embedded.stop(data.parent)
        with ThreadPoolExecutor() as pool:  # thousands of files: several at a time take half as long
            list(pool.map(partial(shutil.rmtree, ignore_errors=True), folder.glob("*")))
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def seconds(act: Act) -> float:
    """How long an act takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def interleaved(acts: Mapping[str, Act], rounds: int, *, warm: int = 1, before: Act | None = None) -> dict[str, float]:
    """The median seconds of each act: all of them in turns, so that what else the machine does hits all alike.

    Each is done `warm` times first, untimed. `before` is done before each, untimed.
    """
    for act in acts.values():
        for _ in range(warm):
            act()
    taken: dict[str, list[float]] = {name: [] for name in acts}
    names = list(acts)
    for number in range(rounds):
        # Nobody always comes first, or after the same one.
        for name in names[number % len(names) :] + names[: number % len(names)]:
            if before:
                before()
            taken[name].append(seconds(acts[name]))
    return {name: statistics.median(each) for name, each in taken.items()}


def tell(title: str, taken: Mapping[str, float], note: str = "") -> None:
    """Print a line: how long each way takes, and how many times as long as ours, the first one."""
    ours = next(iter(taken.values()))
    parts = [f"{name} {1000 * each:.0f} ms ({each / ours:.2f})" for name, each in taken.items()]
    print(" · ".join([f"{title:26s}", *parts, *([note] if note else [])]), flush=True)


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def peak_bytes() -> int:
    """The most memory that this process has had, resident, since it began."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage's, which counts the process that this one was forked from.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * _BYTES_PER_KIB
    import resource  # noqa: PLC0415  # on macOS, where it is bytes

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def machine() -> dict[str, Any]:
    """What this ran on."""
    from thermocline.stores.embedded_process import Programs  # noqa: PLC0415  # as above

    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "postgresql": str(Programs.find().major),
        "versions": versions,
    }


def _processor() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith("model name")).split(":")[1].strip()
    return platform.processor()
