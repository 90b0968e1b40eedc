"""Chains, news, splits, dividends and symbols of vendors, from answers as they document them."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from vendor_fakes import FAKES
from vendor_server import quick_network, vendor_server

from thermocline.errors import SettingsError, SourceError, UsageError
from thermocline.model.conform import conform
from thermocline.model.datasets import dataset_named
from thermocline.model.partition import ALL_DAYS, DayRange
from thermocline.ports import FetchRequest
from thermocline.sources.open import open_source

NOW = datetime(2024, 5, 31, 15, 0, 42, tzinfo=UTC)
MAY = DayRange(date(2024, 5, 1), date(2024, 6, 1))
GREEKS = ("delta", "gamma", "theta", "vega", "rho")


@pytest.fixture(scope="module")
def vendors():
    with vendor_server() as vendor:
        for fake in FAKES.values():
            fake.install(vendor)
        yield vendor


@pytest.fixture
def rows(vendors):
    vendors.forget()

    def asked(kind, dataset, *symbols, days=MAY, intervals=(), now=NOW, **options):
        network = quick_network(variables=FAKES[kind].variables)
        source = open_source(kind, options={"url": vendors.url, **options}, network=network)
        wanted = dataset_named(dataset)
        found = []
        for page in source.fetch(FetchRequest(wanted, days, frozenset(symbols), frozenset(intervals), now)):
            assert page.unreadable == ()
            done = conform(page.rows, wanted, source=kind, ingested_at=NOW, origin=page.origin)
            assert done.rejected == ()
            found += done.rows.to_pylist()
        return found

    return asked


@pytest.mark.parametrize(
    ("kind", "rho", "spot", "open_interest"),
    [("alpaca", 0.0241, None, None), ("massive", None, Decimal("104.87"), 1532.0)],
)
def test_a_chain_is_a_snapshot_of_every_contract(rows, kind, rho, spot, open_interest):
    call, put = rows(kind, "options_data", "ACME")
    assert (call["contract_symbol"], call["underlying"]) == ("ACME240621C00105000", "ACME")
    assert (call["expiration"], call["strike"], call["option_type"]) == (date(2024, 6, 21), Decimal(105), "call")
    assert (call["bid"], call["ask"], call["last"]) == (Decimal("4.2"), Decimal("4.4"), Decimal("4.3"))
    assert [call[name] for name in GREEKS] == [0.4512, 0.0311, -0.0623, 0.0987, rho]
    assert (call["implied_volatility"], call["volume"]) == (0.2874, 212.0)
    assert (call["underlying_price"], call["open_interest"]) == (spot, open_interest)
    assert call["ts"] == put["ts"] == datetime(2024, 5, 31, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize("kind", ["alpaca", "massive"])
def test_what_is_not_known_of_a_contract_is_null_and_never_zero(rows, kind):
    put = rows(kind, "options_data", "ACME")[1]
    assert (put["option_type"], put["ask"]) == ("put", Decimal("0.05"))
    assert [put[name] for name in ("bid", "last", "volume", "implied_volatility", *GREEKS)] == [None] * 9


@pytest.mark.parametrize("kind", ["alpaca", "massive"])
def test_a_chain_of_another_day_is_refused(rows, kind):
    with pytest.raises(UsageError, match="knows only the chain of now; ask for 2024-05-31"):
        rows(kind, "options_data", "ACME", days=DayRange(date(2024, 5, 1), date(2024, 5, 2)))
    assert len(rows(kind, "options_data", "ACME", days=ALL_DAYS)) == 2


@pytest.mark.parametrize(("kind", "identity", "other"), [("alpaca", "1001", "BTCUSD"), ("massive", "a1001", "TINY")])
def test_an_article_is_a_row_for_each_symbol_and_one_where_it_names_none(rows, kind, identity, other):
    first, second, third = rows(kind, "news")
    assert [(row["article_id"], row["symbol"]) for row in (first, second)] == [(identity, "ACME"), (identity, other)]
    assert (third["symbol"], third["headline"], third["author"]) == ("", "Markets open", None)
    assert (first["ts"], first["url"]) == (datetime(2024, 5, 30, 13, 5, 7, tzinfo=UTC), "https://example.com/1001")
    assert first["publisher"] == {"alpaca": "benzinga", "massive": "The Wire"}[kind]


@pytest.mark.parametrize("kind", ["alpaca", "massive"])
def test_splits_say_how_many_shares_became_how_many(rows, kind):
    shares = [(row["symbol"], row["ts"].date(), row["old_shares"], row["new_shares"]) for row in rows(kind, "splits")]
    assert shares == [("ACME", date(2024, 5, 9), 1, 7), ("TINY", date(2024, 5, 16), 10, 1)]


@pytest.mark.parametrize("kind", ["alpaca", "massive"])
def test_dividends_keep_their_kind_apart(rows, kind):
    regular, special = rows(kind, "dividends", "ACME")
    assert (regular["kind"], regular["amount"]) == ("regular", Decimal("0.24"))
    assert (special["kind"], special["amount"], special["currency"]) == ("special", Decimal(3), "USD")
    assert (regular["ts"], regular["record_on"], regular["paid_on"]) == (
        datetime(2024, 5, 10, tzinfo=UTC),
        date(2024, 5, 13),
        date(2024, 5, 16),
    )


def test_the_symbols_of_a_company_follow_one_another(rows):
    old, new = rows("massive", "instruments", "ACME", days=ALL_DAYS)
    assert (old["symbol"], old["ts"].date(), old["until"]) == ("AC", date(2012, 5, 18), date(2022, 6, 9))
    assert (new["symbol"], new["ts"].date(), new["until"]) == ("ACME", date(2022, 6, 9), None)
    assert old["instrument_id"] == new["instrument_id"] == "BBG000000001"


def test_all_stocks_of_a_day_come_with_one_request(rows, vendors):
    found = rows("massive", "market_data", days=DayRange(date(2024, 5, 9), date(2024, 5, 14)), intervals={"1day"})
    sessions = [datetime(2024, 5, day, tzinfo=UTC) for day in (9, 10, 13)]
    assert {(row["symbol"], row["ts"]) for row in found} == {(s, at) for s in ("AAPL", "BRK.B") for at in sessions}
    assert len(vendors.log) == 3
    with pytest.raises(UsageError, match="name some with --symbol"):
        rows("massive", "market_data", intervals={"1min"})


@pytest.mark.parametrize("kind", ["alpaca", "massive"])
def test_a_dataset_that_a_vendor_does_not_have_is_refused(rows, kind):
    with pytest.raises(UsageError, match="not forecasts"):
        rows(kind, "forecasts", "ACME")


CONTRACT = "ACME240621C00105000"


@pytest.mark.parametrize(
    ("kind", "symbol", "options", "asset_class", "path"),
    [
        ("alpaca", "BTC/USD", {}, "crypto", "/v1beta3/crypto/us/bars"),
        ("alpaca", CONTRACT, {}, "option", "/v1beta1/options/bars"),
        ("massive", "BTC/USD", {"asset_class": "crypto"}, "crypto", "/v2/aggs/ticker/X:BTCUSD/"),
        ("massive", CONTRACT, {}, "option", f"/v2/aggs/ticker/O:{CONTRACT}/"),
        ("massive", "SPX", {"asset_class": "index"}, "index", "/v2/aggs/ticker/I:SPX/"),
    ],
)
def test_what_is_no_stock_is_asked_for_where_it_is_and_keeps_its_symbol(
    rows, vendors, *, kind, symbol, options, asset_class, path
):
    days = DayRange(date(2024, 4, 29), date(2024, 5, 4))
    found = rows(kind, "market_data", symbol, days=days, intervals={"1min"}, **options)
    assert {(row["symbol"], row["asset_class"], row["source"]) for row in found} == {(symbol, asset_class, kind)}
    assert len(found) == 5
    assert all(served.path.startswith(path) for served in vendors.log)


def test_a_contract_is_asked_for_as_opra_pads_it(vendors):
    vendors.forget()
    days = DayRange(date(2024, 5, 1), date(2024, 5, 4))
    request = FetchRequest(dataset_named("market_data"), days, frozenset({CONTRACT}), frozenset({"1min"}), NOW)
    options = {"url": vendors.url, "dataset": "OPRA.PILLAR", "max_cost_usd": 1}
    network = quick_network(variables=FAKES["databento"].variables)
    (page,) = open_source("databento", options=options, network=network).fetch(request)
    assert vendors.asked("/v0/timeseries.get_range")[0]["symbols"] == "ACME  240621C00105000"
    assert set(page.rows["symbol"].to_pylist()) == {CONTRACT}
    assert {(each.symbol, each.asset_class) for each in page.answered} == {(CONTRACT, "option")}


# ------------------------------------------------------------------------------------------------- Databento's price


def cost_of(vendors, **options):
    request = FetchRequest(
        dataset_named("market_data"),
        DayRange(date(2024, 4, 29), date(2024, 5, 4)),
        frozenset({"AAPL"}),
        frozenset({"1day"}),
        NOW,
    )
    network = quick_network(variables=FAKES["databento"].variables)
    chosen = {"url": vendors.url, "dataset": "XNAS.ITCH", **options}
    return list(open_source("databento", options=chosen, network=network).fetch(request))


def test_what_would_cost_is_not_fetched_before_it_is_allowed(vendors):
    vendors.forget()
    with pytest.raises(SourceError, match=r"Databento reckons \$1\.23, and max_cost_usd is 0.*max_cost_usd=1\.24"):
        cost_of(vendors)
    assert vendors.requests("/v0/timeseries.get_range") == 0
    assert sum(len(page.rows) for page in cost_of(vendors, max_cost_usd=1.24)) == 5
    # Two months were reckoned once each, and the range of the dataset was asked for once a run.
    assert vendors.requests("/v0/metadata.get_cost") == 4
    assert vendors.requests("/v0/metadata.get_dataset_range") == 2


def test_databento_is_asked_for_a_dataset_and_a_range_of_days():
    with pytest.raises(SettingsError, match="or a dataset to ask Databento for"):
        open_source("databento")
    source = open_source(
        "databento",
        options={"dataset": "XNAS.ITCH"},
        network=quick_network(variables=FAKES["databento"].variables),
    )
    with pytest.raises(UsageError, match="name the first with --start"):
        list(source.fetch(FetchRequest(dataset_named("market_data"), ALL_DAYS, frozenset({"AAPL"}), now=NOW)))


def test_alpaca_is_not_asked_for_minutes_that_only_subscribers_get(rows, vendors):
    rows("alpaca", "market_data", "AAPL", days=DayRange(date(2024, 5, 31), date(2024, 6, 1)), intervals={"1min"})
    assert vendors.asked("/v2/stocks/bars")[0]["end"] == "2024-05-31T14:45:42+00:00"
    rows("alpaca", "market_data", "AAPL", days=MAY, intervals={"1min"}, delay_minutes=0)
    assert vendors.asked("/v2/stocks/bars")[-1]["end"] == "2024-05-31T15:00:42+00:00"


@pytest.mark.parametrize("kind", ["alpaca", "massive"])
def test_a_split_that_is_only_announced_is_not_one_yet(rows, kind):
    assert [row["symbol"] for row in rows(kind, "splits", now=datetime(2024, 5, 10, tzinfo=UTC))] == ["ACME"]
