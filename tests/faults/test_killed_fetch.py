"""Five years of bars from a vendor, the process killed ten times: each page that was complete is asked for once."""

import json
from datetime import UTC, datetime

import pyarrow.parquet as pq
from binance_server import Binance
from killing.zygote import Kill
from vendor_server import vendor_server

SYMBOLS = ("BTC/USDT", "SOL/USDT:USDT")
START, END = datetime(2019, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)

KILLS = (
    Kill("open-fetch:after"),
    Kill("keep-page:before", 12),  # the page came, and is not kept yet
    Kill("put:written", 13),
    Kill("put:named", 14),  # it is kept, and nobody was told
    Kill("keep-page:after", 14),
    Kill("keep-page:before"),
    Kill("keep-page:after", 15),
    Kill("put:named", 15),
    Kill("keep-page:after", 16),
    Kill("finish-fetch:before"),  # everything is published, and the next run need not ask for anything
)


def test_a_five_year_backfill_killed_ten_times_fetches_no_page_twice_that_was_complete(killing_world):
    world = killing_world
    world.begin()
    with vendor_server() as vendor:
        binance = Binance(vendor, datetime(2024, 6, 1, tzinfo=UTC))
        order = {
            "dataset": "market_data",
            "asked": {
                "source": "binance",
                "options": {
                    "url": vendor.url,
                    "archive_url": vendor.url,
                    "files": True,
                    "requests_per_minute": 100_000,
                },
                "symbols": SYMBOLS,
                "intervals": ["1week"],
                "start": START.date().isoformat(),
                "end": END.date().isoformat(),
            },
        }
        complete: set[tuple[str, str]] = set()
        for kill in KILLS:
            before = len(vendor.log)
            ended = world.run("backfill_by_name", order, kill)
            assert ended.was_killed, ended
            assert asked_for(vendor.log[before:]) & complete == set()
            complete = pages_kept(world.home / "lake")
        before = len(vendor.log)
        world.run("backfill_by_name", order).done()
        assert asked_for(vendor.log[before:]) == set()
        assert len(complete) == 2 * 61  # the months of five years, and the oldest bar
        files = [served.path for served in vendor.log if served.path.endswith(".zip")]
        # Besides the first time, only what was on its way or not yet kept when the process died.
        assert 120 <= len(files) <= 120 + 3
        expected = {
            (symbol, datetime.fromtimestamp(bar[0] / 1000, UTC))
            for symbol in SYMBOLS
            for bar in binance.bars(symbol, "1w", START, END)
        }
        answer = world.tc.query("market_data").to_arrow()
        found = list(zip(answer["symbol"].to_pylist(), answer["ts"].to_pylist(), strict=True))
        assert len(found) == len(set(found))
        assert set(found) == expected
        assert world.tc.lake.page_store.unfinished() == []


def asked_for(log) -> set[tuple[str, str]]:
    """The pages that requests were made for: the symbol as Binance has it, and the month or `oldest`."""
    found = set()
    for served in log:
        if served.path.endswith((".zip", ".CHECKSUM")):
            name = served.path.rpartition("/")[2].partition(".zip")[0]
            found.add((served.path.split("/")[2] + name.split("-")[0], name[-7:]))
        elif served.parameters["limit"] == "1":
            market = "spot" if served.path.startswith("/api") else "futures"
            found.add((market + served.parameters["symbol"], "oldest"))
        else:
            found.add((served.path, served.parameters["startTime"]))
    return found


def pages_kept(lake) -> set[tuple[str, str]]:
    """The pages that lie in the lake, by what they say themselves."""
    found = set()
    for path in (lake / "raw").rglob("*.parquet"):
        said = json.loads(pq.read_metadata(path).metadata[b"thermocline"])
        market = {"spot": "spot", "um": "futures"}[said["asked"]["market"]]
        own = said["asked"]["symbol"].partition(":")[0].replace("/", "")
        found.add((market + own, said["cursor"] or "oldest"))
    return found
