"""What can be wrong with a cold day, one line each, as functions that spoil a world's second day."""

import io
import json
import math
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from made_rows import as_sorted_lists
from spoilt_world import DAYS, SPOILT

from thermocline.model.datasets import MARKET_DATA


def missing(world):
    world.object.unlink()


def empty(world):
    world.object.write_bytes(b"")


def truncated(world):
    world.object.write_bytes(world.object.read_bytes()[: world.object.stat().st_size // 2])


def longer(world):
    world.object.write_bytes(world.object.read_bytes() + b"\0")


def flip(path, position):
    body = bytearray(path.read_bytes())
    body[position] ^= 0x20
    path.write_bytes(body)


def rows_in(file):
    return as_sorted_lists(pq.ParquetFile(file).read(), MARKET_DATA)


def footer_starts(path):
    body = path.read_bytes()
    return len(body) - 8 - struct.unpack("<I", body[-8:-4])[0]


def byte_flipped_in_a_page(world):
    flip(world.object, 300)


def byte_flipped_in_the_footer(world):
    body = world.object.read_bytes()
    flip(world.object, body.rindex(b"thermocline.schema_version"))
    assert rows_in(world.object) == rows_in(io.BytesIO(body))


def byte_flipped_in_statistics(world):
    body = world.object.read_bytes()
    first = body.index(b"MSFT", footer_starts(world.object))
    flip(world.object, first)
    assert rows_in(world.object) == rows_in(io.BytesIO(body))


def object_of_another_day(world):
    world.object.write_bytes((world.folder / world.receipt_of(DAYS[2]).path).read_bytes())


def object_of_another_day_of_the_right_size(world):
    other = world.folder / world.receipt_of(DAYS[2]).path
    body, end = other.read_bytes(), footer_starts(other)
    padding = b"\0" * (world.object.stat().st_size - len(body))
    assert padding
    world.object.write_bytes(body[:end] + padding + body[end:])
    assert world.object.stat().st_size == world.receipt.size_bytes
    pq.read_table(world.object, partitioning=None)


SPOILT_OBJECTS = [
    missing,
    empty,
    truncated,
    longer,
    byte_flipped_in_a_page,
    byte_flipped_in_the_footer,
    byte_flipped_in_statistics,
    object_of_another_day,
    object_of_another_day_of_the_right_size,
]


# ---------------------------------------------------------------------------------------------------------- spoilt rows


def rewritten(world, change: Callable[[pa.Table], pa.Table]) -> None:
    """Put changed rows in the object's place, as a well-meaning script would."""
    before = pq.read_table(world.object, partitioning=None)
    after = change(before)
    pq.write_table(after, world.object, store_schema=False, store_decimal_as_integer=True)


def with_column(table, name, column):
    return table.set_column(table.column_names.index(name), name, column)


def volumes(table, change):
    return with_column(table, "volume", pa.array([change(v) for v in table["volume"].to_pylist()], pa.float64()))


def row_changed(world):
    def change(table):
        prices = table["close"].to_pylist()
        return with_column(table, "close", pa.array([prices[0] + 1, *prices[1:]], table["close"].type))

    rewritten(world, change)


def row_doubled_and_another_missing(world):
    rewritten(world, lambda table: pa.concat_tables([table[:1], table[:1], table[2:]]))


def row_missing(world):
    rewritten(world, lambda table: table[:-1])


def two_rows_with_their_values_exchanged(world):
    def change(table):
        prices = table["close"].to_pylist()
        return with_column(table, "close", pa.array([prices[1], prices[0], *prices[2:]], table["close"].type))

    rewritten(world, change)


def null_turned_to_zero(world):
    rewritten(world, lambda table: volumes(table, lambda v: 0.0 if v is None else v))


def nan_turned_to_null(world):
    rewritten(world, lambda table: volumes(table, lambda v: None if v is not None and math.isnan(v) else v))


def zero_turned_to_minus_zero(world):
    rewritten(world, lambda table: volumes(table, lambda v: -0.0 if v == 0.0 else v))


def nan_with_another_payload(world):
    def change(table):
        column = pa.array(table["volume"].to_pylist(), pa.float64())
        bits = np.frombuffer(column.buffers()[1], np.uint64, len(column)).copy()
        bits[np.isnan(bits.view(np.float64))] = 0x7FF8000000000001
        return with_column(
            table, "volume", pa.Array.from_buffers(column.type, len(column), [column.buffers()[0], pa.py_buffer(bits)])
        )

    rewritten(world, change)


def column_of_another_type(world):
    rewritten(world, lambda table: with_column(table, "trade_count", table["trade_count"].cast(pa.float64())))


def column_renamed(world):
    rewritten(world, lambda table: table.rename_columns(["vol" if n == "volume" else n for n in table.column_names]))


def column_missing(world):
    rewritten(world, lambda table: table.drop_columns(["volume"]))


def column_too_many(world):
    rewritten(world, lambda table: table.append_column("note", pa.nulls(len(table), pa.string())))


SPOILT_ROWS = [
    row_changed,
    row_doubled_and_another_missing,
    row_missing,
    two_rows_with_their_values_exchanged,
    null_turned_to_zero,
    nan_turned_to_null,
    zero_turned_to_minus_zero,
    column_of_another_type,
    column_renamed,
    column_missing,
    column_too_many,
]
"""What the values alone give away, also to somebody who made the SHA-256 fit."""

# ------------------------------------------------------------------------------------------------------ spoilt receipts


def in_ledger(name, value):
    def spoil(world):
        with psycopg.connect(world.url, autocommit=True) as connection:
            changed = connection.execute(
                f"UPDATE thermocline.vintage SET {name} = {value} WHERE day = %s",
                (SPOILT.day,),  # tests
            )
            assert changed.rowcount == 1

    spoil.__name__ = f"{name}_edited_in_the_ledger"
    return spoil


SPOILT_LEDGER = [
    in_ledger("rows", "rows + 1"),
    in_ledger("sha256", "reverse(sha256)"),
    in_ledger("size_bytes", "size_bytes + 1"),
    in_ledger("fingerprint", "reverse(fingerprint)"),
    in_ledger("content_fingerprint", "reverse(content_fingerprint)"),
    in_ledger("null_counts", "null_counts || '{\"volume\": 0}'"),
    in_ledger("min_ts", "min_ts + interval '1 microsecond'"),
    in_ledger("max_ts", "max_ts - interval '1 microsecond'"),
    in_ledger("path", "replace(replace(path, 'day=16', 'day=17'), '20240116', '20240117')"),
    in_ledger("etag", "'edited'"),
]


def journal_files(world):
    return sorted((world.folder / "metadata/receipts/market_data").glob("*.jsonl"))


def receipt_edited_in_the_journal(world):
    [file] = journal_files(world)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    [line] = [line for line in lines if line["partition"] == str(SPOILT)]
    line["receipt"]["contents"]["rows"] += 1
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def journal_cut_off(world):
    [file] = journal_files(world)
    body = file.read_text()
    file.write_text(body[: body.index(str(SPOILT))])


def journal_lost(world):
    for file in journal_files(world):
        file.unlink()


SPOILT_JOURNAL = [receipt_edited_in_the_journal, journal_cut_off, journal_lost]

# ------------------------------------------------------------------------------------------------------------ the table


def pointer_set_back(world):
    with closing(sqlite3.connect(world.catalog)) as connection, connection:
        changed = connection.execute("UPDATE iceberg_tables SET metadata_location = previous_metadata_location")
        assert changed.rowcount == 1


CATALOGUE = [
    *SPOILT_OBJECTS,
    *SPOILT_ROWS,
    nan_with_another_payload,
    *SPOILT_LEDGER,
    *SPOILT_JOURNAL,
    pointer_set_back,
]
