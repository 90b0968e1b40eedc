"""Readers of single objects in ranges, for engines that read Parquet through a file system of fsspec."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from thermocline.ports import Traffic
from thermocline.stores.kept_ends import Ask, KeptEnds

if TYPE_CHECKING:
    from typing_extensions import Buffer

_READ_BYTES = 256 << 10
"""The least that is asked for afterwards: a request takes as long as a few hundred KiB do."""


class RangeReader(io.RawIOBase):
    """Reads an object in ranges, its end first, which tells its size: nothing else is asked for."""

    def __init__(self, path: str, ask: Ask, ends: KeptEnds) -> None:
        """Open the object at `path`."""
        super().__init__()
        self.path, self._ask, self._position = path, ask, 0
        self.size, self._end = ends.of(_key(path), ask)
        self._start, self._kept = self.size, b""

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move without asking for anything."""
        self._position = max(offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence], 0)
        return self._position

    def readinto(self, buffer: "Buffer") -> int:
        """Read what there is, in one request at most."""
        view = memoryview(buffer)
        chunk = self._range(self._position, min(self._position + len(view), self.size))
        view[: len(chunk)] = chunk
        self._position += len(chunk)
        return len(chunk)

    def read(self, size: int = -1) -> bytes:
        """As many bytes as are asked for, fewer only where the object ends."""
        end = self.size if size is None or size < 0 else min(self._position + size, self.size)
        parts = []
        while self._position < end:
            part = self._range(self._position, end)
            self._position += len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _range(self, start: int, end: int) -> bytes:
        """The bytes from a position to another, or at least the first of them."""
        if start >= end:
            return b""
        end_start = self.size - len(self._end)
        for kept, kept_start in ((self._end, end_start), (self._kept, self._start)):
            if kept_start <= start < kept_start + len(kept):
                return kept[start - kept_start : end - kept_start]
        until = min(max(end, start + _READ_BYTES), max(end_start, start))  # what lies behind is here
        size, self._kept = self._ask(f"bytes={start}-{until - 1}")
        self._start = start
        if size != self.size or len(self._kept) != until - start:
            msg = f"{self.path} broke off, or changed while it was read"
            raise OSError(msg)
        return self._kept[: end - start]


class ExactPaths:
    """What a file system of fsspec answers where every path is that of one object, whatever characters it has.

    Nothing is asked for but ranges of objects. One that is not there is found out by opening it; none ever changes.
    """

    _ends: KeptEnds

    def ask(self, path: str, within: str) -> tuple[int, bytes]:
        """The size of an object, and those of its bytes that the value of a `Range` header names."""
        raise NotImplementedError

    @property
    def traffic(self) -> Traffic:
        """The requests that were answered, and the bytes that came."""
        return self._ends.traffic

    @contextmanager
    def expecting(self, paths: Sequence[str]) -> Iterator[None]:
        """While the block opens these objects, ask for the ends of several at a time: answers take long to come."""
        with self._ends.expecting({_key(path): self._asking(path) for path in paths}):
            yield

    def _asking(self, path: str) -> Ask:
        return partial(self._ends.counted, partial(self.ask, path))

    def open(self, path: str, mode: str = "rb", **_options: Any) -> RangeReader:
        """A reader of an object.

        Raises:
            ValueError: It is to be written.
        """
        if mode not in {"rb", "r"}:
            msg = f"{path} can't be opened for {mode!r}; objects are only read here"
            raise ValueError(msg)
        return RangeReader(path, self._asking(path), self._ends)

    def size(self, path: str) -> int:
        """How many bytes an object has."""
        return self._ends.size_of(_key(path), self._asking(path))

    def info(self, path: str, **_options: Any) -> dict[str, Any]:
        """That it is a file."""
        return {"name": path, "type": "file", "size": self.size(path)}

    def glob(self, path: str, **_options: Any) -> list[str]:
        """The object itself."""
        return [path]

    def exists(self, path: str, **_options: Any) -> bool:  # noqa: ARG002
        """It may; opening it tells."""
        return True

    def isfile(self, path: str) -> bool:  # noqa: ARG002
        """It is, if anything."""
        return True

    def isdir(self, path: str) -> bool:  # noqa: ARG002
        """It is not."""
        return False

    def modified(self, path: str) -> datetime:  # noqa: ARG002
        """Ever the same instant."""
        return datetime(1970, 1, 1, tzinfo=UTC)


def _key(path: str) -> str:
    """The same whether an engine left the scheme away or not."""
    return path.partition("://")[2] or path
