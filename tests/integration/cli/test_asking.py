"""What the command tells of a home: rows, files, plans, states."""

import csv
import json
import re
from collections import Counter
from pathlib import Path

import pyarrow.feather
import pyarrow.parquet
import pytest
from cli_acts import PRICES, answer, run, source_rows
from redis_server import redis_server

from thermocline.cli.words import TERMINAL


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
