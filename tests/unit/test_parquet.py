"""Our Parquet files: exact, the same bytes for the same rows, and refused when damaged."""

import io
import itertools
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_rows import DAY, bars, rows

from thermocline.errors import LakeError
from thermocline.model.datasets import DATASETS, MARKET_DATA, NEWS
from thermocline.model.fingerprint import contents_of
from thermocline.model.partition import Partition
from thermocline.stores import parquet
from thermocline.stores.parquet import decode, encode

MINUTES = Partition("market_data", "1min", DAY)


def partition_of(dataset):
    return Partition(dataset.name, "1min" if dataset.has_intervals else "", DAY)


def encoded(partition, batches):
    with encode(partition, batches) as file:
        return file.stream.read(), file


def table_of(body):
    return pq.ParquetFile(io.BytesIO(body))


@given(st.sampled_from(list(DATASETS.values())), st.integers(0, 500))
def test_rows_come_back_exactly(dataset, seed):
    batch = rows(dataset, 60, seed=seed)
    body, file = encoded(partition_of(dataset), [batch])
    found = pa.Table.from_batches(decode(dataset, io.BytesIO(body), "it"))
    assert found.schema == dataset.arrow_schema
    assert [repr(row) for row in found.to_pylist()] == [repr(row) for row in batch.to_pylist()]
    assert file.contents == contents_of(dataset, found.to_batches()) == contents_of(dataset, [batch])
    assert file.size_bytes == len(body)


@given(st.integers(0, 500), st.lists(st.integers(0, 200), max_size=5))
def test_the_same_rows_give_the_same_bytes_however_they_were_cut(seed, cuts):
    batch = rows(MARKET_DATA, 200, seed=seed)
    edges = sorted({0, batch.num_rows, *(min(cut, batch.num_rows) for cut in cuts)})
    pieces = [batch.slice(start, stop - start) for start, stop in itertools.pairwise(edges)]
    copied = [pa.RecordBatch.from_pylist(piece.to_pylist(), batch.schema) for piece in pieces]
    with encode(MINUTES, [batch]) as one, encode(MINUTES, [batch.slice(0, 0), *copied]) as other:
        assert one.sha256 == other.sha256


@pytest.mark.parametrize(
    ("few", "small", "expected"),
    [(1, 1, [50, 50, 20]), (385, 1 << 30, [55, 55, 10]), (386, 1, [50, 50, 20]), (386, 1 << 30, [56, 56, 8])],
)
def test_a_row_group_begins_with_a_symbol_and_holds_fifty_or_more_while_it_is_small(few, small, expected, monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_FEW", few)
    monkeypatch.setattr(parquet, "ROW_GROUP_SMALL", small)
    batch = bars(MINUTES, [f"S{number:03}" for number in range(120)], 7)
    for size in (1000, 7, 100):
        pieces = [batch.slice(start, size) for start in range(0, batch.num_rows, size)]
        file = table_of(encoded(MINUTES, pieces)[0])
        groups = [file.read_row_group(number)["symbol"].to_pylist() for number in range(file.num_row_groups)]
        assert [len(set(group)) for group in groups] == expected
        assert sum(map(len, groups)) == 840


@pytest.mark.parametrize("dataset", list(DATASETS.values()), ids=lambda dataset: dataset.name)
@pytest.mark.parametrize("limit", ["ROW_GROUP_FEW", "ROW_GROUP_ENOUGH", "ROW_GROUP_ROWS", "ROW_GROUP_BYTES"])
def test_rows_that_fit_one_group_are_written_as_if_it_had_been_looked_for(dataset, limit, monkeypatch):
    batch = rows(dataset, 150)
    size = batch.nbytes if limit == "ROW_GROUP_BYTES" else batch.num_rows
    partition = partition_of(dataset)
    for room in (size // 2, size - 1, size, size + 1, 1 << 20):
        monkeypatch.setattr(parquet, limit, room)
        pieces = [batch.slice(start, 40) for start in range(0, batch.num_rows, 40)]
        found = encoded(partition, pieces)[0]
        with monkeypatch.context() as patched:
            patched.setattr(parquet, "_few", lambda batches: ([], iter(batches)))
            assert encoded(partition, pieces)[0] == found


@given(st.integers(1, 60), st.lists(st.integers(1, 12), min_size=1, max_size=20))
def test_a_row_group_that_has_enough_rows_ends_with_its_symbol_however_rows_are_cut(size, counts):
    made = [bars(MINUTES, (f"S{number:02}",), count) for number, count in enumerate(counts)]
    (batch,) = pa.Table.from_batches(made).combine_chunks().to_batches()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "ROW_GROUP_ENOUGH", 10)
        body, _ = encoded(MINUTES, [batch.slice(start, size) for start in range(0, batch.num_rows, size)])
    expected = [0]
    for count in counts:
        if expected[-1] >= 10:
            expected.append(0)
        expected[-1] += count
    metadata = table_of(body).metadata
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == expected


@given(st.sampled_from(list(DATASETS.values())), st.integers(0, 500))
def test_rows_that_come_encoded_have_the_same_contents(dataset, seed):
    body, file = encoded(partition_of(dataset), [rows(dataset, 60, seed=seed)])
    found = list(decode(dataset, io.BytesIO(body), "it", encoded=True))
    assert contents_of(dataset, found) == file.contents
    assert pa.types.is_dictionary(found[0].schema.field(dataset.symbol_column).type)


@pytest.mark.parametrize("limit", ["ROW_GROUP_ROWS", "ROW_GROUP_BYTES"])
def test_a_row_group_is_never_larger_than_what_a_writer_may_hold(limit, monkeypatch):
    batch = bars(MINUTES, ("AAPL", "MSFT"), 500)
    monkeypatch.setattr(parquet, limit, {"ROW_GROUP_ROWS": 300, "ROW_GROUP_BYTES": 30_000}[limit])
    one, other = (encoded(MINUTES, [batch.slice(i, cut) for i in range(0, 1000, cut)])[0] for cut in (1000, 61))
    assert one == other
    metadata = table_of(one).metadata
    groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert len(groups) > 3
    assert max(groups) <= 300
    assert sum(groups) == 1000


def test_a_single_row_larger_than_a_row_group_may_be_is_still_written(monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 10)
    batch = bars(MINUTES, ("AAPL",), 3)
    file = table_of(encoded(MINUTES, [batch])[0])
    assert (file.num_row_groups, file.read().num_rows) == (3, 3)


def test_a_file_says_what_it_holds_and_how_it_is_sorted_and_prices_are_packed_integers():
    file = table_of(encoded(MINUTES, [bars(MINUTES)])[0])
    assert file.metadata.metadata == {
        b"thermocline.dataset": b"market_data",
        b"thermocline.interval": b"1min",
        b"thermocline.day": b"2024-01-15",
        b"thermocline.schema_version": b"1",
    }
    group = file.metadata.row_group(0)
    order = [MARKET_DATA.names[column.column_index] for column in group.sorting_columns]
    assert order == ["symbol", "asset_class", "ts"]
    columns = {group.column(number).path_in_schema: group.column(number) for number in range(group.num_columns)}
    assert columns["close"].physical_type == "INT64"
    assert "DELTA_BINARY_PACKED" in columns["close"].encodings
    assert "DELTA_BINARY_PACKED" in columns["ts"].encodings
    assert "RLE_DICTIONARY" in columns["volume"].encodings
    assert all(column.statistics and column.has_column_index for column in columns.values())
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    required = [number for number, column in enumerate(MARKET_DATA.columns) if not column.nullable]
    assert [n for n in range(13) if file.schema.column(n).max_definition_level == 0] == required


def test_a_large_file_goes_to_disk_and_not_to_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(parquet, "IN_MEMORY_BYTES", 100)
    with encode(MINUTES, [bars(MINUTES)], directory=str(tmp_path)) as file:
        assert file.stream.name is not None  # a name, or a number, of the system's
        assert file.stream.read(4) == b"PAR1"
    assert list(tmp_path.iterdir()) == []


def test_no_rows_are_not_written():
    with pytest.raises(LakeError, match="has no rows"):
        encode(MINUTES, [bars(MINUTES).slice(0, 0)])


def test_a_null_in_a_key_is_not_written():
    batch = bars(MINUTES)
    position = batch.schema.get_field_index("symbol")
    holed = batch.set_column(position, batch.schema.field("symbol"), pa.nulls(batch.num_rows, pa.string()))
    with pytest.raises(LakeError, match="nothing was stored"):
        encode(MINUTES, [holed])


def test_an_error_of_whoever_delivers_the_rows_passes_through():
    def failing():
        yield bars(MINUTES)
        raise LookupError

    with pytest.raises(LookupError):
        encode(MINUTES, failing())


def written(table):
    body = io.BytesIO()
    pq.write_table(table, body)
    return io.BytesIO(body.getvalue())


def test_a_column_that_an_older_file_lacks_comes_as_null():
    table = pa.Table.from_batches([rows(NEWS, 10)])
    (found,) = decode(NEWS, written(table.drop_columns(["publisher"])), "it")
    assert found.schema == NEWS.arrow_schema
    assert found.column("publisher").null_count == found.num_rows
    table = pa.Table.from_batches([rows(NEWS, 10)])
    counted = decode(NEWS, written(table.drop_columns(["publisher"])), "it", encoded=True)
    assert contents_of(NEWS, counted) == contents_of(NEWS, [found])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda table: table.drop_columns(["symbol"]), "symbol is missing"),
        (lambda table: table.append_column("mood", table["symbol"]), "mood is not known"),
        (
            lambda table: table.set_column(4, "open", table["open"].cast(pa.float64())),
            r"open is double instead of decimal128\(18, 8\)",
        ),
        (
            lambda table: table.set_column(1, "symbol", pa.nulls(table.num_rows, pa.string())),
            "symbol holds a null",
        ),
    ],
)
@pytest.mark.parametrize("encoded", [False, True])
def test_a_file_in_another_schema_is_refused(change, reason, encoded):
    table = change(pa.Table.from_batches([bars(MINUTES)]))
    loose = pa.table(dict(zip(table.column_names, table.columns, strict=True)))
    with pytest.raises(LakeError, match=f"it: .*{reason}"):
        list(decode(MARKET_DATA, written(loose), "it", encoded=encoded))


@given(st.data())
def test_a_damaged_file_is_refused_or_read_but_never_crashes(data):
    """Flipped bits in pages are caught by their checksums; elsewhere the receipt's SHA-256 catches them."""
    body, _ = encoded(MINUTES, [bars(MINUTES, ("AAPL", "MSFT"), 20)])
    position = data.draw(st.integers(0, len(body) - 1))
    flipped = body[position] ^ (1 << data.draw(st.integers(0, 7)))
    with suppress(LakeError):
        list(decode(MARKET_DATA, io.BytesIO(body[:position] + bytes([flipped]) + body[position + 1 :]), "it"))
    with pytest.raises(LakeError, match="it: "):
        list(decode(MARKET_DATA, io.BytesIO(body[:position]), "it"))


def test_a_columns_name_that_is_no_text_any_more_is_told_as_damage():
    body, _ = encoded(MINUTES, [bars(MINUTES, ("AAPL",), 1)])
    damaged = body.replace(b"asset_class", b"\xf3sset_class")
    with pytest.raises(LakeError, match="it: "):
        list(decode(MARKET_DATA, io.BytesIO(damaged), "it"))


def test_a_flipped_bit_in_a_page_is_noticed():
    body, _ = encoded(MINUTES, [bars(MINUTES, ("AAPL", "MSFT"), 20)])
    closes = table_of(body).metadata.row_group(0).column(MARKET_DATA.names.index("close"))
    last = closes.data_page_offset + closes.total_compressed_size - 1
    with pytest.raises(LakeError, match="CRC"):
        list(decode(MARKET_DATA, io.BytesIO(body[:last] + bytes([body[last] ^ 1]) + body[last + 1 :]), "it"))


def test_a_large_file_has_room_where_nothing_was_put_before(tmp_path):
    with parquet.temporary_file(str(tmp_path / "home" / "tmp")) as file:
        file.write(bytes(parquet.IN_MEMORY_BYTES + 1))
        assert file.tell() == parquet.IN_MEMORY_BYTES + 1


@pytest.mark.parametrize("lacking", ["source", "symbol"])
@pytest.mark.parametrize("as_dictionaries", [True, False])
def test_a_file_that_lacks_a_name_is_told_so_however_it_is_read(lacking, as_dictionaries):
    stream = io.BytesIO()
    pq.write_table(pa.table(bars(MINUTES)).drop_columns([lacking]), stream)
    with pytest.raises(LakeError, match=f"not in the schema of market_data: {lacking} is missing"):
        list(decode(MARKET_DATA, stream, "it", encoded=as_dictionaries))
