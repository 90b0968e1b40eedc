"""fetch(): rows from wherever they are, and a source is asked only for what nobody has."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hot_acts import table
from made_rows import bars

import thermocline
from thermocline.api import Thermocline, covering, fetching, moving
from thermocline.api import opened as opened_home
from thermocline.errors import LockTimeoutError, SourceError, UsageError
from thermocline.model.coverage.states import State
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import DayRange, Partition, midnight
from thermocline.ports import Answered, Fetched
from thermocline.settings import load_settings
from thermocline.stores.analytics import DuckDBAnalytics
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog, MemoryObjects
from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.spool import DuckDBSpool

MONDAY = date(2024, 1, 8)


class _Vendor:
    """Daily bars of every session but some, a page of a thousand rows a request, and a log of what it was asked."""

    name = "vendor"
    rows_per_page = 1000
    symbols_per_request = 1

    def __init__(self, *lacks: date, broken: bool = False) -> None:
        self.lacks, self.broken = lacks, broken
        self.asked: list[str] = []

    def fetch(self, request):
        [symbol] = request.symbols
        self.asked.append(f"{symbol} {request.days.start:%m-%d} {request.days.end:%m-%d}")
        if self.broken:
            msg = "503 for ever"
            raise SourceError(msg)
        days = [day for day in request.days if day.weekday() < 5 and day not in self.lacks]  # Saturday
        rows = [bars(Partition("market_data", "1day", day), symbols=[symbol], count=1) for day in days]
        span = Answered(symbol, "1day", midnight(request.days.start), midnight(request.days.end), "equity")
        yield Fetched(table(*rows) if rows else MARKET_DATA.arrow_schema.empty_table(), "page", answered=(span,))


@pytest.fixture(params=["hybrid", "postgres"])
def opened(request, tmp_path):
    lake = ParquetLake(MemoryObjects(), MemoryCatalog())
    settings = load_settings(home=tmp_path, environ={"THERMOCLINE_FETCH_FROM": '{"crypto": "nowhere"}'})
    return Thermocline(
        settings,
        hot=MemoryHot(),
        lake=lake,
        spools=DuckDBSpool,
        analytics=DuckDBAnalytics(lake.engine),
        storage=request.param,
    )


def dates(answer):
    return [at.date().day for at in answer.to_arrow()["ts"].to_pylist()]


def test_what_is_nowhere_is_fetched_once_and_kept(opened):
    vendor = _Vendor()
    answer = opened.fetch("AAPL", "1day", "2024-01-08", "2024-01-13", source=vendor)
    assert (dates(answer), answer.missing) == ([8, 9, 10, 11, 12], ())
    assert vendor.asked == ["AAPL 01-08 01-13"]
    again = opened.fetch("AAPL", "1day", "2024-01-08", "2024-01-13", source=vendor)
    assert dates(again) == [8, 9, 10, 11, 12]
    assert len(vendor.asked) == 1


def test_rows_that_nobody_asked_for_are_not_kept(opened):
    class Generous(_Vendor):
        def fetch(self, request):
            return super().fetch(replace(request, days=DayRange(MONDAY, MONDAY + timedelta(days=5))))

    answer = opened.fetch("AAPL", "1day", "2024-01-09", "2024-01-11", source=Generous())
    assert dates(answer) == dates(opened.query("market_data")) == [9, 10]


def test_each_call_may_say_where_rows_are_kept(opened):
    for day, storage in enumerate(("parquet", "postgres", "timescale", "hybrid"), start=8):
        span = (f"2024-01-{day:02}", f"2024-01-{day + 1:02}")
        assert dates(opened.fetch("IBM", "1day", *span, source=_Vendor(), storage=storage)) == [day]
    assert [day.partition.day.day for day in opened.hot.hot_days(MARKET_DATA)] == [9, 10]


def test_only_what_is_missing_is_asked_for_before_and_after_what_is_there(opened):
    vendor = _Vendor()
    opened.fetch("AAPL", "1day", "2024-01-10", "2024-01-11", source=vendor)
    answer = opened.fetch("AAPL", "1day", "2024-01-08", "2024-01-20", source=vendor)
    # New York is shut on Martin Luther King's day, the 15th.
    assert vendor.asked == ["AAPL 01-10 01-11", "AAPL 01-08 01-20"]
    assert answer.missing == ()
    opened.fetch("AAPL", "1day", "2024-01-08", datetime(2024, 1, 23, tzinfo=UTC), source=vendor)
    assert vendor.asked[2:] == ["AAPL 01-22 01-23"]


def test_a_hole_that_the_source_has_told_of_is_said_and_not_asked_for_again(opened):
    vendor = _Vendor(MONDAY + timedelta(days=1))
    for _ in range(2):
        answer = opened.fetch("AAPL", "1day", "2024-01-08", "2024-01-11", source=vendor)
        assert (dates(answer), answer.missing) == ([8, 10], (date(2024, 1, 9),))
    assert len(vendor.asked) == 1
    opened.fetch("AAPL", "1day", "2024-01-08", "2024-01-11", source=vendor, ask_again=True)
    assert vendor.asked[1:] == ["AAPL 01-09 01-10"]


class _Spoilt(_Vendor):
    """Its second day's row may not go in."""

    def __init__(self, spoil):
        super().__init__()
        self.spoil = spoil

    def fetch(self, request):
        for fetched in super().fetch(request):
            rows = fetched.rows.to_pylist()
            spoilt = [self.spoil(row) if row["ts"].day == 9 else row for row in rows]
            yield Fetched(pa.Table.from_pylist(spoilt), "page", answered=fetched.answered)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda row: {**row, "close": -row["close"]},
        lambda row: {**row, "close": -row["close"], "ts": None},
    ],
)
def test_a_day_whose_rows_may_not_go_in_is_asked_for_again(opened, spoil):
    vendor = _Spoilt(spoil)
    answer = opened.fetch("AAPL", "1day", "2024-01-08", "2024-01-11", source=vendor)
    assert (dates(answer), answer.missing) == ([8, 10], (date(2024, 1, 9),))
    vendor.spoil = lambda row: row
    answer = opened.fetch("AAPL", "1day", "2024-01-08", "2024-01-11", source=vendor)
    assert (dates(answer), vendor.asked[1:]) == ([8, 9, 10], ["AAPL 01-09 01-10"])


def test_rows_that_are_in_stand_where_coverage_can_not_be_told(opened, monkeypatch):
    def lost(*_):
        msg = "connection lost"
        raise LockTimeoutError(msg)

    monkeypatch.setattr(opened.hot, "note_due", lost)
    assert dates(opened.fetch("AAPL", "1day", "2024-01-08", "2024-01-10", source=_Vendor())) == [8, 9]


class _Exchange:
    """Hourly bars around the clock, up to the last that is over."""

    name = "exchange"
    rows_per_page = 1000
    symbols_per_request = 1

    def __init__(self, *lacks):
        self.lacks = lacks
        self.asked = []

    def fetch(self, request):
        self.asked.append(request.days)
        [bar] = table(bars(Partition("market_data", "1hour", MONDAY), symbols=["BTC/USD"], count=1)).to_pylist()
        opens = [midnight(day) + timedelta(hours=hour) for day in request.days for hour in range(24)]
        rows = [{**bar, "ts": at} for at in opens]
        over = [{**row, "asset_class": "crypto"} for row in rows if row["ts"] + timedelta(hours=1) <= request.now]
        kept = [row for row in over if row["ts"] not in self.lacks]
        end = min(midnight(request.days.end), request.now - timedelta(hours=1) + timedelta(microseconds=1))
        span = Answered("BTC/USD", "1hour", midnight(request.days.start), end, "crypto")
        rows = pa.Table.from_pylist(kept, MARKET_DATA.arrow_schema)
        yield Fetched(rows, "page", answered=(span,))


def let_it_be(monkeypatch, now):
    """Have every clock say `now`."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return now.astimezone(tz)

    for module in (fetching, covering, moving, opened_home):
        monkeypatch.setattr(module, "datetime", Clock, raising=False)


def test_bars_of_today_that_are_over_are_asked_for_once_each(opened, monkeypatch):
    exchange, noon = _Exchange(), datetime(2024, 1, 9, 12, 5, tzinfo=UTC)

    def bars_at(now):
        let_it_be(monkeypatch, now)
        answer = opened.fetch("BTC/USD", "1hour", "2024-01-08", source=exchange)
        return len(answer.to_arrow()), answer.missing, len(exchange.asked)

    assert bars_at(noon) == (36, (), 1)
    assert bars_at(noon + timedelta(minutes=50)) == (36, (), 1)
    assert bars_at(noon + timedelta(hours=1)) == (37, (), 2)
    tuesday = opened.coverage(start="2024-01-08", end="2024-01-10").series[0]
    assert (tuesday.state_of(noon.date()), tuesday.bars_missing) == (State.PENDING, 0)
    assert opened.get_missing_dates("BTC/USD", "1hour", "2024-01-08", "2024-01-10") == []
    assert bars_at(noon + timedelta(hours=13)) == (49, (), 3)


def test_a_bar_of_today_that_the_source_lacks_is_missing_and_asked_for_with_the_next(opened, monkeypatch):
    noon = datetime(2024, 1, 9, 12, 5, tzinfo=UTC)
    exchange = _Exchange(datetime(2024, 1, 9, 11, tzinfo=UTC))
    for minutes, asked in ((0, 1), (30, 1), (60, 2), (90, 2), (12 * 60, 3), (13 * 60, 4), (14 * 60, 4)):
        let_it_be(monkeypatch, noon + timedelta(minutes=minutes))
        answer = opened.fetch("BTC/USD", "1hour", "2024-01-09", "2024-01-10", source=exchange)
        assert (answer.missing, len(exchange.asked)) == ((noon.date(),), asked)


def test_without_a_source_it_answers_from_what_is_there_and_says_what_is_missing(opened):
    opened.fetch("AAPL", "1day", "2024-01-08", "2024-01-09", source=_Vendor())
    answer = opened.fetch("AAPL", "1day", "2024-01-08", "2024-01-10")
    assert (dates(answer), answer.missing) == ([8], (date(2024, 1, 9),))


def test_what_is_missing_of_nothing_can_not_be_told(opened):
    with pytest.raises(UsageError, match=r"nothing is known of such rows of market_data.*--symbol, --interval and"):
        opened.backfill("market_data", source=_Vendor(), missing=True)


def test_a_source_that_fails_is_named_and_what_is_there_stays(opened):
    opened.fetch("AAPL", "1day", "2024-01-08", "2024-01-09", source=_Vendor())
    with pytest.raises(SourceError, match="503 for ever; what it brought before is kept"):
        opened.fetch("AAPL", "1day", "2024-01-08", "2024-01-10", source=_Vendor(broken=True))
    assert dates(opened.query("market_data", symbols=["AAPL"])) == [8]
    assert opened.coverage(start="2024-01-08", end="2024-01-10").series[0].dates() == [date(2024, 1, 9)]


def test_the_source_of_an_asset_class_is_told_by_the_settings(opened):
    with pytest.raises(thermocline.ThermoclineError, match="nowhere"):
        opened.fetch("BTC/USD", "1day", "2024-01-08", "2024-01-10")


def test_missing_asks_forwards_and_backwards_and_a_hole_or_a_broken_symbol_holds_nothing_up(opened):
    vendor = _Vendor(MONDAY + timedelta(days=2))
    opened.fetch("AAPL", "1day", "2024-01-09", "2024-01-10", source=vendor)
    plan = opened.plan_missing("market_data", source=vendor, start="2024-01-08", end="2024-01-13")
    assert [(str(f.days.start), str(f.days.end), f.bars_missing) for f in plan.fetches] == [
        ("2024-01-08", "2024-01-13", 4)
    ]
    done = opened.backfill("market_data", source=vendor, missing=True, start="2024-01-08", end="2024-01-13")
    assert (done.rows, done.unfetched) == (4, [])
    assert opened.get_missing_dates("AAPL", "1day", "2024-01-08", "2024-01-13") == [date(2024, 1, 10)]
    again = opened.backfill("market_data", source=vendor, missing=True, start="2024-01-08", end="2024-01-13")
    assert (again.rows, len(vendor.asked)) == (0, 2)
