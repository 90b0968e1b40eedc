"""Rules about times: units that were mistaken, and a future that nobody can know."""

import numpy as np

from thermocline.model.parsing.times import DAY_MICROSECONDS
from thermocline.model.rules.rows import Mask, Rows

_CLOCKS_DIFFER_MICROSECONDS = 5 * 60 * 1_000_000
_LATEST_SLIP = 2**32 * 1_000
"""Seconds since 1970 of any year that matters, taken for milliseconds (or milliseconds for microseconds, and so on),
lie before this: in the first 50 days of 1970."""


def unit_slips(rows: Rows) -> Mask:
    """All rows, where all that have a time lie in the first days of 1970 and are not all midnights; else none.

    Real rows of those days are daily and come with others.
    """
    ticks = rows.ticks()
    none = np.zeros(len(ticks), dtype=bool)
    if not len(ticks) or ticks.max() >= _LATEST_SLIP or ticks.min() < 0:
        return none
    known = np.asarray(rows.array("ts").is_valid())
    return known if (ticks % DAY_MICROSECONDS).any() else none


def in_the_future(rows: Rows) -> Mask:
    """Rows that lie after now: by a day where they carry a date, which begins earlier elsewhere, else by minutes."""
    ticks = rows.ticks()
    late: Mask = ticks > rows.now + _CLOCKS_DIFFER_MICROSECONDS
    if late.any():
        late &= (ticks % DAY_MICROSECONDS != 0) | (ticks > rows.now + DAY_MICROSECONDS)
    return late


def ends_before_it_begins(rows: Rows) -> Mask:
    """A symbol that ceases to name an instrument before, or on the day that, it begins to."""
    return rows.where_known(rows.days("until") * DAY_MICROSECONDS <= rows.ticks(), "until")
