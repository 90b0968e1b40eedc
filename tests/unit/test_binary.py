"""PostgreSQL's binary COPY format, there and back without a server."""

import struct
from decimal import Decimal
from itertools import chain

import pyarrow as pa
import pytest
from every_kind import COLUMNS, SCHEMA, batches, spelled
from hypothesis import given
from hypothesis import strategies as st

from thermocline.errors import HotStoreError
from thermocline.model.dataset import Column, Kind
from thermocline.stores.postgres import decode as decoding
from thermocline.stores.postgres import encode as encoding
from thermocline.stores.postgres.copy_format import HEADER, TRAILER
from thermocline.stores.postgres.decode import decode
from thermocline.stores.postgres.encode import encode


def rows_in(content: bytes, fields: int) -> list[bytes]:
    """The rows of a COPY stream, cut by its own lengths as a server would cut it."""
    rows, position = [], 0
    while position < len(content):
        start = position
        assert struct.unpack_from(">h", content, position) == (fields,)
        position += 2
        for _ in range(fields):
            (length,) = struct.unpack_from(">i", content, position)
            position += 4 + max(length, 0)
        rows.append(content[start:position])
    assert position == len(content)
    return rows


def messages(batch: pa.RecordBatch, columns=COLUMNS) -> list[bytes]:
    """What a server sends: the header with the first row, a message a row, the trailer."""
    rows = rows_in(encode(batch, columns), len(columns))
    return [HEADER + rows[0], *rows[1:], TRAILER] if rows else [HEADER + TRAILER]


@given(batches(), st.sampled_from([0, 3, 5]))
def test_rows_of_every_kind_come_back_as_they_were(batch, few):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(decoding, "_FEW_ROWS", few)
        decoded = list(decode(messages(batch), COLUMNS, batch_rows=5))
    assert list(chain.from_iterable(map(spelled, decoded))) == spelled(batch)
    for part in decoded:
        part.validate(full=True)
        assert part.schema == SCHEMA
        assert 0 < part.num_rows <= 5


@given(batches(), st.integers(1, 12))
def test_a_batch_says_the_same_in_blocks_of_any_size(batch, rows):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(encoding, "BLOCK_ROWS", rows)
        decoded = list(decode(messages(batch), COLUMNS, batch_rows=12))
    assert list(chain.from_iterable(map(spelled, decoded))) == spelled(batch)


@given(batches())
def test_texts_that_come_as_dictionaries_say_the_same(batch):
    columns = [column.dictionary_encode() if pa.types.is_string(column.type) else column for column in batch.columns]
    assert encode(pa.RecordBatch.from_arrays(columns, batch.schema.names), COLUMNS) == encode(batch, COLUMNS)


@pytest.mark.parametrize("texts", [["AA", "BB", "AA"], ["AA", "BBB"], ["", ""], ["", "A"], ["A", None], ["é", "AA"]])
@pytest.mark.parametrize("start", [0, 1])
def test_texts_of_any_lengths_may_come_as_dictionaries(texts, start):
    plain = pa.array(texts * 3)
    encoded = pa.DictionaryArray.from_arrays(plain.dictionary_encode().indices, pa.array(["x", *texts]).unique()[1:])
    one, other = (pa.record_batch([array[start:]], names=["text"]) for array in (plain, encoded))
    column = [Column("text", Kind.TEXT)]
    assert encode(other, column) == encode(one, column)


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_column_of_nothing_but_nulls_comes_back(column, rows):
    batch = pa.RecordBatch.from_arrays(
        [pa.nulls(rows, column.arrow_field.type)], schema=pa.schema([column.arrow_field])
    )
    decoded = list(decode(messages(batch, [column]), [column], batch_rows=10))
    assert list(chain.from_iterable(part.to_pylist() for part in decoded)) == batch.to_pylist()


def test_a_null_says_nothing_whatever_lies_beneath_it():
    """Arrow leaves any bytes where a value is null."""
    halves = pa.py_buffer(b"\xff" * 15 + b"\x7f" + b"\x80" * 16)
    one_null = pa.py_buffer(b"\x00")
    for column in COLUMNS:
        if column.kind in {Kind.PRICE, Kind.MONEY}:
            array = pa.Array.from_buffers(column.arrow_field.type, 2, [one_null, halves], 2)
            assert encode(pa.record_batch([array], names=[column.name]), [column]) == b"\0\1\xff\xff\xff\xff" * 2


@pytest.mark.parametrize("texts", [["", "x" * 200, "é"], ["a", "b" * 3000, None], ["", ""], ["longer", "longer"]])
def test_texts_come_back_however_unlike_their_lengths_are(texts):
    batch = pa.RecordBatch.from_arrays([pa.array(texts)], names=["text"])
    [decoded] = decode(messages(batch, [Column("text", Kind.TEXT)]), [Column("text", Kind.TEXT)], batch_rows=10)
    assert decoded.to_pydict() == batch.to_pydict()


@pytest.mark.parametrize(("weight", "digit"), [(3, 1), (2, 100), (20, 1)])
def test_a_number_that_is_too_large_for_its_column_is_refused(weight, digit):
    value = struct.pack(">hhHhh", 1, weight, 0, 8, digit)
    message = HEADER + struct.pack(">hi", 1, len(value)) + value
    with pytest.raises(HotStoreError, match="too large for its type"):
        list(decode([message, TRAILER], [Column("open", Kind.PRICE)], batch_rows=10))


@pytest.mark.parametrize(
    "odd", ["1", "9999.9999", "9999.99990001", "0.99", "0", "10000", "-1", "-12.34", "0.00000001", None]
)
@pytest.mark.parametrize("kind", [Kind.PRICE, Kind.MONEY])
def test_one_price_that_is_unlike_all_others_comes_back_as_they_do(monkeypatch, kind, odd):
    monkeypatch.setattr(decoding, "_FEW_ROWS", 0)
    columns = [Column("price", kind, nullable=True), Column("next", kind, nullable=True)]
    prices = [Decimal(price) for price in ("12", "12.5", "1.0001", "9999.9999", "300.2")]
    arrays = [
        pa.array([*prices, odd and Decimal(odd), *prices], columns[0].arrow_field.type),
        pa.array([*prices, prices[0], *prices], columns[0].arrow_field.type),
    ]
    batch = pa.RecordBatch.from_arrays(arrays, schema=pa.schema([column.arrow_field for column in columns]))
    [decoded] = decode(messages(batch, columns), columns, batch_rows=100)
    decoded.validate(full=True)
    assert decoded.equals(batch)


@pytest.mark.parametrize(
    "texts",
    [
        ["synthetic"] * 5,
        ["synthetic", "synthetic", "Synthetic", "synthetic"],
        ["same", "others", "same"],
        ["same", None, "same"],
        [None, "same", None],
        ["", "", ""],
        ["", "a", ""],
        ["x" * 300, "x" * 300],
    ],
)
def test_a_text_that_is_the_same_in_all_rows_comes_back_and_so_does_one_that_almost_is(texts):
    columns = [Column("text", Kind.TEXT, nullable=True), Column("number", Kind.INTEGER)]
    schema = pa.schema([column.arrow_field for column in columns])
    batch = pa.RecordBatch.from_arrays([pa.array(texts), pa.array(range(len(texts)))], schema=schema)
    [decoded] = decode(messages(batch, columns), columns, batch_rows=100)
    decoded.validate(full=True)
    assert decoded.equals(batch)


def test_an_empty_batch_is_no_bytes():
    assert encode(pa.RecordBatch.from_pylist([], SCHEMA), COLUMNS) == b""


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Kind.TIMESTAMP, struct.pack(">q", 2**63 - 1)),
        (Kind.TIMESTAMP, struct.pack(">q", -(2**63))),
        (Kind.DATE, struct.pack(">i", 2**31 - 1)),
        (Kind.DATE, struct.pack(">i", -(2**31))),
        (Kind.PRICE, struct.pack(">hhHh", 0, 0, 0xC000, 0)),
        (Kind.PRICE, struct.pack(">hhHhh", 1, -3, 0, 12, 1)),
    ],
    ids=["infinity", "-infinity", "infinite date", "-infinite date", "NaN price", "too many places"],
)
def test_what_no_lake_can_hold_is_refused_and_named(kind, value):
    message = HEADER + struct.pack(">hi", 1, len(value)) + value
    with pytest.raises(HotStoreError, match="odd_column"):
        list(decode([message, TRAILER], [Column("odd_column", kind)], batch_rows=10))


def test_of_several_numerics_the_one_that_no_lake_can_hold_is_named():
    fine, odd = struct.pack(">hhHhh", 1, 0, 0, 8, 7), struct.pack(">hhHh", 0, 0, 0xC000, 0)
    for place in range(3):
        values = [odd if number == place else fine for number in range(3)]
        fields = [struct.pack(">i", len(value)) + value for value in values]
        message = HEADER + struct.pack(">h", 3) + b"".join(fields)
        with pytest.raises(HotStoreError, match=f"column_{place} holds NaN"):
            list(decode([message, TRAILER], [Column(f"column_{n}", Kind.PRICE) for n in range(3)], batch_rows=10))


def test_numerics_as_a_server_shortens_them_are_read():
    """A server leaves out zeros on both ends: 10000 is one digit of weight 1, 0.00000001 one of weight -2."""
    column = Column("price", Kind.PRICE)
    for digits, weight, expected in (([], 0, "0"), ([1], 1, "10000"), ([1], -2, "0.00000001"), ([12, 0, 5], 0, None)):
        value = struct.pack(f">hhHh{len(digits)}h", len(digits), weight, 0, 8, *digits)
        [batch] = decode([HEADER + struct.pack(">hi", 1, len(value)) + value], [column], batch_rows=1)
        assert str(batch[0][0].as_py().normalize()).replace("1E+4", "10000").replace("1E-8", "0.00000001") == (
            expected or "12.00000005"
        )
