"""From clocks on walls to UTC, against what Python's zoneinfo says of single times."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermocline.sources.local_time import on_the_wall, to_utc, zone_named

ZONES = [
    "America/New_York",
    "Europe/London",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Tokyo",
    "UTC",
]
WALL = pa.timestamp("us")

moments = st.datetimes(datetime(1901, 1, 1), datetime(2199, 1, 1))  # noqa: DTZ001  # clocks on walls have no zone


@given(st.lists(moments | st.none(), max_size=5), st.sampled_from(ZONES))
def test_a_clock_s_time_is_the_first_instant_at_which_it_shows_it(walls, zone):
    parsed = to_utc(pa.array(walls, WALL), zone)
    for row, (wall, instant) in enumerate(zip(walls, parsed.values.to_pylist(), strict=True)):
        if wall is None:
            assert instant is None
            assert row not in parsed.wrong
            continue
        expected = wall.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)
        if expected.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == wall:
            assert instant == expected
        else:
            assert instant is None
            assert "does not exist" in parsed.wrong[row]


@given(st.lists(moments | st.none(), max_size=5), st.sampled_from(ZONES))
def test_what_the_clock_shows_at_an_instant(instants, zone):
    shown = on_the_wall(pa.array(instants, WALL).cast(pa.timestamp("us", "UTC")), zone).to_pylist()
    here = ZoneInfo(zone)
    assert shown == [at and at.replace(tzinfo=UTC).astimezone(here).replace(tzinfo=None) for at in instants]


@pytest.mark.parametrize("zone", ZONES[:5])
def test_every_half_hour_around_the_changes_of_a_year(zone):
    walls = [datetime(2018, 1, 1) + timedelta(minutes=30 * step) for step in range(365 * 48)]  # noqa: DTZ001  # see above
    parsed = to_utc(pa.array(walls, WALL), zone)
    expected = [wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) for wall in walls]
    for row, instant in enumerate(parsed.values.to_pylist()):
        assert instant == expected[row] or row in parsed.wrong


def test_a_name_that_is_no_zone_is_refused():
    assert zone_named("Asia/Tokyo") == "Asia/Tokyo"
    with pytest.raises(ValueError, match="'Mars/Olympus' is not a time zone"):
        zone_named("Mars/Olympus")
