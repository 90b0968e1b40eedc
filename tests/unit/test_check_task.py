"""What `check` reads: both tiers in one look, neighbours around what is asked for, and symbols from long before."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from thermocline.errors import SettingsError, UsageError
from thermocline.model.checks.rules import Acknowledged, CheckRules
from thermocline.model.datasets import MARKET_DATA, NEWS, SPLITS
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS
from thermocline.model.query import Query
from thermocline.ports import Fetched, FetchRequest
from thermocline.settings import load_settings
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog, MemoryObjects
from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.spool import DuckDBSpool
from thermocline.tasks import check as task
from thermocline.tasks.backfill import Backfill
from thermocline.tasks.check import check
from thermocline.tasks.ingest import ingest

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 12, 1, tzinfo=UTC)
DAY = timedelta(days=1)
EVERYTHING = Query(MARKET_DATA)


def bars(symbol, closes, *, first=0, interval="1day", step=DAY):
    rows = []
    for number, close in enumerate(closes):
        price = dict.fromkeys(("open", "close", "high", "low"), Decimal(str(close)))
        ts = FIRST + first * DAY + number * step
        row = {"asset_class": "equity", "symbol": symbol, "interval": interval, "ts": ts, "volume": 1000.0 + number}
        rows.append(row | price)
    return rows


class Rows:
    """A source that has these rows."""

    name = "rows"

    def __init__(self, rows):
        """Keep them."""
        self.rows = rows

    def fetch(self, request):
        """All of them."""
        del request
        yield Fetched(pa.Table.from_pylist(self.rows), "made")


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


class World:
    """Both tiers in memory."""

    def __init__(self, folder):
        """Nothing is in them."""
        self.hot, self.lake = MemoryHot(), ParquetLake(MemoryObjects(), MemoryCatalog())
        self.spools = lambda dataset: DuckDBSpool(dataset, folder / "spools", 256)

    def cold(self, rows, dataset=MARKET_DATA):
        """Bring rows into the lake."""
        Backfill(
            source=Rows(rows), hot=self.hot, lake=self.lake, spool=self.spools, lifecycle=Lifecycle(hot_days=30),
            as_of=NOW.date(), now=NOW, run_id="cold",
        ).run(FetchRequest(dataset, ALL_DAYS))  # fmt: skip

    def live(self, rows):
        """Accept rows as they come."""
        fetched = [Fetched(pa.Table.from_pylist(rows), "made")]
        ingest(
            self.hot, self.lake, MARKET_DATA, fetched, Lifecycle(hot_days=400), spool=self.spools, source="live",
            as_of=NOW.date(), now=NOW, run_id="live",
        )  # fmt: skip

    def found(self, asked=EVERYTHING, names=(), **rules):
        """What is found: rule, symbol and number of the day."""
        checked = check(self.hot, self.lake, asked, CheckRules(**rules), names)
        return [(each.rule, each.symbol, (each.ts - FIRST).days) for each in checked.findings]


def test_neighbours_may_be_in_the_other_tier(world):
    world.cold(bars("A", [100, 101]))
    world.live(bars("A", [50, 51], first=2))
    assert world.found() == [("jumps", "A", 2)]
    split = {"asset_class": "equity", "symbol": "A", "ts": FIRST + 2 * DAY, "old_shares": 1, "new_shares": 2}
    world.cold([split], SPLITS)
    checked = check(world.hot, world.lake, EVERYTHING, CheckRules())
    assert (checked.findings, len(checked.explained), checked.rows) == ([], 1, 4)
    assert checked.document()["counts"]["jumps"] == 0


def test_only_days_that_are_asked_for_are_found_beside_days_around_them(world):
    world.cold(bars("A", [100, 101, 50, 101, 100]))
    asked = Query(MARKET_DATA, FIRST + 2 * DAY, FIRST + 3 * DAY)
    assert world.found(asked) == [("mixed", "A", 2)]
    assert world.found(Query(MARKET_DATA, FIRST + 3 * DAY)) == []
    assert world.found(asked, look_back_days=1, names=["jumps"]) == [("jumps", "A", 2)]


def test_a_symbol_from_long_before_is_remembered(world):
    world.cold(bars("WM", [2.07, 0.16]) + bars("WM", [28.58, 28.6], first=200))
    assert world.found(Query(MARKET_DATA, FIRST + 190 * DAY)) == [("reused_symbol", "WM", 200)]
    assert world.found(Query(MARKET_DATA, FIRST + 201 * DAY)) == []


def test_pieces_and_intervals_make_no_difference(world, monkeypatch):
    rows = bars("A", [100, 101, 50, 101, 40, 41]) + bars("B", [10, 11, 11, 4, 4.1, 4.2])
    minutes = bars("A", [100, 101, 49, 50], first=1, interval="1min", step=timedelta(minutes=1))
    world.cold(rows + minutes)
    whole = world.found()
    assert [found for found in whole if found[0] == "jumps"] == [
        ("jumps", "A", 1),
        ("jumps", "B", 3),
        ("jumps", "A", 4),
    ]
    monkeypatch.setattr(task, "_PIECE_ROWS", 3)
    assert world.found() == whole


def test_what_is_acknowledged_is_no_finding_any_more(world):
    world.cold(bars("BTC/USDT", [100, 50, 51]))
    seen = frozenset({Acknowledged.parse("jumps/BTC/USDT/2024-01-02")})
    checked = check(world.hot, world.lake, EVERYTHING, CheckRules(acknowledged=seen))
    assert (checked.findings, checked.counts["jumps"]) == ([], 0)
    assert checked.explained[0].detail.endswith("acknowledged")
    for wrong in ("jumps/2024-01-02", "jump/A/2024-01-02", "jumps/A/never"):
        with pytest.raises(SettingsError, match=r"checks\.acknowledged"):
            load_settings(environ={"THERMOCLINE_CHECKS__ACKNOWLEDGED": f'["{wrong}"]'})


def test_other_datasets_are_looked_at_for_held_restatements_alone(world):
    assert check(world.hot, world.lake, Query(NEWS), CheckRules()).findings == []
    with pytest.raises(UsageError, match="no rule is called 'splits'; there are jumps, mixed"):
        check(world.hot, world.lake, EVERYTHING, CheckRules(), ["splits"])
