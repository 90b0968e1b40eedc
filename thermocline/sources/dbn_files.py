"""A folder of DBN files as Databento delivers them: which are there, and which of them a dataset can take.

Bars go to market_data, consolidated quotes to options_data. Files of other schemas (trades, books, statistics, status)
are no rows of a dataset and are passed over; when a folder has nothing else, the error names them. Definitions only
give symbols to instruments.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from thermocline.errors import SourceError, UsageError
from thermocline.ports import Fetched, FetchRequest
from thermocline.sources.dbn import (
    BARS,
    DEFINITION,
    QUOTES,
    DbnFile,
    Names,
    asset_class_of,
    open_dbn,
    read_bars,
    read_quotes,
)

_SUFFIXES = (".dbn", ".dbn.zst")
_SCHEMAS: Mapping[str, Sequence[str]] = {"market_data": tuple(BARS), "options_data": QUOTES}


def schemas_for(dataset: str, source: str) -> Sequence[str]:
    """The schemas of Databento's that are rows of a dataset.

    Raises:
        UsageError: There are none.
    """
    if dataset not in _SCHEMAS:
        msg = f"source {source!r} has rows for {' and '.join(_SCHEMAS)}, not for {dataset}"
        raise UsageError(msg)
    return _SCHEMAS[dataset]


def fetch_files(path: str, request: FetchRequest, source: str, publisher: int | None = None) -> Iterator[Fetched]:
    """The rows of all files that can have what is asked for.

    Raises:
        UsageError: The dataset is none that Databento has rows for.
        SourceError: Nothing is there, or some files are damaged; the rows of the others were delivered.
    """
    schemas = schemas_for(request.dataset.name, source)
    unread: list[str] = []
    files: list[tuple[Path, DbnFile]] = []
    paths = _paths(Path(path).expanduser())
    for each in paths:
        try:
            files.append((each, open_dbn(each)))
        except (SourceError, OSError) as error:
            unread.append(f"{each}: {error}")
    names = Names()
    for _, file in files:
        if file.schema == DEFINITION:
            names.learn(file)
    fitting = [(each, file) for each, file in files if file.schema in schemas]
    if not fitting and not unread:
        there = ", ".join(sorted({file.schema or "mixed records" for _, file in files}))
        msg = f"{path}: none of its {len(paths)} DBN files has rows for {request.dataset.name}; they hold {there}"
        raise SourceError(msg)
    for each, file in fitting:
        if _may_hold(file, request):
            try:
                yield from fetched(file, names, str(each), publisher)
            except SourceError as error:
                unread.append(f"{each}: {error}")
    if unread:
        msg = f"{len(unread)} of {len(paths)} DBN files could not be read. Fix or remove:\n"
        raise SourceError(msg + "\n".join(unread))


def fetched(file: DbnFile, names: Names, origin: str, publisher: int | None = None) -> Iterator[Fetched]:
    """The rows of one file, as its dataset has them; the gate leaves out what was not asked for."""
    if file.schema in QUOTES:
        for table, unreadable in read_quotes(file, names):
            yield Fetched(table, origin, unreadable)
        return
    for table, unreadable in read_bars(file, names, publisher):
        symbols = table["symbol"].unique().to_pylist()
        classes = {symbol: asset_class_of(file.dataset, symbol) for symbol in symbols}
        said = {
            "asset_class": pa.array([classes[symbol] for symbol in table["symbol"].to_pylist()], pa.string()),
            "interval": pa.repeat(BARS[file.schema], len(table)),
        }
        yield Fetched(pa.table(said | dict(zip(table.column_names, table.columns, strict=True))), origin, unreadable)


def _may_hold(file: DbnFile, request: FetchRequest) -> bool:
    interval = BARS.get(file.schema)
    if request.intervals and interval and interval not in request.intervals:
        return False
    return file.days.start < request.days.end and request.days.start < file.days.end


def _paths(root: Path) -> Sequence[Path]:
    if root.is_file():
        return (root,)
    if not root.is_dir():
        msg = f"{root}: there is no such file or folder; check the path (relative paths start at the current folder)"
        raise SourceError(msg)
    found = sorted(each for each in root.rglob("*") if each.is_file() and each.name.endswith(_SUFFIXES))
    if not found:
        msg = f"{root}: nothing there ends in {' or '.join(_SUFFIXES)}"
        raise SourceError(msg)
    return found
