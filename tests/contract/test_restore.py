"""What every ledger promises to one who fills it with vintages as they were."""

from datetime import timedelta

import pytest
from hot_acts import answer, assert_answers, day, ingest, publish
from made_rows import NOON, bars

from thermocline.errors import StaleStateError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS
from thermocline.model.receipt import Vintage, VintageState
from thermocline.tasks.archive import archive


@pytest.fixture
def vintages(lake):
    """A superseded vintage, the live one after it, one that is held, one of another day that was withdrawn."""
    written = [archive(lake, day(), version, [bars(day(), close=str(version))], run_id="r") for version in (1, 2, 3)]
    gone = archive(lake, day(1), 1, [bars(day(1))], run_id="r")
    later = NOON + timedelta(hours=1)
    return [
        Vintage(written[0], NOON, later),
        Vintage(written[1], later),
        Vintage(written[2], later, None, VintageState.HELD, "it changes much"),
        Vintage(gone, NOON, later),
    ]


def restore(hot, vintages, **given):
    with hot.writer(MARKET_DATA) as writer:
        writer.restore(vintages, "h", run_id="run", **given)
        assert writer.head() == "h"


def test_vintages_come_back_with_versions_times_and_states(hot, lake, vintages):
    restore(hot, vintages)
    assert hot.vintages(MARKET_DATA, ALL_DAYS) == vintages
    assert hot.live(MARKET_DATA, ALL_DAYS) == [vintages[1]]
    assert_answers(hot, lake, bars(day(), close="2"))
    act = hot.last("recover", MARKET_DATA)
    assert act.detail == {"dataset": "market_data", "vintages": 4, "days": 1, "rows": 6}
    with hot.writer(MARKET_DATA) as writer:
        assert writer.next_versions([day(), day(1)]) == {day(): 4, day(1): 2}


def test_a_ledger_that_knows_vintages_is_left_as_it_is(hot, lake, vintages):
    publish(hot, lake, bars(day(5)))
    known = hot.vintages(MARKET_DATA, ALL_DAYS)
    with pytest.raises(StaleStateError, match="nothing was changed"):
        restore(hot, vintages)
    assert hot.vintages(MARKET_DATA, ALL_DAYS) == known
    assert hot.last("recover", MARKET_DATA) is None


def test_rows_that_are_hot_or_late_stay(hot, lake, vintages):
    ingest(hot, bars(day(7)), hot_days=[day(7)])
    ingest(hot, bars(day(), symbols=["NEW"]))
    restore(hot, vintages)
    assert len(answer(hot, lake)) == 6 + 6 + 3


@pytest.mark.parametrize("withdrawn", [False, True])
def test_a_clock_that_was_set_back_does_not_change_what_was_live_before(hot, lake, withdrawn):
    century = timedelta(days=36_525)
    first, second = (archive(lake, day(), v, [bars(day(), close=str(v))], run_id="r") for v in (1, 2))
    end = NOON + 2 * century if withdrawn else None
    restore(hot, [Vintage(first, NOON, NOON + century), Vintage(second, NOON + century, end)])
    [third] = publish(hot, lake, bars(day(), close="3"))
    assert third.published_at >= (end or NOON + century)
    with hot.snapshot([MARKET_DATA], ALL_DAYS) as snapshot:
        for instant, receipt in (
            (NOON, first),
            (NOON + century - timedelta(microseconds=1), first),
            (third.published_at, third.receipt),
        ):
            assert [vintage.receipt for vintage in snapshot.as_of(instant)] == [receipt]
