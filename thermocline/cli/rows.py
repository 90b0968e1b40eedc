"""Rows on stdout: as one JSON document, or the first few for the eye."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, time
from decimal import Decimal
from itertools import count
from typing import Any, TextIO

import pyarrow as pa

from thermocline.cli.invocation import Problem
from thermocline.cli.values import json_texts, plain
from thermocline.cli.words import ROWS_SHOWN, Number, Table
from thermocline.model.dataset import PROVENANCE

_ROWS_AT_ONCE = 8_192


def slices(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The batches in pieces small enough to hold as Python values."""
    for batch in reader:
        for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
            yield batch.slice(start, _ROWS_AT_ONCE)


def write_json(
    answer: AbstractContextManager[pa.RecordBatchReader],
    stream: TextIO,
    problem: Callable[[BaseException], Problem],
    head: Mapping[str, Any] | None = None,
) -> None:
    """Write `{"rows": [...]}`, a row a line, as the rows come; what `head` holds stands before them.

    When they stop coming with an error, the document is closed with it, `{"rows": [...], "error": {...}}`, and the
    error goes on. `problem` says what to tell of it. An error before the rows leaves the stream untouched.
    """
    begun = False
    try:
        with answer as reader:
            for text in _json_rows(reader, head or {}):
                stream.write(text)
                begun = True
    except BrokenPipeError:
        raise
    # Only here, where the answer has been left, is the error what the store makes of it.
    except BaseException as error:
        if begun:
            stream.write(f'\n], "error": {json.dumps(problem(error).document())}}}\n')
        raise
    stream.write("\n]}\n")


def _json_rows(reader: pa.RecordBatchReader, head: Mapping[str, Any]) -> Iterator[str]:
    names = [json.dumps(name).replace("%", "%%") for name in _distinct(reader.schema.names)]
    row = "{" + ", ".join(f"{name}: %s" for name in names) + "}"
    told = "".join(f"{json.dumps(name)}: {json.dumps(value)}, " for name, value in head.items())
    yield f'{{{told}"rows": ['
    before = "\n"
    for batch in slices(reader):
        columns = [json_texts(column) for column in batch.columns]
        texts = [row % values for values in zip(*columns, strict=True)]
        yield before + ",\n".join(texts)
        before = ",\n"


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, those that came before with a number: an object of JSON has each but once."""
    taken: list[str] = []
    for name in names:
        numbered = (f"{name}_{number}" for number in count(2))
        taken.append(name if name not in taken else next(each for each in numbered if each not in {*names, *taken}))
    return taken


def preview(reader: pa.RecordBatchReader, most: int, *, hide: bool) -> tuple[Table | str, ...]:
    """The first rows as a table, and a line on what it leaves out.

    `most` is how many rows are counted at most; with `hide`, columns that hold nothing or only say where a row comes
    from are left out.
    """
    shown: list[pa.RecordBatch] = []
    found = 0
    for batch in reader:
        if found < ROWS_SHOWN:
            shown.append(batch.slice(0, ROWS_SHOWN - found))
        found += batch.num_rows
        if found >= most:
            break
    if not found:
        return ("No such rows.",)
    table = pa.Table.from_batches(shown, reader.schema)
    hidden = _telling_little(table) if hide else []
    kept = [number for number, name in enumerate(table.column_names) if name not in hidden]
    columns = [_for_the_eye(table.column(number).to_pylist()) for number in kept]
    notes = []
    if left := found - len(table):
        more = f"at least {left:,d}" if found >= most else f"{left:,d}"
        notes.append(f"… and {more} more; use --output or --json.")
    if hidden:
        notes.append(f"Not shown: {', '.join(hidden)}; choose with --columns.")
    return Table([table.column_names[number] for number in kept], list(zip(*columns, strict=True))), *notes


def _telling_little(table: pa.Table) -> list[str]:
    """Columns that are empty, or only say where a row comes from."""
    return [name for name in table.column_names if name in PROVENANCE or table.column(name).null_count == len(table)]


def _for_the_eye(values: Sequence[Any]) -> list[Any]:
    instants = [_utc(value) for value in values if isinstance(value, datetime)]
    if instants and all(instant.time() == time() for instant in instants):
        return [value and _utc(value).date() for value in values]
    return [_short(value) for value in values]


def _utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(tzinfo=None) if instant.tzinfo else instant


def _short(value: Any) -> Any:
    match value:
        case bool():
            return str(value)
        case int() | float():
            return Number(f"{value:.15g}" if isinstance(value, float) else value)
        case Decimal():
            whole, point, places = f"{value:f}".partition(".")
            return Number(whole + point + places.rstrip("0").ljust(2, "0") if point else whole)
        case datetime():
            at = _utc(value)
            return at.isoformat(" ", "auto" if at.second or at.microsecond else "minutes")
    return plain(value)
