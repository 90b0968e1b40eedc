"""Rows that say what others say: of another symbol, or of the day before."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thermocline.model.checks.bars import DAY, Bars, Flags, Floats, Integers, instant
from thermocline.model.checks.finding import Finding
from thermocline.model.checks.rules import RepeatedDayRule, SameSeriesRule

SAME_SERIES = "same_series"
REPEATED_DAY = "repeated_day"

Hashes = npt.NDArray[np.uint64]
Name = tuple[str, str]

_LISTED = 10


@dataclass(frozen=True)
class Shared:
    """How many rows two series share, and the times of the first and the last of them."""

    rows: int
    first: int
    last: int

    def with_more(self, other: "Shared") -> "Shared":
        """Both together."""
        return Shared(self.rows + other.rows, min(self.first, other.first), max(self.last, other.last))


def shared_rows(bars: Bars) -> dict[tuple[Name, Name], Shared]:
    """How many fresh rows with volume say the same at the same time, for each two series that have any.

    Where many series are the same, each is named with the first of them.
    """
    rows = np.flatnonzero(bars.fresh & (bars.volume > 0))
    hashes = _hashes(bars, bars.ts)[rows]
    order = np.argsort(hashes, kind="stable")  # rows are in order of their series already
    rows, hashes = rows[order], hashes[order]
    same = np.zeros(len(rows), dtype=bool)
    same[1:] = hashes[1:] == hashes[:-1]
    if not same.any():
        return {}
    first = rows[np.maximum.accumulate(np.where(same, 0, np.arange(len(rows))))][same]
    other = rows[same]
    pairs = np.stack([bars.series[first], bars.series[other]], axis=1)
    distinct, number = np.unique(pairs, axis=0, return_inverse=True)
    number = number.reshape(-1)
    counts = np.bincount(number)
    earliest = np.full(len(distinct), np.iinfo(np.int64).max)
    latest = np.full(len(distinct), np.iinfo(np.int64).min)
    np.minimum.at(earliest, number, bars.ts[other])
    np.maximum.at(latest, number, bars.ts[other])
    return {
        (bars.names[int(one)], bars.names[int(two)]): Shared(int(counts[at]), int(earliest[at]), int(latest[at]))
        for at, (one, two) in enumerate(distinct)
    }


def same_series(
    shared: Mapping[tuple[Name, Name], Shared], interval: str, rule: SameSeriesRule, since: int
) -> list[Finding]:
    """The pairs of series that share enough rows, the last of them not before `since`."""
    return [
        Finding(
            SAME_SERIES,
            instant(found.last),
            interval,
            *other,
            rule.severity,
            f"{found.rows:,d} rows from {instant(found.first):%Y-%m-%d} on are those of {one[1]}"
            + (f" ({one[0]})" if one[0] != other[0] else ""),
            float(found.rows),
        )
        for (one, other), found in sorted(shared.items())
        if found.rows >= rule.rows and found.last >= since
    ]


def repeated_days(bars: Bars, rule: RepeatedDayRule) -> list[Finding]:
    """Days with fresh rows that say exactly what the series' day before said; for whole feeds one finding a day."""
    if not len(bars):
        return []
    days = _Days.of(bars)
    repeated = days.same & days.traded
    single = repeated & days.moved
    found: list[Finding] = []
    for day in np.unique(days.day[repeated]):
        here = days.day == day
        both = int(np.count_nonzero(here & days.compared))
        copies = np.flatnonzero(here & repeated)
        at = instant(int(day) * DAY)
        if len(copies) >= rule.symbols and len(copies) / both >= rule.share:
            names = [bars.name(int(days.start[each]))[1] for each in copies[:_LISTED]]
            more = ", …" if len(copies) > _LISTED else ""
            detail = f"{len(copies)} of {both} series say what they said the day before: {', '.join(names)}{more}"
            found.append(Finding(REPEATED_DAY, at, bars.interval, "", "", rule.severity, detail, len(copies) / both))
            continue
        for each in np.flatnonzero(here & single):
            row = int(days.start[each])
            last = instant(int(days.day[each - 1]) * DAY)
            detail = f"prices and volume are those of {last:%Y-%m-%d}"
            found.append(Finding(REPEATED_DAY, at, bars.interval, *bars.name(row), rule.severity, detail))
    return found


@dataclass(frozen=True)
class _Days:
    """Days of series, in order: where each begins, and how it compares with the one before.

    `compared` are days that have fresh rows and a day before; `same` those that say the same; `traded` have volume,
    and on those that `moved` the price did so.
    """

    start: Integers
    day: Integers
    compared: Flags
    same: Flags
    traded: Flags
    moved: Flags

    @classmethod
    def of(cls, bars: Bars) -> "_Days":
        day = bars.ts // DAY
        begins = ~bars.follows
        begins[1:] |= day[1:] != day[:-1]
        start = np.flatnonzero(begins)
        # A sum of hashes does not know their order, which is that of time in both days.
        hashes = np.add.reduceat(_hashes(bars, bars.ts % DAY), start)
        follows = np.zeros(len(start), dtype=bool)
        follows[1:] = bars.series[start[1:]] == bars.series[start[:-1]]
        same = np.zeros(len(start), dtype=bool)
        same[1:] = hashes[1:] == hashes[:-1]
        traded = np.add.reduceat(np.nan_to_num(bars.volume), start) > 0
        moved = np.maximum.reduceat(bars.high, start) > np.minimum.reduceat(bars.low, start)
        compared = follows & traded & np.logical_or.reduceat(bars.fresh, start)
        return cls(start, day[start], compared, compared & same, traded, moved)


def _hashes(bars: Bars, ts: Integers) -> Hashes:
    """Sixty-four bits for what each row says, and when."""
    hashes = _mixed(ts.view(np.uint64))
    for values in (bars.open, bars.high, bars.low, bars.close, bars.volume):
        hashes = _mixed(hashes + _bits(values))
    return hashes


def _bits(values: Floats) -> Hashes:
    return np.ascontiguousarray(values).view(np.uint64)


def _mixed(values: Hashes) -> Hashes:
    """The finaliser of splitmix64, as in `thermocline.model.fingerprint`."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
