"""Yahoo's charts: prices as they were on their day, though Yahoo divides them by every later split."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from vendor_fakes import chart, keep_yahoo_s_cookies_in
from vendor_server import failing, quick_network, vendor_server

from thermocline.errors import SourceError, UsageError
from thermocline.model.conform import conform
from thermocline.model.datasets import dataset_named
from thermocline.model.partition import ALL_DAYS, DayRange
from thermocline.ports import FetchRequest
from thermocline.sources.open import open_source

NOW = datetime(2024, 5, 20, 15, tzinfo=UTC)


def second(*day: int) -> int:
    """The opening of a session in New York."""
    return int(datetime(*day, 13, 30, tzinfo=UTC).timestamp())


# As Yahoo gives them: 32-bit floats, divided by 7 and by 4.
SPLITS = {
    str(second(2014, 6, 9)): {"date": second(2014, 6, 9), "numerator": 7, "denominator": 1, "splitRatio": "7:1"},
    str(second(2020, 8, 31)): {"date": second(2020, 8, 31), "numerator": 4, "denominator": 1, "splitRatio": "4:1"},
}
DIVIDENDS = {
    str(second(2014, 5, 8)): {"date": second(2014, 5, 8), "amount": 0.1175},
    str(second(2024, 5, 10)): {"date": second(2024, 5, 10), "amount": 0.25},
}
SESSIONS = [datetime(*day, 13, 30, tzinfo=UTC) for day in ((2014, 6, 6), (2014, 6, 9), (2024, 5, 10))]
BARS = [
    {
        "o": 23.210714340209961,
        "h": 23.259286880493164,
        "l": 23.016786575317383,
        "c": 23.056072235107422,
        "v": 349_938_400,
    },
    {"o": 23.174999237060547, "h": 23.469999313354492, "l": 22.937500, "c": 23.424999237060547, "v": 301_660_000},
    {"o": 184.89999389648438, "h": 185.08999633789062, "l": 182.1300048828125, "c": 183.0500030517578, "v": 50_759_500},
]


@pytest.fixture(scope="module")
def yahoo(tmp_path_factory):
    keep_yahoo_s_cookies_in(tmp_path_factory.mktemp("yahoo"))
    with vendor_server() as vendor:

        @vendor.route("/v8/finance/chart/AAPL")
        def charts(request):
            if request.parameters.get("range") == "max":
                return chart("AAPL", [], [], events={"splits": SPLITS, "dividends": DIVIDENDS})
            first, end = (int(request.parameters[name]) for name in ("period1", "period2"))
            within = [n for n, at in enumerate(SESSIONS) if first <= at.timestamp() < end]
            return chart("AAPL", [SESSIONS[n] for n in within], [BARS[n] for n in within])

        yield vendor


@pytest.fixture
def rows(yahoo):
    yahoo.forget()

    def asked(dataset, *, days=ALL_DAYS, interval="1day", now=NOW, symbol="AAPL"):
        source = open_source("yfinance", options={"url": yahoo.url}, network=quick_network(attempts=2))
        wanted = dataset_named(dataset)
        intervals = frozenset({interval}) if wanted.has_intervals else frozenset()
        found = []
        for page in source.fetch(FetchRequest(wanted, days, frozenset({symbol}), intervals, now)):
            done = conform(page.rows, wanted, source="yfinance", ingested_at=NOW, origin=page.origin, days=days)
            assert (page.unreadable, done.rejected) == ((), ())
            found += done.rows.to_pylist()
        return found

    return asked


def test_prices_and_volume_are_those_of_the_day_and_not_divided_by_later_splits(rows):
    before, between, after = rows("market_data")
    assert (before["ts"], before["symbol"]) == (datetime(2014, 6, 6, tzinfo=UTC), "AAPL")
    # 23.056072235107422 times 28; what was traded on that day closed at 645.57.
    assert before["close"] == Decimal("645.570")
    assert before["volume"] == 12_497_800
    assert between["close"] == Decimal("93.7")
    assert (after["close"], after["volume"]) == (Decimal("183.05"), 50_759_500)


def test_a_split_is_dated_by_its_first_session(rows):
    splits = [(row["ts"].date(), row["old_shares"], row["new_shares"]) for row in rows("splits")]
    assert splits == [(date(2014, 6, 9), 1, 7), (date(2020, 8, 31), 1, 4)]


def test_dividends_are_those_that_were_paid(rows):
    assert [(row["ts"].date(), row["amount"]) for row in rows("dividends")] == [
        (date(2014, 5, 8), Decimal("3.29")),
        (date(2024, 5, 10), Decimal("0.25")),
    ]


def test_a_day_that_is_not_over_in_new_york_is_left_out(rows):
    days = DayRange(date(2024, 5, 10), date(2024, 5, 12))
    assert rows("market_data", days=days, now=datetime(2024, 5, 11, 3, 59, tzinfo=UTC)) == []
    assert len(rows("market_data", days=days, now=datetime(2024, 5, 11, 4, 0, tzinfo=UTC))) == 1


def test_minutes_older_than_yahoo_keeps_them_are_refused_before_anything_is_asked(rows, yahoo):
    with pytest.raises(UsageError, match="keeps 1min bars for 30 days; ask with --start 2024-04-21 or later"):
        rows("market_data", days=DayRange(date(2024, 4, 1), date(2024, 5, 1)), interval="1min")
    assert yahoo.log == []
    rows("market_data", days=DayRange(date(2024, 5, 1), date(2024, 5, 20)), interval="1min")
    spans = [each for each in yahoo.asked("/v8/finance/chart/AAPL") if each.get("interval") == "1m"]
    assert [(int(each["period2"]) - int(each["period1"])) // 86_400 for each in spans] == [7, 7, 5]


def test_an_unknown_symbol_is_named_with_what_yahoo_says(rows, yahoo):
    error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
    said = json.dumps({"chart": {"result": None, "error": error}}).encode()
    yahoo.instead("/v8/finance/chart/NOPE", *[failing(404, said)] * 2)
    with pytest.raises(SourceError, match=r"chart of NOPE is not there \(404\): No data found, symbol may be delisted"):
        rows("market_data", symbol="NOPE")


def test_splits_that_can_t_be_read_stop_the_prices_that_need_them(rows, yahoo):
    wrong = {"1": {"date": second(2014, 6, 9), "numerator": 0, "denominator": 1, "splitRatio": "0:1"}}
    answer = chart("AAPL", [], [], events={"splits": wrong})
    yahoo.instead("/v8/finance/chart/AAPL", failing(200, json.dumps(answer).encode()))
    with pytest.raises(SourceError, match=r"the splits of AAPL can't be read \('0:1' is no split\)"):
        rows("market_data", days=DayRange(date(2014, 6, 1), date(2014, 7, 1)), now=NOW + timedelta(days=1))
