"""The newest metadata of the lake is lost, and the database with it."""

import shutil
from pathlib import Path

import pytest
from lost_world import DAYS, agree, bars, history, recovered, rows_of

from thermocline.errors import BrokenTableError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS
from thermocline.tasks.recover import Outcome


def unlink(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize("wreck", [unlink, truncate])
def test_a_table_whose_newest_metadata_is_lost_is_registered_anew(world, oracle, wreck):
    for path in world.newest_metadata():
        wreck(path)
    with world.open() as tc:
        with pytest.raises(BrokenTableError, match="thermocline recover market_data"):
            tc.save("market_data", bars(DAYS[0], price="1"))
        assert rows_of(tc) == oracle[0]
        assert "thermocline recover" in tc.verify(["market_data"]).table[0]
        assert tc.recover(["market_data"], dry_run=True).datasets[0].outcome is Outcome.TABLE
        with pytest.raises(BrokenTableError):
            tc.lake.head(MARKET_DATA)
    recovered(world, oracle, Outcome.TABLE)


def test_a_table_without_any_metadata_is_made_anew_from_the_ledger(world, oracle):
    shutil.rmtree(world.metadata)
    recovered(world, oracle, Outcome.TABLE)


# ------------------------------------------------------------------------------------------------------ both are lost


@pytest.mark.parametrize("commits", [1, 2, 3, 4, 5])
def test_an_earlier_snapshot_and_the_journal_tell_all_that_was_live(world, oracle, commits):
    world.lose_commits(commits)
    world.lose_database()
    report = recovered(world, oracle)
    assert [moved.partition.day for moved in report.adopted] == [DAYS[0]]


def test_the_journal_alone_tells_all_that_was_live(world, oracle):
    shutil.rmtree(world.metadata)
    world.lose_database()
    recovered(world, oracle)


def test_the_table_alone_tells_what_is_live(world, oracle):
    shutil.rmtree(world.journal)
    world.lose_database()
    with world.open() as tc:
        (report,) = tc.recover(["market_data"]).datasets
        assert (report.days, report.vintages, report.missing) == (4, 4, [])
        assert rows_of(tc) == oracle[0]
        found = {(v.partition, v.receipt.version, v.receipt.sha256) for v in tc.hot.live(MARKET_DATA, ALL_DAYS)}
        assert found == {(r.partition, r.version, r.sha256) for r, *_, is_live, _ in oracle[1] if is_live}
        agree(tc)
        first = [(v.receipt, v.published_at) for v in tc.hot.live(MARKET_DATA, ALL_DAYS)]
    world.lose_database()
    with world.open() as tc:  # the first recovery wrote receipts, so nothing has to be read again
        assert tc.recover(["market_data"]).is_whole
        assert [(v.receipt, v.published_at) for v in tc.hot.live(MARKET_DATA, ALL_DAYS)] == first


def test_an_older_table_without_a_journal_gives_what_it_names(world, oracle):
    world.lose_commits(1)
    shutil.rmtree(world.journal)
    world.lose_database()
    with world.open() as tc:
        assert tc.recover(["market_data"]).is_whole
        assert len(rows_of(tc)) == len(oracle[0]) - 1
        agree(tc)


def test_objects_alone_do_not_tell_what_was_live(world, oracle):
    shutil.rmtree(world.metadata)
    for path in world.journal.iterdir():
        path.write_bytes(b"{")
    world.lose_database()
    with world.open() as tc:
        (report,) = tc.recover(["market_data"]).datasets
        assert len(report.unread) == len(list(world.journal.iterdir())) + 1
        assert "Backfill them from source `files`" in report.unread[-1]
        assert rows_of(tc) == [] != oracle[0]


def test_a_day_that_was_withdrawn_last_comes_back_only_where_nothing_tells_that_it_was(world, oracle):
    with world.open() as tc:
        tc.delete("market_data", start=DAYS[4])
        assert len(rows_of(tc)) == len(oracle[0]) - 2
    world.lose_database()
    with world.open() as tc:
        assert tc.recover(["market_data"]).is_whole
        assert len(rows_of(tc)) == len(oracle[0]) - 2
    world.lose_commits(1)
    world.lose_database()
    with world.open() as tc:
        assert tc.recover(["market_data"]).is_whole
        assert (rows_of(tc), history(tc)) == oracle
