"""Bars by way of ccxt, from an exchange that pages, throttles, fails and lies."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from vendor_server import failing, quick_network, reset, throttled, vendor_server

from thermocline.errors import SettingsError, SourceError, SourceRefusedError, UsageError
from thermocline.model.conform import conform
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS, DayRange
from thermocline.ports import FetchRequest
from thermocline.sources.open import open_source

NOW = datetime(2024, 3, 10, 15, 30, tzinfo=UTC)
OHLC = "/0/public/OHLC"
HOUR = 3600


class Kraken:
    """Speaks as Kraken does, but keeps as much history as it is told to."""

    def __init__(self, vendor) -> None:
        """Answer."""
        self.vendor, self.first, self.most = vendor, datetime(2024, 1, 1, tzinfo=UTC), 720
        self.bars = self.from_instant
        self.vendor.route("/0/public/AssetPairs")(lambda _: {"error": [], "result": {"XXBTZUSD": PAIR}})
        self.vendor.route("/0/public/Assets")(lambda _: {"error": [], "result": ASSETS})
        self.vendor.route(OHLC)(self._ohlc)

    def from_instant(self, since: int) -> list[int]:
        """When bars open, the oldest that were asked for first."""
        first = max(-(-since // HOUR) * HOUR, int(self.first.timestamp()))
        return list(range(first, int(NOW.timestamp()), HOUR))[: self.most]

    def _ohlc(self, request):
        # ccxt asks for bars after the one before the first that is wanted, as Kraken has it.
        since = int(request.parameters["since"]) + HOUR
        rows = [
            [at, "10.10000001", "12.0", "9", f"{at % 1000 + 10}.5", "1", "0.25", 3]
            for at in self.bars(since)
        ]  # fmt: skip
        return {"error": [], "result": {"XXBTZUSD": rows, "last": 0}}


PAIR = {
    "altname": "XBTUSD", "wsname": "XBT/USD", "aclass_base": "currency", "base": "XXBT", "aclass_quote": "currency",
    "quote": "ZUSD", "lot": "unit", "cost_decimals": 5, "pair_decimals": 1, "lot_decimals": 8, "lot_multiplier": 1,
    "leverage_buy": [], "leverage_sell": [], "fees": [[0, 0.4]], "fees_maker": [[0, 0.25]],
    "ordermin": "0.0001", "costmin": "0.5", "tick_size": "0.1", "status": "online",
}  # fmt: skip
ASSETS = {
    name: {"aclass": "currency", "altname": alt, "decimals": 10, "display_decimals": 5, "status": "enabled"}
    for name, alt in (("XXBT", "XBT"), ("ZUSD", "USD"))
}


@pytest.fixture(scope="module")
def server():
    with vendor_server() as vendor:
        yield vendor


@pytest.fixture
def kraken(server) -> Kraken:
    server.forget()
    return Kraken(server)


def fetch(kraken: Kraken, start="2024-01-01", symbol="BTC/USD", interval="1hour", **options):
    chosen = {"url": kraken.vendor.url, "requests_per_minute": 100_000, **options}
    source = open_source("kraken", options=chosen, network=quick_network(attempts=3))
    days = DayRange(date.fromisoformat(start), ALL_DAYS.end)
    return list(source.fetch(FetchRequest(MARKET_DATA, days, frozenset([symbol]), frozenset([interval]), NOW)))


def accepted(pages) -> pa.Table:
    found = [conform(page.rows, MARKET_DATA, source="k", ingested_at=NOW, origin=page.origin) for page in pages]
    assert [each.rejected for each in found if each.rejected] == []
    return pa.concat_tables([each.rows for each in found])


def hours_from(start: datetime) -> list[datetime]:
    return [start + timedelta(hours=n) for n in range(int((NOW - start) / timedelta(hours=1)))]


def test_pages_follow_one_another_without_a_hole_or_a_bar_twice(kraken):
    pages = fetch(kraken)
    table = accepted(pages)
    # The bar that opened at 15:00 is not over at 15:30.
    assert table["ts"].to_pylist() == hours_from(kraken.first)
    assert len(pages) == 3
    row = table.slice(0, 1).to_pylist()[0]
    assert (row["open"], row["volume"], row["symbol"]) == (Decimal("10.10000001"), 0.25, "BTC/USD")
    spans = [span for page in pages for span in page.answered]
    assert (spans[0].start, spans[-1].end) == (kraken.first, NOW)


def test_a_page_that_is_shorter_than_others_is_not_the_end(kraken):
    kraken.most = 7
    kraken.first = NOW - timedelta(days=4)
    assert accepted(fetch(kraken, "2024-03-06"))["ts"].to_pylist()[-1] == NOW - timedelta(hours=1, minutes=30)


def test_rows_in_any_order_and_twice_lose_nothing(kraken):
    def shuffled(since: int) -> list[int]:
        rows = kraken.from_instant(since)
        return [*rows[5:], *rows[:9]]

    kraken.bars = shuffled
    assert sorted(set(accepted(fetch(kraken))["ts"].to_pylist())) == hours_from(kraken.first)


def test_an_exchange_that_keeps_its_newest_bars_alone_says_so_instead_of_losing_the_others(kraken):
    kraken.bars = lambda _: kraken.from_instant(int(NOW.timestamp()) - 720 * HOUR)
    with pytest.raises(
        SourceError, match=r"gave its newest 720, from 2024-02-09T.*; those before would be missing.*--start"
    ):
        fetch(kraken)
    assert len(accepted(fetch(kraken, "2024-02-10"))) > 690


def test_what_fails_for_a_moment_is_asked_again(kraken):
    kraken.vendor.instead(OHLC, throttled(2), reset())
    kraken.vendor.instead("/0/public/AssetPairs", failing(502))
    assert len(accepted(fetch(kraken))) == len(hours_from(kraken.first))


def test_an_exchange_that_is_down_is_named_with_how_far_it_came(kraken):
    kraken.vendor.instead(OHLC, *[failing(503)] * 3)
    with pytest.raises(SourceError, match=r"it was tried 3 times.*kraken, BTC/USD-1hour: 0 pages were read before"):
        fetch(kraken)


def test_a_symbol_or_an_interval_that_it_does_not_have_is_refused(kraken):
    with pytest.raises(SourceRefusedError, match=r"kraken refuses AAPL 1hour.*check the symbol"):
        fetch(kraken, symbol="AAPL")
    with pytest.raises(UsageError, match="kraken has no bars of 3min; it has 1m, 5m"):
        fetch(kraken, interval="3min")


def test_an_exchange_must_be_one_that_there_is():
    source = open_source("ccxt", options={"exchange": "krakken", "symbols": ["BTC/USD"]})
    with pytest.raises(SettingsError, match="'krakken' is none; write one that ccxt knows"):
        list(source.fetch(FetchRequest(MARKET_DATA, ALL_DAYS)))
