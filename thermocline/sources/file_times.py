"""Times as files spell them: ISO, dates as people write them, epoch numbers, or a format that the user gives."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.errors import SourceError
from thermocline.model.parsing import Parsed, quoted, timestamps
from thermocline.model.parsing.parsed import is_text
from thermocline.model.parsing.times import DAY_MICROSECONDS, INSTANT
from thermocline.sources.local_time import on_the_wall, to_utc

_WALL = pa.timestamp("us")
_SAMPLE_ROWS = 100_000
_FEW = 200
_UNITS = ("s", "ms", "us", "ns")

_OFFSET = r"\s*(Z|z|[+-]\d\d(:?\d\d)?)$"
_OFFSET_AFTER_TIME = r":\d\d(\.\d+)?" + _OFFSET

# What a number is told by: 20240102; 20240102093000; seconds from 1973 on, then milliseconds and so on.
_NUMBERS: Sequence[tuple[str, int, int]] = (
    ("%Y%m%d", 19_000_101, 22_000_000),
    ("s", 10**8, 10**11),
    ("%Y%m%d%H%M", 190_001_010_000, 220_000_000_000),
    ("%Y%m%d%H%M%S", 19_000_101_000_000, 22_000_000_000_000),
    ("ms", 10**11, 10**14),
    ("us", 10**14, 10**17),
    ("ns", 10**17, 2**63 - 1),
)

_DATES = (
    "%Y-%m-%d",  # without leading zeros it is no ISO date
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y%m%d",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%m-%d-%Y",
    "%d-%m-%Y",
    "%d.%m.%Y",
    "%m/%d/%y",
    "%d/%m/%y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%d %b %Y",
    "%b %d, %Y",
    "%B %d, %Y",
)
_TIMES = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p")
_FORMATS = tuple(date + time for time in _TIMES for date in _DATES)


@dataclass(frozen=True)
class Written:
    """Times as they were written: what the clock showed, and the instants of those with an offset written along.

    `dated` says that no time of day was written anywhere.
    """

    wall: pa.Array
    instants: pa.Array | None = None
    dated: bool = False
    wrong: Mapping[int, str] = field(default_factory=dict)

    @property
    def at_midnight(self) -> npt.NDArray[np.bool_]:
        """Which clocks showed midnight; a null did."""
        ticks = self.wall.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        midnight: npt.NDArray[np.bool_] = ticks % DAY_MICROSECONDS == 0
        return midnight

    def looks_daily(self, zone: str) -> bool:
        """Whether every clock showed midnight, as written or in the zone."""
        if self.instants is None:
            return bool(self.at_midnight.all())
        return bool((self.at_midnight | Written(on_the_wall(self.instants, zone)).at_midnight).all())

    def in_utc(self, daily: npt.NDArray[np.bool_], zone: str) -> Parsed:
        """Instants in UTC, where times without an offset were read off a clock in that zone.

        A date stays that date at 00:00 UTC. So does the midnight of a `daily` bar, be it as written or in the zone.
        """
        wall_as_utc = self.wall.cast(INSTANT)
        if self.dated:
            return Parsed(wall_as_utc, self.wrong)
        sessions = daily & self.at_midnight
        located = self._located(zone)
        wrong = {row: reason for row, reason in located.wrong.items() if not sessions[row]}
        values = pc.if_else(pa.array(sessions), wall_as_utc, located.values)
        if self.instants is not None and zone != "UTC" and (daily & ~sessions).any():
            local = Written(on_the_wall(self.instants, zone))
            values = pc.if_else(pa.array(daily & ~sessions & local.at_midnight), local.wall.cast(INSTANT), values)
        return Parsed(values, {**wrong, **self.wrong})

    def _located(self, zone: str) -> Parsed:
        if self.instants is None:
            return to_utc(self.wall, zone)
        if self.instants.null_count == self.wall.null_count:
            return Parsed(self.instants)
        naive = pc.if_else(self.instants.is_null(), self.wall, pa.scalar(None, _WALL))
        located = to_utc(naive, zone)
        return Parsed(pc.coalesce(self.instants, located.values), located.wrong)


class TimeReader:
    """Reads one file's times. How they are spelled is settled by its first block, or by the user."""

    def __init__(self, origin: str, spelling: str | None = None) -> None:
        """`spelling` is a strptime format, or s, ms, us, ns for epoch numbers."""
        self._origin = origin
        self._spelling = spelling

    def read(self, array: pa.Array) -> Written:
        """The times of one block.

        Raises:
            SourceError: The spelling can't be told from the first block.
            SchemaError: The column's type is none that can be a time.
        """
        kind = array.type
        if pa.types.is_dictionary(kind):
            return self.read(array.dictionary_decode())
        if pa.types.is_timestamp(kind) and kind.tz:
            parsed = timestamps(array)
            return Written(on_the_wall(parsed.values, kind.tz), parsed.values, wrong=parsed.wrong)
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            parsed = timestamps(array)
            return Written(parsed.values.cast(_WALL), dated=pa.types.is_date(kind), wrong=parsed.wrong)
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            whole = array.cast(pa.int64(), safe=False)
            return self._numbers(whole, array)
        if not is_text(kind):
            return Written(timestamps(array).values)
        texts = pc.utf8_trim_whitespace(array.cast(pa.string()))
        return self._texts(pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts))

    def _texts(self, texts: pa.Array) -> Written:
        digits = pc.match_substring_regex(texts, r"^-?\d{8,19}$")
        spelling = self._spelling
        if spelling in _UNITS or (spelling is None and _mostly(digits)):
            numbers = pc.if_else(digits, texts, pa.scalar(None, pa.string()))
            return self._numbers(_whole_numbers(numbers), texts)
        if spelling is None and texts.null_count < len(texts):
            sample = texts.slice(0, _SAMPLE_ROWS)
            spelling = "iso" if _is_iso(sample) else _format_of(sample, self._origin)
            self._spelling = spelling
        if spelling in {None, "iso"}:
            return _iso(texts)
        return _by_format(texts, str(spelling))

    def _numbers(self, numbers: pa.Array, written: pa.Array) -> Written:
        if self._spelling is None:
            self._spelling = _kind_of_number(numbers, self._origin)
        if self._spelling in _UNITS:
            parsed = timestamps(numbers.cast(pa.timestamp(self._spelling)))
            instants = parsed.values
            result = Written(instants.cast(_WALL), instants, wrong=parsed.wrong)
        else:
            result = _by_format(numbers.cast(pa.string()), str(self._spelling))
        lost = pc.and_(pc.is_valid(written), _differ(numbers, written))
        if not lost.true_count:
            return result
        wrong = {row: _no_time(written[row].as_py(), self._spelling) for row in _true_rows(lost)}
        keep = pc.invert(lost)
        wall = pc.if_else(keep, result.wall, pa.scalar(None, _WALL))
        instants = None if result.instants is None else pc.if_else(keep, result.instants, pa.scalar(None, INSTANT))
        return Written(wall, instants, result.dated, {**result.wrong, **wrong})


def _differ(numbers: pa.Array, written: pa.Array) -> pa.Array:
    """Where the whole number is not what was written."""
    if is_text(written.type):
        return pc.is_null(numbers)
    return pc.fill_null(pc.not_equal(numbers.cast(written.type, safe=False), written), fill_value=True)


def _whole_numbers(texts: pa.Array) -> pa.Array:
    try:
        return texts.cast(pa.int64())
    except pa.ArrowInvalid:  # nineteen digits may be too many
        return pa.array(
            [int(text) if text and abs(int(text)) < 2**63 else None for text in texts.to_pylist()], pa.int64()
        )


def _kind_of_number(numbers: pa.Array, origin: str) -> str:
    middle = pc.quantile(numbers, 0.5, interpolation="lower")[0].as_py()
    if middle is None:
        return "s"
    kind = next((kind for kind, low, high in _NUMBERS if low <= middle < high), None)
    if kind is None or kind == "%Y%m%d%H%M":
        what = "could be a date and time or milliseconds" if kind else "is no time that can be told by its size"
        msg = f"{origin}: {middle} {what}; set timestamp_format to s, ms, us, ns or a format such as %Y%m%d%H%M"
        raise SourceError(msg)
    return kind


def _is_iso(sample: pa.Array) -> bool:
    present = len(sample) - sample.null_count
    return bool(len(timestamps(sample).wrong) * 2 < present)


def _iso(texts: pa.Array) -> Written:
    parsed = timestamps(texts)
    dated = not pc.any(pc.match_substring_regex(texts, r"\d[T ]?\d\d:|T\d")).as_py()
    located = pc.match_substring_regex(texts, _OFFSET_AFTER_TIME)
    if not pc.any(located).as_py():
        return Written(parsed.values.cast(_WALL), dated=dated, wrong=parsed.wrong)
    shown = timestamps(pc.if_else(located, pc.replace_substring_regex(texts, _OFFSET, ""), texts))
    instants = pc.if_else(located, parsed.values, pa.scalar(None, INSTANT))
    return Written(shown.values.cast(_WALL), instants, wrong=parsed.wrong)


def _format_of(sample: pa.Array, origin: str) -> str:
    """The format by which most of the sample can be read.

    Raises:
        SourceError: None can read half of it, or day and month can't be told apart.
    """
    present = len(sample) - sample.null_count
    distinct = pc.unique(sample).drop_null()
    first = quoted(distinct[0].as_py())
    few = distinct.slice(0, _FEW)
    read = {each: _readable(distinct, each) for each in _FORMATS if _readable(few, each) * 2 >= len(few)}
    best = max(read, key=lambda each: read[each], default="")
    if not best or read[best] * 2 < len(distinct):
        msg = f"{origin}: times such as {first} are in no known form; set timestamp_format, such as %d.%m.%Y %H:%M"
        raise SourceError(msg)
    rival = next((each for each in read if each != best and read[each] == read[best]), None)
    if rival and _differently(distinct, best, rival):
        msg = f"{origin}: {first} could be {best} or {rival}, all {present} times fit both; set timestamp_format"
        raise SourceError(msg)
    return best


def _readable(texts: pa.Array, spelling: str) -> int:
    values = pc.strptime(texts, format=spelling, unit="us", error_is_null=True)
    return int(pc.sum(pc.greater_equal(pc.year(values), 1900)).as_py() or 0)


def _differently(texts: pa.Array, one: str, other: str) -> bool:
    values = [pc.strptime(texts, format=each, unit="us", error_is_null=True) for each in (one, other)]
    return not values[0].equals(values[1])


def _by_format(texts: pa.Array, spelling: str) -> Written:
    dated = not re.search(r"%[HIMSpTXcRfs]", spelling)
    if re.search(r"%[zfZ]", spelling):
        return _by_python(texts, spelling)
    wall = pc.strptime(texts, format=spelling, unit="us", error_is_null=True)
    lost = pc.and_(pc.is_valid(texts), pc.is_null(wall))
    wrong = {row: _no_time(texts[row].as_py(), spelling) for row in _true_rows(lost)}
    checked = timestamps(wall)
    return Written(checked.values.cast(_WALL), dated=dated, wrong={**checked.wrong, **wrong})


def _by_python(texts: pa.Array, spelling: str) -> Written:
    """Fractions of seconds and offsets, which Arrow's strptime can't read; each distinct text is read once."""
    encoded = texts.dictionary_encode()
    moments = [_strptime(text, spelling) for text in encoded.dictionary.to_pylist()]
    wall = pa.array([moment and moment.replace(tzinfo=None) for moment in moments], _WALL)
    aware = [moment for moment in moments if moment and moment.tzinfo]
    instants = pa.array(
        [moment and (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) for moment in moments], INSTANT
    )
    lost = pc.and_(pc.is_valid(texts), pc.is_null(wall.take(encoded.indices)))
    wrong = {row: _no_time(texts[row].as_py(), spelling) for row in _true_rows(lost)}
    return Written(wall.take(encoded.indices), instants.take(encoded.indices) if aware else None, wrong=wrong)


def _strptime(text: str, spelling: str) -> datetime | None:
    try:
        return datetime.strptime(text, spelling)  # noqa: DTZ007  # a time without an offset is the zone's business
    except ValueError:
        return None


def _no_time(value: object, spelling: str | None) -> str:
    return f"ts: {quoted(value)} is not a time spelled {spelling}"


def _true_rows(condition: pa.Array) -> list[int]:
    rows: list[int] = np.flatnonzero(np.asarray(pc.fill_null(condition, fill_value=False))).tolist()
    return rows


def _mostly(condition: pa.Array) -> bool:
    return bool(condition.true_count * 2 > len(condition) - condition.null_count)
