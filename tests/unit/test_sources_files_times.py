"""Times of files: spellings, zones, and intervals that follow from them."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from read_files import DAILY, MINUTES, file, pages, rows, times

from thermocline.errors import SourceError


@pytest.mark.parametrize(
    "written",
    [
        "2024-01-15",
        "20240115",
        "2024/01/15",
        "01/15/2024",
        "15/01/2024",
        "15.01.2024",
        "15-Jan-2024",
        "Jan 15, 2024",
        "1/15/24",
        "2024-1-15",
        "2024-01-15 00:00:00",
        "2024-01-15T00:00:00Z",
        "2024-01-15 00:00:00-05:00",
        "1705276800",
        "1705276800000",
        "1705276800000000",
        "1705276800000000000",
        "20240115000000",
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_a_session_s_date_stays_that_date_in_every_zone(tmp_path, written, zone):
    text = f'date,open,high,low,close\n"{written}",1,2,1,2\n'
    assert times(file(tmp_path, text), timezone=zone) == [datetime(2024, 1, 15, tzinfo=UTC)]


def test_a_daily_bar_stamped_with_the_exchange_s_midnight_in_utc_is_its_session_s(tmp_path):
    text = "t,open,high,low,close\n2024-01-02T05:00:00Z,1,2,1,2\n2024-07-02T04:00:00Z,1,2,1,2\n"
    found = times(file(tmp_path, text), timezone="America/New_York")
    assert found == [datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 7, 2, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("written", "zone", "hour"),
    [
        ("2024-01-02 09:30", "America/New_York", 14),
        ("2024-07-02 09:30", "America/New_York", 13),
        ("2024-01-02 09:30:00", "UTC", 9),
        ("2024-01-02T09:30:00-05:00", "Asia/Tokyo", 14),
        ("01/31/2024 09:30 AM", "America/New_York", 14),
        ("20240102 09:30", "America/New_York", 14),
        ("1704205800", "America/New_York", 14),
        ("1704205800000", "Asia/Tokyo", 14),
    ],
)
def test_a_naive_time_is_of_the_zone_and_an_instant_is_an_instant(tmp_path, written, zone, hour):
    text = f"time,open,high,low,close\n{written},1,2,1,2\n"
    (found,) = times(file(tmp_path, text), timezone=zone, constants={"interval": "1min"})
    assert (found.hour, found.minute) == (hour, 30)


def test_times_with_and_without_offsets_may_stand_in_one_file(tmp_path):
    text = "time,open,high,low,close\n2024-01-02 09:30,1,2,1,2\n2024-01-02T14:31:00Z,1,2,1,2\n"
    found = times(file(tmp_path, text), timezone="America/New_York", constants={"interval": "1min"})
    assert found == [datetime(2024, 1, 2, 14, 30 + minute, tzinfo=UTC) for minute in (0, 1)]


def test_an_hour_that_happens_twice_means_the_first_and_one_that_is_skipped_is_unreadable(tmp_path):
    text = "time,open,high,low,close\n2024-11-03 01:30,1,2,1,2\n2024-03-10 02:30,3,4,3,4\n2024-03-10 03:00,5,6,5,6\n"
    (page,) = pages(file(tmp_path, text), timezone="America/New_York", constants={"interval": "1min"})
    assert page.rows["ts"].to_pylist() == [
        datetime(2024, 11, 3, 5, 30, tzinfo=UTC),
        datetime(2024, 3, 10, 7, tzinfo=UTC),
    ]
    ((record, reason),) = page.unreadable
    assert json.loads(record)["open"] == "3"
    assert "does not exist in America/New_York" in reason


@pytest.mark.parametrize(
    ("spelling", "written"),
    [
        ("%d.%m.%Y %H:%M", "02.01.2024 14:30"),
        ("%Y%m%d%H%M", "202401021430"),
        ("%Y-%m-%d %H:%M:%S.%f", "2024-01-02 14:30:00.0"),
        ("%Y-%m-%dT%H:%M:%S%z", "2024-01-02T15:30:00+0100"),
        ("s", "1704205800"),
    ],
)
def test_a_format_can_be_given(tmp_path, spelling, written):
    text = f"time,open,high,low,close\n{written},1,2,1,2\n"
    found = times(file(tmp_path, text), timestamp_format=spelling, constants={"interval": "1min"})
    assert found == [datetime(2024, 1, 2, 14, 30, tzinfo=UTC)]


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("01/02/2024", "could be %m/%d/%Y or %d/%m/%Y"),
        ("202401021430", "could be a date and time or milliseconds"),
        ("12345678", "can't|is no time that can be told by its size"),
        ("tomorrow", "in no known form"),
    ],
)
def test_a_time_that_can_be_read_in_two_ways_is_not_guessed(tmp_path, written, complaint):
    with pytest.raises(SourceError, match=f"({complaint}).*timestamp_format"):
        pages(file(tmp_path, f"date,open,high,low,close\n{written},1,2,1,2\n"))


def test_day_and_month_are_told_apart_by_the_other_rows(tmp_path):
    text = "date,open,high,low,close\n01/02/2024,1,2,1,2\n13/02/2024,1,2,1,2\n"
    assert [found.month for found in times(file(tmp_path, text))] == [2, 2]


def test_a_row_whose_time_can_t_be_read_is_left_out_and_the_file_goes_on(tmp_path):
    text = DAILY + "someday,1,2,1,2,3,AAPL\n2012-08-15,1,2,1,2,3,AAPL\n"
    (page,) = pages(file(tmp_path, text))
    assert len(page.rows) == 3
    ((record, reason),) = page.unreadable
    assert json.loads(record)["Date"] == "someday"
    assert "not an ISO time" in reason


def test_times_of_parquet_keep_their_zone_or_take_the_given_one(tmp_path):
    naive = pa.table({"ts": [datetime(2024, 1, 2, 9, 30)], "symbol": ["A"]})  # noqa: DTZ001  # naive is the point
    for name, column in (
        ("naive", naive["ts"]),
        ("aware", pa.chunked_array([pa.array([1_704_205_800], pa.timestamp("s", "Asia/Tokyo"))])),
    ):
        prices = {price: [1.0] for price in ("open", "high", "low", "close")}
        pq.write_table(pa.table({"ts": column, "symbol": ["A"], **prices}), tmp_path / f"{name}.parquet")
    options = {"timezone": "America/New_York", "constants": {"interval": "1min"}}
    assert set(times(tmp_path, **options)) == {datetime(2024, 1, 2, 14, 30, tzinfo=UTC)}


# --------------------------------------------------------------------------------------------------------- intervals


def test_an_interval_that_can_t_be_told_must_be_given(tmp_path):
    path = file(tmp_path, MINUTES)
    with pytest.raises(SourceError, match=r"60 seconds apart; set `constants: \{interval: 1min\}`"):
        pages(path)
    assert {row["interval"] for row in rows(path, constants={"interval": "1min"})} == {"1min"}
    assert {row["interval"] for row in rows(path, intervals={"1min"})} == {"1min"}


def test_an_interval_that_was_asked_for_is_not_believed_against_the_times(tmp_path):
    with pytest.raises(SourceError, match="60 seconds apart"):
        pages(file(tmp_path, MINUTES), intervals={"1hour"})


def test_intervals_may_be_mixed_in_one_file(tmp_path):
    text = "ts,interval,open,high,low,close\n2024-01-02,1day,1,2,1,2\n2024-01-02 09:30,1min,1,2,1,2\n"
    found = rows(file(tmp_path, text), timezone="America/New_York")
    assert [(row["interval"], row["ts"].hour) for row in found] == [("1day", 0), ("1min", 14)]
