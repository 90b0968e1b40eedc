"""The database is lost: the lake tells what it knew."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from click.testing import CliRunner
from lost_world import AS_OF, DAYS, LATER, agree, bars, history, recovered, rows_of

import thermocline
from thermocline.cli import main
from thermocline.errors import LakeError
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
