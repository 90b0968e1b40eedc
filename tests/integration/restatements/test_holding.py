"""Restatements of many symbols are held for a person, whether backfilled or ingested; others are not."""

from datetime import timedelta

import pyarrow as pa
import pyarrow.csv
import pytest
from restated import ALL, DAY, FEW, LATER, MANY, NEXT, Bars, bars, closes, journal, states, whole

import thermocline
from thermocline.model.journal import Event
from thermocline.settings import load_settings


def test_a_restatement_of_many_symbols_is_held_and_nothing_that_readers_get_changes(opened):
    done = opened.backfill("market_data", source=Bars(MANY, "2", DAY, NEXT))
    assert (done.written, done.held, [moved.action for moved in done.moved]) == (0, 2, ["held", "held"])
    assert states(opened) == [(1, "published", True), (2, "held", False)]
    [held] = opened.vintages("market_data", states=["held"], end=NEXT)
    assert held.reason == "12 of 20 symbols changed (12 rows changed, 0 added)"
    assert closes(opened) == closes(opened, NEXT) == {1: 20}
    assert journal(opened) == [(Event.HOLD, 2), (Event.HOLD, 2)]
    assert [line.held_partitions for line in opened.status(["market_data"])] == [2]
    whole(opened)


def test_holding_the_same_again_holds_nothing_twice_and_something_else_again(opened):
    first = opened.backfill("market_data", source=Bars(MANY, "2"))
    again = opened.backfill("market_data", source=Bars(MANY, "2"))
    assert (again.held, again.moved) == (1, first.moved)
    assert len(states(opened)) == 2
    opened.backfill("market_data", source=Bars(MANY, "3"))
    assert states(opened) == [(1, "published", True), (2, "held", False), (3, "held", False)]


@pytest.mark.parametrize(
    ("source", "flag", "expected"),
    [
        (Bars(FEW, "2"), False, {1: 17, 2: 3}),
        (Bars([f"N{number}" for number in range(50)], "2"), False, {1: 20, 2: 50}),
        (Bars(MANY, "2"), True, {1: 8, 2: 12}),
    ],
    ids=["few symbols", "only new rows", "accepted in advance"],
)
def test_other_restatements_are_published_at_once(opened, source, flag, expected):
    done = opened.backfill("market_data", source=source, accept_restatements=flag)
    assert (done.written, done.held) == (1, 0)
    assert closes(opened) == expected


def test_the_threshold_can_be_set_and_switched_off(home, new_database):
    url = new_database("embedded")

    def given(**environ):
        variables = {f"THERMOCLINE_STORAGE__LIFECYCLE__RESTATEMENTS__{name}": value for name, value in environ.items()}
        return thermocline.open(settings=load_settings(home, environ={"THERMOCLINE_HOT_URL": url} | variables))

    with given(HOLD_SYMBOLS="0") as opened:
        opened.backfill("market_data", source=Bars(ALL, "1"))
        assert opened.backfill("market_data", source=Bars(ALL, "2")).held == 0
    with given(HOLD_SYMBOLS="3", HOLD_SHARE="0.15") as opened:
        assert opened.backfill("market_data", source=Bars(FEW, "3")).held == 1
    with given(HOLD_SYMBOLS="3", HOLD_SHARE="0.16") as opened:
        assert opened.backfill("market_data", source=Bars(FEW, "4")).held == 0
        assert closes(opened) == {2: 17, 4: 3}


@pytest.mark.parametrize("archived", ["true", "false"])
def test_a_day_that_is_hot_and_published_stays_as_it_is_until_the_restatement_is_accepted(home, new_database, archived):
    environ = {"THERMOCLINE_HOT_URL": new_database("embedded")}
    environ["THERMOCLINE_STORAGE__LIFECYCLE__ARCHIVE_ON_BACKFILL"] = archived
    with thermocline.open(settings=load_settings(home, environ=environ)) as opened:
        opened.backfill("market_data", source=Bars(ALL, "1"), as_of=LATER)
        opened.load_hot(as_of=DAY)
        assert opened.backfill("market_data", source=Bars(MANY, "2"), as_of=DAY + timedelta(days=2)).held == 1
        assert closes(opened) == {1: 20}
        opened.accept("market_data")
        assert closes(opened) == {1: 8, 2: 12}
        moved = opened.rotate(as_of=LATER).moved
        assert [each.rows for each in moved] == [20]
        assert states(opened) == [(1, "published", False), (2, "published", True)]
        assert closes(opened) == {1: 8, 2: 12}
        whole(opened)


# --------------------------------------------------------------------------------------------------------------- ingest


@pytest.mark.parametrize("is_hot", [False, True])
def test_live_rows_that_restate_many_symbols_are_held_and_others_accepted(opened, is_hot):
    if is_hot:
        opened.load_hot(as_of=DAY)
    fresh = bars(["NEW"], "9", LATER)
    done = opened.ingest("market_data", pa.concat_tables([bars(MANY, "2"), bars(FEW, "2", NEXT), fresh]), as_of=LATER)
    assert (done.hot_rows + done.late_rows, done.held_rows) == (4, 12)
    assert [(moved.partition.day, moved.action, moved.rows) for moved in done.held] == [(DAY, "held", 20)]
    assert closes(opened) == {1: 20}
    assert closes(opened, NEXT) == {1: 17, 2: 3}
    assert closes(opened, LATER) == {9: 1}
    again = opened.ingest("market_data", bars(MANY, "2"), as_of=LATER)
    assert (again.held, len(states(opened))) == (done.held, 2)
    assert opened.accept("market_data").failed == []
    assert closes(opened) == {1: 8, 2: 12}
    opened.rotate(as_of=LATER + timedelta(days=90))
    assert closes(opened) == {1: 8, 2: 12}
    whole(opened)


def test_live_rows_that_were_accepted_on_purpose_are_accepted_again(opened):
    assert opened.ingest("market_data", bars(MANY, "2"), accept_restatements=True).late_rows == 12
    assert closes(opened) == {1: 8, 2: 12}
    assert opened.ingest("market_data", bars(MANY, "2")).held == []
    assert closes(opened) == {1: 8, 2: 12}


def test_a_file_whose_rows_come_in_pieces_is_looked_at_as_a_whole(opened, tmp_path):
    for number, symbols in enumerate((MANY[:6], MANY[6:])):
        pa.csv.write_csv(bars(symbols, "2"), tmp_path / f"{number}.csv")
    done = opened.ingest("market_data", str(tmp_path / "*.csv"))
    assert (done.held_rows, done.late_rows) == (12, 0)
    assert closes(opened) == {1: 20}


def test_a_rotation_folds_many_changes_that_came_one_by_one(opened):
    for symbol in ALL:
        opened.ingest("market_data", bars([symbol], "2"))
    assert closes(opened) == {2: 20}
    assert [moved.action for moved in opened.rotate(as_of=LATER).moved] == ["fold"]
    assert closes(opened) == {2: 20}
    assert opened.vintages("market_data", states=["held"]) == []


def test_a_program_that_saves_rows_means_what_it_says(opened):
    opened.save("market_data", bars(MANY, "2"))
    assert closes(opened) == {1: 8, 2: 12}


def test_a_day_that_is_still_being_formed_is_never_held(opened):
    opened.backfill("market_data", source=Bars(MANY, "1"), as_of=NEXT)
    opened.load_hot(as_of=NEXT)
    assert opened.backfill("market_data", source=Bars(MANY, "2"), as_of=NEXT).held == 0
    assert opened.ingest("market_data", bars(MANY, "3"), as_of=NEXT).held == []
    assert closes(opened) == {1: 8, 3: 12}
