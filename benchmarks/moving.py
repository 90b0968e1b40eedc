"""Loading and rotating ten days of one-minute bars, beside the server's own COPY of the same rows."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pandas as pd
import psycopg
import sqlalchemy
from asides import Aside
from measuring import Act, median, say, seconds
from worlds import (
    FIRST_DAY,
    days,
    drop_detached,
    lay,
    leaf_tables,
    minute_days,
    object_paths,
    open_home,
    statement,
    symbols,
)

from thermocline import Thermocline
from thermocline.model.receipt import Receipt

DAYS = 10
MINUTES = 390
SLOW_ROWS = 20_000
"""Rows that a way to load gets which takes a minute for a million."""

_ALL_HOT = FIRST_DAY + timedelta(days=30)
_ALL_DUE = FIRST_DAY + timedelta(days=60)
_FIRST_DUE = FIRST_DAY + timedelta(days=31)
_READER_SECONDS = 3


def lay_days(home: Path, files: Path, symbol_count: int) -> Iterator[tuple[list[Receipt], tuple[float, float]]]:
    """Lay the days in the lake, weigh them, and prepare to move them (see `Aside`)."""
    with open_home(home) as tc:
        receipts = lay(tc, minute_days(DAYS, symbols(symbol_count), MINUTES), "lay")
        moving = Moving(tc, files, receipts)
        moving.prepare()
        prepared = receipts, moving.bytes_per_row()
    yield prepared
    yield prepared


@dataclass
class Moving:
    """A home whose days go to PostgreSQL and back, and the same rows in files and tables of a plain PostgreSQL."""

    tc: Thermocline
    files: Path
    receipts: list[Receipt]
    taken: dict[str, list[float]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of all days."""
        return sum(receipt.contents.rows for receipt in self.receipts)

    def prepare(self) -> None:
        """Load once, which also makes files of the rows, as the server's own COPY writes them."""
        self.load()
        self.files.mkdir()
        self.files.chmod(0o777)  # the server may run as somebody else
        leaves = leaf_tables(self.tc)
        if len(leaves) != DAYS:
            msg = f"{len(leaves)} days are hot, not {DAYS}"
            raise AssertionError(msg)
        statement(self.tc, *(f"COPY {leaf} TO '{self._file(n)}' (FORMAT BINARY)" for n, leaf in enumerate(leaves)))
        # Made once, with the key that a day's table has, so that the plain tables are the same whatever is hot.
        statement(self.tc, f"CREATE TABLE plain (LIKE {leaves[0]} INCLUDING INDEXES)")
        two_days = (f"COPY two_days FROM '{self._file(number)}' (FORMAT BINARY)" for number in range(2))
        statement(
            self.tc, "CREATE TABLE two_days (LIKE plain INCLUDING INDEXES)", *two_days, "VACUUM (ANALYZE) two_days"
        )

    def round(self) -> None:
        """Each act in turns with what it is held against. What rotates is loaded again, so there are two loads."""
        if not self.taken:
            self._warm()
        self._make_tables()
        self._time("copy_in", self._copy_in)
        self._time("copy_out", self._copy_out)
        self._time("rotate_unchanged", self._rotate)
        self._time("load", self.load)
        self._touch()
        self._time("copy_out", self._copy_out)
        self._time("rotate_changed", self._rotate)
        self._time("load", self.load)

    def _warm(self) -> None:
        """Move nothing: a process imports what it needs, and connects, when it is first asked to."""
        if self.tc.load_hot(["market_data"], as_of=_ALL_HOT).loaded or self.tc.rotate(as_of=FIRST_DAY).moved:
            msg = "a day moved that should have stayed"
            raise AssertionError(msg)

    def medians(self) -> dict[str, float]:
        """Seconds."""
        return {name: median(each) for name, each in self.taken.items()}

    def load(self) -> None:
        """Bring every day to hot."""
        if self.tc.load_hot(["market_data"], as_of=_ALL_HOT).loaded != DAYS:
            msg = "a day was not loaded"
            raise AssertionError(msg)

    def _rotate(self) -> None:
        done = self.tc.rotate(["market_data"], as_of=_ALL_DUE)
        if len(done.moved) != DAYS or done.failed:
            msg = f"{len(done.moved)} days were rotated, not {DAYS}: {done.failed}"
            raise AssertionError(msg)

    def _time(self, name: str, act: Act) -> None:
        statement(self.tc, "CHECKPOINT")
        self.taken.setdefault(name, []).append(seconds(act))
        say(f"{name} {self.taken[name][-1]:.2f} s")
        if name.startswith("rotate"):
            drop_detached(self.tc)

    def _file(self, number: int) -> Path:
        return self.files / f"day{number}.copy"

    def _make_tables(self) -> None:
        dropped = (f"DROP TABLE IF EXISTS plain_{number}" for number in range(DAYS))
        made = (f"CREATE TABLE plain_{number} (LIKE plain INCLUDING INDEXES)" for number in range(DAYS))
        statement(self.tc, *dropped, *made)

    def _copy_in(self) -> None:
        copies = (f"COPY plain_{number} FROM '{self._file(number)}' (FORMAT BINARY)" for number in range(DAYS))
        statement(self.tc, *copies)

    def _copy_out(self) -> None:
        statement(self.tc, *(f"COPY {leaf} TO '/dev/null' (FORMAT BINARY)" for leaf in leaf_tables(self.tc)))

    def _touch(self) -> None:
        """Have every day say something that its object in the lake does not say: a symbol's volumes of the day."""
        change = "SET volume = volume + 1, ingested_at = now() WHERE symbol = 'S00000'"
        statement(self.tc, *(f"UPDATE {leaf} {change}" for leaf in leaf_tables(self.tc)))

    # ------------------------------------------------------------------------------------------- what people do instead

    def to_sql(self) -> float:
        """Seconds a row of `read_parquet` of a day's object, and of `DataFrame.to_sql` of its first rows, with the key.

        By psycopg and as pandas does it by itself: psycopg2 takes twice as long for it, and `method="multi"` several
        times. As for ours, nothing is imported or connected while it is timed.
        """
        engine = sqlalchemy.create_engine(self.tc.hot.url.replace("postgresql:", "postgresql+psycopg:", 1))
        statement(self.tc, "CREATE TABLE slow (LIKE plain INCLUDING INDEXES)", "CHECKPOINT")
        prices = dict.fromkeys(("open", "high", "low", "close", "vwap"), sqlalchemy.Numeric())
        began = time.perf_counter()
        frame = pd.read_parquet(object_paths(self.tc)[0])
        reading = (time.perf_counter() - began) / len(frame)

        def put(rows: pd.DataFrame) -> None:
            rows.to_sql("slow", engine, if_exists="append", index=False, dtype=prices)

        put(frame[:1])
        writing = seconds(lambda: put(frame[1 : SLOW_ROWS + 1])) / min(SLOW_ROWS, len(frame) - 1)
        engine.dispose()
        return reading + writing

    def by_pandas(self) -> float:
        """Seconds a row of moving a day out of a table of two days: read_sql, to_parquet, DELETE, VACUUM."""
        engine = sqlalchemy.create_engine(self.tc.hot.url.replace("postgresql:", "postgresql+psycopg:", 1))
        statement(self.tc, "CHECKPOINT")
        first, second = days(2)
        condition = f"WHERE ts >= '{first}' AND ts < '{second}'"
        rows = 0

        def rotate() -> None:
            nonlocal rows
            frame = pd.read_sql(f"SELECT * FROM two_days {condition}", engine)  # noqa: S608
            frame.to_parquet(self.files.parent / "pandas.parquet", compression="zstd")
            rows = len(frame)
            statement(self.tc, f"DELETE FROM two_days {condition}", "VACUUM two_days")  # noqa: S608

        taken = seconds(rotate)
        engine.dispose()
        return taken / rows

    def bytes_per_row(self) -> tuple[float, float]:
        """Of the days' objects, and of one object of all of them, as compaction makes it of a month."""
        together = {receipt.path: receipt.size_bytes for receipt in self.tc.lake.combine(self.receipts)}
        return sum(receipt.size_bytes for receipt in self.receipts) / self.rows, sum(together.values()) / self.rows

    def cut_over(self, reader: Aside) -> float:
        """The longest milliseconds of a point query on another day, while a day leaves that somebody reads for long."""
        with psycopg.connect(self.tc.hot.url) as slow:
            slow.execute("SELECT count(*) FROM market_data WHERE ts < %s", (days(2)[1],))
            began = time.perf_counter()
            reader.start()
            threading.Timer(_READER_SECONDS, slow.commit).start()
            done = self.tc.rotate(["market_data"], as_of=_FIRST_DUE)
        if len(done.moved) != 1 or time.perf_counter() - began < _READER_SECONDS:
            msg = f"the cutover did not wait for the reader: {done}"
            raise AssertionError(msg)
        statement(self.tc, "CREATE TABLE cut_over ()")
        found: list[float] = reader.result()
        return max(found) * 1000


def read_points(home: Path) -> Iterator[list[float]]:
    """Ask for one symbol of a day that stays, again and again until the other day has left (see `Aside`)."""
    last = days(DAYS)[-1]
    with open_home(home) as tc, psycopg.connect(tc.hot.url, autocommit=True) as connection:

        def ask() -> None:
            answer = tc.query(
                "market_data", symbols=["S00007"], interval="1min", start=last, end=last + timedelta(days=1)
            )
            if answer.to_arrow().num_rows != MINUTES:
                msg = "a reader missed rows"
                raise AssertionError(msg)

        yield []
        ask()
        taken = []
        while connection.execute("SELECT to_regclass('cut_over')").fetchone() == (None,):
            taken.append(seconds(ask))
        yield taken
