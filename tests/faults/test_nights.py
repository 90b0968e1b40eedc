"""Thirty nights in a row, with deaths: what everybody sees is the same before a night and after it."""

import os
import random

import pytest
from killing.rows import Key, as_json, day
from killing.world import DATASETS, World
from killing.zygote import Kill

NIGHTS = int(os.environ.get("NIGHTS", "30"))
SEED = int(os.environ.get("NIGHTS_SEED", "20240110"))
SERIES = (("market_data", "1min"), ("market_data", "1day"), ("news", ""))
SYMBOLS = ("AAPL", "MSFT", "BTC/USDT", "BRK.B")
MINUTES = (0, 1, 719, 1439)
KILLED_AT = (
    *("archive:after", "put:named", "verify:after", "journal:after", "commit:committed", "commit:after"),
    *("cut-over:proved", "cut-over:published", "detach:after", "cut-over:committing", "cut-over:after"),
    *("publish:committing", "note-head:before"),
)


def some_rows(dice: random.Random, days: list[int]) -> dict[Key, int]:
    """Rows of a series on those days, few enough symbols that no restatement waits for a person."""
    dataset, interval = dice.choice(SERIES)
    return {
        Key(dataset, interval, number, symbol, minute): dice.randrange(10**6)
        for number in days
        for symbol in dice.sample(SYMBOLS, 2)
        for minute in ((0,) if interval == "1day" else dice.sample(MINUTES, 2))
    }


def live_through(world: World, dice: random.Random, today: int) -> dict[Key, int]:
    """What comes in during a day: its own rows, late rows and restatements. Some die, all are done in the end."""
    came: dict[Key, int] = {}
    for act, days in (
        ("ingest", [today]),
        ("ingest", [today]),
        ("ingest", [dice.randrange(today)]),
        ("backfill", sorted({dice.randrange(today), dice.randrange(today)})),
    ):
        rows = some_rows(dice, days)
        order = {"dataset": next(iter(rows)).dataset, "rows": as_json(rows), "as_of": str(day(today))}
        if dice.random() < 1 / 4:
            world.run(act, order, Kill("publish:committing" if act == "backfill" else "ingest:committing"))
        world.run(act, order).done()
        came.update(rows)
    return came


@pytest.mark.timeout(300)
def test_thirty_nights_with_deaths_late_rows_and_restatements_change_no_checksum(killing_world, record_property):
    world, dice = killing_world, random.Random(SEED)  # noqa: S311  # the same nights each time
    world.begin()
    expected: dict[Key, int] = {}
    kills, sums = 0, []
    for night in range(NIGHTS):
        today = 12 + night
        expected.update(live_through(world, dice, today))
        before = world.checksum()
        order = {"datasets": DATASETS, "as_of": str(day(today + 1))}
        for point in dice.sample(KILLED_AT, dice.randint(0, 2)):
            ended = world.run("rotate", order, Kill(point, dice.randint(1, 2)))
            assert not ended.error, ended.error
            kills += ended.was_killed
            assert world.checksum() == before, f"night {night}, seed {SEED}, killed at {ended.killed_at}"
        world.run("rotate", order).done()
        assert world.checksum() == before, f"night {night}, seed {SEED}"
        sums.append(before)
    assert world.differences(expected) == [], f"seed {SEED}"
    assert world.out_of_step() == []
    assert kills >= NIGHTS // 3, "the deaths have gone astray"
    assert len(set(sums)) == NIGHTS
    record_property(
        "counted",
        f"{NIGHTS} nights from seed {SEED}: {kills} rotations killed, {len(expected)} rows; their checksum through the "
        f"router was the same before and after each night, and at last {sums[-1]}",
    )
