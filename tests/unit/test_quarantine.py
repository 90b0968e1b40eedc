"""The gate and the quarantine behind it: what is kept, what stops a batch, and what is released or dropped."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from thermocline.errors import StaleStateError, TooManyBadRowsError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.offenders import UNKNOWN_SERIES
from thermocline.model.records import as_json, as_table
from thermocline.model.rules import Severity, Strictness, Validation
from thermocline.ports import AuditQuery, Fetched, QuarantineQuery, QuarantineState
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog, MemoryObjects
from thermocline.stores.memory_hot import MemoryHot
from thermocline.tasks.gate import SPECIMENS, Gate
from thermocline.tasks.quarantine import apply_judgement, plan_drop, plan_release

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
START = datetime(2024, 1, 2, 14, tzinfo=UTC)
KEPT = QuarantineQuery()
VALIDATION = Validation(min_bad_rows=3)
LAKE = ParquetLake(MemoryObjects(), MemoryCatalog())


def bars(count=10, **changed):
    """Bars a minute apart; a list changes that many of the first."""
    columns = {
        "asset_class": "equity", "symbol": "AAPL", "interval": "1min", "open": "2", "high": "3", "low": "1",
        "close": "2.5", "volume": "10",
    }  # fmt: skip
    made = {name: [value] * count for name, value in columns.items()}
    made["ts"] = [(START + timedelta(minutes=minute)).isoformat() for minute in range(count)]
    for name, values in changed.items():
        made[name][: len(values)] = values
    return pa.table(made)


@pytest.fixture
def hot():
    return MemoryHot()


def gate_to(hot, validation=VALIDATION):
    def keep(rejected):
        hot.quarantine(rejected, run_id="run")

    return Gate(MARKET_DATA, "made", keep, NOW, validation.rulebook(MARKET_DATA))


def released(hot, validation=VALIDATION, asked=KEPT, *, accept=False, corrections=None):
    before = hot.state
    plan = plan_release(
        hot, LAKE, asked, validation, accept=accept, corrections=corrections or {}, why="", now=NOW, run_id="release"
    )
    assert hot.state is before, "a plan changes nothing"
    return apply_judgement(hot, plan, Lifecycle(), as_of=date(2024, 6, 1))


def put_in_quarantine(hot, *tables):
    gate = gate_to(hot, Validation())
    for number, table in enumerate(tables):
        gate.admit(Fetched(table, f"page {number}"))
    gate.finish()


def closes(hot):
    return [row["close"] for table in hot.state.late.values() for part in table for row in part.to_pylist()]


# -------------------------------------------------------------------------------------------------------------- gate


def test_good_rows_go_on_and_bad_ones_are_kept_with_reason_source_and_origin(hot):
    gate = gate_to(hot, Validation())
    unreadable = (("1,2", "2 fields where 9 are"),)
    assert len(gate.admit(Fetched(bars(volume=["-1", "x"]), "a.csv", unreadable))) == 8
    gate.finish()
    found = [(each.row.rules, each.row.source, each.row.origin) for each in hot.quarantined(KEPT)]
    assert found == [(rules, "made", "a.csv") for rules in (("unreadable",), ("volume",), ("types",))]
    assert gate.verdicts.document() == {
        "rejected": 3,
        "rejected_by": {"types": 1, "volume": 1, "unreadable": 1},
        "warned_by": {},
        "cleared_by": {},
    }
    assert gate.verdicts.rows == 11
    series = next(series for series in gate.verdicts.quarantined if series != UNKNOWN_SERIES)
    assert gate.verdicts.quarantined[UNKNOWN_SERIES] == 1
    assert (series.symbol, gate.verdicts.quarantined[series]) == ("AAPL", 2)


@pytest.mark.parametrize(("bad", "stops"), [(2, False), (3, True), (4, True)])
def test_a_page_with_too_many_bad_rows_stops_the_batch(hot, bad, stops):
    gate = gate_to(hot)
    page = Fetched(bars(volume=["-1"] * bad), "a.csv")
    if stops:
        with pytest.raises(
            TooManyBadRowsError, match=rf"^a.csv: {bad} of 10 rows may not go in \(volume {bad}\)"
        ) as told:
            gate.admit(page)
        for words in ("nothing was written", "thermocline quarantine list market_data", "--max-bad-share 1"):
            assert words in str(told.value)
    else:
        gate.admit(page)
        gate.finish()
    assert len(hot.quarantined(KEPT)) == bad


def test_pages_that_pass_alone_stop_the_run_together(hot):
    gate = gate_to(hot, Validation(min_bad_rows=5))
    for number in range(2):
        gate.admit(Fetched(bars(volume=["-1"] * 3), f"page {number}"))
    with pytest.raises(TooManyBadRowsError, match="made: 6 of 20 rows"):
        gate.finish()
    assert len(hot.quarantined(KEPT)) == 6


def test_of_a_batch_that_stops_some_rows_of_each_kind_are_kept(hot):
    many = SPECIMENS + 500
    table = bars(many + 1, volume=["-1"] * many, low=["0"])
    with pytest.raises(TooManyBadRowsError):
        gate_to(hot).admit(Fetched(table, "a.csv"))
    kinds = {group.rules: group.rows for group in hot.quarantine_groups(KEPT)}
    assert kinds == {("volume",): SPECIMENS, ("positive_prices", "volume"): 1}


def test_where_it_is_allowed_every_bad_row_is_kept(hot):
    gate = gate_to(hot, VALIDATION.for_run(None, 1.0))
    gate.admit(Fetched(bars(SPECIMENS + 5, volume=["-1"] * (SPECIMENS + 5)), "a.csv"))
    gate.finish()
    assert len(hot.quarantined(KEPT)) == SPECIMENS + 5


# ----------------------------------------------------------------------------------------------------------- records


def test_a_row_is_the_same_after_it_was_kept_as_json():
    rows = pa.table(
        {
            "text": ['a "quoted" \\ line\nand more', None],
            "number": [1.5, -0.1],
            "whole": [1, 2**60],
            "mixed": ["x", "1"],
            "truth": [True, None],
        }
    )
    assert as_table([json.loads(record) for record in as_json(rows)]).equals(rows)


# ------------------------------------------------------------------------------------------------ released, dropped


def test_rows_that_pass_now_are_released_once_and_the_others_say_why_they_stay(hot):
    put_in_quarantine(hot, bars(volume=["-1"], close=["2.5", "9"], open=["2", "2", "x"]))
    lenient = Validation(rules={"market_data": {"ohlc": Severity.WARN}})
    done = released(hot, lenient)
    assert (done.rows, len(done.stays)) == (1, 2)
    assert closes(hot) == [9]
    assert [each.reason.partition(":")[0] for each in done.stays] == ["breaks volume", "open"]
    (row,) = hot.quarantined(QuarantineQuery(states=[QuarantineState.RELEASED]))
    assert (row.row.rules, row.judged_run) == (("ohlc",), "release")
    assert released(hot, lenient).rows == 0
    assert closes(hot) == [9]


def test_a_rule_can_be_overruled_but_not_a_type(hot):
    put_in_quarantine(hot, bars(volume=["-1", "x"], open=["2", "2", ""]))
    done = released(hot, accept=True)
    assert done.rows == 1
    assert [each.reason for each in done.stays] == ["volume: 'x' is not a number", "open: is missing"]


def test_a_row_that_gave_way_to_another_of_its_key_takes_its_place_only_when_that_is_said(hot):
    same = {"ts": [START.isoformat()] * 2}
    put_in_quarantine(hot, bars(2, close=["2.25", "2.5"], **same))
    assert "--accept puts this one in its place" in released(hot).stays[0].reason
    assert released(hot, accept=True).rows == 1
    assert closes(hot)[-1] == 2.25


def test_rows_can_be_corrected_on_their_way(hot):
    put_in_quarantine(hot, bars(3, open=["x", "", "2"]))
    assert released(hot, corrections={"open": "2.25"}).rows == 2


def test_what_was_never_a_row_stays(hot):
    gate = gate_to(hot)
    gate.admit(Fetched(bars(1), "a.csv", (("1,2", "2 fields where 9 are"),)))
    gate.finish()
    (stays,) = released(hot, accept=True).stays
    assert "could not be read" in stays.reason


def test_rows_without_a_column_that_must_be_there_stay(hot):
    put_in_quarantine(hot, bars(1, volume=["-1"]))
    (kept,) = hot.quarantined(KEPT)
    record = json.loads(kept.row.record)
    del record["close"]
    hot.state.quarantine.clear()
    hot.quarantine([replace(kept.row, record=json.dumps(record))], run_id="run")
    (stays,) = released(hot, accept=True).stays
    assert "column close is missing" in stays.reason


def test_a_row_does_not_take_the_place_of_one_of_its_key_that_came_since(hot):
    put_in_quarantine(hot, bars(2, volume=["-1", "-1"]))
    good = gate_to(hot).admit(Fetched(bars(1, close=["2.75"]), "mended"))
    hot.ingest(MARKET_DATA, good, hot_days=set(), run_id="good")
    done = released(hot, corrections={"volume": "1"})
    assert (done.rows, [each.reason for each in done.stays]) == (
        1, ["another row of its key is in; --accept puts this one in its place"],
    )  # fmt: skip
    assert sorted(map(float, closes(hot))) == [2.5, 2.75]
    (left,) = hot.quarantined(KEPT)
    assert released(hot, accept=True, corrections={"volume": "1"}).rows == 1
    assert hot.quarantined(KEPT) == []
    assert left.row.origin == "page 0"


def test_of_rows_of_one_key_from_several_pages_the_last_is_released_and_the_others_stay(hot):
    pages = [bars(1, volume=["-1"], close=[close]) for close in ("2", "2.25", "2.25")]
    put_in_quarantine(hot, *pages)
    done = released(hot, corrections={"volume": "1"})
    assert [each.quarantine_id for each in done.stays] == [1, 2]
    assert list(map(float, closes(hot))) == [2.25]
    assert released(hot, corrections={"volume": "1"}).document()["datasets"]["market_data"]["ids"] == [2]


def test_a_plan_that_somebody_else_overtook_changes_nothing(hot):
    put_in_quarantine(hot, bars(volume=["-1"]))
    late = plan_release(hot, LAKE, KEPT, VALIDATION, accept=True, corrections={}, why="", now=NOW, run_id="late")
    dropped = apply_judgement(hot, plan_drop(hot, KEPT, why="odd", run_id="drop"), Lifecycle(), as_of=NOW.date())
    assert dropped.document()["datasets"]["market_data"]["rows"] == 1
    with pytest.raises(StaleStateError):
        apply_judgement(hot, late, Lifecycle(), as_of=NOW.date())
    assert closes(hot) == []
    assert [act.name for act in hot.audit(AuditQuery())] == ["quarantine-drop"]


def test_released_rows_that_are_not_strict_go_in_as_they_are(hot):
    put_in_quarantine(hot, bars(volume=["-1"]))
    assert released(hot, Validation(strictness=Strictness.OFF)).rows == 1
