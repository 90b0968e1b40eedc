"""The program in a process of its own: pipes, signals, what is left of the server."""

import json
import os
import signal
import subprocess
import time

import pytest
from cli_acts import PROGRAM, answer, run

from thermocline.stores import embedded


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
