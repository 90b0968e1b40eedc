"""Small questions about hot days from eight threads: ours, and the same SQL by psycopg with a connection a thread."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from peers.findings import Asked, Cell, Table
from small_queries import HOT_DAYS, LAST_ROWS, MINUTES, SYMBOLS, THREADS, ask_day, ask_last, fill
from worlds import days, open_home, symbols

from thermocline import Thermocline
from thermocline.model.partition import midnight

COLUMNS = ("way", "questions a second", "median, ms", "95 of 100 within, ms")
ASKED = "SELECT * FROM market_data WHERE symbol = %s AND interval = '1min' AND ts >= %s AND ts < %s ORDER BY ts"

Ask = Callable[[str, Any], int]


def bare(url: str, since_open: timedelta) -> Ask:
    """The same question in SQL, on a connection that each thread keeps, whose rows stay tuples."""
    kept = threading.local()

    def ask(symbol: str, start: Any) -> int:
        if not hasattr(kept, "connection"):
            kept.connection = psycopg.connect(url, autocommit=True)
        rows = kept.connection.execute(ASKED, (symbol, start + since_open, start + timedelta(days=1))).fetchall()
        return len(rows)

    return ask


def asked(ask: Ask, expected: int, threads: int, seconds: float) -> list[float]:
    """Seconds of every answer, sorted, and how many were given a second."""
    took: list[float] = []
    wrong: list[str] = []
    until = time.monotonic() + seconds

    def work(seed: int) -> None:
        choice = random.Random(seed)  # noqa: S311  # which symbol, not a secret
        own = []
        try:
            while time.monotonic() < until:
                day, symbol = midnight(choice.choice(days(HOT_DAYS))), choice.choice(symbols(SYMBOLS))
                began = time.perf_counter()
                rows = ask(symbol, day)
                own.append(time.perf_counter() - began)
                if rows != expected:
                    wrong.append(f"{rows} rows, not {expected}")
                    return
        except Exception as error:  # noqa: BLE001  # told below
            wrong.append(repr(error))
        took.extend(own)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if wrong:
        raise AssertionError(wrong[0])
    return sorted(took)


def lines(tc: Thermocline, seconds: float, rounds: int) -> Iterator[list[Cell]]:
    """Each way, in turns; the best of so many rounds would flatter, so all are put together."""
    opening = timedelta(minutes=14 * 60 + 30 + MINUTES - LAST_ROWS)
    ways: dict[str, tuple[Ask, int, int]] = {}
    for threads in (1, THREADS):
        told = "one thread" if threads == 1 else f"{threads} threads"
        ways |= {
            f"**thermocline: a symbol's day, {told}**": (lambda s, d: ask_day(tc, s, d), MINUTES, threads),
            f"psycopg, bare: a symbol's day, {told}": (bare(tc.hot.url, timedelta()), MINUTES, threads),
            f"**thermocline: its last {LAST_ROWS} bars, {told}**": (
                lambda s, d: ask_last(tc, s, d),
                LAST_ROWS,
                threads,
            ),
            f"psycopg, bare: its last {LAST_ROWS} bars, {told}": (bare(tc.hot.url, opening), LAST_ROWS, threads),
        }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, (ask, expected, threads) in ways.items():
            found = asked(ask, expected, threads, seconds if number else 0.3)
            if number:
                taken[name] += found
    for name, each in taken.items():
        each.sort()
        median, high = (1000 * each[int(part * (len(each) - 1))] for part in (0.5, 0.95))
        yield [name, round(len(each) / (seconds * rounds)), median, high]


def measure(folder: Path, asked_for: Asked) -> Iterator[Table]:
    """See `full`."""
    with open_home(folder / "small") as tc:
        fill(tc)
        made = list(lines(tc, max(0.5, 2 * min(1.0, asked_for.share * 4)), 2))
    yield Table(
        "small",
        f"Small questions about {HOT_DAYS} hot days of {SYMBOLS} symbols",
        COLUMNS,
        made,
        chart=COLUMNS[1],
        note="Ours are Arrow tables, with the route worked out and checked each time; psycopg's are tuples of a table.",
    )
