"""Bars adjusted on read, and one series for an instrument that had many symbols."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from thermocline.api import Thermocline
from thermocline.errors import AdjustmentError, UsageError
from thermocline.settings import load_settings
from thermocline.stores.analytics import DuckDBAnalytics
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog, MemoryObjects
from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.spool import DuckDBSpool

AS_OF = "2021-01-01"


@pytest.fixture
def opened(tmp_path):
    lake = ParquetLake(MemoryObjects(), MemoryCatalog())
    settings = load_settings(tmp_path, environ={})
    with Thermocline(
        settings, hot=MemoryHot(), lake=lake, spools=DuckDBSpool, analytics=DuckDBAnalytics(lake.engine)
    ) as thermocline:
        yield thermocline


def fill(opened, dataset, *rows, source="made"):
    """Accept rows, as late ones: that is quicker than a backfill, and queries make no difference."""
    done = opened.ingest(dataset, pa.Table.from_pylist(list(rows)), source=source, as_of=AS_OF)
    assert (done.hot_rows + done.late_rows, done.rejected) == (len(rows), 0)


def bar(symbol, ts, close, interval="1day", **more):
    prices = dict.fromkeys(("open", "high", "low", "close", "vwap"), close)
    said = {"asset_class": "equity", "symbol": symbol, "interval": interval, "ts": ts, "volume": 700.0}
    return said | prices | more


def split(symbol, day, old, new):
    return {"asset_class": "equity", "symbol": symbol, "ts": day, "old_shares": str(old), "new_shares": str(new)}


def dividend(symbol, day, amount, kind="regular"):
    return {"asset_class": "equity", "symbol": symbol, "ts": day, "kind": kind, "amount": amount}


def naming(known, symbol, day, until=None):
    until = date.fromisoformat(until) if until else None
    said = {"instrument_id": known, "asset_class": "equity", "symbol": symbol, "ts": day, "exchange": "XNYS"}
    return said | {"until": pa.scalar(until, pa.date32()).as_py()}


def closes(opened, **asked):
    rows = opened.query("market_data", **{"adjust_as_of": AS_OF if "adjust" in asked else None, **asked}).to_arrow()
    return {row["ts"].strftime("%Y-%m-%d %H:%M").removesuffix(" 00:00"): row["close"] for row in rows.to_pylist()}


@pytest.fixture
def apple(opened):
    fill(
        opened,
        "market_data",
        bar("AAPL", "2000-09-28", "53.50"),
        bar("AAPL", "2000-09-29", "25.75"),
        bar("AAPL", "2014-06-06", "645.57"),
        bar("AAPL", "2014-06-09", "93.70"),
        bar("AAPL", "2020-08-28", "499.23"),
        bar("AAPL", "2020-08-31", "129.04"),
        bar("MSFT", "2014-06-06", "41.48"),
    )
    fill(opened, "splits", split("AAPL", "2014-06-09", 1, 7), split("AAPL", "2020-08-31", 1, 4))
    return opened


def test_a_split_leaves_no_jump_and_a_real_fall_stays(apple):
    found = closes(apple, symbols=["AAPL"], adjust="splits")
    assert found == {
        "2000-09-28": Decimal("1.91071429"),
        "2000-09-29": Decimal("0.91964286"),
        "2014-06-06": Decimal("23.05607143"),
        "2014-06-09": Decimal("23.42500000"),
        "2020-08-28": Decimal("124.80750000"),
        "2020-08-31": Decimal("129.04000000"),
    }
    assert round(found["2000-09-29"] / found["2000-09-28"] - 1, 2) == Decimal("-0.52")


def test_every_price_and_the_volume_are_adjusted_and_nothing_else(apple):
    asked = {"symbols": ["AAPL"], "end": "2014-06-10", "start": "2014-06-06"}
    raw = apple.query("market_data", **asked).to_arrow()
    adjusted = apple.query("market_data", adjust="splits", adjust_as_of=AS_OF, **asked).to_arrow()
    assert adjusted.schema == raw.schema
    changed = [name for name in raw.column_names if raw[name] != adjusted[name]]
    assert changed == ["open", "high", "low", "close", "volume", "vwap"]
    assert adjusted["volume"].to_pylist() == [700.0 * 28, 700.0 * 4]
    assert closes(apple, symbols=["AAPL"], end="2014-06-10", start="2014-06-06") == {
        "2014-06-06": Decimal("645.57"),  # what is stored is raw
        "2014-06-09": Decimal("93.70"),
    }


def test_only_events_up_to_the_as_of_day_count(apple):
    before, on = (
        closes(apple, symbols=["AAPL"], adjust="splits", adjust_as_of=day) for day in ("2014-06-08", "2014-06-09")
    )
    assert before == closes(apple, symbols=["AAPL"])
    assert on["2014-06-06"] == Decimal("92.22428571")
    assert on["2020-08-28"] == Decimal("499.23")


def test_any_day_can_be_asked_for(apple):
    always = closes(apple, symbols=["AAPL"], adjust="splits")
    assert closes(apple, symbols=["AAPL"], adjust="splits", adjust_as_of="9999-12-31", start="0001-01-01") == always
    assert closes(apple, symbols=["AAPL"], adjust="all", adjust_as_of="0001-01-01") == closes(apple, symbols=["AAPL"])


def test_columns_and_limit_are_those_asked_for(apple):
    table = apple.query(
        "market_data", symbols=["AAPL"], columns=["close"], limit=3, adjust="splits", adjust_as_of=AS_OF
    ).to_arrow()
    assert table.to_pydict() == {"close": [Decimal("1.91071429"), Decimal("0.91964286"), Decimal("23.05607143")]}


def test_a_dividend_lowers_earlier_prices_by_its_share_of_the_close_before(apple):
    fill(apple, "dividends", dividend("AAPL", "2014-06-09", "1"), dividend("AAPL", "2020-08-31", "0.75"))
    found = closes(apple, symbols=["AAPL"], adjust="all")
    # What is paid for a new share is set against the old close in new shares.
    late = 1 - Decimal("0.75") / (Decimal("499.23") / 4)
    early = 1 - 1 / (Decimal("645.57") / 7)
    expected = {"2014-06-06": Decimal("645.57") / 28 * early * late, "2014-06-09": Decimal("93.70") / 4 * late}
    assert {day: found[day] for day in expected} == {day: round(price, 8) for day, price in expected.items()}
    assert found["2020-08-28"] == round(Decimal("499.23") / 4 * late, 8)
    assert found["2020-08-31"] == Decimal("129.04")


def test_the_example_of_yahoo_s_help_comes_out(opened):
    closes_of_february = {"14": "48.30", "18": "24.96", "19": "24.91", "20": "24.95", "21": "24.53"}
    fill(opened, "market_data", *(bar("MSFT", f"2003-02-{day}", close) for day, close in closes_of_february.items()))
    fill(opened, "splits", split("MSFT", "2003-02-18", 1, 2))
    fill(opened, "dividends", dividend("MSFT", "2003-02-21", "0.08"))
    found = [round(close, 2) for close in closes(opened, symbols=["MSFT"], adjust="all").values()]
    assert found == [Decimal(each) for each in ("24.07", "24.88", "24.83", "24.87", "24.53")]


def test_kinds_of_one_source_add_up_and_a_second_source_does_not_double_them(apple):
    once = dividend("AAPL", "2020-08-31", "0.50"), dividend("AAPL", "2020-08-31", "0.25", "special")
    fill(apple, "dividends", *once)
    alone = closes(apple, symbols=["AAPL"], adjust="all")
    fill(apple, "dividends", dividend("AAPL", "2020-08-31", "0.75", "cash"), source="other")
    assert closes(apple, symbols=["AAPL"], adjust="all") == alone
    assert alone["2020-08-28"] == round(Decimal("499.23") / 4 - Decimal("0.75"), 8)


def test_a_dividend_without_a_close_before_it_is_refused_where_it_would_change_a_bar(apple):
    fill(apple, "dividends", dividend("AAPL", "2016-02-04", "0.52"), dividend("MSFT", "1999-01-04", "1"))
    with pytest.raises(AdjustmentError, match="no close in the 10 days before its dividend of 2016-02-04"):
        closes(apple, symbols=["AAPL"], adjust="all")
    assert closes(apple, symbols=["AAPL"], adjust="all", start="2020-01-01")["2020-08-28"] == Decimal("124.8075")
    assert closes(apple, symbols=["MSFT"], adjust="all") == {"2014-06-06": Decimal("41.48")}


def test_a_dividend_of_more_than_the_price_is_refused(apple):
    fill(apple, "dividends", dividend("AAPL", "2020-08-31", "130"))
    with pytest.raises(AdjustmentError, match="Correct one of the two"):
        closes(apple, symbols=["AAPL"], adjust="all")


def test_minutes_after_the_close_belong_to_the_day_before(apple):
    after_hours, next_day = "2014-06-09T00:30:00+00:00", "2014-06-09T13:30:00+00:00"
    fill(apple, "market_data", bar("AAPL", after_hours, "644.00", "1min"), bar("AAPL", next_day, "93.00", "1min"))
    found = closes(apple, symbols=["AAPL"], interval="1min", adjust="splits", adjust_as_of="2014-12-31")
    assert found == {"2014-06-09 00:30": Decimal("92.00000000"), "2014-06-09 13:30": Decimal("93.00")}


def test_a_day_begins_where_the_exchange_is(apple):
    apple.settings.calendars["equity/7203"] = "XTKS"
    before, on = "2024-09-26T06:00:00+00:00", "2024-09-27T00:30:00+00:00"  # 9:30 in Tokyo is the evening in New York
    fill(apple, "market_data", bar("7203", before, "2700", "1min"), bar("7203", on, "540", "1min"))
    fill(apple, "splits", split("7203", "2024-09-27", 1, 5))
    found = closes(apple, symbols=["7203"], adjust="splits", adjust_as_of="2024-12-31")
    assert set(found.values()) == {Decimal(540)}


def test_closes_come_from_the_bars_asked_for_where_there_are_no_daily_ones(opened):
    fill(
        opened,
        "market_data",
        bar("IBM", "2014-06-09T00:30:00+00:00", "100", "1min"),
        bar("IBM", "2014-06-09T13:30:00+00:00", "98", "1min"),
    )
    fill(opened, "dividends", dividend("IBM", "2014-06-09", "1.50"))
    found = closes(opened, symbols=["IBM"], interval="1min", adjust="all")
    assert found == {"2014-06-09 00:30": Decimal("98.50000000"), "2014-06-09 13:30": Decimal("98.00")}


@pytest.fixture
def waste(opened):
    """Waste Management was UW, then WMI, then WM; until 2008 WM was Washington Mutual."""
    fill(
        opened,
        "market_data",
        bar("UW", "1998-07-16", "30"),
        bar("WMI", "1998-07-17", "31"),
        bar("WMI", "2009-08-04", "28"),
        bar("WM", "1998-07-17", "70"),
        bar("WM", "2008-09-26", "0.16"),
        bar("WM", "2009-08-05", "29"),
        bar("WM", "2010-01-05", "30"),
    )
    fill(
        opened,
        "instruments",
        naming("equity:UW:19980102", "UW", "1998-01-02", "1998-07-17"),
        naming("equity:UW:19980102", "WMI", "1998-07-17", "2009-08-05"),
        naming("equity:UW:19980102", "WM", "2009-08-05"),
    )
    return opened


def test_one_series_follows_an_instrument_through_its_symbols_without_rows_of_another(waste):
    found = waste.query("market_data", instrument="equity:UW:19980102", columns=["symbol", "close"]).to_arrow()
    assert found["symbol"].to_pylist() == ["UW", "WMI", "WMI", "WM", "WM"]
    assert found["close"].to_pylist() == [30, 31, 28, 29, 30]
    first = waste.query("market_data", instrument="equity:UW:19980102", start="2008-01-01", limit=2).to_arrow()
    assert first["symbol"].to_pylist() == ["WMI", "WM"]


def test_how_an_instrument_would_be_answered_is_told_as_for_its_symbols(waste):
    told = waste.explain("market_data", instrument="equity:UW:19980102", end="2009-01-01")
    assert told.route.query.symbols == ("UW", "WMI", "WM")
    assert told == waste.explain("market_data", symbols=["UW", "WMI", "WM"], end="2009-01-01")
    with pytest.raises(UsageError, match="no instrument has the id 'equity:XX"):
        waste.explain("market_data", instrument="equity:XX:19980102")
    with pytest.raises(UsageError, match="not for both"):
        waste.explain("market_data", instrument="equity:UW:19980102", symbols=["WM"])


def test_an_event_under_a_later_symbol_adjusts_the_earlier_ones_and_not_the_other_company(waste):
    fill(waste, "splits", split("WM", "2010-01-05", 1, 2))
    fill(waste, "dividends", dividend("WM", "2009-08-05", "7"))
    found = closes(waste, instrument="equity:UW:19980102", adjust="all")
    assert list(found.values()) == [Decimal(each) for each in ("11.25", "11.625", "10.5", "14.5", "30")]
    assert closes(waste, symbols=["WM"], adjust="all") == {
        "1998-07-17": Decimal(70),
        "2008-09-26": Decimal("0.16"),
        "2009-08-05": Decimal("14.5"),
        "2010-01-05": Decimal(30),
    }
    assert closes(waste, symbols=["WMI"], adjust="all")["2009-08-04"] == Decimal("10.5")


def test_instruments_say_who_was_called_what(waste):
    assert waste.instrument("WM", on="2010-01-05") == "equity:UW:19980102"
    assert waste.instrument("WM", on="2005-01-05") is None
    assert [each.symbol for each in waste.symbols("equity:UW:19980102")] == ["UW", "WMI", "WM"]
    assert [each.symbol for each in waste.instruments("WM")] == ["UW", "WMI", "WM"]
    assert [each.symbol for each in waste.instruments(on="2000-01-03")] == ["WMI"]
    assert waste.instruments("WM", on="2005-01-05") == []


def test_what_makes_no_sense_is_refused(waste):
    with pytest.raises(UsageError, match="no instrument has the id 'equity:XX"):
        waste.query("market_data", instrument="equity:XX:19980102").to_arrow()
    with pytest.raises(UsageError, match="not for both"):
        waste.query("market_data", instrument="equity:UW:19980102", symbols=["WM"]).to_arrow()
    with pytest.raises(UsageError, match="strikes of options never are"):
        waste.query("options_data", adjust="all").to_arrow()
    with pytest.raises(UsageError, match="splits or all"):
        waste.query("market_data", adjust="dividends")
    with pytest.raises(UsageError, match="say also adjust"):
        waste.query("market_data", adjust_as_of="2020-01-01")


def test_the_lake_as_it_was_is_adjusted_by_the_events_that_it_knew_then(apple):
    for dataset in ("market_data", "splits"):
        apple.rotate([dataset], as_of=AS_OF)
    then = datetime.now(UTC)
    fill(apple, "splits", split("AAPL", "2000-09-29", 1, 2))
    asked = {"symbols": ["AAPL"], "adjust": "splits"}
    assert closes(apple, **asked)["2000-09-28"] == Decimal("0.95535714")
    assert closes(apple, as_of_vintage=then, **asked)["2000-09-28"] == Decimal("1.91071429")
