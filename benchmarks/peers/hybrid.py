"""One symbol over 30 hot and 30 cold days: ours, each bare engine with its half, and one engine with all rows."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import psycopg
from peers.findings import Asked, Table, Way, check
from peers.reads import COLUMNS, OURS, lines
from peers.year import BOTH_FROM, HOT_FROM, LAST_DAY, SYMBOL, Year, instant, sums_of_answer, year

HOT = "SELECT * FROM {table} WHERE symbol = %s AND interval = '1min' AND ts >= %s AND ts < %s ORDER BY ts"
COLD = "SELECT * FROM read_parquet(?) WHERE symbol = ? AND interval = '1min' AND ts >= ? AND ts < ? ORDER BY ts"


class Hybrid:
    """Every way to ask."""

    def __init__(self, asked: Year, connection: psycopg.Connection[Any]) -> None:
        """Of a year, with a connection that is kept."""
        self.year = asked
        self._connection = connection
        self._duck = duckdb.connect()
        self._last: Any = None

    def ways(self) -> dict[str, Way]:
        """Ours, halves, and wholes."""
        cold, whole = self.year.paths(BOTH_FROM, HOT_FROM), self.year.paths(BOTH_FROM, LAST_DAY)
        table = self.year.all_in_postgresql()
        return {
            OURS: self._way(lambda: self.year.query(BOTH_FROM, LAST_DAY), BOTH_FROM),
            "PostgreSQL, its 30 days": self._way(
                lambda: self._hot("market_data", HOT_FROM), HOT_FROM, "half of the rows"
            ),
            "DuckDB, told the files of the other 30": self._way(
                lambda: self._cold(cold, BOTH_FROM, HOT_FROM), None, "half of the rows"
            ),
            "all 60 days in one table of PostgreSQL": self._way(lambda: self._hot(table, BOTH_FROM), BOTH_FROM),
            "all 60 days in files, DuckDB told which": self._way(
                lambda: self._cold(whole, BOTH_FROM, LAST_DAY), BOTH_FROM
            ),
            "pandas: read_sql, read_parquet of the right files, concat": self._way(
                lambda: self._pandas(cold), BOTH_FROM, rounds=2
            ),
        }

    def _way(self, act: Callable[[], Any], start: Any, note: str = "", rounds: int = 0) -> Way:
        def acted() -> None:
            self._last = act()

        def checked() -> None:
            since = f"ts >= '{start}'" if start else f"ts < '{HOT_FROM}'"
            which = f"symbol = '{SYMBOL}' AND interval = '1min' AND {since}"
            expected = self.year.ask(
                f"SELECT count(*), sum(volume), sum(close) FROM {self.year.all_in_postgresql()} WHERE {which}"  # noqa: S608
            )[0]
            check(sums_of_answer(self._last), expected, "asked")

        return Way(acted, check=checked, note=note, rounds=rounds)

    def _hot(self, table: str, start: Any) -> Any:
        cursor = self._connection.execute(HOT.format(table=table), (SYMBOL, instant(start), instant(LAST_DAY)))
        names = [column.name for column in cursor.description or ()]
        return pd.DataFrame.from_records(cursor.fetchall(), columns=names)

    def _cold(self, paths: list[str], start: Any, end: Any) -> Any:
        return self._duck.execute(COLD, [paths, SYMBOL, instant(start), instant(end)]).to_arrow_table()

    def _pandas(self, paths: list[str]) -> Any:
        cold = pd.concat(map(pd.read_parquet, paths))
        cold = cold[(cold["symbol"] == SYMBOL) & (cold["ts"] >= instant(BOTH_FROM)) & (cold["ts"] < instant(HOT_FROM))]
        return pd.concat([cold, self._hot("market_data", HOT_FROM)])


def measure(folder: Path, asked: Asked) -> Iterator[Table]:
    """See `full`."""
    with year(folder, asked) as found, psycopg.connect(found.tc.hot.url, autocommit=True) as connection:
        made = lines(Hybrid(found, connection).ways(), asked.rounds)
    yield Table("hybrid", "One symbol over 30 hot and 30 cold days", COLUMNS, made, chart=COLUMNS[1])
