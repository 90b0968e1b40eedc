"""What the command says of wrong input, and of stores that are damaged or gone."""

import json
import shlex
import subprocess
from pathlib import Path

import psycopg
import pytest
from cli_acts import JANUARY, PROGRAM, SAMPLE, answer, run
from click.testing import CliRunner

from thermocline.cli import main
from thermocline.stores import embedded


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
