"""A day leaves PostgreSQL: how the rows go, and the whole way to Parquet, ours and what people do instead."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd
import psycopg
import sqlalchemy
from measuring import median, say
from peers.bars import DAYS, Bars, bars, check_rotated
from peers.exporting import Exporting
from peers.findings import Asked, Cell, Table, short
from worlds import FIRST_DAY, days, statement

COLUMNS = ("way", "seconds", "WAL, MiB", "MiB left of the day", "slowest read of another day, ms")
WHOLE = ("way", "rows", "seconds for 1 M rows", "× the speed of the first", "")

_MIB = 1 << 20
_OTHER_DAY = days(DAYS)[-1]


class Removing:
    """A day out of a table of ten, beside a reader of another day."""

    def __init__(self, made: Bars) -> None:
        """Of a home whose days are in files of COPY."""
        self.bars = made

    def lines(self) -> Iterator[list[Cell]]:
        """Each way once, from the same state."""
        self._make_partitions()
        yield self._measured("detach, drop the partition", self._detach)
        self._make_table()
        yield self._measured("DELETE, VACUUM", lambda: self._delete("VACUUM"))
        self._make_table()
        yield self._measured("DELETE, VACUUM FULL", lambda: self._delete("VACUUM FULL"))
        statement(self.bars.tc, "DROP TABLE peers.ten_days")

    def _make_table(self) -> None:
        self.bars.tables(["ten_days"])
        copied = (f"COPY peers.ten_days FROM '{path}' (FORMAT BINARY)" for path in self.bars.copies())
        statement(self.bars.tc, *copied, "VACUUM (ANALYZE) peers.ten_days", "CHECKPOINT")

    def _make_partitions(self) -> None:
        parts = [
            f"CREATE TABLE peers.part_{number} PARTITION OF peers.ten_days FOR VALUES FROM ('{day}') "
            f"TO ('{day + timedelta(days=1)}')"
            for number, day in enumerate(days(DAYS))
        ]
        pairs = zip(range(DAYS), self.bars.copies(), strict=True)
        copies = [f"COPY peers.part_{number} FROM '{path}' (FORMAT BINARY)" for number, path in pairs]
        statement(
            self.bars.tc,
            "DROP TABLE IF EXISTS peers.ten_days CASCADE",
            "CREATE TABLE peers.ten_days (LIKE peers.plain INCLUDING INDEXES) PARTITION BY RANGE (ts)",
            *parts,
            *copies,
            "ANALYZE peers.ten_days",
            "CHECKPOINT",
        )

    def _detach(self) -> None:
        statement(
            self.bars.tc,
            "ALTER TABLE peers.ten_days DETACH PARTITION peers.part_0 CONCURRENTLY",
            "DROP TABLE peers.part_0",
        )

    def _delete(self, vacuum: str) -> None:
        statement(
            self.bars.tc,
            f"DELETE FROM peers.ten_days WHERE ts < '{FIRST_DAY + timedelta(days=1)}'",  # noqa: S608
            f"{vacuum} peers.ten_days",
        )

    def _measured(self, name: str, act: Callable[[], None]) -> list[Cell]:
        before, at = self._size(), self._written()
        expected = self.bars.sums(["peers.ten_days"])[0]
        slowest, over = [0.0], threading.Event()
        reader = threading.Thread(target=self._read, args=(slowest, over))
        reader.start()
        time.sleep(0.2)
        began = time.perf_counter()
        act()
        taken = time.perf_counter() - began
        over.set()
        reader.join()
        written = (self._written() - at) / _MIB
        left = self.bars.sums(["peers.ten_days"])[0]
        if left != expected - expected // DAYS:
            msg = f"{name}: {left} rows are left of {expected}"
            raise AssertionError(msg)
        gone = before / DAYS - (before - self._size())
        say(f"{name} {taken:.2f} s")
        return [name, taken, written, max(0.0, gone / _MIB), slowest[0] * 1000]

    def _read(self, slowest: list[float], over: threading.Event) -> None:
        until = _OTHER_DAY + timedelta(days=1)
        with psycopg.connect(self.bars.url, autocommit=True) as connection:
            while not over.is_set():
                began = time.perf_counter()
                connection.execute(
                    "SELECT volume FROM peers.ten_days WHERE symbol = 'S00001' AND ts >= %s AND ts < %s",
                    (_OTHER_DAY, until),
                ).fetchall()
                slowest[0] = max(slowest[0], time.perf_counter() - began)

    def _size(self) -> int:
        question = """SELECT coalesce(sum(pg_total_relation_size(relid)), pg_total_relation_size('peers.ten_days'))
            FROM pg_partition_tree('peers.ten_days') WHERE isleaf"""
        return int(self.bars.ask(question)[0][0])

    def _written(self) -> int:
        return int(self.bars.ask("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")[0][0])


class Whole:
    """The whole way of a day from PostgreSQL to Parquet, with the rows gone in the end."""

    def __init__(self, made: Bars, out: Path) -> None:
        """Of a home whose days are hot."""
        self.bars = made
        self.exporting = Exporting(made, out)

    def ours(self, *, changes: bool) -> float:
        """Seconds for ten days."""
        self.bars.tidy()
        if changes:
            self.bars.touch()
        expected = self.bars.sums(self.bars.leaves())
        began = time.perf_counter()
        self.bars.rotate()
        taken = time.perf_counter() - began
        check_rotated(self.bars, expected)
        return taken

    def theirs(self, export: Callable[[str, Path], None]) -> float:
        """Seconds for one day out of a table of two."""
        copied = (f"COPY peers.two_days FROM '{path}' (FORMAT BINARY)" for path in self.bars.copies()[:2])
        self.bars.tables(["two_days"])
        statement(self.bars.tc, *copied, "VACUUM (ANALYZE) peers.two_days", "CHECKPOINT")
        day = f"ts < '{FIRST_DAY + timedelta(days=1)}'"
        began = time.perf_counter()
        export(f"peers.two_days WHERE {day}", self.exporting.out / "left.parquet")
        statement(self.bars.tc, f"DELETE FROM peers.two_days WHERE {day}", "VACUUM peers.two_days")  # noqa: S608
        return time.perf_counter() - began

    def by_pandas(self, table: str, path: Path) -> None:
        """Read and write with pandas."""
        engine = sqlalchemy.create_engine(self.bars.engine_url)
        pd.read_sql(f"SELECT * FROM {table}", engine).to_parquet(path, compression="zstd")  # noqa: S608
        engine.dispose()

    def by_adbc(self, table: str, path: Path) -> None:
        """Stream with ADBC."""
        self.exporting._adbc(table, path)  # noqa: SLF001  # the same as there


def measure(folder: Path, asked: Asked) -> Iterator[Table]:
    """See `full`."""
    for size in asked.rows:
        with bars(folder, asked.scaled(size)) as made:
            rows = made.sums(made.leaves())[0]
            yield Table(
                f"removal_{short(size)}",
                f"One of ten days is removed; {rows:,d} rows in all",
                COLUMNS,
                list(Removing(made).lines()),
                chart=COLUMNS[2],
            )
            if size == min(asked.rows):
                yield _whole(Whole(made, folder / "whole"), rows, asked.rounds)


def _whole(whole: Whole, rows: int, rounds: int) -> Table:
    ways: dict[str, tuple[int, Callable[[], float]]] = {
        "pandas: read_sql, to_parquet, DELETE, VACUUM": (rows // DAYS, lambda: whole.theirs(whole.by_pandas)),
        "ADBC: stream to Parquet, DELETE, VACUUM": (rows // DAYS, lambda: whole.theirs(whole.by_adbc)),
        "**thermocline, changed days**": (rows, lambda: whole.ours(changes=True)),
        "**thermocline, unchanged days**": (rows, lambda: whole.ours(changes=False)),
    }
    notes = ("nothing is compared", "nothing is compared", "read back and compared", "compared with what is live")
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (_, act) in ways.items():
            try:
                taken[name].append(act())
            except ImportError as error:
                say(f"{name} is left out: {error}")
    per_row = {name: median(each) / ways[name][0] for name, each in taken.items() if each}
    slowest = per_row[next(iter(ways))]
    lines: list[list[Cell]] = [
        [name, ways[name][0], per_row[name] * 1e6, slowest / per_row[name], note]
        if name in per_row
        else [name, None, None, None, "not installed"]
        for name, note in zip(ways, notes, strict=True)
    ]
    return Table(
        "rotation", "The whole way of days to Parquet, until their rows are gone", WHOLE, lines, chart=WHOLE[3]
    )
