"""What Dagster costs a partition: a backfill of many days as one run, less what it takes without Dagster.

    python benchmarks/orchestrating.py [--days 1825] [--postgresql]

Every day is in the lake already, and says nothing new.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from asides import Aside
from measuring import say, scratch, seconds
from worlds import daily_bars, days, lay, open_home, statement

from thermocline.model.partition import Partition
from thermocline.ports import Fetched, FetchRequest
from thermocline.stores.home import open_stores

KNOBS = {"DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "1", "DAGSTER_EVENT_BATCH_SIZE": "500"}
"""What the Makefile and docker-compose.yml set."""

_YAML = "telemetry: {enabled: false}\nnux: {enabled: false}\n"


class OneBarADay:
    """A source with a daily bar a day."""

    name = "synthetic"

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """See `Source.fetch`."""
        tables = [pa.Table.from_batches(daily_bars(day, ["AAPL"])) for day in request.days]
        yield Fetched(pa.concat_tables(tables).drop_columns(["source", "ingested_at"]), "made up")


def run(home: Path, day_count: int, *, in_postgresql: bool) -> Iterator[dict[str, float]]:
    """Seconds of a backfill as a Dagster run, and without Dagster (see `Aside`)."""
    os.environ |= KNOBS | {"DAGSTER_HOME": str(home / "dagster"), "DAGSTER_DISABLE_TELEMETRY": "yes"}
    # What Dagster tells the terminal costs as it does elsewhere, but nobody wants to read it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    import dagster as dg  # noqa: PLC0415  # reads the environment

    from pipelines.definitions import build_defs  # noqa: PLC0415

    span = days(day_count)
    with open_home(home) as tc:
        lay(tc, ((Partition("market_data", "1day", day), daily_bars(day, ["AAPL"])) for day in span), "daily")
        (home / "dagster").mkdir()
        statement(tc, "CREATE DATABASE dagster")
        url = tc.hot.url.replace("/thermocline?", "/dagster?")
        storage = f"storage: {{postgres: {{postgres_url: '{url}'}}}}\n" if in_postgresql else ""
        (home / "dagster" / "dagster.yaml").write_text(_YAML + storage)
        stores = open_stores(tc.settings)
        defs = build_defs(_resources(dg, tc.settings, stores), tc.settings)
        job = defs.resolve_job_def("backfill")
        with dg.DagsterInstance.get() as instance:

            def as_a_run(first: date, last: date) -> None:
                job.execute_in_process(
                    tags={
                        "dagster/asset_partition_range_start": str(first),
                        "dagster/asset_partition_range_end": str(last),
                    },
                    instance=instance,
                )

            def alone(first: date, last: date) -> None:
                until = last + timedelta(days=1)
                tc.backfill("market_data", source=OneBarADay(), start=first, end=until)

            for act in (as_a_run, alone):
                act(span[0], span[1])
            yield {}
            found = {
                name: seconds(lambda act=act, last=last: act(span[0], last))
                for last, when in ((span[0], "one day"), (span[-1], "all days"))
                for name, act in ((f"{when} with Dagster", as_a_run), (f"{when} without", alone))
            }
            logged = len(instance.get_materialized_partitions(dg.AssetKey(["lake", "market_data"])))
            if logged != day_count:
                msg = f"{logged} days were logged, not {day_count}"
                raise AssertionError(msg)
    yield found


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
        aside = Aside(_run_in[chosen.postgresql], folder / "dagster", chosen.days)
        aside.prepared()
        say("measuring")
        found = aside.measured()
    print({name: round(taken, 2) for name, taken in found.items()}, file=sys.stderr)
    print(f"{per_day_ms(found, chosen.days):.2f} ms a day")


def in_sqlite(home: Path, day_count: int) -> Iterator[dict[str, float]]:
    """With Dagster's records where it keeps them by itself."""
    return run(home, day_count, in_postgresql=False)


def in_postgresql(home: Path, day_count: int) -> Iterator[dict[str, float]]:
    """With Dagster's records in PostgreSQL."""
    return run(home, day_count, in_postgresql=True)


_run_in = {False: in_sqlite, True: in_postgresql}

if __name__ == "__main__":
    main()
