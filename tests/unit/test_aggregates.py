"""Parts of groups, put together in any way, are what one pass over all rows says."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from aggregated import expected, same
from hypothesis import given
from hypothesis import strategies as st

from thermocline.errors import UsageError
from thermocline.model import partials
from thermocline.model.aggregates import Aggregation, Function, Measure, buckets_of, parse_measures
from thermocline.model.datasets import MARKET_DATA, NEWS
from thermocline.model.partials import merged, partials_of_rows
from thermocline.model.query import Query

START = datetime(1969, 12, 31, 23, tzinfo=UTC)
PRICES = st.sampled_from(
    [Decimal(text) for text in ("0.00000000", "187.15000000", "-3.00000001", "9999999999.99999999")]
)
FLOATS = st.sampled_from([0.0, 1.5, 65_076_600.0, float("nan"), -2.0])
MEASURES = (
    "count",
    "count(volume)",
    "sum(volume)",
    "sum(close)",
    "sum(trade_count)",
    "min(volume)",
    "max(volume)",
    "min(vwap)",
    "max(symbol)",
    "avg(close)",
    "avg(trade_count)",
    "avg(volume)",
    "first(vwap)",
    "last(vwap)",
    "first(volume)",
    "last(symbol)",
)


@st.composite
def tables(draw):
    keys = st.tuples(
        st.sampled_from(["equity", "crypto"]),
        st.sampled_from(["AAPL", "aapl", "B"]),
        st.sampled_from(["1min", "5min"]),
        st.integers(0, 6).map(lambda number: START + timedelta(minutes=20 * number)),
    )
    made = []
    for key in draw(st.lists(keys, unique=True, max_size=25)):
        row = dict(zip(MARKET_DATA.key, key, strict=True))
        row |= dict.fromkeys(("open", "high", "low", "close"), draw(PRICES))
        row |= {"volume": draw(st.none() | FLOATS), "vwap": draw(st.none() | PRICES)}
        row |= {"trade_count": draw(st.none() | st.integers(-5, 2**40)), "source": "made", "ingested_at": START}
        made.append(row)
    return pa.Table.from_pylist(made, MARKET_DATA.arrow_schema)


@given(
    tables(),
    st.lists(st.integers(0, 3), min_size=25, max_size=25),
    st.lists(st.sampled_from(["symbol", "asset_class", "trade_count", "vwap"]), unique=True, max_size=2),
    st.sampled_from([None, 1200, 3600, 86_400]),
    st.integers(1, 30),
)
def test_however_rows_are_split_the_measures_are_those_of_all(rows, places, by, every, held):
    asked = Aggregation(Query(MARKET_DATA), parse_measures(MEASURES), tuple(by), every)
    place = pa.array(places[: len(rows)], pa.int64())
    parts = [partials_of_rows(asked, rows.filter(pa.compute.equal(place, number))) for number in range(4)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(partials, "_HELD_ROWS", held)
        found = merged(asked, parts).to_pylist()
    assert same(found, expected(asked, rows.to_pylist())), (found, expected(asked, rows.to_pylist()))


def test_a_measure_is_told_by_a_text():
    assert Measure.parse("sum(volume)") == Measure("sum_volume", Function.SUM, "volume")
    assert Measure.parse(" MAX( high ) AS peak ") == Measure("peak", Function.MAX, "high")
    assert Measure.parse("count") == Measure.parse("count(*)") == Measure("count", Function.COUNT)
    assert parse_measures({"rows": "count"}) == (Measure("rows", Function.COUNT),)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("median(close)", "is no measure"),
        ("weighted(close)", "is no measure"),
        ("sum", "says no column"),
        ("sum(*)", "says no column"),
        ("sum(close) total", "is no measure"),
    ],
)
def test_a_text_that_tells_no_measure_is_refused(text, told):
    with pytest.raises(UsageError, match=told):
        Measure.parse(text)


@pytest.mark.parametrize(
    ("dataset", "measures", "by", "told"),
    [
        (MARKET_DATA, [], (), "at least one measure"),
        (MARKET_DATA, ["sum(price)"], (), "no column 'price'"),
        (NEWS, ["sum(headline)"], (), "is no number"),
        (MARKET_DATA, ["count"], ("volume",), "two floats"),
        (MARKET_DATA, ["count", "count"], (), "several columns called count"),
        (MARKET_DATA, ["max(close) as symbol"], ("symbol",), "several columns called symbol"),
    ],
)
def test_what_cannot_be_told_is_refused(dataset, measures, by, told):
    with pytest.raises(UsageError, match=told):
        Aggregation(Query(dataset), parse_measures(measures), by)


def test_a_sum_of_integers_that_is_too_long_is_refused_and_not_wrapped():
    row = dict.fromkeys(MARKET_DATA.names) | {"trade_count": 2**63 - 1, "ts": START}
    asked = Aggregation(Query(MARKET_DATA), parse_measures(["sum(trade_count)", "avg(trade_count)"]))
    schema = pa.schema([field.with_nullable(nullable=True) for field in MARKET_DATA.arrow_schema])
    rows = pa.Table.from_pylist([row, row], schema)
    with pytest.raises(UsageError, match="more than 64 bits"):
        merged(asked, [partials_of_rows(asked, rows)])


def test_buckets_are_of_one_length_and_weeks_begin_on_mondays():
    assert buckets_of("15min") == (900, 0)
    assert buckets_of("1week") == (604_800, 4 * 86_400)
    with pytest.raises(UsageError, match="not all of one length"):
        buckets_of("1month")
