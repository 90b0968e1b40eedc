"""What every source of a vendor keeps to, whoever the vendor is: one suite, each vendor behind its own fake server."""

import json
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from vendor_fakes import BARS, FAKES, KEY, SECRET, bar, keep_yahoo_s_cookies_in, stamped
from vendor_server import Clock, Reply, cut, failing, quick_network, reset, throttled, vendor_server

from thermocline.api import Thermocline
from thermocline.errors import SettingsError, SourceError
from thermocline.model.conform import conform
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import DayRange
from thermocline.ports import FetchRequest
from thermocline.settings import load_settings
from thermocline.sources.open import open_source
from thermocline.sources.transport.answers import end_of
from thermocline.sources.transport.http import NotAllowedError
from thermocline.stores.analytics import DuckDBAnalytics
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog, MemoryObjects
from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.pages import LakePageStore
from thermocline.stores.spool import DuckDBSpool

NOW = datetime(2024, 5, 20, 15, tzinfo=UTC)
DAYS = DayRange(date(2024, 4, 29), date(2024, 5, 4))
REQUEST = FetchRequest(MARKET_DATA, DAYS, frozenset({"AAPL"}), frozenset({"1day"}), now=NOW)
SESSIONS = list(BARS["1day"])


@pytest.fixture(scope="module", params=sorted(FAKES))
def served(request, tmp_path_factory):
    fake = FAKES[request.param]
    if fake.kind == "yfinance":
        keep_yahoo_s_cookies_in(tmp_path_factory.mktemp("yahoo"))
    with vendor_server() as vendor:
        fake.install(vendor)
        yield fake, vendor


@pytest.fixture
def fake(served):
    return served[0]


@pytest.fixture
def vendor(served):
    served[1].forget()
    return served[1]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ask(fake, vendor, clock):
    """Ask the source, through the gate; what was rejected or unreadable comes beside the rows."""

    def asked(request=REQUEST, variables=None, **options):
        known = fake.variables if variables is None else variables
        network = quick_network(clock, known, attempts=4)
        source = open_source(fake.kind, options={"url": vendor.url, **fake.options, **options}, network=network)
        pages = list(source.fetch(request))
        rows = []
        for page in pages:
            done = conform(
                page.rows, MARKET_DATA, source=source.name, ingested_at=NOW, origin=page.origin, days=request.days
            )
            assert done.rejected == ()
            rows += done.rows.to_pylist()
        return rows, pages

    return asked


def test_all_pages_are_read_to_the_end_and_each_is_asked_for_once(ask, vendor, fake):
    rows, _ = ask()
    assert [row["ts"] for row in rows] == SESSIONS
    assert vendor.requests(fake.path) == fake.pages


def test_prices_are_exactly_what_the_vendor_wrote(ask, fake):
    rows, _ = ask()
    row, wrote = rows[1], bar("AAPL", BARS["1day"][1])
    names = {"open": "o", "high": "h", "low": "l", "close": "c"}
    assert {name: row[name] for name in names} == {name: Decimal(str(wrote[own])) for name, own in names.items()}
    measured = {"vwap": Decimal(str(wrote["vw"])), "trade_count": wrote["n"]}
    assert {name: row[name] for name in measured if row[name] is not None} == {n: measured[n] for n in fake.measures}
    assert row["volume"] == wrote["v"]
    assert (row["asset_class"], row["symbol"], row["interval"]) == ("equity", "AAPL", "1day")


def test_minutes_keep_their_instant(ask):
    rows, _ = ask(replace(REQUEST, intervals=frozenset({"1min"})))
    assert [row["ts"] for row in rows] == list(BARS["1min"])


def test_several_symbols_are_told_apart(ask):
    rows, _ = ask(replace(REQUEST, symbols=frozenset({"AAPL", "ZED"})))
    assert {(row["symbol"], row["ts"]) for row in rows} == {(s, at) for s in ("AAPL", "ZED") for at in SESSIONS}


def test_a_bar_that_is_not_over_is_left_out_and_nothing_is_claimed_of_it(ask, fake):
    at = BARS["1min"][3] + timedelta(seconds=30)
    request = replace(REQUEST, days=DayRange(date(2024, 5, 3), date(2024, 5, 4)), intervals=frozenset({"1min"}))
    undelayed = {"delay_minutes": 0} if fake.kind in {"alpaca", "massive"} else {}
    rows, pages = ask(replace(request, now=at), **undelayed)
    assert [row["ts"] for row in rows] == list(BARS["1min"][:3])
    (answered,) = [each for page in pages for each in page.answered]
    assert answered.end <= BARS["1min"][3]
    rows, _ = ask(replace(request, now=at, intervals=frozenset({"1day"})))
    assert rows == []


def test_a_month_is_over_when_its_last_day_is():
    opens = datetime(2024, 1, 1, 5, tzinfo=UTC)
    assert end_of(opens, "1month") == datetime(2024, 2, 1, 5, tzinfo=UTC)
    assert end_of(opens, "12month") == datetime(2025, 1, 1, 5, tzinfo=UTC)
    assert end_of(opens, "1week") == opens + timedelta(days=7)


def test_what_was_told_whole_is_said_to_be(ask):
    _, pages = ask()
    told = [each for page in pages for each in page.answered]
    assert {(each.symbol, each.interval, each.asset_class) for each in told} == {("AAPL", "1day", "equity")}
    assert (told[0].start, told[-1].end) == (SESSIONS[0], SESSIONS[-1] + timedelta(days=1))
    assert all(one.end == following.start for one, following in pairwise(told))
    assert pages[-1].answered


def test_a_pause_that_is_asked_for_is_made(ask, vendor, fake, clock):
    vendor.instead(fake.path, throttled(7), throttled(3))
    rows, _ = ask()
    assert len(rows) == 5
    assert sum(clock.slept) >= 10


def test_failures_of_a_moment_are_passed_over(ask, vendor, fake):
    vendor.instead(fake.path, failing(503), reset(), cut(10))
    rows, _ = ask()
    assert len(rows) == 5


def test_what_stays_broken_is_given_up_with_what_to_do(ask, vendor, fake):
    vendor.instead(fake.path, *[failing(500)] * 20)
    with pytest.raises(SourceError, match=r"it answers 500.*tried 4 times\. Run it again later"):
        ask()


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b"[1, 2]", b'{"bars": 7, "results": 7}'])
def test_an_answer_of_another_form_is_no_empty_answer(ask, vendor, fake, body):
    vendor.instead(fake.path, *[Reply(body)] * 20)
    with pytest.raises(SourceError):
        ask()


def test_a_source_without_its_key_says_which_variable_to_set(ask, fake, vendor):
    if not fake.variables:
        pytest.skip("it knows no keys")
    with pytest.raises(SettingsError, match=f"needs a key: set {next(iter(fake.variables))}"):
        ask(variables={})
    assert vendor.log == []


def test_a_wrong_key_is_refused_by_name_and_never_shown(ask, fake):
    if not fake.variables:
        pytest.skip("it knows no keys")
    wrong = {name: "wr0ng-" + value for name, value in fake.variables.items()}
    with pytest.raises(NotAllowedError, match=next(iter(fake.variables))) as caught:
        ask(variables=wrong)
    shown = "".join(str(each) for each in (caught.value, caught.value.__cause__, caught.value.__context__))
    assert not any(value in shown for value in wrong.values())


def test_no_key_is_in_what_a_source_tells(ask, fake, vendor):
    _, pages = ask()
    source = open_source(
        fake.kind, options={"url": vendor.url, **fake.options}, network=quick_network(variables=fake.variables)
    )
    told = repr(source) + "".join(page.origin for page in pages)
    assert KEY not in told
    assert SECRET not in told


def test_a_run_that_was_cut_off_goes_on_with_the_page_it_lacks(ask, vendor, fake):
    store = LakePageStore(MemoryObjects())
    first = replace(REQUEST, pages=store.pages(now=NOW, run_id="run-1"))

    def break_down(_):
        if vendor.requests(fake.path) == fake.pages - 1:
            vendor.instead(fake.path, *[failing(503)] * 4)

    vendor.on_served = break_down
    with pytest.raises(SourceError, match="pages were read before"):
        ask(first)
    vendor.on_served = lambda _: None
    vendor.forget()
    rows, _ = ask(replace(REQUEST, now=NOW + timedelta(minutes=5), pages=store.pages(now=NOW, run_id="run-2")))
    assert [row["ts"] for row in rows] == SESSIONS
    assert vendor.requests(fake.path) == 1


def test_a_run_without_an_end_goes_on_the_next_day_where_it_was(ask, vendor, fake):
    store, path = LakePageStore(MemoryObjects()), fake.endless_path or fake.path

    def break_down(_):
        if vendor.requests(path) == fake.pages - 1:
            vendor.instead(path, *[failing(503)] * 4)

    vendor.on_served = break_down
    endless = replace(REQUEST, days=DayRange(DAYS.start, date(9999, 12, 31)))
    with pytest.raises(SourceError):
        ask(replace(endless, pages=store.pages(now=NOW, run_id="run-1")))
    vendor.on_served = lambda _: None
    vendor.forget()
    tomorrow = NOW + timedelta(days=1)
    rows, _ = ask(replace(endless, now=tomorrow, pages=store.pages(now=tomorrow, run_id="run-2")))
    assert [row["ts"] for row in rows] == SESSIONS
    assert vendor.requests(path) == 1 + fake.asked_every_day


def test_a_record_that_is_no_bar_is_told_and_the_rest_goes_on(ask, vendor, fake):
    if not fake.is_json:
        pytest.skip("it has no records that could be broken one by one")
    broken = dict(bar("AAPL", BARS["1day"][0]), o="a lot")
    good = bar("AAPL", BARS["1day"][1])
    first, second = stamped("1day")[:2]
    bars = [{"t": f"{first:%Y-%m-%dT%H:%M:%SZ}", **broken}, {"t": f"{second:%Y-%m-%dT%H:%M:%SZ}", **good}, {"o": 1}]
    in_milliseconds = [{"t": int(first.timestamp() * 1_000), **broken}, {"t": int(second.timestamp() * 1_000), **good}]
    in_milliseconds.append({"o": 1})
    vendor.instead(
        fake.path,
        Reply(json.dumps({"bars": {"AAPL": bars}, "results": in_milliseconds}).encode()),
    )
    rows, pages = ask()
    assert [row["ts"] for row in rows] == SESSIONS[1:2]
    assert [reason for _, reason in pages[0].unreadable] == ["o: 'a lot' is not a number", "t is missing"]


def test_an_extra_that_is_not_installed_is_named(ask, fake, monkeypatch):
    for module in [name for name in sys.modules if name.split(".")[0] == fake.extra.split(".")[0]]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, fake.extra, None)
    with pytest.raises(SourceError, match=rf"pip install 'thermocline\[{fake.kind}\]'"):
        ask()


def test_what_was_fetched_once_is_not_asked_for_again(fake, vendor, clock, tmp_path):
    lake = ParquetLake(MemoryObjects(), MemoryCatalog())
    opened = Thermocline(
        load_settings(home=tmp_path, environ={}),
        hot=MemoryHot(),
        lake=lake,
        spools=DuckDBSpool,
        analytics=DuckDBAnalytics(lake.engine),
    )
    network = quick_network(clock, fake.variables, attempts=4)
    source = open_source(fake.kind, options={"url": vendor.url, **fake.options}, network=network)
    # The fake has nothing on the 6th, which its source has told with the rest.
    first = opened.fetch("AAPL", "1day", "2024-04-29", "2024-05-07", source=source)
    assert [row["ts"] for row in first.to_arrow().to_pylist()] == SESSIONS
    asked = len(vendor.log)
    assert asked > 0
    again = opened.fetch("AAPL", "1day", "2024-04-29", "2024-05-07", source=source)
    assert (again.missing, len(vendor.log)) == (first.missing, asked)
    assert again.missing == (date(2024, 5, 6),)
