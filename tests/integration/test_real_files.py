"""Real files go in through `backfill`, and what is known of them comes out: rows, gaps, sessions, jumps, unknowns.

Each test runs over the small set in `tests/files`, and over a folder of the same form that MARKET_FILES names.
"""

import json
import os
import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from thermocline.api import Thermocline
from thermocline.model.checks.rules import Severity
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import midnight
from thermocline.ports import Fetched
from thermocline.settings import load_settings
from thermocline.sources.sec_filings import index_filings
from thermocline.stores.analytics import DuckDBAnalytics
from thermocline.stores.duckdb import Engine
from thermocline.stores.lake import ParquetLake
from thermocline.stores.memory import MemoryCatalog
from thermocline.stores.memory_hot import MemoryHot
from thermocline.stores.objects_local import LocalObjects
from thermocline.stores.spool import DuckDBSpool

SHIPPED = Path(__file__).parents[1] / "files"
NEW_YORK = ZoneInfo("America/New_York")
ONE_DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def given():
    """A folder of real files that MARKET_FILES names."""
    folder = os.environ.get("MARKET_FILES")
    return Files(Path(folder)) if folder else pytest.skip("MARKET_FILES names no folder of real files")


@pytest.fixture(params=["shipped", "given"])
def files(request):
    """The small set that is shipped, and that folder."""
    return Files(SHIPPED) if request.param == "shipped" else request.getfixturevalue("given")


class Files:
    """A folder and what is expected of its files."""

    def __init__(self, root):
        """Read EXPECTED.json."""
        self.root = root
        self.expected = json.loads((root / "EXPECTED.json").read_text())

    def like(self, pattern):
        """The facts of the files whose names match, by what the groups of the pattern say."""
        found = {}
        for name, entry in self.expected.items():
            if match := re.fullmatch(pattern, name):
                found[match.groups()] = entry["facts"]
        return found or pytest.skip(f"no file like {pattern} there")

    def path(self, *parts):
        """The path of what is below it."""
        return str(self.root.joinpath(*parts))


@pytest.fixture
def opened(home, tmp_path):
    """Thermocline over a lake on disk; all else is in memory."""
    with Thermocline(
        load_settings(home, environ={}),
        hot=MemoryHot(),
        lake=ParquetLake(LocalObjects(tmp_path / "lake"), MemoryCatalog()),
        spools=lambda dataset: DuckDBSpool(dataset, tmp_path / "spools", 256),
        analytics=DuckDBAnalytics(Engine()),
    ) as opened:
        yield opened


def differences(expected, counted):
    """What was counted otherwise than expected, where it was expected at all."""
    return {
        (*name, fact): (expected[name][fact], value)
        for name, facts in counted.items()
        for fact, value in facts.items()
        if fact in expected[name] and expected[name][fact] != value
    }


def by_symbol(opened, interval, *columns):
    """Rows of each symbol in order of time, as tuples."""
    table = opened.query("market_data", interval=interval, columns=["symbol", "ts", *columns]).to_arrow()
    found = {}
    for symbol, *rest in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
        found.setdefault(symbol, []).append(tuple(rest))
    return found


def missing_sessions(opened):
    """How many sessions each series of daily bars lacks, as `coverage` says."""
    report = opened.coverage("market_data", intervals=["1day"])
    return {series.series.symbol: series.bars_missing for series in report.series}


def test_the_shipped_files_are_those_that_were_counted():
    files = Files(SHIPPED)
    there = {str(path.relative_to(SHIPPED)) for path in SHIPPED.rglob("*") if path.is_file()}
    assert there == {*files.expected, "README.md", "EXPECTED.json"}
    for name, entry in files.expected.items():
        assert sha256((SHIPPED / name).read_bytes()).hexdigest() == entry["sha256"], name


# ------------------------------------------------------------------------------------------------------------ equities


def daily_facts(rows, duplicates, missing):
    days = [ts.date() for ts, *_ in rows]
    return {
        "rows": len(rows),
        "first": f"{days[0]} 00:00:00",
        "last": f"{days[-1]} 00:00:00",
        "dup_ts": duplicates,
        "zero_vol": sum(volume == 0 for _, _, volume in rows),
        "gaps": sum(later - earlier != ONE_DAY for earlier, later in pairwise(days)),
        "missing_sessions": missing,
    }


def jumps_of(checked):
    """Every jump, explained or not: symbol to the times and ratios."""
    found = {}
    for jump in sorted([*checked.findings, *checked.explained]):
        if jump.rule == "jumps":
            found.setdefault(jump.symbol, []).append([f"{jump.ts:%Y-%m-%d %H:%M:%S}", round(jump.value, 4)])
    return found


def test_daily_bars_have_the_rows_sessions_and_jumps_that_are_known(files, opened):
    expected = files.like(r"bars/lean_equity_daily/(\w+)\.zip")
    done = opened.backfill("market_data", source="lean", path=files.path("bars", "lean_equity_daily"))
    assert done.rejected == 0
    checked = opened.check("market_data")
    jumps, missing = jumps_of(checked), missing_sessions(opened)
    counted = {}
    for symbol, rows in by_symbol(opened, "1day", "close", "volume").items():
        facts = daily_facts(rows, done.duplicates, missing[symbol]) | {"jumps>35%": jumps.get(symbol, [])}
        counted[symbol.lower(),] = facts | {"|ret|>35%": len(facts["jumps>35%"])}
    assert counted.keys() == expected.keys()
    assert differences(expected, counted) == {}
    mixed = {(each.symbol, each.ts.date()) for each in checked.findings if each.rule == "mixed"}
    assert ("IBM", date(2002, 12, 23)) in mixed


def test_a_split_is_explained_by_what_is_known_and_a_crash_is_not_called_one(files, opened):
    for dataset in ("splits", "dividends", "instruments"):
        opened.backfill(dataset, source="lean", path=files.path("corporate_actions"))
    span = {"start": date(2000, 6, 1), "end": date(2000, 11, 1)}
    daily = files.path("bars", "lean_equity_daily")
    opened.backfill("market_data", source="lean", path=daily, symbols=["AAPL"], **span)
    minutes = files.path("bars", "lean_equity_minute", "aapl")
    opened.backfill("market_data", source="lean", path=minutes, start=date(2014, 6, 6), end=date(2014, 6, 11))
    checked = opened.check("market_data", symbols=["AAPL"])
    explained = {each.ts.date(): each.detail.rpartition(": ")[2] for each in checked.explained}
    assert explained == {date(2000, 6, 21): "2:1 split", date(2014, 6, 9): "7:1 split"}
    [crash] = [each for each in checked.findings if each.rule == "jumps"]
    assert (crash.ts.date(), crash.severity) == (date(2000, 9, 29), Severity.WARN)
    assert "split" not in crash.detail or "no split is known" in crash.detail


def test_a_symbol_that_was_reused_is_found_by_what_is_known_of_instruments(files, opened):
    opened.backfill("instruments", source="lean", path=files.path("corporate_actions"))
    span = {"start": date(2008, 9, 1), "end": date(2009, 9, 1)}
    opened.backfill("market_data", source="lean", path=files.path("bars", "lean_equity_daily"), symbols=["WM"], **span)
    [reused] = opened.check("market_data", rules=["reused_symbol"]).findings
    assert (reused.symbol, reused.ts.date()) == ("WM", date(2009, 8, 5))
    assert reused.detail.startswith("equity:UW:19980102 has the symbol from here on")


def intraday_facts(instants, zone):
    """The facts of one local day's minutes."""
    clocks = [at.astimezone(zone) for at in instants]
    since = [(clock.hour * 60 + clock.minute) * 60_000 for clock in clocks]
    return {
        "rows": len(since),
        "first": str(since[0]),
        "last": str(since[-1]),
        "missing_minutes_within": (since[-1] - since[0]) // 60_000 + 1 - len(set(since)),
        "rth_bars_0930_1559": sum(34_200_000 <= at < 57_600_000 for at in since),
    }


@pytest.mark.parametrize(
    ("folder", "zone", "pattern"),
    [
        ("lean_equity_minute", NEW_YORK, r"bars/lean_equity_minute/(\w+)/(\d{8})_trade\.zip"),
        ("lean_crypto", UTC, r"bars/lean_crypto/\w+/minute/(\w+)/(\d{8})_trade\.zip"),
    ],
)
def test_minutes_have_the_rows_and_gaps_that_are_known(files, opened, folder, zone, pattern):
    expected = files.like(pattern)
    done = opened.backfill("market_data", source="lean", path=files.path("bars", folder))
    assert (done.rejected, done.duplicates) == (0, 0)
    counted = {}
    for symbol, rows in by_symbol(opened, "1min").items():
        days = {}
        for (ts,) in rows:
            days.setdefault(ts.astimezone(zone).date(), []).append(ts)
        for day, instants in days.items():
            counted[symbol.lower(), f"{day:%Y%m%d}"] = intraday_facts(instants, zone)
    assert counted.keys() == expected.keys()
    assert differences(expected, counted) == {}


def test_hourly_bars_have_the_rows_that_are_known(given, opened):
    expected = given.like(r"bars/lean_equity_hour/(\w+)\.zip")
    opened.backfill("market_data", source="lean", path=given.path("bars", "lean_equity_hour"))
    jumps = jumps_of(opened.check("market_data"))
    counted = {}
    for symbol, rows in by_symbol(opened, "1hour").items():
        clocks = [ts.astimezone(NEW_YORK).replace(tzinfo=None) for (ts,) in rows]
        counted[symbol.lower(),] = {
            "rows": len(rows),
            "first": str(clocks[0]),
            "last": str(clocks[-1]),
            "gaps": sum(later - earlier != 60 * MINUTE for earlier, later in pairwise(clocks)),
            "|ret|>35%": len(jumps.get(symbol, [])),
        }
    assert counted.keys() == expected.keys()
    assert differences(expected, counted) == {}


def test_prices_of_wiki_have_the_rows_and_jumps_that_are_known(given, opened):
    expected = given.like(r"bars/bokeh_wiki/stocks\.csv\.gz")[()]
    opened.backfill("market_data", source="files", path=given.path("bars", "bokeh_wiki", "stocks.csv.gz"))
    jumps, missing = jumps_of(opened.check("market_data")), missing_sessions(opened)
    counted = {}
    for symbol, rows in by_symbol(opened, "1day").items():
        (first,), (last,) = rows[0], rows[-1]
        found = [[at[:10], ratio] for at, ratio in jumps.get(symbol, [])]
        counted[symbol] = [len(rows), f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}", missing[symbol], found]
    assert counted == expected["per_symbol"]
    assert sum(facts[0] for facts in counted.values()) == expected["rows"]


# ------------------------------------------------------------------------------------------------------- other datasets


def test_option_chains_have_the_rows_and_unknown_volatilities_that_are_known(files, opened):
    expected = files.like(r"options/lean_eod_chain/(\w+)/(\d{8})\.csv")
    done = opened.backfill("options_data", source="lean", path=files.path("options", "lean_eod_chain"))
    assert (done.rejected, done.duplicates) == (0, 0)
    columns = ["underlying", "ts", "expiration", "implied_volatility", "open_interest"]
    days = {}
    for row in opened.query("options_data", columns=columns).to_arrow().to_pylist():
        days.setdefault((row["underlying"].lower(), f"{row['ts']:%Y%m%d}"), []).append(row)
    counted = {
        name: {
            "rows": len(rows),
            "expiries": len({row["expiration"] for row in rows}),
            "iv_zero": sum(row["implied_volatility"] is None for row in rows),  # a zero in the file is unknown
            "iv_gt_3": sum((row["implied_volatility"] or 0) > 3 for row in rows),
            "oi_null": sum(row["open_interest"] is None for row in rows),
            "dup_key": done.duplicates,
        }
        for name, rows in days.items()
    }
    assert counted.keys() == expected.keys()
    assert differences(expected, counted) == {}


def test_minutes_of_options_are_snapshots_of_every_contract(files, opened):
    expected = files.like(r"options/lean_minute/(\w+)/\d{8}_(quote|trade|openinterest)_american\.zip")
    done = opened.backfill("options_data", source="lean", path=files.path("options", "lean_minute"))
    assert (done.rejected, done.duplicates) == (0, 0)
    rows = opened.query("options_data").to_arrow().to_pylist()
    kinds = {kind: facts for (_, kind), facts in expected.items()}
    traded = {}
    for row in rows:
        traded.setdefault(row["contract_symbol"], []).append(row["volume"])
    assert sum(any(volumes) for volumes in traded.values()) == kinds["trade"]["entries"]
    assert len(rows) >= max(facts["rows"] for facts in kinds.values())
    assert len(rows) <= sum(facts["rows"] for facts in kinds.values())
    if "openinterest" in kinds:
        assert len(traded) == kinds["openinterest"]["entries"]
        assert all(row["open_interest"] is not None for row in rows)


def test_filings_are_news_each_at_the_instant_that_is_known_of_it(files, opened):
    expected = files.like(r"news_events/sec/(.*)\.(?:idx|json)")
    done = opened.backfill("news", source="sec", path=files.path("news_events", "sec"))
    assert done.rejected == 0
    rows = opened.query("news").to_arrow().to_pylist()
    lines = 0
    for path in Path(files.path("news_events", "sec")).glob("*.idx"):
        filings = list(index_filings(path.read_text(), []))
        lines += len(filings)
        day = datetime.strptime(filings[0].published, "%Y%m%d").replace(tzinfo=UTC)
        assert {each.accession for each in filings} == {row["article_id"] for row in rows if row["ts"] == day}
    assert lines == sum(facts["rows"] for (name,), facts in expected.items() if name.startswith("form"))
    tesla = [row for row in rows if row["author"] == "Tesla, Inc." and row["ts"].time() != midnight(date.min).time()]
    facts = expected["tsla_submissions",]
    assert len(tesla) == facts["rows"]
    assert {row["symbol"] for row in tesla} == {"TSLA"}
    # EDGAR is shut at night; read as the UTC that it is marked as, a sixth of these would have come then.
    at_night = [row for row in tesla if not 6 <= row["ts"].astimezone(NEW_YORK).hour < 22]
    assert len(at_night) <= 2


def test_files_of_databento_are_bars_and_quotes(given, opened):
    given.like(r"formats/dbn/.*ohlcv.*")
    done = opened.backfill("market_data", source="databento", path=given.path("formats", "dbn"))
    quotes = opened.backfill("options_data", source="databento", path=given.path("formats", "dbn"))
    assert done.rows > 0
    assert quotes.rows > 0


# --------------------------------------------------------------------------------------------------------- restatements


def test_a_wrong_restatement_of_one_date_waits_for_a_person_and_roundings_do_not(given, opened):
    expected = given.like(r"restatements/sp500/vintage_(.*)/(.*)_data\.csv")
    folders = sorted({vintage for vintage, _ in expected})
    done = {}
    for vintage in folders:
        path = given.path("restatements", "sp500", f"vintage_{vintage}")
        done[vintage] = opened.backfill("market_data", source="files", path=path, as_of=date(2018, 3, 1))
        rows = sum(facts["rows"] for (of, _), facts in expected.items() if of == vintage)
        assert done[vintage].rows + done[vintage].rejected == rows
    assert [done[vintage].held for vintage in folders] == [0, 1]
    [held] = opened.vintages("market_data", states=["held"])
    assert held.partition.day == date(2017, 8, 1)
    [finding] = opened.check("market_data", rules=["restatement"]).findings
    assert finding.ts.date() == date(2017, 8, 1)
    close = opened.query("market_data", symbols=["AAPL"], start=date(2017, 8, 1), end=date(2017, 8, 2)).to_arrow()
    assert str(close["close"][0]).rstrip("0") == "150.05"  # the older delivery was right


class Deliveries:
    """Twelve shares over ten days, as a second delivery has them: other last digits, later trades, one day wrong."""

    name = "deliveries"

    def __init__(self, number):
        """Say which delivery."""
        self.number = number

    def fetch(self, request):
        """All rows."""
        del request
        rows = []
        for day in range(10):
            for share in range(12):
                close = 50 + share + day / 10
                if self.number == 2:
                    wrong = day == 6 and share < 6
                    close = close * 1.05 if wrong else close + 0.0001
                rows.append(
                    (f"S{share:02d}", datetime(2017, 7, 24, tzinfo=UTC) + day * ONE_DAY, round(close, 4), share)
                )
        symbols, stamps, closes, shares = zip(*rows, strict=True)
        prices = dict.fromkeys(("open", "high", "low", "close"), closes)
        volumes = [1e6 * (1 + self.number * share / 1000) for share in shares]
        same = {"asset_class": ["equity"] * len(rows), "interval": ["1day"] * len(rows)}
        table = {
            "symbol": symbols,
            "ts": pa.array(stamps, MARKET_DATA.arrow_schema.field("ts").type),
            "volume": volumes,
        }
        yield Fetched(pa.table(same | table | prices), f"delivery {self.number}")


def test_of_two_deliveries_only_the_day_that_says_something_else_is_held(opened):
    opened.backfill("market_data", source=Deliveries(1))
    second = opened.backfill("market_data", source=Deliveries(2))
    actions = Counter(moved.action for moved in second.moved)
    assert actions == {"written": 9, "held": 1}
    [held] = opened.vintages("market_data", states=["held"])
    assert (held.partition.day, held.reason) == (date(2017, 7, 30), "6 of 12 symbols changed (6 rows changed, 0 added)")
