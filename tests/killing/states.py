"""States to begin from, made by the Python API itself, each with the rows that everybody sees in it."""

from itertools import count
from typing import Any

from killing.rows import Key, Rows, as_json, day, rows
from killing.world import World

AS_OF = str(day(40))
"""Today, for everything that begins from these states; the window is ten days, so days before the thirtieth are due."""

UNDOABLE, RELEASABLE = 6, 7
"""Days that were rotated: one that `undo` brings back, one whose detached rows are older than `undo_days`."""

CREATE_PLAIN = """
    CREATE TABLE public.market_data (
        asset_class text, symbol text, "interval" text, ts timestamptz, open numeric, high numeric, low numeric,
        close numeric, volume double precision, vwap numeric, trade_count bigint
    )
"""


def days_in_every_state(world: World) -> dict[Key, int]:
    """Days that are hot, cold, both, late, restated, detached and due for release; two datasets, two intervals."""
    expected: dict[Key, int] = {}
    values = count(1)

    def put(act: str, dataset: str, interval: str, *days: int, symbols: str = "AAPL MSFT BTC/USDT", as_of: int) -> None:
        wanted = rows(dataset, interval, days, symbols, next(values))
        world.run(act, {"dataset": dataset, "rows": as_json(wanted), "as_of": str(day(as_of))}).done()
        expected.update(wanted)

    # Two days that were rotated.
    put("ingest", "market_data", "1min", UNDOABLE, RELEASABLE, as_of=7)
    world.run("rotate", {"datasets": ["market_data"], "as_of": str(day(30))}).done()
    world.execute("UPDATE thermocline.detached SET detached_at = '2024-01-12' WHERE day = %s", day(RELEASABLE))
    # Cold: alone, twice, under late rows, and inside the window.
    put("backfill", "market_data", "1min", 2, 3, 4, 5, 31, 32, as_of=40)
    put("backfill", "market_data", "1min", 5, as_of=40)
    put("backfill", "market_data", "1day", 8, 33, as_of=40)
    put("backfill", "news", "", 4, 34, as_of=40)
    # Hot: as the cold copy says, and with more than it says.
    world.run("rehydrate", {"dataset": "market_data", "start": str(day(2)), "end": str(day(4))}).done()
    world.run("rehydrate", {"dataset": "market_data", "start": str(day(32)), "end": str(day(33))}).done()
    put("ingest", "market_data", "1min", 3, 32, symbols="AAPL NEW", as_of=40)
    # Late, over a cold day and over none.
    put("ingest", "market_data", "1min", 4, 9, symbols="MSFT NEW", as_of=40)
    put("ingest", "news", "", 4, symbols="MSFT NEW", as_of=40)
    # Hot alone, due and not.
    put("ingest", "market_data", "1min", 0, 35, as_of=-1)
    put("ingest", "market_data", "1day", 1, as_of=1)
    put("ingest", "news", "", 0, 36, as_of=0)
    return expected


def a_plain_table(world: World) -> dict[Key, int]:
    """A table that was there before Thermocline: two months of bars, a row twice, one without a price."""
    expected: Rows = rows("market_data", "1min", [1, 2, 20, 33, 35])
    world.execute(CREATE_PLAIN)
    world.tc.status(["news"])  # makes what every first use makes
    world.copy_plain(expected)
    world.execute("INSERT INTO market_data SELECT * FROM market_data WHERE symbol = 'AAPL' AND ts < '2024-01-12'")
    world.execute("INSERT INTO market_data VALUES ('equity', 'ODD', '1min', '2024-01-11', NULL, 1, 1, 1, 1, 1, 1)")
    return dict(expected)


MANY_SYMBOLS = " ".join(f"S{number:02d}" for number in range(12))
PUBLISHED = rows("market_data", "1min", [2, 20, 32], MANY_SYMBOLS, value=1_000)
CORRECTED = rows("market_data", "1min", [2, 20, 32], MANY_SYMBOLS, value=2_000)


def many_symbols(world: World) -> dict[Key, int]:
    """Days of which a restatement would change so many symbols that it waits for a person; one of them is hot."""
    others = rows("news", "", [4, 36])
    for dataset, wanted in (("market_data", PUBLISHED), ("news", others)):
        world.run("backfill", {"dataset": dataset, "rows": as_json(wanted), "as_of": AS_OF}).done()
    world.run("rehydrate", {"dataset": "market_data", "start": str(day(32)), "end": str(day(33))}).done()
    return {**PUBLISHED, **others}


def a_restatement_that_waits(world: World) -> dict[Key, int]:
    """Such a restatement of each, held."""
    expected = many_symbols(world)
    world.run("backfill", {"dataset": "market_data", "rows": as_json(CORRECTED), "as_of": AS_OF}).done()
    return expected


LONG_AFTER = str(day(150))
"""Today, where a month is long closed."""

IN_THE_MONTH = {**rows("market_data", "1min", [10, 11, 12]), **rows("market_data", "1min", [11], "MSFT", 50)}


def a_closed_month(world: World) -> dict[Key, int]:
    """Three cold days of one month, one of them restated a little."""
    for wanted in (rows("market_data", "1min", [10, 11, 12]), rows("market_data", "1min", [11], "MSFT", 50)):
        world.run("backfill", {"dataset": "market_data", "rows": as_json(wanted), "as_of": LONG_AFTER}).done()
    world.tc.status(["news"])  # makes what every first use makes
    return dict(IN_THE_MONTH)


def a_compacted_month(world: World) -> dict[Key, int]:
    """The same in one object, with the objects of before not yet gone."""
    expected = a_closed_month(world)
    world.run("compact", {"datasets": ["market_data"], "as_of": LONG_AFTER}).done()
    return expected


def a_lost_database(world: World) -> dict[Key, int]:
    """A lake that holds a closed month, and a database that knows nothing of it."""
    a_closed_month(world)
    world.lose_database()
    world.tc.status()  # makes what every first use makes
    return {}


STATES: dict[str, Any] = {
    state.__name__: state
    for state in (
        *(days_in_every_state, a_plain_table, many_symbols, a_restatement_that_waits),
        *(a_closed_month, a_compacted_month, a_lost_database),
    )
}
