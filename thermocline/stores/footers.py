"""What the footer of one of our Parquet files says of it, without parsing it: that would take many times as long."""

import io
from typing import BinaryIO

from thermocline.model.storage_classes import COMPRESSED

PREFIX = "thermocline."
"""What our keys in a footer begin with."""

CLASS_KEY = "storage_class"
"""The key that names the class of an object that was compressed more strongly; others lack it."""

_GUESS_BYTES = 16 << 10
_TRAILER_BYTES = 8  # the length of the footer, and PAR1

_MARK = f"{PREFIX}{CLASS_KEY}\x18{chr(len(COMPRESSED))}{COMPRESSED}".encode()
"""The key and its value, as Thrift's compact protocol puts one after the other."""


def is_compressed(stream: BinaryIO) -> bool:
    """Whether a file was written with the stronger compression; what is no Parquet file was not."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(size - _GUESS_BYTES, 0))
    tail = stream.read(_GUESS_BYTES)
    if tail[-4:] != b"PAR1" or len(tail) < _TRAILER_BYTES:
        return False
    length = int.from_bytes(tail[-_TRAILER_BYTES:-4], "little") + _TRAILER_BYTES
    if length > len(tail):
        stream.seek(max(size - length, 0))
        tail = stream.read(length)
    return _MARK in tail[-length:]
