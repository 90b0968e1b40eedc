"""Readers while everything moves. The same with latencies: `benchmarks/readers_during_moves.py`."""

import os

import pytest
from readers_during_moves import prepare, run

SECONDS = float(os.environ.get("READERS_SECONDS", "60"))


@pytest.mark.timeout(300)
def test_readers_notice_nothing_of_a_minute_of_late_rows_rotations_undos_compactions_and_releases(
    home, record_property
):
    accepted = prepare(home)
    told, now_accepted = run(home, SECONDS, moving=True, accepted=accepted)
    assert [text for each in told.values() for text in each.wrong] == []
    assert now_accepted > accepted
    asked = {kind: len(seconds) for kind, seconds in told["ask"].seconds.items()}
    assert min(asked.values()) >= 3, asked
    assert len(asked) == 5
    acts = told["move"].acts
    moved = ", ".join(f"{times} x {name}" for name, times in sorted((acts + told["append"].acts).items()))
    record_property("counted", f"{sum(asked.values())} questions answered rightly in {SECONDS:.0f} s, beside {moved}")
    assert all(acts[name] for name in ("rotate", "undo", "rehydrate", "release")), acts
