"""What the command moves, takes in and cleans up: on a real home, with a PostgreSQL of its own."""

import zipfile
from collections import Counter
from pathlib import Path

import psycopg
import pytest
from cli_acts import END, JANUARY, SAMPLE, START, answer, of_answer, of_source, run, source_rows

from thermocline.stores import embedded


def test_one_night_gives_back_every_row_of_the_source_once_with_its_prices(home):
    filled = answer("--home", home, *SAMPLE, "--start", START, "--end", END)
    expected = source_rows()
    days = {row["Date"] for row in expected}
    assert (filled["rows"], filled["written"], filled["unchanged"]) == (len(expected), len(days), 0)
    loaded = answer("load", "--as-of", "2013-02-15")
    rotated = answer("rotate", "--as-of", "2013-02-25")
    due = sorted(day for day in days if "2013-01-16" <= day < "2013-01-26")
    assert loaded["loaded"] == len([day for day in days if day >= "2013-01-16"])
    assert [each["day"] for each in rotated["partitions"]] == due
    assert rotated["vacuum"]["reclaimed_bytes"] >= 0
    tiers = [(each["tier"], each["days"]) for each in answer("explain", "market_data")["segments"]]
    assert tiers == [("cold", len(days) - loaded["loaded"] + len(due)), ("hot", loaded["loaded"] - len(due))]

    rows = answer("query", "market_data", "--start", START, "--end", END)["rows"]

    assert Counter(map(of_answer, rows)) == Counter(map(of_source, expected))


@pytest.mark.usefixtures("home")
def test_every_act_can_be_repeated():
    first = answer(*JANUARY)
    assert answer(*JANUARY) | {"run_id": "", "partitions": []} == {
        **first, "run_id": "", "partitions": [], "written": 0, "unchanged": first["written"],
    }  # fmt: skip
    assert answer("load", "--as-of", "2013-01-31")["loaded"] == first["written"]
    assert answer("load", "--as-of", "2013-01-31")["loaded"] == 0
    moved = answer("rotate", "--as-of", "2013-02-10")["partitions"]
    assert moved
    assert answer("rotate", "--as-of", "2013-02-10")["partitions"] == []
    undone = answer("undo", "market_data")["partitions"]
    assert [each["day"] for each in undone] == [each["day"] for each in moved]
    assert answer("rotate", "--as-of", "2013-02-10")["partitions"] == moved
    # A second copy of a day that is detached already.
    answer("rehydrate", "market_data", "--as-of", "2013-02-09", "--days", "1")
    assert answer("rotate", "--as-of", "2013-02-10")["partitions"] == moved
    rows = answer("query", "market_data")["rows"]
    assert Counter(map(of_answer, rows)) == Counter(map(of_source, source_rows("2013-01-01", "2013-02-01")))


@pytest.mark.usefixtures("home")
def test_a_dry_run_changes_nothing():
    run(*JANUARY)
    run("load", "--as-of", "2013-01-31")
    before = answer("status", "--as-of", "2013-02-10")
    plan = answer("rotate", "--as-of", "2013-02-10", "--dry-run")
    assert answer("status", "--as-of", "2013-02-10") == before
    fields = ("dataset", "interval", "day", "rows")
    planned = [[each[name] for name in fields] for each in plan["partitions"]]
    assert len(planned) == before["datasets"][0]["due_partitions"] > 0
    moved = answer("rotate", "--as-of", "2013-02-10")["partitions"]
    assert [[each[name] for name in fields] for each in moved] == planned
    assert set(moved[0]) == {"dataset", "interval", "day", "action", "rows", "bytes", "path"}


@pytest.mark.usefixtures("home")
def test_a_rotation_that_is_switched_off_still_shows_its_plan_and_obeys_force(monkeypatch):
    run(*JANUARY)
    run("load", "--as-of", "2013-01-31")
    monkeypatch.setenv("THERMOCLINE_STORAGE__LIFECYCLE__AUTO_ROTATION__ENABLED", "false")
    assert answer("rotate", "--as-of", "2013-02-10", "--dry-run")["partitions"]
    assert "--force" in answer("rotate", "--as-of", "2013-02-10", code=1)["error"]["message"]
    assert answer("rotate", "--as-of", "2013-02-10", "--force", "--no-vacuum")["vacuum"] is None


def test_a_check_ends_with_1_only_for_findings_of_severity_error(night, monkeypatch):
    assert night.exists()
    assert set(answer("check", "market_data")["counts"].values()) == {0}
    monkeypatch.setenv("THERMOCLINE_CHECKS__JUMPS__THRESHOLD", "0.1")
    [fall] = answer("check", "market_data", "--symbol", "AAPL", "--start", "2013-01-01")["findings"]
    assert (fall["rule"], fall["severity"], fall["ts"][:10]) == ("jumps", "warn", "2013-01-24")
    assert run("check", "market_data", "--symbol", "AAPL", "--rule", "mixed").stdout.endswith("checked: 0 findings.\n")
    assert "news has no bars to compare" in run("check", "news").stderr
    monkeypatch.setenv("THERMOCLINE_CHECKS__JUMPS__SEVERITY", "error")
    shown = run("check", "market_data", "--symbol", "AAPL", "--start", "2013-01-01", code=1).stdout
    assert "the close went from 514.005 to 450.5, 0.8765 times; no known reason" in shown


def test_a_damaged_object_is_named_and_its_day_stays_hot(home):
    run(*JANUARY)
    run("load", "--as-of", "2013-01-31")
    damaged = next((home / "lake").rglob("market_data_1day_20130107.parquet"))
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-40] + bytes(40))
    verified = run("verify", "market_data", "--start", "2013-01-07", "--end", "2013-01-09", code=1)
    assert "market_data/1day/2013-01-07" in verified.stderr
    assert "2013-01-08" not in verified.stderr
    # The hot rows say more than the object did, so it would have to be read to write the next one.
    Path("more.csv").write_text("Date,Symbol,Open,High,Low,Close,Volume\n2013-01-07,NEW,1,1,1,1,1\n")
    run("ingest", "market_data", "more.csv", "--as-of", "2013-01-31")
    rotated = answer("rotate", "--as-of", "2013-02-10", code=1)
    assert [each["day"] for each in rotated["failed"]] == ["2013-01-07"]
    assert len(rotated["partitions"]) > 1
    rows = answer("query", "market_data", "--start", "2013-01-07", "--end", "2013-01-08")["rows"]
    known = [row for row in rows if row["symbol"] != "NEW"]
    assert len(rows) == len(known) + 1
    assert Counter(map(of_answer, known)) == Counter(map(of_source, source_rows("2013-01-07", "2013-01-08")))


@pytest.mark.usefixtures("home")
def test_a_lean_folder_is_backfilled_without_naming_a_range():
    folder = Path("lean/equity/usa/daily")
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "aapl.zip", "w") as packed:
        packed.writestr("aapl.csv", "20130102 00:00,5538200,5550000,5410000,5490300,140129500\n")
    run("backfill", "market_data", "--source", "lean", "--path", "lean")
    (row,) = answer("query", "market_data", "--columns", "symbol,ts,open,close")["rows"]
    assert row == {
        "symbol": "AAPL", "ts": "2013-01-02T00:00:00+00:00", "open": "553.82000000", "close": "549.03000000",
    }  # fmt: skip


@pytest.mark.usefixtures("home")
def test_options_of_a_source_can_be_given_ad_hoc_and_by_name():
    Path("thermocline.yaml").write_text("sources: {tiny: {kind: synthetic, symbols: [A, B], seed: 7}}")
    named = ("backfill", "market_data", "--source", "tiny", "--start", "2024-01-01", "--end", "2024-01-02")
    assert answer(*named)["rows"] == 2
    assert answer(*named, "--option", "symbols=[A, B, C]")["rows"] == 3
    assert {row["source"] for row in answer("query", "market_data")["rows"]} == {"tiny"}


@pytest.mark.usefixtures("home")
def test_ingested_rows_are_there_at_once_and_bad_ones_are_counted():
    header = "asset_class,symbol,interval,ts,open,high,low,close\n"
    good = "equity,NEW,1day,2013-01-05,1,2,0.5,1.123456789\n".replace("1.123456789", "1.5")
    Path("late.csv").write_text(header + good + good.replace("1.5", "none"))
    result = run("ingest", "market_data", "late.csv", "--source-name", "desk")
    assert "1 row accepted" in result.stdout
    assert "quarantine" in result.stderr
    (row,) = answer("query", "market_data", "--symbol", "NEW")["rows"]
    assert (row["close"], row["source"]) == ("1.50000000", "desk")


def test_a_cleanup_does_nothing_without_a_yes(home):
    run(*JANUARY)
    run("load", "--as-of", "2013-01-31")
    before = answer("status")
    asked = ("cleanup", "market_data", "--as-of", "2013-02-10")
    assert "Nothing was changed" in run(*asked, stdin="n\n").stdout
    assert "2013-01" in run(*asked, "--analyze-only").stdout
    assert "--yes" in answer(*asked, code=2)["error"]["message"]
    plan = answer(*asked, "--dry-run")
    assert answer("status") == before
    done = answer("--home", home, *asked, "--yes")
    assert [each["day"] for each in done["partitions"]] == [each["day"] for each in plan["partitions"]] != []


def test_a_plain_table_is_adopted_and_what_cannot_go_in_is_named(home):
    with psycopg.connect(embedded.start(home), autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE market_data (symbol text, time date, open float, high float, low float, close float)"
        )
        connection.execute(
            "INSERT INTO market_data VALUES ('A', '2013-01-02', 1, 2, 1, 1.5), ('A', NULL, 1, 2, 1, 1.5)"
        )
    assert "cleanup" in run("status", code=1).stderr
    asked = ("cleanup", "--map", "ts=time", "--set", "interval=1day", "--as-of", "2013-01-03")
    assert "--map" in run("cleanup", "--dry-run", code=2).stderr
    assert "1 row would stay in the old table alone: no usable time" in run(*asked, "--dry-run").stdout
    assert "1 row adopted" in run(*asked, stdin="y\n").stdout
    (row,) = answer("query", "market_data")["rows"]
    assert (row["symbol"], row["close"], row["asset_class"]) == ("A", "1.50000000", "equity")


def test_the_demo_shows_one_night_and_can_be_repeated(home):
    shown = run("demo", "--quiet").stdout
    for word in ("backfilled", "hot", "rotated", "verified", "every row and price as in the source"):
        assert word in shown
    again = answer("demo", "--home", home)
    assert again["backfilled"]["written"] == 0
    assert again["rotated"]["rows"] > 0
    assert again["query"]["is_equal"]
    assert again["query"]["hot_rows"] > 0 < again["query"]["cold_rows"]
    run(*["backfill", "market_data", "--source", "synthetic", "--start", "2024-01-01", "--end", "2024-01-02"])
    assert "home of its own" in run("demo", code=1).stderr
