"""What is held becomes live or is rejected, also where its day was published anew or its month compacted."""

from datetime import UTC, date, datetime

from restated import ALL, DAY, FEW, MANY, NEXT, Bars, closes, journal, states, whole

from thermocline.model.changes import ChangeCounts
from thermocline.model.journal import Event


def test_accepting_publishes_the_very_object_that_was_held(opened):
    [held] = opened.backfill("market_data", source=Bars(MANY, "2")).moved
    before = datetime.now(UTC)
    [accepted] = opened.accept("market_data").moved
    assert (accepted.action, accepted.path) == ("accepted", held.path)
    assert closes(opened) == {1: 8, 2: 12}
    assert states(opened) == [(1, "published", False), (2, "published", True)]
    assert closes(opened, as_of_vintage=before) == {1: 20}
    assert opened.accept("market_data").moved == []
    whole(opened)


def test_rejecting_leaves_what_is_live_and_tells_the_lake(opened):
    [held] = opened.backfill("market_data", source=Bars(MANY, "2")).moved
    [rejected] = opened.reject("market_data").moved
    assert (rejected.action, rejected.path) == ("rejected", held.path)
    assert closes(opened) == {1: 20}
    assert states(opened) == [(1, "published", True), (2, "rejected", False)]
    assert journal(opened) == [(Event.HOLD, 2), (Event.REJECT, 2)]
    assert (opened.accept("market_data").moved, opened.reject("market_data").moved) == ([], [])
    opened.backfill("market_data", source=Bars(FEW, "5"))
    assert states(opened)[-1] == (3, "published", True)
    whole(opened)


def test_a_day_that_was_published_anew_since_is_merged_by_what_was_ingested_later(opened):
    opened.backfill("market_data", source=Bars(MANY, "2"))
    opened.backfill("market_data", source=Bars([*FEW, "NEW"], "7"))
    assert states(opened) == [(1, "published", False), (2, "held", False), (3, "published", True)]
    [accepted] = opened.accept("market_data").moved
    assert accepted.path.endswith("_v4.parquet")
    assert closes(opened) == {1: 8, 2: 9, 7: 4}
    assert states(opened)[1:] == [(2, "rejected", False), (3, "published", False), (4, "published", True)]
    whole(opened)


def test_several_restatements_of_a_day_go_one_after_the_other_or_alone(opened):
    opened.backfill("market_data", source=Bars(MANY, "2"))
    opened.backfill("market_data", source=Bars(ALL[5:], "3"))
    opened.backfill("market_data", source=Bars(ALL, "4"))
    assert [moved.path[-11:-8] for moved in opened.reject("market_data", version=4).moved] == ["_v4"]
    assert [moved.action for moved in opened.accept("market_data").moved] == ["accepted", "accepted"]
    assert closes(opened) == {2: 5, 3: 15}
    whole(opened)


def test_what_is_live_by_now_is_not_published_again(opened):
    opened.backfill("market_data", source=Bars(MANY, "2"))
    opened.backfill("market_data", source=Bars(MANY, "2"), accept_restatements=True)
    assert [moved.action for moved in opened.accept("market_data").moved] == ["unchanged"]
    assert states(opened) == [(1, "published", False), (2, "rejected", False), (3, "published", True)]
    assert closes(opened) == {1: 8, 2: 12}
    whole(opened)


def test_a_held_object_that_is_not_good_stays_held_and_others_are_accepted(opened, home):
    opened.backfill("market_data", source=Bars(MANY, "2", DAY, NEXT))
    [path] = (home / "lake").rglob("market_data_1day_20240115_v2.parquet")
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(body)
    done = opened.accept("market_data")
    assert [failed.partition.day for failed in done.failed] == [DAY]
    assert "it stays held" in done.failed[0].reason
    assert [moved.partition.day for moved in done.moved] == [NEXT]
    assert (closes(opened), closes(opened, NEXT)) == ({1: 20}, {1: 8, 2: 12})
    assert states(opened)[-1] == (2, "held", False)


def test_only_the_days_and_intervals_that_are_named_are_accepted(opened):
    opened.backfill("market_data", source=Bars(MANY, "2", DAY, NEXT))
    assert opened.accept("market_data", intervals=["1min"]).moved == []
    assert [moved.partition.day for moved in opened.accept("market_data", start=NEXT).moved] == [NEXT]
    assert (closes(opened), closes(opened, NEXT)) == ({1: 20}, {1: 8, 2: 12})


def test_a_restatement_of_a_day_in_a_compacted_month_leaves_the_other_days_as_they_are(opened):
    before = datetime.now(UTC)
    [month] = opened.compact(["market_data"], as_of=date(2024, 4, 1)).periods
    assert month.path.endswith("market_data_1day_202401.parquet")
    opened.backfill("market_data", source=Bars(MANY, "2"))
    assert (closes(opened), closes(opened, NEXT)) == ({1: 20}, {1: 20})
    assert opened.diff("market_data", DAY).counts() == ChangeCounts(0, 0, 12, 12)
    whole(opened)
    assert [moved.action for moved in opened.accept("market_data").moved] == ["accepted"]
    assert (closes(opened), closes(opened, NEXT)) == ({1: 8, 2: 12}, {1: 20})
    assert (closes(opened, as_of_vintage=before), closes(opened, NEXT, as_of_vintage=before)) == ({1: 20}, {1: 20})
    assert opened.diff("market_data", DAY).counts() == ChangeCounts(0, 0, 12, 12)
    whole(opened)


def test_several_days_of_one_compacted_month_may_be_rejected_or_accepted_at_once(opened):
    opened.compact(["market_data"], as_of=date(2024, 4, 1))
    opened.backfill("market_data", source=Bars(MANY, "2", DAY, NEXT))
    assert [moved.partition.day for moved in opened.reject("market_data").moved] == [DAY, NEXT]
    whole(opened)
    opened.backfill("market_data", source=Bars(MANY, "3", DAY, NEXT))
    assert len(opened.accept("market_data").moved) == 2
    assert (closes(opened), closes(opened, NEXT)) == ({1: 8, 3: 12}, {1: 8, 3: 12})
    whole(opened)
