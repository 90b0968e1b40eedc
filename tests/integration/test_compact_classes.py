"""Compaction and storage classes: what is archived or billed for a while yet is left, and why is said."""

from datetime import UTC, date, datetime, timedelta

import pytest
from lake_world import LIFECYCLE
from made_rows import bars

from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS, Partition
from thermocline.model.prices import ClassPrice, PriceBook
from thermocline.model.storage_classes import Provider
from thermocline.ports import Publication
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog, MemoryObjects
from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.retrying import RetryingObjects
from thermocline.tasks.archive import settled_head
from thermocline.tasks.compact import Compaction

TODAY = datetime.now(UTC).date()
USD = 0.0125
PRICES = PriceBook(Provider.S3, "here", {"STANDARD_IA": ClassPrice(USD)}, 0.1, "made up", date(2026, 1, 1))


@pytest.fixture
def world():
    """A hot tier and a lake of S3 with two days of January and two of February 2020, each in its own object."""
    lake, hot = ParquetLake(RetryingObjects(MemoryObjects(Provider.S3)), MemoryCatalog()), MemoryHot()
    with hot.writer(MARKET_DATA) as writer:
        head = settled_head(writer, lake, MARKET_DATA, run_id="made")
        days = [Partition("market_data", "1min", date(2020, month, number)) for month in (1, 2) for number in (2, 3)]
        receipts = [lake.write(day, 1, [bars(day)], run_id="made") for day in days]
        head = lake.publish(MARKET_DATA, added=receipts, removed=(), expected_head=head, run_id="made")
        writer.publish(Publication(MARKET_DATA, head, "made", receipts))
    return hot, lake


def compaction(world, **options):
    hot, lake = world
    return Compaction(hot, lake, LIFECYCLE, **{"as_of": TODAY, "prices": PRICES, **options})


def move(world, storage_class, count=1):
    lake = world[1]
    for stored in list(lake.survey(MARKET_DATA))[:count]:
        lake.classes.transition(stored, storage_class)


def test_what_is_archived_is_never_brought_together(world):
    move(world, "DEEP_ARCHIVE")
    plan = compaction(world).plan([MARKET_DATA])
    [left] = plan.left
    assert (plan.periods, str(left.period), left.until) == ([], "2020", None)
    assert "archived in DEEP_ARCHIVE" in left.document()["reason"]
    before = set(world[1].objects_of(MARKET_DATA))
    done = compaction(world, pay_early=True).run([MARKET_DATA], run_id="compact")
    assert (done.periods, len(done.left), done.failed) == ([], 1, [])
    assert set(world[1].objects_of(MARKET_DATA)) == before


def test_what_is_billed_for_a_while_yet_is_left_until_that_is_over_with_the_price_of_not_waiting(world):
    move(world, "STANDARD_IA", 2)
    [left] = compaction(world).plan([MARKET_DATA]).left
    assert left.until == TODAY + timedelta(days=31), "the thirtieth day is only over in its course"
    # Two objects of less than 128 KiB are billed as that for the 30 days that are missing.
    wanted = 2 * (128 << 10) / (1 << 30) * USD * 30 / (365 / 12)
    assert left.penalty_usd == pytest.approx(wanted, rel=1e-9)
    assert left.document()["penalty_usd"] == left.penalty_usd
    assert compaction(world, as_of=left.until - timedelta(days=1)).plan([MARKET_DATA]).periods == []
    assert [str(each) for each in compaction(world, as_of=left.until).plan([MARKET_DATA]).periods] == ["2020"]
    assert compaction(world, prices=None).plan([MARKET_DATA]).left[0].penalty_usd is None


def test_who_pays_for_it_has_it_now(world):
    move(world, "STANDARD_IA")
    done = compaction(world, pay_early=True).run([MARKET_DATA], run_id="compact")
    assert ([str(each) for each in done.periods], done.left) == (["2020"], [])
    hot, lake = world
    assert (
        len({vintage.receipt.path for vintage in hot.live(MARKET_DATA, ALL_DAYS)}) == len(lake.paths(MARKET_DATA)) == 1
    )
