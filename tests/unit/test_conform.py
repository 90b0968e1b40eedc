"""What may go in, and what becomes of the rest."""

import json
import math
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermocline.errors import SchemaError
from thermocline.model.conform import conform
from thermocline.model.datasets import FEATURES, MARKET_DATA, NEWS, OPTIONS_DATA
from thermocline.model.parsing import decimals
from thermocline.model.partition import DayRange

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
PLACES = Decimal("0.00000001")


def bars(**columns):
    """A table of bars; a value that is no list stands in every row."""
    given_columns = {
        "asset_class": "equity",
        "symbol": "AAPL",
        "interval": "1day",
        "ts": date(2024, 1, 2),
        "open": "1.5",
        "high": "2",
        "low": "1",
        "close": "1.75",
        "volume": "100",
        **columns,
    }
    rows = max((len(value) for value in given_columns.values() if isinstance(value, list | pa.Array)), default=1)
    return pa.table(
        {
            name: value if isinstance(value, list | pa.Array) else [value] * rows
            for name, value in given_columns.items()
            if value is not ...
        }
    )


def gate(table, dataset=MARKET_DATA, **arguments):
    return conform(table, dataset, source="test", ingested_at=NOW, origin="here", **arguments)


def one_reason(table, dataset=MARKET_DATA):
    conformed = gate(table, dataset)
    assert len(conformed.rows) == 0
    (rejected,) = conformed.rejected
    return rejected.reason


def days_apart(count, first=date(2024, 1, 2)):
    return [first + timedelta(days=i) for i in range(count)]


# ------------------------------------------------------------------------------------------------------------ schema


def test_rows_come_out_in_exactly_the_dataset_s_schema():
    conformed = gate(bars())
    assert conformed.rows.schema.equals(MARKET_DATA.arrow_schema)
    assert conformed.rows.to_pylist() == [
        {
            "asset_class": "equity",
            "symbol": "AAPL",
            "interval": "1day",
            "ts": datetime(2024, 1, 2, tzinfo=UTC),
            "open": Decimal("1.5"),
            "high": Decimal(2),
            "low": Decimal(1),
            "close": Decimal("1.75"),
            "volume": 100.0,
            "vwap": None,
            "trade_count": None,
            "source": "test",
            "ingested_at": NOW,
        }
    ]
    assert (conformed.rejected, conformed.duplicates, conformed.outside) == ((), 0, 0)


@pytest.mark.parametrize("dataset", [MARKET_DATA, OPTIONS_DATA, NEWS, FEATURES], ids=lambda dataset: dataset.name)
def test_conforming_what_is_conformed_changes_nothing(dataset):
    empty = gate(dataset.arrow_schema.empty_table(), dataset)
    assert empty.rows.schema.equals(dataset.arrow_schema)
    once = gate(bars(ts=days_apart(3), vwap="1.1", trade_count=5)).rows
    assert gate(once).rows.equals(once)


@pytest.mark.parametrize("name", ["close", "interval", "asset_class", "ts"])
def test_a_missing_column_that_must_be_there_is_named(name):
    with pytest.raises(SchemaError, match=f"^here: column {name} is missing"):
        gate(bars(**{name: ...}))


def test_all_missing_columns_are_named_at_once():
    with pytest.raises(SchemaError, match="columns open and close are missing"):
        gate(bars(open=..., close=...))


def test_a_column_that_is_there_twice_is_refused():
    table = bars()
    with pytest.raises(SchemaError, match="column close is there more than once"):
        gate(table.append_column("close", table["close"]))


def test_columns_that_the_dataset_lacks_are_ignored_and_listed():
    conformed = gate(bars(adj_close="1", note="x"))
    assert conformed.ignored_columns == ("adj_close", "note")
    assert len(conformed.rows) == 1


def test_provenance_is_kept_where_it_is_given_and_filled_where_it_is_not():
    earlier = datetime(2020, 1, 1, tzinfo=UTC)
    rows = gate(bars(ts=days_apart(2), source=["vendor", None], ingested_at=[earlier, None])).rows
    assert rows["source"].to_pylist() == ["vendor", "test"]
    assert rows["ingested_at"].to_pylist() == [earlier, NOW]


@pytest.mark.parametrize(
    ("column", "array"),
    [
        ("ts", pa.array([1_700_000_000])),
        ("close", pa.array([True])),
        ("close", pa.array([[1.0]])),
        ("symbol", pa.array([1.5])),
        ("volume", pa.array([date(2024, 1, 1)])),
    ],
)
def test_a_type_that_can_never_fit_is_an_error_of_the_table(column, array):
    with pytest.raises(SchemaError, match=f"column {column}: .* can't be read as"):
        gate(bars(**{column: array}))


def test_dictionaries_large_strings_views_and_nulls_are_read():
    table = bars(
        symbol=pa.array(["AAPL"]).dictionary_encode(),
        interval=pa.array(["1day"], pa.large_string()),
        asset_class=pa.array(["equity"], pa.string_view()),
        vwap=pa.nulls(1),
    )
    assert len(gate(table).rows) == 1


def test_a_chunked_table_is_read_as_one():
    table = pa.concat_tables([bars(ts=[day]) for day in days_apart(3)])
    assert gate(table).rows["ts"].to_pylist() == [datetime(2024, 1, 2 + i, tzinfo=UTC) for i in range(3)]


# ------------------------------------------------------------------------------------------------------------ prices


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("69.13", "69.13"),
        ("1e3", "1000"),
        (" 1.50 ", "1.5"),
        ("+1.5", "1.5"),
        ("-1.5", "-1.5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1.123456780000", "1.12345678"),
        ("0.00000001", "0.00000001"),
        ("9999999999.99999999", "9999999999.99999999"),
        ("1." + "0" * 300, "1"),
        ("1." + "0" * 46, "1"),
        ("1000000000000e-12", "1"),
    ],
)
def test_a_text_price_is_kept_to_the_last_digit(text, value):
    assert gate(bars(close=text)).rows["close"].to_pylist() == [Decimal(value)]


@pytest.mark.parametrize("text", ["", " ", "NaN", "nan", "null", "NULL", "N/A"])
def test_texts_that_mean_missing_are_null(text):
    assert gate(bars(vwap=text)).rows["vwap"].to_pylist() == [None]
    assert one_reason(bars(close=text)) == "close: is missing"


@pytest.mark.parametrize(
    ("price", "reason"),
    [
        ("abc", "'abc' is not a number"),
        ("1,234.5", "is not a number"),
        ("1_000", "is not a number"),
        ("٣", "is not a number"),
        ("inf", "is not a number"),
        ("1.123456789", "more than 8 decimal places"),
        ("1e-9", "more than 8 decimal places"),
        ("1e-46", "more than 8 decimal places"),
        ("1e-9999", "more than 8 decimal places"),
        ("10000000000", "is too large"),
        ("1e9999", "is too large"),
        (Decimal("1.123456789"), "more than 8 decimal places"),
        (10_000_000_000, "is too large"),
        (1e10, "is too large"),
        (math.nan, "not a finite number"),
        (-math.inf, "not a finite number"),
    ],
)
def test_a_price_that_is_none_is_rejected_with_its_reason(price, reason):
    assert reason in one_reason(bars(close=[price]))
    assert reason in one_reason(bars(vwap=[price]))


def test_only_the_wrong_rows_of_many_are_rejected():
    texts = [f"{i}.25" for i in range(5000)]
    texts[0] = texts[777] = texts[4999] = "oops"
    conformed = gate(bars(close=texts, ts=days_apart(5000, date(1990, 1, 1))))
    assert [json.loads(rejected.record)["ts"] for rejected in conformed.rejected] == [
        str(date(1990, 1, 1) + timedelta(days=i)) for i in (0, 777, 4999)
    ]
    good = [i for i in range(5000) if texts[i] != "oops"]
    assert conformed.rows["close"].to_pylist() == [Decimal(i) + Decimal("0.25") for i in good]


@given(st.decimals(min_value=-9_999_999_999, max_value=9_999_999_999, places=8))
def test_every_decimal_that_fits_survives_as_text_and_as_decimal(value):
    for array in (pa.array([str(value)]), pa.array([f"{value:f}"]), pa.array([value], pa.decimal128(38, 10))):
        parsed = decimals(array, 18, 8)
        assert not parsed.wrong
        assert parsed.values.to_pylist() == [value]


@given(st.lists(st.floats(allow_nan=False, min_value=-9_999_999_999, max_value=9_999_999_999) | st.none(), min_size=1))
def test_a_float_is_its_shortest_repr_rounded_half_even(numbers):
    parsed = decimals(pa.array(numbers, pa.float64()), 18, 8)
    expected = [None if x is None else Decimal(repr(x)).quantize(PLACES, ROUND_HALF_EVEN) for x in numbers]
    assert parsed.values.to_pylist() == expected
    assert not parsed.wrong


@given(st.integers(-(10**18) + 1, 10**18 - 1), st.integers(0, 8))
def test_a_float_spelled_with_up_to_eight_places_means_that_spelling(unscaled, places):
    spelled = Decimal(unscaled).scaleb(-places)
    number = float(spelled)
    if abs(number) >= 1e10 or Decimal(repr(number)) != spelled:
        return  # more digits than a double has
    assert decimals(pa.array([number]), 18, 8).values.to_pylist() == [spelled]


@given(st.integers(0, 2**20), st.integers(0, 10**8 - 1))
def test_ties_at_the_ninth_place_go_to_the_even_neighbour(whole, fraction):
    number = float(f"{whole}.{fraction:08d}5")
    expected = Decimal(repr(number)).quantize(PLACES, ROUND_HALF_EVEN)
    assert decimals(pa.array([number]), 18, 8).values.to_pylist() == [expected]


def test_a_thirty_two_bit_float_means_its_own_shortest_repr():
    assert decimals(pa.array([69.13, None], pa.float32()), 18, 8).values.to_pylist() == [Decimal("69.13"), None]


def test_money_holds_more_than_a_price_does():
    rows = pa.table(
        {"asset_class": ["equity"], "symbol": ["A"], "ts": [date(2024, 1, 2)], "market_cap": [3.1e12 + 0.13]}
    )
    assert gate(rows, FEATURES).rows["market_cap"].to_pylist() == [Decimal("3100000000000.13")]


@given(st.lists(st.text() | st.none()))
def test_no_text_whatever_gets_in_silently_or_breaks_the_gate(texts):
    parsed = decimals(pa.array(texts, pa.string()), 18, 8)
    for row, value in enumerate(parsed.values.to_pylist()):
        if value is not None:
            assert row not in parsed.wrong
            assert value == Decimal(texts[row].strip())


# ----------------------------------------------------------------------------------------- floats, integers, booleans


def test_a_float_column_takes_nan_for_missing_and_refuses_infinity():
    conformed = gate(bars(volume=[1.0, math.nan, math.inf], ts=days_apart(3)))
    assert conformed.rows["volume"].to_pylist() == [1.0, None]
    assert conformed.rejected[0].reason == "volume: inf is not a finite number"


@pytest.mark.parametrize("text", ["x", "inf", "-Infinity", "1_0", "1,5"])
def test_a_text_that_is_no_number_is_rejected_from_a_nullable_column_too(text):
    assert "number" in one_reason(bars(volume=text))


@pytest.mark.parametrize("count", ["5", "5.0", " +5 ", 5, 5.0, Decimal("5.00"), np.uint8(5)])
def test_an_integer_is_read_from_whatever_says_it_exactly(count):
    assert gate(bars(trade_count=[count])).rows["trade_count"].to_pylist() == [5]


@pytest.mark.parametrize("count", ["5.5", 5.5, "x", "9223372036854775808", 1e30, Decimal("0.1"), math.inf])
def test_what_is_no_integer_is_rejected(count):
    assert "integer" in one_reason(bars(trade_count=[count]))


# ------------------------------------------------------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1_704_205_800], pa.timestamp("s")), datetime(2024, 1, 2, 14, 30, tzinfo=UTC)),
        (pa.array([1_704_205_800_001], pa.timestamp("ms")), datetime(2024, 1, 2, 14, 30, 0, 1000, tzinfo=UTC)),
        (pa.array([1_704_205_800_000_001_000], pa.timestamp("ns")), datetime(2024, 1, 2, 14, 30, 0, 1, tzinfo=UTC)),
        (pa.array([1_704_205_800], pa.timestamp("s", "Asia/Tokyo")), datetime(2024, 1, 2, 14, 30, tzinfo=UTC)),
        (pa.array([date(2024, 1, 2)], pa.date64()), datetime(2024, 1, 2, tzinfo=UTC)),
        (pa.array(["2024-01-02"]), datetime(2024, 1, 2, tzinfo=UTC)),
        (pa.array(["20240102"]), datetime(2024, 1, 2, tzinfo=UTC)),
        (pa.array(["2024-01-02T14:30"]), datetime(2024, 1, 2, 14, 30, tzinfo=UTC)),
        (pa.array(["2024-01-02 14:30:00.5"]), datetime(2024, 1, 2, 14, 30, 0, 500_000, tzinfo=UTC)),
        (pa.array(["2024-01-02T14:30:00Z"]), datetime(2024, 1, 2, 14, 30, tzinfo=UTC)),
        (pa.array([" 2024-01-02T09:30:00-05:00 "]), datetime(2024, 1, 2, 14, 30, tzinfo=UTC)),
        (pa.array(["2024-01-02 14:30:00.000001000"]), datetime(2024, 1, 2, 14, 30, 0, 1, tzinfo=UTC)),
        (pa.array(["2024-01-02 09:30:00.000001000-05:00"]), datetime(2024, 1, 2, 14, 30, 0, 1, tzinfo=UTC)),
    ],
)
def test_a_time_of_any_spelling_becomes_utc_microseconds(array, expected):
    assert gate(bars(ts=array, interval="1min")).rows["ts"].to_pylist() == [expected]


def test_texts_with_and_without_offsets_may_be_mixed():
    texts = ["2024-01-02 14:30", "2024-01-02T14:31:00Z", "2024-01-02T16:32:00+02:00"]
    rows = gate(bars(ts=texts, interval="1min")).rows
    assert rows["ts"].to_pylist() == [datetime(2024, 1, 2, 14, 30 + i, tzinfo=UTC) for i in range(3)]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (pa.array([1_704_205_800_000_000_001], pa.timestamp("ns")), "finer than a microsecond"),
        (pa.array(["2024-01-02 14:30:00.0000001"]), "finer than a microsecond"),
        (pa.array([datetime(1899, 12, 31, 23, tzinfo=UTC)]), "not within 1900 to 2199"),
        (pa.array([datetime(2200, 1, 1, tzinfo=UTC)]), "not within 1900 to 2199"),
        (pa.array([2**62], pa.timestamp("s")), "not within 1900 to 2199"),
        (pa.array(["0001-01-01T00:00:00+10:00"]), "not within 1900 to 2199"),
        (pa.array(["2024-02-30"]), "'2024-02-30' is not an ISO time"),
        (pa.array(["soon"]), "'soon' is not an ISO time"),
        (pa.array([None], pa.timestamp("us")), "ts: is missing"),
    ],
)
def test_a_time_that_can_t_be_is_rejected(array, reason):
    assert reason in one_reason(bars(ts=array, interval="1min"))


def test_a_daily_bar_must_lie_at_midnight_utc():
    reason = one_reason(bars(ts=[datetime(2024, 1, 2, 5, tzinfo=UTC)]))
    assert reason == "ts: a daily bar carries its session's date at 00:00 UTC, this one has 2024-01-02T05:00:00+00:00"


@pytest.mark.parametrize(
    "expiration", [date(2024, 6, 21), "2024-06-21", "20240621", 20240621, datetime(2024, 6, 21, tzinfo=UTC)]
)
def test_a_date_is_read_from_whatever_says_it(expiration):
    assert gate(contract(expiration), OPTIONS_DATA).rows["expiration"].to_pylist() == [date(2024, 6, 21)]


def test_a_date_with_a_time_of_day_is_rejected():
    assert "is not a date" in one_reason(contract(datetime(2024, 6, 21, 16, tzinfo=UTC)), OPTIONS_DATA)


def contract(expiration):
    return pa.table(
        {
            "contract_symbol": ["AAPL240621C00150000"],
            "underlying": ["AAPL"],
            "ts": [datetime(2024, 6, 3, 14, tzinfo=UTC)],
            "expiration": [expiration],
            "strike": ["150"],
            "option_type": ["call"],
        }
    )


def test_rows_of_other_days_are_counted_and_not_judged():
    table = bars(ts=days_apart(4), close=["bad", "1", "2", "bad"])
    conformed = gate(table, days=DayRange(date(2024, 1, 3), date(2024, 1, 5)))
    assert conformed.outside == 2
    assert conformed.rejected == ()
    assert conformed.rows["close"].to_pylist() == [Decimal(1), Decimal(2)]


def test_a_row_without_a_time_is_rejected_whatever_days_were_asked_for():
    conformed = gate(bars(ts=["2024-01-02", "soon"]), days=DayRange(date(2024, 1, 2), date(2024, 1, 3)))
    assert (len(conformed.rows), len(conformed.rejected), conformed.outside) == (1, 1, 0)


# -------------------------------------------------------------------------------------------------------------- text


def test_nul_and_empty_and_misspelled_texts_are_rejected():
    assert "contains a NUL character" in one_reason(bars(symbol="AA\0PL"))
    assert one_reason(bars(symbol="")) == "symbol: is empty"
    assert one_reason(bars(interval="")) == "interval: is empty"
    assert "'daily' is not an interval" in one_reason(bars(interval="daily"))


def test_a_rejected_record_holds_no_nul_so_that_postgresql_can_keep_it():
    (rejected,) = gate(bars(symbol="AA\0PL")).rejected
    assert "\0" not in rejected.record + rejected.reason
    assert json.loads(rejected.record)["symbol"] == "AA␀PL"


def test_bytes_that_are_not_utf8_are_rejected_and_stop_nothing_else():
    symbols = pa.array([b"AAPL", b"\xff\xfe"]).view(pa.string())
    conformed = gate(bars(symbol=symbols))
    assert conformed.rows["symbol"].to_pylist() == ["AAPL"]
    assert "is not UTF-8" in conformed.rejected[0].reason


def test_words_that_mean_missing_elsewhere_are_symbols_here():
    assert gate(bars(symbol=["NA", "NAN", "NULL"])).rows["symbol"].to_pylist() == ["NA", "NAN", "NULL"]


def test_an_article_may_name_no_instrument():
    article = pa.table(
        {"article_id": ["1"], "symbol": [""], "ts": [datetime(2024, 1, 2, tzinfo=UTC)], "headline": ["Rates held"]}
    )
    assert len(gate(article, NEWS).rows) == 1


def test_a_row_with_two_faults_names_both_and_is_rejected_once():
    (rejected,) = gate(bars(open="x", close="")).rejected
    assert rejected.reason == "open: 'x' is not a number; close: is missing"
    assert (rejected.dataset, rejected.source, rejected.origin) == ("market_data", "test", "here")


# -------------------------------------------------------------------------------------------------------- duplicates


def test_rows_that_say_the_same_are_kept_once_and_counted():
    conformed = gate(bars(ts=days_apart(2) + days_apart(2), source=["a", "a", "b", "b"]))
    assert (len(conformed.rows), conformed.duplicates, conformed.rejected) == (2, 2, ())


def test_of_rows_that_contradict_one_another_the_last_is_kept():
    conformed = gate(bars(ts=date(2024, 1, 2), close=["1", "2", "3"], symbol=["A", "A", "A"]))
    assert conformed.rows["close"].to_pylist() == [Decimal(3)]
    assert [json.loads(rejected.record)["close"] for rejected in conformed.rejected] == ["1", "2"]
    assert all(rejected.reason.startswith("duplicate key (asset_class=equity") for rejected in conformed.rejected)


def test_a_null_and_a_value_contradict_one_another():
    conformed = gate(bars(vwap=[None, "1"]))
    assert len(conformed.rejected) == 1
    assert gate(bars(vwap=[None, None])).duplicates == 1


def test_a_rejected_row_is_nobody_s_duplicate():
    conformed = gate(bars(close=["1", "bad"]))
    assert conformed.rows["close"].to_pylist() == [Decimal(1)]
    assert len(conformed.rejected) == 1


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 5), st.integers(1, 2)), max_size=40))
def test_every_row_is_kept_once_or_accounted_for(rows):
    table = bars(
        symbol=pa.array([symbol for symbol, _, _ in rows], pa.string()),
        ts=pa.array([date(2024, 1, 2 + day) for _, day, _ in rows], pa.date32()),
        close=pa.array([close for _, _, close in rows], pa.int64()),
    )
    conformed = gate(table)
    last = {(symbol, day): close for symbol, day, close in rows}
    kept = [
        (row["symbol"], row["ts"].day - 2, int(row["close"]))
        for row in conformed.rows.select(["symbol", "ts", "close"]).to_pylist()
    ]
    assert {(symbol, day): close for symbol, day, close in kept} == last
    assert len(kept) == len(last)
    assert len(kept) + len(conformed.rejected) + conformed.duplicates == len(rows)
    positions = {(symbol, day): row for row, (symbol, day, _) in enumerate(rows)}
    assert [positions[symbol, day] for symbol, day, _ in kept] == sorted(positions.values())


def test_text_of_polars_and_categories_of_nothing_are_refused_row_by_row_like_any_other():
    table = bars(
        symbol=pa.array(["AAPL", "MSFT"], pa.string_view()),
        volume=pa.array(["10", "many"], pa.string_view()),
        vwap=pa.array([None, None], pa.null()).dictionary_encode(),
    )
    conformed = gate(table)
    assert conformed.rows["symbol"].to_pylist() == ["AAPL"]
    (rejected,) = conformed.rejected
    assert '"symbol": "MSFT"' in rejected.record
