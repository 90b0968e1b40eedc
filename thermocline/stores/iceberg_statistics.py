"""What a table says of its data files, from their footers.

PyIceberg says the same (`tests/unit/test_iceberg_statistics.py` compares both) in three times as long: it makes objects
of its own for each value. Here what a table wants to know is worked out once, and whole numbers stay numbers.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import MetricModeTypes, compute_statistics_plan
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table
from pyiceberg.typedef import Record
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    IcebergType,
    LongType,
    StringType,
    TimestamptzType,
)
from pyiceberg.utils.decimal import bytes_required
from pyiceberg.utils.truncate import truncate_upper_bound_text_string

_LONG, _INT, _DOUBLE, _BOOL = struct.Struct("<q"), struct.Struct("<i"), struct.Struct("<d"), struct.Struct("?")


@dataclass(frozen=True, slots=True)
class _Form:
    """How the values of a type lie in Parquet, whether they are taken as they lie there, and how a table has them."""

    physical: frozenset[str]
    is_raw: bool
    packed: Callable[[Any], bytes]


def _whole_number(value: int) -> bytes:
    return value.to_bytes(bytes_required(value), "big", signed=True)


_FORMS: dict[type[IcebergType], _Form] = {
    StringType: _Form(frozenset({"BYTE_ARRAY"}), is_raw=False, packed=str.encode),
    DecimalType: _Form(frozenset({"INT32", "INT64", "FIXED_LEN_BYTE_ARRAY"}), is_raw=True, packed=_whole_number),
    DoubleType: _Form(frozenset({"DOUBLE"}), is_raw=False, packed=_DOUBLE.pack),
    LongType: _Form(frozenset({"INT64"}), is_raw=True, packed=_LONG.pack),
    BooleanType: _Form(frozenset({"BOOLEAN"}), is_raw=False, packed=_BOOL.pack),
    DateType: _Form(frozenset({"INT32"}), is_raw=True, packed=_INT.pack),
    TimestamptzType: _Form(frozenset({"INT64"}), is_raw=True, packed=_LONG.pack),
}


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the table, and what the table's properties want to know of it. Texts are cut to `length`."""

    number: int
    form: _Form
    length: int | None
    counts: bool
    bounds: bool


class _Found:
    """What is found of a column in the row groups of a file; `None` is what nobody says."""

    def __init__(self, column: _Column) -> None:
        self.column = column
        self.size_bytes = 0
        self.values: int | None = None
        self.nulls: int | None = None
        self.least: Any = None
        self.greatest: Any = None
        self._is_known = True

    def add(self, chunk: pq.ColumnChunkMetaData) -> None:
        """Count a row group in."""
        self.size_bytes += chunk.total_compressed_size
        if not self.column.counts:
            return
        self.values = (self.values or 0) + chunk.num_values
        statistics = chunk.statistics
        if statistics is None:
            self._is_known = False
        if not self._is_known:
            self.nulls = self.least = self.greatest = None
            return
        if statistics.has_null_count:
            self.nulls = (self.nulls or 0) + statistics.null_count
        if self.column.bounds:
            self._widen(chunk, statistics)

    def _widen(self, chunk: pq.ColumnChunkMetaData, statistics: pq.Statistics) -> None:
        form = self.column.form
        if chunk.physical_type not in form.physical:
            msg = f"column {chunk.path_in_schema} is {chunk.physical_type} in Parquet, which the table's type is not"
            raise ValueError(msg)
        if statistics.has_min_max:
            low, high = _bounds(statistics, is_raw=form.is_raw)
            self.least = low if self.least is None else min(low, self.least)
            self.greatest = high if self.greatest is None else max(high, self.greatest)

    @property
    def lower_bound(self) -> bytes | None:
        """The least value as the table has it."""
        least = self.least
        return self._packed(least[: self.column.length] if isinstance(least, str) else least)

    @property
    def upper_bound(self) -> bytes | None:
        """The greatest value as the table has it; a text that is cut is made greater."""
        greatest = self.greatest
        if isinstance(greatest, str):
            greatest = truncate_upper_bound_text_string(greatest, self.column.length)
        return self._packed(greatest)

    def _packed(self, value: Any) -> bytes | None:
        return None if value is None else self.column.form.packed(value)


class FileStatistics:
    """Describes data files of one table. Many threads may ask."""

    def __init__(self, table: Table) -> None:
        """Look at the table's schema and properties."""
        schema, spec = table.schema(), table.spec()
        plan = compute_statistics_plan(schema, table.properties)
        self._columns = {
            field.name: _Column(
                field.field_id,
                _FORMS[type(field.field_type)],
                (mode := plan[field.field_id].mode).length,
                counts=mode.type != MetricModeTypes.NONE,
                bounds=mode.type not in {MetricModeTypes.NONE, MetricModeTypes.COUNTS},
            )
            for field in schema.fields
        }
        self._spec_id, self._sort_order_id = spec.spec_id, table.sort_order().order_id
        self._partition = [
            (field.name, field.source_id, field.transform.transform(schema.find_field(field.source_id).field_type))
            for field in spec.fields
        ]

    def described(self, location: str, size_bytes: int, footer: pq.FileMetaData) -> DataFile:
        """The data file at a location, with its size.

        Raises:
            ValueError: A column does not lie in Parquet as the table's type of it does, or rows are of two partitions.
        """
        groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        names = [footer.schema.column(place).name for place in range(footer.num_columns)]
        found = [_Found(self._columns[name]) for name in names]
        for group in groups:
            for place, each in enumerate(found):
                each.add(group.column(place))
        return DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=location,
            file_format=FileFormat.PARQUET,
            partition=self._partition_of(location, {each.column.number: each for each in found}),
            record_count=footer.num_rows,
            file_size_in_bytes=size_bytes,
            column_sizes={each.column.number: each.size_bytes for each in found},
            value_counts={each.column.number: each.values for each in found if each.values is not None},
            null_value_counts={each.column.number: each.nulls for each in found if each.nulls is not None},
            nan_value_counts={},
            lower_bounds={each.column.number: low for each in found if (low := each.lower_bound) is not None},
            upper_bounds={each.column.number: high for each in found if (high := each.upper_bound) is not None},
            split_offsets=sorted(_start(group.column(0)) for group in groups),
            spec_id=self._spec_id,
            sort_order_id=self._sort_order_id,
        )

    def _partition_of(self, location: str, found: Mapping[int, _Found]) -> Record:
        values = []
        for name, source, transform in self._partition:
            ends = (found[source].least, found[source].greatest) if source in found else (None, None)
            low, high = map(transform, ends)
            if low != high:
                msg = f"{location} has rows of more than one {name}: {low} and {high}"
                raise ValueError(msg)
            values.append(low)
        return Record(*values)


def _start(chunk: pq.ColumnChunkMetaData) -> int:
    if chunk.has_dictionary_page and chunk.dictionary_page_offset < chunk.data_page_offset:
        return int(chunk.dictionary_page_offset)
    return int(chunk.data_page_offset)


def _bounds(found: pq.Statistics, *, is_raw: bool) -> tuple[Any, Any]:
    if not is_raw:
        return found.min, found.max
    low, high = found.min_raw, found.max_raw
    if isinstance(low, bytes):  # a decimal of many digits
        return int.from_bytes(low, "big", signed=True), int.from_bytes(high, "big", signed=True)
    return low, high
