"""Content on its way to S3 in parts, and the checksums that are compared there."""

import base64
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, BinaryIO

from thermocline.errors import TransientLakeError

PART_BYTES = 8 << 20
PARTS_AT_ONCE = 4
_MOST_PARTS = 10_000


def checksum_of(body: bytes) -> str:
    """The SHA-256 as S3 spells it."""
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def compare(answer: Mapping[str, Any], checksum: str, location: str) -> None:
    """Stores that compute checksums say which they had; one that says another has stored something else."""
    if (theirs := answer.get("ChecksumSHA256")) and theirs != checksum:
        msg = f"{location} was sent with checksum {checksum}, the store has {theirs}; nothing was changed"
        raise TransientLakeError(msg)


def parts_of(read: list[bytes], content: BinaryIO) -> Iterator[bytes]:
    """What was read and what is left in parts, all of one size but the last; larger ones where they would be too many.

    No part is held here once it was given.
    """
    position = content.tell()
    left = content.seek(0, io.SEEK_END) - position
    content.seek(position)
    while read:
        yield read.pop(0)
    part_bytes = max(PART_BYTES, -(-left // (_MOST_PARTS - 2)))
    while part := read_whole(content, part_bytes):
        yield part


def read_whole(content: BinaryIO, size_bytes: int) -> bytes:
    """So many bytes, fewer only at the end, also of a stream that gives what it has."""
    chunk = content.read(size_bytes)
    if not chunk or len(chunk) == size_bytes:
        return chunk
    chunks = [chunk]
    while (size_bytes := size_bytes - len(chunk)) and (chunk := content.read(size_bytes)):
        chunks.append(chunk)
    return b"".join(chunks)


def in_parallel(
    send: Callable[[int, bytes], dict[str, Any]], parts: Iterator[bytes]
) -> tuple[list[dict[str, Any]], int]:
    """Send parts, a few at a time, none read before there is room; what each returned in order, and all bytes."""
    waiting: dict[Future[dict[str, Any]], int] = {}
    sent: dict[int, dict[str, Any]] = {}
    size_bytes = 0

    def gather() -> None:
        for done in wait(waiting, return_when=FIRST_COMPLETED).done:
            sent[waiting.pop(done)] = done.result()

    with ThreadPoolExecutor(PARTS_AT_ONCE) as threads:
        for number, part in enumerate(parts, 1):
            size_bytes += len(part)
            waiting[threads.submit(partial(send, number, part))] = number
            if len(waiting) == PARTS_AT_ONCE:
                gather()
        while waiting:
            gather()
    return [sent[number] for number in sorted(sent)], size_bytes
