"""How fast are rows held to the rules of market_data, on one core, beside pandera and pointblank?

    uv sync --group bench
    .venv/bin/python benchmarks/validation.py [--rows 1000000] [--rounds 5] [--json FILE]

Every engine holds the same rows to the same rules: required columns without nulls, prices above 0, OHLC, vwap near
low and high, volume and trade count not negative, times on whole minutes and not in the future, keys unique. Some rows
are broken on purpose, and each engine must find just those. The process is bound to one core. Engines take turns, so
that a machine that is busy meanwhile slows all of them; medians count.

Thermocline is shown three times: the rules alone, as the others (nulls and keys included); the whole gate, which also
brings every column into its dataset's types and parts good rows from bad; and the whole gate on texts, as CSV has them.
The others get the prices as floats, which is what they are fastest at.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

# Before any of them is imported.
os.environ |= {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "DISABLE_PANDERA_IMPORT_WARNING": "True"}

import numpy as np
import pyarrow as pa

from thermocline.model.conform import conform
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.duplicates import duplicates_of
from thermocline.model.parsing import from_scaled
from thermocline.model.rules import Rows, Severity, Validation

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SYMBOLS = 50
PRICES = ("open", "high", "low", "close")
REQUIRED = ("asset_class", "symbol", "interval", "ts", *PRICES)
KEY = list(MARKET_DATA.key)
KINDS = ("nulls", "positive_prices", "ohlc", "vwap", "volume", "trade_count", "alignment", "future", "keys")
"""What is broken on purpose, one after the other."""

Found = Mapping[str, int]
Engine = Callable[[], Found]


@dataclass(frozen=True)
class Planted:
    """Bars in the dataset's types, and how many of them break each rule."""

    rows: pa.Table
    broken: Found


def planted(count: int, *, every: int = 1_000) -> Planted:
    """Bars of a minute by symbol and time, each `every`th of which breaks one rule."""
    dice = np.random.default_rng(7)
    each = count // SYMBOLS
    count = each * SYMBOLS
    minutes = np.tile(np.arange(each, dtype=np.int64), SYMBOLS)
    ticks = (1_577_836_800 + 60 * minutes) * 1_000_000  # from 2020 on
    opened = dice.integers(1_000_000, 20_000_000, count) * 10_000
    closed = opened + dice.integers(-5_000, 5_000, count) * 10_000
    high, low = np.maximum(opened, closed) + 1_000_000, np.minimum(opened, closed) - 1_000_000
    columns = {"open": opened, "high": high, "low": low, "close": closed, "vwap": (opened + closed) // 2}
    volume, trades = dice.random(count) * 1e6, dice.integers(0, 1_000, count)
    at = np.arange(every // 2, count, every)
    rows = {kind: at[number :: len(KINDS)] for number, kind in enumerate(KINDS)}
    for name in PRICES:
        columns[name][rows["positive_prices"]] = -100_000_000
    columns["vwap"][rows["positive_prices"]] = -100_000_000
    columns["high"][rows["ohlc"]] = columns["low"][rows["ohlc"]] - 1_000_000
    columns["vwap"][rows["vwap"]] = columns["high"][rows["vwap"]] * 2
    volume[rows["volume"]] = -1
    trades[rows["trade_count"]] = -1
    ticks[rows["alignment"]] += 1_000_000
    ticks[rows["future"]] += 10 * 365 * 86_400 * 1_000_000
    ticks[rows["keys"]] -= 60_000_000
    # A row out of order says something of its price too: that rule looks at what is there.
    columns["vwap"][rows["ohlc"]] = columns["low"][rows["ohlc"]]
    known = np.ones(count, dtype=bool)
    known[rows["nulls"]] = False
    alike = pa.array(np.zeros(count, dtype=np.int64))
    of_symbol = pa.array(np.repeat(np.arange(SYMBOLS), each))
    made = {
        "asset_class": pa.array(["equity"]).take(alike),
        "symbol": pa.array([f"SYM{n:03d}" for n in range(SYMBOLS)]).take(of_symbol),
        "interval": pa.array(["1min"]).take(alike),
        "ts": pa.array(ticks).cast(pa.timestamp("us", tz="UTC")),
        **{name: from_scaled(values, 18, 8) for name, values in columns.items()},
        "volume": pa.array(volume),
        "trade_count": pa.array(trades),
    }
    made["close"] = from_scaled(columns["close"], 18, 8, pa.array(known))
    ordered = [name for name in MARKET_DATA.names if name in made]
    return Planted(pa.table([made[name] for name in ordered], names=ordered), {k: len(v) for k, v in rows.items()})


# --------------------------------------------------------------------------------------------------------- Thermocline


def the_gate(rows: pa.Table) -> Engine:
    """The whole gate: types, nulls, rules, keys; good rows parted from bad."""
    rulebook = Validation().rulebook(MARKET_DATA)

    def run() -> Found:
        found = conform(rows, MARKET_DATA, source="made", ingested_at=NOW, origin="made", rulebook=rulebook)
        return {**found.rejected_by, **found.warned_by}

    return run


def the_rules(rows: pa.Table) -> Engine:
    """Nulls, rules and keys of rows that have their types already."""
    rulebook = Validation().rulebook(MARKET_DATA)
    arrays = {name: rows[name].combine_chunks() for name in rows.column_names}
    table = pa.table(arrays)

    def run() -> Found:
        looked_at = Rows(arrays, NOW)
        bad = np.zeros(len(table), dtype=bool)
        counts = {}
        for name in REQUIRED:
            if arrays[name].null_count:
                missing = np.asarray(arrays[name].is_null())
                bad |= missing
                counts["nulls"] = counts.get("nulls", 0) + int(missing.sum())
        for rule, severity in rulebook.rules:
            broken = rule.broken(looked_at)
            counts[rule.name] = int(broken.sum())
            if severity is Severity.REJECT:
                bad |= broken
        counts["keys"] = len(duplicates_of(table, MARKET_DATA, np.flatnonzero(~bad)).conflicting)
        return counts

    return run


# ------------------------------------------------------------------------------------------------------------- others


def _floats(rows: pa.Table) -> pa.Table:
    """The same with prices as floats."""
    fields = [pa.field(f.name, pa.float64() if pa.types.is_decimal(f.type) else f.type) for f in rows.schema]
    return rows.cast(pa.schema(fields))


def with_pandera(rows: pa.Table) -> Engine:
    """Pandera on pandas."""
    import pandera.pandas as pandera  # noqa: PLC0415  # only who compares needs it

    frame = _floats(rows).to_pandas()
    now = np.datetime64(NOW.replace(tzinfo=None))
    low, high = (lambda f: f[["open", "close"]].min(axis=1), lambda f: f[["open", "close"]].max(axis=1))
    above = [pandera.Check.gt(0)]
    schema = pandera.DataFrameSchema(
        {
            **{name: pandera.Column(str, nullable=False) for name in ("asset_class", "symbol", "interval")},
            "ts": pandera.Column(
                checks=[
                    pandera.Check(lambda ts: ts.astype("int64") % 60_000_000 == 0, name="alignment"),
                    pandera.Check(lambda ts: ts.dt.tz_localize(None) <= now, name="future"),
                ]
            ),
            **{name: pandera.Column(float, above, nullable=False) for name in PRICES},
            "volume": pandera.Column(float, pandera.Check.ge(0), nullable=True),
            "trade_count": pandera.Column(int, pandera.Check.ge(0), nullable=True),
            "vwap": pandera.Column(float, nullable=True),
        },
        checks=[
            pandera.Check(
                lambda f: ~((f["low"] > low(f)) | (f["high"] < high(f)) | (f["low"] > f["high"])), name="ohlc"
            ),
            pandera.Check(
                lambda f: (
                    ~((f["vwap"] < f["low"] - f["low"].abs() * 0.01) | (f["vwap"] > f["high"] + f["high"].abs() * 0.01))
                ),
                name="vwap",
            ),
        ],
        unique=KEY,
        report_duplicates="exclude_last",
    )

    def run() -> Found:
        try:
            schema.validate(frame, lazy=True)
        except pandera.errors.SchemaErrors as error:
            return _told_by_pandera(error.failure_cases)
        return {}

    return run


def _told_by_pandera(cases: Any) -> Found:
    """Cases by rule. A rule of the whole frame has a case for each column; a row with four prices below 0 has four."""
    cases = cases.dropna(subset=["index"])
    cases.loc[cases["schema_context"] == "DataFrameSchema", "column"] = ""
    cases = cases.drop_duplicates(["column", "check", "index"])
    found: dict[str, int] = {}
    for (column, check), count in cases.groupby(["column", "check"], dropna=False).size().items():
        name = _named(str(column), str(check))
        found[name] = found.get(name, 0) + int(count)
    return found | {"positive_prices": found.get("positive_prices", 0) // len(PRICES)}


def _named(column: str, check: str) -> str:
    if check.startswith("greater_than"):
        return "positive_prices" if column in PRICES else column
    return {"not_nullable": "nulls", "multiple_fields_uniqueness": "keys"}.get(check, check)


def with_pandera_polars(rows: pa.Table) -> Engine:
    """Pandera on polars."""
    import pandera.polars as pandera  # noqa: PLC0415  # only who compares needs it
    import polars as pl  # noqa: PLC0415

    frame = pl.from_arrow(_floats(rows))

    def check(name: str, expression: Any) -> Any:
        return pandera.Check(lambda given: given.lazyframe.select(expression), name=name)

    prices = {name: pandera.Column(float, pandera.Check.gt(0), nullable=False) for name in PRICES}
    schema = pandera.DataFrameSchema(
        {
            **{name: pandera.Column(str, nullable=False) for name in ("asset_class", "symbol", "interval")},
            "ts": pandera.Column(nullable=False),
            **prices,
            "volume": pandera.Column(float, pandera.Check.ge(0), nullable=True),
            "trade_count": pandera.Column(int, pandera.Check.ge(0), nullable=True),
            "vwap": pandera.Column(float, nullable=True),
        },
        checks=[check(name, expression) for name, expression in _in_polars(pl).items()],
        unique=KEY,
    )

    def run() -> Found:
        try:
            schema.validate(frame, lazy=True)
        except pandera.errors.SchemaErrors as error:
            return _counted_in_polars(error.failure_cases)
        return {}

    return run


def _in_polars(pl: Any) -> Mapping[str, Any]:
    """Rules over more than one column, or of times, as polars writes them."""
    low, high, vwap = pl.col("low"), pl.col("high"), pl.col("vwap")
    return {
        "alignment": pl.col("ts").dt.timestamp("us") % 60_000_000 == 0,
        "future": pl.col("ts") <= pl.lit(NOW),
        "ohlc": ~(
            (low > pl.min_horizontal("open", "close")) | (high < pl.max_horizontal("open", "close")) | (low > high)
        ),
        "vwap": ~((vwap < low - low.abs() * 0.01) | (vwap > high + high.abs() * 0.01)),
    }


def _counted_in_polars(cases: Any) -> Found:
    """Cases by rule; both rows of a pair with one key are cases."""
    found: dict[str, int] = {}
    for column, check, count in cases.group_by("column", "check").len().iter_rows():
        name = _named(column or "", check)
        found[name] = found.get(name, 0) + count
    found["positive_prices"] = found.get("positive_prices", 0) // len(PRICES)
    return found | {"keys": found.get("keys", 0) // 2}


def with_pointblank(rows: pa.Table) -> Engine:
    """Pointblank on polars."""
    import pointblank  # noqa: PLC0415  # only who compares needs it
    import polars as pl  # noqa: PLC0415

    frame = pl.from_arrow(_floats(rows))

    def run() -> Found:
        checked = pointblank.Validate(frame).col_vals_not_null(columns=list(REQUIRED))
        checked = checked.col_vals_gt(columns=list(PRICES), value=0, na_pass=True)
        checked = checked.col_vals_ge(columns="volume", value=0, na_pass=True)
        checked = checked.col_vals_ge(columns="trade_count", value=0, na_pass=True)
        rules = _in_polars(pl)
        for expression in rules.values():
            checked = checked.col_vals_expr(expr=expression)
        checked = checked.rows_distinct(columns_subset=KEY).interrogate(get_first_n=0, collect_extracts=False)
        failed = list(checked.n_failed().values())
        nulls, prices = failed[: len(REQUIRED)], failed[len(REQUIRED) : len(REQUIRED) + len(PRICES)]
        rest = failed[len(REQUIRED) + len(PRICES) :]
        return {
            "nulls": sum(nulls),
            "positive_prices": max(prices),
            "volume": rest[0],
            "trade_count": rest[1],
            **dict(zip(rules, rest[2:-1], strict=True)),
            "keys": rest[-1] // 2,  # both rows of a pair
        }

    return run


# ------------------------------------------------------------------------------------------------------------ measuring


@dataclass(frozen=True)
class Timing:
    """Seconds of one run, on the clock and of the core."""

    wall: float
    core: float


def measured(engines: Mapping[str, Engine], rounds: int) -> dict[str, list[Timing]]:
    """Each engine in turn, so many rounds; a first run of each is not counted."""
    timings: dict[str, list[Timing]] = {name: [] for name in engines}
    for number in range(rounds + 1):
        for name, run in engines.items():
            wall, core = time.perf_counter(), time.process_time()
            run()
            took = Timing(time.perf_counter() - wall, time.process_time() - core)
            if number:
                timings[name].append(took)
    return timings


def machine() -> dict[str, Any]:
    """What it ran on."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), model)
    versions = {}
    for package in ("numpy", "pyarrow", "pandas", "polars", "pandera", "pointblank"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "processor": model,
        "cores_used": 1,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **versions,
    }


def main() -> int:
    """Measure and print; the exit code is 1 where an engine did not find just what was broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the result here")
    asked = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    made = planted(asked.rows)
    texts = made.rows.cast(pa.schema([pa.field(f.name, pa.string()) for f in made.rows.schema]))
    engines: dict[str, Engine] = {
        "thermocline, rules alone": the_rules(made.rows),
        "thermocline, whole gate": the_gate(made.rows),
        "thermocline, whole gate on texts": the_gate(texts),
    }
    for name, package, prepare in (
        ("pandera on pandas", "pandera", with_pandera),
        ("pandera on polars", "pandera", with_pandera_polars),
        ("pointblank on polars", "pointblank", with_pointblank),
    ):
        try:
            engines[name] = prepare(made.rows)
        except ImportError as error:
            print(f"{name} is left out: {error}. `uv sync --group bench` installs {package}", file=sys.stderr)
    wrong = 0
    for name, run in engines.items():
        found = {kind: run().get(kind, 0) for kind in KINDS}
        if found != dict(made.broken):
            wrong = 1
            print(f"{name} found {found}, but {dict(made.broken)} was broken", file=sys.stderr)
    print(json.dumps(machine()))
    timings = measured(engines, asked.rounds)
    rows = len(made.rows)
    base = statistics.median(each.core for each in timings["thermocline, whole gate"])
    results = []
    print(f"{rows:,d} rows, {sum(made.broken.values()):,d} of them broken; medians of {asked.rounds} rounds")
    print(f"{'':34}{'wall':>9}{'core':>9}{'rows/s of core':>17}{'of the gate':>13}")
    for name, took in timings.items():
        wall, core = (statistics.median(getattr(each, unit) for each in took) for unit in ("wall", "core"))
        results.append({"engine": name, "wall_seconds": wall, "core_seconds": core, "rows_per_second": rows / core})
        print(f"{name:34}{wall:8.3f}s{core:8.3f}s{rows / core:17,.0f}{core / base:12.2f}x")
    if asked.json:
        document = {"machine": machine(), "rows": rows, "broken": dict(made.broken), "results": results}
        asked.json.write_text(json.dumps(document, indent=2) + "\n")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
