"""Bars that an exchange gives from an instant on, oldest first, at most so many at a time.

There is no cursor but the instant itself, which makes loops and holes easy: the next page is asked for after the newest
bar that came, never before it, until the span is over. An exchange that ignores the instant is caught.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from thermocline.errors import SourceError, UsageError
from thermocline.ports import Answered, Fetched, FetchRequest, Page
from thermocline.sources.transport.paging import Answer, Paging

Instants = npt.NDArray[np.int64]

EARLIEST = date(2010, 1, 1)
"""Before it no exchange has a bar; asking earlier only costs pages."""

_SECONDS = {"sec": 1, "min": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
_LETTERS = {"sec": "s", "min": "m", "hour": "h", "day": "d", "week": "w", "month": "M"}
_INTERVAL = re.compile(r"([1-9]\d*)(sec|min|hour|day|week|month)")
_LEAST_MICROSECONDS = 10**14  # as milliseconds that would be the year 5138, as microseconds 1973


def exchange_interval(interval: str) -> str:
    """How exchanges spell an interval: `1m` for `1min`, `1M` for `1month`.

    Raises:
        UsageError: It is none that exchanges know.
    """
    match = _INTERVAL.fullmatch(interval)
    if not match:
        msg = f"exchanges have no bars of {interval!r}; write one such as 1min, 1hour or 1day"
        raise UsageError(msg)
    return match[1] + _LETTERS[match[2]]


def length_of(interval: str) -> timedelta:
    """How long a bar lasts; the shortest that a month can be."""
    match = _INTERVAL.fullmatch(interval)
    if not match:
        msg = f"{interval!r} is no interval of bars"
        raise UsageError(msg)
    count = int(match[1])
    return timedelta(days=28 * count) if match[2] == "month" else timedelta(seconds=count * _SECONDS[match[2]])


def microseconds_of(column: pa.ChunkedArray) -> Instants:
    """Instants since 1970 in microseconds, from milliseconds or microseconds; which, is told by their size."""
    instants = np.asarray(column.cast(pa.int64()))
    return np.where(np.abs(instants) >= _LEAST_MICROSECONDS, instants, instants * 1_000)


def is_over(opened: Instants, interval: str, now: datetime) -> npt.NDArray[np.bool_]:
    """Which bars were over at an instant; the others may still change."""
    ends = int(now.timestamp() * 1_000_000)
    if not interval.endswith("month"):
        length = int(length_of(interval).total_seconds() * 1_000_000)
        return opened + length <= ends
    months = opened.astype("datetime64[us]").astype("datetime64[M]") + int(interval.removesuffix("month"))
    return np.asarray(months.astype("datetime64[us]").astype(np.int64) <= ends)


def milliseconds(instant: datetime) -> int:
    """An instant since 1970."""
    return round(instant.timestamp() * 1_000)


def instant(milliseconds_since: int) -> datetime:
    """An instant from milliseconds since 1970."""
    return datetime.fromtimestamp(milliseconds_since / 1_000, UTC)


@dataclass(frozen=True)
class Wanted:
    """Bars of one symbol and interval, and of which span, as a request wants them."""

    source: str
    symbol: str
    interval: str
    start: datetime
    end: datetime
    now: datetime

    @classmethod
    def of(cls, request: FetchRequest, source: str, symbol: str, interval: str) -> "Wanted":
        """The part of a request that is one symbol's."""
        start = datetime.combine(max(request.days.start, EARLIEST), time(), UTC)
        end = datetime.combine(request.days.end, time(), UTC)
        return cls(source, symbol, interval, start, end, request.now or datetime.now(UTC))

    @property
    def until(self) -> datetime:
        """When to stop asking: the span's end, or now."""
        return min(self.end, self.now)

    @property
    def label(self) -> str:
        """What it is called in the names of raw objects."""
        return f"{self.symbol}-{self.interval}"

    @property
    def asked(self) -> dict[str, Any]:
        """What tells it from others. Spans that reach beyond now are one question, whenever the next run comes."""
        return {
            "symbol": self.symbol,
            "interval": self.interval,
            "start": self.start.isoformat(),
            "end": self.end.isoformat() if self.end <= self.now else None,
        }

    def answered(self, start: datetime, end: datetime) -> tuple[Answered, ...]:
        """A span of it that the exchange told all of."""
        start, end = max(start, self.start), min(end, self.until)
        return (Answered(self.symbol, self.interval, start, end, "crypto"),) if start < end else ()

    def bars(self, rows: pa.Table, ts: str, columns: Mapping[str, str], now: datetime) -> pa.Table:
        """Rows as an exchange gave them as rows of market_data, without bars that were not over at `now`."""
        opened = microseconds_of(rows[ts])
        over = is_over(opened, self.interval, now)
        kept = rows if over.all() else rows.filter(pa.array(over))
        return pa.table({
            "asset_class": pa.repeat("crypto", len(kept)),
            "symbol": pa.repeat(self.symbol, len(kept)),
            "interval": pa.repeat(self.interval, len(kept)),
            "ts": pa.array(opened[over], pa.timestamp("us", "UTC")),
            **{name: kept[own] for name, own in columns.items()},
        })  # fmt: skip


@dataclass(frozen=True)
class Candles:
    """Pages of the bars of one symbol.

    Attributes:
        wanted: Which bars.
        limit: The most that one page has.
        get: Gives the bars from an instant in milliseconds on, at most so many, as the exchange has them.
        ts: The column in which these say when they open.
        columns: The columns of market_data, and what they are called there.
        asked: What tells the question from others, besides what is wanted.
    """

    wanted: Wanted
    limit: int
    get: Callable[[int, int], pa.Table]
    ts: str
    columns: Mapping[str, str]
    asked: Mapping[str, Any]

    def paging(self) -> Paging:
        """The question."""
        wanted = self.wanted
        asked, grows_every = {**self.asked, **wanted.asked}, length_of(wanted.interval)
        return Paging(wanted.label, asked, self.ask, self.read, wanted.end, grows_every, is_bounded=True)

    @cached_property
    def _step(self) -> int:
        """The shortest time between two bars in milliseconds."""
        return round(length_of(self.wanted.interval).total_seconds() * 1_000)

    def ask(self, cursor: str | None) -> Answer:
        """One page, and from when on the next is to be asked for."""
        since = int(cursor) if cursor else milliseconds(self.wanted.start)
        rows = self.get(since, self.limit)
        opened = microseconds_of(rows[self.ts]) // 1_000
        if len(opened):
            self._check(opened, since)
            following = int(opened.max()) + self._step
        else:
            following = since + self.limit * self._step
        return Answer(rows, str(following) if following < milliseconds(self.wanted.until) else None)

    def read(self, page: Page) -> Fetched:
        """The rows of a page as those of market_data."""
        wanted = self.wanted
        rows = wanted.bars(page.rows, self.ts, self.columns, page.fetched_at)
        start = instant(int(page.cursor)) if page.cursor else wanted.start
        end = instant(int(page.following)) if page.following else min(wanted.end, page.fetched_at)
        origin = f"{wanted.source} {wanted.symbol} {wanted.interval} from {start.isoformat()}"
        # What lies before the first bar, or in a page without one, proves nothing: some exchanges keep little history,
        # or leave out what they don't heed.
        told = wanted.answered(start if page.cursor else self._opens(page), end) if len(page.rows) else ()
        return Fetched(rows, origin, answered=told)

    def _opens(self, page: Page) -> datetime:
        return instant(int(microseconds_of(page.rows[self.ts]).min()) // 1_000)

    def _check(self, opened: Instants, since: int) -> None:
        wanted = self.wanted
        name = f"{wanted.source}, {wanted.label}"
        first, last = int(opened.min()), int(opened.max())
        if first <= since - self._step:
            msg = (
                f"{name}: was asked for bars from {instant(since).isoformat()} on and gave one of "
                f"{instant(first).isoformat()}; it does not heed what it is asked, so nothing of that page was taken. "
                "Ask for it from another exchange"
            )
            raise SourceError(msg)
        reaches_now = last + 3 * self._step >= milliseconds(wanted.now)
        if first > since + self._step and reaches_now and len(opened) >= self.limit - 1:
            msg = (
                f"{name}: was asked for bars from {instant(since).isoformat()} on and gave its newest {len(opened)}, "
                f"from {instant(first).isoformat()} on; those before would be missing, so nothing of that page was "
                "taken. It keeps no longer history of this interval: ask with --start "
                f"{instant(first).date() + timedelta(days=1)}, for a longer interval, or another exchange"
            )
            raise SourceError(msg)


def chosen_symbols(request: FetchRequest, configured: tuple[str, ...], source: str) -> list[str]:
    """The symbols to ask for.

    Raises:
        UsageError: None is named; a vendor is not asked for everything that it has.
    """
    symbols = sorted(request.symbols) or list(configured)
    if not symbols:
        msg = (
            f"source {source!r} asks for symbols one by one; name some with --symbol, or under sources.{source}.symbols"
        )
        raise UsageError(msg)
    return symbols


def bars_only(request: FetchRequest, source: str) -> None:
    """Refuse other datasets than bars.

    Raises:
        UsageError: The dataset is not market_data.
    """
    if request.dataset.name != "market_data":
        msg = f"source {source!r} has bars for market_data only, not {request.dataset.name}"
        raise UsageError(msg)
