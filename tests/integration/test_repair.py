"""Objects of the lake that are lost or damaged, and what makes them good again."""

from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

import thermocline
from thermocline.errors import LakeError
from thermocline.ports import Fetched
from thermocline.settings import load_settings

DAYS = [date(2024, 1, 15), date(2024, 1, 16)]
LATER = date(2024, 3, 1)


def bars(*days: date, price: str = "69.13") -> pa.Table:
    return pa.table(
        {
            "asset_class": ["equity"] * len(days),
            "symbol": ["AAPL"] * len(days),
            "interval": ["1day"] * len(days),
            "ts": pa.array(days, pa.date32()),
            **{name: [price] * len(days) for name in ("open", "high", "low", "close")},
        }
    )


class Bars:
    """A source of one bar a day."""

    name = "bars"

    def fetch(self, request):
        """All of them."""
        del request
        yield Fetched(bars(*DAYS), "made up")


@pytest.fixture
def opened(home):
    with thermocline.open(settings=load_settings(home, environ={})) as opened:
        opened.backfill("market_data", source=Bars())
        yield opened


def lost(home) -> Path:
    """The first day's object, which is gone."""
    [path] = (home / "lake").rglob("market_data_1day_20240115.parquet")
    path.unlink()
    return path


def days_of(opened) -> list[date]:
    return [stamp.date() for stamp in opened.query("market_data").to_arrow()["ts"].to_pylist()]


def test_a_lost_object_is_named_and_written_anew_by_a_backfill_that_repairs(opened, home):
    lost(home)
    with pytest.raises(LakeError, match="20240115"):
        days_of(opened)
    assert opened.backfill("market_data", source=Bars()).written == 0
    assert opened.backfill("market_data", source=Bars(), repair=True).written == 1
    assert days_of(opened) == DAYS
    assert opened.verify().failed == []


def test_a_hot_day_whose_cold_object_is_lost_is_rotated_from_its_hot_rows(opened, home):
    opened.load_hot(as_of=DAYS[-1])
    lost(home)
    result = opened.rotate(as_of=LATER)
    assert result.failed == []
    assert [Path(moved.path).name for moved in result.moved] == [
        "market_data_1day_20240115_v2.parquet",
        "market_data_1day_20240116.parquet",
    ]
    assert days_of(opened) == DAYS
    assert opened.verify().failed == []


def test_detached_rows_are_kept_while_their_cold_copy_is_not_good(opened, home):
    opened.load_hot(as_of=DAYS[-1])
    opened.rotate(as_of=LATER)
    path = lost(home)
    result = opened.rotate(as_of=opened.today + timedelta(days=30))
    assert [failed.partition.day for failed in result.failed] == DAYS[:1]
    assert "its detached rows were kept" in result.failed[0].reason
    assert [partition.day for partition in result.released] == DAYS[1:]
    assert opened.undo("market_data", start=DAYS[0], end=DAYS[1]).failed == []
    assert not path.exists()
    assert days_of(opened) == DAYS


def test_a_rotation_never_drops_what_it_has_just_detached(opened):
    opened.load_hot(as_of=DAYS[-1])
    ahead = opened.today + timedelta(days=400)
    assert opened.rotate(as_of=ahead).released == []
    assert len(opened.undo("market_data").moved) == 2


def test_rows_that_bring_an_ingested_at_of_their_own_still_win(opened):
    exported = opened.query("market_data", end="2024-01-16").to_arrow()
    price = exported.schema.get_field_index("high")
    edited = exported.set_column(price, exported.schema.field(price), pa.array(["70"]).cast(pa.decimal128(18, 8)))
    opened.ingest("market_data", edited)
    assert str(opened.query("market_data").to_arrow()["high"][0]) == "70.00000000"
