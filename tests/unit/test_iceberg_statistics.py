"""What a table says of its files is what PyIceberg would say of them."""

import io
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from every_kind import COLUMNS, SCHEMA, batches
from hypothesis import example, given
from hypothesis import strategies as st
from made_rows import DAY, rows
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.table.sorting import SortOrder
from pyiceberg.transforms import YearTransform

from thermocline.model.dataset import Dataset
from thermocline.model.datasets import DATASETS, MARKET_DATA, NEWS
from thermocline.model.partition import Partition
from thermocline.stores import parquet
from thermocline.stores.iceberg_statistics import FileStatistics
from thermocline.stores.iceberg_tables import schema_of
from thermocline.stores.parquet import encode

MODES = ["truncate(16)", "truncate(2)", "full", "counts", "none"]


class Table:
    """What is asked of a table, without a catalog."""

    def __init__(self, schema, mode="truncate(16)", time="ts"):
        """Give it a schema; it is partitioned by the year of `time`, where there is one."""
        self._schema = schema
        self.properties = {"write.metadata.metrics.default": mode}
        self._spec = UNPARTITIONED_PARTITION_SPEC
        if time:
            self._spec = PartitionSpec(
                PartitionField(schema.find_field(time).field_id, 1000, YearTransform(), "ts_year"), spec_id=3
            )

    def schema(self):
        """The schema."""
        return self._schema

    def spec(self):
        """How it is partitioned."""
        return self._spec

    def sort_order(self):
        """The order, of which only the number counts."""
        return SortOrder(order_id=2)


def by_pyiceberg(table, location, size, footer):
    """The data file as `Table.add_files` makes it."""
    schema = table.schema()
    plan = compute_statistics_plan(schema, table.properties)
    found = data_file_statistics_from_parquet_metadata(footer, plan, parquet_path_to_id_mapping(schema))
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=location,
        file_format=FileFormat.PARQUET,
        partition=found.partition(table.spec(), schema),
        file_size_in_bytes=size,
        spec_id=table.spec().spec_id,
        sort_order_id=table.sort_order().order_id,
        **found.to_serialized_dict(),
    )


def assert_same(table, footer):
    found = FileStatistics(table).described("/lake/a.parquet", 77, footer)
    expected = by_pyiceberg(table, "/lake/a.parquet", 77, footer)
    facts = [name for name, kind in vars(DataFile).items() if isinstance(kind, property) and name != "spec_id"]
    assert {name: getattr(found, name) for name in facts} == {name: getattr(expected, name) for name in facts}


def footer_of(dataset, batches):
    partition = Partition(dataset.name, "1min" if dataset.has_intervals else "", DAY)
    with encode(partition, batches) as file:
        return pq.read_metadata(file.stream)


@given(st.sampled_from(list(DATASETS.values())), st.sampled_from(MODES), st.integers(0, 500), st.integers(1, 120))
def test_of_every_dataset(dataset, mode, seed, count):
    footer = footer_of(dataset, [rows(dataset, count, seed=seed)])
    # A table whose time has no bounds can't be partitioned by it.
    time = "ts" if mode not in {"counts", "none"} else None
    assert_same(Table(schema_of(dataset), mode, time), footer)


def test_of_several_row_groups(monkeypatch):
    monkeypatch.setattr(parquet, "ROW_GROUP_SYMBOLS", 2)
    monkeypatch.setattr(parquet, "ROW_GROUP_FEW", 1)
    monkeypatch.setattr(parquet, "ROW_GROUP_SMALL", 1)
    for dataset in (MARKET_DATA, NEWS):
        footer = footer_of(dataset, [rows(dataset, 120)])
        assert footer.num_row_groups > 1
        assert_same(Table(schema_of(dataset)), footer)


class _EveryKind(Dataset):
    """All kinds of columns and no key."""

    def __post_init__(self):
        """Take it as it is."""


EVERY_KIND = _EveryKind("every_kind", "", COLUMNS, key=())


@given(st.lists(batches(), min_size=1, max_size=3), st.sampled_from(MODES))
def test_of_every_kind_of_value(groups, mode):
    stream = io.BytesIO()
    with pq.ParquetWriter(stream, SCHEMA, store_decimal_as_integer=True) as writer:
        for group in groups:
            writer.write_table(pa.Table.from_batches([group]))
    footer = pq.read_metadata(stream)
    assert_same(Table(schema_of(EVERY_KIND), mode, time=None), footer)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), min_size=1, max_size=5))
@example(["\U0010ffff" * 20])
@example(["a" * 15 + "\U0010ffff" + "b"])
def test_of_texts_that_are_cut(texts):
    footer = footer_of_table(pa.table({"text": texts}))
    assert_same(Table(schema_of(EVERY_KIND), time=None), footer)


def test_a_column_without_statistics_has_no_bounds_and_no_nulls():
    table = pa.table({"integer": [1, None], "price": pa.array([None, None], pa.decimal128(18, 8))})
    footer = footer_of_table(table, write_statistics=["price"])
    assert_same(Table(schema_of(EVERY_KIND), time=None), footer)


def test_fewer_digits_are_those_of_an_earlier_schema():
    """A price that became money; PyIceberg would not have it, though tables may be widened so."""
    table = pa.table({"money": pa.array([1, -2], pa.decimal128(18, 8))})
    footer = footer_of_table(table, store_decimal_as_integer=True)
    assert footer.schema.column(0).physical_type == "INT64"
    statistics = FileStatistics(Table(schema_of(EVERY_KIND), time=None))
    wide = footer_of_table(table.cast(pa.schema([EVERY_KIND.column("money").arrow_field])))
    assert wide.schema.column(0).physical_type == "FIXED_LEN_BYTE_ARRAY"
    found, expected = statistics.described("/a", 1, footer), statistics.described("/a", 1, wide)
    assert (found.lower_bounds, found.upper_bounds) == (expected.lower_bounds, expected.upper_bounds)
    assert found.value_counts == expected.value_counts


def test_a_column_of_another_type_is_refused():
    footer = footer_of_table(pa.table({"integer": ["1"]}))
    with pytest.raises(ValueError, match="column integer is BYTE_ARRAY in Parquet"):
        FileStatistics(Table(schema_of(EVERY_KIND), time=None)).described("/lake/a.parquet", 1, footer)


def test_rows_of_two_years_are_refused():
    table = pa.table({"timestamp": pa.array([datetime(2023, 12, 31, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)])})
    with pytest.raises(ValueError, match="rows of more than one ts_year: 53 and 54"):
        FileStatistics(Table(schema_of(EVERY_KIND), time="timestamp")).described("/a", 1, footer_of_table(table))


def footer_of_table(table, **options):
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return pq.read_metadata(stream)
