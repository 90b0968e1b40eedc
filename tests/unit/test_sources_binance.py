"""Bars of Binance: files of months and days, and pages of the interface."""

import itertools
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from binance_server import Binance
from vendor_server import failing, quick_network, throttled, vendor_server

from thermocline.errors import SourceError, SourceRefusedError, UsageError
from thermocline.model.conform import conform
from thermocline.model.datasets import MARKET_DATA, NEWS
from thermocline.model.partition import ALL_DAYS, DayRange
from thermocline.ports import FetchRequest
from thermocline.sources.open import open_source
from thermocline.stores.memory import MemoryObjects
from thermocline.stores.pages import LakePageStore

NOW = datetime(2025, 3, 10, 15, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def server():
    with vendor_server() as vendor:
        yield vendor


@pytest.fixture
def binance(server) -> Binance:
    server.forget()
    return Binance(server, NOW)


def fetch(
    binance: Binance,
    interval="1hour",
    start="2024-12-01",
    end=None,
    symbol="BTC/USDT",
    *,
    now=NOW,
    pages=None,
    **options,
):
    urls = {"url": binance.vendor.url, "archive_url": binance.vendor.url}
    chosen = {**urls, "files": True, "requests_per_minute": 100_000, **options}
    source = open_source("binance", options=chosen, network=quick_network(attempts=3))
    days = DayRange(date.fromisoformat(start), date.fromisoformat(end) if end else ALL_DAYS.end)
    request = FetchRequest(MARKET_DATA, days, frozenset([symbol]), frozenset([interval]), now, pages)
    return list(source.fetch(request))


def accepted(pages, start="2024-12-01") -> pa.Table:
    days = DayRange(date.fromisoformat(start), date(2100, 1, 1))
    found = [
        conform(page.rows, MARKET_DATA, source="binance", ingested_at=NOW, origin=page.origin, days=days)
        for page in pages
    ]
    assert [each.rejected for each in found if each.rejected] == []
    return pa.concat_tables([each.rows for each in found])


def opened(table: pa.Table) -> list[datetime]:
    return table["ts"].to_pylist()


def hours(start: datetime, end: datetime) -> list[datetime]:
    return [start + timedelta(hours=n) for n in range(int((end - start) / timedelta(hours=1)))]


def test_months_come_from_files_and_the_rest_by_the_interface_whatever_unit_their_times_have(binance):
    table = accepted(fetch(binance))
    # The bar that opened at 15:00 is not over at 15:30.
    assert opened(table) == hours(datetime(2024, 12, 1, tzinfo=UTC), NOW.replace(minute=0))
    row = table.slice(0, 1).to_pylist()[0]
    assert (row["asset_class"], row["symbol"], row["interval"]) == ("crypto", "BTC/USDT", "1hour")
    assert row["close"] - row["open"] == Decimal("1.11345678")
    files = [served.path.rpartition("/")[2] for served in binance.vendor.log if served.path.endswith(".zip")]
    assert files == [f"BTCUSDT-1h-{month}.zip" for month in ("2024-12", "2025-01", "2025-02")]
    assert binance.vendor.requests("/api/v3/klines") == 2  # the oldest bar, and March


def test_a_run_of_the_next_day_goes_on_where_the_one_before_was_killed(binance):
    store = LakePageStore(MemoryObjects())
    expected = hours(datetime(2024, 12, 1, tzinfo=UTC), NOW.replace(minute=0))
    pages = fetch(binance, pages=store.pages(now=NOW, run_id="run-1"))
    assert opened(accepted(pages)) == expected
    binance.vendor.forget()
    binance.now = NOW + timedelta(days=1)
    again = fetch(binance, end="2025-12-31", now=binance.now, pages=store.pages(now=binance.now, run_id="run-2"))
    assert opened(accepted(again)) == [
        *expected,
        *hours(expected[-1] + timedelta(hours=1), NOW + timedelta(hours=23.5)),
    ]
    # March alone: the page in which the last bar was not over, and what came since.
    assert [served.path for served in binance.vendor.log] == ["/api/v3/klines"] * 2


def test_a_file_may_begin_with_a_line_of_names(binance):
    binance.names_in_file = True
    assert len(accepted(fetch(binance, end="2025-01-01"))) == 31 * 24


def test_minutes_of_days_without_a_month_come_from_files_of_days(binance):
    table = accepted(fetch(binance, "1min", "2025-03-08"), "2025-03-08")
    assert len(table) == 2 * 1440 + 15 * 60 + 30
    files = [served.path.rpartition("/")[2] for served in binance.vendor.log if served.path.endswith(".zip")]
    assert files == ["BTCUSDT-1m-2025-03-08.zip", "BTCUSDT-1m-2025-03-09.zip"]


def test_what_has_no_file_is_asked_of_the_interface(binance):
    binance.missing = {"2025-01", "2025-03-09"}
    assert opened(accepted(fetch(binance))) == hours(datetime(2024, 12, 1, tzinfo=UTC), NOW.replace(minute=0))
    minutes = accepted(fetch(binance, "1min", "2025-03-08"), "2025-03-08")
    assert len(minutes) == 2 * 1440 + 15 * 60 + 30
    assert len(set(opened(minutes))) == len(minutes)


def test_no_month_before_the_first_bar_is_asked_for(binance):
    binance.listed = datetime(2025, 2, 20, 7, tzinfo=UTC)
    pages = fetch(binance, start="2012-01-01")
    assert opened(accepted(pages, "2012-01-01"))[0] == binance.listed
    assert binance.vendor.requests() < 6
    assert (pages[0].answered[0].start.year, pages[0].answered[0].end) == (2012, binance.listed)


def test_every_instant_is_answered_for_once(binance):
    spans = [span for page in fetch(binance) for span in page.answered]
    assert {span.symbol for span in spans} == {"BTC/USDT"}
    joined = sorted((span.start, span.end) for span in spans)
    assert joined[0][0] == datetime(2024, 12, 1, tzinfo=UTC)
    assert joined[-1][1] == NOW
    assert all(one[1] == following[0] for one, following in itertools.pairwise(joined))


def test_what_a_file_has_that_is_not_what_its_checksum_says_comes_by_the_interface(binance):
    binance.spoiled = {"2025-01"}
    pages = fetch(binance)
    assert opened(accepted(pages)) == hours(datetime(2024, 12, 1, tzinfo=UTC), NOW.replace(minute=0))
    assert "binance BTCUSDT-1h-2025-01.zip" not in [page.origin for page in pages if len(page.rows)]
    assert binance.vendor.requests("/data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01.zip") == 2


def test_a_vendor_that_throttles_and_fails_is_asked_again(binance):
    path = "/data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2024-12.zip"
    binance.vendor.instead(path, throttled(2), failing(503))
    binance.vendor.instead("/api/v3/klines", throttled(1, 418))
    assert len(accepted(fetch(binance, end="2025-01-01"))) == 31 * 24


def test_where_the_interface_is_closed_the_archive_still_answers(binance):
    binance.vendor.route("/api/v3/klines")(lambda _: failing(451, b"restricted location"))
    binance.missing = {"2025-01", "2025-01-07"}
    pages = fetch(binance)
    had = [day for day in range(31 + 31 + 28 + 9) if day != 31 + 6]  # December to 9 March, without 7 January
    days = [datetime(2024, 12, 1, tzinfo=UTC) + timedelta(days=day) for day in had]
    assert opened(accepted(pages)) == [hour for day in days for hour in hours(day, day + timedelta(days=1))]
    lacking = datetime(2025, 1, 7, 12, tzinfo=UTC)
    assert not [span for page in pages for span in page.answered if span.start <= lacking < span.end]


def test_where_the_interface_is_closed_coarse_bars_come_by_files_of_months(binance):
    binance.vendor.route("/api/v3/klines")(lambda _: failing(451, b"restricted location"))
    pages = fetch(binance, "1day", "2024-11-15", files=None)
    table = accepted(pages, "2024-11-15")
    assert len(table) == 16 + 31 + 31 + 28 + 9
    assert sum((span.end - span.start for page in pages for span in page.answered), timedelta()).days == len(table)
    assert binance.vendor.requests() == 1 + 2 * (4 + 9)


def test_bars_of_which_a_page_has_more_than_a_month_come_by_the_interface(binance):
    pages = fetch(binance, "1day", "2017-01-01", files=None)
    table = accepted(pages, "2017-01-01")
    assert opened(table)[0] == binance.listed
    assert len(table) == (NOW - binance.listed).days
    assert {served.path for served in binance.vendor.log} == {"/api/v3/klines"}
    assert binance.vendor.requests() == 3
    spans = sorted((span.start, span.end) for page in pages for span in page.answered)
    assert (spans[0][0], spans[-1][1]) == (datetime(2017, 1, 1, tzinfo=UTC), NOW)
    assert all(one[1] == following[0] for one, following in itertools.pairwise(spans))


def test_bars_that_were_not_asked_for_are_a_lie(binance):
    rows = binance.bars("BTCUSDT", "1h", NOW - timedelta(days=400), NOW - timedelta(days=399))
    binance.vendor.route("/api/v3/klines")(lambda _: rows)
    with pytest.raises(SourceError, match="and gave others; nothing of that page was taken"):
        fetch(binance)


@pytest.mark.parametrize(
    ("symbol", "path"),
    [
        ("BTC/USDT:USDT", "/data/futures/um/monthly/klines/BTCUSDT/1d/BTCUSDT-1d-2024-12.zip"),
        ("BTCUSDT", "/data/spot/monthly/klines/BTCUSDT/1d/BTCUSDT-1d-2024-12.zip"),
    ],
)
def test_a_symbol_is_kept_as_it_was_written_and_says_its_market(symbol, path, binance):
    table = accepted(fetch(binance, "1day", end="2025-01-01", symbol=symbol))
    assert set(table["symbol"].to_pylist()) == {symbol}
    assert len(table) == 31
    assert binance.vendor.requests(path) == 1


def test_what_can_not_be_asked_is_said_before_anything_is(binance):
    with pytest.raises(SourceRefusedError, match="Invalid symbol"):
        fetch(binance, symbol="NOSUCH")
    with pytest.raises(UsageError, match=r"binance has no bars of 7min; it has 1sec, 1min"):
        fetch(binance, "7min")
    source = open_source("binance")
    with pytest.raises(UsageError, match="name some with --symbol"):
        list(source.fetch(FetchRequest(MARKET_DATA, ALL_DAYS)))
    with pytest.raises(UsageError, match="has bars for market_data only, not news"):
        list(source.fetch(FetchRequest(NEWS, ALL_DAYS)))
