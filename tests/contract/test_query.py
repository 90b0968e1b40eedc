"""Both tiers answer one question at the same time, over every hot tier."""

import threading
from datetime import timedelta

import pyarrow as pa
import pytest
from hot_acts import answer, day, ingest, publish, table
from made_rows import NOON, as_sorted_lists, bars

from thermocline.errors import LakeError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.query import Query
from thermocline.tasks import query as task
from thermocline.tasks.query import query

SYMBOLS = [f"S{number:03d}" for number in range(100)]
HOT, COLD = (1, 2, 5), (0, 3, 4, 6)


@pytest.fixture
def week(hot, lake):
    """Days of which some are hot and some are cold, one of them with late rows; all their rows, in order."""
    publish(hot, lake, *(bars(day(number), SYMBOLS, 10) for number in COLD))
    ingest(hot, *(bars(day(number), SYMBOLS, 10) for number in HOT), hot_days=[day(number) for number in HOT])
    late = bars(day(3), SYMBOLS[:3], 10, close="200", ingested_at=NOON + timedelta(hours=1))
    ingest(hot, late)
    replaced = [bars(day(3), SYMBOLS[3:], 10), late]
    batches = [bars(day(number), SYMBOLS, 10) for number in (*HOT, *COLD) if number != 3]
    return table(*batches, *replaced).sort_by([(name, "ascending") for name in ("interval", "ts", *MARKET_DATA.key)])


@pytest.fixture(params=[0, 10_000], ids=["always ahead", "ahead of many"])
def few_rows(request, monkeypatch):
    monkeypatch.setattr(task, "_FEW_ROWS", request.param)


@pytest.mark.usefixtures("few_rows")
def test_tiers_that_take_turns_answer_in_order_up_to_any_limit(hot, lake, week):
    assert answer(hot, lake).equals(week)
    for limit in (1, 999, 1_000, 1_001, 3_500, 6_999, 7_000, 8_000):
        assert answer(hot, lake, limit=limit).equals(week.slice(0, limit))


@pytest.mark.usefixtures("few_rows", "week")
def test_an_answer_that_is_left_early_leaves_nothing_behind(hot, lake):
    before = threading.active_count()
    with query(hot, lake, Query(MARKET_DATA)) as reader:
        assert reader.read_next_batch().num_rows
    assert threading.active_count() == before
    assert answer(hot, lake).num_rows == 7_000


def test_an_error_of_one_tier_comes_after_the_rows_before_it(hot, lake):
    ingest(hot, bars(day(0), SYMBOLS), hot_days=[day(0)])
    [vintage] = publish(hot, lake, bars(day(1)))
    lake.delete(vintage.receipt.path)
    with query(hot, lake, Query(MARKET_DATA)) as reader:
        first = pa.table(reader.read_next_batch())
        with pytest.raises(LakeError):
            reader.read_next_batch()
    assert as_sorted_lists(first, MARKET_DATA) == as_sorted_lists(table(bars(day(0), SYMBOLS)), MARKET_DATA)
    assert answer(hot, lake, end=day(1).start).num_rows == 300


def test_a_range_cuts_days_of_either_tier_to_the_microsecond(hot, lake, week):
    times = week["ts"].to_pylist()
    ends = [None, day(1).start, day(2).start, day(3).start, times[1_050], times[2_950], times[5_050]]
    for start in ends:
        for end in ends:
            if start and end and start >= end:
                continue
            wanted = [(start is None or at >= start) and (end is None or at < end) for at in times]
            assert answer(hot, lake, start=start, end=end).equals(week.filter(pa.array(wanted)))


@pytest.mark.parametrize("symbol", ["BRK'B", "A\\B", "A\\'B", "É", "{A}", "%s", "A\nB", '"'])
def test_a_symbol_is_asked_for_as_it_is_written(hot, lake, symbol):
    ingest(hot, bars(day(0), [symbol, "AAPL"], 2), bars(day(1), [symbol, "AAPL"], 2), hot_days=[day(0), day(1)])
    for symbols in [(symbol,), (symbol, "IBM"), (symbol, "A\0B")]:
        for _ in range(2):  # by a look, then by what is known
            assert answer(hot, lake, symbols=symbols)["symbol"].to_pylist() == [symbol] * 4
    assert answer(hot, lake, symbols=("A\0B",)).num_rows == 0
