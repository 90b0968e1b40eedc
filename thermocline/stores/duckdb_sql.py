"""Rows of Parquet objects in DuckDB's SQL: exact paths, the columns of a dataset, and what is asked of them."""

import re
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import duckdb

from thermocline.model.dataset import PRECISION, Column, Dataset, Kind
from thermocline.model.datasets import DATASETS
from thermocline.model.partition import ONE_DAY, midnight
from thermocline.model.query import Query, Segment
from thermocline.ports import Located

_EPOCH_DAYS = date(1970, 1, 1).toordinal()
_DAY_MICROSECONDS = 86_400_000_000
_PATTERN = re.compile(r"[*?[]")

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


def identifier(name: str) -> str:
    """A name as SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL quotes it."""
    return "'" + text.replace("'", "''") + "'"


def columns_sql(names: Sequence[str]) -> str:
    """Names as a list in SQL."""
    return ", ".join(map(identifier, names))


def relation_sql(
    dataset: Dataset, located: Sequence[Located], connection: duckdb.DuckDBPyConnection, interval: str = ""
) -> str:
    """A dataset's columns over the rows that count of exactly these files, as a subquery that takes no parameters.

    Where all files are of one `interval`, it need not be read.

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
    rows = (_rows_sql(dataset, files, connection if evolved else None, interval) for files, evolved in alike)
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


def _rows_sql(
    dataset: Dataset, files: Sequence[Located], evolved: duckdb.DuckDBPyConnection | None, interval: str
) -> str:
    locations = [each.location for each in files]
    found = (
        present_columns(evolved, locations)
        if evolved
        else {c.name: _TYPES[c.kind].replace(" ", "") for c in dataset.columns}
    )
    columns = ", ".join(
        f'{literal(interval)} AS "interval"' if interval and c.name == "interval" else _column_sql(c, found.get(c.name))
        for c in dataset.columns
    )
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
    return _PATTERN.sub(r"[\g<0>]", location) if is_local else location


def named_by(pattern: str) -> str:
    """The location that `exact` was given, of what it made for the local file system."""
    return re.sub(r"\[([*?[])\]", r"\1", pattern)


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
