"""What every ledger promises of vintages that expire, and of objects that nothing names."""

import pytest
from hot_acts import day, publish, receipt_of
from made_rows import bars

from thermocline.model.datasets import MARKET_DATA, NEWS
from thermocline.model.partition import ALL_DAYS
from thermocline.model.receipt import VintageState
from thermocline.model.restatement import Restatement
from thermocline.ports import AuditQuery, Holding, Publication
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog, MemoryObjects
from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.postgres import PostgresHot


@pytest.fixture(params=["memory", "embedded"])
def hot(request):
    if request.param == "memory":
        return MemoryHot()
    return PostgresHot(request.getfixturevalue("new_database")(request.param))


@pytest.fixture
def lake():
    return ParquetLake(MemoryObjects(), MemoryCatalog())


def noted(hot) -> list[str]:
    return [each.path for each in hot.unnamed(MARKET_DATA)]


def test_a_superseded_vintage_expires_and_its_object_is_noted(hot, lake):
    [old] = publish(hot, lake, bars(day()))
    [live] = publish(hot, lake, bars(day(), close="1"))
    assert noted(hot) == []
    with hot.writer(MARKET_DATA) as writer:
        writer.expire([old], run_id="expire")
    assert noted(hot) == [old.receipt.path]
    assert [(v.receipt, v.state) for v in hot.vintages(MARKET_DATA, ALL_DAYS)] == [
        (old.receipt, VintageState.EXPIRED),
        (live.receipt, VintageState.PUBLISHED),
    ]
    [act] = hot.audit(AuditQuery(names=["expire"]))
    assert (act.run_id, act.dataset, len(act.detail["vintages"])) == ("expire", "market_data", 1)


def test_a_live_vintage_never_expires(hot, lake):
    [live] = publish(hot, lake, bars(day()))
    with hot.writer(MARKET_DATA) as writer:
        writer.expire([live], run_id="expire")
    assert hot.live(MARKET_DATA, ALL_DAYS) == [live]
    assert noted(hot) == []


def test_an_object_that_a_kept_vintage_shares_is_not_noted(hot, lake):
    first, second = publish(hot, lake, bars(day()), bars(day(1)))
    shared = lake.combine([first.receipt, second.receipt])
    with hot.writer(MARKET_DATA) as writer:
        writer.publish(Publication(MARKET_DATA, None, "compact", relocated=shared))
    assert sorted(noted(hot)) == sorted([first.receipt.path, second.receipt.path])
    publish(hot, lake, bars(day(), close="1"))
    superseded = next(v for v in hot.vintages(MARKET_DATA, ALL_DAYS) if v.superseded_at)
    with hot.writer(MARKET_DATA) as writer:
        writer.expire([superseded], run_id="expire")
    assert shared[0].path not in noted(hot), "the other day lies in it"


def test_what_is_published_or_relocated_to_is_no_longer_noted(hot, lake):
    with hot.writer(MARKET_DATA) as writer:
        left = receipt_of(writer, lake, bars(day()))
        writer.note_unnamed([left.path])
        assert noted(hot) == [left.path]
        writer.publish(Publication(MARKET_DATA, None, "run", [left]))
        assert noted(hot) == []
        writer.note_unnamed([left.path])
        assert noted(hot) == []


def test_what_is_held_is_no_longer_noted_so_that_its_grace_begins_anew_when_it_loses_its_name(hot, lake):
    with hot.writer(MARKET_DATA) as writer:
        left = receipt_of(writer, lake, bars(day()))
        writer.note_unnamed([left.path])
        writer.hold([Holding(left, Restatement(1, 0, 1, 1))], run_id="run")
        assert noted(hot) == []
        [held] = hot.vintages(MARKET_DATA, ALL_DAYS)
        writer.publish(Publication(MARKET_DATA, None, "run", accepted=[held]))
        assert noted(hot) == []


def test_a_note_keeps_the_time_it_was_made_at(hot):
    with hot.writer(MARKET_DATA) as writer:
        writer.note_unnamed(["cold_storage/market_data/x.parquet"])
        before = hot.unnamed(MARKET_DATA)
        writer.note_unnamed(["cold_storage/market_data/x.parquet"])
    assert hot.unnamed(MARKET_DATA) == before


def test_what_was_noted_may_go_unless_it_is_named_again_or_was_never_noted(hot, lake):
    with hot.writer(MARKET_DATA) as writer:
        left, kept = (receipt_of(writer, lake, bars(day(number))) for number in range(2))
        writer.note_unnamed([left.path, kept.path])
        assert writer.may_go(left.path)
        assert not writer.may_go("cold_storage/market_data/unknown.parquet")
        writer.publish(Publication(MARKET_DATA, None, "run", [kept]))
        assert not writer.may_go(kept.path)
        writer.gone(left.path, size_bytes=left.size_bytes, run_id="expire")
        assert not writer.may_go(left.path)
    assert noted(hot) == []
    [act] = hot.audit(AuditQuery(names=["delete-object"]))
    assert act.detail["path"] == left.path
    assert act.detail["bytes"] == left.size_bytes


def test_notes_of_one_dataset_are_not_those_of_another(hot):
    with hot.writer(NEWS) as writer:
        writer.note_unnamed(["cold_storage/news/x.parquet"])
    assert noted(hot) == []
    assert [each.path for each in hot.unnamed(NEWS)] == ["cold_storage/news/x.parquet"]
