"""The fingerprint sees rows, not the way they lie in memory, and sees every one of their values."""

import hashlib
import itertools
import math
import struct
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_rows import VALUES, bars, rows, sorted_batch

from thermocline.errors import SchemaError
from thermocline.model import fingerprint, value_hashes
from thermocline.model.dataset import PROVENANCE, Column, Kind
from thermocline.model.datasets import DATASETS, FEATURES, MARKET_DATA, NEWS, OPTIONS_DATA
from thermocline.model.fingerprint import DailyFingerprinter, contents_by_day, contents_of, row_hashes
from thermocline.model.partition import Partition
from thermocline.model.receipt import Contents

datasets = st.sampled_from(list(DATASETS.values()))
seeds = st.integers(0, 1000)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WORD = 2**64


def mixed(word):
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % WORD
    return word ^ (word >> 31)


@cache
def digest(text):
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def bits_of(kind, value):
    """What a value becomes before it is mixed, as receipts have it since the first one."""
    match kind:
        case Kind.TEXT:
            return digest(value)
        case Kind.PRICE | Kind.MONEY:
            unscaled = int(value.scaleb(8)) % 2**128
            return unscaled % WORD + unscaled // WORD * 0xC2B2AE3D27D4EB4F
        case Kind.FLOAT:
            return 0x7FF8000000000000 if math.isnan(value) else struct.unpack("<Q", struct.pack("<d", value))[0]
        case Kind.DATE:
            return (value - EPOCH.date()).days
        case Kind.TIMESTAMP:
            return (value - EPOCH) // timedelta(microseconds=1)
        case _:
            return int(value)


def hash_of(dataset, names, row):
    """The sum of a row's values in those columns, not mixed yet."""
    columns = [dataset.column(name) for name in names]
    return sum(
        mixed((bits_of(column.kind, row[column.name]) * 0x9E3779B97F4A7C15 + digest(column.name)) % WORD)
        for column in columns
        if row.get(column.name) is not None
    )


def slow_contents(dataset, made):
    """What rows contain, a value at a time in Python's whole numbers."""
    sums = [0, 0, 0, 0]
    for row in made:
        for position, names in ((0, dataset.content), (2, dataset.names)):
            word = mixed(hash_of(dataset, names, row) % WORD)
            sums[position] += word
            sums[position + 1] += mixed(word ^ 0x9E3779B97F4A7C15)
    halves = [f"{half % WORD:016x}" for half in sums]
    nulls = {c.name: sum(row.get(c.name) is None for row in made) for c in dataset.columns if c.nullable}
    stamps = [row["ts"] for row in made]
    return Contents(
        rows=len(made),
        min_ts=min(stamps, default=None),
        max_ts=max(stamps, default=None),
        null_counts={name: count for name, count in nulls.items() if count},
        fingerprint=halves[2] + halves[3],
        content_fingerprint=halves[0] + halves[1],
    )


def encoded_as_read(batch):
    """The same rows with their texts as a Parquet file keeps them."""
    columns = [c.dictionary_encode() if pa.types.is_string(c.type) else c for c in batch.columns]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


@pytest.fixture(params=["few", "many"])
def small_blocks(request, monkeypatch):
    """Blocks of seven rows, so that a few rows fill several, hashed as few rows are, or as many are.

    Of many, columns are mixed one after the other, and texts that are equal, or runs of two or more, are looked for.
    """
    monkeypatch.setattr(fingerprint, "BLOCK_ROWS", 7)
    if request.param == "many":
        monkeypatch.setattr(value_hashes, "BLOCK_ROWS", 7)
        monkeypatch.setattr(value_hashes, "_FEW_ROWS", 0)
        monkeypatch.setattr(value_hashes, "_ROWS_A_RUN", 2)


def made_of_few_values(dataset, seed, count):
    """Rows of which many columns hold one value throughout, or runs of a few."""
    batch = rows(dataset, count, seed=seed)
    few = batch.take(pa.array(np.repeat(np.arange(min(2, batch.num_rows)), 10)))
    one = batch.take(pa.array([0] * 9))
    return [batch, few, one, few.slice(5, 12)]


@pytest.mark.usefixtures("small_blocks")
@given(datasets, seeds, st.integers(1, 16), st.booleans())
def test_it_is_what_a_value_at_a_time_would_give(dataset, seed, count, as_read):
    batches = made_of_few_values(dataset, seed, count)
    made = [row for batch in batches for row in batch.to_pylist()]
    given_batches = [encoded_as_read(batch) for batch in batches] if as_read else batches
    assert contents_of(dataset, given_batches) == slow_contents(dataset, made)
    for names in (dataset.key, ("ts",)):
        found = [word for batch in given_batches for word in row_hashes(dataset, names, batch).tolist()]
        assert found == [mixed(hash_of(dataset, names, row) % WORD) for row in made]


@pytest.mark.usefixtures("small_blocks")
@given(datasets, seeds, st.lists(st.integers(-30_000, 30_000), min_size=1, max_size=4, unique=True), st.data())
def test_each_day_has_the_contents_that_its_rows_have_alone(dataset, seed, numbers, data):
    days = [date(1970, 1, 1) + timedelta(days=number) for number in numbers]
    of_day = {day: rows(dataset, 6, day=day, seed=seed).to_pylist() for day in days}
    batch = sorted_batch(dataset, [row for made in of_day.values() for row in made])
    asked = data.draw(st.permutations(days))[: data.draw(st.integers(1, len(days)))]
    expected = [slow_contents(dataset, of_day[day]) for day in asked]
    assert contents_by_day(dataset, [batch.slice(0, 5), batch.slice(5)], asked) == expected
    fingerprinter = DailyFingerprinter(dataset, asked)
    fingerprinter.update(batch)
    assert fingerprinter.rows_of_other_days == sum(len(of_day[day]) for day in days if day not in asked)


def with_column(batch, name, values):
    position = batch.schema.get_field_index(name)
    return batch.set_column(position, batch.schema.field(name), pa.array(values, batch.schema.field(name).type))


@given(datasets, seeds, st.randoms(use_true_random=False), st.lists(st.integers(0, 40), max_size=6))
def test_order_and_cuts_do_not_matter(dataset, seed, dice, cuts):
    batch = rows(dataset, 40, seed=seed)
    order = list(range(batch.num_rows))
    dice.shuffle(order)
    shuffled = batch.take(pa.array(order))
    edges = sorted({0, batch.num_rows, *(min(cut, batch.num_rows) for cut in cuts)})
    pieces = [shuffled.slice(start, stop - start) for start, stop in itertools.pairwise(edges)]
    assert contents_of(dataset, [shuffled.slice(0, 0), *pieces]) == contents_of(dataset, [batch])


@given(datasets, seeds, st.data())
def test_every_single_change_of_a_value_is_noticed(dataset, seed, data):
    batch = rows(dataset, 20, seed=seed)
    column = data.draw(st.sampled_from([c for c in dataset.columns if c.kind is not Kind.TIMESTAMP]))
    row = data.draw(st.integers(0, batch.num_rows - 1))
    values = batch.column(column.name).to_pylist()
    others = [*VALUES[column.kind], *([None] if column.nullable else [])]
    others = [other for other in others if repr(other) != repr(values[row])]
    same_number = isinstance(values[row], Decimal)
    values[row] = data.draw(
        st.sampled_from([o for o in others if not (same_number and o is not None and o == values[row])])
    )
    before, after = contents_of(dataset, [batch]), contents_of(dataset, [with_column(batch, column.name, values)])
    assert before.fingerprint != after.fingerprint
    assert (before.content_fingerprint == after.content_fingerprint) == (column.name in PROVENANCE)


@given(datasets, seeds, st.data())
def test_a_shifted_instant_is_noticed(dataset, seed, data):
    batch = rows(dataset, 10, seed=seed)
    name = data.draw(st.sampled_from([c.name for c in dataset.columns if c.kind is Kind.TIMESTAMP]))
    row = data.draw(st.integers(0, batch.num_rows - 1))
    stamps = batch.column(name).cast(pa.int64()).to_pylist()
    stamps[row] += data.draw(st.sampled_from([-1, 1]))
    changed = batch.set_column(
        batch.schema.get_field_index(name),
        batch.schema.field(name),
        pa.array(stamps, pa.int64()).cast(batch.schema.field(name).type),
    )
    assert contents_of(dataset, [batch]).fingerprint != contents_of(dataset, [changed]).fingerprint


@given(datasets, seeds, st.data())
def test_a_doubled_row_that_hides_a_missing_one_is_noticed(dataset, seed, data):
    batch = rows(dataset, 10, seed=seed)
    gone = data.draw(st.integers(0, batch.num_rows - 1))
    doubled = data.draw(st.integers(0, batch.num_rows - 1).filter(lambda row: row != gone))
    kept = [row for row in range(batch.num_rows) if row != gone]
    whole = contents_of(dataset, [batch])
    assert contents_of(dataset, [batch.take(pa.array(kept))]).fingerprint != whole.fingerprint
    assert contents_of(dataset, [batch.take(pa.array([*kept, doubled]))]).fingerprint != whole.fingerprint
    assert contents_of(dataset, [batch, batch]).fingerprint != whole.fingerprint


def test_values_that_swap_columns_or_rows_are_noticed():
    batch = bars(Partition.parse("market_data/1min/2024-01-15"))
    opens, highs = batch.column("open").to_pylist(), batch.column("high").to_pylist()
    swapped = with_column(with_column(batch, "open", highs), "high", opens)
    closes = with_column(batch, "close", list(reversed(batch.column("close").to_pylist())))
    prints = {contents_of(MARKET_DATA, [one]).fingerprint for one in (batch, swapped, closes)}
    assert len(prints) == 3


def test_null_zero_minus_zero_and_nan_are_four_things_and_every_nan_is_one():
    batch = bars(Partition.parse("market_data/1min/2024-01-15"), ("AAPL",), 1)
    found = [
        contents_of(MARKET_DATA, [with_column(batch, "volume", [value])]).fingerprint
        for value in (None, 0.0, -0.0, math.nan)
    ]
    assert len(set(found)) == 4
    other_nan = pa.array([0x7FF8000000000001], pa.int64()).view(pa.float64())
    position = batch.schema.get_field_index("volume")
    odd = batch.set_column(position, batch.schema.field("volume"), other_nan)
    assert contents_of(MARKET_DATA, [odd]).fingerprint == found[3]


def test_bytes_under_a_null_do_not_matter():
    batch = bars(Partition.parse("market_data/1min/2024-01-15"), ("AAPL",), 1)
    position = batch.schema.get_field_index("volume")
    dirty = pa.Array.from_buffers(
        pa.float64(), 1, [pa.py_buffer(b"\x00"), pa.py_buffer(b"\x01\x02\x03\x04\x05\x06\x07\x08")]
    )
    clean = contents_of(MARKET_DATA, [with_column(batch, "volume", [None])])
    assert contents_of(MARKET_DATA, [batch.set_column(position, batch.schema.field("volume"), dirty)]) == clean


def test_a_nullable_column_that_is_not_there_yet_counts_as_null():
    batch = rows(FEATURES, 10)
    nulled = with_column(batch, "market_cap", [None] * batch.num_rows)
    older = batch.drop_columns(["market_cap"])
    assert contents_of(FEATURES, [older]) == contents_of(FEATURES, [nulled])


@pytest.mark.parametrize(
    ("name", "kind"), [("strike", pa.decimal128(20, 8)), ("delta", pa.float32()), ("ts", pa.timestamp("ns", "UTC"))]
)
def test_another_type_is_refused(name, kind):
    batch = rows(OPTIONS_DATA, 5)
    values = pa.array([None] * batch.num_rows, kind)
    odd = batch.set_column(batch.schema.get_field_index(name), pa.field(name, kind), values)
    with pytest.raises(SchemaError, match=f"column {name} is"):
        contents_of(OPTIONS_DATA, [odd])


def test_a_missing_key_column_is_refused():
    with pytest.raises(SchemaError, match="symbol is missing"):
        contents_of(MARKET_DATA, [rows(MARKET_DATA, 5).drop_columns(["symbol"])])


def test_no_rows_have_contents_too():
    contents = contents_of(MARKET_DATA, [])
    assert (contents.rows, contents.min_ts, contents.null_counts) == (0, None, {})
    assert set(contents.fingerprint + contents.content_fingerprint) == {"0"}


def test_counts_nulls_and_the_span_of_time():
    partition = Partition.parse("market_data/1min/2024-01-15")
    contents = contents_of(MARKET_DATA, [bars(partition, ("AAPL",), 3)])
    assert contents.rows == 3
    assert contents.null_counts == {"vwap": 3}
    assert (contents.min_ts, (contents.max_ts - contents.min_ts).seconds) == (partition.start, 120)


def test_the_fingerprint_stays_what_it_was():
    """Receipts outlive versions: a change here would make every lake look damaged."""
    made = bars(Partition.parse("market_data/1min/2024-01-15"))
    high = MARKET_DATA.arrow_schema.field("high")
    batch = made.set_column(MARKET_DATA.names.index("high"), high, pa.array([Decimal("188.44")] * len(made), high.type))
    contents = contents_of(MARKET_DATA, [batch])
    assert contents.fingerprint == "6b2f7efdec9e05629d433a72393d9014"
    assert contents.content_fingerprint == "f544cf2f2789bca94d07490522a26421"


def test_booleans_count_too():
    dataset = replace(NEWS, columns=(*NEWS.columns, Column("is_paid", Kind.BOOLEAN)))
    seen = set()
    for values in ([True, False], [False, True], [True, None], [True, True]):
        batch = rows(NEWS, 2).append_column("is_paid", pa.array(values))
        seen.add(contents_of(dataset, [batch]).fingerprint)
    assert len(seen) == 4
