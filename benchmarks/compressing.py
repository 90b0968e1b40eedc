"""What writing objects of a local lake again with stronger compression saves, and what it costs to write and to read.

    python benchmarks/compressing.py [--symbols 200]

Rows are made up (`synthetic`): bars of one-minute and daily intervals, an option chain, news and social sentiment. Each
set is written with other options of the Parquet writer and read back with DuckDB, which sums a column of every row; the
best of three. Bytes are those of the whole object.
"""

import argparse
import io
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from thermocline.model.dataset import Dataset, Kind
from thermocline.model.datasets import DATASETS
from thermocline.model.partition import DayRange
from thermocline.ports import FetchRequest
from thermocline.sources.synthetic import open_source
from thermocline.stores import parquet

RUNS = 3
SHORTEST_TEXT = 200


def rows(dataset: Dataset, symbols: int, interval: str, first: date, last: date, *, texts: bool = True) -> pa.Table:
    """Sorted rows of some days; of news no more than there are texts, unless they shall have none."""
    options: dict[str, Any] = {"symbols": symbols, "session": "us"}
    source = open_source("synthetic", options | ({"interval": interval} if interval else {}))
    request = FetchRequest(dataset, DayRange(first, last))
    found = pa.concat_tables([page.rows for page in source.fetch(request)])
    if dataset.name == "news" and texts:
        bodies = paragraphs()
        found = found.slice(0, len(bodies)).append_column("body", pa.array(bodies[: len(found)]))
    ingested_at = datetime(2024, 2, 1, 2, 3, 4, tzinfo=UTC)
    told = {"source": "synthetic", "ingested_at": ingested_at}
    columns = [
        found[field.name].cast(field.type)
        if field.name in found.column_names
        else pa.array([told.get(field.name)] * len(found), field.type)
        for field in dataset.arrow_schema
    ]
    table = pa.Table.from_arrays(columns, schema=dataset.arrow_schema)
    return table.sort_by([(name, "ascending") for name in dataset.sort]).combine_chunks()


def paragraphs() -> list[str]:
    """Texts that people wrote, each once: the paragraphs of this project's own pages."""
    pages = sorted((Path(__file__).parents[1] / "docs").rglob("*.md"))
    texts = (text.strip() for page in pages for text in page.read_text().split("\n\n"))
    return list(dict.fromkeys(text for text in texts if len(text) > SHORTEST_TEXT))


def variants(dataset: Dataset) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is tried."""
    own = parquet._options(dataset)  # noqa: SLF001  # what is measured is just that
    yield "as written (zstd 3)", own
    for level in (9, 12, 15, 19, 22):
        yield f"zstd {level}", own | {"compression_level": level}
    yield (
        "zstd 15, pages of 8 MiB",
        own | {"compression_level": 15, "data_page_size": 8 << 20, "dictionary_pagesize_limit": 8 << 20},
    )
    yield (
        "zstd 19, pages of 8 MiB",
        own | {"compression_level": 19, "data_page_size": 8 << 20, "dictionary_pagesize_limit": 8 << 20},
    )
    split = [c.name for c in dataset.columns if c.kind is Kind.FLOAT]
    if split:
        plain = [name for name in own["use_dictionary"] if name not in split]
        encodings = own["column_encoding"] | dict.fromkeys(split, "BYTE_STREAM_SPLIT")
        yield (
            "zstd 15, floats split by byte",
            own | {"compression_level": 15, "use_dictionary": plain, "column_encoding": encodings},
        )
    yield "brotli 9", own | {"compression": "brotli", "compression_level": 9}


def measured(dataset: Dataset, table: pa.Table, options: dict[str, Any], folder: Path) -> tuple[int, float, float]:
    """Bytes, seconds to write, seconds to read."""
    path = folder / "object.parquet"

    def write() -> None:
        stream = io.BytesIO()
        with pq.ParquetWriter(stream, dataset.arrow_schema, **options) as writer:
            for group in parquet._row_groups(dataset, table.to_batches()):  # noqa: SLF001
                writer.write_table(group, row_group_size=group.num_rows)
        path.write_bytes(stream.getvalue())

    columns = ", ".join(f'count("{name}"), max("{name}")' for name in dataset.names)

    def read() -> None:
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute(f"SELECT {columns} FROM read_parquet('{path}')").fetchall()  # noqa: S608

    written = best(write, 1)
    return path.stat().st_size, written, best(read, RUNS)


def best(act: Callable[[], None], runs: int) -> float:
    """The shortest of some runs, in seconds."""
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        act()
        taken.append(time.perf_counter() - start)
    return min(taken)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=200)
    symbols = parser.parse_args().symbols
    sets = [
        ("market_data", "1min", date(2024, 1, 16), date(2024, 1, 17)),
        ("market_data", "1day", date(2024, 1, 1), date(2025, 1, 1)),
        ("options_data", "", date(2024, 1, 16), date(2024, 1, 17)),
        ("news", "", date(2024, 1, 16), date(2024, 2, 16)),
        ("social_sentiment", "", date(2024, 1, 16), date(2024, 1, 26)),
    ]
    with TemporaryDirectory() as folder:
        for name, interval, first, last in sets:
            dataset = DATASETS[name]
            table = rows(dataset, symbols if name != "options_data" else max(symbols // 20, 1), interval, first, last)
            print(f"\n{name} {interval}: {len(table):,d} rows")
            first_bytes = 0
            for what, options in variants(dataset):
                size, write, read = measured(dataset, table, options, Path(folder))
                first_bytes = first_bytes or size
                print(
                    f"  {what:32s} {size:>12,d} bytes {size / len(table):6.2f} a row {size / first_bytes:6.1%}"
                    f"   write {write:6.2f} s   read {read * 1000:7.1f} ms"
                )


if __name__ == "__main__":
    main()
