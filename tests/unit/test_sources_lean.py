"""LEAN data folders: exact prices, exchange time in UTC, and only the zips that are needed."""

import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from thermocline.errors import SourceError, UsageError
from thermocline.model.conform import conform
from thermocline.model.datasets import MARKET_DATA, NEWS
from thermocline.model.partition import ALL_DAYS, DayRange
from thermocline.ports import FetchRequest
from thermocline.sources.open import open_source

NOW = datetime(2024, 6, 1, tzinfo=UTC)
AAPL_DAILY = "19980102 00:00,136300,162500,135000,162500,6315000\n19980105 00:00,165000,165600,151900,160000,5677300\n"
AAPL_DAILY_LATER = "20210331 00:00,1216500,1235200,1211500,1221500,98989900\n"
IBM_HOUR = (
    "19980102 09:00,1045000,1051300,1042500,1046900,246700\n20130708 15:00,1949700,1952500,1947000,1949800,1100000\n"
)
SPY_MINUTES = "34200000,1680000,1680100,1679900,1680050,20000\n71940000,1676200,1676200,1676200,1676200,300\n"
BTC_MINUTES = "0,611.78,611.91,611.78,611.9,1.13872\n60000,611.87,611.88,611.87,611.88,0.56799\n"


@pytest.fixture
def data(tmp_path):
    """A LEAN data folder with what such folders hold, bars and other things."""
    root = tmp_path / "Data"
    for path, lines in {
        "equity/usa/daily/aapl.zip": AAPL_DAILY + AAPL_DAILY_LATER,
        "equity/usa/daily/brk.b.zip": "20140605 00:00,1278700,1287900,1275200,1287600,3400000\n",
        "equity/usa/hour/ibm.zip": IBM_HOUR,
        "equity/usa/minute/spy/20131004_trade.zip": SPY_MINUTES,
        "equity/usa/minute/spy/20131007_trade.zip": SPY_MINUTES,
        "equity/usa/minute/spy/20131004_quote.zip": "34200000,1,1,1,1,5,2,2,2,2,5\n",
        "equity/usa/map_files/map_files_20240101.zip": "nothing",
        "equity/usa/universes/etf/spy.zip": "nothing",
        "crypto/coinbase/minute/btcusd/20161007_trade.zip": BTC_MINUTES,
        "crypto/coinbase/minute/btcusd/20161007_quote.zip": "0,1,1,1,1,5,2,2,2,2,5\n",
        "crypto/coinbase/daily/btcusd_trade.zip": "20161007 00:00,611.78,620.01,609.5,617.92,5123.1\n",
        "crypto/coinbase/daily/btcusd_quote.zip": "20161007 00:00,1,1,1,1,5,2,2,2,2,5\n",
        "forex/oanda/daily/eurusd.zip": "20140501 00:00,1,1,1,1,0,2,2,2,2,0\n",
        "option/usa/minute/aapl/20140606_trade_american.zip": "nothing",
        "index/usa/daily/spx.zip": "20210104 00:00,3764.61,3769.99,3662.71,3700.65,0\n",
    }.items():
        zipped(root / path, lines)
    return root


def zipped(path, lines, entry=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr(entry or f"{path.stem}.csv", lines)
    return path


def pages(path, days=ALL_DAYS, symbols=(), intervals=(), dataset=MARKET_DATA, **options):
    request = FetchRequest(dataset, days, frozenset(symbols), frozenset(intervals))
    return list(open_source("lean", path=str(path), options=options).fetch(request))


def rows(path, **request):
    found = []
    for page in pages(path, **request):
        assert page.unreadable == ()
        conformed = conform(page.rows, MARKET_DATA, source="lean", ingested_at=NOW, origin=page.origin)
        assert conformed.rejected == ()
        found += conformed.rows.to_pylist()
    return found


def names_of(found):
    return [page.origin.rsplit("/", 1)[1] for page in found]


def test_daily_prices_are_exact_and_the_session_s_date_stays(data):
    found = rows(data / "equity/usa/daily", symbols={"AAPL"})
    assert len(found) == 3
    assert found[0] == {
        "asset_class": "equity",
        "symbol": "AAPL",
        "interval": "1day",
        "ts": datetime(1998, 1, 2, tzinfo=UTC),
        "open": Decimal("13.63"),
        "high": Decimal("16.25"),
        "low": Decimal("13.5"),
        "close": Decimal("16.25"),
        "volume": 6315000.0,
        "vwap": None,
        "trade_count": None,
        "source": "lean",
        "ingested_at": NOW,
    }


def test_hours_and_minutes_are_new_york_s_with_its_summer_time(data):
    hours = rows(data, intervals={"1hour"})
    assert [row["ts"] for row in hours] == [
        datetime(1998, 1, 2, 14, tzinfo=UTC),
        datetime(2013, 7, 8, 19, tzinfo=UTC),
    ]
    minutes = rows(data, intervals={"1min"}, symbols={"SPY"})
    assert [row["ts"] for row in minutes[:2]] == [
        datetime(2013, 10, 4, 13, 30, tzinfo=UTC),
        datetime(2013, 10, 4, 23, 59, tzinfo=UTC),
    ]
    assert minutes[0]["close"] == Decimal("168.005")


def test_crypto_prices_are_plain_and_its_time_is_utc(data):
    found = rows(data / "crypto")
    assert {(row["asset_class"], row["symbol"]) for row in found} == {("crypto", "BTCUSD")}
    daily, first, second = found
    assert (daily["interval"], daily["ts"], daily["close"]) == (
        "1day",
        datetime(2016, 10, 7, tzinfo=UTC),
        Decimal("617.92"),
    )
    assert (first["interval"], first["ts"], first["open"]) == (
        "1min",
        datetime(2016, 10, 7, tzinfo=UTC),
        Decimal("611.78"),
    )
    assert (second["ts"], second["volume"]) == (datetime(2016, 10, 7, 0, 1, tzinfo=UTC), 0.56799)


def test_all_trade_bars_of_a_folder_are_found_and_nothing_else(data):
    expected = [
        "btcusd_trade.zip",
        "aapl.zip",
        "brk.b.zip",
        "ibm.zip",
        "20131004_trade.zip",
        "20131007_trade.zip",
        "20161007_trade.zip",
    ]
    assert names_of(pages(data)) == expected
    assert names_of(pages(data.parent)) == expected
    assert {row["symbol"] for row in rows(data)} == {"AAPL", "BRK.B", "IBM", "SPY", "BTCUSD"}


@pytest.mark.parametrize(
    ("below", "count"),
    [("equity", 5), ("equity/usa", 5), ("equity/usa/minute", 2), ("equity/usa/minute/spy", 2), ("crypto/coinbase", 2)],
)
def test_the_path_may_point_anywhere_inside(data, below, count):
    found = rows(data / below)
    assert len(pages(data / below)) == count
    assert {row["asset_class"] for row in found} == {below.split("/", 1)[0]}


def test_a_single_zip_is_a_path_too(data):
    assert len(rows(data / "equity/usa/daily/aapl.zip")) == 3
    assert rows(data / "crypto/coinbase/minute/btcusd/20161007_trade.zip")[0]["close"] == Decimal("611.9")


@pytest.mark.parametrize(
    ("path", "lines", "expected"),
    [
        ("lean_equity_daily/aapl.zip", AAPL_DAILY, ("equity", "AAPL", "1day", Decimal("13.63"))),
        ("flat/aapl.zip", AAPL_DAILY, ("equity", "AAPL", "1day", Decimal("13.63"))),
        ("flat/ibm.zip", IBM_HOUR, ("equity", "IBM", "1hour", Decimal("104.5"))),
        ("lean_equity_minute/spy/20131004_trade.zip", SPY_MINUTES, ("equity", "SPY", "1min", Decimal(168))),
        (
            "lean_crypto/coinbase/minute/btcusd/20161007_trade.zip",
            BTC_MINUTES,
            ("crypto", "BTCUSD", "1min", Decimal("611.78")),
        ),
    ],
)
def test_folders_may_be_named_otherwise(tmp_path, path, lines, expected):
    zipped(tmp_path / "bars" / path, lines)
    first = rows(tmp_path / "bars")[0]
    assert (first["asset_class"], first["symbol"], first["interval"], first["open"]) == expected
    assert rows((tmp_path / "bars" / path).parent)[0] == first


def test_a_ticker_that_is_a_word_of_lean_s_is_a_ticker(tmp_path):
    for ticker in ("tick", "crypto", "option", "daily"):
        zipped(tmp_path / f"equity/usa/minute/{ticker}/20131004_trade.zip", SPY_MINUTES)
    found = rows(tmp_path)
    assert {row["symbol"] for row in found} == {"TICK", "CRYPTO", "OPTION", "DAILY"}
    assert {row["asset_class"] for row in found} == {"equity"}


def test_the_class_of_flat_zips_is_not_guessed_against_their_prices(tmp_path):
    zipped(tmp_path / "flat/btcusd/20161007_trade.zip", BTC_MINUTES)
    with pytest.raises(SourceError, match="no equity's in LEAN's format; set asset_class"):
        pages(tmp_path / "flat")
    assert rows(tmp_path / "flat", asset_class="crypto")[0]["open"] == Decimal("611.78")


def test_another_exchange_s_zone_is_an_option(data):
    (first, *_) = rows(data / "equity/usa/hour", timezone="Asia/Kolkata")
    assert first["ts"] == datetime(1998, 1, 2, 3, 30, tzinfo=UTC)


def test_only_zips_that_can_hold_what_is_asked_for_are_opened(data):
    (data / "equity/usa/minute/spy/20131007_trade.zip").write_bytes(b"damaged")
    (data / "equity/usa/daily/brk.b.zip").write_bytes(b"damaged")
    days = DayRange(date(2013, 10, 4), date(2013, 10, 5))
    assert names_of(pages(data, days=days, intervals={"1min"})) == ["20131004_trade.zip"]
    assert names_of(pages(data, symbols={"AAPL"})) == ["aapl.zip"]


def test_an_evening_in_new_york_is_the_next_day_in_utc(tmp_path):
    evening = SPY_MINUTES + "72000000,1676200,1676200,1676200,1676200,300\n"
    zipped(tmp_path / "equity/usa/minute/spy/20131206_trade.zip", evening)
    late = [row["ts"] for row in rows(tmp_path, days=DayRange(date(2013, 12, 7), date(2013, 12, 8)))]
    assert late == [datetime(2013, 12, 7, 0, 59, tzinfo=UTC), datetime(2013, 12, 7, 1, tzinfo=UTC)]
    on_the_day = rows(tmp_path, days=DayRange(date(2013, 12, 6), date(2013, 12, 7)))
    assert [row["ts"].hour for row in on_the_day] == [14]


def test_rows_of_other_days_are_left_out_and_not_judged(data):
    lines = AAPL_DAILY + "19980106 00:00,oops,1,1,1,1\n"
    zipped(data / "equity/usa/daily/aapl.zip", lines)
    days = DayRange(date(1998, 1, 2), date(1998, 1, 3))
    (page,) = pages(data / "equity/usa/daily", symbols={"AAPL"}, days=days)
    assert (len(page.rows), page.unreadable) == (1, ())


def test_lines_that_are_no_bars_are_left_out_with_their_reason(tmp_path):
    lines = AAPL_DAILY + "19980106 00:00,1,2\nsoon,1,1,1,1,1\n19980107 00:00,1.00005,oops,1,1,1\n"
    path = zipped(tmp_path / "equity/usa/daily/aapl.zip", lines)
    (page,) = pages(path)
    assert len(page.rows) == 2
    assert [reason for _, reason in page.unreadable] == [
        "line 3: 3 fields, 6 expected",
        "time: 'soon' is not YYYYMMDD HH:MM",
        "high: 'oops' is not a number",
    ]
    minutes = SPY_MINUTES + "86400000,1,1,1,1,1\n-1,1,1,1,1,1\nx,1,1,1,1,1\n"
    (page,) = pages(zipped(tmp_path / "equity/usa/minute/spy/20131004_trade.zip", minutes))
    assert len(page.rows) == 2
    assert len(page.unreadable) == 3


def test_a_minute_that_the_clock_skipped_is_left_out(tmp_path):
    path = zipped(tmp_path / "equity/usa/minute/spy/20240310_trade.zip", "9000000,1,1,1,1,1\n36000000,1,1,1,1,1\n")
    (page,) = pages(path)
    assert page.rows["ts"].to_pylist() == [datetime(2024, 3, 10, 14, tzinfo=UTC)]
    assert "does not exist in America/New_York" in page.unreadable[0][1]


def test_damaged_zips_do_not_stop_the_others_and_are_named_at_the_end(data):
    whole = (data / "equity/usa/daily/brk.b.zip").read_bytes()
    (data / "equity/usa/daily/brk.b.zip").write_bytes(whole[: len(whole) // 2])
    with zipfile.ZipFile(data / "equity/usa/daily/two.zip", "w") as opened:
        opened.writestr("a.csv", "")
        opened.writestr("b.csv", "")
    good = []
    with pytest.raises(SourceError, match=r"2 of 8 zips could not be read\. Fix") as caught:
        good.extend(open_source("lean", path=str(data)).fetch(FetchRequest(MARKET_DATA, ALL_DAYS)))
    assert len(good) == 6
    assert "brk.b.zip" in str(caught.value)
    assert "two.zip: 2 CSV files in it, one expected" in str(caught.value)


def test_an_empty_zip_has_no_rows(tmp_path):
    assert pages(zipped(tmp_path / "equity/usa/daily/aapl.zip", "")) == []


def test_a_folder_inside_the_zip_changes_nothing(tmp_path):
    assert len(rows(zipped(tmp_path / "equity/usa/daily/tapa.zip", AAPL_DAILY, entry="tapa/tapa.csv"))) == 2


def test_a_path_that_leads_to_no_bars_is_an_error(data):
    with pytest.raises(SourceError, match="there is no such folder"):
        pages(data / "missing")
    with pytest.raises(SourceError, match=r"no trade bars there \(1 zips\)"):
        pages(data / "forex")


def test_other_datasets_are_refused(data):
    with pytest.raises(UsageError, match=r"has market_data, .*, not news"):
        pages(data, dataset=NEWS)
