"""Partitions and ranges of days: half-open, in UTC, and readable back."""

from datetime import UTC, date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermocline.errors import BadRangeError, UnknownDatasetError, UsageError
from thermocline.model.datasets import DATASETS
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import DayRange, Partition, parse_day, parse_interval

days = st.dates(date(1, 1, 1), date(9999, 12, 30))


@st.composite
def partitions(draw):
    dataset = draw(st.sampled_from(list(DATASETS.values())))
    interval = draw(st.sampled_from(["1sec", "1min", "15min", "4hour", "1day", "1week", "3month"]))
    return Partition(dataset.name, interval if dataset.has_intervals else "", draw(days))


@given(partitions())
def test_a_partition_reads_back_what_it_writes(partition):
    assert Partition.parse(str(partition)) == partition


@given(partitions())
def test_a_partition_is_one_utc_day_and_touches_the_next(partition):
    assert partition.end - partition.start == timedelta(days=1)
    assert partition.start.utcoffset() == timedelta(0)
    following = Partition(partition.dataset, partition.interval, partition.day + timedelta(days=1))
    assert partition.end == following.start
    assert partition < following


@given(partitions(), st.datetimes(timezones=st.just(UTC)).filter(lambda at: at.date() < date.max))
def test_an_instant_belongs_to_the_partition_of_its_day(partition, instant):
    own = Partition(partition.dataset, partition.interval, instant.date())
    assert own.start <= instant < own.end


@pytest.mark.parametrize(
    "text",
    [
        "",
        "news",
        "market_data/2024-01-15",
        "news/1day/2024-01-15",
        "market_data/1day/2024-02-30",
        "market_data/1 day/2024-01-15",
        "a/b/c/d",
    ],
)
def test_another_text_is_no_partition(text):
    with pytest.raises(UsageError):
        Partition.parse(text)


def test_an_unknown_dataset_names_the_nearest_one():
    with pytest.raises(UnknownDatasetError, match="did you mean 'market_data'"):
        Partition("market_date", "1day", date(2024, 1, 15))


@pytest.mark.parametrize(
    "text", ["0min", "01min", "min", "1", "1minute", "1Min", "12345min", "1min ", "1min/..", "¹min"]
)
def test_an_interval_has_one_spelling(text):
    with pytest.raises(UsageError, match="not an interval"):
        parse_interval(text)


@pytest.mark.parametrize("text", ["", "15.01.2024", "2024-13-01", "2024-02-30", "yesterday"])
def test_a_day_that_is_none_is_refused(text):
    with pytest.raises(BadRangeError, match="not a date"):
        parse_day(text)


@given(days, st.integers(1, 400))
def test_a_range_holds_its_start_and_not_its_end(start, length):
    end = date.fromordinal(min(start.toordinal() + length, date.max.toordinal()))
    found = list(DayRange(start, end))
    assert found == sorted(set(found))
    assert found[0] == start
    assert found[-1] == end - timedelta(days=1)
    assert start in DayRange(start, end)
    assert end not in DayRange(start, end)


@given(days, st.integers(0, 400))
def test_a_range_without_a_day_is_refused(start, length):
    with pytest.raises(BadRangeError, match="the end is exclusive"):
        DayRange(start, date.fromordinal(max(start.toordinal() - length, 1)))


@given(partitions(), st.dates(date(1000, 1, 1), date(9000, 1, 1)), st.integers(1, 400))
def test_a_day_is_never_both_hot_and_due(partition, as_of, hot_days):
    lifecycle = Lifecycle(hot_days=hot_days)
    assert not (lifecycle.is_hot(partition, as_of) and lifecycle.is_due(partition, as_of))
    if not partition.interval or partition.interval in lifecycle.hot_intervals:
        assert lifecycle.is_hot(partition, as_of) != lifecycle.is_due(partition, as_of)


def test_the_window_counts_back_from_the_day_as_of():
    lifecycle = Lifecycle(hot_days=30, hot_intervals={"1day": None, "1min": 5}, windows={"news": 7})
    as_of = date(2024, 3, 1)
    assert lifecycle.first_hot_day("market_data", "1day", as_of) == date(2024, 1, 31)
    assert lifecycle.first_hot_day("market_data", "1min", as_of) == date(2024, 2, 25)
    assert lifecycle.first_hot_day("news", "", as_of) == date(2024, 2, 23)
    assert lifecycle.is_hot(Partition("market_data", "1day", date(2024, 1, 31)), as_of)
    assert lifecycle.is_due(Partition("market_data", "1day", date(2024, 1, 30)), as_of)
    assert lifecycle.is_hot(Partition("market_data", "1day", date(2030, 1, 1)), as_of)
    assert not lifecycle.is_hot(Partition("market_data", "5min", as_of), as_of)
