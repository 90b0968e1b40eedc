"""What every coverage ledger promises: changes are followed, what was told is kept, and rows alone are the truth."""

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hot_acts import ingest, publish, table
from made_rows import bars

from thermocline.model.calendars import CalendarRules
from thermocline.model.coverage.due import Due, Outcome, Telling
from thermocline.model.coverage.states import Run, Series, State, Told
from thermocline.model.datasets import INSTRUMENTS, MARKET_DATA, NEWS
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import DayRange, Partition
from thermocline.ports import Answered, Fetched, FetchRequest
from thermocline.sources.calendars import ExchangeCalendars
from thermocline.stores.analytics import DuckDBAnalytics
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog, MemoryObjects
from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.postgres import PostgresHot
from thermocline.stores.spool import DuckDBSpool
from thermocline.tasks.backfill import Backfill
from thermocline.tasks.coverage import CoverageKeeper
from thermocline.tasks.delete import Deletion, delete
from thermocline.tasks.expected import Expectations

MONDAY = date(2024, 1, 8)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
AAPL = Series("market_data", "equity", "AAPL", "1day")


@pytest.fixture(params=["memory", "embedded"])
def hot(request):
    if request.param == "memory":
        return MemoryHot()
    return PostgresHot(request.getfixturevalue("new_database")(request.param))


@pytest.fixture
def lake():
    return ParquetLake(MemoryObjects(), MemoryCatalog())


@pytest.fixture(scope="module")
def expectations():
    return Expectations(ExchangeCalendars(), CalendarRules())


@pytest.fixture
def keeper(hot, lake, expectations):
    return CoverageKeeper(hot, lake, DuckDBAnalytics(lake.engine), expectations, NOW)


def day(number, interval="1day"):
    return Partition("market_data", interval, MONDAY + timedelta(days=number))


def at(number):
    return datetime(2024, 1, 8, tzinfo=UTC) + timedelta(days=number)


def states(keeper, symbol="AAPL", interval="1day", days=5):
    [seen] = keeper.look(MARKET_DATA, symbols=[symbol], intervals=[interval], start=MONDAY, end=day(days).day)
    return [seen.state_of(each) for each in DayRange(MONDAY, day(days).day)]


def name(hot, instrument, symbol, first, until=None):
    """Say that a symbol names an instrument from a day on, until another."""
    said = {"instrument_id": instrument, "asset_class": "equity", "symbol": symbol, "source": "made"}
    row = {**said, "ts": at(first), "until": None if until is None else day(until).day, "ingested_at": NOW}
    rows = pa.Table.from_pylist([row], INSTRUMENTS.arrow_schema)
    hot.ingest(INSTRUMENTS, rows, hot_days=(), run_id="run")


class _Answers:
    """A source with bars of some days, which tells which spans it told all of, and can't answer for some symbols."""

    name = "vendor"

    def __init__(self, *days, answered=(), broken=()):
        self._days, self._answered, self._broken = days, answered, broken

    def fetch(self, request):
        from thermocline.errors import SourceError  # noqa: PLC0415

        if request.symbols & set(self._broken):
            msg = "503 for ever"
            raise SourceError(msg)
        rows = [bars(day(number), symbols=sorted(request.symbols), count=1) for number in self._days]
        spans = tuple(Answered(s, "1day", at(a), at(b), "equity") for s in request.symbols for a, b in self._answered)
        yield Fetched(table(*rows) if rows else MARKET_DATA.arrow_schema.empty_table(), "page", answered=spans)


def backfilled(hot, lake, source, *symbols, days=DayRange(MONDAY, day(5).day)):  # noqa: B008  # a constant
    requests = [FetchRequest(MARKET_DATA, days, frozenset([symbol]), frozenset({"1day"})) for symbol in symbols]
    made = Backfill(source, hot, lake, DuckDBSpool, Lifecycle(), NOW.date(), NOW, "run", keep_going=True)
    return made.run(*requests)


def test_runs_are_kept_as_they_are_and_replaced_by_series(hot):
    told = Told(("alpaca", "massive"), NOW, "")
    runs = [
        Run(AAPL, MONDAY, day(5).day, State.COMPLETE, 5, 5),
        Run(AAPL, day(5).day, day(9).day, State.VENDOR_MISSING, 0, 2, told),
        Run(AAPL, day(9).day, day(11).day, State.PARTIAL, 7, 10, Told((), NOW, "503"), (3, 4)),
    ]
    other = Run(Series("market_data", "crypto", "BTC/USD", "1min"), MONDAY, day(1).day, State.COMPLETE, 1440, 1440)
    with hot.covering(MARKET_DATA) as ledger:
        ledger.replace([AAPL, other.series], [*runs, other])
    assert hot.coverage(MARKET_DATA) == [other, *runs]
    assert hot.coverage(MARKET_DATA, ["AAPL"], ["1day"]) == runs
    assert hot.coverage(MARKET_DATA, ["AAPL"], ["1min"]) == hot.coverage(NEWS) == []
    with hot.covering(MARKET_DATA) as ledger:
        ledger.replace([AAPL], runs[:1])
    assert hot.coverage(MARKET_DATA) == [other, runs[0]]


def test_what_fails_halfway_changes_nothing(hot):
    def fail_halfway():
        with hot.covering(MARKET_DATA) as ledger:
            ledger.replace([AAPL], [Run(AAPL, MONDAY, day(5).day, State.COMPLETE, 5, 5)])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_halfway()
    assert hot.coverage(MARKET_DATA) == []


def test_what_is_due_is_kept_until_it_is_settled(hot):
    telling = Telling("AAPL", at(0), at(5), Outcome.FAILED, "equity", "503 for ever")
    due = [
        Due("1day", MONDAY, day(5).day, "run", ("AAPL",), "vendor", NOW, (telling,)),
        Due("1min", MONDAY, day(1).day, ""),
    ]
    hot.note_due(MARKET_DATA, due)
    with hot.covering(MARKET_DATA) as ledger:
        first, second = ledger.due()
        assert (first.tellings, first.symbols, first.source, first.at) == ((telling,), ("AAPL",), "vendor", NOW)
        ledger.settle([first])
    with hot.covering(MARKET_DATA) as ledger:
        assert ledger.due() == [second]


def test_every_act_that_changes_rows_is_followed(hot, lake, keeper):
    publish(hot, lake, *(bars(day(number), count=1) for number in (0, 1, 4)))
    assert states(keeper) == [State.COMPLETE, State.COMPLETE, State.PENDING, State.PENDING, State.COMPLETE]
    ingest(hot, bars(day(2), count=1), hot_days=[day(2)])
    ingest(hot, bars(day(1), count=1, close="2"))
    assert states(keeper) == [State.COMPLETE] * 3 + [State.PENDING, State.COMPLETE]
    for number in (0, 2):
        delete(hot, lake, Deletion(MARKET_DATA, DayRange(day(number).day, day(number + 1).day)), run_id="delete")
    assert states(keeper) == [State.PENDING, State.COMPLETE, State.PENDING, State.PENDING, State.COMPLETE]
    ingest(hot, bars(day(3), count=1))  # a late row, whose day is in neither tier
    assert states(keeper)[3] is State.COMPLETE
    delete(hot, lake, Deletion(MARKET_DATA, DayRange(day(3).day, day(4).day)), run_id="delete again")
    assert states(keeper)[3] is State.PENDING


def test_what_a_source_told_and_what_it_could_not_is_kept(hot, lake, keeper):
    done = backfilled(hot, lake, _Answers(0, 1, answered=[(0, 4)], broken=["BAD"]), "AAPL", "BAD")
    assert (done.written, [each.reason for each in done.unfetched]) == (2, ["503 for ever"])
    missing = [State.VENDOR_MISSING, State.VENDOR_MISSING, State.PENDING]
    assert states(keeper) == [State.COMPLETE, State.COMPLETE, *missing]
    [bad] = keeper.look(MARKET_DATA, symbols=["BAD"])
    assert [(run.state, run.told.reason) for run in bad.gaps()] == [(State.PENDING, "503 for ever")]


def test_a_lost_ledger_is_made_anew_from_the_rows(hot, lake, keeper):
    publish(hot, lake, *(bars(day(number), count=1) for number in (0, 1, 4)))
    ingest(hot, bars(day(2), symbols=["IBM"], count=1))
    keeper.settle(MARKET_DATA)
    before = hot.coverage(MARKET_DATA)
    with hot.covering(MARKET_DATA) as ledger:
        ledger.replace({run.series for run in before}, [])
        ledger.settle(ledger.due())
    keeper.settle(MARKET_DATA)
    assert hot.coverage(MARKET_DATA) == before


def test_minutes_outside_of_the_session_are_extra_and_not_in_place_of_those_that_are_missing(hot, lake, keeper):
    # Minutes from midnight on: 870 of them before New York opens at 14:30 UTC.
    publish(hot, lake, bars(day(0, "1min"), symbols=["AAPL"], count=1000))
    [seen] = keeper.look(MARKET_DATA, symbols=["AAPL"])
    assert (seen.bars_expected, seen.bars_there, seen.bars_missing) == (390, 130, 260)


def test_a_weekly_bar_may_carry_any_day_of_its_week(hot, lake, keeper):
    publish(hot, lake, *(bars(day(number, "1week"), symbols=["AAPL"], count=1) for number in (4, 7, 21)))
    [seen] = keeper.look(MARKET_DATA, symbols=["AAPL"])
    assert [(run.state, run.start) for run in seen.gaps()] == [(State.PENDING, day(14).day)]
    assert (seen.bars_expected, seen.bars_there) == (4, 3)


def test_only_days_on_which_a_symbol_named_an_instrument_are_expected(hot, lake, keeper):
    publish(hot, lake, *(bars(day(number), symbols=["WM", "AAPL"], count=1) for number in (1, 3, 11)))
    before = [State.PENDING, State.COMPLETE, State.PENDING, State.COMPLETE, State.PENDING]
    assert states(keeper, "WM") == states(keeper, "AAPL") == before
    # The bank was listed on Tuesday and gone on Thursday; a week later the symbol was another company's for two days.
    name(hot, "bank", "WM", 1, 3)
    name(hot, "waste", "WM", 10, 12)
    assert states(keeper, "WM") == [None, State.COMPLETE, State.PENDING, State.COMPLETE, None]
    assert states(keeper, "AAPL") == before
    [seen] = keeper.look(MARKET_DATA, symbols=["WM"], start=MONDAY, end=day(30).day)
    assert (seen.bars_expected, seen.bars_there, seen.dates()) == (4, 2, [day(2).day, day(10).day])
    plan = keeper.plan(MARKET_DATA, _Answers(), symbols=["WM"], start=day(3).day)
    assert plan.bars_missing == 1  # and none of the time since it was delisted
    # What is learnt later counts for days that were settled before.
    name(hot, "bank", "WM", 1, 4)
    name(hot, "waste", "WM", 10)
    assert keeper.plan(MARKET_DATA, _Answers(), symbols=["WM"], start=day(12).day).bars_missing > 90


def test_a_week_in_which_a_symbol_was_listed_for_a_day_has_its_bar(hot, lake, keeper):
    publish(hot, lake, *(bars(day(number, "1week"), symbols=["WM"], count=1) for number in (0, 21)))
    name(hot, "bank", "WM", 0, 9)  # the second week's Monday is a holiday, its Tuesday the last day
    [seen] = keeper.look(MARKET_DATA, symbols=["WM"])
    assert [run.start for run in seen.gaps()] == [day(7).day]
    assert (seen.bars_expected, seen.bars_there) == (2, 1)
