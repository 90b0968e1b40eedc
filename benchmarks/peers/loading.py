"""Ten days from Parquet files into PostgreSQL, with the key: ours, and what people use instead.

Ways of a client begin at the day's files, as ours does; the server's own begin at files of its COPY, and are told for
what is possible at all. Only ours reads everything that it writes twice, to be sure of it.
"""

import asyncio
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy
from peers.bars import DAYS, Bars, bars, sums_of, sums_of_rows
from peers.duck import Duck
from peers.findings import COMPARED, Asked, Table, Way, check, compared, in_turns, short
from worlds import statement

from thermocline.model.datasets import MARKET_DATA
from thermocline.stores.postgres.encode import blocks

COLUMNS = ", ".join(f'"{name}"' for name in MARKET_DATA.names)
KEY = 'symbol, ts, asset_class, "interval"'
CEILING, OURS = "the server's COPY into keyed tables", "thermocline, verified"
SLOW, SLOWEST = 100_000, 20_000
"""Rows of a way that takes ten seconds for a million, and of one that takes a minute."""

_SMALL = 2_000_000
"""Up to so many rows slow ways are measured too; more rows make no difference to them."""

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"


class Loading:
    """Every way in."""

    def __init__(self, made: Bars) -> None:
        """Of a home whose days are hot."""
        self.bars = made
        self.names = [f"plain_{number}" for number in range(DAYS)]
        self.paths = made.paths()
        self.expected = sums_of(self.paths)
        self._ducks: list[Duck] = []

    # ---------------------------------------------------------------------------------------------------- the fast ones

    def fast(self) -> dict[str, Way]:
        """Ways that load everything."""
        return {
            CEILING: self._way(self._copy_in),
            "the server's COPY FREEZE into fresh tables, key after": self._way(self._fresh),
            OURS: Way(self.bars.load, prepare=self.bars.clear, check=self._check_ours),
            "psycopg: COPY of columns encoded as ours": self._way(self._each_day(self._copy_buffer)),
            "ADBC: adbc_ingest": self._way(self._each_day(self._adbc)),
            "DuckDB: INSERT through its extension": self._way(self._duck),
        }

    def _way(self, act: Callable[[], object]) -> Way:
        return Way(act, prepare=lambda: self.bars.tables(self.names), check=self._check)

    def _check(self) -> None:
        check(self.bars.sums([f"peers.{name}" for name in self.names]), self.expected, "loaded")

    def _check_ours(self) -> None:
        check(self.bars.sums(self.bars.leaves()), self.expected, "loaded")

    def _copy_in(self) -> None:
        pairs = zip(self.names, self.bars.copies(), strict=True)
        statement(self.bars.tc, *(f"COPY peers.{name} FROM '{path}' (FORMAT BINARY)" for name, path in pairs))

    def _fresh(self) -> None:
        for name, path in zip(self.names, self.bars.copies(), strict=True):
            with psycopg.connect(self.bars.url) as connection:
                connection.execute(f"DROP TABLE peers.{name}")
                connection.execute(f"CREATE TABLE peers.{name} (LIKE peers.plain)")
                connection.execute(f"COPY peers.{name} FROM '{path}' (FORMAT BINARY, FREEZE)")
                connection.execute(f"ALTER TABLE peers.{name} ADD PRIMARY KEY ({KEY})")

    def _each_day(self, act: Callable[[str, pa.Table], object]) -> Callable[[], None]:
        def acts() -> None:
            for name, path in zip(self.names, self.paths, strict=True):
                act(f"peers.{name}", pq.ParquetFile(path).read())

        return acts

    def _copy_buffer(self, name: str, rows: pa.Table) -> None:
        with (
            psycopg.connect(self.bars.url) as connection,
            connection.cursor().copy(f"COPY {name} ({COLUMNS}) FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.write(_SIGNATURE)
            for batch in rows.to_batches():
                for block in blocks(batch, MARKET_DATA.columns):
                    copy.write(block)
            copy.write(_END)

    def _adbc(self, name: str, rows: pa.Table) -> None:
        schema, table = name.split(".")
        connection = self.bars.adbc()
        with connection.cursor() as cursor:
            cursor.adbc_ingest(table, rows, mode="append", db_schema_name=schema)
        connection.commit()

    def _duck(self) -> None:
        if not self._ducks:
            self._ducks.append(Duck(self.bars.url))
        for name, path in zip(self.names, self.paths, strict=True):
            self._ducks[0].run(
                f"INSERT INTO pg.peers.{name} SELECT {COLUMNS} FROM read_parquet('{path}', hive_partitioning = false)"  # noqa: S608
            )

    # ---------------------------------------------------------------------------------------------------- the slow ones

    def slow(self) -> dict[str, Way]:
        """Ways that get a part of the first day's rows."""
        return {
            "staging table, INSERT … ON CONFLICT": self._part(self._staged, SLOW),
            "the same again, over the same rows": self._part(self._staged, SLOW, twice=True),
            "psycopg: write_row": self._part(self._write_row, SLOW),
            "asyncpg: copy_records_to_table": self._part(self._asyncpg, SLOW),
            "pandas: CSV, COPY": self._part(self._csv, SLOW),
            "pandas: to_sql": self._part(self._to_sql, SLOWEST),
            "psycopg: executemany": self._part(self._executemany, SLOWEST),
        }

    def _part(self, act: Callable[[pa.Table], object], rows: int, *, twice: bool = False) -> Way:
        rows = min(rows, self.expected[0] // DAYS)

        def take() -> pa.Table:
            return pq.ParquetFile(self.paths[0]).read().slice(0, rows)

        def prepare() -> None:
            self.bars.tables(["slow", "staging"])
            if twice:
                act(take())
                statement(self.bars.tc, "CHECKPOINT")

        def checked() -> None:
            check(self.bars.sums(["peers.slow"]), sums_of_rows(take()), "loaded")

        def acted() -> None:
            act(take())

        return Way(acted, rows=rows, prepare=prepare, check=checked)

    def _staged(self, rows: pa.Table) -> None:
        statement(self.bars.tc, "DROP TABLE IF EXISTS peers.staging", "CREATE TABLE peers.staging (LIKE peers.plain)")
        self._copy_buffer("peers.staging", rows)
        replaced = ", ".join(f'"{name}" = excluded."{name}"' for name in MARKET_DATA.names)
        statement(
            self.bars.tc,
            f"INSERT INTO peers.slow SELECT * FROM peers.staging ON CONFLICT ({KEY}) DO UPDATE SET {replaced}",  # noqa: S608
        )

    def _write_row(self, rows: pa.Table) -> None:
        with (
            psycopg.connect(self.bars.url) as connection,
            connection.cursor().copy(f"COPY peers.slow ({COLUMNS}) FROM STDIN") as copy,
        ):
            for row in _tuples(rows):
                copy.write_row(row)

    def _asyncpg(self, rows: pa.Table) -> None:
        import asyncpg  # noqa: PLC0415  # may be missing

        async def copy() -> None:
            connection = await asyncpg.connect(self.bars.url)
            await connection.copy_records_to_table(
                "slow", schema_name="peers", records=_tuples(rows), columns=list(MARKET_DATA.names)
            )
            await connection.close()

        asyncio.run(copy())

    def _csv(self, rows: pa.Table) -> None:
        text = io.StringIO()
        rows.to_pandas().to_csv(text, index=False, header=False)
        with (
            psycopg.connect(self.bars.url) as connection,
            connection.cursor().copy(f"COPY peers.slow ({COLUMNS}) FROM STDIN (FORMAT CSV)") as copy,
        ):
            copy.write(text.getvalue())

    def _to_sql(self, rows: pa.Table) -> None:
        engine = sqlalchemy.create_engine(self.bars.engine_url)
        prices = dict.fromkeys(("open", "high", "low", "close", "vwap"), sqlalchemy.Numeric())
        rows.to_pandas().to_sql("slow", engine, schema="peers", if_exists="append", index=False, dtype=prices)
        engine.dispose()

    def _executemany(self, rows: pa.Table) -> None:
        places = ", ".join(["%s"] * len(MARKET_DATA.names))
        with psycopg.connect(self.bars.url) as connection, connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO peers.slow ({COLUMNS}) VALUES ({places})", list(_tuples(rows)))  # noqa: S608


def _tuples(rows: pa.Table) -> Iterator[tuple[object, ...]]:
    return zip(*(column.to_pylist() for column in rows.columns), strict=True)


def measure(folder: Path, asked: Asked) -> Iterator[Table]:
    """See `full`."""
    for size in asked.rows:
        with bars(folder, asked.scaled(size)) as made:
            loading = Loading(made)
            is_small = size <= _SMALL
            ways = loading.fast() | (loading.slow() if is_small else {})
            found = in_turns(ways, asked.rounds if is_small else max(1, asked.rounds - 2))
            made.load()
            rows = loading.expected[0]
        yield Table(
            f"load_{short(size)}",
            f"Load into PostgreSQL: ten days, {rows:,d} rows, exact prices, keyed",
            COMPARED,
            compared(ways, found, CEILING, rows, ours=[OURS]),
            chart=COMPARED[3],
        )
