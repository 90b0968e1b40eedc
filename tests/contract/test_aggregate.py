"""Each tier works out its part of a group; put together it is what one pass over all rows says, over every hot tier."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from aggregated import expected, same
from hot_acts import day, ingest, publish
from made_rows import DAY, NOON, bars, rows

from thermocline.errors import LakeError
from thermocline.model.aggregates import Aggregation, parse_measures
from thermocline.model.dataset import Kind
from thermocline.model.datasets import DATASETS, MARKET_DATA, NEWS, OPTIONS_DATA
from thermocline.model.partition import Partition
from thermocline.model.query import Query, Tier
from thermocline.ports import Publication
from thermocline.tasks.aggregate import aggregate
from thermocline.tasks.archive import archive

LATER = NOON + timedelta(hours=1)
LONG_AGO = datetime(1969, 12, 30, tzinfo=UTC).date()


def every_measure(dataset):
    """All that can be told exactly whatever the order, of every column."""
    exact = {Kind.PRICE, Kind.MONEY}
    measures = ["count"]
    for column in dataset.columns:
        measures += [f"{function}({column.name})" for function in ("count", "min", "max", "first", "last")]
        if column.kind in exact:
            measures += [f"{function}({column.name})" for function in ("sum", "avg")]
    return parse_measures(measures)


def answered(hot, lake, asked, tiers=tuple(Tier)):
    with aggregate(hot, lake, asked, tiers) as reader:
        found = reader.read_all()
    assert tuple(found.column_names) == asked.names
    return found.to_pylist()


def check(hot, lake, asked, kept):
    found = answered(hot, lake, asked)
    assert same(found, expected(asked, kept)), (found, expected(asked, kept))


def scattered(hot, lake, dataset):
    """Rows of a cold day, a hot day, and late rows for the cold one; all that count."""
    parts = [rows(dataset, 60, day=DAY + timedelta(days=number)) for number in (0, 1)]
    partitions = [
        Partition(dataset.name, "1min" if dataset.has_intervals else "", DAY + timedelta(days=number))
        for number in (0, 1)
    ]
    with hot.writer(dataset) as writer:
        receipt = archive(lake, partitions[0], 1, [parts[0]], run_id="run")
        writer.publish(Publication(dataset, None, "run", [receipt]))
    hot.ingest(dataset, pa.Table.from_batches([parts[1]]), hot_days=[partitions[1]], run_id="run")
    newer = datetime(2300, 1, 1, tzinfo=UTC)
    late = [row | {"ingested_at": newer, "source": "late"} for row in rows(dataset, 60, seed=1).to_pylist()[:20]]
    late += [row | {"ingested_at": newer, "source": "late"} for row in parts[0].to_pylist()[:20]]
    hot.ingest(dataset, pa.Table.from_pylist(late, dataset.arrow_schema), hot_days=(), run_id="run")
    kept = {}
    for row in [*parts[0].to_pylist(), *parts[1].to_pylist(), *late]:
        kept[tuple(row[name] for name in dataset.key)] = row
    return list(kept.values())


@pytest.mark.parametrize("dataset", [MARKET_DATA, OPTIONS_DATA, DATASETS["features"]], ids=lambda each: each.name)
def test_every_measure_of_every_column_is_that_of_all_rows(hot, lake, dataset):
    kept = scattered(hot, lake, dataset)
    measures = every_measure(dataset)
    for by, every in ((), None), ((dataset.symbol_column,), None), ((), 3600), ((dataset.symbol_column,), 86_400):
        check(hot, lake, Aggregation(Query(dataset), measures, by, every), kept)


def test_rows_are_those_that_a_query_would_give(hot, lake):
    kept = scattered(hot, lake, NEWS)
    measures = parse_measures(["count", "max(headline)", "sum(sentiment_score)"])
    middle = datetime(2024, 1, 15, 12, tzinfo=UTC)
    for asked in (
        Query(NEWS, symbols=("AAPL", "brk")),
        Query(NEWS, start=middle, end=middle + timedelta(days=1)),
        Query(NEWS, start=middle + timedelta(days=400)),
        Query(NEWS, symbols=("AAPL",), limit=1),
    ):
        inside = [
            row
            for row in kept
            if (not asked.symbols or row["symbol"] in asked.symbols)
            and (asked.start is None or row["ts"] >= asked.start)
            and (asked.end is None or row["ts"] < asked.end)
        ]
        measured = parse_measures(["count", "max(headline)", "count(sentiment_score)"])
        check(hot, lake, Aggregation(asked, measured, ("category",)), inside)
        check(hot, lake, Aggregation(asked, measures[:2]), inside)


def test_sums_of_floats_that_are_whole_numbers_are_exact(hot, lake):
    publish(hot, lake, bars(day(0)), bars(day(2)))
    ingest(hot, bars(day(1)), hot_days=[day(1)])
    asked = Aggregation(
        Query(MARKET_DATA), parse_measures(["sum(volume)", "avg(volume)", "avg(trade_count)"]), ("symbol",)
    )
    kept = [row for number in range(3) for row in bars(day(number)).to_pylist()]
    assert answered(hot, lake, asked) == expected(asked, kept)


def test_buckets_before_1970_begin_where_they_do_after_it(hot, lake):
    partitions = [Partition("market_data", "1min", LONG_AGO + timedelta(days=number)) for number in range(4)]
    publish(hot, lake, *(bars(partition, count=7) for partition in partitions[:2]))
    ingest(hot, *(bars(partition, count=7) for partition in partitions[2:]), hot_days=partitions[2:])
    kept = [row for partition in partitions for row in bars(partition, count=7).to_pylist()]
    for every, origin in ((180, 0), (604_800, 4 * 86_400), (7 * 3600, 100)):
        asked = Aggregation(Query(MARKET_DATA), parse_measures(["count", "last(close)"]), (), every)
        check(hot, lake, replace(asked, origin_seconds=origin), kept)


def test_an_instant_of_two_intervals_is_told_apart_by_the_key_whichever_tier_has_which(hot, lake):
    publish(hot, lake, bars(day(0, "5min"), close="5"))
    ingest(hot, bars(day(0, "1min"), close="1"), hot_days=[day(0, "1min")])
    kept = [*bars(day(0, "5min"), close="5").to_pylist(), *bars(day(0, "1min"), close="1").to_pylist()]
    check(hot, lake, Aggregation(Query(MARKET_DATA), parse_measures(["first(close)", "last(close)"])), kept)


def test_many_days_are_cut_where_the_range_is_and_grouped_by_what_they_share(hot, lake):
    days = [day(number) for number in range(20)]
    publish(hot, lake, *(bars(each, close=str(number)) for number, each in enumerate(days[:8])))
    ingest(hot, *(bars(each, close=str(number)) for number, each in enumerate(days[8:], start=8)), hot_days=days[8:])
    kept = [row for number, each in enumerate(days) for row in bars(each, close=str(number)).to_pylist()]
    middle = sorted(row["ts"] for row in kept)[len(kept) // 2]
    measures = parse_measures(["count", "first(close)", "last(vwap)", "sum(trade_count)", "max(symbol)"])
    for start, end in ((None, None), (middle, None), (None, middle), (days[3].start, days[17].start)):
        asked = Query(MARKET_DATA, start=start, end=end)
        inside = [row for row in kept if (not start or row["ts"] >= start) and (not end or row["ts"] < end)]
        check(hot, lake, Aggregation(asked, measures, ("interval",)), inside)
        check(hot, lake, Aggregation(asked, measures[:1], ("interval", "symbol"), 86_400 * 7), inside)
    no_rows = Query(MARKET_DATA, symbols=("NONE",))
    assert answered(hot, lake, Aggregation(no_rows, measures[:1], ("interval",))) == []


def test_where_there_are_no_rows_there_is_a_line_only_of_what_is_not_grouped(hot, lake):
    measures = parse_measures(["count", "sum(close)", "first(symbol)", "avg(close)", "sum(trade_count)"])
    assert answered(hot, lake, Aggregation(Query(MARKET_DATA), measures)) == [
        {"count": 0, "sum_close": None, "first_symbol": None, "avg_close": None, "sum_trade_count": None}
    ]
    assert answered(hot, lake, Aggregation(Query(MARKET_DATA), measures, ("symbol",), 60)) == []


def test_one_tier_alone_says_what_it_has_and_a_vintage_what_was_live(hot, lake):
    [vintage] = publish(hot, lake, bars(day(0), close="100"))
    ingest(hot, bars(day(1), close="300"), hot_days=[day(1)])
    publish(hot, lake, bars(day(0), close="200"))
    asked = Aggregation(Query(MARKET_DATA), parse_measures(["count", "min(close)"]))
    told = [
        (row["count"], row["min_close"])
        for tiers in ([Tier.HOT], [Tier.COLD])
        for row in answered(hot, lake, asked, tiers)
    ]
    assert told == [(6, 300), (6, 200)]
    then = replace(asked, query=Query(MARKET_DATA, as_of_vintage=vintage.published_at))
    assert [(row["count"], row["min_close"]) for row in answered(hot, lake, then)] == [(6, 100)]


def test_an_error_of_the_lake_is_told_and_leaves_the_hot_tier_usable(hot, lake):
    ingest(hot, bars(day(0)), hot_days=[day(0)])
    [vintage] = publish(hot, lake, bars(day(1)))
    lake.delete(vintage.receipt.path)
    asked = Aggregation(Query(MARKET_DATA), parse_measures(["count"]))
    with pytest.raises(LakeError):
        answered(hot, lake, asked)
    assert answered(hot, lake, replace(asked, query=Query(MARKET_DATA, end=day(1).start))) == [{"count": 6}]
