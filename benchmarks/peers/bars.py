"""Ten days of one-minute bars in a home, and beside it in files and tables of a plain PostgreSQL, for every peer."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from worlds import FIRST_DAY, drop_detached, lay, leaf_tables, minute_days, object_paths, open_home, statement, symbols

from thermocline import Thermocline

DAYS, MINUTES = 10, 390

_HOT, _DUE = FIRST_DAY + timedelta(days=30), FIRST_DAY + timedelta(days=60)

Sums = tuple[int, float, Decimal]
"""How many rows, their volumes and their closes: what has the same of them is taken to hold the same rows."""


@dataclass
class Bars:
    """A home of ten days."""

    tc: Thermocline
    folder: Path
    _kept: list[Any] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Of its PostgreSQL, as libpq reads it."""
        return self.tc.hot.url

    @property
    def url_of_host(self) -> str:
        """The same with the socket's folder as the host, as Rust's clients read it."""
        host = self.url.split("host=")[1].split("&")[0]
        return f"postgresql://thermocline@{quote(host, safe='')}/thermocline"

    @property
    def engine_url(self) -> str:
        """The same for SQLAlchemy."""
        return self.url.replace("postgresql:", "postgresql+psycopg:", 1)

    def adbc(self) -> Any:
        """A connection of ADBC, which takes a tenth of a second to make.

        Raises:
            ImportError: ADBC is not installed.
        """
        from adbc_driver_postgresql import dbapi  # noqa: PLC0415  # may be missing

        if not self._kept:
            self._kept.append(dbapi.connect(self.url))
        return self._kept[0]

    def paths(self) -> list[str]:
        """The objects that are live, in the order of days."""
        return object_paths(self.tc)

    def leaves(self) -> list[str]:
        """The tables that hold hot days."""
        return leaf_tables(self.tc)

    def copies(self) -> list[Path]:
        """The same rows in files as the server's own COPY writes them."""
        return [self.folder / f"day{number}.copy" for number in range(DAYS)]

    def load(self) -> None:
        """Bring every day to hot that is not."""
        self.tc.load_hot(["market_data"], as_of=_HOT)
        if len(self.leaves()) != DAYS:
            msg = f"{len(self.leaves())} days are hot, not {DAYS}"
            raise AssertionError(msg)

    def clear(self) -> None:
        """Take all rows out of PostgreSQL, without a trace."""
        dropped = [f"DROP TABLE {leaf}" for leaf in self.leaves()]
        statement(self.tc, *dropped, "DELETE FROM thermocline.hot_day", "CHECKPOINT")

    def rotate(self) -> None:
        """Move every day out."""
        done = self.tc.rotate(["market_data"], as_of=_DUE)
        if len(done.moved) != DAYS or done.failed:
            msg = f"{len(done.moved)} days were rotated, not {DAYS}: {done.failed[:1]}"
            raise AssertionError(msg)

    def tidy(self) -> None:
        """Drop what was rotated, load it again, and leave nothing for a checkpoint to write."""
        drop_detached(self.tc)
        self.load()
        statement(self.tc, "CHECKPOINT")

    def touch(self) -> None:
        """Have every day say something that the lake does not: a symbol's volumes."""
        change = "SET volume = volume + 1, ingested_at = now() WHERE symbol = 'S00000'"
        statement(self.tc, *(f"UPDATE {leaf} {change}" for leaf in self.leaves()), "CHECKPOINT")

    def tables(self, names: Iterable[str]) -> None:
        """Make tables of `peers` anew, each with the columns and the key of a day's table."""
        made = [
            f"DROP TABLE IF EXISTS peers.{name}; CREATE TABLE peers.{name} (LIKE peers.plain INCLUDING ALL)"
            for name in names
        ]
        statement(self.tc, *made, "CHECKPOINT")

    def sums(self, tables: Sequence[str]) -> Sums:
        """What tables hold."""
        union = " UNION ALL ".join(f"SELECT volume, close FROM {table}" for table in tables)  # noqa: S608
        found = self.ask(f"SELECT count(*), sum(volume), sum(close) FROM ({union}) t")  # noqa: S608
        return found[0]  # type: ignore[return-value]

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        """Rows of an answer."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(question).fetchall()


def sums_of(paths: Sequence[str | Path]) -> Sums:
    """What Parquet files hold, whatever type their prices have."""
    found = [0, 0.0, Decimal(0)]
    for path in paths:
        rows = pq.ParquetFile(path).read(["volume", "close"])
        for number, each in enumerate(sums_of_rows(rows)):
            found[number] += each
    return tuple(found)  # type: ignore[return-value]


def sums_of_rows(rows: pa.Table) -> Sums:
    """What a table of Arrow holds."""
    closes = rows["close"].cast(pa.float64()).cast(pa.decimal128(38, 8)) if _is_loose(rows) else rows["close"]
    return len(rows), pc.sum(rows["volume"]).as_py() or 0.0, pc.sum(closes.cast(pa.decimal128(38, 8))).as_py()


def _is_loose(rows: pa.Table) -> bool:
    return pa.types.is_string(rows["close"].type) or pa.types.is_floating(rows["close"].type)


@contextlib.contextmanager
def bars(folder: Path, rows: int) -> Iterator[Bars]:
    """A home of so many rows, all of them hot; what an earlier topic left is used again."""
    home = folder / f"bars{rows}"
    is_new = not home.exists()
    with open_home(home) as tc:
        if is_new:
            lay(tc, minute_days(DAYS, symbols(max(1, rows // DAYS // MINUTES)), MINUTES), "lay")
        made = Bars(tc, home / "copies")
        made.load()
        if is_new:
            made.folder.mkdir()
            made.folder.chmod(0o777)  # the server may run as somebody else
            leaves = made.leaves()
            copied = zip(leaves, made.copies(), strict=True)
            statement(
                tc,
                "CREATE SCHEMA peers",
                f"CREATE TABLE peers.plain (LIKE {leaves[0]} INCLUDING INDEXES)",
                *(f"COPY {leaf} TO '{path}' (FORMAT BINARY)" for leaf, path in copied),
            )
        yield made


def check_rotated(made: Bars, expected: Sums) -> None:
    """Refuse a rotation after which the lake, or a question, says anything else than PostgreSQL said before."""
    for what, found in (("rotated", sums_of(made.paths())), ("asked", asked(made.tc))):
        if found != expected:
            msg = f"{what}: {found}, not {expected}"
            raise AssertionError(msg)


def asked(tc: Thermocline) -> Sums:
    """What the router answers."""
    measures = {"rows": "count", "volume": "sum(volume)", "close": "sum(close)"}
    (row,) = tc.aggregate("market_data", measures, interval="1min").to_arrow().to_pylist()
    return row["rows"], row["volume"], row["close"]
