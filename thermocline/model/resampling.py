"""Bars of coarser sizes: to which bar of a coarser size each bar belongs, by the sessions of its exchange."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from math import gcd
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from thermocline.errors import UsageError
from thermocline.model.aggregates import Aggregation, Function, Measure
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ONE_DAY, interval_seconds
from thermocline.model.query import Query
from thermocline.model.sessions import DAY_SECONDS, Numbers, Sessions, bucket_of, day_of

Align = Literal["session", "clock"]
Session = Literal["regular", "extended"]

DAY, WEEK, MONTH = "1day", "1week", "1month"
COLUMNS = (*MARKET_DATA.key, "open", "high", "low", "close", "volume", "vwap", "trade_count")
"""What bars have that are made of others; where each of those came from, and when, is not told."""

_COARSE = {DAY: ONE_DAY, WEEK: 7 * ONE_DAY, MONTH: 31 * ONE_DAY}
_SLOT_SECONDS = 1800
"""Most sessions begin and end on a half hour; where some don't, the rows are asked for again in smaller slots."""
_MEASURES = (
    Measure("open", Function.FIRST, "open"),
    Measure("high", Function.MAX, "high"),
    Measure("low", Function.MIN, "low"),
    Measure("close", Function.LAST, "close"),
    Measure("volume", Function.SUM, "volume"),
    Measure("vwap", Function.WEIGHTED, "vwap", "volume"),
    Measure("trade_count", Function.SUM, "trade_count"),
)


@dataclass(frozen=True)
class Resampling:
    """Bars of the size `to`, made of those of the size `interval`.

    The query asks for bars as if those of the size `to` were stored: its range is that of their `ts`. Each is whole,
    made of all of its bars, also where these lie outside of the range. With `session` regular, bars that open outside
    of their exchange's session have no part in it; extended has those before and after it too, but never in one
    bar with those of the session unless `to` is a day or longer. With `align` session, bars begin as the session does.
    """

    query: Query
    interval: str
    to: str
    align: Align = "session"
    session: Session = "regular"

    def __post_init__(self) -> None:
        """Refuse sizes of which one is no whole number of the other."""
        if self.query.dataset.name != MARKET_DATA.name:
            msg = f"only bars of market_data can be resampled, not {self.query.dataset.name}; see aggregate"
            raise UsageError(msg)
        if self.align not in {"session", "clock"} or self.session not in {"regular", "extended"}:
            msg = f"align is session or clock, session is regular or extended; not {self.align!r} and {self.session!r}"
            raise UsageError(msg)
        of, to = interval_seconds(self.interval), interval_seconds(self.to)
        if self.interval == DAY:
            fits = self.to in {WEEK, MONTH}
        elif self.to in _COARSE:
            fits = of is not None and DAY_SECONDS % of == 0
        else:
            fits = of is not None and to is not None and of < to < DAY_SECONDS and to % of == 0
        if not fits:
            msg = (
                f"bars of {self.interval} don't make bars of {self.to}: that is a whole number of them, shorter than a "
                f"day, or {', '.join(_COARSE)}"
            )
            raise UsageError(msg)
        for name in self.query.columns:
            if name not in COLUMNS:
                msg = f"resampled bars have no column {name!r}; they have {', '.join(COLUMNS)}"
                raise UsageError(msg)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the answer."""
        return self.query.columns or COLUMNS

    @property
    def step_seconds(self) -> int:
        """How long bars are at most; 0 where they are a day or longer."""
        return 0 if self.to in _COARSE else interval_seconds(self.to) or 0

    @property
    def slot_seconds(self) -> int:
        """In what pieces of time to ask for rows at first."""
        return DAY_SECONDS if self.interval == DAY else gcd(_SLOT_SECONDS, self.step_seconds)

    def aggregation(self, slot_seconds: int) -> Aggregation:
        """What to ask of all bars that may belong to a bar of the answer."""
        # A session may open on the day before its date; the last of a day's bars may open on the day after.
        margin = timedelta(seconds=2 * self.step_seconds) + ONE_DAY if self.step_seconds else _COARSE[self.to] + ONE_DAY
        start, end = self.query.start, self.query.end
        read = replace(
            self.query,
            start=start - margin if start and start.year > 1 else None,
            end=end + margin if end and end.year < 9999 else None,  # noqa: PLR2004  # the last year there is
            intervals=(self.interval,),
            columns=(),
            limit=None,
        )
        return Aggregation(read, _MEASURES, ("asset_class", "symbol"), slot_seconds)


@dataclass(frozen=True)
class Placed:
    """To which bar each slot belongs: when it opens, in seconds, and whether it has a part in any."""

    opens: Numbers
    kept: npt.NDArray[np.bool_]


def smallest_slot(asked: Resampling, sessions: Sessions, slot_seconds: int) -> int:
    """The longest slots, no longer than those, that no bound of a session divides."""
    bounds = np.concatenate([sessions.opens, _begins(asked, sessions), sessions.closes, sessions.offsets])
    return int(np.gcd.reduce(np.append(bounds, slot_seconds)))


def _begins(asked: Resampling, sessions: Sessions) -> Numbers:
    """From when on bars belong to each session: one in which the open lies does, one of the session before does not."""
    of = interval_seconds(asked.interval) or 1
    begins = sessions.opens // of * of
    earliest = np.append(np.iinfo(np.int64).min, sessions.closes)[: len(begins)]
    found: Numbers = np.maximum(begins, earliest)
    return found


def placed(asked: Resampling, sessions: Sessions, slots: Numbers) -> Placed:
    """Place slots of one calendar, each said by the second that it begins in.

    Raises:
        UsageError: The calendar does not know of the days of some.
    """
    _refuse_unknown(sessions, slots)
    if not len(sessions.dates):
        return Placed(slots, np.zeros(len(slots), dtype=np.bool_))
    begins = _begins(asked, sessions)
    number = np.maximum(np.searchsorted(begins, slots, "right") - 1, 0)
    inside = (slots >= begins[number]) & (slots < sessions.closes[number])
    kept = inside.copy()
    if asked.session == "extended":
        # What is before and after a session belongs to that of its date where the exchange is. Between two sessions its
        # clock may be changed, so each of the two tells the date by its own.
        following = np.minimum(number + (slots >= begins[number]), len(sessions.dates) - 1)
        before = ~inside & _on_date(sessions, slots, following) & (slots < sessions.opens[following])
        after = ~inside & ~before & _on_date(sessions, slots, number) & (slots >= sessions.closes[number])
        number = np.where(before, following, number)
        kept |= before | after
    if not asked.step_seconds:
        return Placed(bucket_of(asked.to, sessions.dates[number]) * DAY_SECONDS, kept)
    return Placed(_opens(asked, sessions, slots, number, inside), kept)


def _on_date(sessions: Sessions, slots: Numbers, number: Numbers) -> npt.NDArray[np.bool_]:
    """Whether slots are on the date of those sessions, by the clock of the exchange."""
    found: npt.NDArray[np.bool_] = (slots + sessions.offsets[number]) // DAY_SECONDS == sessions.dates[number]
    return found


def _opens(
    asked: Resampling, sessions: Sessions, slots: Numbers, number: Numbers, inside: npt.NDArray[np.bool_]
) -> Numbers:
    step = asked.step_seconds
    opens, closes = sessions.opens[number], sessions.closes[number]
    # A bar begins with what it is part of: the session, or what comes before or after it.
    after = ~inside & (slots >= closes)
    floor = np.where(inside, opens, np.where(after, closes, np.iinfo(np.int64).min))
    if asked.align == "session":
        origin = np.where(after, closes, opens)
    else:
        origin = (slots + sessions.offsets[number]) // DAY_SECONDS * DAY_SECONDS - sessions.offsets[number]
    found: Numbers = np.maximum(origin + (slots - origin) // step * step, floor)
    return found


def _refuse_unknown(sessions: Sessions, slots: Numbers) -> None:
    if not len(slots):
        return
    first, last = day_of(int(slots.min()) // DAY_SECONDS), day_of(int(slots.max()) // DAY_SECONDS)
    if first < sessions.days.start - ONE_DAY or last > sessions.days.end:
        msg = (
            f"the calendar {sessions.name} knows its sessions from {sessions.days.start} to {sessions.days.end}, and "
            f"there are bars from {first} to {last}; ask for fewer days, or set another calendar in `calendars`"
        )
        raise UsageError(msg)


def placed_days(asked: Resampling, slots: Numbers) -> Placed:
    """Place daily bars, which carry their session's date."""
    dates = bucket_of(asked.to, slots // DAY_SECONDS)
    return Placed(dates * DAY_SECONDS, np.ones(len(slots), dtype=np.bool_))


def bars_of(asked: Resampling, measured: pa.Table) -> pa.Table:
    """The bars of the answer, from the measures of each."""
    ts = measured["ts"]
    columns: Mapping[str, pa.ChunkedArray] = {
        **{name: measured[name] for name in measured.column_names},
        "interval": pa.chunked_array([pa.repeat(asked.to, len(measured))]),
        "ts": ts,
    }
    kept = np.ones(len(measured), dtype=np.bool_)
    at = ts.cast(pa.int64()).to_numpy()
    if asked.query.start:
        kept &= at >= _microseconds(asked.query.start)
    if asked.query.end:
        kept &= at < _microseconds(asked.query.end)
    table = pa.table({name: columns[name] for name in COLUMNS}).cast(schema_of(COLUMNS))
    return table.filter(pa.array(kept)).select(list(asked.names))


def schema_of(names: Sequence[str]) -> pa.Schema:
    """The columns that resampled bars have."""
    return pa.schema([MARKET_DATA.column(name).arrow_field for name in names])


def _microseconds(instant: object) -> int:
    found: int = pa.scalar(instant, pa.timestamp("us", "UTC")).value
    return found
