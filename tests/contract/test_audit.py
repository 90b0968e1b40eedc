"""What every audit log promises: each act is in it, with who, when, what and under which run, and stays in it."""

from datetime import UTC, datetime, timedelta

import pytest
from hot_acts import day, ingest, load, publish, rotate
from made_rows import DAY, NOON, bars

from thermocline.errors import HotStoreError
from thermocline.model.datasets import MARKET_DATA, NEWS
from thermocline.model.partition import ALL_DAYS, DayRange
from thermocline.ports import Act, AuditQuery, Publication
from thermocline.stores.client import client_name
from thermocline.tasks.delete import Deletion, delete

ALL = AuditQuery()
WEEK = DAY + timedelta(days=7)


def test_a_line_says_what_was_done_when_by_whom_with_what_and_under_which_run(hot):
    before = datetime.now(UTC) - timedelta(minutes=1)
    forged = Act("vacuum", day(), "run-1", {"tables": 2}, NOON, "nobody", "nothing")
    hot.record(forged)
    [line] = hot.audit(ALL)
    assert (line.name, line.partition, line.run_id, line.detail) == ("vacuum", day(), "run-1", {"tables": 2})
    assert before < line.at < before + timedelta(minutes=2)
    assert line.client == client_name()
    assert line.actor not in {"", "nobody"}
    assert line.document() == {
        "at": line.at.isoformat(),
        "act": "vacuum",
        "dataset": "market_data",
        "interval": "1min",
        "day": "2024-01-15",
        "run_id": "run-1",
        "actor": line.actor,
        "client": line.client,
        "detail": {"tables": 2},
    }


def test_lines_come_newest_first_and_only_those_that_are_asked_for(hot):
    hot.record(Act("vacuum", None, "run-1", {"dataset": "market_data"}))
    hot.record(Act("rotate", day(), "run-1"))
    hot.record(Act("rotate", day(1), "run-2"))
    hot.record(Act("vacuum", None, "run-2", {"dataset": "news"}))
    hot.record(Act("stop", None, "run-3"))

    def found(**asked):
        return [(act.name, act.run_id) for act in hot.audit(AuditQuery(**asked))]

    assert [act.name for act in hot.audit(ALL)] == ["stop", "vacuum", "rotate", "rotate", "vacuum"]
    assert found(limit=2) == [("stop", "run-3"), ("vacuum", "run-2")]
    assert found(datasets=[NEWS]) == [("vacuum", "run-2")]
    assert found(names=["rotate"]) == [("rotate", "run-2"), ("rotate", "run-1")]
    assert found(names=["rotate", "stop"], run_id="run-2") == [("rotate", "run-2")]
    assert found(run_id="nobody's") == []
    third = hot.audit(ALL)[2].at
    assert [act.at for act in hot.audit(AuditQuery(start=third))][-1] == third
    assert len(hot.audit(AuditQuery(start=third))) == 3
    assert len(hot.audit(AuditQuery(end=third))) == 2


def test_every_act_on_a_day_leaves_a_line_under_its_own_run(hot, lake):
    [vintage] = publish(hot, lake, bars(day()), hot_rows={day(1): [bars(day(1))]})
    load(hot, lake, vintage, until=WEEK)
    with hot.writer(MARKET_DATA) as writer:
        writer.keep(day(), WEEK, run_id="keep")
    rotate(hot, lake, day(1))
    [detached] = hot.detached(MARKET_DATA)
    with hot.writer(MARKET_DATA) as writer:
        writer.undo(detached, run_id="undo", until=WEEK)
    ingest(hot, bars(day(2)))
    rotate(hot, lake, day(2))
    rotate(hot, lake, day(1))
    [detached] = hot.detached(MARKET_DATA)
    with hot.writer(MARKET_DATA) as writer:
        writer.release(detached, run_id="release")
        writer.delete(ALL_DAYS, ["1min"], ["AAPL"], run_id="delete")
    lines = {act.name: act for act in hot.audit(ALL)}
    assert [act.name for act in reversed(hot.audit(ALL))] == [
        "publish", "rehydrate", "rehydrate", "rotate", "undo", "ingest", "fold", "rotate", "release", "delete",
    ]  # fmt: skip
    path = vintage.receipt.path
    assert lines["publish"].detail == {
        "dataset": "market_data",
        "first": "2024-01-15",
        "last": "2024-01-16",
        "intervals": ["1min"],
        "vintages": 1,
        "rows": 6,
        "bytes": vintage.receipt.size_bytes,
        "paths": [path],
        "relocated": 0,
        "withdrawn": [],
        "merged_hot": ["market_data/1min/2024-01-16"],
    }
    kept, loaded = hot.audit(AuditQuery(names=["rehydrate"]))
    assert (kept.run_id, kept.detail) == ("keep", {"until": "2024-01-22"})
    assert (loaded.run_id, loaded.partition) == ("load", day())
    assert loaded.detail == {"rows": 6, "version": 1, "path": path, "until": "2024-01-22"}
    rotated = hot.audit(AuditQuery(names=["rotate"]))[0].detail
    assert rotated.keys() == {"rows", "version", "path", "written", "kept_as"}
    assert (rotated["rows"], rotated["written"]) == (6, True)
    assert lines["undo"].detail == {"rows": 6, "version": 1, "until": "2024-01-22"}
    assert lines["undo"].run_id == "undo"
    assert (lines["ingest"].detail["first"], lines["ingest"].detail["late_rows"]) == ("2024-01-17", 6)
    assert (lines["fold"].partition, lines["fold"].detail["rows"]) == (day(2), 6)
    assert lines["release"].detail["table"] == rotated["kept_as"]
    assert lines["delete"].detail == {
        "dataset": "market_data",
        "rows": 3,
        "start": "0001-01-01",
        "end": "9999-12-31",
        "intervals": ["1min"],
        "symbols": ["AAPL"],
    }


def test_a_load_without_an_end_is_called_a_load_under_the_run_that_loaded(hot, lake):
    [vintage] = publish(hot, lake, bars(day()))
    load(hot, lake, vintage)
    [loaded] = hot.audit(AuditQuery(names=["load"]))
    assert (loaded.run_id, vintage.receipt.run_id) == ("load", "run")
    assert loaded.detail == {"rows": 6, "version": 1, "path": vintage.receipt.path}


def test_rows_that_are_merged_into_hot_alone_leave_a_line_and_what_changes_nothing_leaves_none(hot):
    with hot.writer(MARKET_DATA) as writer:
        writer.publish(Publication(MARKET_DATA, "17", "run"))
        assert hot.audit(ALL) == []
        writer.publish(Publication(MARKET_DATA, None, "run"), {day(): [bars(day())]})
    [line] = hot.audit(ALL)
    assert line.detail["merged_hot"] == ["market_data/1min/2024-01-15"]


def test_a_delete_from_the_lake_is_called_so(hot, lake):
    publish(hot, lake, bars(day()))
    with hot.writer(MARKET_DATA) as writer:
        writer.publish(Publication(MARKET_DATA, lake.head(MARKET_DATA), "run"))
    asked = Deletion(MARKET_DATA, DayRange(DAY, WEEK), symbols=["AAPL"])
    delete(hot, lake, asked, run_id="gone")
    cold, warm = reversed(hot.audit(AuditQuery(run_id="gone")))
    assert (cold.name, cold.detail["vintages"], cold.detail["rows"]) == ("delete", 1, 3)
    assert (warm.name, warm.detail["rows"]) == ("delete", 0)


def test_what_an_act_that_failed_would_have_said_is_not_there(hot):
    def broken():
        yield bars(day(1))
        raise ConnectionError

    with hot.writer(MARKET_DATA) as writer, pytest.raises(ConnectionError):
        writer.publish(Publication(MARKET_DATA, None, "run"), {day(1): broken()})
    assert hot.audit(ALL) == []


def test_the_guard_says_who_owns_the_log_and_how_it_could_be_changed(hot):
    guard = hot.audit_guard()
    assert guard.owner
    assert guard.gaps
    assert not guard.holds


def test_a_log_that_could_still_be_changed_is_not_given_away(hot):
    owner = hot.audit_guard().owner
    with pytest.raises(HotStoreError):
        hot.protect_audit("thermocline_auditor", run_id="run")
    assert hot.audit_guard().owner == owner
    assert hot.audit(ALL) == []
