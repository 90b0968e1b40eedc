"""Everything that docs/benchmarks.md tells, measured beside what people would use instead; makes that page's tables.

    make bench
    make bench ARGS="--only load --only export --rows 1000000"
    make bench ARGS="--render"        # make the page and its plots of what was measured before

Each topic is measured in a process of its own, in a folder that is gone afterwards; one that fails says so, the others
go on, and the exit code is 1. What was found is written to docs/benchmarks/results.json, topic by topic: a run of a
part leaves the other topics as they were.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pages
from measuring import machine, say, scratch
from peers import findings
from peers.findings import Asked

TOPICS = {
    "measures": "",
    "load": "peers.loading",
    "export": "peers.exporting",
    "rotation": "peers.removing",
    "memory": "peers.remembering",
    "bytes": "peers.weighing",
    "reads": "peers.reads",
    "hybrid": "peers.hybrid",
    "aggregates": "peers.aggregates",
    "small": "peers.small",
    "scale": "peers.growing",
    "dagster": "peers.dagster_days",
}
"""Topics in the order of the page, and the module that measures each."""

TOPIC_SECONDS = 900
"""After which a topic is given up."""

_SPAWNED = multiprocessing.get_context("spawn")


def topic(name: str, folder: Path, asked: Asked) -> tuple[list[dict[str, Any]], str]:
    """The tables of a topic, and what went wrong, if anything did."""
    ours, theirs = _SPAWNED.Pipe(duplex=False)
    process = _SPAWNED.Process(target=_measure, args=(theirs, TOPICS[name], folder, asked))
    process.start()
    theirs.close()
    tables: list[dict[str, Any]] = []
    until = time.monotonic() + TOPIC_SECONDS
    try:
        while ours.poll(max(0.0, until - time.monotonic())):
            what, found = ours.recv()
            if what == "over":
                return tables, found
            tables.append(found)
    except EOFError:
        process.join()
        return tables, f"its process ended with code {process.exitcode}"
    else:
        return tables, f"it took more than {TOPIC_SECONDS} seconds"
    finally:
        if process.is_alive():
            process.join(2)
            process.kill()
        process.join()


def _measure(pipe: Connection, module: str, folder: Path, asked: Asked) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the process that started this one cleans up
    problems = ""
    try:
        for table in importlib.import_module(module).measure(folder, asked):
            pipe.send(("table", table.as_json()))
    except Exception:  # noqa: BLE001  # told to whoever waits
        problems = traceback.format_exc()
    pipe.send(("over", "\n".join([*findings.FAILURES, problems]).strip()))


def measures(asked: Asked) -> tuple[dict[str, Any], str]:
    """What `make bench-quick` says, in a process of its own, with as many rounds as all else gets."""
    options = ["--share", str(asked.share), "--rounds", str(asked.rounds)]
    quick = [sys.executable, str(Path(__file__).with_name("quick.py")), *options]
    done = subprocess.run(quick, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return {}, f"bench-quick ended with code {done.returncode}"
    return json.loads(done.stdout.strip().splitlines()[-1]), ""


def measured(chosen: Sequence[str], asked: Asked, parent: Path | None, results: Path) -> list[str]:
    """Measure topics, keep what was found; the names of those that failed."""
    kept = pages.read(results)
    failed = []
    with scratch(parent) as folder:
        for name in chosen:
            say(f"---- {name}")
            began = time.perf_counter()
            entry: dict[str, Any] = {"on": datetime.now(UTC).date().isoformat(), "share": asked.share}
            if name == "measures":
                figures, problems = measures(asked)
                entry |= {"figures": figures}
                found: Any = figures
            else:
                found, problems = topic(name, folder, asked)
                entry |= {"tables": found}
            entry["seconds"] = round(time.perf_counter() - began, 1)
            if problems:
                failed.append(name)
                say(f"{name} failed:\n{problems}")
            if found:
                kept.setdefault("topics", {})[name] = entry
                kept["machine"] = machine()
                pages.write(results, kept)
            for table in entry.get("tables", ()):
                print(pages.table_text(table), file=sys.stderr, flush=True)
    return failed


def main() -> int:
    """Measure, write down, make the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(TOPICS), action="append", help="these alone; may be said several times")
    parser.add_argument("--rows", type=int, action="append", help="sizes of load, export and rotation [1 M and 5 M]")
    parser.add_argument("--rounds", type=int, default=3, help="how often each way goes")
    parser.add_argument("--share", type=float, default=1.0, help="a share of the rows, to try out; needs --results")
    parser.add_argument("--results", type=Path, default=pages.RESULTS, help="where figures are kept, as JSON")
    parser.add_argument("--scratch", type=Path, help="where the folder is made; it needs 10 GiB")
    parser.add_argument("--render", action="store_true", help="only make the page and its plots of what is kept")
    chosen = parser.parse_args()
    if chosen.share != 1.0 and chosen.results == pages.RESULTS:
        parser.error("a share of the rows gives no figures for the page: say --results FILE too")
    failed: list[str] = []
    if not chosen.render:
        asked = Asked(tuple(chosen.rows or Asked.rows), chosen.share, chosen.rounds)
        os.environ.setdefault("PYTHONWARNINGS", "ignore")
        failed = measured(chosen.only or list(TOPICS), asked, chosen.scratch, chosen.results)
    if chosen.results == pages.RESULTS:
        pages.render(chosen.results)
    say(f"failed: {', '.join(failed)}" if failed else "done")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
