"""The database is lost, or the newest metadata of the lake, or both: real files are deleted, real databases are new."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner

import thermocline
from thermocline.cli import main
from thermocline.errors import BrokenTableError, LakeError
from thermocline.faults import listening
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.journal import Event, entries_of
from thermocline.model.partition import ALL_DAYS, Partition
from thermocline.model.paths import month_path
from thermocline.model.receipt import VintageState
from thermocline.ports import Publication
from thermocline.settings import load_settings
from thermocline.stores import embedded
from thermocline.stores.parquet import encode
from thermocline.tasks.recover import Outcome

DAYS = [date(2024, 1, day) for day in (15, 16, 17, 18, 19)]
AS_OF = date(2024, 1, 25)
LATER = date(2024, 3, 1)


class Death(Exception):  # noqa: N818  # it is none of ours
    """A process that ends at a point."""


def bars(*days: date, symbols=("AAPL", "IBM"), price: str = "69.13") -> pa.Table:
    keys = [(symbol, day) for symbol in symbols for day in days]
    return pa.table(
        {
            "asset_class": ["equity"] * len(keys),
            "symbol": [symbol for symbol, _ in keys],
            "interval": ["1day"] * len(keys),
            "ts": pa.array([day for _, day in keys], pa.date32()),
            **{name: [price] * len(keys) for name in ("open", "high", "low", "close")},
        }
    )


class World:
    """A lake, and a database that can be lost."""

    def __init__(self, home: Path, new_database) -> None:
        """Start with an empty database; the lake is not there yet."""
        self.home, self._new_database = home, new_database
        self.lake = home / "lake"
        self.lose_database()

    def open(self):
        """Open the lake with the database that there is now."""
        return thermocline.open(settings=load_settings(self.home, environ={"THERMOCLINE_HOT_URL": self.url}))

    def lose_database(self) -> None:
        """Put a new, empty database in its place."""
        self.url = self._new_database("embedded")

    @property
    def metadata(self) -> Path:
        """Where the metadata of the table lies."""
        return self.lake / "cold_storage" / "market_data" / "metadata"

    @property
    def journal(self) -> Path:
        """Where the journal lies."""
        return self.lake / "metadata" / "receipts" / "market_data"

    def newest_metadata(self) -> list[Path]:
        """Both names of the newest metadata."""
        number = max(int(path.name.partition("-")[0]) for path in self.metadata.glob("*-*.metadata.json"))
        return [*self.metadata.glob(f"v{number}.metadata.json"), *self.metadata.glob(f"{number:05d}-*.metadata.json")]

    def lose_commits(self, count: int) -> None:
        """Delete the newest metadata so many times."""
        for _ in range(count):
            for path in self.newest_metadata():
                path.unlink()


@pytest.fixture
def world(home, new_database):
    return World(home, new_database)


def rows_of(tc, **asked):
    table = tc.query("market_data", **asked).to_arrow().drop_columns(["ingested_at"])
    return [repr(row) for row in table.to_pylist()]


def history(tc):
    """Every vintage without its times, which the lake knows to the second only."""
    return [
        (v.receipt, v.state, v.reason, v.is_live, v.superseded_at is None)
        for v in tc.hot.vintages(MARKET_DATA, ALL_DAYS)
    ]


def die_at(point, act):
    """Do something until a point is reached, and no further."""

    def end(reached):
        if reached == point:
            raise Death(point)

    with listening(end), pytest.raises(Death):
        act()


def live(tc):
    return {vintage.receipt.path for vintage in tc.hot.live(MARKET_DATA, ALL_DAYS)}


def agree(tc) -> None:
    """Table, ledger and objects say the same, and the next acts go on."""
    assert tc.lake.paths(MARKET_DATA) == live(tc)
    report = tc.verify(["market_data"])
    assert (report.failed, report.table) == ([], [])


def lived(tc) -> None:
    """A life in five commits: a symbol of a day is deleted, a whole day, a day is restated, a late row is folded."""
    tc.save("market_data", bars(*DAYS))
    tc.delete("market_data", symbols=["IBM"], start=DAYS[2], end=DAYS[3])
    tc.delete("market_data", start=DAYS[3], end=DAYS[4])
    tc.save("market_data", bars(DAYS[1], price="70"))
    tc.ingest("market_data", bars(DAYS[0], symbols=["MSFT"]), as_of=LATER)
    assert tc.rotate(as_of=LATER).failed == []


@pytest.fixture
def oracle(world):
    """What readers get, and what the ledger knows, before anything is lost."""
    with world.open() as tc:
        lived(tc)
        agree(tc)
        assert len(rows_of(tc)) == 8
        return rows_of(tc), history(tc)


def recovered(world, oracle, outcome=Outcome.REBUILT):
    """Recover, compare with the oracle, and go on living."""
    with world.open() as tc:
        result = tc.recover(["market_data"])
        (report,) = result.datasets
        assert result.is_whole, result.document()
        assert report.outcome is outcome
        assert (rows_of(tc), history(tc)) == oracle
        agree(tc)
        assert tc.recover(["market_data"]).datasets[0].outcome is Outcome.INTACT
        assert tc.save("market_data", bars(DAYS[4], price="71")) == 2
        tc.load_hot(as_of=AS_OF)
        assert tc.rotate(as_of=LATER).failed == []
        agree(tc)
        assert len(rows_of(tc)) == len(oracle[0])
        return report


# --------------------------------------------------------------------------------------------- the database is lost


def test_a_lost_database_is_rebuilt_from_the_lake(world, oracle):
    world.lose_database()
    with world.open() as tc, pytest.raises(LakeError, match="thermocline recover market_data"):
        tc.save("market_data", bars(DAYS[0]))
    report = recovered(world, oracle)
    assert (report.days, report.vintages, report.adopted, report.left) == (4, 8, [], [])


def test_a_day_that_live_ingest_begins_right_before_the_ledger_is_filled_is_complete_all_the_same(world, oracle):
    world.lose_database()
    with world.open() as tc:

        def begin(reached):
            if reached == "restore:before":
                tc.ingest("market_data", bars(DAYS[4], symbols=["MSFT"]), as_of=AS_OF)

        with listening(begin):
            assert tc.recover(["market_data"]).is_whole
        assert [day.partition.day for day in tc.hot.hot_days(MARKET_DATA)] == [DAYS[4]]
        assert len(rows_of(tc)) == len(oracle[0]) + 1


def test_earlier_vintages_are_readable_at_their_times_again(world):
    with world.open() as tc:
        tc.save("market_data", bars(DAYS[0]))
        moment = datetime.now(UTC)
        tc.save("market_data", bars(DAYS[0], price="70"))
        before = rows_of(tc, as_of_vintage=moment)
    world.lose_database()
    with world.open() as tc:
        tc.recover(["market_data"])
        assert rows_of(tc, as_of_vintage=moment) == before != rows_of(tc)


def test_snapshots_that_were_forgotten_cost_no_version_and_no_time(world, oracle):
    with world.open() as tc:
        times = [(v.published_at, v.superseded_at) for v in tc.hot.vintages(MARKET_DATA, ALL_DAYS)]
        assert len(tc.lake.expire_snapshots(MARKET_DATA, datetime.now(UTC))) == 4
    world.lose_database()
    recovered(world, oracle)
    with world.open() as tc:
        found = tc.hot.vintages(MARKET_DATA, ALL_DAYS)
    for known, (published, superseded) in zip(found, times, strict=False):
        assert abs(known.published_at - published) < timedelta(seconds=1)
        assert superseded is None or abs(known.superseded_at - superseded) < timedelta(seconds=1)


def test_a_home_whose_cluster_was_deleted_is_recovered_by_the_command(home):
    def run(*arguments, code=0):
        result = CliRunner().invoke(main, [*arguments, "--json"])
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    backfill = ("backfill", "market_data", "--source", "sample", "--start", "2013-01-01", "--end", "2013-02-01")
    run(*backfill)
    before = run("query", "market_data")
    embedded.stop(home)
    shutil.rmtree(home / "postgres")
    assert "thermocline recover" in run(*backfill, code=1)["error"]["message"]
    planned = run("recover", "--dry-run")
    assert run("query", "market_data") == {"rows": []}
    done = run("recover", "--verify")
    assert done == planned | {"run_id": done["run_id"], "dry_run": False}
    assert [each["dataset"] for each in done["datasets"] if each["outcome"] == "rebuilt"] == ["market_data"]
    assert run("query", "market_data") == before
    assert run(*backfill)["written"] == 0
    said = CliRunner().invoke(main, ["recover"])
    assert "intact" in said.output


def test_a_lake_that_was_moved_is_recovered_where_it_is_now(world, oracle):
    world.lose_database()
    world.lake.rename(world.home / "elsewhere")
    settings = load_settings(
        world.home, environ={"THERMOCLINE_HOT_URL": world.url, "THERMOCLINE_LAKE_URL": str(world.home / "elsewhere")}
    )
    with thermocline.open(settings=settings) as tc:
        assert tc.recover(["market_data"]).is_whole
        assert (rows_of(tc), history(tc)) == oracle
        agree(tc)


def test_rows_that_came_into_the_new_database_before_are_neither_lost_nor_in_the_way(world, oracle):
    world.lose_database()
    with world.open() as tc:
        tc.ingest("market_data", bars(DAYS[4], symbols=["MSFT"]), as_of=AS_OF)
        tc.ingest("market_data", bars(DAYS[0], symbols=["NEW"]), as_of=LATER)
        assert tc.recover(["market_data"]).is_whole
        assert sorted(rows_of(tc)) != oracle[0]
        symbols = [(row["ts"].date(), row["symbol"]) for row in tc.query("market_data").to_arrow().to_pylist()]
        assert sorted(symbols) == sorted(
            [(DAYS[0], s) for s in ("AAPL", "IBM", "MSFT", "NEW")]
            + [(DAYS[1], s) for s in ("AAPL", "IBM")]
            + [(DAYS[2], "AAPL")]
            + [(DAYS[4], s) for s in ("AAPL", "IBM", "MSFT")]
        )
        tc.rotate(as_of=LATER)
        assert len(rows_of(tc)) == 10
        agree(tc)


def test_a_missing_object_is_named_and_no_older_vintage_takes_its_place(world, oracle):
    world.lose_database()
    (lost,) = world.lake.rglob("market_data_1day_20240116_v2.parquet")
    lost.unlink()
    with world.open() as tc:
        result = tc.recover(["market_data"])
        assert not result.is_whole
        assert [failed.partition.day for failed in result.datasets[0].missing] == [DAYS[1]]
        assert history(tc) == oracle[1]
        with pytest.raises(LakeError, match="20240116_v2"):
            rows_of(tc)
        assert [failed.partition.day for failed in tc.verify(["market_data"]).failed] == [DAYS[1]]
        assert len(rows_of(tc, start=DAYS[4])) == 2


def test_a_damaged_object_is_found_when_everything_is_read(world, oracle):
    world.lose_database()
    (hurt,) = world.lake.rglob("market_data_1day_20240116_v2.parquet")
    body = bytearray(hurt.read_bytes())
    body[len(body) // 2] ^= 1
    hurt.write_bytes(body)
    with world.open() as tc:
        assert tc.recover(["market_data"], dry_run=True).is_whole
        assert not tc.recover(["market_data"], verify=True).is_whole
        assert history(tc) == oracle[1]


def test_what_waits_for_a_person_and_what_was_rejected_stays_so(world, oracle):
    with world.open() as tc:
        partition = Partition("market_data", "1day", DAYS[0])
        rows = list(tc.lake.read(next(v.receipt for v in tc.hot.live(MARKET_DATA, ALL_DAYS))))
        held, refused = (
            tc.lake.write(partition, version, [batch.slice(0, version - 2) for batch in rows], run_id="r")
            for version in (3, 4)
        )
        now = datetime.now(UTC)
        tc.lake.note(MARKET_DATA, entries_of(Event.HOLD, [held, refused], at=now, run_id="r", reason="half of it"))
        tc.lake.note(MARKET_DATA, entries_of(Event.REJECT, [refused], at=now, run_id="r"))
        first = next(v.receipt for v in tc.hot.vintages(MARKET_DATA, ALL_DAYS))
        tc.lake.note(MARKET_DATA, entries_of(Event.EXPIRE, [first], at=now, run_id="r"))
        tc.lake.delete(first.path)
        tc.lake.delete(refused.path)
    world.lose_database()
    with world.open() as tc:
        assert tc.recover(["market_data"]).is_whole
        assert rows_of(tc) == oracle[0]
        states = {v.receipt.version: (v.state, v.reason) for v in tc.hot.vintages(MARKET_DATA, ALL_DAYS)[:4]}
        assert states == {
            1: (VintageState.EXPIRED, ""),
            2: (VintageState.PUBLISHED, ""),
            3: (VintageState.HELD, "half of it"),
            4: (VintageState.REJECTED, "half of it"),
        }


def share_an_object(tc) -> None:
    """Bring the first two days into one object of the month, as compacting does."""
    receipts = [vintage.receipt for vintage in tc.hot.live(MARKET_DATA, ALL_DAYS)][:2]
    rows = pa.Table.from_batches([batch for receipt in receipts for batch in tc.lake.read(receipt)])
    rows = rows.sort_by([(name, "ascending") for name in MARKET_DATA.sort])
    with encode(receipts[0].partition, rows.to_batches()) as file:
        path = tc.lake.objects.put(month_path("market_data", "1day", DAYS[0], 1), file.stream).path
    moved = tc.lake.observe(*(replace(receipt, path=path) for receipt in receipts))
    assert [r.contents for r in moved] == [r.contents for r in receipts]
    removed = [receipt.path for receipt in receipts]
    with tc.hot.writer(MARKET_DATA) as writer:
        head = tc.lake.publish(
            MARKET_DATA, added=(), removed=removed, relocated=moved, expected_head=writer.head(), run_id="month"
        )
        writer.publish(Publication(MARKET_DATA, head, "month", relocated=moved))


@pytest.mark.usefixtures("oracle")
@pytest.mark.parametrize("lost", ["database", "snapshot", "metadata", "journal"])
def test_days_that_share_an_object_are_found_in_it_again(world, lost):
    with world.open() as tc:
        share_an_object(tc)
        agree(tc)
        before = rows_of(tc), history(tc)
    if lost == "snapshot":
        world.lose_commits(1)
    elif lost == "metadata":
        shutil.rmtree(world.metadata)
    elif lost == "journal":
        shutil.rmtree(world.journal)
    world.lose_database()
    with world.open() as tc:
        result = tc.recover(["market_data"], verify=True)
        assert result.is_whole, result.document()
        assert rows_of(tc) == before[0]
        agree(tc)
        found = {(v.partition, v.receipt.version, v.receipt.path) for v in tc.hot.live(MARKET_DATA, ALL_DAYS)}
        assert found == {(r.partition, r.version, r.path) for r, *_, is_live, _ in before[1] if is_live}
        if lost != "journal":
            assert history(tc) == before[1]


# ----------------------------------------------------------------------------- runs that died before all was lost


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


# ------------------------------------------------------------------------------------------------ the table is lost


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
