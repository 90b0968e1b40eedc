"""Instants in microseconds UTC, and dates."""

import re
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.model.parsing.parsed import Parsed, is_text, parse_texts, quoted, unfit

INSTANT = pa.timestamp("us", tz="UTC")
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""Times before EARLIEST or from LATEST on are taken for damage."""

DAY_MICROSECONDS = 86_400_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_PLAUSIBLE_SECONDS = (315_532_800, 4_102_444_800)  # 1980 to 2099
_SECOND_MICROSECONDS = 1_000_000
_NANOSECONDS = 1_000
_COMPACT = r"^(\d{4})(\d\d)(\d\d)$"
_FINER = re.compile(r"(.*[.,]\d{6})(\d+)(.*)")


def timestamps(array: pa.Array) -> Parsed:
    """Instants. A time without a zone is UTC, a date its midnight; texts are ISO 8601 or YYYYMMDD.

    A time that is finer than a microsecond, or not within 1900 to 2199, is wrong.

    Raises:
        SchemaError: The array's type is neither a time nor text. Epoch numbers are the source's business.
    """
    kind = array.type
    if pa.types.is_date(kind):
        array = array.cast(pa.timestamp("ms"))
    elif is_text(kind):
        dashed = pc.replace_substring_regex(array.cast(pa.string()), _COMPACT, r"\1-\2-\3")
        parsed = parse_texts(dashed, _iso, _iso_one, INSTANT)
        checked = _of_ticks(parsed.values, "us")
        return Parsed(checked.values, {**checked.wrong, **parsed.wrong})
    elif not pa.types.is_timestamp(kind):
        raise unfit(array, "a time")
    return _of_ticks(array, array.type.unit)


def dates(array: pa.Array) -> Parsed:
    """Dates, from dates, midnights, ISO texts or YYYYMMDD. A time of day is wrong.

    Raises:
        SchemaError: The array's type is none of these.
    """
    if pa.types.is_integer(array.type):
        array = array.cast(pa.string())
    parsed = timestamps(array)
    ticks = _ticks(parsed.values)
    timed = np.flatnonzero(ticks % DAY_MICROSECONDS != 0)
    wrong = {**parsed.wrong, **{int(row): f"{_shown(ticks[row], 'us')} is not a date" for row in timed}}
    days = pa.array((ticks // DAY_MICROSECONDS).astype(np.int32), pa.int32()).cast(pa.date32())
    keep = np.asarray(parsed.values.is_valid())
    keep[timed] = False
    return Parsed(pc.if_else(pa.array(keep), days, pa.scalar(None, pa.date32())), wrong)


def microseconds(moment: datetime | date) -> int:
    """Microseconds since 1970 of an instant, or of the UTC day's start."""
    if not isinstance(moment, datetime):
        return (moment - _EPOCH.date()).days * DAY_MICROSECONDS
    passed = moment - _EPOCH
    return passed.days * DAY_MICROSECONDS + passed.seconds * _SECOND_MICROSECONDS + passed.microseconds


def _ticks(array: pa.Array) -> npt.NDArray[np.int64]:
    """The integers behind times; 0 for a null."""
    ticks: npt.NDArray[np.int64] = array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return ticks


def _of_ticks(array: pa.Array, unit: str) -> Parsed:
    ticks = _ticks(array)
    per_second = _PER_SECOND[unit]
    low, high = (microseconds(moment) // _SECOND_MICROSECONDS * per_second for moment in (EARLIEST, LATEST))
    outside = (ticks < low) | (ticks >= high)
    finer = (ticks % _NANOSECONDS != 0) if unit == "ns" else np.zeros(len(ticks), dtype=bool)
    good = ~outside & ~finer
    if unit == "ns":
        in_microseconds = ticks // _NANOSECONDS
    else:
        in_microseconds = np.where(good, ticks, 0) * (_SECOND_MICROSECONDS // per_second)
    wrong = {int(row): f"{_shown(ticks[row], unit)} is finer than a microsecond" for row in np.flatnonzero(finer)}
    within = f"is not within {EARLIEST.year} to {LATEST.year - 1}"
    wrong |= {
        int(row): f"{_shown(ticks[row], unit)} {within}{_hint(ticks[row], unit)}" for row in np.flatnonzero(outside)
    }
    good &= np.asarray(array.is_valid())
    return Parsed(pa.array(in_microseconds, pa.int64(), mask=~good).cast(INSTANT), wrong)


def _shown(ticks: np.int64, unit: str) -> str:
    return str(ticks.astype(f"datetime64[{unit}]"))


def _hint(ticks: np.int64, unit: str) -> str:
    """Which finer unit was probably read as this one: the one in which the time lies in living memory."""
    units = list(_PER_SECOND)
    for finer in units[units.index(unit) + 1 :]:
        seconds = int(ticks) // _PER_SECOND[finer]
        if _PLAUSIBLE_SECONDS[0] <= seconds < _PLAUSIBLE_SECONDS[1]:
            return f"; it looks like {_UNIT_NAMES[finer]} read as {_UNIT_NAMES[unit]}"
    return ""


def _iso(piece: pa.Array) -> pa.Array:
    """All of one spelling: without or with an offset, in microseconds, or in whole ones spelled as nanoseconds."""
    for unit in ("us", "ns"):
        for zone in (None, "UTC"):
            try:
                return piece.cast(pa.timestamp(unit, tz=zone)).cast(INSTANT)
            except pa.ArrowInvalid:
                continue
    raise pa.ArrowInvalid


def _iso_one(text: str) -> Any:
    finer = _FINER.fullmatch(text)
    if finer:
        if finer[2].strip("0"):
            msg = f"{quoted(text)} is finer than a microsecond"
            raise ValueError(msg)
        text = finer[1] + finer[3]
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        msg = f"{quoted(text)} is not an ISO time"
        raise ValueError(msg) from None
