"""What every hot tier and lake promise of vintages that are not live any more, or not yet."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hot_acts import day, ingest, load, publish, receipt_of, table
from made_rows import LATER, as_sorted_lists, bars

from thermocline.errors import LakeError, StaleStateError
from thermocline.model.datasets import MARKET_DATA, NEWS
from thermocline.model.partition import ALL_DAYS, DayRange
from thermocline.model.query import Query
from thermocline.model.receipt import VintageState
from thermocline.model.restatement import Restatement
from thermocline.ports import Holding, HotDay, Publication
from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.postgres import PostgresHot
from thermocline.tasks.explain import explain
from thermocline.tasks.query import query

TICK = timedelta(microseconds=1)


def ticking():
    """A clock on which no two readings are the same."""
    seconds = count()
    return lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(seconds))


@pytest.fixture(params=["memory", "embedded", "external"])
def hot(request):
    if request.param == "memory":
        return MemoryHot(ticking())
    return PostgresHot(request.getfixturevalue("new_database")(request.param))


def read(hot, lake, at, **asked):
    with query(hot, lake, Query(MARKET_DATA, as_of_vintage=at, **asked)) as reader:
        return as_sorted_lists(reader.read_all(), MARKET_DATA)


def rows_of(*batches):
    return as_sorted_lists(table(*batches), MARKET_DATA) if batches else []


def versions(vintages):
    return [(v.partition.interval, v.partition.day, v.receipt.version) for v in vintages]


# -------------------------------------------------------------------------------------------------------------- listing


def test_every_vintage_is_listed_by_interval_day_and_version(hot, lake):
    publish(hot, lake, bars(day(1)), bars(day()), bars(day(1, "1hour")))
    publish(hot, lake, bars(day(), close="200"))
    publish(hot, lake, withdrawn=[day(1)])
    listed = hot.vintages(MARKET_DATA, ALL_DAYS)
    assert versions(listed) == [
        ("1hour", day(1).day, 1),
        ("1min", day().day, 1),
        ("1min", day().day, 2),
        ("1min", day(1).day, 1),
    ]
    assert [v.is_live for v in listed] == [True, False, True, False]
    assert listed[1].superseded_at == listed[2].published_at
    assert versions(hot.vintages(MARKET_DATA, DayRange(day().day, day(1).day))) == [
        ("1min", day().day, 1),
        ("1min", day().day, 2),
    ]
    assert versions(hot.vintages(MARKET_DATA, ALL_DAYS, ["1hour"])) == [("1hour", day(1).day, 1)]
    assert hot.vintages(MARKET_DATA, ALL_DAYS, (), [VintageState.PUBLISHED]) == listed
    assert hot.vintages(MARKET_DATA, ALL_DAYS, (), [VintageState.HELD, VintageState.REJECTED]) == []
    assert hot.vintages(NEWS, ALL_DAYS) == []


# ---------------------------------------------------------------------------------------------------------------- as of


def test_each_day_is_answered_from_the_vintage_that_was_live_at_the_instant(hot, lake):
    [first] = publish(hot, lake, bars(day()))
    [other] = publish(hot, lake, bars(day(1)))
    [second] = publish(hot, lake, bars(day(), close="200"))
    before = rows_of(bars(day()), bars(day(1)))
    after = rows_of(bars(day(), close="200"), bars(day(1)))
    assert read(hot, lake, first.published_at - TICK) == []
    assert read(hot, lake, first.published_at) == rows_of(bars(day()))
    assert read(hot, lake, other.published_at) == before
    assert read(hot, lake, second.published_at - TICK) == before
    assert read(hot, lake, second.published_at) == after
    assert read(hot, lake, second.published_at, end=day(1).start) == rows_of(bars(day(), close="200"))
    assert read(hot, lake, None) == after
    route = explain(hot, Query(MARKET_DATA, as_of_vintage=other.published_at)).route
    assert [v.receipt.path for v in route.vintages] == [first.receipt.path, other.receipt.path]


def test_hot_and_late_rows_are_no_part_of_an_earlier_state(hot, lake):
    vintages = publish(hot, lake, bars(day()), bars(day(1)))
    load(hot, lake, vintages[0])
    ingest(hot, bars(day(), close="300", ingested_at=LATER), bars(day(1), ["IBM"], ingested_at=LATER))
    ingest(hot, bars(day(2)), hot_days=[day(2)])
    at = max(v.published_at for v in vintages)
    assert read(hot, lake, at) == rows_of(bars(day()), bars(day(1)))
    assert read(hot, lake, at + timedelta(days=3650)) == rows_of(bars(day()), bars(day(1)))
    assert len(read(hot, lake, None)) == 6 + 9 + 6


def test_a_day_that_was_withdrawn_is_still_there_before(hot, lake):
    [vintage] = publish(hot, lake, bars(day()))
    publish(hot, lake, withdrawn=[day()])
    [ended] = hot.vintages(MARKET_DATA, ALL_DAYS)
    assert read(hot, lake, vintage.published_at) == rows_of(bars(day()))
    assert read(hot, lake, ended.superseded_at) == []


def test_a_look_into_the_past_stays_the_same_while_it_is_open(hot, lake):
    [vintage] = publish(hot, lake, bars(day()))
    ahead = vintage.published_at + timedelta(days=3650)
    with query(hot, lake, Query(MARKET_DATA, as_of_vintage=ahead)) as reader:
        publish(hot, lake, bars(day(), close="200"))
        assert as_sorted_lists(reader.read_all(), MARKET_DATA) == rows_of(bars(day()))


def test_a_day_whose_vintage_has_expired_is_an_error_and_no_hole(hot, lake):
    [first] = publish(hot, lake, bars(day()))
    [second] = publish(hot, lake, bars(day(), close="200"))
    [other] = publish(hot, lake, bars(day(1)))
    with hot.writer(MARKET_DATA) as writer:
        writer.expire(hot.vintages(MARKET_DATA, ALL_DAYS)[:1], run_id="run")
    with pytest.raises(LakeError, match=r"market_data/1min/2024-01-15: version 1, .* has expired"):
        read(hot, lake, first.published_at)
    assert read(hot, lake, first.published_at, start=day(1).start) == []
    expected = rows_of(bars(day(), close="200"), bars(day(1)))
    assert read(hot, lake, other.published_at) == expected == read(hot, lake, None)
    assert second.receipt.version == 2


# ----------------------------------------------------------------------------------------------------------------- held

CHANGE = Restatement(6, 0, 2, 2)


def hold(hot, lake, batch):
    """Write a batch as a vintage that waits for a person."""
    with hot.writer(MARKET_DATA) as writer:
        receipt = receipt_of(writer, lake, batch)
        writer.hold([Holding(receipt, CHANGE)], run_id="run")
    [vintage] = [v for v in hot.vintages(MARKET_DATA, ALL_DAYS) if v.receipt == receipt]
    return vintage


def accept(hot, vintage, *receipts, rows_if_hot=None):
    with hot.writer(MARKET_DATA) as writer:
        publication = Publication(MARKET_DATA, None, "run", receipts, accepted=[vintage])
        writer.publish(publication, None, rows_if_hot)


def state_of(hot, version):
    [found] = [v for v in hot.vintages(MARKET_DATA, ALL_DAYS) if v.receipt.version == version]
    return found


def test_a_held_vintage_is_listed_with_its_reason_and_not_read(hot, lake):
    [live] = publish(hot, lake, bars(day()))
    held = hold(hot, lake, bars(day(), close="200"))
    assert (held.state, held.reason, held.is_live) == (VintageState.HELD, CHANGE.reason, False)
    assert hot.vintages(MARKET_DATA, ALL_DAYS, (), [VintageState.HELD]) == [held]
    assert hot.live(MARKET_DATA, ALL_DAYS) == [live]
    for at in (None, held.published_at, held.published_at + timedelta(days=3650)):
        assert read(hot, lake, at) == rows_of(bars(day()))
    act = hot.last("hold", MARKET_DATA)
    assert (act.partition, act.run_id, act.detail["symbols_changed"], act.detail["version"]) == (day(), "run", 2, 2)


def test_the_version_of_a_held_or_rejected_vintage_is_not_used_again(hot, lake):
    publish(hot, lake, bars(day()))
    held = hold(hot, lake, bars(day(), close="200"))
    [normal] = publish(hot, lake, bars(day(), close="300"))
    assert (held.receipt.version, normal.receipt.version) == (2, 3)
    with hot.writer(MARKET_DATA) as writer:
        writer.reject([held], run_id="run")
        assert writer.next_versions([day()])[day()] == 4
    assert state_of(hot, 2).state is VintageState.REJECTED
    assert hot.live(MARKET_DATA, ALL_DAYS) == [normal]


def test_an_accepted_vintage_supersedes_the_live_one_at_the_moment_it_is_accepted(hot, lake):
    [live] = publish(hot, lake, bars(day()))
    held = hold(hot, lake, bars(day(), close="200"))
    accept(hot, held)
    accepted, before = state_of(hot, 2), state_of(hot, 1)
    assert accepted.is_live
    assert before.superseded_at == accepted.published_at >= held.published_at
    assert accepted.reason == CHANGE.reason
    assert read(hot, lake, accepted.published_at - TICK) == rows_of(bars(day()))
    assert read(hot, lake, accepted.published_at) == read(hot, lake, None) == rows_of(bars(day(), close="200"))
    act = hot.last("accept", MARKET_DATA)
    assert (act.detail["version"], act.detail["live_version"], act.detail["rows"]) == (2, 2, 6)
    assert live.receipt.version == 1


def test_a_vintage_that_was_merged_into_another_is_not_live_itself(hot, lake):
    publish(hot, lake, bars(day(), ["AAPL"]))
    held = hold(hot, lake, bars(day(), ["MSFT"]))
    with hot.writer(MARKET_DATA) as writer:
        merged = receipt_of(writer, lake, bars(day()))
    accept(hot, held, merged)
    ended = state_of(hot, 2)
    assert (ended.state, state_of(hot, 3).is_live) == (VintageState.REJECTED, True)
    assert ended.reason == f"{CHANGE.reason}; accepted as part of version 3"
    assert hot.last("accept", MARKET_DATA).detail["live_version"] == 3
    assert read(hot, lake, None) == rows_of(bars(day()))


def test_rows_of_an_accepted_vintage_join_a_day_that_is_hot(hot, lake):
    [vintage] = publish(hot, lake, bars(day()))
    load(hot, lake, vintage)
    restated = bars(day(), close="200", ingested_at=LATER)
    held = hold(hot, lake, restated)
    assert read(hot, lake, None) == rows_of(bars(day()))
    accept(hot, held, rows_if_hot={day(): [restated], day(1): [bars(day(1))]})
    assert hot.hot_days(MARKET_DATA) == [HotDay(day(), 2)]
    assert read(hot, lake, None) == rows_of(restated)


@pytest.mark.parametrize("first", ["accepted", "rejected"])
def test_what_is_not_held_any_more_can_be_neither_accepted_nor_rejected(hot, lake, first):
    publish(hot, lake, bars(day()))
    held = hold(hot, lake, bars(day(), close="200"))
    if first == "accepted":
        accept(hot, held)
    else:
        with hot.writer(MARKET_DATA) as writer:
            writer.reject([held], run_id="run", reason="a typo")
        assert state_of(hot, 2).reason == f"{CHANGE.reason}; a typo"
        assert hot.last("reject", MARKET_DATA).detail["reason"] == CHANGE.reason
    before = hot.vintages(MARKET_DATA, ALL_DAYS)
    with pytest.raises(StaleStateError, match="is not held any more"):
        accept(hot, held)
    with hot.writer(MARKET_DATA) as writer, pytest.raises(StaleStateError, match="is not held any more"):
        writer.reject([held], run_id="run")
    assert hot.vintages(MARKET_DATA, ALL_DAYS) == before
