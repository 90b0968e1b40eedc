"""Runs died before all was lost, or the recovery itself dies."""

import pytest
from lost_world import AS_OF, DAYS, LATER, agree, bars, die_at, history, rows_of

from thermocline.faults import listening
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS


@pytest.mark.usefixtures("oracle")
def test_rows_that_only_a_dead_rotation_had_archived_are_taken_in(world):
    """They were in PostgreSQL until it was lost; the object that the rotation left is the only copy."""
    with world.open() as tc:
        tc.load_hot(as_of=AS_OF)
        tc.ingest("market_data", bars(DAYS[4], symbols=["MSFT"]), as_of=AS_OF)
        expected = rows_of(tc)
        die_at("commit:before", lambda: tc.rotate(as_of=LATER))
    world.lose_database()
    with world.open() as tc:
        (report,) = tc.recover(["market_data"]).datasets
        assert [(moved.partition.day, moved.rows) for moved in report.adopted] == [(DAYS[4], 3)]
        assert rows_of(tc) == expected
        agree(tc)
        again = [(v.receipt, v.published_at) for v in tc.hot.live(MARKET_DATA, ALL_DAYS)]
    world.lose_database()
    with world.open() as tc:
        assert tc.recover(["market_data"]).datasets[0].adopted == []
        assert [(v.receipt, v.published_at) for v in tc.hot.live(MARKET_DATA, ALL_DAYS)] == again


@pytest.mark.parametrize("point", ["commit:after", "publish:before"])
def test_rows_that_the_table_had_and_the_ledger_had_not_are_there(world, point):
    with world.open() as tc:
        tc.save("market_data", bars(DAYS[0]))
        die_at(point, lambda: tc.save("market_data", bars(DAYS[1])))
        assert len(rows_of(tc)) == 2
    world.lose_database()
    with world.open() as tc:
        assert tc.recover(["market_data"]).is_whole
        assert len(rows_of(tc)) == 4
        agree(tc)


def test_rows_that_were_settled_out_of_the_table_are_taken_in_again(world):
    """A rotation died after its commit, another day's backfill settled the table, then the hot rows were lost."""
    with world.open() as tc:
        tc.save("market_data", bars(DAYS[0]))
        tc.ingest("market_data", bars(DAYS[4]), as_of=AS_OF)
        die_at("commit:after", lambda: tc.rotate(as_of=LATER))
        tc.save("market_data", bars(DAYS[1]))
        expected = rows_of(tc)
        assert len(tc.lake.paths(MARKET_DATA)) == 2
    world.lose_database()
    with world.open() as tc:
        (report,) = tc.recover(["market_data"]).datasets
        assert [moved.partition.day for moved in report.adopted] == [DAYS[4]]
        assert rows_of(tc) == expected
        agree(tc)


def test_a_deletion_that_died_takes_nothing_away(world, oracle):
    with world.open() as tc:
        die_at("commit:before", lambda: tc.delete("market_data", symbols=["IBM"], start=DAYS[1], end=DAYS[2]))
    with world.open() as tc:
        die_at("commit:before", lambda: tc.delete("market_data", start=DAYS[4]))
    world.lose_database()
    with world.open() as tc:
        (report,) = tc.recover(["market_data"]).datasets
        assert [(left.partition.day, "lacks 1 rows" in left.reason) for left in report.left] == [(DAYS[1], True)]
        assert (rows_of(tc), history(tc)) == oracle
        agree(tc)


def test_a_recovery_that_dies_anywhere_is_run_again(world, oracle):
    world.lose_commits(2)
    points: list[str] = []
    world.lose_database()
    with world.open() as tc, listening(points.append):
        tc.recover(["market_data"], dry_run=True)
        assert points == []
        tc.recover(["market_data"])
    assert {"register:before", "commit:before", "commit:after", "restore:before", "restore:committing"} <= {*points}
    for point in dict.fromkeys(points):
        world.lose_database()
        world.lose_commits(1)
        with world.open() as tc:
            die_at(point, lambda tc=tc: tc.recover(["market_data"]))
        with world.open() as tc:
            result = tc.recover(["market_data"])
            assert result.is_whole, point
            assert (rows_of(tc), history(tc)) == oracle, point
            agree(tc)
