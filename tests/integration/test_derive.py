"""Deriving features: only what changed, over stores in memory."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from thermocline.model.datasets import FEATURES, MARKET_DATA, SPLITS
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS, DayRange, midnight
from thermocline.model.query import Query
from thermocline.ports import Fetched, FetchRequest
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog, MemoryObjects
from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.spool import DuckDBSpool
from thermocline.tasks.backfill import Backfill
from thermocline.tasks.delete import Deletion, delete
from thermocline.tasks.derive import Derive
from thermocline.tasks.ingest import ingest
from thermocline.tasks.load import load
from thermocline.tasks.query import query
from thermocline.tasks.rotate import Rotation

FIRST = date(2020, 1, 1)
DAYS = 40
AS_OF = FIRST + timedelta(days=1000)
LIFECYCLE = Lifecycle(hot_days=30)
NOON = datetime(2024, 2, 1, 12, tzinfo=UTC)


class Objects(MemoryObjects):
    """Objects in memory that count what is read."""

    reads = 0

    def open(self, path):
        """See `Objects.open`."""
        self.reads += 1
        return super().open(path)

    def get(self, path):
        """See `Objects.get`."""
        self.reads += 1
        return super().get(path)


@dataclass
class Rows:
    """A source that has just these rows."""

    rows: pa.Table
    name: str = "made"

    def fetch(self, request):
        """See `Source.fetch`."""
        del request
        yield Fetched(self.rows, "made")


@dataclass
class World:
    """Two tiers in memory, with bars of two symbols."""

    objects: Objects = field(default_factory=Objects)
    hot: MemoryHot = field(default_factory=MemoryHot)
    hours: int = 0

    def __post_init__(self):
        """Put the lake together."""
        self.lake = ParquetLake(self.objects, MemoryCatalog())

    @property
    def now(self):
        """An hour later each time it is asked."""
        self.hours += 1
        return NOON + timedelta(hours=self.hours)

    def backfill(self, dataset, rows, name="made"):
        """Bring rows into the lake."""
        source = Rows(pa.Table.from_pylist(rows), name)
        parts = (source, self.hot, self.lake, DuckDBSpool, LIFECYCLE, AS_OF, self.now, "backfill")
        return Backfill(*parts).run(FetchRequest(dataset, ALL_DAYS))

    def derive(self, days=ALL_DAYS, *, as_of=AS_OF, benchmark=("equity", "SPY"), **options):
        """Derive what is due."""
        parts = (self.hot, self.lake, DuckDBSpool, LIFECYCLE)
        return Derive(*parts, as_of=as_of, now=self.now, run_id="derive", benchmark=benchmark).run(days, **options)

    def features(self, symbol="AAPL"):
        """The rows of a symbol, by day."""
        with query(self.hot, self.lake, Query(FEATURES, symbols=(symbol,))) as reader:
            return {row["ts"].date(): row for row in reader.read_all().to_pylist()}


def bar(number, symbol="AAPL", close=None):
    price = Decimal(100 + number % 7) if close is None else Decimal(close)
    prices = dict.fromkeys(("open", "high", "low", "close"), price)
    ts = midnight(FIRST + timedelta(days=number))
    return {"asset_class": "equity", "symbol": symbol, "interval": "1day", "ts": ts, **prices, "volume": 1.0}


@pytest.fixture
def world():
    world = World()
    world.backfill(MARKET_DATA, [bar(number, symbol) for number in range(DAYS) for symbol in ("AAPL", "SPY")])
    return world


@pytest.fixture
def derived(world):
    done = world.derive()
    assert (done.days, len(done.due), done.backfilled.written) == (DAYS, DAYS, DAYS)
    return world


def test_what_was_derived_is_a_row_for_each_bar(derived):
    rows = derived.features()
    assert len(rows) == DAYS
    last = rows[FIRST + timedelta(days=DAYS - 1)]
    assert (last["source"], last["sma_200"], last["market_cap"]) == ("derived", None, None)
    expected = sum(Decimal(100 + number % 7) for number in range(DAYS - 20, DAYS)) / 20
    assert last["sma_20"] == expected
    assert 0 < last["rsi_14"] < 100


def test_the_second_time_nothing_is_due_and_no_object_is_read(derived):
    derived.objects.reads = 0
    done = derived.derive()
    assert (done.days, done.due, derived.objects.reads) == (DAYS, [], 0)


def test_a_new_day_is_derived_alone(derived):
    derived.backfill(MARKET_DATA, [bar(DAYS)])
    done = derived.derive()
    assert done.due == [FIRST + timedelta(days=DAYS)]
    assert done.backfilled.written == 1


def test_a_bar_that_changes_is_followed_by_the_days_after_it_and_what_is_the_same_is_not_written(derived):
    derived.backfill(MARKET_DATA, [bar(5, "SPY", "140")])
    done = derived.derive()
    assert done.due == [FIRST + timedelta(days=number) for number in range(5, DAYS)]
    # There is no value before the fifteenth bar, whose index is 50 either way.
    assert (done.backfilled.written, done.backfilled.unchanged) == (DAYS - 15, 10)
    assert derived.derive().due == []


def test_a_split_that_becomes_known_changes_the_days_after_it(derived):
    day = FIRST + timedelta(days=35)
    split = {"asset_class": "equity", "symbol": "AAPL", "ts": midnight(day), "old_shares": 1, "new_shares": 4}
    before = derived.features()
    derived.backfill(SPLITS, [split])
    assert derived.derive().due == [day + timedelta(days=number) for number in range(DAYS - 35)]
    after = derived.features()
    assert after[day]["sma_20"] < before[day]["sma_20"] / 3
    assert after[day - timedelta(days=1)] == before[day - timedelta(days=1)]


def test_what_other_sources_say_of_a_row_stays_and_what_they_blank_comes_back(derived):
    day = FIRST + timedelta(days=30)
    before = derived.features()[day]
    key = {"asset_class": "equity", "symbol": "AAPL", "ts": midnight(day)}
    derived.backfill(FEATURES, [{**key, "market_cap": "2890000000000.5", "pe_ratio": 31.5}], "vendor")
    assert derived.features()[day]["rsi_14"] is None
    assert derived.derive().due == [day]
    after = derived.features()[day]
    assert (after["market_cap"], after["pe_ratio"]) == (Decimal("2890000000000.5"), 31.5)
    assert {name: after[name] for name in ("rsi_14", "sma_20", "beta")} == {
        name: before[name] for name in ("rsi_14", "sma_20", "beta")
    }
    assert derived.derive().due == []


def test_what_another_source_says_of_a_symbol_without_bars_stays(derived):
    key = {"asset_class": "equity", "symbol": "NVDA", "ts": midnight(FIRST)}
    derived.backfill(FEATURES, [{**key, "sma_20": "12.5", "rsi_14": 61.0}], "vendor")
    assert derived.derive().due == [FIRST]
    row = derived.features("NVDA")[FIRST]
    assert (row["source"], row["sma_20"], row["rsi_14"]) == ("vendor", Decimal("12.5"), 61.0)
    assert derived.derive(full=True).backfilled.written == 0


def test_a_row_whose_bar_is_gone_says_nothing_any_more(derived):
    day = FIRST + timedelta(days=30)
    span = DayRange(day, day + timedelta(days=1))
    delete(derived.hot, derived.lake, Deletion(MARKET_DATA, span, symbols=("AAPL",)), run_id="delete")
    assert derived.derive().due[0] == day
    row = derived.features()[day]
    assert [row[name] for name in ("rsi_14", "sma_20", "volatility_20")] == [None] * 3
    assert derived.features("SPY")[day]["sma_20"] is not None
    assert derived.derive().due == []


def test_late_and_hot_rows_count_at_once_and_are_not_derived_again_when_they_are_moved(derived):
    as_of = FIRST + timedelta(days=DAYS + 1)
    load(derived.hot, derived.lake, [MARKET_DATA, FEATURES], LIFECYCLE, as_of=as_of, run_id="load")
    assert derived.derive(as_of=as_of).due == []
    rows = pa.Table.from_pylist([bar(2, close="90"), bar(DAYS, close="120")])
    stores = (derived.hot, derived.lake)
    options = {"spool": DuckDBSpool, "source": "live", "as_of": as_of, "now": derived.now, "run_id": "ingest"}
    went = ingest(*stores, MARKET_DATA, [Fetched(rows, "live")], LIFECYCLE, **options)
    assert (went.hot_rows, went.late_rows) == (1, 1)
    due = derived.derive(as_of=as_of).due
    assert (due[0], due[-1], len(due)) == (FIRST + timedelta(days=2), FIRST + timedelta(days=DAYS), DAYS - 1)
    assert derived.derive(as_of=as_of).due == []
    before = derived.features()
    Rotation(*stores, DuckDBSpool, LIFECYCLE, "rotate").run([MARKET_DATA, FEATURES], as_of=AS_OF)
    assert derived.hot.hot_days(MARKET_DATA) == derived.hot.hot_days(FEATURES) == []
    assert (derived.derive().due, derived.features()) == ([], before)


def test_another_benchmark_makes_every_day_due(derived):
    assert len(derived.derive(benchmark=("equity", "AAPL")).due) == DAYS
    assert derived.derive(benchmark=("equity", "AAPL")).due == []


def test_a_range_is_derived_alone_and_symbols_leave_the_days_due(world):
    days = DayRange(FIRST + timedelta(days=20), FIRST + timedelta(days=30))
    done = world.derive(days, symbols=["AAPL"])
    assert (len(done.due), done.backfilled.rows) == (10, 10)
    assert world.features("SPY") == {}
    assert len(world.derive(days).due) == 10
    assert len(world.derive().due) == DAYS - 10
    assert len(world.derive(days, full=True).due) == 10


def test_a_run_that_dies_before_it_notes_what_it_did_writes_nothing_twice(world, monkeypatch):
    monkeypatch.setattr(Derive, "_note", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        world.derive()
    monkeypatch.undo()
    done = world.derive()
    assert (len(done.due), done.backfilled.written, done.backfilled.unchanged) == (DAYS, 0, DAYS)
