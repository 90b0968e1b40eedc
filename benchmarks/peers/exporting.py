"""Ten days out of PostgreSQL into Parquet files: ours, which is a whole rotation, and what people use instead."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy
from peers.bars import DAYS, Bars, bars, check_rotated, sums_of
from peers.duck import Duck
from peers.findings import COMPARED, Asked, Table, Way, check, compared, in_turns, short
from worlds import statement

from thermocline.model.datasets import MARKET_DATA

CEILING = "the server's COPY to /dev/null"
OURS = {"thermocline, whole rotation, unchanged": False, "thermocline, whole rotation, changed": True}
PRICE = pa.decimal128(18, 8)
LOOSE = pa.schema(
    [field.with_type(pa.float64()) if field.type == PRICE else field for field in MARKET_DATA.arrow_schema]
)
"""As pandas has them, whose prices are floats."""

_SMALL = 2_000_000


class Exporting:
    """Every way out."""

    def __init__(self, made: Bars, out: Path) -> None:
        """Of a home whose days are hot."""
        self.bars = made
        self.out = out
        self._ducks: list[Duck] = []
        out.mkdir(exist_ok=True)

    def fast(self) -> dict[str, Way]:
        """Ways that export everything."""
        return {
            CEILING: Way(self._copy_out, prepare=self._prepare),
            "DuckDB: COPY through its extension": self._way(self._duck("")),
            "DuckDB: the same, sorted": self._way(self._duck("ORDER BY symbol, ts")),
            "ConnectorX: stream of Arrow": self._way(self._each_day(self._connectorx)),
            "ADBC: stream of Arrow, text cast to decimals": self._way(self._each_day(self._adbc)),
            **{name: self._rotation(changes=changes) for name, changes in OURS.items()},
        }

    def slow(self) -> dict[str, Way]:
        """Ways that get one day."""
        return {
            "psycopg: rows, to Arrow": self._one_day(self._rows),
            "pandas: read_sql in chunks": self._one_day(self._chunks, "prices become floats"),
            "pandas: read_sql, to_parquet": self._one_day(self._read_sql, "prices become floats"),
        }

    def _rotation(self, *, changes: bool) -> Way:
        def prepare() -> None:
            self.bars.tidy()
            if changes:
                self.bars.touch()
            self.expected = self.bars.sums(self.bars.leaves())

        def checked() -> None:
            check_rotated(self.bars, self.expected)

        return Way(
            self.bars.rotate,
            prepare=prepare,
            check=checked,
            note="merged with what is live, written, read back, compared, committed"
            if changes
            else "compared, cut over",
        )

    def _way(self, act: Callable[[], object]) -> Way:
        def checked() -> None:
            check(sums_of(self._files()), self.bars.sums(self.bars.leaves()), "exported")

        return Way(act, prepare=self._prepare, check=checked)

    def _prepare(self) -> None:
        if len(self.bars.leaves()) != DAYS:
            self.bars.tidy()

    def _files(self) -> list[Path]:
        return [self.out / f"day{number}.parquet" for number in range(DAYS)]

    def _each_day(self, act: Callable[[str, Path], object]) -> Callable[[], None]:
        def acts() -> None:
            for leaf, path in zip(self.bars.leaves(), self._files(), strict=True):
                act(leaf, path)

        return acts

    def _one_day(self, act: Callable[[str, Path], object], note: str = "") -> Way:
        def acted() -> None:
            act(self.bars.leaves()[0], self._files()[0])

        def checked() -> None:
            check(sums_of(self._files()[:1]), self.bars.sums(self.bars.leaves()[:1]), "exported")

        self._prepare()
        rows = self.bars.sums(self.bars.leaves()[:1])[0]
        return Way(acted, rows=rows, prepare=self._prepare, check=checked, note=note)

    def _copy_out(self) -> None:
        statement(self.bars.tc, *(f"COPY {leaf} TO '/dev/null' (FORMAT BINARY)" for leaf in self.bars.leaves()))

    def _duck(self, order: str) -> Callable[[], None]:
        def act() -> None:
            if not self._ducks:
                self._ducks.append(Duck(self.bars.url))
            for leaf, path in zip(self.bars.leaves(), self._files(), strict=True):
                self._ducks[0].run(f"COPY (SELECT * FROM pg.{leaf} {order}) TO '{path}' (COMPRESSION zstd)")  # noqa: S608

        return act

    def _connectorx(self, leaf: str, path: Path) -> None:
        import connectorx  # noqa: PLC0415  # may be missing

        found = connectorx.read_sql(
            self.bars.url_of_host,
            f"SELECT * FROM {leaf}",  # noqa: S608
            return_type="arrow_stream",
            batch_size=65_536,
        )
        _write(found.schema, found, path)

    def _adbc(self, leaf: str, path: Path) -> None:
        with self.bars.adbc().cursor() as cursor:
            cursor.execute(f"SELECT * FROM {leaf}")  # noqa: S608
            found = cursor.fetch_record_batch()
            schema = pa.schema([field.with_type(_exact(field.type)) for field in found.schema])
            _write(schema, (_with_prices(batch, schema) for batch in found), path)
        self.bars.adbc().rollback()  # a transaction that stays open would hold the day

    def _rows(self, leaf: str, path: Path) -> None:
        with psycopg.connect(self.bars.url) as connection:
            rows = connection.execute(f"SELECT * FROM {leaf}").fetchall()  # noqa: S608
        columns = zip(*rows, strict=True)
        schema = MARKET_DATA.arrow_schema
        made = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
        _write(schema, pa.Table.from_arrays(made, schema=schema).to_batches(), path)

    def _chunks(self, leaf: str, path: Path) -> None:
        engine = sqlalchemy.create_engine(self.bars.engine_url)
        with engine.connect().execution_options(stream_results=True) as connection:
            chunks = pd.read_sql(f"SELECT * FROM {leaf}", connection, chunksize=50_000)  # noqa: S608
            tables = (pa.Table.from_pandas(chunk, LOOSE, preserve_index=False) for chunk in chunks)
            _write(LOOSE, (batch for table in tables for batch in table.to_batches()), path)
        engine.dispose()

    def _read_sql(self, leaf: str, path: Path) -> None:
        engine = sqlalchemy.create_engine(self.bars.engine_url)
        pd.read_sql(f"SELECT * FROM {leaf}", engine).to_parquet(path, compression="zstd")  # noqa: S608
        engine.dispose()


def _exact(kind: pa.DataType) -> pa.DataType:
    return PRICE if isinstance(kind, pa.OpaqueType) else kind


def _with_prices(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    made = [
        column.storage.cast(PRICE) if isinstance(column.type, pa.OpaqueType) else column for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(made, schema=schema)


def _write(schema: pa.Schema, batches: object, path: Path) -> None:
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:  # type: ignore[attr-defined]
            writer.write_batch(batch)


def measure(folder: Path, asked: Asked) -> Iterator[Table]:
    """See `full`."""
    for size in asked.rows:
        with bars(folder, asked.scaled(size)) as made:
            exporting = Exporting(made, folder / f"out{size}")
            is_small = size <= _SMALL
            ways = exporting.fast() | (exporting.slow() if is_small else {})
            found = in_turns(ways, asked.rounds if is_small else max(1, asked.rounds - 2))
            made.tidy()
            rows = made.sums(made.leaves())[0]
        yield Table(
            f"export_{short(size)}",
            f"PostgreSQL to Parquet: ten days, {rows:,d} rows, exact prices",
            COMPARED,
            compared(ways, found, CEILING, rows, ours=list(OURS)),
            chart=COMPARED[3],
        )
