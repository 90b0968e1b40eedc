"""Bytes that a one-minute bar takes: in our objects, in PostgreSQL, and in files as others write them."""

import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
from peers.bars import bars
from peers.findings import Asked, Cell, Table
from recipes import lean_bars

from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS
from thermocline.stores import parquet

COLUMNS = ("as", "bytes a row")
REAL = Path(__file__).parents[2] / "tests/files/bars/lean_equity_minute"


def measure(folder: Path, asked: Asked) -> Iterator[Table]:
    """See `full`."""
    with bars(folder, asked.scaled(min(asked.rows))) as made:
        receipts = [vintage.receipt for vintage in made.tc.hot.live(MARKET_DATA, ALL_DAYS, ["1min"])]
        rows = sum(receipt.contents.rows for receipt in receipts)
        together = {receipt.path: receipt.size_bytes for receipt in made.tc.lake.combine(receipts)}
        sizes = "sum(pg_relation_size(oid)), sum(pg_indexes_size(oid))"
        leaves = ", ".join(f"'{leaf}'::regclass" for leaf in made.leaves())
        table, keys = made.ask(f"SELECT {sizes} FROM pg_class WHERE oid IN ({leaves})")[0]  # noqa: S608
        (first, *_) = made.paths()
        day = pq.ParquetFile(first).read()
    lines: list[list[Cell]] = [
        ["**thermocline, objects of a day**", sum(receipt.size_bytes for receipt in receipts) / rows],
        ["**thermocline, compacted**", sum(together.values()) / rows],
        *_others(day),
        ["PostgreSQL, the table alone", float(table) / rows],
        ["PostgreSQL, with its key", float(table + keys) / rows],
    ]
    yield Table("bytes", f"Bytes a row: {rows:,d} made-up bars", COLUMNS, lines, chart=COLUMNS[1])
    real = _real()
    if real is not None:
        body = _ours(real)
        yield Table(
            "bytes_real",
            f"Bytes a row: {len(real):,d} real one-minute bars of a share, a small object",
            COLUMNS,
            [["**thermocline**", len(body) / len(real)], *_others(real)],
        )


def _others(rows: pa.Table) -> Iterator[list[Cell]]:
    loose = rows.cast(pa.schema([f.with_type(pa.float64()) if pa.types.is_decimal(f.type) else f for f in rows.schema]))
    by_time = loose.sort_by("ts")
    yield ["pyarrow's defaults with zstd, exact prices", _written(rows) / len(rows)]
    yield ["the same, prices as floats", _written(loose) / len(rows)]
    yield ["the same, floats sorted by time", _written(by_time) / len(rows)]
    text = io.BytesIO()
    pv.write_csv(loose, text)
    yield ["CSV, gzipped", len(gzip.compress(text.getvalue(), 6)) / len(rows)]


def _written(rows: pa.Table) -> int:
    stream = io.BytesIO()
    pq.write_table(rows, stream, compression="zstd")
    return stream.tell()


def _ours(rows: pa.Table) -> bytes:
    stream = io.BytesIO()
    with pq.ParquetWriter(stream, MARKET_DATA.arrow_schema, **parquet._options(MARKET_DATA)) as writer:  # noqa: SLF001
        for group in parquet._row_groups(MARKET_DATA, rows.to_batches()):  # noqa: SLF001  # as objects are written
            writer.write_table(group, row_group_size=group.num_rows)
    return stream.getvalue()


def _real() -> pa.Table | None:
    return lean_bars(REAL) if REAL.exists() else None
