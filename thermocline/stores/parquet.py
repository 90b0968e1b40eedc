"""Our Parquet files: written as a stream in bounded memory, and read back as one.

The same rows give the same bytes, however they were cut into batches, so that an object which a killed run left behind
can be recognised. A file therefore says what it holds, but not which run wrote it, when, or as which version.
"""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Self, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from thermocline.errors import LakeError, SchemaError
from thermocline.model.dataset import Dataset, Kind
from thermocline.model.datasets import dataset_named
from thermocline.model.fingerprint import DailyFingerprinter, Fingerprinter
from thermocline.model.partition import Partition
from thermocline.model.receipt import Contents
from thermocline.model.storage_classes import COMPRESSED
from thermocline.stores.footers import CLASS_KEY, PREFIX
from thermocline.stores.sorted_rows import starts_of_runs

ROW_GROUP_SYMBOLS = 50  # one symbol a row group scans ten times slower, a whole market a row group prunes nothing
ROW_GROUP_FEW = 16_384  # rows up to which more symbols share one, as in a day of chains or of daily bars …
ROW_GROUP_SMALL = 4 << 20  # … unless they are so many bytes of Arrow buffers, as articles are
ROW_GROUP_ROWS = 1_000_000
ROW_GROUP_ENOUGH = 131_072  # rows from which on the next symbol begins a new one, as in a month of minutes
ROW_GROUP_BYTES = 32 << 20  # of Arrow buffers: what a writer holds in memory at most, beside the encoded row group
IN_MEMORY_BYTES = 8 << 20
READ_ROWS = 65_536
PAGE_ROWS = 50_000
_CHUNK_BYTES = 1 << 18

_LEVEL = 3
_COMPRESSED_LEVEL = 19
"""Of zstd. Of all that benchmarks/compressing.py tried, nothing read as fast took fewer bytes; 22 took as many."""

_ENCODED = pa.dictionary(pa.int32(), pa.string())
_OFFSET_BYTES = 4  # of a text in Arrow
_LARGEST_VALUE = 16  # bytes of a decimal; no other value but a text has more
_BUFFER_BYTES = 64 << 10  # PyArrow writes a few bytes at a time

_DELTA_KINDS = {Kind.PRICE, Kind.INTEGER, Kind.TIMESTAMP}
_DICTIONARY_KINDS = {Kind.TEXT, Kind.MONEY, Kind.FLOAT, Kind.DATE}


class EncodedFile:
    """A Parquet file that was written but not stored yet: small in memory, large in a temporary file.

    `sha256` and `size_bytes` are of its bytes, `by_day` of its rows: the contents of each day that it was written for.
    Closing it gives memory and disk back.
    """

    def __init__(self, stream: BinaryIO, by_day: Sequence[Contents]) -> None:
        """Measure the file from its beginning."""
        self.stream = stream
        self.by_day = by_day
        stream.seek(0)
        self.sha256, self.size_bytes = copy_hashing(stream)
        stream.seek(0)

    @property
    def contents(self) -> Contents:
        """The contents of the only day, or of the first."""
        return self.by_day[0]

    def __enter__(self) -> Self:
        """Hand the file over."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Forget it."""
        self.stream.close()


def copy_hashing(source: BinaryIO, target: BinaryIO | None = None) -> tuple[str, int]:
    """Read a stream to its end, writing it to the target if there is one; return its SHA-256 and size."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
        if target is not None:
            target.write(chunk)
    return digest.hexdigest(), size


def temporary_file(directory: str | None = None) -> BinaryIO:
    """A file that lives in memory while it is small; it is gone when closed, also after a kill."""
    if directory is not None:
        Path(directory).mkdir(parents=True, exist_ok=True)
    return cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES, dir=directory))


def encode(
    partition: Partition,
    batches: Iterable[pa.RecordBatch],
    *,
    compressed: bool = False,
    directory: str | None = None,
) -> EncodedFile:
    """Write a partition's sorted rows as Parquet into a temporary file, holding one row group in memory.

    `compressed` takes about five times as long to write, as long to read, and says so in the footer.

    Raises:
        LakeError: There are no rows, or they are not in the dataset's schema.
    """
    fingerprinter = Fingerprinter(dataset_named(partition.dataset))
    with ExitStack() as undo:
        stream = undo.enter_context(temporary_file(directory))
        span = {"day": partition.day.isoformat()}
        _write(stream, partition, span, fingerprinter, batches, compressed=compressed)
        contents = fingerprinter.contents()
        if not contents.rows:
            msg = f"{partition} has no rows, so there is nothing to write; a day that became empty is to be withdrawn"
            raise LakeError(msg)
        undo.pop_all()
    return EncodedFile(stream, [contents])


def encode_shared(
    partitions: Sequence[Partition],
    batches: Iterable[pa.RecordBatch],
    *,
    compressed: bool = False,
    directory: str | None = None,
) -> EncodedFile:
    """Write sorted rows of days of a month or year as `encode` does; the contents are those of each day, in that order.

    Raises:
        LakeError: A row belongs to none of the days, or the rows are not in the dataset's schema.
    """
    first, last = min(partitions), max(partitions)
    is_month = first.day.replace(day=1) == last.day.replace(day=1)
    span = {"month": f"{first.day:%Y-%m}"} if is_month else {"year": f"{first.day:%Y}"}
    fingerprinter = DailyFingerprinter(dataset_named(first.dataset), [partition.day for partition in partitions])
    with ExitStack() as undo:
        stream = undo.enter_context(temporary_file(directory))
        _write(stream, first, span, fingerprinter, batches, compressed=compressed)
        if strangers := fingerprinter.rows_of_other_days:
            msg = (
                f"{strangers} rows in the objects of {first} and the days after it belong to other days; nothing was "
                f"stored. `thermocline verify {first.dataset}` names the objects that are not as they were written"
            )
            raise LakeError(msg)
        undo.pop_all()
    return EncodedFile(stream, fingerprinter.contents())


def _write(
    stream: BinaryIO,
    partition: Partition,
    span: Mapping[str, str],
    fingerprinter: Fingerprinter | DailyFingerprinter,
    batches: Iterable[pa.RecordBatch],
    *,
    compressed: bool,
) -> None:
    dataset = dataset_named(partition.dataset)
    facts = {
        "dataset": partition.dataset,
        "interval": partition.interval,
        **span,
        "schema_version": str(dataset.schema_version),
    }
    if compressed:
        facts[CLASS_KEY] = COMPRESSED
    with (
        _explained(f"the rows of {partition} can't be written", "nothing was stored"),
        _buffered(stream) as sink,
        pq.ParquetWriter(sink, dataset.arrow_schema, **_options(dataset, compressed=compressed)) as writer,
    ):
        writer.add_key_value_metadata({f"{PREFIX}{name}": fact for name, fact in facts.items()})
        for group in _row_groups(dataset, _observed(dataset, fingerprinter, batches)):
            writer.write_table(group, row_group_size=group.num_rows)


@contextmanager
def _buffered(stream: BinaryIO) -> Iterator[pa.NativeFile]:
    """A stream to write to in larger pieces. It stays open."""
    sink = pa.BufferedOutputStream(pa.PythonFile(stream, mode="w"), _BUFFER_BYTES)
    yield sink
    sink.detach()  # with all that was written; closing it would close the stream


def decode(dataset: Dataset, stream: BinaryIO, name: str, *, encoded: bool = False) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file in the dataset's schema; nullable columns that the file lacks are null.

    `name` is what errors call the file. Rows that come `encoded` have texts of few values as dictionaries, which take
    half the time to read: a `Fingerprinter` and a load take them as they are.

    Raises:
        LakeError: The file is no Parquet, is damaged, or has another schema.
    """
    with (
        _explained(
            name,
            "the file is damaged or no Parquet of ours; restore it, or backfill the day with --repair",
        ),
        _opened(dataset, stream, encoded=encoded) as file,
    ):
        is_as_declared = file.schema_arrow.equals(_as_read(dataset, encoded=encoded))
        if not is_as_declared and (problems := list(_mismatches(dataset, file.schema_arrow))):
            msg = f"it is not in the schema of {dataset.name}: {', '.join(problems)}"
            raise SchemaError(msg)
        for some in _some_groups(file.metadata):
            for batch in file.iter_batches(batch_size=READ_ROWS, row_groups=some, use_threads=False):
                yield batch if is_as_declared else _conformed(dataset, batch, encoded=encoded)


def _some_groups(footer: pq.FileMetaData) -> Iterator[list[int]]:
    """The row groups, as many at a time as make a batch: a reader keeps something of each for as long as it lives."""
    some, rows = list[int](), 0
    for group in range(footer.num_row_groups):
        some.append(group)
        rows += footer.row_group(group).num_rows
        if rows >= READ_ROWS:
            yield some
            some, rows = [], 0
    if some:
        yield some


def _opened(dataset: Dataset, stream: BinaryIO, *, encoded: bool) -> pq.ParquetFile:
    """A file to read, with names such as symbols and sources as dictionaries; texts to be read stay as they are."""
    if encoded:
        with suppress(KeyError):  # it lacks one of them, so it is of an earlier schema or not ours
            return pq.ParquetFile(stream, read_dictionary=list(_names(dataset)), page_checksum_verification=True)
    return pq.ParquetFile(stream, page_checksum_verification=True)


@lru_cache
def _names(dataset: Dataset) -> frozenset[str]:
    names = {*dataset.key, dataset.symbol_column, "source"}
    return frozenset(name for name in names if dataset.column(name).kind is Kind.TEXT)


@lru_cache
def _as_read(dataset: Dataset, *, encoded: bool) -> pa.Schema:
    """The schema of a file that was written as the dataset is now."""
    names = _names(dataset) if encoded else frozenset[str]()
    return pa.schema([field.with_type(_ENCODED) if field.name in names else field for field in dataset.arrow_schema])


@lru_cache
def _options(dataset: Dataset, *, compressed: bool = False) -> dict[str, Any]:
    schema = dataset.arrow_schema
    return {
        "compression": "zstd",
        "compression_level": _COMPRESSED_LEVEL if compressed else _LEVEL,
        "use_dictionary": [column.name for column in dataset.columns if column.kind in _DICTIONARY_KINDS],
        "column_encoding": {c.name: "DELTA_BINARY_PACKED" for c in dataset.columns if c.kind in _DELTA_KINDS},
        "store_decimal_as_integer": True,
        "write_statistics": True,
        "write_page_index": True,
        "write_page_checksum": True,
        "max_rows_per_page": PAGE_ROWS,
        "sorting_columns": pq.SortingColumn.from_ordering(schema, [(name, "ascending") for name in dataset.sort]),
        "store_schema": False,
    }


def _observed(
    dataset: Dataset, fingerprinter: Fingerprinter | DailyFingerprinter, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        fingerprinter.update(batch)
        yield _conformed(dataset, batch)


def _row_groups(dataset: Dataset, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Cut sorted rows where a symbol begins, or within one where a group would hold too many rows or bytes.

    A group holds some symbols, and more of them while it is small.
    Only the rows decide where, not the batches that they come in, and each group is one chunk: so are the bytes.
    """
    few, batches = _few(batches)
    if few:
        yield pa.Table.from_batches(few, dataset.arrow_schema).combine_chunks()
    waiting: list[pa.RecordBatch] = []
    rows = symbols = size = 0
    previous: pa.RecordBatch | None = None
    for batch in batches:
        starts = starts_of_runs(batch, (dataset.symbol_column,), previous)
        beginnings, symbols_before = np.flatnonzero(starts), _running(starts)
        bytes_before = _running(_row_bytes(batch))
        previous = batch if batch.num_rows else previous
        start = 0
        while start < batch.num_rows:
            # The first symbol too many, and the row from which on the group is large enough.
            beyond = (
                int(np.searchsorted(symbols_before, symbols_before[start] + ROW_GROUP_SYMBOLS - symbols, "right")) - 1
            )
            worth = min(
                start + ROW_GROUP_FEW - rows,
                int(np.searchsorted(bytes_before, bytes_before[start] + ROW_GROUP_SMALL - size)),
            )
            stop = min(
                start + ROW_GROUP_ROWS - rows,
                _first_from(beginnings, max(start, start + ROW_GROUP_ENOUGH - rows), batch.num_rows),
                _first_from(beginnings, max(start, beyond, worth), batch.num_rows),
                int(np.searchsorted(bytes_before, bytes_before[start] + ROW_GROUP_BYTES - size, "right")) - 1,
            )
            stop = max(stop, start) if rows else max(stop, start + 1)
            waiting.append(batch.slice(start, stop - start))
            rows += stop - start
            symbols += int(symbols_before[stop] - symbols_before[start])
            size += int(bytes_before[stop] - bytes_before[start])
            if stop < batch.num_rows:
                yield pa.Table.from_batches(waiting, dataset.arrow_schema).combine_chunks()
                waiting, rows, symbols, size = [], 0, 0, 0
            start = stop
    if waiting:
        yield pa.Table.from_batches(waiting, dataset.arrow_schema).combine_chunks()


def _few(batches: Iterable[pa.RecordBatch]) -> tuple[list[pa.RecordBatch], Iterator[pa.RecordBatch]]:
    """All rows, where they are so few that one group has room for them; else none of them, and all batches to go on."""
    found: list[pa.RecordBatch] = []
    rows = most_bytes = 0
    batches = iter(batches)
    for batch in batches:
        found.append(batch)
        rows += batch.num_rows
        most_bytes += batch.nbytes + _LARGEST_VALUE * batch.num_rows * batch.num_columns
        if rows > min(ROW_GROUP_FEW, ROW_GROUP_ENOUGH, ROW_GROUP_ROWS) or most_bytes > min(
            ROW_GROUP_SMALL, ROW_GROUP_BYTES
        ):
            return [], chain(found, batches)
    return (found if rows else []), batches


def _first_from(beginnings: npt.NDArray[np.int64], row: int, otherwise: int) -> int:
    """The first of the rows that is not before another one."""
    at = int(np.searchsorted(beginnings, row))
    return int(beginnings[at]) if at < len(beginnings) else otherwise


def _running(amounts: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The sum of what comes before each row, and of all at the end."""
    sums = np.zeros(len(amounts) + 1, dtype=np.int64)
    np.cumsum(amounts, out=sums[1:])
    return sums


def _row_bytes(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """About what each row takes in memory; it depends on the row alone."""
    sizes = np.zeros(batch.num_rows, dtype=np.int64)
    for column in batch.columns:
        if pa.types.is_string(column.type):
            sizes += np.asarray(pc.fill_null(pc.binary_length(column), 0)) + _OFFSET_BYTES
        else:
            sizes += max(column.type.bit_width // 8, 1)
    return sizes


def _mismatches(dataset: Dataset, found: pa.Schema) -> Iterator[str]:
    wanted = dataset.arrow_schema
    types = {name: _decoded(kind) for name, kind in zip(found.names, found.types, strict=True)}
    for field in wanted:
        if field.name not in types:
            if not field.nullable:
                yield f"{field.name} is missing"
        elif (given := types[field.name]) != field.type and not _is_narrower(given, field.type):
            yield f"{field.name} is {given} instead of {field.type}"
    for name in found.names:
        if name not in dataset.names:
            yield f"{name} is not known to this version of Thermocline"


def _decoded(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_narrower(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether every value of one decimal type is one of the other, as of a price among larger amounts."""
    both = pa.types.is_decimal(given) and pa.types.is_decimal(wanted)
    return bool(both and given.scale == wanted.scale and given.precision <= wanted.precision)


def _conformed(dataset: Dataset, batch: pa.RecordBatch, *, encoded: bool = False) -> pa.RecordBatch:
    """The batch in the dataset's schema; what comes `encoded` keeps its texts so."""
    found = dict(zip(batch.schema.names, batch.columns, strict=True))
    columns = [
        _as(found[name], field.type, encoded=encoded) if name in found else pa.nulls(batch.num_rows, field.type)
        for name, field in zip(dataset.names, dataset.arrow_schema, strict=True)
    ]
    for declared, column in zip(dataset.columns, columns, strict=True):
        if column.null_count and not declared.nullable:
            msg = f"{declared.name} holds a null, which {dataset.name} does not allow"
            raise pa.ArrowInvalid(msg)
    if encoded:
        return pa.RecordBatch.from_arrays(columns, names=dataset.names)
    return pa.RecordBatch.from_arrays(columns, schema=dataset.arrow_schema)


def _as(column: pa.Array, wanted: pa.DataType, *, encoded: bool) -> pa.Array:
    is_right = column.type == wanted or (encoded and _decoded(column.type) == wanted)
    return column if is_right else column.cast(wanted)


@contextmanager
def _explained(name: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, SchemaError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        msg = f"{name}: {reason}; {remedy}"
        raise LakeError(msg) from error
