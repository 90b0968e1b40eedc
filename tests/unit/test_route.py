"""The route of a query: every day that is wanted has one tier that answers, and only one."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermocline.errors import BadRangeError, UsageError
from thermocline.model.datasets import MARKET_DATA, NEWS
from thermocline.model.partition import Partition
from thermocline.model.paths import object_path
from thermocline.model.query import Query, Segment, Tier, plan_route
from thermocline.model.receipt import Contents, Receipt, Vintage

FIRST = date(2024, 1, 1)
START = datetime(2024, 1, 1, tzinfo=UTC)
NOTHING = Contents(0, None, None, {}, "0" * 32, "0" * 32)
PUBLISHED = datetime(2024, 2, 1, tzinfo=UTC)


def day(number, interval="1day"):
    return Partition("market_data", interval, FIRST + timedelta(days=number))


def vintage(partition, version=1):
    path = object_path(partition, version)
    return Vintage(Receipt(partition, version, path, 100, "", "", 1, "run", NOTHING), PUBLISHED)


some_days = st.frozensets(st.builds(day, st.integers(0, 12), st.sampled_from(["1day", "1min", "5min"])), max_size=25)
instants = st.integers(-2 * 24 * 60, 15 * 24 * 60).map(lambda minutes: START + timedelta(minutes=minutes))


@st.composite
def queries(draw):
    start, end = draw(st.none() | instants), draw(st.none() | instants)
    if start and end and start >= end:
        start, end = end, start + timedelta(microseconds=1)
    intervals = draw(st.lists(st.sampled_from(["1day", "1min", "1hour"]), unique=True, max_size=2))
    return Query(MARKET_DATA, start=start, end=end, intervals=tuple(intervals))


@given(queries(), some_days, some_days, some_days)
def test_every_wanted_day_is_answered_by_exactly_one_tier(query, hot, cold, late):
    route = plan_route(query, hot=hot, live=map(vintage, cold), late=late)
    answered = Counter(
        Partition("market_data", segment.interval, one) for segment in route.segments for one in segment.days
    )
    wanted = {partition for partition in hot | cold | late if query.wants(partition)}
    assert answered == Counter(wanted)
    for segment in route.segments:
        for one in segment.days:
            assert (segment.tier is Tier.HOT) == (Partition("market_data", segment.interval, one) in hot)


@given(queries(), some_days, some_days, some_days)
def test_exactly_the_live_vintages_of_cold_days_are_read(query, hot, cold, late):
    route = plan_route(query, hot=hot, live=map(vintage, cold), late=late)
    read = [found.partition for found in route.vintages]
    assert Counter(read) == Counter(partition for partition in cold - hot if query.wants(partition))
    for segment in route.segments:
        assert {found.partition.day for found in segment.vintages} <= set(segment.days)
        assert segment.tier is Tier.COLD or not segment.vintages
        assert segment.size_bytes == 100 * len(segment.vintages)


@given(queries(), some_days, some_days, some_days)
def test_segments_follow_each_other_in_the_order_of_the_answer(query, hot, cold, late):
    segments = plan_route(query, hot=hot, live=map(vintage, cold), late=late).segments
    order = [(segment.interval, one) for segment in segments for one in segment.days]
    assert order == sorted(order)
    assert all(segment.days for segment in segments)
    joined = [(segment.interval, segment.tier) for segment in segments]
    assert all(one != following for one, following in pairwise(joined))


@given(queries(), st.integers(-5, 20))
def test_a_day_is_wanted_exactly_where_it_shares_an_instant_with_the_range(query, number):
    partition = day(number)
    touches = (query.start is None or query.start < partition.end) and (
        query.end is None or partition.start < query.end
    )
    assert query.wants(partition) == (touches and (not query.intervals or "1day" in query.intervals))


def test_another_dataset_is_never_wanted():
    assert not Query(NEWS).wants(day(0))
    assert plan_route(Query(NEWS), hot=[day(0)], live=[vintage(day(1))]).segments == ()


def test_a_hot_day_hides_its_vintage_and_splits_the_cold_days_around_it():
    route = plan_route(
        Query(MARKET_DATA), hot=[day(1)], live=[vintage(day(number)) for number in range(3)], late=[day(3)]
    )
    assert route.segments == (
        Segment(Tier.COLD, "1day", (day(0).day,), (vintage(day(0)),)),
        Segment(Tier.HOT, "1day", (day(1).day,)),
        Segment(Tier.COLD, "1day", (day(2).day, day(3).day), (vintage(day(2)),)),
    )


def test_a_range_is_turned_into_utc_days_from_any_time_zone():
    new_york = ZoneInfo("America/New_York")
    query = Query(
        NEWS, start=datetime(2024, 1, 15, 19, tzinfo=new_york), end=datetime(2024, 1, 16, 19, tzinfo=new_york)
    )
    assert list(query.days) == [date(2024, 1, 16)]


def test_a_reversed_range_and_an_unknown_column_are_refused():
    with pytest.raises(BadRangeError):
        Query(NEWS, start=PUBLISHED, end=PUBLISHED)
    with pytest.raises(UsageError, match="no column 'price'"):
        Query(NEWS, columns=("price",))


def test_the_whole_of_time_is_a_range():
    assert Query(NEWS).wants(Partition("news", "", date(1, 1, 1)))
    assert Query(NEWS).wants(Partition("news", "", date(9999, 12, 30)))
