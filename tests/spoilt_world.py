"""Three days that left PostgreSQL and can still come back, one of them to be spoilt."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from hot_acts import assert_answers, day
from made_rows import bars

from thermocline.model.datasets import MARKET_DATA
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS
from thermocline.model.receipt import Receipt
from thermocline.ports import Fetched, FetchRequest
from thermocline.stores.lake import ParquetLake
from thermocline.stores.postgres import PostgresHot
from thermocline.stores.spool import DuckDBSpool
from thermocline.tasks.backfill import Backfill
from thermocline.tasks.rotate import Rotation
from thermocline.tasks.verify import verify

LIFECYCLE = Lifecycle(hot_days=30, undo_days=7)
DAYS = [day(0), day(1), day(2)]
SPOILT = DAYS[1]
NOW = datetime.now(UTC)
TONIGHT = NOW.date()
LATER = TONIGHT + timedelta(days=30)
VOLUMES = [0.0, math.nan, None, 1.5, 2.5, 3.5]


def rows_of(partition, count):
    batch = bars(partition, count=count)
    volumes = pa.array((VOLUMES * count)[: len(batch)], pa.float64())
    return batch.set_column(batch.schema.get_field_index("volume"), batch.schema.field("volume"), volumes)


def without_nan(batch):
    volumes = pa.array([None if v is None or math.isnan(v) else v for v in batch["volume"].to_pylist()], pa.float64())
    return batch.set_column(batch.schema.get_field_index("volume"), batch.schema.field("volume"), volumes)


EVERY = [rows_of(DAYS[0], 3), rows_of(DAYS[1], 300), rows_of(DAYS[2], 3)]


PLAIN = [without_nan(batch) for batch in EVERY]
"""The same as every source delivers it: what is not a number is nothing."""


@dataclass
class Made:
    """A source of given rows."""

    rows: pa.Table
    name = "made"

    def fetch(self, request):
        """All of them."""
        del request
        yield Fetched(self.rows, "made", accepted_before=True)


@dataclass
class World:
    """Three days that left PostgreSQL and can still come back; the second is to be spoilt."""

    url: str
    folder: Path
    catalog: Path
    hot: PostgresHot
    lake: ParquetLake

    @property
    def receipt(self) -> Receipt:
        """What the ledger says of the spoilt day."""
        return self.receipt_of(SPOILT)

    def receipt_of(self, partition) -> Receipt:
        """What the ledger says of a day."""
        [vintage] = [v for v in self.hot.live(MARKET_DATA, ALL_DAYS) if v.partition == partition]
        return vintage.receipt

    @property
    def object(self) -> Path:
        """The file of the spoilt day."""
        return self.folder / self.receipt.path

    def rotate(self, as_of=LATER):
        """A night; one a month later releases what was detached today."""
        return Rotation(self.hot, self.lake, DuckDBSpool, LIFECYCLE, f"night-{as_of}").run([MARKET_DATA], as_of=as_of)

    def repair(self, *batches):
        """Backfill rows of days, writing anew what is not well."""
        source = Made(pa.Table.from_batches(batches))
        made = Backfill(source, self.hot, self.lake, DuckDBSpool, LIFECYCLE, TONIGHT, NOW, "repair", repair=True)
        return made.run(FetchRequest(MARKET_DATA, ALL_DAYS))

    def verify(self):
        """What is wrong with the cold days."""
        return verify(self.hot, self.lake, [MARKET_DATA], ALL_DAYS)

    def assert_well(self, *batches) -> None:
        """Every row comes back once, and nothing is wrong."""
        assert_answers(self.hot, self.lake, *(batches or EVERY))
        report = self.verify()
        assert (report.failed, report.table, report.verified) == ([], [], len(DAYS))
