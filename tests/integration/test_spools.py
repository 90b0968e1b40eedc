"""Spools on disk, and what is left of those whose process was killed."""

import signal
import subprocess
import sys

from thermocline.model.datasets import MARKET_DATA
from thermocline.settings import load_settings
from thermocline.stores.home import open_stores

HOLDS_A_SPOOL = """
import sys, time
from pathlib import Path
from thermocline.model.datasets import MARKET_DATA
from thermocline.settings import load_settings
from thermocline.stores.home import open_stores
with open_stores(load_settings(Path(sys.argv[1]), environ={})).spools(MARKET_DATA):
    print("open", flush=True)
    time.sleep(60)
"""


def test_the_spool_of_a_killed_process_is_removed_by_the_next_and_one_in_use_is_not(home):
    def start() -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, "-c", HOLDS_A_SPOOL, str(home)], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "open\n"
        return process

    with start() as killed, start() as alive:
        try:
            assert len(list((home / "tmp").glob("spool-*"))) == 2
            killed.send_signal(signal.SIGKILL)
            killed.wait()
            with open_stores(load_settings(home, environ={})).spools(MARKET_DATA):
                assert len(list((home / "tmp").glob("spool-*"))) == 2
            assert len(list((home / "tmp").glob("spool-*"))) == 1
        finally:
            alive.kill()
