"""A year of bars in the lake, its last 30 days hot too, and the same rows as files often lie; see `reading`."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pyarrow as pa
from peers.bars import Sums, sums_of_rows
from peers.findings import Asked
from reading import ASKED, ASKED_DAYS, LAST_DAY, SYMBOL, Size, lay_out
from worlds import object_paths, open_home, statement

from thermocline import Thermocline
from thermocline.model.partition import DayRange

__all__ = ["ASKED", "ASKED_DAYS", "LAST_DAY", "SYMBOL", "Year", "instant", "year"]

SYMBOLS, MINUTES = 60, 60
HOT_FROM = LAST_DAY - timedelta(days=30)
BOTH_FROM = LAST_DAY - timedelta(days=60)
"""From when on there are 30 cold days, and 30 hot ones."""


@dataclass(frozen=True)
class Year:
    """A home that was laid out."""

    tc: Thermocline
    naive: Path
    size: Size

    def paths(self, start: date, end: date) -> list[str]:
        """The live objects of days."""
        return object_paths(self.tc, DayRange(start, end))

    def files(self) -> list[Path]:
        """The same rows as they often lie: by time, one file a day, all in one folder."""
        return sorted(self.naive.glob("*.parquet"))

    def query(self, start: date, end: date, symbols: Sequence[str] = (SYMBOL,)) -> pa.Table:
        """Ask the router."""
        return self.tc.query("market_data", symbols=symbols, interval="1min", start=start, end=end).to_arrow()

    def all_in_postgresql(self) -> str:
        """A table with all rows of 60 days, keyed; made once."""
        if self.ask("SELECT to_regclass('all_rows')") == [(None,)]:
            rows = self.query(BOTH_FROM, LAST_DAY, ())
            leaves = "SELECT min(relid::text) FROM pg_partition_tree('market_data') WHERE isleaf"
            (leaf,) = self.ask(f"{leaves} AND relid::text LIKE '%1min%'")[0]
            statement(self.tc, f"CREATE TABLE all_rows (LIKE {leaf} INCLUDING INDEXES)")
            columns = ", ".join(f'"{name}"' for name in rows.column_names)
            with (
                psycopg.connect(self.tc.hot.url) as connection,
                connection.cursor().copy(f"COPY all_rows ({columns}) FROM STDIN") as copy,
            ):
                for row in zip(*(column.to_pylist() for column in rows.columns), strict=True):
                    copy.write_row(row)
            statement(self.tc, "VACUUM (ANALYZE) all_rows", "CHECKPOINT")
        return "all_rows"

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        """Rows of an answer of PostgreSQL."""
        with psycopg.connect(self.tc.hot.url, autocommit=True) as connection:
            return connection.execute(question).fetchall()


def sums_of_answer(rows: Any) -> Sums:
    """What any engine's answer holds."""
    if isinstance(rows, pd.DataFrame):
        return len(rows), float(rows["volume"].sum()), sum(rows["close"])  # type: ignore[return-value]
    return sums_of_rows(rows if isinstance(rows, pa.Table) else rows.to_arrow())


def instant(day: date) -> Any:
    """Its first."""
    return pd.Timestamp(day, tz="UTC").to_pydatetime()


@contextlib.contextmanager
def year(folder: Path, asked: Asked) -> Iterator[Year]:
    """The home of every topic that reads; what an earlier one left is used again."""
    home, naive = folder / "year", folder / "naive"
    size = Size(SYMBOLS, asked.scaled(MINUTES))
    if not home.exists():
        next(lay_out(home, naive, size))
    with open_home(home) as tc:
        yield Year(tc, naive, size)
