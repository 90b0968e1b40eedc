"""Rows that may not go in: kept until somebody says what becomes of them, which is said once."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from made_rows import DAY, bars

from thermocline.errors import StaleStateError
from thermocline.model.datasets import MARKET_DATA, NEWS
from thermocline.model.partition import Partition
from thermocline.model.rejected import Rejected
from thermocline.ports import AuditQuery, QuarantineQuery, QuarantineState, Verdict
from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.postgres import PostgresHot

RELEASED, DROPPED = QuarantineState.RELEASED, QuarantineState.DROPPED
EVERY_STATE = QuarantineQuery(states=())


@pytest.fixture(params=["memory", "embedded"])
def hot(request):
    if request.param == "memory":
        return MemoryHot()
    return PostgresHot(request.getfixturevalue("new_database")("embedded"))


@pytest.fixture
def hot_kinds():
    return ("embedded",)


def row(number, dataset="market_data", source="made", rules=("ohlc",)):
    return Rejected(dataset, source, "a.csv", f'{{"close": "{number}"}}', f"{rules[0]}: no {number}", rules)


def ids(hot, asked=EVERY_STATE):
    return [each.quarantine_id for each in hot.quarantined(asked)]


def test_rows_are_kept_once_with_their_rules_and_listed_in_order(hot):
    rows = [row(number) for number in range(3)] + [row(0, rules=("nulls", "ohlc")), row(0, "news", "desk")]
    hot.quarantine(rows, run_id="run-1")
    hot.quarantine(rows, run_id="run-2")
    found = hot.quarantined(QuarantineQuery())
    assert [each.row for each in found] == rows
    assert {each.run_id for each in found} == {"run-1"}
    assert {each.state for each in found} == {QuarantineState.KEPT}
    assert ids(hot) == sorted(ids(hot))
    assert all(each.at.tzinfo and each.judged_at is None for each in found)


def test_many_rows_at_once_are_kept_once_too(hot):
    rows = [row(number) for number in range(1200)]
    hot.quarantine(rows[:300], run_id="run-1")
    hot.quarantine(rows, run_id="run-2")
    found = hot.quarantined(EVERY_STATE)
    assert sorted(each.row.record for each in found) == sorted(each.record for each in rows)
    assert [each.run_id for each in found].count("run-2") == 900


def test_rows_are_found_by_what_they_are(hot):
    hot.quarantine([row(1), row(2, rules=("nulls", "volume")), row(3, "news", "desk")], run_id="run")

    def found(**asked):
        return [each.row.record[-3] for each in hot.quarantined(QuarantineQuery(**asked))]

    assert found(datasets=[MARKET_DATA]) == ["1", "2"]
    assert found(sources=["desk"]) == ["3"]
    assert found(rules=["volume", "keys"]) == ["2"]
    assert found(ids=ids(hot)[1:], datasets=[MARKET_DATA]) == ["2"]
    assert found(limit=1) == ["1"]
    assert found(states=[DROPPED]) == []


def test_groups_count_rows_that_break_the_same_rules(hot):
    hot.quarantine([row(1), row(2), row(3, source="desk"), row(4, rules=("nulls", "ohlc"))], run_id="run")
    groups = hot.quarantine_groups(QuarantineQuery())
    assert [(group.source, group.rules, group.rows) for group in groups] == [
        ("made", ("ohlc",), 2),
        ("desk", ("ohlc",), 1),
        ("made", ("nulls", "ohlc"), 1),
    ]
    assert groups[0].example == "ohlc: no 1"
    assert groups[0].first_at <= groups[0].last_at


def test_what_was_said_of_a_row_stands_with_who_said_it(hot):
    hot.quarantine([row(1), row(2)], run_id="run-1")
    first, second = ids(hot)
    hot.judge(Verdict(MARKET_DATA, [first], DROPPED, "made up"), run_id="run-2")
    hot.quarantine([row(1), row(2)], run_id="run-3")
    assert ids(hot, QuarantineQuery()) == [second]
    (dropped,) = hot.quarantined(QuarantineQuery(states=[DROPPED]))
    assert (dropped.why, dropped.judged_run, bool(dropped.judged_by)) == ("made up", "run-2", True)
    assert dropped.judged_at >= dropped.at
    (act,) = hot.audit(AuditQuery(names=["quarantine-drop"]))
    assert (act.run_id, act.detail["rows"], act.detail["reason"]) == ("run-2", 1, "made up")


def test_released_rows_are_accepted_in_the_same_moment_and_never_twice(hot):
    day = Partition("market_data", "1min", DAY)
    hot.quarantine([row(1)], run_id="run-1")
    verdict = Verdict(MARKET_DATA, ids(hot), RELEASED, "checked")
    table = pa.Table.from_batches([bars(day)])

    def release():
        return hot.ingest(MARKET_DATA, table, hot_days=[day], run_id="run-2", verdict=verdict)

    assert release().hot_rows == len(table)
    with pytest.raises(StaleStateError, match="nothing was changed"):
        release()
    assert len(hot.audit(AuditQuery(names=["ingest"]))) == 1
    assert [each.state for each in hot.quarantined(EVERY_STATE)] == [RELEASED]
    assert [leaf.rows for leaf in hot.leaves(MARKET_DATA)] == [len(table)]


def test_a_verdict_on_rows_of_another_dataset_or_judged_ones_changes_nothing(hot):
    hot.quarantine([row(1), row(2, "news")], run_id="run-1")
    with pytest.raises(StaleStateError, match="1 of these rows"):
        hot.judge(Verdict(NEWS, ids(hot), DROPPED), run_id="run-2")
    assert len(ids(hot, QuarantineQuery())) == 2


def test_only_judged_rows_can_be_purged(hot):
    hot.quarantine([row(1), row(2)], run_id="run-1")
    hot.judge(Verdict(MARKET_DATA, ids(hot)[:1], DROPPED), run_id="run-2")
    now = datetime.now(UTC)
    assert hot.purge(EVERY_STATE, before=now - timedelta(days=1), run_id="run-3") == 0
    assert hot.purge(EVERY_STATE, before=now + timedelta(days=1), run_id="run-4") == 1
    assert [each.row for each in hot.quarantined(EVERY_STATE)] == [row(2)]
    assert [act.detail["rows"] for act in hot.audit(AuditQuery(names=["quarantine-purge"]))] == [1, 0]
