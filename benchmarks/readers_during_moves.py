"""Readers beside a writer and everything that moves rows: are the answers right, and how long do they take?

    .venv/bin/python benchmarks/readers_during_moves.py [SECONDS]

Readers ask point, range and aggregate questions for a quiet minute, and then for as long while one process accepts
late rows and another rotates, undoes, rehydrates, compacts and releases without pause. Printed are the latencies of
both, and the ratio of the 99th percentiles of a point query on a hot day that nothing moves. Every answer is checked:
with a wrong one, or an error, the exit code is 1. `tests/faults/test_readers.py` runs the same for a minute of moves.
"""

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import thermocline
from thermocline.errors import StaleStateError
from thermocline.settings import load_settings

FIRST = date(2024, 1, 2)
MOVING_DAYS = 12
STILL_DAY = date(2024, 6, 3)
"""A day that stays hot all the time."""

AS_OF = date(2024, 6, 10)
SYMBOLS = ("AAPL", "IBM", "MSFT", "NVDA", "TSLA")
MINUTES = 120
LATE, COUNTER = "LATE", "COUNT"

_spawned = multiprocessing.get_context("spawn")


def days() -> list[date]:
    """The days that move."""
    return [FIRST + timedelta(days=number) for number in range(MOVING_DAYS)]


def close_of(symbol: str, day: date, minute: int) -> Decimal:
    """The close that a bar has, so that any answer can be checked without asking."""
    return Decimal(SYMBOLS.index(symbol) * 1000 + day.toordinal() % 100) + Decimal(minute) / 100


def bars(rows: list[tuple[str, datetime, Decimal, float, int]]) -> pa.Table:
    """One-minute bars from symbol, time, close, volume and trade count."""
    symbols, stamps, closes, volumes, counts = zip(*rows, strict=True)
    return pa.table(
        {
            "asset_class": ["equity"] * len(rows),
            "symbol": symbols,
            "interval": ["1min"] * len(rows),
            "ts": pa.array(stamps, pa.timestamp("us", tz="UTC")),
            **{name: pa.array(closes, pa.decimal128(18, 8)) for name in ("open", "high", "low", "close")},
            "volume": volumes,
            "trade_count": counts,
        }
    )


def day_of_bars(day: date) -> pa.Table:
    """A day's bars of every symbol."""
    start = datetime(day.year, day.month, day.day, 14, tzinfo=UTC)
    return bars(
        [
            (symbol, start + timedelta(minutes=minute), close_of(symbol, day, minute), 100.0, minute)
            for symbol in SYMBOLS
            for minute in range(MINUTES)
        ]
    )


@dataclass
class Told:
    """What one process saw: seconds by kind of question, how often each act was done, and what was wrong."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    acts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


@dataclass
class Shared:
    """What the processes know of each other: whether to stop, and how many late rows were begun and accepted."""

    stop: Any
    begun: Any
    accepted: Any

    @classmethod
    def fresh(cls, accepted: int) -> "Shared":
        """Nothing stopped yet; so many late rows are in."""
        return cls(_spawned.Event(), _spawned.Value("q", accepted), _spawned.Value("q", accepted))


# ---------------------------------------------------------------------------------------------------------- processes


def ask(home: Path, shared: Shared, seed: int) -> Told:
    """Ask until told to stop, and check each answer."""
    told, dice = Told(), random.Random(seed)  # noqa: S311  # tests want the same questions each time
    questions: dict[str, Callable[[Any, random.Random, Shared], str]] = {
        "point, still hot day": _ask_still_point,
        "point, moving day": _ask_moving_point,
        "range, late rows": _ask_late,
        "range, one symbol": _ask_symbol,
        "aggregate": _ask_aggregate,
    }
    with opened(home) as tc:
        for ask_one in questions.values():
            ask_one(tc, dice, shared)  # the first question of a process pays for imports and connections
        while not shared.stop.is_set():
            kind = dice.choices(list(questions), weights=(6, 3, 2, 2, 1))[0]
            began = time.perf_counter()
            wrong = questions[kind](tc, dice, shared)
            told.seconds.setdefault(kind, []).append(time.perf_counter() - began)
            if wrong:
                told.wrong.append(f"{kind}: {wrong}")
    return told


def _ask_still_point(tc: Any, dice: random.Random, _: Shared) -> str:
    return _ask_point(tc, dice, STILL_DAY)


def _ask_moving_point(tc: Any, dice: random.Random, _: Shared) -> str:
    return _ask_point(tc, dice, dice.choice(days()))


def _ask_point(tc: Any, dice: random.Random, day: date) -> str:
    symbol, minute = dice.choice(SYMBOLS), dice.randrange(MINUTES)
    at = datetime(day.year, day.month, day.day, 14, minute % 60, tzinfo=UTC) + timedelta(hours=minute // 60)
    found = tc.query(
        "market_data",
        symbols=[symbol],
        interval="1min",
        start=at,
        end=at + timedelta(minutes=1),
        columns=["ts", "close"],
    ).to_arrow()
    expected = [{"ts": at, "close": close_of(symbol, day, minute)}]
    return "" if found.to_pylist() == expected else f"{symbol} at {at}: {found.to_pylist()} instead of {expected}"


def _ask_symbol(tc: Any, dice: random.Random, _: Shared) -> str:
    symbol = dice.choice(SYMBOLS)
    found = tc.query("market_data", symbols=[symbol], interval="1min", columns=["ts", "close"]).to_arrow()
    expected = [close_of(symbol, day, minute) for day in (*days(), STILL_DAY) for minute in range(MINUTES)]
    return "" if found["close"].to_pylist() == expected else f"{symbol}: {len(found)} rows instead of {len(expected)}"


def _ask_late(tc: Any, _: random.Random, shared: Shared) -> str:
    """Late rows come one by one, each with a new count in one commit: any look must have seen a beginning of them."""
    low = shared.accepted.value
    found = tc.query(
        "market_data", symbols=[LATE, COUNTER], interval="1min", columns=["symbol", "trade_count"]
    ).to_arrow()
    high = shared.begun.value
    numbers = sorted(row["trade_count"] for row in found.to_pylist() if row["symbol"] == LATE)
    counts = [row["trade_count"] for row in found.to_pylist() if row["symbol"] == COUNTER]
    good = numbers == list(range(1, len(numbers) + 1)) and low <= len(numbers) <= high and counts == [len(numbers)]
    return (
        ""
        if good
        else f"{len(numbers)} late rows up to {max(numbers, default=0)}, count {counts}, between {low} and {high}"
    )


def _ask_aggregate(tc: Any, _: random.Random, shared: Shared) -> str:
    low = shared.accepted.value
    found = tc.sql(
        "SELECT count(*) FILTER (symbol NOT IN ('LATE', 'COUNT')) AS bars, sum(close) FILTER (symbol NOT IN"
        " ('LATE', 'COUNT')) AS closes, count(*) FILTER (symbol = 'LATE') AS late, count(DISTINCT trade_count)"
        " FILTER (symbol = 'LATE') AS numbers FROM market_data"
    ).to_arrow()
    high = shared.begun.value
    [row] = found.to_pylist()
    all_bars = [close_of(s, day, m) for s in SYMBOLS for day in (*days(), STILL_DAY) for m in range(MINUTES)]
    good = (row["bars"], row["closes"]) == (len(all_bars), sum(all_bars)) and low <= row["late"] == row[
        "numbers"
    ] <= high
    return "" if good else f"{row} instead of {len(all_bars)} bars and {low} to {high} late rows"


def append(home: Path, shared: Shared, seed: int) -> Told:
    """Accept late rows, one after the other, until told to stop."""
    told = Told()
    del seed
    with opened(home) as tc:
        while not shared.stop.is_set():
            number = shared.accepted.value + 1
            shared.begun.value = number
            day = days()[number % MOVING_DAYS]
            at = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(minutes=number // MOVING_DAYS)
            counted = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
            price = Decimal(number)
            tc.ingest(
                "market_data",
                bars(
                    [
                        (LATE, at, price, 1.0, number),
                        (COUNTER, counted, price, 1.0, number),
                    ]
                ),
            )
            shared.accepted.value = number
            told.acts["ingest"] += 1
            time.sleep(0.05)
    return told


def move(home: Path, shared: Shared, seed: int) -> Told:
    """Rotate, undo, rehydrate, compact and release in turn until told to stop."""
    told, dice = Told(), random.Random(seed)  # noqa: S311  # tests want the same acts each time
    with opened(home) as tc:
        while not shared.stop.is_set():
            for act, do in _acts(tc, dice):
                if shared.stop.is_set():
                    break
                do()
                told.acts[act] += 1
    return told


def _acts(tc: Any, dice: random.Random) -> Iterator[tuple[str, Callable[[], Any]]]:
    first = dice.choice(days())
    some = {"start": first, "end": first + timedelta(days=dice.randrange(1, 6))}
    yield "rotate", lambda: tc.rotate(as_of=AS_OF)
    yield "undo", lambda: _undone(tc, some)
    yield "rehydrate", lambda: tc.rehydrate("market_data", **some)
    yield "rotate", lambda: tc.rotate(as_of=AS_OF)
    if hasattr(tc, "compact"):
        yield "compact", lambda: tc.compact(["market_data"], as_of=AS_OF)
    # A year later, so that everything that was detached is released; the day that stays hot has a window that long.
    yield "release", lambda: tc.rotate(as_of=AS_OF + timedelta(days=300), hot_days=300 + (AS_OF - STILL_DAY).days)


def _undone(tc: Any, some: dict[str, Any]) -> None:
    try:
        tc.undo("market_data", **some)
    except StaleStateError:  # late rows came in between: refused, as promised
        return


@contextmanager
def opened(home: Path) -> Iterator[Any]:
    """A home where one-minute bars may be hot."""
    with thermocline.open(settings=load_settings(home, environ={})) as tc:
        yield tc


def _in_process(work: Callable[[Path, Shared, int], Told], home: Path, shared: Shared, seed: int, answers: Any) -> None:
    try:
        told = work(home, shared, seed)
    except BaseException:  # noqa: BLE001  # whatever it is, the others are to stop and it is to be told
        told = Told(wrong=[f"{work.__name__}: {traceback.format_exc()}"])
        shared.stop.set()
    answers.put((work.__name__, told))


def run(
    home: Path, seconds: float, *, moving: bool, accepted: int = 0, readers: int = 2
) -> tuple[dict[str, Told], int]:
    """Let readers ask for so long, with or without moves beside them; what each kind of process told, and late rows."""
    shared, answers = Shared.fresh(accepted), _spawned.Queue()
    works = [ask] * readers + [append, move] * moving
    processes = [
        _spawned.Process(target=_in_process, args=(work, home, shared, number, answers), daemon=True)
        for number, work in enumerate(works)
    ]
    for process in processes:
        process.start()
    shared.stop.wait(seconds)
    shared.stop.set()
    told: dict[str, Told] = {}
    for _ in processes:
        name, one = answers.get(timeout=120)
        all_ = told.setdefault(name, Told())
        for kind, taken in one.seconds.items():
            all_.seconds.setdefault(kind, []).extend(taken)
        all_.acts += one.acts
        all_.wrong += one.wrong
    for process in processes:
        process.join(30)
    return told, shared.accepted.value


def prepare(home: Path) -> int:
    """A home with days in the lake and one hot day; one late row is in. Returns how many late rows are."""
    home.mkdir(parents=True, exist_ok=True)
    window = (AS_OF - STILL_DAY).days
    (home / "thermocline.yaml").write_text(
        f"storage:\n  lifecycle:\n    hot_days: {window}\n    hot_intervals: {{1min: {window}}}\n    undo_days: 200\n"
    )
    with opened(home) as tc:
        for day in days():
            tc.save("market_data", day_of_bars(day))
        tc.ingest("market_data", day_of_bars(STILL_DAY), as_of=AS_OF)
        counted = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
        tc.ingest(
            "market_data",
            bars([(LATE, counted, Decimal(1), 1.0, 1), (COUNTER, counted, Decimal(1), 1.0, 1)]),
            as_of=AS_OF,
        )
    return 1


def main() -> int:
    """Compare a quiet minute with a busy one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("seconds", nargs="?", type=float, default=60.0, help="how long each of the two takes")
    parser.add_argument("--readers", type=int, default=2, help="how many processes ask")
    given = parser.parse_args()
    from thermocline.stores import embedded  # noqa: PLC0415  # only here, to stop the server

    with tempfile.TemporaryDirectory(prefix="tc-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        home = Path(folder) / "home"
        try:
            accepted = prepare(home)
            quiet, accepted = run(home, given.seconds, moving=False, accepted=accepted, readers=given.readers)
            busy, accepted = run(home, given.seconds, moving=True, accepted=accepted, readers=given.readers)
        finally:
            embedded.stop(home)
    print(f"{os.cpu_count()} cores, {given.readers} readers, {given.seconds:.0f} s each")
    print(f"{'':24}{'quiet':>34}{'during moves':>34}")
    print(f"{'':24}" + f"{'asked':>10}{'median ms':>12}{'p99 ms':>12}" * 2)
    for kind in sorted(quiet["ask"].seconds):
        line = f"{kind:24}"
        for told in (quiet, busy):
            taken = np.array(told["ask"].seconds.get(kind, [np.nan])) * 1000
            line += f"{len(taken):>10,d}{np.median(taken):>12.1f}{np.percentile(taken, 99):>12.1f}"
        print(line)
    point = "point, still hot day"
    ratio = np.percentile(busy["ask"].seconds[point], 99) / np.percentile(quiet["ask"].seconds[point], 99)
    print(f"p99 of a point query on a hot day that nothing moves: {ratio:.2f} x that of the quiet minute")
    print("acts:", ", ".join(f"{n} {act}" for told in busy.values() for act, n in told.acts.items()))
    wrong = [text for side in (quiet, busy) for told in side.values() for text in told.wrong]
    print(f"wrong answers and errors: {len(wrong)}")
    for text in wrong[:10]:
        print(text, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
