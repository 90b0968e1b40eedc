"""A hot tier and a lake with compacted months, and the rows that are to be there, for tests of what happens to them."""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pyarrow as pa
from hot_acts import ingest
from made_rows import LATER, as_sorted_lists, bars
from pyiceberg.table import StaticTable

from thermocline.model.datasets import MARKET_DATA
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS, Partition
from thermocline.model.query import Query
from thermocline.ports import Fetched, FetchRequest
from thermocline.stores.analytics import DuckDBAnalytics
from thermocline.stores.iceberg import IcebergCatalog
from thermocline.stores.lake import ParquetLake
from thermocline.stores.objects_local import LocalObjects
from thermocline.stores.postgres import PostgresHot
from thermocline.stores.spool import DuckDBSpool
from thermocline.tasks.backfill import Backfill
from thermocline.tasks.compact import Compaction
from thermocline.tasks.delete import Deletion, delete
from thermocline.tasks.query import query
from thermocline.tasks.rotate import Rotation
from thermocline.tasks.sql import sql
from thermocline.tasks.verify import verify

AS_OF = date(2024, 6, 1)
LIFECYCLE = Lifecycle(hot_days=30)


def day(number: int, month: int = 1, interval: str = "1min") -> Partition:
    return Partition("market_data", interval, date(2024, month, number))


@dataclass
class World:
    """A hot tier, a lake, and the rows that are to be there."""

    hot: PostgresHot
    lake: ParquetLake
    folder: Path
    rows: dict[tuple, dict] = field(default_factory=dict)

    def backfill(self, *batches: pa.RecordBatch, repair: bool = False):
        """Bring rows into the lake."""
        table = pa.Table.from_batches(batches)
        made = Backfill(
            _Source(table), self.hot, self.lake, DuckDBSpool, LIFECYCLE, AS_OF, LATER, "backfill", repair=repair
        ).run(FetchRequest(MARKET_DATA, ALL_DAYS))
        self.expect(*batches)
        return made

    def ingest(self, *batches: pa.RecordBatch) -> None:
        """Accept rows."""
        ingest(self.hot, *batches)
        self.expect(*batches)

    def expect(self, *batches: pa.RecordBatch) -> None:
        """Take rows for there from now on."""
        for batch in batches:
            self.rows |= {tuple(row[name] for name in MARKET_DATA.key): row for row in batch.to_pylist()}

    def forget(self, wanted) -> None:
        """Take rows for gone."""
        self.rows = {key: row for key, row in self.rows.items() if not wanted(row)}

    def delete(self, **chosen) -> None:
        """Delete from both tiers."""
        delete(self.hot, self.lake, Deletion(MARKET_DATA, **chosen), run_id="delete")

    def rotate(self):
        """Rotate what is due."""
        return Rotation(self.hot, self.lake, DuckDBSpool, LIFECYCLE, "rotate").run([MARKET_DATA], as_of=AS_OF)

    def compact(self, **options):
        """Compact what is closed."""
        return self.compaction(**options).run([MARKET_DATA], run_id="compact")

    def compaction(self, **options) -> Compaction:
        """A compaction as of the day of these tests."""
        return Compaction(self.hot, self.lake, LIFECYCLE, **{"as_of": AS_OF, **options})

    @property
    def live(self) -> dict[Partition, str]:
        """Where the live vintages lie."""
        return {v.partition: v.receipt.path for v in self.hot.live(MARKET_DATA, ALL_DAYS)}

    def answer(self, **asked) -> list[str]:
        """What is answered."""
        with query(self.hot, self.lake, Query(MARKET_DATA, **asked)) as reader:
            return as_sorted_lists(reader.read_all(), MARKET_DATA)

    def expected(self, wanted=lambda _: True) -> list[str]:
        """What is to be answered."""
        kept = [row for row in self.rows.values() if wanted(row)]
        return as_sorted_lists(pa.Table.from_pylist(kept, MARKET_DATA.arrow_schema), MARKET_DATA)

    def check(self) -> None:
        """Every row is answered exactly once, in both tongues; the table names what the ledger names, each row once."""
        assert content(self.answer()) == content(self.expected())
        with sql(self.hot, self.lake, DuckDBAnalytics(self.lake.engine), "FROM market_data", [MARKET_DATA]) as reader:
            assert content(as_sorted_lists(reader.read_all(), MARKET_DATA)) == content(self.expected())
        vintages = self.hot.live(MARKET_DATA, ALL_DAYS)
        assert self.lake.paths(MARKET_DATA) == {vintage.receipt.path for vintage in vintages}
        report = verify(self.hot, self.lake, [MARKET_DATA], ALL_DAYS)
        assert (report.failed, report.table, report.verified) == ([], [], len(vintages))
        metadata = self.folder / "cold_storage/market_data/metadata"
        hint = (metadata / "version-hint.text").read_text()
        seen = StaticTable.from_metadata(str(metadata / f"v{hint}.metadata.json")).scan().to_arrow()
        assert len(seen) == sum(vintage.receipt.contents.rows for vintage in vintages)


def content(rows: list[str]) -> list[str]:
    """Rows without where they came from and when."""
    return [row.partition("'source'")[0] for row in rows]


class _Source:
    name = "made"

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def fetch(self, request: FetchRequest):
        del request
        yield Fetched(self._table, "made", accepted_before=True)


def world_in(folder: Path, url: str) -> World:
    """An empty world; its lake is to be closed."""
    objects = LocalObjects(folder / "lake")
    lake = ParquetLake(objects, IcebergCatalog(f"sqlite:///{folder}/catalog.db", objects))
    return World(PostgresHot(url), lake, folder / "lake")


def two_months(world: World) -> World:
    """Two months of days, each month in one object."""
    world.backfill(*(bars(day(number, month), ("AAPL", "IBM"), 2) for month in (1, 2) for number in (2, 3, 4, 8)))
    assert [(str(month), month.objects) for month in world.compact().periods] == [("2024-01", 4), ("2024-02", 4)]
    return world


def objects_of(world: World, month: int = 1) -> set[str]:
    """Where the live vintages of a month lie."""
    return {path for partition, path in world.live.items() if partition.day.month == month}
