"""Rules: what good rows look like, and what becomes of those that don't."""

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
import validation as benchmark

from thermocline.errors import SettingsError
from thermocline.model.conform import conform
from thermocline.model.datasets import DATASETS
from thermocline.model.offenders import Series
from thermocline.model.partition import DayRange
from thermocline.model.rules import Severity, Strictness, Validation, rules_of, wrong_rules
from thermocline.settings import load_settings

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
DAY = datetime(2024, 1, 2, tzinfo=UTC)
GOOD = {
    "market_data": {
        "asset_class": "equity", "symbol": "AAPL", "interval": "1min", "ts": DAY + timedelta(hours=14),
        "open": 2.0, "high": 3.0, "low": 1.0, "close": 2.5, "volume": 10.0, "vwap": 2.2, "trade_count": 4,
    },
    "options_data": {
        "contract_symbol": "AAPL140621C00070710", "underlying": "AAPL", "ts": datetime(2014, 6, 9, tzinfo=UTC),
        "expiration": date(2014, 6, 21), "strike": 70.71, "option_type": "call", "bid": 1.0, "ask": 1.2, "last": 0.0,
        "underlying_price": 93.0, "volume": 0.0, "open_interest": 5.0, "implied_volatility": 0.3,
        "delta": 0.9, "gamma": 0.0, "theta": -0.1, "vega": 0.2, "rho": 0.1,
    },
    "forecasts": {
        "symbol": "AAPL", "ts": DAY, "model_name": "m", "model_version": "1", "horizon_days": 5,
        "predicted_price": 10.0, "confidence_low": 9.0, "confidence_high": 11.0, "confidence_score": 0.5,
    },
    "news": {"article_id": "1", "symbol": "", "ts": DAY, "headline": "x", "sentiment_score": -1.0,
             "relevance_score": 1.0},
    "features": {"asset_class": "equity", "symbol": "AAPL", "ts": DAY, "rsi_14": 100.0, "sma_20": 1.0,
                 "volatility_20": 0.0, "market_cap": 0.0},
    "social_sentiment": {"platform": "x", "symbol": "AAPL", "ts": DAY, "sentiment_score": 0.0, "mention_count": 0},
    "instruments": {"instrument_id": "i", "asset_class": "equity", "symbol": "A", "ts": DAY, "until": date(2024, 1, 3)},
    "splits": {"asset_class": "equity", "symbol": "A", "ts": NOW + timedelta(9), "old_shares": 1, "new_shares": 7},
    "dividends": {"asset_class": "equity", "symbol": "A", "ts": DAY, "kind": "regular", "amount": 0.00000001},
}  # fmt: skip
STRICT = Validation()


def gate(name, *rows, validation=STRICT, days=None, now=NOW):
    dataset = DATASETS[name]
    table = pa.table({key: [{**GOOD[name], **row}[key] for row in rows] for key in {**GOOD[name], **rows[0]}})
    return conform(
        table, dataset, source="s", ingested_at=now, origin="o", days=days, rulebook=validation.rulebook(dataset)
    )


@pytest.mark.parametrize("name", DATASETS)
def test_a_good_row_breaks_no_rule(name):
    found = gate(name, {})
    assert (len(found.rows), found.rejected, found.warned_by, found.cleared_by) == (1, (), {}, {})


@pytest.mark.parametrize(
    ("name", "change", "rule"),
    [
        ("market_data", {"low": 2.1}, "ohlc"),
        ("market_data", {"high": 2.4}, "ohlc"),
        ("market_data", {"low": 3.5}, "ohlc"),
        ("market_data", {"open": 0.0, "low": 0.0}, "positive_prices"),
        ("market_data", {"low": -1.0}, "positive_prices"),
        ("market_data", {"volume": -1.0}, "volume"),
        ("market_data", {"trade_count": -1}, "trade_count"),
        ("market_data", {"ts": DAY + timedelta(hours=14, seconds=1)}, "alignment"),
        ("market_data", {"ts": DAY + timedelta(minutes=1), "interval": "5min"}, "alignment"),
        ("market_data", {"ts": DAY + timedelta(minutes=20), "interval": "1hour"}, "alignment"),
        ("market_data", {"ts": DAY + timedelta(hours=1), "interval": "1week"}, "alignment"),
        ("market_data", {"ts": DAY + timedelta(hours=1), "interval": "1month"}, "alignment"),
        ("market_data", {"ts": DAY + timedelta(seconds=7), "interval": "5sec"}, "alignment"),
        ("market_data", {"ts": NOW + timedelta(minutes=6)}, "future"),
        ("market_data", {"ts": datetime(2024, 6, 3, tzinfo=UTC), "interval": "1day"}, "future"),
        ("options_data", {"option_type": "Call"}, "option_type"),
        ("options_data", {"strike": 0.0, "contract_symbol": "BTC-27JUN14-0-C"}, "strike"),
        ("options_data", {"strike": 70.72}, "contract"),
        ("options_data", {"option_type": "put"}, "contract"),
        ("options_data", {"expiration": date(2014, 6, 20)}, "contract"),
        ("options_data", {"ts": datetime(2014, 6, 22, 1, tzinfo=UTC)}, "expired"),
        ("options_data", {"bid": -0.01}, "quotes"),
        ("options_data", {"open_interest": -1.0}, "volume"),
        ("options_data", {"implied_volatility": -0.1}, "iv_range"),
        ("options_data", {"implied_volatility": 10.5}, "iv_range"),
        ("options_data", {"delta": -1.01}, "greeks_range"),
        ("options_data", {"gamma": -0.01}, "greeks_range"),
        ("forecasts", {"predicted_price": 0.0, "confidence_low": None}, "predicted_price"),
        ("forecasts", {"confidence_low": 10.1}, "confidence"),
        ("forecasts", {"confidence_high": 9.9}, "confidence"),
        ("forecasts", {"confidence_score": 1.1}, "confidence_score"),
        ("forecasts", {"horizon_days": 0}, "horizon"),
        ("forecasts", {"ts": NOW + timedelta(hours=1)}, "future"),
        ("news", {"headline": " \t"}, "headline"),
        ("news", {"sentiment_score": 1.5}, "sentiment_score"),
        ("news", {"relevance_score": -0.1}, "relevance_score"),
        ("features", {"rsi_14": 100.1}, "rsi"),
        ("features", {"sma_20": 0.0}, "sma"),
        ("features", {"volatility_20": -0.1}, "volatility"),
        ("features", {"market_cap": -1.0}, "market_cap"),
        ("social_sentiment", {"mention_count": -1}, "counts"),
        ("social_sentiment", {"sentiment_score": -2.0}, "sentiment_score"),
        ("instruments", {"until": date(2024, 1, 2)}, "until"),
        ("splits", {"new_shares": 0}, "shares"),
        ("dividends", {"amount": 0}, "amount"),
    ],
)  # fmt: skip
def test_a_row_that_breaks_a_rule_is_refused_by_its_name_and_the_others_go_on(name, change, rule):
    other = {DATASETS[name].key[0]: "other"} if name != "options_data" else {"contract_symbol": "not OCC"}
    found = gate(name, change, other)
    assert len(found.rows) == 1
    (refused,) = found.rejected
    assert refused.rules == (rule,)
    assert refused.reason.startswith(f"breaks {rule}: ")
    assert (found.rejected_by, found.bad_rows) == ({rule: 1}, 1)


def test_every_rule_is_known_to_be_broken_by_something_here():
    declared = {(name, rule.name) for name, dataset in DATASETS.items() for rule in rules_of(dataset)}
    (mark,) = test_a_row_that_breaks_a_rule_is_refused_by_its_name_and_the_others_go_on.pytestmark
    refused = {(name, rule) for name, _, rule in mark.args[1]}
    warned = {("market_data", "vwap"), ("options_data", "crossed"), ("options_data", "contract_root")}
    cleared = {("market_data", "vwap_unknown"), ("options_data", "iv_unknown"), ("options_data", "greeks_unknown")}
    everywhere = {(name, rule) for name in DATASETS for rule in ("time_unit", "future")}
    assert declared - everywhere == (refused | warned | cleared) - everywhere


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("market_data", {"interval": "1hour", "ts": DAY + timedelta(hours=14, minutes=30)}),  # New York opens at 09:30
        ("market_data", {"interval": "30min", "ts": DAY + timedelta(hours=3, minutes=45)}),  # India at 09:15
        ("market_data", {"interval": "1day", "ts": datetime(2024, 6, 2, tzinfo=UTC)}),  # New Zealand is ahead
        ("market_data", {"asset_class": "future", "open": -30.0, "low": -40.0, "close": -37.63, "vwap": None}),
        ("market_data", {"high": 2.5, "low": 2.0, "volume": 0.0, "vwap": None}),
        ("options_data", {"contract_symbol": "AAPL7 140621C00070714", "strike": "70.71428571"}),
        ("options_data", {"contract_symbol": "BTC-27JUN14-100-C"}),
        ("options_data", {"ts": datetime(2014, 6, 21, 20, tzinfo=UTC)}),
    ],
)  # fmt: skip
def test_what_markets_really_do_breaks_no_rule(name, change):
    found = gate(name, change)
    assert (found.rejected, found.warned_by) == ((), {})


@pytest.mark.parametrize(
    ("name", "change", "rule"),
    [
        ("market_data", {"vwap": 3.1}, "vwap"),
        ("options_data", {"bid": 1.3}, "crossed"),
        ("options_data", {"underlying": "MSFT"}, "contract_root"),
    ],
)
def test_what_only_warns_goes_in_and_is_counted(name, change, rule):
    found = gate(name, change)
    assert (len(found.rows), found.rejected, found.warned_by) == (1, (), {rule: 1})


@pytest.mark.parametrize("root", ["AAPL1", "AAPL", "AAPLW", "AA"])
def test_adjusted_roots_and_those_of_weeklies_are_of_their_underlying(root):
    assert gate("options_data", {"contract_symbol": f"{root}140621C00070710"}).warned_by == {}


def test_an_unknown_volatility_becomes_null_with_greeks_that_say_nothing():
    zero = {"implied_volatility": 0.0, "delta": 0.0, "gamma": 0.0, "theta": 0.0, "vega": 0.0, "rho": 0.0}
    some = {"implied_volatility": 0.0, "delta": 0.99, "contract_symbol": "b"}
    known = {"contract_symbol": "c", "delta": 0.0}
    found = gate("options_data", zero, some, known)
    assert found.cleared_by == {"iv_unknown": 2, "greeks_unknown": 1}
    assert found.rejected == ()
    assert found.rows["implied_volatility"].to_pylist() == [None, None, 0.3]
    assert found.rows["delta"].to_pylist() == [None, 0.99, 0.0]
    assert found.rows["bid"].to_pylist() == [Decimal(1)] * 3


def test_a_vwap_of_nothing_becomes_null():
    found = gate("market_data", {"vwap": 0})
    assert (found.rows["vwap"].to_pylist(), found.cleared_by) == ([None], {"vwap_unknown": 1})


def test_a_row_has_all_its_reasons():
    (refused,) = gate("market_data", {"low": -1.0, "volume": -1.0, "open": None, "trade_count": "x"}).rejected
    assert refused.rules == ("types", "nulls", "volume")
    assert (
        refused.reason
        == "trade_count: 'x' is not a 64-bit integer; open: is missing; breaks volume: volume is 0 or more"
    )
    (refused,) = gate("market_data", {"low": -1.0, "volume": -1.0, "high": 0.5}).rejected
    assert refused.rules == ("positive_prices", "ohlc", "volume")


def test_a_bad_row_does_not_take_the_place_of_a_good_one_with_its_key():
    found = gate("market_data", {"close": 2.0}, {"volume": -1.0})
    assert found.rows["close"].to_pylist() == [Decimal(2)]
    assert found.rejected_by == {"volume": 1}


# ------------------------------------------------------------------------------------------------------------- units


def _slipped(unit, read_as, count=5):
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    seconds = [int(DAY.timestamp()) + 60 * minute for minute in range(count)]
    stamps = pa.array([second * per_second for second in seconds], pa.timestamp(read_as))
    columns = {key: [value] * count for key, value in GOOD["market_data"].items()}
    return pa.table({**columns, "ts": stamps})


@pytest.mark.parametrize(("unit", "read_as"), [("s", "ms"), ("ms", "us"), ("us", "ns"), ("s", "us"), ("ms", "ns")])
@pytest.mark.parametrize("days", [None, DayRange(date(2024, 1, 1), date(2024, 2, 1))])
def test_a_batch_that_lies_in_1970_is_a_mistaken_unit_also_where_other_days_were_asked_for(unit, read_as, days):
    dataset = DATASETS["market_data"]
    found = conform(
        _slipped(unit, read_as), dataset, source="s", ingested_at=NOW, origin="o", days=days,
        rulebook=STRICT.rulebook(dataset),
    )  # fmt: skip
    assert (len(found.rows), found.outside, found.bad_rows) == (0, 0, 5)
    assert {"time_unit"} <= set(found.rejected_by) <= {"time_unit", "types", "alignment"}


@pytest.mark.parametrize(
    ("unit", "read_as", "words"),
    [
        ("ms", "s", "milliseconds read as seconds"),
        ("us", "ms", "microseconds read as milliseconds"),
        ("ns", "us", "nanoseconds read as microseconds"),
        ("us", "s", "microseconds read as seconds"),
    ],
)
def test_a_time_far_ahead_says_which_unit_was_mistaken(unit, read_as, words):
    dataset = DATASETS["market_data"]
    found = conform(_slipped(unit, read_as, 1), dataset, source="s", ingested_at=NOW, origin="o")
    assert words in found.rejected[0].reason


def test_real_rows_of_january_1970_go_in():
    days = [{"interval": "1day", "ts": datetime(1970, 1, day, tzinfo=UTC)} for day in (1, 2, 5, 6)]
    assert len(gate("market_data", *days).rows) == 4
    with_later = ({"ts": datetime(1970, 1, 5, 14, 30, tzinfo=UTC)}, {"ts": DAY})
    assert len(gate("market_data", *with_later).rows) == 2


# -------------------------------------------------------------------------------------------------------- strictness


def test_lenient_checks_let_rows_in_and_count_them():
    broken = {"low": 2.1, "volume": -1.0}
    warned = gate("market_data", broken, validation=Validation(strictness=Strictness.WARN))
    assert (len(warned.rows), warned.warned_by) == (1, {"ohlc": 1, "volume": 1})
    off = gate("market_data", broken, validation=Validation(strictness=Strictness.OFF))
    assert (len(off.rows), off.warned_by, off.rejected_by) == (1, {}, {})


def test_types_nulls_and_keys_hold_however_lenient():
    rows = [{"volume": "1", **row} for row in ({"open": None}, {"volume": "x"}, {"close": 2.0}, {"close": 2.2})]
    found = gate("market_data", *rows, validation=Validation(strictness=Strictness.OFF))
    assert found.rejected_by == {"types": 1, "nulls": 1, "keys": 1}


def test_the_nearer_setting_goes_first():
    validation = Validation(
        strictness=Strictness.OFF,
        strictness_of={"market_data": Strictness.WARN},
        rules={"market_data": {"ohlc": Severity.REJECT}},
        max_bad_share_of={"news": 0.5},
    )
    rulebook = validation.rulebook(DATASETS["market_data"])
    assert (rulebook.severity("ohlc"), rulebook.severity("volume")) == (Severity.REJECT, Severity.WARN)
    assert validation.rulebook(DATASETS["news"]).severity("headline") is Severity.OFF
    assert validation.rulebook(DATASETS["news"]).max_bad_share == 0.5
    run = validation.for_run("warn", 0.9)
    assert run.rulebook(DATASETS["market_data"]).severity("ohlc") is Severity.WARN
    assert run.rulebook(DATASETS["news"]).max_bad_share == 0.9


def test_settings_of_rules_are_read_and_unknown_ones_are_named(tmp_path):
    (tmp_path / "thermocline.yaml").write_text(
        "validation: {strictness: warn, min_bad_rows: 5}\n"
        "datasets: {market_data: {rules: {ohlc: reject}, strictness: strict, max_bad_share: 0.5}}"
    )
    validation = load_settings(tmp_path, environ={}).validation_rules
    rulebook = validation.rulebook(DATASETS["market_data"])
    assert (rulebook.severity("ohlc"), rulebook.max_bad_share, rulebook.min_bad_rows) == (Severity.REJECT, 0.5, 5)
    market_data = DATASETS["market_data"]
    assert "has no rule 'ohcl'; it has" in wrong_rules(market_data, {"ohcl": Severity.WARN})[0]
    assert "clear, off, not warn" in wrong_rules(market_data, {"vwap_unknown": Severity.WARN})[0]
    (tmp_path / "thermocline.yaml").write_text("datasets: {market_data: {rules: {ohcl: warn}}}")
    with pytest.raises(SettingsError, match=r"market_data has no rule 'ohcl'; it has .*ohlc.*thermocline\.yaml"):
        load_settings(tmp_path, environ={})


def test_bad_rows_are_counted_by_symbol_interval_and_day():
    rows = ({"volume": -1.0}, {"volume": -2.0, "ts": DAY}, {"volume": -1.0, "symbol": "B"}, {"ts": None, "symbol": "C"})
    assert gate("market_data", *rows).quarantined == {
        Series("AAPL", "1min", DAY.date(), "equity"): 2,
        Series("B", "1min", DAY.date(), "equity"): 1,
        Series("C", "1min", None, "equity"): 1,
    }


def test_some_of_each_kind_can_be_had_of_many():
    rows = [{"symbol": str(i), "volume": -1.0 if i % 2 else math.nan, "low": 2.1 if i % 3 else 1.0} for i in range(60)]
    found = gate("market_data", *rows)
    assert found.bad_rows == len(found.rejected) == 50
    kinds = [refused.rules for refused in found.refused(4)]
    assert {kind: kinds.count(kind) for kind in kinds} == {("volume",): 4, ("ohlc",): 4, ("ohlc", "volume"): 4}


def test_the_benchmark_breaks_what_it_says_and_each_way_of_looking_finds_just_that():
    made = benchmark.planted(10_000, every=100)
    for engine in (benchmark.the_gate, benchmark.the_rules):
        found = engine(made.rows)()
        assert {kind: found.get(kind, 0) for kind in benchmark.KINDS} == made.broken
