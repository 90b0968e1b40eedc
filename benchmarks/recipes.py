"""Which encodings, compression and sizes of row groups and pages serve bars, options and news best.

    python benchmarks/recipes.py [--symbols 500] [--lean FOLDER] [--filings FOLDER] [--only bars]

Each recipe differs from ours in one thing. Of each are shown the bytes a row, and in processor time for a million rows:
writing, reading all of it with DuckDB (one thread) and with pyarrow; then milliseconds for the rows of one symbol, and
for one contract or article, out of one file, with DuckDB. Medians of interleaved rounds.

Rows are made up (`synthetic`; articles get texts that `prose.py` makes up), or real: one-minute trades of US equities
in a data folder of LEAN, each symbol's days taken as those of as many symbols, to fill a file; the option chains in it;
and the filings in a folder of files of the SEC.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from prose import with_texts

from thermocline.model.conform import conform
from thermocline.model.dataset import Dataset, Kind
from thermocline.model.datasets import MARKET_DATA, NEWS, OPTIONS_DATA
from thermocline.model.partition import DayRange
from thermocline.ports import FetchRequest, Source
from thermocline.sources.lean import open_source as open_lean
from thermocline.sources.open import open_source
from thermocline.stores import parquet

ROUNDS = 3


@dataclass(frozen=True)
class Recipe:
    """Options of the Parquet writer, other limits of row groups than ours, and another order."""

    name: str
    options: dict[str, Any]
    limits: Mapping[str, int] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    measures: dict[str, list[float]] = field(default_factory=dict)


def recipes(dataset: Dataset, unlike: Sequence[str]) -> Iterator[Recipe]:
    """Ours, and each other one that differs from it in one thing. In `unlike` columns most texts are there once."""
    ours = parquet._options(dataset)  # noqa: SLF001  # what is measured is just that
    yield Recipe("ours", ours)
    for kind, encodings in _ENCODINGS.items():
        for encoding in encodings if any(c.kind is kind for c in dataset.columns) else ():
            yield Recipe(f"{kind}: {encoding.lower()}", encoded(dataset, ours, kind, encoding))
    yield Recipe("decimals of fixed length", ours | {"store_decimal_as_integer": False, **plain_prices(dataset, ours)})
    for level in (1, 2, 4, 5, 6, 9):
        yield Recipe(f"zstd {level}", ours | {"compression_level": level})
    yield Recipe("snappy", ours | {"compression": "snappy", "compression_level": None})
    for symbols in (10, 25, 50, 100, 200, 1_000):
        limits = {"ROW_GROUP_SYMBOLS": symbols, "ROW_GROUP_FEW": 0}
        yield Recipe(f"{symbols} symbols a row group, however few rows", ours, limits)
    for few in (4_096, 8_192, 32_768, 65_536):
        limits = {"ROW_GROUP_FEW": few, "ROW_GROUP_SMALL": few * parquet.ROW_GROUP_SMALL // parquet.ROW_GROUP_FEW}
        yield Recipe(f"{few:,} rows a row group at least", ours, limits)
    for rows_per_page in (5_000, 100_000):
        yield Recipe(f"{rows_per_page:,} rows a page", ours | {"max_rows_per_page": rows_per_page})
    yield Recipe("pages of 256 KiB", ours | {"data_page_size": 256 << 10})
    yield Recipe("pages of version 2", ours | {"data_page_version": "2.0"})
    yield Recipe("no page index", ours | {"write_page_index": False})
    yield Recipe("no page checksums", ours | {"write_page_checksum": False})
    yield from of_texts(dataset, ours, unlike)
    for order in _ORDERS.get(dataset.name, ()):
        yield Recipe(f"sorted by {', '.join(order)}", ours | {"sorting_columns": None}, order=order)


def of_texts(dataset: Dataset, ours: dict[str, Any], unlike: Sequence[str]) -> Iterator[Recipe]:
    """Texts that are there once in other ways, and bloom filters."""
    texts = [name for name in dataset.key if dataset.column(name).kind is Kind.TEXT and name != "interval"]
    yield Recipe("bloom filters of the key", ours | {"bloom_filter_options": dict.fromkeys(texts, True)})
    if unlike:
        for encoding in _ENCODINGS[Kind.TEXT][1:]:
            yield Recipe(f"{', '.join(unlike)}: {encoding.lower()}", columns_encoded(ours, unlike, encoding))


_ENCODINGS = {
    Kind.PRICE: ("DICTIONARY", "PLAIN", "DELTA_BINARY_PACKED"),  # DuckDB reads no integers split by byte
    Kind.FLOAT: ("DICTIONARY", "PLAIN", "BYTE_STREAM_SPLIT"),
    Kind.INTEGER: ("DICTIONARY", "PLAIN", "DELTA_BINARY_PACKED"),
    Kind.TIMESTAMP: ("DICTIONARY", "PLAIN", "DELTA_BINARY_PACKED"),
    Kind.TEXT: ("DICTIONARY", "PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"),
}


_ORDERS = {
    "options_data": (
        ("underlying", "expiration", "strike", "option_type", "ts"),
        ("underlying", "ts", "contract_symbol"),
    ),
    "news": (("symbol", "ts", "article_id"), ("ts", "symbol", "article_id")),
}


def encoded(dataset: Dataset, ours: dict[str, Any], kind: Kind, encoding: str) -> dict[str, Any]:
    """Our options with one kind of column encoded in another way."""
    return columns_encoded(ours, [column.name for column in dataset.columns if column.kind is kind], encoding)


def columns_encoded(ours: dict[str, Any], names: Sequence[str], encoding: str) -> dict[str, Any]:
    """Our options with some columns encoded in another way."""
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
    if recipe.order:
        table = table.sort_by([(name, "ascending") for name in recipe.order]).combine_chunks()
    stream = io.BytesIO()
    usual = {name: getattr(parquet, name) for name in recipe.limits}
    vars(parquet).update(recipe.limits)
    try:
        with pq.ParquetWriter(stream, dataset.arrow_schema, **recipe.options) as writer:
            for group in parquet._row_groups(dataset, table.to_batches(65_536)):  # noqa: SLF001  # as above
                writer.write_table(group, row_group_size=group.num_rows)
    finally:
        vars(parquet).update(usual)
    return stream.getvalue()


def points(dataset: Dataset) -> dict[str, str]:
    """By which columns few rows are asked for."""
    others = [name for name in dataset.key if name in {"contract_symbol", "article_id"}]
    return {"one symbol": dataset.symbol_column} | {f"one {name.split('_')[0]}": name for name in others}


def measure(dataset: Dataset, table: pa.Table, recipe: Recipe, path: Path) -> None:
    """Write and read once."""
    found = recipe.measures
    body: list[bytes] = []
    millions = len(table) / 1e6
    found.setdefault("write", []).append(cpu(lambda: body.append(write(dataset, table, recipe))) / millions)
    found.setdefault("bytes", []).append(len(body[0]) / len(table))
    path.write_bytes(body[0])
    columns = ", ".join(f'count("{name}"), max("{name}")' for name in dataset.names)
    with duckdb.connect(config={"threads": 1}) as connection:
        scan = f"SELECT {columns} FROM read_parquet('{path}')"  # noqa: S608  # of our own making
        found.setdefault("duckdb", []).append(cpu(lambda: connection.execute(scan).fetchall()) / millions)
        for what, column in points(dataset).items():
            point = f"SELECT * FROM read_parquet('{path}') WHERE {column} = $value"  # noqa: S608  # as above
            names = pc.unique(table[column]).to_pylist()
            wanted = [names[len(names) * eighth // 8] for eighth in range(8)]
            found.setdefault(what, []).append(
                cpu(lambda: [connection.execute(point, {"value": name}).to_arrow_table() for name in wanted]) / 8  # noqa: B023
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


def real(dataset: Dataset, source: Source, days: DayRange) -> pa.Table:
    """The good rows that a source has of those days, each key once, as a file has them."""
    at = datetime(2024, 2, 1, 2, 3, 4, tzinfo=UTC)
    pages = [
        conform(page.rows, dataset, source=source.name, ingested_at=at, origin=page.origin).rows
        for page in source.fetch(FetchRequest(dataset, days))
    ]
    return pa.concat_tables(pages).sort_by([(name, "ascending") for name in dataset.sort]).combine_chunks()


def tables(
    symbols: int, lean: Path | None, filings: Path | None
) -> Iterator[tuple[str, Dataset, Callable[[], pa.Table]]]:
    """What is written."""
    day, next_day, month = date(2024, 1, 16), date(2024, 1, 17), date(2024, 2, 16)
    yield "bars, a day", MARKET_DATA, lambda: rows(MARKET_DATA, symbols, "1min", day, next_day)
    yield (
        "bars, a month",
        MARKET_DATA,
        lambda: rows(MARKET_DATA, symbols // 10, "1min", date(2024, 1, 1), date(2024, 2, 1)),
    )
    yield "daily bars, a day", MARKET_DATA, lambda: rows(MARKET_DATA, 10 * symbols, "1day", day, next_day)
    yield (
        "daily bars, a year",
        MARKET_DATA,
        lambda: rows(MARKET_DATA, symbols, "1day", date(2023, 1, 1), date(2024, 1, 1)),
    )
    yield "options, a day", OPTIONS_DATA, lambda: rows(OPTIONS_DATA, 4 * symbols, "", day, next_day)
    yield "news, a month", NEWS, lambda: with_texts(rows(NEWS, symbols // 2, "", day, month, texts=False))
    if lean:
        years = DayRange(date(2013, 1, 1), date(2015, 1, 1))
        yield "real bars, a day", MARKET_DATA, lambda: lean_bars(lean)
        yield (
            "real options, minutes and days",
            OPTIONS_DATA,
            lambda: real(OPTIONS_DATA, open_source("lean", path=str(lean)), years),
        )
    if filings:
        days = DayRange(date(2000, 1, 1), date(2026, 1, 1))
        yield "real filings", NEWS, lambda: real(NEWS, open_source("sec", path=str(filings)), days)


def unlike(dataset: Dataset, table: pa.Table) -> list[str]:
    """The columns of texts most of which are there once."""
    texts = [column.name for column in dataset.columns if column.kind is Kind.TEXT]
    return [name for name in texts if 2 * pc.count_distinct(table[name]).as_py() > len(table)]


def main() -> None:
    """Print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--lean", type=Path)
    parser.add_argument("--filings", type=Path)
    parser.add_argument("--only", default="", help="how the names of what is written begin")
    parser.add_argument("--recipe", default="", help="a part of the names of the recipes to compare with ours")
    told = parser.parse_args()
    for name, dataset, make in tables(told.symbols, told.lean, told.filings):
        if not name.startswith(told.only):
            continue
        table = make()
        tried = [
            each for each in recipes(dataset, unlike(dataset, table)) if each.name == "ours" or told.recipe in each.name
        ]
        with TemporaryDirectory() as folder:
            for _ in range(ROUNDS):
                for recipe in tried:
                    measure(dataset, table, recipe, Path(folder) / "file.parquet")
        show(name, len(table), tried, ["write", "duckdb", "pyarrow", *points(dataset)])


def show(name: str, count: int, tried: Sequence[Recipe], columns: Sequence[str]) -> None:
    """A table."""
    print(f"\n{name}: {count:,d} rows\n\n| recipe | bytes a row | {' | '.join(columns)} |")
    print(f"|---|---:|{'---:|' * len(columns)}")
    for recipe in tried:
        found = {each: statistics.median(values) for each, values in recipe.measures.items()}
        times = " | ".join(f"{found[each]:.2f}" if each.startswith("one") else f"{found[each]:.0f}" for each in columns)
        print(f"| {recipe.name} | {found['bytes']:.2f} | {times} |", flush=True)


if __name__ == "__main__":
    main()
