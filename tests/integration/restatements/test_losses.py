"""Holding, accepting and rejecting die on the way, objects are lost, or the database is."""

from datetime import date

import pyarrow as pa
import pytest
from restated import ALL, DAY, FEW, MANY, NEXT, Bars, bars, closes, states, whole

import thermocline
from thermocline.errors import LakeError
from thermocline.faults import listening
from thermocline.settings import load_settings


class StoppedError(Exception):
    """The process died here."""


def stopped_at(point):
    def listen(reached):
        if reached == point:
            raise StoppedError

    return listening(listen)


@pytest.mark.parametrize("point", ["hold:before", "hold:committing", "hold:after", "journal:before", "journal:after"])
def test_a_run_that_dies_while_it_holds_is_made_good_by_the_next(opened, point):
    with stopped_at(point), pytest.raises(StoppedError):
        opened.backfill("market_data", source=Bars(MANY, "2"))
    assert closes(opened) == {1: 20}
    assert opened.backfill("market_data", source=Bars(MANY, "2")).held == 1
    assert len(opened.vintages("market_data", states=["held"])) == 1
    opened.accept("market_data")
    assert closes(opened) == {1: 8, 2: 12}
    whole(opened)


@pytest.mark.parametrize(
    "point", ["journal:after", "commit:after", "accept:before", "publish:committing", "accept:after"]
)
def test_an_accept_that_dies_can_be_repeated(opened, point):
    opened.backfill("market_data", source=Bars(MANY, "2"))
    with stopped_at(point), pytest.raises(StoppedError):
        opened.accept("market_data")
    assert closes(opened) in ({1: 20}, {1: 8, 2: 12})
    opened.accept("market_data")
    assert closes(opened) == {1: 8, 2: 12}
    opened.backfill("market_data", source=Bars(["NEW"], "3"))
    assert closes(opened) == {1: 8, 2: 12, 3: 1}
    whole(opened)


@pytest.mark.parametrize("point", ["reject:before", "reject:committing", "reject:after"])
def test_a_reject_that_dies_can_be_repeated(opened, point):
    opened.backfill("market_data", source=Bars(MANY, "2"))
    with stopped_at(point), pytest.raises(StoppedError):
        opened.reject("market_data")
    opened.reject("market_data")
    assert states(opened) == [(1, "published", True), (2, "rejected", False)]
    assert closes(opened) == {1: 20}


def test_rows_that_can_not_be_compared_are_refused_whole(opened, home):
    [path] = (home / "lake").rglob("market_data_1day_20240115.parquet")
    path.unlink()
    with pytest.raises(LakeError):
        opened.ingest("market_data", pa.concat_tables([bars(MANY, "2"), bars(FEW, "2", NEXT)]))
    assert closes(opened, NEXT) == {1: 20}
    assert opened.ingest("market_data", bars(FEW, "2")).late_rows == 3


def test_what_became_of_held_restatements_survives_the_loss_of_the_database(opened, home, new_database):
    third, fourth = date(2024, 1, 17), date(2024, 1, 18)
    opened.backfill("market_data", source=Bars(ALL, "1", third, fourth))
    opened.backfill("market_data", source=Bars(MANY, "2", DAY, NEXT, third, fourth))
    opened.backfill("market_data", source=Bars(FEW, "7", fourth))
    opened.accept("market_data", start=NEXT, end=third)
    opened.reject("market_data", start=third, end=fourth)
    opened.accept("market_data", start=fourth)

    def history(tc):
        return [(v.receipt, v.state, v.reason, v.is_live) for v in tc.vintages("market_data")]

    settings = load_settings(home, environ={"THERMOCLINE_HOT_URL": new_database("embedded")})
    with thermocline.open(settings=settings) as again:
        again.recover(["market_data"])
        assert history(again) == history(opened)
        assert (closes(again), closes(again, NEXT), closes(again, third)) == ({1: 20}, {1: 8, 2: 12}, {1: 20})
        assert closes(again, fourth) == {1: 8, 2: 9, 7: 3}
        again.accept("market_data")
        assert closes(again) == {1: 8, 2: 12}
        whole(again)
