"""Whether a file that is packed by Zstandard is whole.

Decompressors that read a stream take a file that breaks off between two blocks for one that ends there; of sixty cuts
through one DBN file seven went unnoticed. The blocks say where they end, so nothing has to be unpacked
(RFC 8878, section 3.1).
"""

from typing import IO

MAGIC = b"\x28\xb5\x2f\xfd"

_SKIPPABLE = 0x184D2A50
_RLE = 1
_DICTIONARY_BYTES = (0, 1, 2, 4)
_CHECKSUM_BYTES = 4


def is_whole(file: IO[bytes]) -> bool:
    """Whether the last frame ends where the file does."""
    size, at = file.seek(0, 2), 0
    while at < size:
        file.seek(at)
        head = file.read(8)
        if int.from_bytes(head[:4], "little") & ~0xF == _SKIPPABLE:
            at += 8 + int.from_bytes(head[4:8], "little")
        elif head[:4] == MAGIC and len(head) > len(MAGIC):
            end = _end_of_blocks(file, at + _header_bytes(head[4]))
            if end is None:
                return False
            at = end + (_CHECKSUM_BYTES if head[4] >> 2 & 1 else 0)
        else:
            return False
    return at == size


def _header_bytes(descriptor: int) -> int:
    is_single = descriptor >> 5 & 1
    content_bytes = (is_single, 2, 4, 8)[descriptor >> 6]
    return len(MAGIC) + 1 + (1 - is_single) + _DICTIONARY_BYTES[descriptor & 3] + content_bytes


def _end_of_blocks(file: IO[bytes], at: int) -> int | None:
    """Where the last block of a frame ends; None where the file does before it."""
    while True:
        file.seek(at)
        head = file.read(3)
        if len(head) < 3:  # noqa: PLR2004  # a block's header
            return None
        header = int.from_bytes(head, "little")
        at += 3 + (1 if header >> 1 & 3 == _RLE else header >> 3)
        if header & 1:
            return at
