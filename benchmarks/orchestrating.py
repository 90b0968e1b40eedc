"""What Dagster costs a partition: a backfill of many days as one run, less what it takes without Dagster.

    python benchmarks/orchestrating.py [--days 1825] [--postgresql]

Every day is in the lake already, and says nothing new.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from asides import Aside
from measuring import Act, say, scratch, seconds
from servers import database_url
from worlds import daily_bars, daily_days, days, lay, open_home, statement, synced_at_the_end

from thermocline.ports import Fetched, FetchRequest
from thermocline.stores.home import open_stores

KNOBS = {"DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "1", "DAGSTER_EVENT_BATCH_SIZE": "500"}
"""What the Makefile and docker-compose.yml set."""

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
"""Where Dagster keeps its records: by itself, or where it is told to."""

RECORDS = "dagster_records"
_YAML = "telemetry: {enabled: false}\nnux: {enabled: false}\n"


class OneBarADay:
    """A source with a daily bar a day."""

    name = "synthetic"

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """See `Source.fetch`."""
        tables = [pa.Table.from_batches(daily_bars(day, ["AAPL"])) for day in request.days]
        yield Fetched(pa.concat_tables(tables).drop_columns(["source", "ingested_at"]), "made up")


def run(home: Path, day_count: int, storages: Sequence[str]) -> Iterator[dict[str, dict[str, float]]]:
    """Seconds of a backfill as a Dagster run, and without Dagster, by where Dagster keeps its records (see `Aside`).

    A figure is a difference of four of them, and what a run takes anyway varies by as much as some days take: more days
    make it steadier than a second round, in less time.
    """
    os.environ |= KNOBS | {"DAGSTER_DISABLE_TELEMETRY": "yes"}
    # What Dagster tells the terminal costs as it does elsewhere, but nobody wants to read it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    import dagster as dg  # noqa: PLC0415  # reads the environment

    from pipelines.definitions import build_defs  # noqa: PLC0415

    span = days(day_count)
    with open_home(home) as tc, contextlib.ExitStack() as instances:
        with synced_at_the_end():
            lay(tc, daily_days(span, ["AAPL"]), "daily")
        statement(tc, f"CREATE DATABASE {RECORDS}")
        defs = build_defs(_resources(dg, tc.settings, open_stores(tc.settings)), tc.settings)
        job = defs.resolve_job_def("backfill")

        def as_a_run(instance: Any, last: date) -> None:
            job.execute_in_process(
                tags={
                    "dagster/asset_partition_range_start": str(span[0]),
                    "dagster/asset_partition_range_end": str(last),
                },
                instance=instance,
            )

        def alone(last: date) -> None:
            tc.backfill("market_data", source=OneBarADay(), start=span[0], end=last + timedelta(days=1))

        kept = {name: instances.enter_context(_instance(dg, home, tc.hot.url, name)) for name in storages}
        for instance in kept.values():
            as_a_run(instance, span[1])
        alone(span[-1])  # nobody is to be the first to read the days
        yield {}
        acts: dict[tuple[str, str], Act] = {}
        for when, last in (("one day", span[0]), ("all days", span[-1])):
            acts[f"{when} without", ""] = partial(alone, last)
            acts |= {(f"{when} with Dagster", name): partial(as_a_run, kept[name], last) for name in storages}
        taken = {each: seconds(act) for each, act in acts.items()}
        for name, instance in kept.items():
            logged = len(instance.get_materialized_partitions(dg.AssetKey(["lake", "market_data"])))
            if logged != day_count:
                msg = f"{logged} days were logged in {name}, not {day_count}"
                raise AssertionError(msg)
    yield {name: {what: lasted for (what, where), lasted in taken.items() if where in {"", name}} for name in storages}


def _instance(dg: Any, home: Path, url: str, name: str) -> Any:
    folder = home / f"dagster_{name}"
    folder.mkdir()
    told = database_url(url, RECORDS)
    storage = f"storage: {{postgres: {{postgres_url: '{told}'}}}}\n" if name == POSTGRESQL else ""
    (folder / "dagster.yaml").write_text(_YAML + storage)
    return dg.DagsterInstance.from_config(str(folder))


def _resources(dg: Any, settings: Any, stores: Any) -> dict[str, Any]:
    return {
        "settings": dg.ResourceDefinition.hardcoded_resource(settings),
        "hot": stores.hot,
        "lake": stores.lake,
        "spools": stores.spools,
        "analytics": stores.analytics,
        "sources": lambda *_, **__: OneBarADay(),
    }


def per_day_ms(found: dict[str, float], day_count: int) -> float:
    """Milliseconds that Dagster adds to each more day."""
    added, fixed = (found[f"{when} with Dagster"] - found[f"{when} without"] for when in ("all days", "one day"))
    return (added - fixed) / (day_count - 1) * 1000


def main() -> None:
    """Print what a day costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=1_825)
    parser.add_argument("--postgresql", action="store_true", help="Dagster's records in PostgreSQL")
    chosen = parser.parse_args()
    with scratch() as folder:
        aside = Aside(run, folder / "dagster", chosen.days, [POSTGRESQL if chosen.postgresql else SQLITE])
        aside.prepared()
        say("measuring")
        (found,) = aside.measured().values()
    print({name: round(taken, 2) for name, taken in found.items()}, file=sys.stderr)
    print(f"{per_day_ms(found, chosen.days):.2f} ms a day")


if __name__ == "__main__":
    main()
