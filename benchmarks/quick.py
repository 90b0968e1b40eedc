"""The measures of docs/benchmarks.md in about a minute; the last line of stdout is a JSON object of them.

    make bench-quick

Everything happens in a folder that is gone afterwards, with a PostgreSQL of its own. First all is prepared, in a
process each, and memory is measured, to which it does not matter what else is going on; then, in quiet, all that takes
time, each measure side by side with what it is held against. A table is on stderr.
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import asides
from asking import TOPICS, Asked
from measures import MEASURES
from measuring import scratch
from servers import Server


def main() -> None:
    """Measure, print a table on stderr and the JSON on stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=TOPICS, action="append", help="these alone; may be said several times")
    parser.add_argument("--rounds", type=int, default=1, help="how often everything is loaded and rotated")
    parser.add_argument("--share", type=float, default=1.0, help="only this share of the rows, to try things out")
    parser.add_argument("--scratch", type=Path, help="where the folder is made; it needs 4 GiB")
    chosen = parser.parse_args()
    asides.begin()
    with scratch(chosen.scratch) as folder:
        server = Server(folder / "server")
        from topics import measured  # noqa: PLC0415  # it takes a second, in which the others begin as well

        figures, about = measured(folder, server, Asked(chosen.only or TOPICS, chosen.rounds, chosen.share))
    found = [measure for measure in MEASURES if measure.name in figures]
    print(f"\n{'':36s}{'measured':>10s}   wanted", file=sys.stderr)
    for measure in found:
        figure = figures[measure.name]
        verdict = "" if measure.is_reached(figure) else "   missed"
        print(f"{measure.name:36s}{figure:10.3f}   {measure.wanted}{verdict}", file=sys.stderr)
    if chosen.share != 1.0:
        print(f"of {chosen.share:g} of the rows: these are not the measures", file=sys.stderr)
        about["share"] = chosen.share
    rounded = {measure.name: round(figures[measure.name], 3) for measure in found}
    print(json.dumps(rounded | {"about": about | {"on": datetime.now(UTC).date().isoformat()}}))


if __name__ == "__main__":
    main()
