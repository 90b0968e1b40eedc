"""PostgreSQL's binary COPY format: what `encode` and `binary` know of it in common.

The format (https://www.postgresql.org/docs/current/sql-copy.html, read 2026-11) is a header, then for each row a
field count and for each field its length and bytes, all big-endian, and a trailer.
"""

import numpy as np
import numpy.typing as npt

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]

EPOCH_MICROSECONDS = 946_684_800_000_000  # PostgreSQL counts time from 2000-01-01
EPOCH_DAYS = 10_957
BASE = 10_000  # a numeric is digits of base 10,000
FRACTION_DIGITS = 2  # of that base, in eight decimal places
SIGN_NEGATIVE, SIGN_SPECIAL = 0x4000, 0xC000


def spread(position: Integers, lengths: Integers) -> Integers:
    """The index of every byte of runs that start at `position` and are `lengths` long."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(position - (ends - lengths), lengths) + np.arange(total)
