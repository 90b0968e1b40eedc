"""Rows from files: CSV, TSV (both also gzipped), Parquet, Feather and Arrow IPC; one file, a folder or a glob.

A line with a wrong number of fields, or a time that no clock ever showed, goes to quarantine and the rest goes on. A
file that can't be read at all is named in a SourceError at the end, after the rows of all the others were delivered.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, Field

from thermocline.errors import SchemaError, SettingsError, SourceError, UsageError
from thermocline.model.dataset import Dataset, Kind
from thermocline.model.parsing.parsed import is_text
from thermocline.model.partition import parse_interval
from thermocline.model.records import as_json
from thermocline.ports import Fetched, FetchRequest
from thermocline.sources.delimited import Dialect, Unreadable
from thermocline.sources.file_times import TimeReader, Written
from thermocline.sources.local_time import zone_named
from thermocline.sources.naming import TIME_OF_DAY, columns_of, symbol_of, twins
from thermocline.sources.options import Options, validated
from thermocline.sources.tables import DAMAGE, find_files, read_file

_TIME_OF_DAY = r"^\d{1,2}:\d\d"
_STEP_SECONDS = {"sec": 1, "min": 60, "hour": 3_600, "day": 86_400}


def _pattern(text: str) -> str:
    try:
        groups = re.compile(text).groupindex
    except re.error as error:
        msg = f"it is no regular expression: {error}"
        raise ValueError(msg) from None
    if "symbol" not in groups:
        msg = "it needs a named group, such as (?P<symbol>[A-Z.]+)_daily"
        raise ValueError(msg)
    return text


class FilesOptions(Options):
    """Options of `files`; docs/guide/sources.md says more of each."""

    path: str
    columns: dict[str, str] = Field(default_factory=dict)
    constants: dict[str, Any] = Field(default_factory=dict)
    timezone: Annotated[str, AfterValidator(zone_named)] = "UTC"
    symbol_from: Annotated[str, AfterValidator(_pattern)] | None = None
    timestamp_format: str | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    encoding: str = "utf-8"
    header: tuple[str, ...] | None = None


def open_source(name: str, options: Mapping[str, Any]) -> "FilesSource":
    """The source of that name; nothing is read yet.

    Raises:
        SettingsError: An option is unknown or wrong, or there is no path.
    """
    if not options.get("path"):
        msg = f"source {name!r} needs a path: a file, a folder or a glob (--path, or `path:` in thermocline.yaml)"
        raise SettingsError(msg)
    return FilesSource(name, validated(FilesOptions, name, options))


class FilesSource:
    """Reads files, each in blocks; memory stays bounded whatever their size."""

    def __init__(self, name: str, options: FilesOptions) -> None:
        """Keep the options."""
        self._name = name
        self._options = options
        self._symbol_from = re.compile(options.symbol_from) if options.symbol_from else None
        self._twins: set[PurePath] = set()

    @property
    def name(self) -> str:
        """What the `source` column of its rows says."""
        return self._name

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """Yield the files' rows, block by block.

        Raises:
            SourceError: Nothing is there, or some files could not be read; the rows of the others were delivered.
        """
        self._check(request.dataset)
        files = find_files(self._options.path)
        self._twins = twins(files)
        unread: list[str] = []
        for path in files:
            try:
                yield from self._read(path, request)
            except (SourceError, SchemaError) as error:
                unread.append(f"{path}: {str(error).removeprefix(f'{path}: ')}")
            except DAMAGE as error:
                unread.append(f"{path}: {_why(error)}")
        if unread:
            raise SourceError(_summary(unread, len(files)))

    def _check(self, dataset: Dataset) -> None:
        """Refuse columns that the dataset does not have, before anything is read."""
        for option, names in (("columns", self._options.columns), ("constants", self._options.constants)):
            for name in names:
                try:
                    dataset.column(name)
                except UsageError as error:
                    msg = f"sources.{self._name}.{option}: {error}"
                    raise SettingsError(msg) from None
        both = sorted(self._options.columns.keys() & self._options.constants.keys())
        if both:
            msg = f"sources.{self._name}: {', '.join(both)} can't be both in columns and in constants"
            raise SettingsError(msg)

    def _read(self, path: Path, request: FetchRequest) -> Iterator[Fetched]:
        options, dataset = self._options, request.dataset
        dialect = Dialect(
            options.delimiter,
            options.encoding,
            options.header,
            # Articles span lines; in bars a stray quote shall not swallow the rest of the file.
            newlines_in_values=any(c.kind is Kind.TEXT and c.nullable for c in dataset.columns),
        )
        file: _File | None = None
        for table, unreadable in read_file(path, dialect):
            if file is None:
                file = self._opened(path, table.column_names, request)
                if file.unwanted:
                    return
            if len(table) or unreadable:
                yield file.fetched(table, unreadable)

    def _opened(self, path: Path, names: list[str], request: FetchRequest) -> "_File":
        options, dataset = self._options, request.dataset
        columns = columns_of(dataset, names, options.columns, str(path))
        constants = {name: _text(value) for name, value in options.constants.items()}
        for name in constants:
            columns.pop(name, None)
        known = columns.keys() | constants.keys()
        symbol = dataset.symbol_column
        if symbol not in known and (told := symbol_of(path, self._symbol_from, as_written=path in self._twins)):
            constants[symbol] = told
        if "asset_class" in dataset.names and "asset_class" not in known:
            constants["asset_class"] = "equity"
        if dataset.name == "dividends" and "kind" not in known:
            constants["kind"] = "regular"
        times = TimeReader(str(path), options.timestamp_format)
        return _File(str(path), request, columns, constants, times, options.timezone)


@dataclass
class _File:
    """What is settled about a file once its header is known."""

    origin: str
    request: FetchRequest
    columns: dict[str, str]
    constants: dict[str, str]
    times: TimeReader
    zone: str

    @property
    def unwanted(self) -> bool:
        """Whether the whole file is of a symbol that was not asked for."""
        symbol = self.constants.get(self.request.dataset.symbol_column)
        return bool(symbol and self.request.symbols and symbol not in self.request.symbols)

    def fetched(self, table: pa.Table, unreadable: Unreadable) -> Fetched:
        """One block, its columns named and its times in UTC."""
        dataset = self.request.dataset
        arrays = {name: table[own].combine_chunks() for name, own in self.columns.items() if name != TIME_OF_DAY}
        written = self._written(table) if "ts" in arrays else None
        if written and dataset.has_intervals and not {"interval"} & (self.columns.keys() | self.constants.keys()):
            self.constants["interval"] = self._interval(written, arrays)
        for name, value in self.constants.items():
            arrays[name] = pa.repeat(value, len(table))
        for column in dataset.columns:
            if column.empty_allowed and column.name in arrays:
                # A CSV can't tell an empty text from a missing one.
                arrays[column.name] = pc.fill_null(arrays[column.name], "")
        wrong: Mapping[int, str] = {}
        if written:
            parsed = written.in_utc(_daily(arrays.get("interval"), len(table)), self.zone)
            arrays["ts"], wrong = parsed.values, parsed.wrong
        used = set(self.columns.values())
        for name in table.column_names:
            if name not in used and name not in dataset.names:
                arrays[name] = table[name].combine_chunks()
        rows = pa.table(arrays)
        if wrong:
            lost = sorted(wrong)
            records = as_json(table.take(pa.array(lost)))
            unreadable += tuple((record, wrong[row]) for row, record in zip(lost, records, strict=True))
            keep = np.ones(len(rows), dtype=bool)
            keep[lost] = False
            rows = rows.filter(pa.array(keep))
        return Fetched(rows, self.origin, unreadable)

    def _written(self, table: pa.Table) -> Written:
        column = table[self.columns["ts"]].combine_chunks()
        if TIME_OF_DAY in self.columns:
            clock = table[self.columns[TIME_OF_DAY]].combine_chunks()
            if is_text(clock.type) and _all_match(clock, _TIME_OF_DAY):
                column = pc.binary_join_element_wise(column.cast(pa.string()), clock.cast(pa.string()), " ")
        return self.times.read(column)

    def _interval(self, written: Written, arrays: Mapping[str, pa.Array]) -> str:
        """The interval of a file that does not say it: daily when no time of day is there, else the one asked for.

        Raises:
            SourceError: It can't be told.
        """
        if written.looks_daily(self.zone):
            return "1day"
        asked = next(iter(self.request.intervals)) if len(self.request.intervals) == 1 else None
        step = _smallest_step(written, arrays.get(self.request.dataset.symbol_column))
        if asked and not (step and step < _seconds(asked)):
            return asked
        seen = f", and its times are {step} seconds apart" if step else ""
        msg = (
            f"{self.origin}: it does not say how long its bars are{seen}; "
            "set `constants: {interval: 1min}` (or what they are) for this source, or ask for one interval"
        )
        raise SourceError(msg)


def _summary(unread: list[str], count: int) -> str:
    if count == 1:
        return f"{unread[0]}. Fix or replace the file"
    return f"{len(unread)} of {count} files could not be read. Fix or remove:\n" + "\n".join(unread)


def _why(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    wrong_encoding = isinstance(error, UnicodeError) or "UTF8" in text
    return f"{text}; if it is not UTF-8, set `encoding` (such as latin-1)" if wrong_encoding else text


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _daily(intervals: pa.Array | None, rows: int) -> Any:
    if intervals is None or not is_text(intervals.type):
        return np.zeros(rows, dtype=bool)
    return np.asarray(pc.fill_null(pc.equal(intervals, "1day"), fill_value=False))


def _all_match(texts: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, pattern)).as_py())


def _seconds(interval: str) -> int:
    unit = parse_interval(interval).lstrip("0123456789")
    return int(interval.removesuffix(unit)) * _STEP_SECONDS.get(unit, 0)


def _smallest_step(written: Written, symbols: pa.Array | None) -> int | None:
    """The shortest time between two neighbouring rows of one symbol, in seconds."""
    ticks = written.wall.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    steps = np.diff(ticks)
    if symbols is not None:
        codes = symbols.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
        steps = steps[np.diff(codes) == 0]
    rising = steps[steps > 0]
    return int(rising.min()) // 1_000_000 if len(rising) else None
