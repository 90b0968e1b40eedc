"""Made-up rows: the same every time, whatever part is asked for."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thermocline.errors import UsageError
from thermocline.model.conform import conform
from thermocline.model.datasets import MARKET_DATA, NEWS, OPTIONS_DATA, dataset_named
from thermocline.model.partition import ALL_DAYS, DayRange
from thermocline.ports import FetchRequest
from thermocline.sources import synthetic
from thermocline.sources.open import open_source
from thermocline.sources.synthetic_rest import MAKERS

NOW = datetime(2024, 6, 1, tzinfo=UTC)
MONDAY = date(2024, 1, 1)


def days(first, count=1):
    return DayRange(first, first + timedelta(days=count))


def table(span, dataset=MARKET_DATA, asked=(), intervals=(), **options):
    request = FetchRequest(dataset, span, frozenset(asked), frozenset(intervals))
    pages = list(open_source("synthetic", options=options).fetch(request))
    conformed = [conform(p.rows, dataset, source="s", ingested_at=NOW, origin=p.origin, days=span) for p in pages]
    assert all((c.rejected, c.duplicates, c.outside, c.ignored_columns) == ((), 0, 0, ()) for c in conformed)
    return pa.concat_tables([c.rows for c in conformed]) if conformed else dataset.arrow_schema.empty_table()


def rows(*arguments, **options):
    found = table(*arguments, **options)
    return sorted(found.to_pylist(), key=lambda row: [str(value) for value in row.values()])


@pytest.mark.parametrize("dataset", [MARKET_DATA, *map(dataset_named, MAKERS)], ids=lambda dataset: dataset.name)
def test_every_dataset_that_it_makes_can_be_filled_and_a_day_is_the_same_alone_and_among_others(dataset):
    span = days(date(2024, 3, 4), 3)
    alone = [row for day in span for row in rows(days(day), dataset)]
    together = rows(span, dataset)
    assert together
    assert sorted(alone, key=str) == sorted(together, key=str)


@settings(max_examples=20, deadline=None)
@given(st.dates(date(1970, 1, 2), date(2100, 1, 1)), st.integers(0, 2**40), st.sampled_from(["1min", "1hour", "1day"]))
def test_bars_are_bars_and_join(day, seed, interval):
    found = table(days(day, 2), seed=seed, interval=interval, symbols=["A", "B"]).sort_by(
        [("symbol", "ascending"), ("ts", "ascending")]
    )
    bars = found.to_pylist()
    for bar in bars:
        assert 0 < bar["low"] <= min(bar["open"], bar["close"])
        assert bar["high"] >= max(bar["open"], bar["close"])
        assert bar["low"] <= bar["vwap"] <= bar["high"]
        assert bar["volume"] > 0
    for one, following in pairwise(bars):
        if one["symbol"] == following["symbol"]:
            assert one["close"] == following["open"]


def test_another_seed_or_symbol_is_another_market():
    one, other = (table(days(MONDAY), seed=seed, symbols=["A", "B"])["open"].to_pylist() for seed in (1, 2))
    assert len({*one, *other}) == 4


def test_sessions_are_around_the_clock_or_new_york_s_on_weekdays():
    week = days(MONDAY, 7)
    assert len(table(week, interval="1min", symbols=1)) == 7 * 1440
    found = table(week, interval="1min", symbols=1, session="us")
    assert len(found) == 5 * 390
    assert found["ts"][0].as_py() == datetime(2024, 1, 1, 14, 30, tzinfo=UTC)
    assert table(days(date(2024, 7, 1)), interval="1min", session="us")["ts"][0].as_py().hour == 13
    assert len(table(week, symbols=1, session="us")) == 5


def test_symbols_and_intervals_follow_what_is_asked_for():
    assert set(table(days(MONDAY))["symbol"].to_pylist()) == {f"SYN000{number}" for number in range(1, 6)}
    assert table(days(MONDAY), asked={"ACME"})["symbol"].to_pylist() == ["ACME"]
    assert set(table(days(MONDAY), intervals={"1hour", "1day"})["interval"].to_pylist()) == {"1hour", "1day"}
    assert table(days(MONDAY), symbols=["A", "B"], asked={"B", "C"})["symbol"].to_pylist() == ["B"]
    assert len(table(days(MONDAY), symbols=["A"], asked={"C"})) == 0


def test_pages_stay_small(monkeypatch):
    whole = rows(days(MONDAY, 2), interval="1min", symbols=["A", "B", "C"])
    monkeypatch.setattr(synthetic, "PAGE_ROWS", 2000)
    request = FetchRequest(MARKET_DATA, days(MONDAY, 2))
    source = open_source("synthetic", options={"interval": "1min", "symbols": ["A", "B", "C"]})
    assert max(len(page.rows) for page in source.fetch(request)) <= 2000
    assert rows(days(MONDAY, 2), interval="1min", symbols=["A", "B", "C"]) == whole
    news = open_source("synthetic", options={"symbols": 1000}).fetch(FetchRequest(NEWS, days(MONDAY, 2)))
    assert max(len(page.rows) for page in news) <= 2000


def test_an_option_chain_expires_on_third_fridays():
    chain = table(days(date(2024, 1, 19)), OPTIONS_DATA, symbols=["A"])
    assert sorted(set(chain["expiration"].to_pylist())) == [date(2024, 2, 16), date(2024, 3, 15), date(2024, 4, 19)]
    assert len(chain) == 66
    assert min(chain["bid"].to_pylist()) > Decimal(0)


def test_a_range_without_an_end_is_refused():
    with pytest.raises(UsageError, match="no first and no last day"):
        table(ALL_DAYS)
