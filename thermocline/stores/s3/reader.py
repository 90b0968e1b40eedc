"""Reading one object of S3 with few requests."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from thermocline.stores.s3.errors import explained

if TYPE_CHECKING:
    from typing_extensions import Buffer

_SKIPPED_BYTES = 256 << 10
"""Bytes that are read and thrown away sooner than a new request is made."""


class ObjectReader(io.RawIOBase):
    """Reads one object: in order from one answer, from elsewhere with another request."""

    def __init__(self, location: str, ask_from: Callable[[int], tuple[Any, int]]) -> None:
        """Open it. `ask_from` gives its bytes from a position on, as a stream, and the size of the whole."""
        super().__init__()
        self._location, self._ask_from = location, ask_from
        self._position = self._at = 0
        self._body, self._size = ask_from(0)

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
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(origin + offset, 0)
        return self._position

    def readinto(self, buffer: "Buffer") -> int:
        """Read on, with another request where what lies between is much."""
        view = memoryview(buffer)
        if self._position >= self._size:
            return 0
        with explained("read", self._location):
            self._go()
            chunk = self._body.read(len(view))
        view[: len(chunk)] = chunk
        self._position = self._at = self._at + len(chunk)
        return len(chunk)

    def close(self) -> None:
        """Give the connection back."""
        if not self.closed:
            self._body.close()
        super().close()

    def _go(self) -> None:
        ahead = self._position - self._at
        if 0 < ahead <= _SKIPPED_BYTES:
            self._at += len(self._body.read(ahead))
        if self._at != self._position:
            self._body.close()
            self._body, _ = self._ask_from(self._position)
            self._at = self._position
