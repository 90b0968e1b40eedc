"""A whole code location over stores in memory, and a way to run its jobs as Dagster does."""

from dataclasses import dataclass, field
from datetime import date, timedelta

import dagster as dg
import pyarrow as pa
from made_rows import bars

from pipelines.definitions import build_defs
from thermocline.errors import LakeError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS, Partition
from thermocline.model.query import Query
from thermocline.ports import Fetched
from thermocline.sources.calendars import ExchangeCalendars
from thermocline.sources.drops import LocalDrops
from thermocline.sources.open import open_source
from thermocline.stores.analytics import DuckDBAnalytics
from thermocline.stores.duckdb import Engine
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog, MemoryObjects
from thermocline.stores.memory_hot import MemoryHot
from thermocline.tasks.query import query

FIRST = date(2024, 1, 1)
FIVE_DAYS_HOT = {"THERMOCLINE_STORAGE__LIFECYCLE__HOT_DAYS": "5"}
FIRST_KEY = "dagster/asset_partition_range_start"
LAST_KEY = "dagster/asset_partition_range_end"


class Objects(MemoryObjects):
    """Objects in memory, on a disk that is full as soon as an object of `full_at` is to be written."""

    full_at = "never"

    def put(self, path, content, **placed):
        """See `Objects.put`."""
        if self.full_at in path:
            msg = "no space is left on the disk"
            raise LakeError(msg)
        return super().put(path, content, **placed)


@dataclass
class Bars:
    """A source that has bars of certain days and intervals."""

    days: list[date]
    intervals: tuple[str, ...] = ("1day",)
    close: str = "187.15"
    unreadable: tuple[tuple[str, str], ...] = ()
    name: str = "made"

    def fetch(self, request):
        """See `Source.fetch`."""
        for day in self.days:
            if day in request.days:
                made = [bars(Partition("market_data", each, day), count=1, close=self.close) for each in self.intervals]
                yield Fetched(pa.Table.from_batches(made), f"bars of {day}", self.unreadable)


@dataclass
class World:
    """Stores, a source, and definitions over them. The instance of Dagster is shared: it takes long to make."""

    settings: object
    spools: object
    instance: dg.DagsterInstance
    objects: Objects = field(default_factory=Objects)
    lake: ParquetLake | None = None
    hot: MemoryHot = field(default_factory=MemoryHot)
    source: Bars = field(default_factory=lambda: Bars(days(20)))
    runs: list[str] = field(default_factory=list)
    calendars: object = field(default_factory=ExchangeCalendars)

    def __post_init__(self):
        """Put the lake and the definitions over it together."""
        self.lake = self.lake or ParquetLake(self.objects, MemoryCatalog())
        self.defs = build_defs(
            {
                "settings": dg.ResourceDefinition.hardcoded_resource(self.settings),
                "hot": self.hot,
                "lake": self.lake,
                "spools": self.spools,
                "sources": self.opened,
                "analytics": DuckDBAnalytics(Engine(filesystem=lambda: self.objects.filesystem)),
                "calendars": self.calendars,
                "drops": LocalDrops(self.settings.drops),
            },
            self.settings,
        )

    def run(self, job, first=None, last=None, *, config=None, ok=True, op=None):
        """Run a job for a key, or for a range of them; it must end as `ok` says."""
        tags = {FIRST_KEY: str(first), LAST_KEY: str(last)} if last else {}
        op = {
            "backfill": "lake__market_data",
            "nightly_rotation": "rotation",
            "vacuum": "vacuum_tables",
            "restore_drill": "drill_restores",
            "derive": "derive_features",
            "take_dropped_file": "dropped_files",
            "compact": "compaction",
            "lifecycle_tiering": "storage_classes",
            "expire": "expiry",
        }.get(job, op)
        result = self.defs.resolve_job_def(job).execute_in_process(
            partition_key=None if last or first is None else str(first),
            tags=tags,
            run_config={"ops": {op: {"config": config}}} if config else None,
            instance=self.instance,
            raise_on_error=False,
        )
        self.runs.append(result.run_id)
        assert result.success is ok, [event.message for event in result.all_events if event.is_failure]
        return result

    def opened(self, name, *, path=None):
        """See `SourceFactory`; `files` reads files, and all others are one source."""
        if name == "files":
            return open_source(name, path=path)
        assert path is None
        return self.source

    def events(self, *path, run=None):
        """What this world's runs, or one of them, logged for an asset, in order: partition key to metadata."""
        records = self.instance.fetch_materializations(dg.AssetKey(path), limit=5000).records
        found = [
            record for record in reversed(records) if record.run_id in (self.runs if run is None else [run.run_id])
        ]
        keys = [record.partition_key for record in found]
        assert run is None or len(keys) == len(set(keys)), "a day has its event twice"
        return {
            record.partition_key: {name: value.value for name, value in record.asset_materialization.metadata.items()}
            for record in found
        }

    def rows(self):
        """Every row that a reader gets, in order, as (interval, day, symbol)."""
        with query(self.hot, self.lake, Query(MARKET_DATA, columns=("interval", "ts", "symbol"))) as reader:
            return [(row["interval"], row["ts"].date(), row["symbol"]) for row in reader.read_all().to_pylist()]

    def hot_days(self):
        """The days that are hot."""
        return sorted(day.partition.day for day in self.hot.hot_days(MARKET_DATA))

    def vintages(self):
        """The version of every cold partition."""
        return {vintage.partition: vintage.receipt.version for vintage in self.hot.live(MARKET_DATA, ALL_DAYS)}


def days(count, first=FIRST):
    return [first + timedelta(days=number) for number in range(count)]
