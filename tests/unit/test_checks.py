"""What is found in bars beside other bars, and what is not."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from thermocline.model.checks.actions import Actions
from thermocline.model.checks.bars import BAR_COLUMNS
from thermocline.model.checks.rules import CheckRules, RepeatedDayRule, Severity
from thermocline.model.checks.sweep import Sweep
from thermocline.model.datasets import DIVIDENDS, INSTRUMENTS, MARKET_DATA, SPLITS

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
SCHEMA = pa.schema([MARKET_DATA.column(name).arrow_field for name in BAR_COLUMNS])
NOTHING = tuple(dataset.arrow_schema.empty_table() for dataset in (SPLITS, DIVIDENDS, INSTRUMENTS))
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


def series(symbol, closes, *, first=FIRST, step=DAY, volumes=None, interval="1day", **others):
    """Bars with those closes, that open where the last one closed; None leaves a bar out."""
    made = []
    for number, close in enumerate(closes):
        if close is None:
            continue
        row = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close}
        row |= {name: values[number] for name, values in others.items() if number in values}
        row = {name: Decimal(str(round(value, 4))) for name, value in row.items()}
        volume = volumes[number] if volumes else 1000.0 + number
        row |= {"asset_class": "equity", "symbol": symbol, "interval": interval, "ts": first + number * step}
        made.append(row | {"volume": volume})
    return made


def swept(*pieces, rules=None, chosen=None, actions=None, **asked):
    """The sweep over pieces of rows, each in the order in which a query answers."""
    rules = rules or CheckRules()
    sweep = Sweep(rules, rules.chosen(chosen or ()), actions or Actions.from_tables(*NOTHING), **asked)
    for piece in pieces:
        sweep.take(pa.Table.from_pylist(sorted(piece, key=lambda row: (row["ts"], row["symbol"])), SCHEMA))
    return sweep


def found(*pieces, **asked):
    """What was found: rule, symbol and day, without jumps that are explained."""
    findings = swept(*pieces, **asked).findings()
    return [(each.rule, each.symbol, each.ts.date()) for each in findings if each.severity is not Severity.INFO]


def explained(*pieces, **asked):
    findings = swept(*pieces, **asked).findings()
    return [(each.rule, each.ts.date(), each.detail) for each in findings if each.severity is Severity.INFO]


def known(splits=(), dividends=(), instruments=()):
    """Actions, from rows of the datasets."""
    base = {"asset_class": "equity", "source": "made", "ingested_at": FIRST}
    tables = []
    for dataset, rows in ((SPLITS, splits), (DIVIDENDS, dividends), (INSTRUMENTS, instruments)):
        tables.append(pa.Table.from_pylist([base | row for row in rows], dataset.arrow_schema))
    return Actions.from_tables(*tables)


def split(symbol, day, old, new):
    return {"symbol": symbol, "ts": FIRST + day * DAY, "old_shares": Decimal(old), "new_shares": Decimal(new)}


STEADY = [100.0 + number % 3 for number in range(30)]


def day(number):
    return (FIRST + number * DAY).date()


def test_bars_that_move_as_bars_do_give_no_finding():
    assert found(series("A", STEADY) + series("B", [2 * close for close in STEADY])) == []
    assert found([]) == []


# --------------------------------------------------------------------------------------------------------------- jumps

HALVED = [*STEADY[:20], *(close / 2 for close in STEADY[20:])]


def test_a_jump_that_nothing_explains_is_found_whatever_its_ratio():
    assert found(series("A", HALVED)) == [("jumps", "A", day(20))]
    assert found(series("A", [100.0, 64.0, 66.0])) == [("jumps", "A", day(1))]
    assert found(series("A", [100.0, 66.0, 134.0, 130.0])) == [("jumps", "A", day(2))]


def test_a_known_split_or_dividend_of_that_session_explains_a_jump():
    (jump,) = explained(series("A", HALVED), actions=known([split("A", 20, 1, 2)]))
    assert jump[:2] == ("jumps", day(20))
    assert jump[2].endswith("2:1 split")
    special = {"symbol": "A", "ts": FIRST + DAY, "kind": "special", "amount": Decimal(60)}
    assert found(series("A", [100.0, 41.0, 40.0]), actions=known(dividends=[special])) == []
    both = known([split("A", 1, 1, 2)], [special | {"amount": Decimal(20)}])
    assert found(series("A", [100.0, 30.0, 30.0]), actions=both) == []


@pytest.mark.parametrize(
    "action",
    [split("B", 20, 1, 2), split("A", 19, 1, 2), split("A", 21, 1, 2), split("A", 20, 2, 1), split("A", 20, 1, 3)],
    ids=["another symbol", "the day before", "the day after", "the other way round", "another ratio"],
)
def test_another_split_does_not_explain_it(action):
    assert ("jumps", "A", day(20)) in found(series("A", HALVED), actions=known([action]))


def test_a_reverse_split_explains_a_price_that_multiplies():
    rows = series("A", [1.0, 1.0, 10.2, 10.0])
    assert found(rows) == [("jumps", "A", day(2))]
    assert found(rows, actions=known([split("A", 2, 10, 1)])) == []


def test_what_looks_like_a_split_is_told_from_news_by_turnover_and_never_called_one():
    usual = [1000.0 + number for number in range(30)]

    def told(volume, **others):
        volumes = [*usual[:20], volume, *usual[21:]]
        (jump,) = swept(series("A", HALVED, volumes=volumes, **others)).findings()
        assert jump.severity is Severity.WARN
        return jump.detail

    assert "near 2:1, but no split is known; the turnover was 1.0 times the usual" in told(2000.0)
    assert "as a split would not make it" in told(24_000.0)
    assert told(2000.0, open={20: 60.0}).endswith("no known reason")
    assert told(None).endswith("near 2:1, but no split is known")


def test_a_split_explains_the_first_minute_of_its_session():
    early = FIRST + 14 * timedelta(hours=1)
    rows = series("A", [70.0] * 5, first=early, step=MINUTE, interval="1min")
    after = series("A", [10.0, 10.1, 10.2], first=early + DAY, step=MINUTE, interval="1min")
    assert found(rows + after) == [("jumps", "A", day(1))]
    assert found(rows + after, actions=known([split("A", 1, 1, 7)])) == []
    assert found(rows + after, actions=known([split("A", 0, 1, 7)])) == [("jumps", "A", day(1))]


# --------------------------------------------------------------------------------------------------------------- mixed


def test_a_row_of_another_instrument_is_found_once_and_not_as_two_jumps():
    closes = [*STEADY[:10], 31.0, *STEADY[11:]]
    assert found(series("A", closes)) == [("mixed", "A", day(10))]
    assert [each[1] for each in explained(series("A", closes))] == [day(10), day(11)]


@pytest.mark.parametrize(
    "extreme", [{"low": {10: 10.59}}, {"high": {10: 210.0}}, {"open": {10: 159.0}, "high": {10: 159.0}}]
)
def test_a_high_or_low_of_another_instrument_is_found(extreme):
    assert found(series("A", STEADY, **extreme)) == [("mixed", "A", day(10))]


def test_a_series_that_goes_to_and_fro_between_two_instruments_is_one_finding():
    closes = [100.0, 50.0, 101.0, 51.0, 100.0, 50.0, 101.0]
    whole = swept(series("A", closes)).findings()
    [mixed] = [each for each in whole if each.severity is not Severity.INFO]
    assert (mixed.rule, mixed.ts.date()) == ("mixed", day(1))
    assert mixed.detail.startswith(
        "5 rows up to 2024-01-06 00:00 go to and fro between two prices, the first: close 50"
    )
    rows = series("A", closes)
    assert found(*[[row] for row in rows]) == [("mixed", "A", day(1))]
    apart = [100.0, 50.0, 100.0, 101.0, 100.0, 50.0, 101.0]
    assert found(series("A", apart)) == [("mixed", "A", day(1)), ("mixed", "A", day(5))]


def test_a_jump_that_stays_is_no_mixed_row_and_neither_is_the_last_one():
    assert {rule for rule, *_ in found(series("A", HALVED))} == {"jumps"}
    assert found(series("A", [*STEADY, 31.0])) == [("jumps", "A", day(30))]


# -------------------------------------------------------------------------------------------------------------- copies


def test_the_same_series_under_many_symbols_is_found_for_each_copy():
    rows = [row for symbol in ("A", "B", "C") for row in series(symbol, STEADY)]
    assert found(rows) == [("same_series", "B", day(29)), ("same_series", "C", day(29))]
    assert found(series("A", STEADY[:19]) + series("B", STEADY[:19])) == []
    assert found(series("A", STEADY) + series("B", STEADY, volumes=[7.0 + n for n in range(30)])) == []
    assert found(series("A", STEADY, volumes=[0.0] * 30) + series("B", STEADY, volumes=[0.0] * 30)) == []


def test_a_day_that_says_what_the_day_before_said_is_found():
    again = [1000.0, 1001.0, 1001.0, 1003.0]
    assert found(series("A", [10.0, 11.0, 11.0, 11.0], volumes=again)) == [("repeated_day", "A", day(2))]
    monday = found(series("A", [10.0, 11.0, None, None, 11.0], volumes=[1.0, 2.0, 3.0, 4.0, 2.0]))
    assert monday == [("repeated_day", "A", day(4))]
    assert found(series("A", [10.0, 11.0, 11.0], volumes=[1.0, 0.0, 0.0])) == []


def test_a_thin_share_may_trade_at_one_price_twice():
    flat = {name: dict.fromkeys(range(3), 11.0) for name in ("high", "low")}
    assert found(series("A", [11.0] * 3, volumes=[100.0] * 3, **flat)) == []


def test_a_day_of_minutes_that_is_repeated_is_one_finding():
    minutes = [10.0, 10.1, 10.05, 10.2]
    rows = [
        row
        for number in range(2)
        for row in series("A", minutes, first=FIRST + number * DAY, step=MINUTE, interval="1min")
    ]
    assert found(rows) == [("repeated_day", "A", day(1))]
    assert found(rows[:-1]) == []


def test_a_feed_that_stood_still_is_one_finding():
    still = [
        row for number in range(6) for row in series(f"S{number}", [10.0 + number] * 2, volumes=[9.0 + number] * 2)
    ]
    live = [row for number in range(5) for row in series(f"L{number}", [30.0 + number, 31.0 + number])]
    (finding,) = swept(still + live).findings()
    assert (finding.rule, finding.symbol, finding.ts.date()) == ("repeated_day", "", day(1))
    assert finding.detail.startswith("6 of 11 series say what they said the day before: S0, S1")
    strict = CheckRules(repeated_day=RepeatedDayRule(share=0.6))
    assert len(found(still + live, rules=strict)) == 6


# --------------------------------------------------------------------------------------------------------------- reuse


def test_a_symbol_that_comes_back_at_another_price_is_another_instrument():
    rows = series("WM", [2.07, 0.16, *[None] * 300, 28.58, 28.6])
    assert found(rows) == [("jumps", "WM", day(1)), ("reused_symbol", "WM", day(302))]
    assert found(series("WM", [2.07, 2.16, *[None] * 300, 2.58, 2.6])) == []
    assert found(series("WM", [2.07, 2.16, *[None] * 50, 28.58, 28.6])) == [("jumps", "WM", day(52))]


def test_a_split_while_a_share_was_halted_is_no_other_instrument():
    rows = series("A", [10.0, 10.0, *[None] * 70, 105.0, 104.0])
    assert found(rows) == [("reused_symbol", "A", day(72))]
    assert found(rows, actions=known([split("A", 72, 10, 1)])) == []


def instrument(identity, number):
    return {"instrument_id": identity, "symbol": "WM", "ts": FIRST + number * DAY, "until": date(2050, 1, 1)}


def test_what_is_known_of_instruments_says_so_without_a_gap_or_a_jump():
    rows = series("WM", STEADY)
    both = known(instruments=[instrument("WAMU", 0), instrument("WASTE", 20)])
    assert found(rows, actions=both) == [("reused_symbol", "WM", day(20))]
    assert found(rows, actions=known(instruments=[instrument("WASTE", 20)])) == []
    gap = series("WM", [10.0, *[None] * 70, 10.0, 10.1])
    assert found(gap, actions=known(instruments=[instrument("WASTE", 71)])) == [("reused_symbol", "WM", day(71))]


def test_bars_from_long_before_are_remembered_when_a_symbol_appears():
    later = series("WM", [28.58, 28.6], first=FIRST + 302 * DAY)
    sweep = swept(later, start=FIRST + 302 * DAY)
    sweep.remember(pa.Table.from_pylist(series("WM", [2.07, 0.16]), SCHEMA))
    assert [(each.rule, each.ts.date()) for each in sweep.findings()] == [("reused_symbol", day(302))]


# --------------------------------------------------------------------------------------------------------------- pieces


def test_findings_are_the_same_however_the_days_are_cut():
    closes = [*STEADY[:10], 31.0, *STEADY[11:20], *(close / 2 for close in STEADY[20:]), 51.0, 51.0]
    volumes = [1000.0 + number for number in range(31)] + [1030.0]
    rows = [row for symbol in ("A", "B") for row in series(symbol, closes, volumes=volumes)]
    whole = found(rows)
    assert {rule for rule, *_ in whole} == {"jumps", "mixed", "repeated_day", "same_series"}
    by_day = [[row for row in rows if row["ts"] == FIRST + number * DAY] for number in range(32)]
    assert found(*by_day) == whole


def test_only_what_is_asked_for_is_found_and_the_rest_is_neighbours():
    rows = series("A", HALVED)
    asked = {"start": FIRST + 20 * DAY, "end": FIRST + 21 * DAY}
    assert found(rows, **asked) == [("jumps", "A", day(20))]
    assert found(rows, start=FIRST + 21 * DAY) == []
    assert found(rows, end=FIRST + 20 * DAY) == []
    assert found(rows, chosen=["mixed"]) == []


def test_every_finding_says_what_it_is_as_json():
    (jump,) = swept(series("A", HALVED)).findings()
    assert jump.document() == {
        "rule": "jumps", "severity": "warn", "asset_class": "equity", "symbol": "A", "interval": "1day",
        "ts": "2024-01-21T00:00:00+00:00", "detail": jump.detail, "value": pytest.approx(0.5, abs=0.02),
    }  # fmt: skip
