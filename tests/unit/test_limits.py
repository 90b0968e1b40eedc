"""A rate limit that processes share."""

import os
import signal
import subprocess
import sys
import time

import pytest
from vendor_server import Clock

from thermocline.errors import SourceError
from thermocline.sources.transport.limits import Limit


def test_requests_of_one_vendor_keep_their_distance_whoever_makes_them(tmp_path):
    clock = Clock()
    mine, yours = (Limit(tmp_path, "vendor", 60, clock=clock, sleep=clock.sleep) for _ in range(2))
    began = clock.now
    for limit in (mine, yours, mine, yours):
        limit.wait()
    assert clock.now - began == pytest.approx(3)


def test_after_a_pause_a_few_may_go_at_once_and_never_more(tmp_path):
    clock = Clock()
    limit = Limit(tmp_path, "vendor", 60, burst=5, clock=clock, sleep=clock.sleep)
    moments = []
    for _ in range(8):
        limit.wait()
        moments.append(round(clock.now - 1_700_000_000))
    assert moments == [0, 0, 0, 0, 0, 1, 2, 3]


def test_when_the_vendor_asks_for_a_pause_all_wait_and_come_back_one_by_one(tmp_path):
    clock = Clock()
    mine, yours = (Limit(tmp_path, "vendor", 60, burst=3, clock=clock, sleep=clock.sleep) for _ in range(2))
    mine.hold(30)
    began = clock.now
    moments = []
    for limit in (mine, yours, mine):
        limit.wait()
        moments.append(round(clock.now - began))
    assert moments == [30, 31, 32]


def test_a_limit_of_another_vendor_is_another_line(tmp_path):
    clock = Clock()
    Limit(tmp_path, "one", 1, clock=clock, sleep=clock.sleep).wait()
    Limit(tmp_path, "an/other", 1, clock=clock, sleep=clock.sleep).wait()
    assert clock.slept == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["an%2Fother.limit", "one.limit"]


def test_a_clock_that_was_set_back_stops_nobody(tmp_path):
    clock = Clock()
    limit = Limit(tmp_path, "vendor", 60, clock=clock, sleep=clock.sleep)
    limit.wait()
    clock.now -= 86_400
    limit.wait()
    assert clock.slept == []


def test_a_damaged_file_begins_the_line_anew(tmp_path):
    (tmp_path / "vendor.limit").write_bytes(b"nonsense")
    clock = Clock()
    limit = Limit(tmp_path, "vendor", 60, clock=clock, sleep=clock.sleep)
    limit.wait()
    limit.wait()
    assert clock.slept == [pytest.approx(1)]


def test_a_folder_that_can_not_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="is where processes share a vendor's rate limit"):
        Limit(tmp_path / "file" / "below", "vendor", 60).wait()


WORKER = """
import sys, time, pathlib
from thermocline.sources.transport.limits import Limit
limit = Limit(pathlib.Path(sys.argv[1]), "vendor", float(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[3])):
    limit.wait()
    print(time.time(), flush=True)
sys.stdin.readline()
"""


def _worker(folder, per_minute, count) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WORKER, str(folder), str(per_minute), str(count)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_ten_processes_together_make_no_more_than_one_may_and_a_killed_one_holds_nobody_up(tmp_path):
    every = 0.02
    workers = [_worker(tmp_path, 60 / every, 3) for _ in range(10)]
    try:
        for worker in workers:
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        os.kill(workers[0].pid, signal.SIGKILL)
        moments = sorted(float(worker.stdout.readline()) for worker in workers[1:] for _ in range(3))
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    assert len(moments) == 27
    # The first to the last: all places lie between, though one who slept too long may come close to the next.
    assert moments[-1] - moments[0] >= 26 * every - 0.01
    assert time.time() - moments[0] < 30
