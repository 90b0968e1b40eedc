"""From the clock on the wall of an exchange to UTC.

Offsets come from Python's zoneinfo, which falls back on the tzdata package. Arrow's own functions for zones need the
system's time zone database, and a bare machine may have none.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from thermocline.model.parsing import Parsed
from thermocline.model.parsing.times import DAY_MICROSECONDS, EARLIEST, INSTANT, LATEST, microseconds

Ticks = npt.NDArray[np.int64]

_WALL = pa.timestamp("us")
_SECOND = 1_000_000
_DAY = DAY_MICROSECONDS // _SECOND
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
    ticks, valid = _ticks(wall)
    since, offsets = _offsets_around(ticks[valid], zone)
    # Until the clock, still going by the old offset, shows the instant of the change.
    ends = since[1:] + offsets[:-1]
    which = np.searchsorted(ends, ticks, side="right")
    instants = ticks - offsets[which]
    skipped = valid & (instants < since[which])
    wrong = {
        row: f"{wall[row].as_py()} does not exist in {zone}, where clocks went forward then"
        for row in np.flatnonzero(skipped).tolist()
    }
    return Parsed(pa.array(instants, mask=skipped | ~valid).cast(INSTANT), wrong)


def on_the_wall(instants: pa.Array, zone: str) -> pa.Array:
    """What a clock in that zone shows at those instants, `timestamp[us]`."""
    ticks, valid = _ticks(instants)
    since, offsets = _offsets_around(ticks[valid], zone)
    which = np.searchsorted(since[1:], ticks, side="right")
    return pa.array(ticks + offsets[which], mask=~valid).cast(_WALL)


def _ticks(times: pa.Array) -> tuple[Ticks, npt.NDArray[np.bool_]]:
    valid = np.asarray(times.is_valid())
    return times.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False), valid


def _offsets_around(ticks: Ticks, zone: str) -> tuple[Ticks, Ticks]:
    low, high = (int(ticks.min()), int(ticks.max())) if len(ticks) else (0, 0)
    return _offsets(zone, _year(low), _year(high))


def _year(tick: int) -> int:
    within = min(max(tick, microseconds(EARLIEST)), microseconds(LATEST))
    return (_EPOCH + timedelta(microseconds=within)).year


@lru_cache(maxsize=256)
def _offsets(zone: str, first_year: int, last_year: int) -> tuple[Ticks, Ticks]:
    """Since when which offset from UTC holds, both in microseconds; the first since ever."""
    # A year more at each end, since the wall may show another year than UTC.
    years = range(first_year - 1, last_year + 2)
    changes = [change for year in years for change in _changes(zone, year)]
    since = [np.iinfo(np.int64).min, *(second * _SECOND for second, _ in changes)]
    offsets = [_offset(ZoneInfo(zone), _new_year(years.start)), *(offset for _, offset in changes)]
    return np.array(since, dtype=np.int64), np.array(offsets, dtype=np.int64) * _SECOND


@lru_cache(maxsize=4096)
def _changes(zone: str, year: int) -> tuple[tuple[int, int], ...]:
    """The seconds of a UTC year at which the offset changes, and to what."""
    here = ZoneInfo(zone)
    found: list[tuple[int, int]] = []
    for second in range(_new_year(year), _new_year(year + 1), _DAY):
        before, after = second, second + _DAY
        old = _offset(here, before)
        if _offset(here, after) == old:
            continue
        while after - before > 1:
            middle = (before + after) // 2
            before, after = (middle, after) if _offset(here, middle) == old else (before, middle)
        found.append((after, _offset(here, after)))
    return tuple(found)


def _new_year(year: int) -> int:
    return microseconds(datetime(year, 1, 1, tzinfo=UTC)) // _SECOND


def _offset(zone: ZoneInfo, second: int) -> int:
    offset = (_EPOCH + timedelta(seconds=second)).astimezone(zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0
