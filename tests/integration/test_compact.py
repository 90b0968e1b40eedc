"""Compacted months: the same answers from fewer objects, whatever happens to a day of them, and whenever a run dies."""

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hot_acts import ingest, load, migrated
from made_rows import NOON, as_sorted_lists, bars
from pyiceberg.table import StaticTable

from thermocline.errors import LakeError
from thermocline.faults import listening
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS, DayRange, Partition
from thermocline.model.paths import holds_one_day
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
from thermocline.tasks.load import rehydrate
from thermocline.tasks.query import explain, query
from thermocline.tasks.rotate import Rotation
from thermocline.tasks.sql import sql
from thermocline.tasks.status import status
from thermocline.tasks.verify import verify

AS_OF = date(2024, 6, 1)
LATER = NOON + timedelta(hours=1)
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
        assert _content(self.answer()) == _content(self.expected())
        with sql(self.hot, self.lake, DuckDBAnalytics(self.lake.engine), "FROM market_data", [MARKET_DATA]) as reader:
            assert _content(as_sorted_lists(reader.read_all(), MARKET_DATA)) == _content(self.expected())
        vintages = self.hot.live(MARKET_DATA, ALL_DAYS)
        assert self.lake.paths(MARKET_DATA) == {vintage.receipt.path for vintage in vintages}
        report = verify(self.hot, self.lake, [MARKET_DATA], ALL_DAYS)
        assert (report.failed, report.table, report.verified) == ([], [], len(vintages))
        metadata = self.folder / "cold_storage/market_data/metadata"
        hint = (metadata / "version-hint.text").read_text()
        seen = StaticTable.from_metadata(str(metadata / f"v{hint}.metadata.json")).scan().to_arrow()
        assert len(seen) == sum(vintage.receipt.contents.rows for vintage in vintages)


def _content(rows: list[str]) -> list[str]:
    """Rows without where they came from and when."""
    return [row.partition("'source'")[0] for row in rows]


class _Source:
    name = "made"

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def fetch(self, request: FetchRequest):
        del request
        yield Fetched(self._table, "made", accepted_before=True)


@pytest.fixture(scope="session")
def prepare_database():
    return migrated


@pytest.fixture
def world(new_database, tmp_path):
    objects = LocalObjects(tmp_path / "lake")
    with ParquetLake(objects, IcebergCatalog(f"sqlite:///{tmp_path}/catalog.db", objects)) as lake:
        yield World(PostgresHot(new_database("embedded")), lake, tmp_path / "lake")


@pytest.fixture
def compacted(world):
    """Two months of days, each month in one object."""
    world.backfill(*(bars(day(number, month), ("AAPL", "IBM"), 2) for month in (1, 2) for number in (2, 3, 4, 8)))
    assert [(month.month.month, month.objects) for month in world.compact().months] == [(1, 4), (2, 4)]
    return world


def objects_of(world, month: int = 1) -> set[str]:
    return {path for partition, path in world.live.items() if partition.day.month == month}


# ------------------------------------------------------------------------------------------------------------- compact


def test_a_closed_month_becomes_one_object_with_the_same_answers(compacted):
    compacted.check()
    assert objects_of(compacted) == {"cold_storage/market_data/year=2024/month=01/market_data_1min_202401.parquet"}
    assert len(objects_of(compacted, 2)) == 1
    route = explain(compacted.hot, Query(MARKET_DATA)).document()
    assert (route["files"], len(route["segments"])) == (2, 1)
    [line] = status(compacted.hot, [MARKET_DATA], LIFECYCLE, as_of=AS_OF)
    sizes = {v.receipt.path: v.receipt.size_bytes for v in compacted.hot.live(MARKET_DATA, ALL_DAYS)}
    assert (line.cold_days, line.cold_bytes) == (8, sum(sizes.values())) == (8, route["bytes"])


def test_points_ranges_symbols_and_limits_are_answered_from_a_compacted_month(compacted):
    one, last = day(3), day(3, 2)
    for asked, wanted in (
        ({"start": one.start, "end": one.end}, lambda row: row["ts"].date() == one.day),
        ({"start": one.start, "end": last.end}, lambda row: one.day <= row["ts"].date() <= last.day),
        ({"symbols": ("IBM",)}, lambda row: row["symbol"] == "IBM"),
        ({"symbols": ("IBM",), "start": last.start}, lambda row: row["symbol"] == "IBM" and row["ts"] >= last.start),
    ):
        assert compacted.answer(**asked) == compacted.expected(wanted) != []
    assert len(compacted.answer(limit=5)) == 5


def test_compacting_again_finds_nothing_to_do(compacted):
    before = compacted.lake.head(MARKET_DATA)
    assert compacted.compaction().plan([MARKET_DATA]) == []
    again = compacted.compact()
    assert (again.months, again.failed, compacted.lake.head(MARKET_DATA)) == ([], [], before)


def test_the_plan_names_what_a_run_does_and_changes_nothing(world):
    world.backfill(*(bars(day(number)) for number in (2, 3)))
    before = (world.live, world.lake.head(MARKET_DATA), sorted(world.lake.objects.list("")))
    [planned] = world.compaction().plan([MARKET_DATA])
    assert (world.live, world.lake.head(MARKET_DATA), sorted(world.lake.objects.list(""))) == before
    [done] = world.compact().months
    assert replace(done, path=None) == planned
    assert planned.document() == {
        "dataset": "market_data", "interval": "1min", "month": "2024-01", "days": 2, "rows": 12, "objects": 2,
        "bytes": planned.size_bytes, "path": None,
    }  # fmt: skip


def test_a_month_that_is_not_closed_or_too_large_or_chosen_is_left(world):
    world.backfill(*(bars(day(number, month)) for month in (1, 2, 5) for number in (2, 3)))
    world.backfill(bars(day(2, 1, "5min")), bars(day(3, 1, "5min")))

    def months(**options):
        planned = world.compaction(**options).plan([MARKET_DATA])
        return [(month.interval, month.month.month) for month in planned]

    assert months() == [("1min", 1), ("1min", 2), ("5min", 1)]
    assert months(intervals=["5min"]) == [("5min", 1)]
    assert months(days=DayRange(date(2024, 1, 15), date(2024, 2, 15))) == [("1min", 2)]
    assert months(target_bytes=10) == []
    # The window is 30 days: on the first of March the last of January is out of it, on the 29th of February it is not.
    assert months(as_of=date(2024, 3, 2), intervals=["1min"]) == [("1min", 1)]
    assert months(as_of=date(2024, 3, 1), intervals=["1min"]) == []
    load(world.hot, world.lake, next(v for v in world.hot.live(MARKET_DATA, ALL_DAYS) if v.partition == day(2)))
    world.ingest(bars(day(3, 2), ("MSFT",), ingested_at=LATER))
    assert months() == [("5min", 1)]


def test_a_month_whose_object_is_damaged_is_left_and_named_and_others_are_done(world):
    world.backfill(*(bars(day(number, month)) for month in (1, 2) for number in (2, 3)))
    path = Path(world.folder / world.live[day(3)])
    body = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(body[:300] + bytes(8) + body[308:])
    done = world.compact()
    assert [month.month.month for month in done.months] == [2]
    assert [failed.partition for failed in done.failed] == [day(2)]
    path.write_bytes(body)
    assert [month.month.month for month in world.compact().months] == [1]
    world.check()


# ------------------------------------------------------------------------------------------- what becomes of its days


def test_a_backfill_of_one_day_takes_it_out_of_its_month(compacted):
    earlier = compacted.live[day(3)]
    compacted.backfill(bars(day(3), ("AAPL",), 2, close="7", ingested_at=LATER))
    compacted.check()
    assert holds_one_day(compacted.live[day(3)])
    assert len(objects_of(compacted)) == 2
    assert earlier not in objects_of(compacted)
    [first, second] = [v for v in compacted.hot.vintages(MARKET_DATA, ALL_DAYS) if v.partition == day(3)]
    assert (first.receipt.version, second.receipt.version) == (1, 2)
    assert holds_one_day(first.receipt.path)
    assert compacted.lake.observe(first.receipt) == [first.receipt]
    assert [month.objects for month in compacted.compact().months] == [2]
    compacted.check()
    assert len(objects_of(compacted)) == 1


def test_what_was_live_before_a_day_was_restated_can_still_be_read(compacted):
    before = compacted.answer()
    published = max(v.published_at for v in compacted.hot.live(MARKET_DATA, ALL_DAYS))
    compacted.backfill(bars(day(3), ("AAPL",), 2, close="7", ingested_at=LATER))
    assert compacted.answer(as_of_vintage=published) == before
    compacted.compact()
    assert compacted.answer(as_of_vintage=published) == before != compacted.answer()


def test_a_backfill_of_every_day_of_a_month_leaves_its_object_to_the_earlier_vintages(compacted):
    [old] = objects_of(compacted)
    compacted.backfill(
        *(bars(day(number), ("AAPL", "IBM"), 2, close="7", ingested_at=LATER) for number in (2, 3, 4, 8))
    )
    compacted.check()
    assert len(objects_of(compacted)) == 4
    earlier = [v for v in compacted.hot.vintages(MARKET_DATA, ALL_DAYS) if v.superseded_at]
    assert {v.receipt.path for v in earlier} == {old}


def test_late_rows_of_some_days_are_folded_and_each_day_can_fail_alone(compacted):
    compacted.ingest(*(bars(day(number), ("MSFT",), 1, ingested_at=LATER) for number in (2, 3, 4, 8)))
    assert _content(compacted.answer()) == _content(compacted.expected())

    def disturb(point: str) -> None:
        if point == "cut-over:before" and not disturbed:
            disturbed.append(point)
            compacted.ingest(bars(day(3), ("NEW",), 1, ingested_at=LATER))

    disturbed: list[str] = []
    with listening(disturb):
        rotated = compacted.rotate()
    assert disturbed
    assert [moved.partition for moved in rotated.moved] == [day(number) for number in (2, 3, 4, 8)]
    compacted.check()
    assert compacted.rotate().failed == []
    assert compacted.hot.late(MARKET_DATA) == {}
    compacted.check()
    assert [month.objects for month in compacted.compact().months] == [4]
    compacted.check()


def test_a_day_whose_cutover_fails_stays_as_it_was_beside_those_that_went(compacted):
    rehydrate_all(compacted)
    compacted.ingest(*(bars(day(number), ("MSFT",), 1, ingested_at=LATER) for number in (2, 3, 4, 8)))
    calls = []

    def disturb(point: str) -> None:
        if point == "cut-over:before":
            calls.append(point)
            if len(calls) == 2:
                compacted.ingest(bars(day(3), ("NEW",), 1, ingested_at=LATER))

    with listening(disturb):
        rotated = compacted.rotate()
    assert [failed.partition for failed in rotated.failed] == [day(3)]
    compacted.check()
    assert [moved.partition for moved in compacted.rotate().moved] == [day(3)]
    compacted.check()


def rehydrate_all(world) -> None:
    rehydrate(world.hot, world.lake, MARKET_DATA, ALL_DAYS, run_id="rehydrate", until=AS_OF)


def test_a_month_comes_back_to_hot_and_leaves_again_without_a_write(compacted):
    before = sorted(compacted.lake.objects.list("")), compacted.lake.head(MARKET_DATA)
    rehydrate_all(compacted)
    assert len(compacted.hot.hot_days(MARKET_DATA)) == 8
    compacted.check()
    read: list[str] = []
    with listening(lambda point: read.append(point) if point == "read-back:before" else None):
        rotated = compacted.rotate()
    assert (len(rotated.moved), rotated.failed) == (8, [])
    assert len(read) == 2, "each month's object is read back once"
    assert (sorted(compacted.lake.objects.list("")), compacted.lake.head(MARKET_DATA)) == before
    compacted.check()


def test_a_day_that_is_hot_is_not_answered_from_its_month(compacted):
    rehydrate(
        compacted.hot, compacted.lake, MARKET_DATA, DayRange(day(3).day, day(4).day), run_id="rehydrate", until=AS_OF
    )
    compacted.check()
    route = explain(compacted.hot, Query(MARKET_DATA)).document()
    assert [segment["tier"] for segment in route["segments"]] == ["cold", "hot", "cold"]
    assert route["files"] == 2


def test_a_symbol_is_deleted_out_of_compacted_months(compacted):
    compacted.delete(days=ALL_DAYS, symbols=["IBM"])
    compacted.forget(lambda row: row["symbol"] == "IBM")
    compacted.check()
    compacted.compact()
    compacted.check()


def test_a_withdrawn_day_leaves_its_month_without_it(compacted):
    compacted.delete(days=DayRange(day(3).day, day(4).day))
    compacted.forget(lambda row: row["ts"].date() == day(3).day)
    compacted.check()
    assert day(3) not in compacted.live
    assert len(objects_of(compacted)) == 1
    compacted.backfill(bars(day(3), ("AAPL",), 1))
    compacted.check()


def test_withdrawing_a_whole_month_leaves_nothing_of_it(compacted):
    compacted.delete(days=DayRange(date(2024, 1, 1), date(2024, 2, 1)))
    compacted.forget(lambda row: row["ts"].month == 1)
    compacted.check()
    assert objects_of(compacted) == set()


def test_a_damaged_month_is_mended_when_all_its_days_come_again(compacted):
    [path] = objects_of(compacted)
    (compacted.folder / path).unlink()
    assert len(verify(compacted.hot, compacted.lake, [MARKET_DATA], ALL_DAYS).failed) == 4
    with pytest.raises(LakeError, match="whole month with --repair"):
        compacted.backfill(bars(day(3), ("AAPL", "IBM"), 2), repair=True)
    compacted.backfill(*(bars(day(number), ("AAPL", "IBM"), 2) for number in (2, 3, 4, 8)), repair=True)
    compacted.check()
