"""Reading Parquet objects with DuckDB: exact paths in, a stream of Arrow batches out."""

import re
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.errors import ArchivedError, LakeError, TransientLakeError
from thermocline.model.dataset import PRECISION, Column, Dataset, Kind
from thermocline.model.datasets import DATASETS
from thermocline.model.partition import ONE_DAY, midnight
from thermocline.model.query import Query, Segment
from thermocline.model.receipt import Vintage
from thermocline.ports import Located
from thermocline.stores.instance import SharedInstance
from thermocline.stores.range_reader import ExactPaths
from thermocline.stores.work import Work

_BATCH_ROWS = 65_536
_EPOCH_DAYS = date(1970, 1, 1).toordinal()
_DAY_MICROSECONDS = 86_400_000_000
_PIECE_BYTES = 32 << 20  # about three million bars
_PIECE_DAYS = 500

_TYPES = {
    Kind.TEXT: "VARCHAR",
    Kind.PRICE: "DECIMAL({}, {})".format(*PRECISION[Kind.PRICE]),
    Kind.MONEY: "DECIMAL({}, {})".format(*PRECISION[Kind.MONEY]),
    Kind.FLOAT: "DOUBLE",
    Kind.INTEGER: "BIGINT",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.DATE: "DATE",
    Kind.TIMESTAMP: "TIMESTAMPTZ",
}

_OF_FILESYSTEMS = {error.__name__: error for error in (ArchivedError, LakeError, TransientLakeError)}


@dataclass(frozen=True)
class Engine:
    """How much of this machine DuckDB may use. None as threads means all cores, as `temp_dir` the system's.

    `filesystem` finds, once there is something to open, what opens the addresses of a lake that the operating system
    can't open by itself. All connections share one instance, and so its memory; a query may take `timeout_seconds`.
    """

    memory_limit_mib: int = 1024
    threads: int | None = None
    temp_dir: Path | None = None
    filesystem: Callable[[], Any] | None = None
    timeout_seconds: float | None = None
    _shared: SharedInstance = field(default_factory=SharedInstance, init=False, repr=False, compare=False)

    @contextmanager
    def connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with tables and views of its own, in UTC, that never reaches for the network; closed in the end.

        Settings are those of all connections: whoever changes any asks for an `instance`.

        Raises:
            LakeError: DuckDB refuses, runs out of memory or disk, or can't read a file.
        """
        with explained(), self._shared.cursor(self._open) as connection:
            yield connection

    @contextmanager
    def instance(self, database: str = ":memory:") -> Iterator[duckdb.DuckDBPyConnection]:
        """As `connection`, to an instance of its own with as much memory again, closed in the end."""
        with explained(), self._open(database) as connection:
            yield connection

    def work(self, connection: duckdb.DuckDBPyConnection) -> Work:
        """What a connection does for one query; it ends in time, by Ctrl-C, or where the query is cancelled."""
        return Work(connection, self.timeout_seconds)

    def expecting(self, located: Sequence[Located]) -> AbstractContextManager[None]:
        """While the block reads these, where each has to be asked for over a network, ask for several at a time."""
        filesystem = self.filesystem() if self.filesystem is not None and located else None
        if not isinstance(filesystem, ExactPaths):
            return nullcontext()
        return filesystem.expecting([each.location for each in located])

    def close(self) -> None:
        """Give memory and threads back. They are taken again for the next connection."""
        self._shared.close()

    def _open(self, database: str = ":memory:") -> duckdb.DuckDBPyConnection:
        spill = Path(self.temp_dir or tempfile.gettempdir()) / f"thermocline-{uuid.uuid4().hex}"
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{self.memory_limit_mib}MiB",
            "temp_directory": str(spill),  # DuckDB makes it when it spills, and removes it
            "autoinstall_known_extensions": False,
            "preserve_insertion_order": database != ":memory:",
            "enable_external_file_cache": False,  # the system keeps files by itself, and gives memory back
        }
        if self.threads is not None:
            config["threads"] = self.threads
        connection = duckdb.connect(database, config=config)
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
        # It counts towards the memory limit, and a file of another time or size is looked at anew.
        connection.execute("SET GLOBAL parquet_metadata_cache = true")
        if self.filesystem is not None and (filesystem := self.filesystem()) is not None:
            connection.register_filesystem(filesystem)
        return connection


@contextmanager
def explained(
    what: str = "the lake can't be read",
    remedy: str = "run `thermocline verify` to see which objects are missing or damaged",
) -> Iterator[None]:
    """Turn an error of DuckDB into a LakeError that says what to do."""
    try:
        yield
    except duckdb.Error as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        # Of what a file system raises, DuckDB keeps the name and the text.
        name, _, told = reason.partition(": ")
        if told and (ours := _OF_FILESYSTEMS.get(name)):
            raise ours(told) from error
        if isinstance(error, duckdb.OutOfMemoryException):
            remedy = (
                "ask for less at once, raise storage.duckdb.memory_limit_mib, or free some disk for temporary files"
            )
        msg = f"{what}: {reason}; nothing was changed; {remedy}"
        raise LakeError(msg) from error


def identifier(name: str) -> str:
    """A name as SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL quotes it."""
    return "'" + text.replace("'", "''") + "'"


def columns_sql(names: Sequence[str]) -> str:
    """Names as a list in SQL."""
    return ", ".join(map(identifier, names))


def relation_sql(dataset: Dataset, located: Sequence[Located], connection: duckdb.DuckDBPyConnection) -> str:
    """A dataset's columns over the rows that count of exactly these files, as a subquery that takes no parameters.

    It can stand in a view. Files that may be of another version of the schema are opened in advance, by `connection`,
    to see which columns they have; the others are null.
    """
    if not located:
        typed = ", ".join(f"CAST(NULL AS {_TYPES[c.kind]}) AS {identifier(c.name)}" for c in dataset.columns)
        return f"(SELECT {typed} WHERE false)"
    is_known = dataset == DATASETS.get(dataset.name)
    alike = [
        (files, evolved)
        for evolved in (False, True)
        for files in _alike([each for each in located if (each.evolved or not is_known) is evolved])
    ]
    rows = (_rows_sql(dataset, files, connection if evolved else None) for files, evolved in alike)
    return f"({' UNION ALL '.join(rows)})"


def _alike(located: Sequence[Located]) -> Iterator[list[Located]]:
    """The files in groups to each of which one condition on the day applies: all, or one that no two files share.

    Files that may both have rows of a day (before and after it was restated) are in different groups.
    """
    if whole := [each for each in located if not each.days]:
        yield whole
    groups: list[tuple[list[Located], set[tuple[int, int]]]] = []
    for each in located:
        every = range(1, 13) if each.spans_a_year else ()
        if months := {(day.year, month) for day in each.days for month in every or (day.month,)}:
            group = next((group for group in groups if not group[1] & months), None)
            if group is None:
                groups.append(group := ([], set()))
            group[0].append(each)
            group[1].update(months)
    yield from (files for files, _ in groups)


def _rows_sql(dataset: Dataset, files: Sequence[Located], evolved: duckdb.DuckDBPyConnection | None) -> str:
    locations = [each.location for each in files]
    found = (
        present_columns(evolved, locations)
        if evolved
        else {c.name: _TYPES[c.kind].replace(" ", "") for c in dataset.columns}
    )
    columns = ", ".join(_column_sql(c, found.get(c.name)) for c in dataset.columns)
    rows = f"SELECT {columns} FROM {_files_sql(locations, by_name=evolved is not None)}"  # noqa: S608  # quoted
    if not (days := sorted({day.toordinal() for each in files for day in each.days})):
        return rows
    # A cast to a date is twenty times slower; the shift keeps the division from rounding towards 1970.
    ordinal = f'(epoch_us("ts") + {_EPOCH_DAYS} * {_DAY_MICROSECONDS}) // {_DAY_MICROSECONDS}'
    gaps = sorted(set(range(days[0], days[-1])).difference(days))
    if len(gaps) >= len(days):
        return f"{rows} WHERE {ordinal} IN ({', '.join(map(str, days))})"
    within = f"{rows} WHERE {ordinal} BETWEEN {days[0]} AND {days[-1]}"  # the shorter list is the faster one
    return f"{within} AND {ordinal} NOT IN ({', '.join(map(str, gaps))})" if gaps else within


def _column_sql(column: Column, found: str | None) -> str:
    """A column of files that may lack it, or have it with fewer digits."""
    name = identifier(column.name)
    if column.kind not in PRECISION or found == _TYPES[column.kind].replace(" ", ""):
        return name if found else f"CAST(NULL AS {_TYPES[column.kind]}) AS {name}"
    return f"CAST({name if found else 'NULL'} AS {_TYPES[column.kind]}) AS {name}"


def newest_sql(dataset: Dataset, names: Sequence[str], rows: str, late: str) -> str:
    """A subquery of rows and of a table of late ones: of each key the row that was ingested last, a late one if even.

    `names` must hold the key and `ingested_at`. Filter by anything that is not in the key on the outside, since a late
    row may have changed it.
    """
    both = f"SELECT *, 0 AS late FROM ({rows}) UNION ALL SELECT {columns_sql(names)}, 1 FROM {late}"  # noqa: S608  # quoted
    return (
        f"(SELECT {columns_sql(names)} FROM ({both}) QUALIFY row_number() OVER "  # noqa: S608  # names are quoted
        f"(PARTITION BY {columns_sql(dataset.key)} ORDER BY ingested_at DESC, late DESC) = 1)"
    )


def present_columns(connection: duckdb.DuckDBPyConnection, locations: Sequence[str]) -> dict[str, str]:
    """The columns that at least one of the files has, and the type that holds those of all; it opens each."""
    files = _files_sql(locations, by_name=True)
    described = connection.execute(f"DESCRIBE SELECT * FROM {files}")  # noqa: S608  # paths are quoted
    return {name: kind for name, kind, *_ in described.fetchall()}


def exact(location: str, *, is_local: bool) -> str:
    """A location in which DuckDB takes no character for a pattern; other file systems than the local see to it."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in location) if is_local else location


def named_by(pattern: str) -> str:
    """The location that `exact` was given, of what it made for the local file system."""
    return re.sub(r"\[([*?[])\]", r"\1", pattern)


@contextmanager
def scan(
    engine: Engine,
    query: Query,
    segment: Segment,
    locate: Callable[[Sequence[Vintage]], list[Located]],
    late: pa.Table | None = None,
) -> Iterator[pa.RecordBatchReader]:
    """The rows of a segment that a query asks for, in the order of the answer.

    Days are read in pieces of at most 32 MiB of objects, one after the other: rows come soon, memory stays bounded, and
    a `limit` that is reached early leaves the other days alone. `locate` says where objects lie. A row of `late`
    stands in for an older row of the same key.
    """
    schema = pa.schema([query.dataset.arrow_schema.field(name) for name in query.names])
    rows = _rows(engine, query, segment, locate, late)
    try:
        yield pa.RecordBatchReader.from_batches(schema, rows)
    finally:
        rows.close()


@contextmanager
def sorted_rows(engine: Engine, dataset: Dataset, located: Sequence[Located]) -> Iterator[Iterator[pa.RecordBatch]]:
    """The rows that count of these files, sorted as a file is, by way of the disk where memory does not suffice."""
    schema = dataset.arrow_schema
    with engine.connection() as connection, engine.expecting(located):

        def rows() -> Iterator[pa.RecordBatch]:
            with explained():
                source = relation_sql(dataset, located, connection)
                sql = f"SELECT {columns_sql(dataset.names)} FROM {source} ORDER BY {columns_sql(dataset.sort)}"  # noqa: S608
                for batch in connection.execute(sql).to_arrow_reader(_BATCH_ROWS):
                    yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)

        yield rows()


def _rows(
    engine: Engine,
    query: Query,
    segment: Segment,
    locate: Callable[[Sequence[Vintage]], list[Located]],
    late: pa.Table | None,
) -> Generator[pa.RecordBatch, None, None]:
    dataset, limit = query.dataset, query.limit
    schema = pa.schema([dataset.arrow_schema.field(name) for name in query.names])
    with engine.connection() as connection, engine.work(connection) as work:
        for piece in _pieces(segment):
            if limit is not None and limit <= 0:
                return
            located = locate(piece.vintages)
            waiting = late_of(dataset, piece, late)
            if waiting is not None:
                connection.register("late", waiting)
            asked = replace(query, limit=limit)
            opened = partial(_opened, connection, asked, piece, located, is_late=waiting is not None)
            # A limit may be reached before most of the objects are opened.
            with engine.expecting(located if limit is None else ()):
                for batch in work.stream(opened):
                    limit = None if limit is None else limit - batch.num_rows
                    yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def _opened(
    connection: duckdb.DuckDBPyConnection, query: Query, piece: Segment, located: Sequence[Located], *, is_late: bool
) -> pa.RecordBatchReader:
    source = relation_sql(query.dataset, located, connection)
    return stream(connection, *_statement(query, piece, source, is_late=is_late))


def stream(connection: duckdb.DuckDBPyConnection, sql: str, values: dict[str, Any]) -> pa.RecordBatchReader:
    """The answer as it comes."""
    return connection.execute(sql, values).to_arrow_reader(_BATCH_ROWS)


def _pieces(segment: Segment) -> Iterator[Segment]:
    """The segment's days in runs that are small enough to sort in memory."""
    vintages = {vintage.partition.day: vintage for vintage in segment.vintages}
    rows_of: Counter[str] = Counter()
    for vintage in segment.vintages:
        rows_of[vintage.receipt.path] += vintage.receipt.contents.rows
    days: list[date] = []
    size_bytes = 0
    for day in segment.days:
        added = 0
        if day in vintages:  # of an object that days share, each counts for its part
            receipt = vintages[day].receipt
            added = receipt.size_bytes * receipt.contents.rows // max(rows_of[receipt.path], 1)
        if days and (size_bytes + added > _PIECE_BYTES or len(days) == _PIECE_DAYS):
            yield _piece(segment, days, vintages)
            days, size_bytes = [], 0
        days.append(day)
        size_bytes += added
    if days:
        yield _piece(segment, days, vintages)


def part_of(segment: Segment, days: Sequence[date]) -> Segment:
    """Some days of a segment."""
    return _piece(segment, days, {vintage.partition.day: vintage for vintage in segment.vintages})


def _piece(segment: Segment, days: Sequence[date], vintages: Mapping[date, Vintage]) -> Segment:
    found = tuple(vintages[day] for day in days if day in vintages)
    return Segment(segment.tier, segment.interval, tuple(days), found)


def _statement(query: Query, piece: Segment, source: str, *, is_late: bool) -> tuple[str, dict[str, Any]]:
    rows, values = wanted_sql(query, piece, source, (*query.names, *query.dataset.key), is_late=is_late)
    sql = f"SELECT {columns_sql(query.names)} FROM ({rows}) ORDER BY {columns_sql(query.order)}"  # noqa: S608  # names are quoted
    if query.limit is not None:
        sql += " LIMIT $limit"
        values["limit"] = query.limit
    return sql, values


def wanted_sql(
    query: Query, piece: Segment, source: str, columns: Sequence[str], *, is_late: bool
) -> tuple[str, dict[str, Any]]:
    """A SELECT of at least these columns of the rows that a query asks for, and the values to bind.

    With `is_late` a row of the table `late` stands in for an older one of the source.
    """
    dataset = query.dataset
    times, symbols, values = _conditions(query, piece)
    if not is_late:
        return _filtered(tuple(dict.fromkeys(columns)), source, times + symbols), values
    names = tuple(dict.fromkeys((*columns, *dataset.key, dataset.symbol_column, "ingested_at")))
    # Where the symbol is not in the key, a late row may have taken the row to another symbol.
    inside = times + symbols if dataset.symbol_column in dataset.key else times
    rows = _filtered(names, source, inside)
    return _filtered(names, newest_sql(dataset, names, rows, "late"), times + symbols), values


def _files_sql(locations: Sequence[str], *, by_name: bool) -> str:
    """`hive_partitioning` would make columns of the folders' names."""
    return (
        f"read_parquet([{', '.join(map(literal, locations))}],"
        f" hive_partitioning = false, union_by_name = {str(by_name).lower()})"
    )


def _filtered(names: Sequence[str], source: str, conditions: Sequence[str]) -> str:
    return f"SELECT {columns_sql(names)} FROM {source} WHERE {' AND '.join(conditions)}"  # noqa: S608  # names are quoted


def _conditions(query: Query, piece: Segment) -> tuple[list[str], list[str], dict[str, Any]]:
    """What must hold of the time and of the symbol, and the values to bind."""
    first, last = midnight(min(piece.days)), midnight(max(piece.days) + ONE_DAY)
    values: dict[str, Any] = {
        "start": max(query.start, first) if query.start else first,
        "end": min(query.end, last) if query.end else last,
    }
    named = {f"symbol_{number}": symbol for number, symbol in enumerate(query.symbols)}
    wanted = ", ".join(f"${name}" for name in named)
    symbols = [f"{identifier(query.dataset.symbol_column)} IN ({wanted})"] if named else []
    return ['"ts" >= $start', '"ts" < $end'], symbols, values | named


def late_of(dataset: Dataset, segment: Segment, late: pa.Table | None) -> pa.Table | None:
    """The late rows of a segment's days, None where there are none: others answer in another segment, or not at all."""
    if late is None or not late.num_rows:
        return None
    wanted = pc.is_in(
        late["ts"].cast(pa.timestamp("us")).cast(pa.date32(), safe=False), pa.array(segment.days, pa.date32())
    )
    if dataset.has_intervals:
        wanted = pc.and_(wanted, pc.equal(late["interval"], segment.interval))
    return late.filter(wanted).combine_chunks()  # DuckDB does work for each chunk
