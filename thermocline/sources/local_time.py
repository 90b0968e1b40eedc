"""From the clock on the wall of an exchange to UTC."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.model.parsing import Parsed
from thermocline.model.parsing.times import INSTANT


def zone_named(name: str) -> str:
    """Check the name of an IANA time zone.

    Raises:
        ValueError: There is no such zone.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        msg = f"{name!r} is not a time zone; write an IANA name such as America/New_York or UTC"
        raise ValueError(msg) from None
    return name


def to_utc(wall: pa.Array, zone: str) -> Parsed:
    """Instants of times without a zone, `timestamp[us]`, that were read off a clock in that zone.

    Of an hour that happens twice the first is meant. An hour that the clock skips is wrong.
    """
    if zone == "UTC":
        return Parsed(wall.cast(INSTANT))
    before, after = (
        pc.assume_timezone(wall, timezone=zone, ambiguous="earliest", nonexistent=edge).cast(INSTANT)
        for edge in ("earliest", "latest")
    )
    skipped = pc.fill_null(pc.not_equal(before, after), fill_value=False)
    if not skipped.true_count:
        return Parsed(before)
    rows = np.flatnonzero(np.asarray(skipped)).tolist()
    wrong = {row: f"{wall[row].as_py()} does not exist in {zone}, where clocks went forward then" for row in rows}
    return Parsed(pc.if_else(skipped, pa.scalar(None, INSTANT), before), wrong)


def on_the_wall(instants: pa.Array, zone: str) -> pa.Array:
    """What a clock in that zone shows at those instants, `timestamp[us]`."""
    return pc.local_timestamp(instants.cast(pa.timestamp("us", tz=zone)))
