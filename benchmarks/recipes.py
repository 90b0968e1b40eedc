"""Which encodings, compression and sizes of row groups and pages serve bars, options and news best.

    python benchmarks/recipes.py [--symbols 500] [--lean FOLDER] [--only bars]

Each recipe differs from ours in one thing. Of each are shown the bytes a row, and in processor time for a million rows:
writing, reading all of it with DuckDB (one thread) and with pyarrow; then milliseconds for the rows of one symbol out
of one file, with DuckDB. Medians of interleaved rounds. Rows are made up (`synthetic`), or the one-minute trades of US
equities in a data folder of LEAN, each symbol's days taken as those of as many symbols, to fill a file.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from compressing import rows

from thermocline.model.dataset import Dataset, Kind
from thermocline.model.datasets import MARKET_DATA, NEWS, OPTIONS_DATA
from thermocline.model.partition import DayRange
from thermocline.ports import FetchRequest
from thermocline.sources.lean import open_source as open_lean
from thermocline.stores import parquet

ROUNDS = 3


@dataclass(frozen=True)
class Recipe:
    """Options of the Parquet writer, and how many symbols share a row group."""

    name: str
    options: dict[str, Any]
    symbols: int = parquet.ROW_GROUP_SYMBOLS
    measures: dict[str, list[float]] = field(default_factory=dict)


def recipes(dataset: Dataset) -> Iterator[Recipe]:
    """Ours, and each other one that differs from it in one thing."""
    ours = parquet._options(dataset)  # noqa: SLF001  # what is measured is just that
    yield Recipe("ours", ours)
    for kind, encodings in _ENCODINGS.items():
        for encoding in encodings if any(c.kind is kind for c in dataset.columns) else ():
            yield Recipe(f"{kind}: {encoding.lower()}", encoded(dataset, ours, kind, encoding))
    yield Recipe("decimals of fixed length", ours | {"store_decimal_as_integer": False, **plain_prices(dataset, ours)})
    for level in (1, 2, 4, 5, 6, 9):
        yield Recipe(f"zstd {level}", ours | {"compression_level": level})
    yield Recipe("snappy", ours | {"compression": "snappy", "compression_level": None})
    for symbols in (10, 25, 100, 200):
        yield Recipe(f"{symbols} symbols a row group", ours, symbols)
    for rows_per_page in (5_000, 100_000):
        yield Recipe(f"{rows_per_page:,} rows a page", ours | {"max_rows_per_page": rows_per_page})
    yield Recipe("pages of 256 KiB", ours | {"data_page_size": 256 << 10})
    yield Recipe("pages of version 2", ours | {"data_page_version": "2.0"})
    yield Recipe("no page index", ours | {"write_page_index": False})
    yield Recipe("no page checksums", ours | {"write_page_checksum": False})


_ENCODINGS = {
    Kind.PRICE: ("DICTIONARY", "PLAIN", "DELTA_BINARY_PACKED"),  # DuckDB reads no integers split by byte
    Kind.FLOAT: ("DICTIONARY", "PLAIN", "BYTE_STREAM_SPLIT"),
    Kind.INTEGER: ("DICTIONARY", "PLAIN", "DELTA_BINARY_PACKED"),
    Kind.TIMESTAMP: ("DICTIONARY", "PLAIN", "DELTA_BINARY_PACKED"),
    Kind.TEXT: ("DICTIONARY", "PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"),
}


def encoded(dataset: Dataset, ours: dict[str, Any], kind: Kind, encoding: str) -> dict[str, Any]:
    """Our options with one kind of column encoded in another way."""
    names = [column.name for column in dataset.columns if column.kind is kind]
    dictionary = [name for name in ours["use_dictionary"] if name not in names]
    encodings = {name: e for name, e in ours["column_encoding"].items() if name not in names}
    if encoding == "DICTIONARY":
        dictionary += names
    else:
        encodings |= dict.fromkeys(names, encoding)
    return ours | {"use_dictionary": dictionary or False, "column_encoding": encodings or None}


def plain_prices(dataset: Dataset, ours: dict[str, Any]) -> dict[str, Any]:
    """Decimals that are not integers know no other encoding than a dictionary or none."""
    with_dictionary = encoded(dataset, ours, Kind.PRICE, "DICTIONARY")
    return {name: with_dictionary[name] for name in ("use_dictionary", "column_encoding")}


def write(dataset: Dataset, table: pa.Table, recipe: Recipe) -> bytes:
    """A file of the rows."""
    stream = io.BytesIO()
    most = parquet.ROW_GROUP_SYMBOLS
    parquet.ROW_GROUP_SYMBOLS = recipe.symbols
    try:
        with pq.ParquetWriter(stream, dataset.arrow_schema, **recipe.options) as writer:
            for group in parquet._row_groups(dataset, table.to_batches(65_536)):  # noqa: SLF001  # as above
                writer.write_table(group, row_group_size=group.num_rows)
    finally:
        parquet.ROW_GROUP_SYMBOLS = most
    return stream.getvalue()


def measure(dataset: Dataset, table: pa.Table, recipe: Recipe, path: Path) -> None:
    """Write and read once."""
    found = recipe.measures
    body: list[bytes] = []
    millions = len(table) / 1e6
    found.setdefault("write", []).append(cpu(lambda: body.append(write(dataset, table, recipe))) / millions)
    found.setdefault("bytes", []).append(len(body[0]) / len(table))
    path.write_bytes(body[0])
    columns = ", ".join(f'count("{name}"), max("{name}")' for name in dataset.names)
    names = pc.unique(table[dataset.symbol_column]).to_pylist()
    with duckdb.connect(config={"threads": 1}) as connection:
        scan = f"SELECT {columns} FROM read_parquet('{path}')"  # noqa: S608  # of our own making
        found.setdefault("duckdb", []).append(cpu(lambda: connection.execute(scan).fetchall()) / millions)
        point = f"SELECT * FROM read_parquet('{path}') WHERE {dataset.symbol_column} = $symbol"  # noqa: S608  # as above
        wanted = [names[len(names) * eighth // 8] for eighth in range(8)]
        found.setdefault("symbol", []).append(
            cpu(lambda: [connection.execute(point, {"symbol": name}).to_arrow_table() for name in wanted]) / len(wanted)
        )
    found.setdefault("pyarrow", []).append(cpu(lambda: pq.read_table(path, use_threads=False)) / millions)


def cpu(act: Callable[[], object]) -> float:
    """Milliseconds of the processor."""
    start = time.process_time()
    act()
    return 1000 * (time.process_time() - start)


def lean_bars(folder: Path) -> pa.Table:
    """One day's file of real bars: every day of every symbol in the folder stands for a symbol of its own."""
    source = open_lean("lean", {"path": str(folder), "interval": "1min", "asset_class": "equity"})
    request = FetchRequest(MARKET_DATA, DayRange(date(2013, 1, 1), date(2015, 1, 1)))
    found = pa.concat_tables([page.rows for page in source.fetch(request)], promote_options="permissive")
    days = pc.strftime(found["ts"], "%m%d")
    columns = {name: found[name] for name in found.column_names}
    columns["symbol"] = pc.binary_join_element_wise(found["symbol"].cast(pa.string()), days, "")
    told = {"source": "lean", "ingested_at": datetime(2024, 2, 1, 2, 3, 4, tzinfo=UTC), "interval": "1min"}
    made = [
        columns[f.name].cast(f.type) if f.name in columns else pa.array([told.get(f.name)] * len(found), f.type)
        for f in MARKET_DATA.arrow_schema
    ]
    table = pa.Table.from_arrays(made, schema=MARKET_DATA.arrow_schema)
    return table.sort_by([(name, "ascending") for name in MARKET_DATA.sort]).combine_chunks()


def tables(symbols: int, lean: Path | None) -> Iterator[tuple[str, Dataset, pa.Table]]:
    """What is written."""
    day, next_day = date(2024, 1, 16), date(2024, 1, 17)
    yield "bars, a day", MARKET_DATA, rows(MARKET_DATA, symbols, "1min", day, next_day)
    yield "bars, a month", MARKET_DATA, rows(MARKET_DATA, symbols // 10, "1min", date(2024, 1, 1), date(2024, 2, 1))
    if lean:
        yield "real bars, a day", MARKET_DATA, lean_bars(lean)
    yield "options, a day", OPTIONS_DATA, rows(OPTIONS_DATA, symbols // 10, "", day, next_day)
    yield "news, a month", NEWS, rows(NEWS, symbols, "", date(2024, 1, 16), date(2024, 2, 16))


def main() -> None:
    """Print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--lean", type=Path)
    parser.add_argument("--only", default="")
    told = parser.parse_args()
    for name, dataset, table in tables(told.symbols, told.lean):
        if not name.startswith(told.only):
            continue
        tried = list(recipes(dataset))
        with TemporaryDirectory() as folder:
            for _ in range(ROUNDS):
                for recipe in tried:
                    measure(dataset, table, recipe, Path(folder) / "file.parquet")
        print(f"\n{name}: {len(table):,d} rows\n")
        print("| recipe | bytes a row | write | DuckDB | pyarrow | one symbol |\n|---|---:|---:|---:|---:|---:|")
        for recipe in tried:
            found = {name: statistics.median(values) for name, values in recipe.measures.items()}
            print(
                f"| {recipe.name} | {found['bytes']:.2f} | {found['write']:.0f} | {found['duckdb']:.0f} |"
                f" {found['pyarrow']:.0f} | {found['symbol']:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
