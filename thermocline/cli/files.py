"""Rows into a file: Parquet, CSV or Feather, as a stream, and there only when it is whole."""

import csv
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa

from thermocline.cli.rows import slices
from thermocline.cli.values import csv_values
from thermocline.errors import ThermoclineError, UsageError

if TYPE_CHECKING:
    from thermocline.ports import Progress

_Write = Callable[[BinaryIO, pa.Schema, Iterator[pa.RecordBatch]], None]


@dataclass(frozen=True)
class OutputFile:
    """A file that rows are written to, in the format of its name."""

    path: Path
    _write: _Write

    def write(self, reader: pa.RecordBatchReader, progress: "Progress") -> int:
        """Write every row and return their number. What was at the path stays until the new file is whole.

        Raises:
            ThermoclineError: The file can't be written; nothing is left of it.
        """
        progress.begin(f"writing {self.path.name}", None)
        count = 0

        def counted() -> Iterator[pa.RecordBatch]:
            nonlocal count
            for batch in reader:
                yield batch
                count += batch.num_rows
                progress.advance(batch.num_rows)

        with self._whole() as stream:
            try:
                self._write(stream, reader.schema, counted())
            except (pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
                msg = f"{self.path.suffix} can't hold these rows: {error}; choose another format or cast the columns"
                raise ThermoclineError(msg) from error
        return count

    @contextmanager
    def _whole(self) -> Iterator[BinaryIO]:
        """A file beside the path that takes its place in the end, or is gone."""
        part = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
        try:
            with part.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(self.path)
        except OSError as error:
            msg = f"{self.path} can't be written: {error.strerror or error}; nothing is left of it"
            raise ThermoclineError(msg) from error
        finally:
            # Gone already when all went well; where the folder can't be written there never was one.
            if part.exists():
                part.unlink()


def file_for(path: str) -> OutputFile:
    """The file at a path, whose ending names the format.

    Raises:
        UsageError: There is no such format, or no such folder.
    """
    file = Path(path).expanduser()
    write = _FORMATS.get(file.suffix.lower())
    if write is None:
        msg = f"{path}: the ending names the format; it is one of {', '.join(_FORMATS)}"
        raise UsageError(msg)
    if not file.parent.is_dir():
        msg = f"{path}: there is no folder {file.parent}"
        raise UsageError(msg)
    return OutputFile(file, write)


def _write_parquet(stream: BinaryIO, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    from pyarrow.parquet import ParquetWriter  # noqa: PLC0415  # for this format alone

    with ParquetWriter(stream, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)


def _write_feather(stream: BinaryIO, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    with pa.ipc.new_file(stream, schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _write_csv(stream: BinaryIO, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    with _as_text(stream) as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(schema.names)
        for batch in slices(batches):
            writer.writerows(zip(*(csv_values(column) for column in batch.columns), strict=True))


@contextmanager
def _as_text(stream: BinaryIO) -> Iterator[TextIOWrapper]:
    """The stream as UTF-8 text; it stays open afterwards."""
    text = TextIOWrapper(stream, encoding="utf-8", newline="")
    try:
        yield text
    finally:
        text.flush()
        text.detach()


_FORMATS: Mapping[str, _Write] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".feather": _write_feather,
}
