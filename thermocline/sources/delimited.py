"""CSV, block by block, every value as the text it is, so that no price ever passes through a float."""

import csv
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from thermocline.errors import SourceError

BLOCK_BYTES = 16 << 20
"""What one page of rows is read from; it bounds memory."""

_DELIMITERS = ",\t;|"


@dataclass(frozen=True)
class Dialect:
    """How a text file is written. Without a delimiter the first line tells it; `header` names a headless file's."""

    delimiter: str | None = None
    encoding: str = "utf-8"
    header: tuple[str, ...] | None = None
    newlines_in_values: bool = False


Unreadable = tuple[tuple[str, str], ...]
Opened = gzip.GzipFile | io.BufferedReader


def read_delimited(opened: Opened, first_line: str, dialect: Dialect) -> Iterator[tuple[pa.Table, Unreadable]]:
    """The rows of a text file, all columns as text, and the lines that have another number of fields than the header.

    Unquoted empty fields are null. A reading error of Arrow (`pa.ArrowInvalid`) goes to the caller.
    """
    delimiter = dialect.delimiter or max(_DELIMITERS, key=first_line.count)
    names = _distinct(dialect.header or next(csv.reader([first_line], delimiter=delimiter), []))
    if not any(names):
        msg = "it has no header line"
        raise SourceError(msg)
    lines_before = 0
    if not dialect.header:
        opened.readline()
        lines_before = 1
    if not opened.peek(1):
        return
    skipped: list[tuple[str, str]] = []

    def skip(row: Any) -> str:
        line = row.number + lines_before
        skipped.append((row.text, f"line {line}: {row.actual_columns} fields, {row.expected_columns} expected"))
        return "skip"

    reader = pa_csv.open_csv(
        opened,
        # Threads would lose the lines' numbers.
        read_options=pa_csv.ReadOptions(
            use_threads=False,
            block_size=BLOCK_BYTES,
            column_names=names,
            encoding=dialect.encoding,
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter=delimiter, invalid_row_handler=skip, newlines_in_values=dialect.newlines_in_values
        ),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    for batch in reader:
        yield pa.Table.from_batches([batch]), tuple(skipped)
        skipped.clear()
    if skipped:
        yield reader.schema.empty_table(), tuple(skipped)


def open_text(path: Path) -> Opened:
    """The bytes of a file, unpacked when its name ends in `.gz`. Python's gzip checks length and checksum."""
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def first_line(path: Path, encoding: str) -> str:
    """A file's first line, without its end and a byte order mark."""
    with open_text(path) as opened:
        line = opened.readline(BLOCK_BYTES)
    return line.decode(encoding).removeprefix("\ufeff").rstrip("\r\n")


def _distinct(names: Any) -> list[str]:
    """Names as they are; one that stands there again gets a number, since a table may not have it twice."""
    taken: dict[str, int] = {}
    result = []
    for name in (each.strip() for each in names):
        taken[name] = taken.get(name, 0) + 1
        result.append(name if taken[name] == 1 else f"{name}.{taken[name]}")
    return result
