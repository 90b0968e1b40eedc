"""Files of rows on disk: which there are, and what is in them, block by block."""

import glob
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc as pa_ipc
import pyarrow.parquet as pq

from thermocline.errors import SourceError
from thermocline.sources.delimited import Dialect, Unreadable, first_line, open_text, read_delimited
from thermocline.sources.naming import SUFFIXES, suffix_of

BATCH_ROWS = 262_144

DAMAGE = (OSError, EOFError, zlib.error, UnicodeError, LookupError, pa.ArrowException)
"""What reading a file raises when it is missing, cut short or not what its name says."""


def find_files(path: str) -> tuple[Path, ...]:
    """A file, all files of a folder and below, or those that a glob names; sorted, hidden ones left out.

    Raises:
        SourceError: Nothing is there that can be read.
    """
    root = Path(path).expanduser()
    if root.is_file():
        if not suffix_of(root):
            msg = f"{root}: what is in it can't be told from its name; it should end in {_endings()}"
            raise SourceError(msg)
        return (root,)
    if root.is_dir():
        found: Sequence[Path] = [Path(folder, name) for folder, _, names in _walk(root) for name in names]
    elif glob.has_magic(path):
        # pathlib's glob can't take an absolute pattern.
        found = [Path(name) for name in glob.glob(str(root), recursive=True) if Path(name).is_file()]  # noqa: PTH207
    else:
        msg = f"{root}: there is no such file or folder; check the path (relative paths start at the current folder)"
        raise SourceError(msg)
    readable = tuple(sorted(file for file in found if suffix_of(file) and not file.name.startswith((".", "_"))))
    if not readable:
        msg = f"{root}: nothing there ends in {_endings()}" + (f" ({len(found)} other files)" if found else "")
        raise SourceError(msg)
    return readable


def read_file(path: Path, dialect: Dialect) -> Iterator[tuple[pa.Table, Unreadable]]:
    """The rows of one file, as many at a time as fit in memory, and the records that can't be made rows.

    Raises:
        SourceError: The file is empty.
        OSError: The file is missing or damaged; so are others of `DAMAGE`.
    """
    match suffix_of(path).removesuffix(".gz"):
        case ".parquet" | ".pq":
            with pq.ParquetFile(path) as parquet:
                for batch in parquet.iter_batches(batch_size=BATCH_ROWS):
                    yield pa.Table.from_batches([batch]), ()
        case ".feather" | ".arrow" | ".ipc":
            yield from _read_ipc(path)
        case suffix:
            if suffix == ".tsv" and dialect.delimiter is None:
                dialect = replace(dialect, delimiter="\t")
            line = first_line(path, dialect.encoding)
            if not line:
                msg = "it is empty"
                raise SourceError(msg)
            with open_text(path) as opened:
                yield from read_delimited(opened, line, dialect)


def _read_ipc(path: Path) -> Iterator[tuple[pa.Table, Unreadable]]:
    with pa.memory_map(str(path)) as opened:
        try:
            reader = pa_ipc.open_file(opened)
        except pa.ArrowInvalid:
            opened.seek(0)
            for batch in pa_ipc.open_stream(opened):
                yield pa.Table.from_batches([batch]), ()
            return
        for number in range(reader.num_record_batches):
            yield pa.Table.from_batches([reader.get_batch(number)]), ()


def _walk(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    for folder, folders, names in os.walk(root):  # Path.walk is of Python 3.12
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield folder, folders, names


def _endings() -> str:
    return ", ".join(SUFFIXES)
