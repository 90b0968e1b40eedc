"""The `thermocline` command as people use it: on a real home, with a PostgreSQL of its own."""

import csv
import gzip
import importlib.resources
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from decimal import Decimal
from pathlib import Path

import psycopg
import pyarrow.feather
import pyarrow.parquet
import pytest
from click.testing import CliRunner
from quick_server import created_quickly
from redis_server import redis_server

from thermocline.cli import main
from thermocline.cli.words import TERMINAL
from thermocline.stores import embedded

PROGRAM = Path(sys.executable).with_name("thermocline")
START, END = "2012-01-01", "2013-03-01"
SAMPLE = ("backfill", "market_data", "--source", "sample")
JANUARY = (*SAMPLE, "--start", "2013-01-01", "--end", "2013-02-01")
PRICES = ("open", "high", "low", "close")


def run(*arguments, code=0, stdin=None):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)
    assert result.exit_code == code, f"{arguments}\n{result.output}\n{result.exception!r}"
    assert "Traceback" not in result.output
    return result


def answer(*arguments, code=0):
    """The one JSON document that the command prints."""
    return json.loads(run(*arguments, "--json", code=code).stdout)


def source_rows(start=START, end=END):
    """What the sample's own file says, read without any of our code."""
    packed = importlib.resources.files("bokeh_sampledata") / "_data" / "stocks.csv.gz"
    with packed.open("rb") as stream, gzip.open(stream, "rt", encoding="utf-8") as text:
        return [row for row in csv.DictReader(text) if start <= row["Date"] < end]


def of_source(row):
    return (row["Ticker"], row["Date"], *(Decimal(row[name.title()]) for name in PRICES), float(row["Volume"]))


def of_answer(row):
    assert row["ts"].endswith("T00:00:00+00:00")
    return (row["symbol"], row["ts"][:10], *(Decimal(row[name]) for name in PRICES), row["volume"])


@pytest.fixture(scope="module")
def night(session_folder, stopped_cluster):
    """A home after one night: everything backfilled, the last days loaded, the oldest of those rotated."""
    home = session_folder / "night"
    with pytest.MonkeyPatch.context() as patch, created_quickly(stopped_cluster):
        for name in [name for name in os.environ if name.startswith("THERMOCLINE_")]:
            patch.delenv(name)
        patch.setenv("THERMOCLINE_HOME", str(home))
        patch.chdir(session_folder)
        run(*SAMPLE, "--start", START, "--end", END)
        run("load", "--as-of", "2013-02-15")
        run("rotate", "--as-of", "2013-02-25")
        yield home
        embedded.stop(home)


# ------------------------------------------------------------------------------------------------------------ one night


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


# --------------------------------------------------------------------------------------------------------------- asking


def test_global_options_stand_before_or_after_the_command(night, monkeypatch):
    monkeypatch.setenv("THERMOCLINE_HOME", "elsewhere")
    before = run("--json", "--home", night, "status").stdout
    after = run("status", "--home", night, "--json").stdout
    assert json.loads(before) == json.loads(after)
    assert json.loads(after)["datasets"][0]["cold_rows"] > 0
    assert not Path("elsewhere").exists()


def test_the_status_has_what_programs_ask_for(night):
    first = answer("status", "market_data", "--as-of", "2013-02-25", "--home", night)["datasets"][0]
    wanted = {
        "dataset", "interval", "hot_rows", "hot_bytes", "cold_rows", "cold_bytes", "first", "last", "watermark",
        "due_partitions",
        "trouble_partitions",
    }  # fmt: skip
    assert wanted <= set(first)
    assert (first["due_partitions"], first["watermark"]) == (0, "2013-01-28")
    shown = run("status", "--home", night).stdout
    assert "market_data" in shown
    assert "No rows yet: options_data" in shown
    assert max(map(len, shown.splitlines())) <= TERMINAL
    header = {
        name for line in shown.splitlines() if line.startswith("dataset") for name in re.split(r"  +", line.strip())
    }
    assert {"hot rows", "hot size", "cold rows", "cold size", "first", "last", "hot since", "due", "trouble"} <= header


@pytest.mark.parametrize("ending", ["parquet", "csv", "feather"])
def test_a_file_holds_the_rows_of_the_query_with_exact_prices(night, tmp_path, ending):
    file = tmp_path / f"bars.{ending}"
    asked = (
        "query",
        "market_data",
        "--symbol",
        "MSFT",
        "--start",
        "2013-01-14",
        "--end",
        "2013-02-05",
        "--home",
        night,
    )
    said = answer(*asked, "--output", file)
    expected = answer(*asked)["rows"]
    assert (said["row_count"], said["output"], said["bytes"]) == (len(expected), str(file), file.stat().st_size)
    match ending:
        case "parquet":
            rows = pyarrow.parquet.read_table(file).to_pylist()
        case "feather":
            rows = pyarrow.feather.read_table(file).to_pylist()
        case "csv":
            with file.open(newline="") as text:
                rows = list(csv.DictReader(text))
    assert [[f"{row[name]}" for name in PRICES] for row in rows] == [[row[name] for name in PRICES] for row in expected]
    stamps = [row["ts"] if ending == "csv" else row["ts"].isoformat() for row in rows]
    assert stamps == [row["ts"] for row in expected]
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_was_there_stays_when_the_query_fails(night, tmp_path):
    file = tmp_path / "bars.csv"
    file.write_text("mine")
    bad = "select 1 // (ts_day - ts_day) as x from (select day(ts) as ts_day from market_data) where error('no')"
    run("sql", bad, "--output", file, "--home", night, code=1)
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]


def test_the_screen_shows_the_first_rows_and_says_how_many_there_are(night):
    lines = run("query", "market_data", "--interval", "1day", "--home", night).stdout.splitlines()
    assert re.search(r"AAPL +1day +2012-01-03 +409\.40 +412\.50 +409\.00 +411\.23 +10793600", lines[2])
    assert "… and 1,315 more; use --output or --json." in lines
    assert lines[-1].startswith("Not shown: vwap, trade_count, source, ingested_at")
    assert "No such rows." in run("query", "market_data", "--symbol", "NONE", "--home", night).stdout


def test_explain_names_tiers_objects_and_bytes(night):
    asked = ("explain", "market_data", "--start", "2013-01-24", "--end", "2013-01-30", "--home", night)
    document = answer(*asked)
    assert [(each["tier"], each["days"]) for each in document["segments"]] == [("cold", 2), ("hot", 2)]
    shown = run(*asked).stdout
    assert "market_data_1day_20130125.parquet" in shown
    assert "2 objects of the lake" in shown
    assert "First rows within tens of milliseconds: 2 objects on a local disk." in shown


def test_explain_runs_the_query_where_that_is_asked_for(night):
    asked = ("explain", "market_data", "--start", "2013-01-24", "--end", "2013-01-30", "--columns", "ts,close")
    analysis = answer(*asked, "--limit", "12", "--analyze", "--home", night)["analysis"]
    assert analysis["rows"] == 12
    assert [(each["tier"], each["rows"]) for each in analysis["segments"]] == [("cold", 10), ("hot", 2)]
    assert "12 rows in" in run(*asked, "--limit", "12", "--analyze", "--home", night).stdout


def test_commands_share_answers_in_a_redis_and_do_without_one_that_is_gone(night, tmp_path, monkeypatch):
    asked = ("query", "market_data", "--interval", "1day", "--end", "2013-02-10", "--home", night)
    plain = answer(*asked)

    def found():
        kept = answer("cache", "show", "--home", night)["caches"][1]
        return [kept[name] for name in ("cache", "entries", "hits", "misses", "trouble")]

    with redis_server(tmp_path) as server:
        monkeypatch.setenv("THERMOCLINE_STORAGE__CACHE__REDIS_URL", server.url)
        assert answer(*asked) == answer(*asked) == plain
        assert found() == ["redis", 1, 1, 1, None]
        assert answer(*asked, "--no-cache") == plain
        assert found() == ["redis", 1, 1, 1, None]
        assert "50%" in run("cache", "show", "--home", night).stdout
        assert answer("cache", "clear", "--home", night)["cleared"] == 1
    assert answer(*asked) == plain
    assert "can't be used, answers are read anew" in run("cache", "show", "--home", night).stdout
    assert "can't be cleared" in run("cache", "clear", "--home", night, code=1).stderr


def test_sql_answers_over_both_tiers_and_only_reads(night):
    statement = "select symbol, count(*) as bars, 1 as x, 2 as x from market_data group by symbol order by symbol"
    rows = answer("sql", statement, "--home", night)["rows"]
    counts = Counter(row["Ticker"] for row in source_rows())
    assert rows == [{"symbol": name, "bars": counts[name], "x": 1, "x_2": 2} for name in sorted(counts)]
    assert "AAPL" in run("sql", "-", "--home", night, stdin=statement).stdout
    assert answer("sql", "drop table market_data", "--home", night, code=2)["error"]["type"] == "UsageError"


def test_vacuum_verify_and_migrate_say_what_they_did(night):
    assert "table" in run("vacuum", "market_data", "--force", "--home", night).stdout
    assert answer("vacuum", "--home", night)["reclaimed_bytes"] >= 0
    assert "all as written" in run("verify", "--home", night).stdout
    assert answer("migrate", "--home", night)["datasets"][0] == "market_data"


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "code", "kind", "words"),
    [
        ("query market_dat", 2, "UnknownDatasetError", "did you mean 'market_data'"),
        ("backfill nothing --source sample", 2, "UnknownDatasetError", "nothing"),
        ("backfill market_data --source smple", 2, "UsageError", "did you mean 'sample'"),
        ("backfill market_data", 2, "UsageError", "--source"),
        ("backfill market_data --source sample --start 2013-02-02 --end 2013-02-02", 2, "BadRangeError", "exclusive"),
        ("backfill market_data --source sample --start 2013-02-30", 2, "UsageError", "'--start': '2013-02-30'"),
        ("backfill market_data --source sample --option symbols", 2, "UsageError", "--option"),
        ("backfill market_data --source sample --option colour=red", 2, "SettingsError", "colour"),
        ("backfill market_data --source files --path nowhere/*.csv", 1, "SourceError", "nowhere"),
        ("query market_data --start 2013-02-02 --end 2013-02-01", 2, "BadRangeError", "before"),
        ("query market_data --start soon", 2, "UsageError", "soon"),
        ("query market_data --interval 1dya", 2, "UsageError", "1min"),
        ("query market_data --columns colour", 2, "UsageError", "colour"),
        ("query market_data --output bars.txt", 2, "UsageError", ".parquet"),
        ("query market_data --output nowhere/bars.csv", 2, "UsageError", "nowhere"),
        ("query news --interval 1day", 2, "UsageError", "no intervals"),
        ("rotate --hot-days 0", 2, "UsageError", "--hot-days"),
        ("ingest market_data nofile.csv", 1, "SourceError", "nofile.csv"),
        ("ingest market_data broken.parquet", 1, "SourceError", "broken.parquet"),
        ("sql 'select * from nowhere'", 2, "UsageError", "nowhere"),
        ("status --config nofile.yaml", 2, "SettingsError", "nofile.yaml"),
        ("frobnicate", 2, "UsageError", "frobnicate"),
    ],
)
@pytest.mark.usefixtures("night")
def test_wrong_input_gives_one_clear_message(arguments, code, kind, words):
    Path("broken.parquet").write_bytes(b"not parquet at all")
    asked = shlex.split(arguments)
    plain = run(*asked, code=code)
    assert plain.stdout == ""
    assert words in plain.stderr
    result = run(*asked, "--json", code=code)
    assert json.loads(result.stdout)["error"]["type"] == kind
    assert words in json.loads(result.stdout)["error"]["message"]
    assert words in result.stderr


def test_wrong_input_leaves_everything_as_it_was(night):
    before = answer("status", "--home", night)
    run("backfill", "market_data", "--source", "files", "--path", "nowhere/*.csv", "--home", night, code=1)
    run("ingest", "market_data", "nofile.csv", "--home", night, code=1)
    assert answer("status", "--home", night) == before


@pytest.mark.usefixtures("home")
def test_a_lake_that_cannot_be_written_leaves_nothing_half_done(monkeypatch):
    Path("occupied").write_text("a file where the lake should be")
    monkeypatch.setenv("THERMOCLINE_LAKE_URL", "occupied")
    error = answer(*JANUARY, code=1)["error"]
    assert error["type"] == "LakeError"
    assert "occupied" in error["message"]
    monkeypatch.delenv("THERMOCLINE_LAKE_URL")
    assert answer("query", "market_data")["rows"] == []
    assert answer(*JANUARY)["unchanged"] == 0


@pytest.mark.usefixtures("home")
def test_a_backfill_of_a_folder_with_a_damaged_file_says_that_nothing_was_written():
    Path("bars").mkdir()
    Path("bars/good.csv").write_text("symbol,ts,open,high,low,close,volume\nA,2013-01-02,1,1,1,1,1\n")
    Path("bars/bad.parquet").write_bytes(b"not parquet at all")
    error = run("backfill", "market_data", "--source", "files", "--path", "bars", code=1).stderr
    assert "bad.parquet" in error
    assert error.endswith("nothing was written\n")
    assert answer("query", "market_data")["rows"] == []


@pytest.mark.usefixtures("home")
def test_a_postgresql_that_is_down_is_named_without_its_password(monkeypatch):
    monkeypatch.setenv("THERMOCLINE_HOT_URL", "postgresql://me:topsecret@127.0.0.1:1/market")
    for arguments in (JANUARY, ("status",), ("query", "market_data"), ("rotate", "--debug")):
        result = CliRunner().invoke(main, [*arguments, "--json"])
        assert result.exit_code == 1
        assert json.loads(result.stdout)["error"]["type"] == "HotStoreError"
        assert "127.0.0.1" in result.stderr
        assert "topsecret" not in result.output
    assert "does not run" in run("stop").stdout


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "url", ["mysql://u:topsecret@h/x", "postgresql://u@h/x?password=topsecret&foo=1", "host=h password=topsecret"]
)
def test_a_url_that_is_none_is_refused_without_its_password(monkeypatch, url):
    monkeypatch.setenv("THERMOCLINE_HOT_URL", url)
    for arguments in (("status",), ("status", "--json"), ("status", "--debug")):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code in {1, 2}
        assert "correct THERMOCLINE_HOT_URL" in result.output or "write one such as" in result.output
        assert "topsecret" not in result.output


def test_a_query_that_loses_postgresql_midway_says_the_same_on_stdout_and_stderr(home, monkeypatch):
    monkeypatch.setenv("THERMOCLINE_STORAGE__LIFECYCLE__HOT_INTERVALS", '["1min"]')
    days = ("--start", "2023-01-02", "--end", "2023-01-05")
    made = ("--source", "synthetic", "--option", "symbols=40", "--option", "interval=1min")
    run("backfill", "market_data", *made, *days, "--as-of", "2023-01-10")
    assert answer("load", "market_data", "--as-of", "2023-01-10")["loaded"] == 3
    asked = [PROGRAM, "query", "market_data", "--json"]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        head = running.stdout.read(100)
        with psycopg.connect(embedded.start(home), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"
            )
        document = json.loads(head + running.stdout.read())
        stderr = running.stderr.read()
        assert running.wait(60) == 1
    assert document["rows"]
    assert document["error"]["type"] == "HotStoreError"
    assert stderr == f"Error: {document['error']['message']}\n"
    assert "Run the same command again: it starts the server of the home" in stderr


def test_a_rotation_that_only_fails_does_not_say_that_nothing_was_due(home):
    run(*SAMPLE, "--start", "2013-01-07", "--end", "2013-01-08")
    run("load", "--as-of", "2013-01-31")
    damaged = next((home / "lake").rglob("market_data_1day_20130107.parquet"))
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-40] + bytes(40))
    Path("more.csv").write_text("Date,Symbol,Open,High,Low,Close,Volume\n2013-01-07,NEW,1,1,1,1,1\n")
    run("ingest", "market_data", "more.csv", "--as-of", "2013-01-31")
    result = run("rotate", "--as-of", "2013-02-10", code=1)
    assert "Nothing was due" not in result.stdout
    assert result.stdout.startswith("Nothing could be moved: ")
    assert "1 partition could not be moved and stayed as it was" in result.stderr


@pytest.mark.usefixtures("home")
def test_a_partition_that_can_not_be_undone_is_named_once():
    run(*SAMPLE, "--start", "2013-01-07", "--end", "2013-01-08")
    run("load", "--as-of", "2013-01-31")
    run("rotate", "--as-of", "2013-02-10")
    Path("more.csv").write_text("Date,Symbol,Open,High,Low,Close,Volume\n2013-01-07,NEW,1,1,1,1,1\n")
    assert "1 late row of cold days" in run("ingest", "market_data", "more.csv", "--as-of", "2013-02-10").stdout
    result = run("undo", "market_data", code=1)
    assert result.stderr.count("market_data/1day/2013-01-07") == 1
    assert result.stdout.startswith("Nothing could be moved: market_data/1day/2013-01-07 has changed")


# ---------------------------------------------------------------------------------------------------------- the program


def program(*arguments, **settings):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False, timeout=60, **settings)


def test_the_program_shows_a_traceback_only_with_debug(night):
    plain = program("--home", night, "query", "nothing")
    assert plain.returncode == 2
    assert plain.stdout == ""
    assert len(plain.stderr.splitlines()) == 1
    assert "Traceback" in program("--home", night, "query", "nothing", "--debug").stderr


def test_a_pipe_that_closes_early_is_no_error(night):
    piped = f"{PROGRAM} --home {night} query market_data --json | head -c 20"
    done = subprocess.run(piped, shell=True, capture_output=True, text=True, check=False, timeout=60)  # noqa: S602  # a pipe
    assert done.stdout.startswith('{"rows": [')
    assert done.stderr == ""


@pytest.mark.parametrize(
    "asked",
    [
        "--help",
        "query --help",
        "--version",
        "status",
        "status --json",
        "tiers show",
        "query market_data --json",
        "query market_data",
    ],
)
def test_what_nobody_reads_ends_quietly_with_the_code_of_a_broken_pipe(night, asked):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [PROGRAM, "--home", night, *asked.split()],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_error_is_told_also_where_nobody_reads_the_answer(night):
    read, write = os.pipe()
    os.close(read)
    asked = [PROGRAM, "--home", night, "query", "nothing"]
    done = subprocess.run(asked, stdout=write, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(write)
    assert done.returncode == 2
    assert "nothing" in done.stderr


def test_an_interrupted_backfill_says_so_and_can_be_repeated(home):
    asked = [
        *("backfill", "market_data", "--source", "synthetic", "--option", "symbols=40", "--option", "interval=1min"),
        *("--start", "2023-01-01", "--end", "2023-07-01", "--json"),
    ]
    running = subprocess.Popen([PROGRAM, *asked], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list((home / "tmp").glob("spool-*")):
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 130
    assert json.loads(stdout)["error"]["type"] == "Interrupted"
    assert "Nothing is half done" in stderr
    assert "Traceback" not in stderr
    assert answer("query", "market_data", "--limit", "1")["rows"] == []
    assert list((home / "tmp").iterdir()) == []


def test_stop_ends_the_server_and_says_when_there_is_none(home):
    assert "No PostgreSQL was running" in run("stop").stdout
    run("migrate")
    assert embedded.is_running(home)
    assert answer("stop") == {"stopped": True, "home": str(home)}
    assert not embedded.is_running(home)
    assert answer("stop")["stopped"] is False
