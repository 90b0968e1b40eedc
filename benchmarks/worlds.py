"""Homes filled with bars: exact prices, sorted as files are, laid in the lake and in its ledger."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psycopg
import pyarrow as pa

import thermocline
from thermocline import Thermocline
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS, DayRange, Partition
from thermocline.model.receipt import Receipt
from thermocline.ports import Publication
from thermocline.settings import load_settings
from thermocline.sources.synthetic_bars import bars
from thermocline.sources.synthetic_world import World
from thermocline.tasks.archive import settled_head

INGESTED_AT = datetime(2025, 1, 1, 2, 3, 4, tzinfo=UTC)
OPENS_AT_MINUTE = 14 * 60 + 30
"""When a session opens, in UTC."""

FIRST_DAY = date(2023, 1, 1)
SETTINGS = {
    "THERMOCLINE_STORAGE__LIFECYCLE__HOT_DAYS": "30",
    "THERMOCLINE_STORAGE__LIFECYCLE__HOT_INTERVALS": '["1min"]',
    "THERMOCLINE_STORAGE__LIFECYCLE__UNDO_DAYS": "0",
    "THERMOCLINE_STORAGE__CACHE__MEMORY_MIB": "0",  # every answer is worked out, none is a kept one
}

WRITERS = 3
"""Objects of a home that are written at the same time."""

_MINUTES_A_DAY = 1440
_WORLD = World(seed=7)


def open_home(home: Path) -> Thermocline:
    """A home with the settings of every measurement, whatever this user's environment and folder say."""
    home.mkdir(parents=True, exist_ok=True)
    own = home / "thermocline.yaml"
    own.touch()
    return thermocline.open(settings=load_settings(home, own, environ=SETTINGS))


def symbols(count: int) -> list[str]:
    """Names, in the order of files."""
    return [f"S{number:05d}" for number in range(count)]


def days(count: int, first: date = FIRST_DAY) -> list[date]:
    """So many days in a row."""
    return [first + timedelta(days=number) for number in range(count)]


def minute_bars(day: date, names: Sequence[str], minutes: int = 390) -> Iterator[pa.RecordBatch]:
    """A day of one-minute bars, some symbols at a time, sorted by symbol and time."""
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    first = 0 if minutes > _MINUTES_A_DAY - OPENS_AT_MINUTE else OPENS_AT_MINUTE
    opens = np.arange(midnight + first * 60, midnight + (first + minutes) * 60, 60, dtype=np.int64)
    at_once = max(1, 100_000 // minutes)
    for start in range(0, len(names), at_once):
        yield _conformed(bars(_WORLD, list(names[start : start + at_once]), opens, "1min", "equity"))


def like_bars(day: date, names: Sequence[str], minutes: int) -> Iterator[pa.RecordBatch]:
    """The same for measures to which numbers do not matter: symbols have one another's, which takes no time to make."""
    few = 100_000 // minutes
    (block,) = minute_bars(day, names[:few], minutes)
    column = block.schema.get_field_index("symbol")
    for start in range(0, len(names), few):
        some = names[start : start + few]
        codes = np.repeat(np.arange(len(some), dtype=np.int32), minutes)
        theirs = pa.DictionaryArray.from_arrays(codes, pa.array(some))  # as they come from a file
        part = block.slice(0, len(theirs))
        yield part.set_column(column, "symbol", theirs)


def daily_bars(day: date, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """A day's daily bars."""
    for _, batches in daily_days([day], names):
        yield from batches


def daily_days(span: Sequence[date], names: Sequence[str]) -> Iterator[tuple[Partition, Iterator[pa.RecordBatch]]]:
    """Days of daily bars, to lay; made all at once, which takes a fifth of the time."""
    opens = [int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) for day in span]
    made = _conformed(bars(_WORLD, list(names), np.array(opens, dtype=np.int64), "1day", "equity"))
    by_day = np.arange(len(made)).reshape(len(names), len(span)).T
    rows = made.take(pa.array(by_day.ravel()))
    for number, day in enumerate(span):
        yield Partition("market_data", "1day", day), iter([rows.slice(number * len(names), len(names))])


def _conformed(table: pa.Table) -> pa.RecordBatch:
    told = {"source": "synthetic", "ingested_at": INGESTED_AT}
    columns = [
        table[field.name].cast(field.type).combine_chunks()
        if field.name in table.column_names
        else pa.repeat(pa.scalar(told[field.name], field.type), len(table))
        for field in MARKET_DATA.arrow_schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=MARKET_DATA.arrow_schema)


def lay(tc: Thermocline, rows: Iterable[tuple[Partition, Iterable[pa.RecordBatch]]], run_id: str) -> list[Receipt]:
    """Write days to the lake and make them live, in one commit, as a backfill would after its rows are gathered."""

    def write(each: tuple[Partition, Iterable[pa.RecordBatch]]) -> Receipt:
        return tc.lake.write(each[0], 1, each[1], run_id=run_id)

    with ThreadPoolExecutor(WRITERS) as pool:  # half of what it takes to write a small object is to wait for the disk
        receipts = list(pool.map(write, rows))
    with tc.hot.writer(MARKET_DATA) as writer, tc.lake.run(run_id):
        head = settled_head(writer, tc.lake, MARKET_DATA, run_id=run_id, anew=True)
        head = tc.lake.publish(MARKET_DATA, added=receipts, removed=(), expected_head=head, run_id=run_id)
        writer.publish(Publication(MARKET_DATA, head, run_id, receipts))
    return receipts


@contextmanager
def synced_at_the_end() -> Iterator[None]:
    """Have this process sync files all at once, when the block ends: thousands of small ones take half the time so."""
    with patch("os.fsync"):
        yield
    os.sync()


def minute_days(
    count: int, names: Sequence[str], minutes: int = 390, first: date = FIRST_DAY
) -> Iterator[tuple[Partition, Iterator[pa.RecordBatch]]]:
    """Days of one-minute bars, to lay."""
    for day in days(count, first):
        yield Partition("market_data", "1min", day), minute_bars(day, names, minutes)


def statement(tc: Thermocline, *texts: Any) -> None:
    """Run statements in the home's PostgreSQL, each by itself."""
    with psycopg.connect(tc.hot.url, autocommit=True) as connection:
        for text in texts:
            connection.execute(text)


def object_paths(tc: Thermocline, span: DayRange = ALL_DAYS) -> list[str]:
    """The files of days of one-minute bars, in the order of days, each once."""
    located = tc.lake.locations(tc.hot.live(MARKET_DATA, span, ["1min"]))
    return list(dict.fromkeys(each.location.removeprefix("file://") for each in located))


def leaf_tables(tc: Thermocline) -> list[str]:
    """The tables that hold hot days, quoted as SQL takes them, in the order of days."""
    with psycopg.connect(tc.hot.url) as connection:
        rows = connection.execute(
            """SELECT c.oid::regclass::text FROM pg_class c JOIN pg_partition_tree('market_data') t ON t.relid = c.oid
               WHERE t.isleaf AND c.relkind = 'r' ORDER BY 1"""
        ).fetchall()
    return [name for (name,) in rows]


def drop_detached(tc: Thermocline) -> None:
    """Drop what rotations detached, so that every round finds the disk as the one before did."""
    with psycopg.connect(tc.hot.url, autocommit=True) as connection:
        for (name,) in connection.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'thermocline_detached'::regnamespace "
            "AND relkind = 'r'"
        ).fetchall():
            connection.execute(f"DROP TABLE {name}")
