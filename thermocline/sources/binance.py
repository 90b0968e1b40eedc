"""Bars of Binance without a key: whole months and days from its archive, and its interface for what has no file yet.

The archive (data.binance.vision) has a zip for each month and each day, with a SHA-256 beside it. Times in it are
milliseconds, in files of spot from 2025 on microseconds; some files begin with a line of names. A month comes with
its first days over, so the newest days are asked for by the interface, page by page.
"""

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import Field

from thermocline.errors import SourceError, UsageError
from thermocline.ports import Fetched, FetchRequest, Page
from thermocline.sources.binance_archive import Archive, SpoiledFileError, as_table
from thermocline.sources.candles import (
    Wanted,
    bars_only,
    chosen_symbols,
    exchange_interval,
    instant,
    length_of,
    microseconds_of,
    milliseconds,
)
from thermocline.sources.http import Http, NotAllowedError, NotThereError
from thermocline.sources.network import Network
from thermocline.sources.options import Options, validated
from thermocline.sources.paging import Answer, Paging, pages_of

VARIABLES: Mapping[str, tuple[str, ...]] = {}
"""Market data needs no key."""

Market = Literal["spot", "um", "cm"]

_INTERVALS = (
    *("1sec", "1min", "3min", "5min", "15min", "30min", "1hour", "2hour", "4hour", "6hour", "8hour", "12hour"),
    *("1day", "3day", "1week", "1month"),
)
_URLS: Mapping[Market, str] = {
    "spot": "https://data-api.binance.vision",  # market data alone, open everywhere
    "um": "https://fapi.binance.com",
    "cm": "https://dapi.binance.com",
}
_PATHS: Mapping[Market, str] = {"spot": "/api/v3/klines", "um": "/fapi/v1/klines", "cm": "/dapi/v1/klines"}
_PAGE_ROWS = 1_000
_MANY_BARS = timedelta(minutes=5)
"""Of intervals this long or longer, a day is less than a third of a page: files of single days would cost more."""

_FILE_ALONE = "file:"

_log = logging.getLogger(__name__)

_COLUMNS = {
    "open": "open",
    "high": "high",
    "low": "low",
    "close": "close",
    "volume": "volume",
    "trade_count": "count",
}


class BinanceOptions(Options):
    """Options of `binance`."""

    symbols: tuple[str, ...] = ()
    intervals: tuple[str, ...] = ("1day",)
    requests_per_minute: Annotated[float, Field(gt=0, le=100_000)] = 400.0  # klines weigh 2 of 6000, or 5 of 2400
    archive_url: str = "https://data.binance.vision"
    url: str | None = None


def open_source(name: str, options: Mapping[str, Any], network: Network) -> "BinanceSource":
    """The source of that name; nothing is asked yet.

    Raises:
        SettingsError: An option is unknown or wrong.
    """
    return BinanceSource(name, validated(BinanceOptions, name, options), network)


class BinanceSource:
    """Bars of spot (`BTC/USDT`), USD-margined (`BTC/USDT:USDT`) and coin-margined (`BTC/USD:BTC`) markets."""

    rows_per_page = 44_640
    """A month of minutes."""

    symbols_per_request = 1

    def __init__(self, name: str, options: BinanceOptions, network: Network) -> None:
        """Keep the options."""
        self._name, self._options, self._network = name, options, network

    @property
    def name(self) -> str:
        """What the `source` column of its rows says."""
        return self._name

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """Yield the bars of the symbols asked for, a month, a day or a page at a time.

        Raises:
            UsageError: The dataset is not market_data, no symbol is named, or there are no bars of that interval.
            SourceError: A file or page could not be had, or is not what its checksum says.
        """
        bars_only(request, self._name)
        symbols = chosen_symbols(request, self._options.symbols, self._name)
        intervals = sorted(request.intervals) or self._options.intervals
        for interval in intervals:
            if interval not in _INTERVALS:
                msg = f"binance has no bars of {interval}; it has {', '.join(_INTERVALS)}"
                raise UsageError(msg)
        options = self._options
        calls = self._network.calls(self._name, "binance", options.requests_per_minute, burst=20)
        for symbol in symbols:
            market, own = market_of(symbol)
            with Http(calls, options.archive_url) as archive, Http(calls, options.url or _URLS[market]) as rest:
                for interval in intervals:
                    wanted = Wanted.of(request, self._name, symbol, interval)
                    if wanted.start < wanted.until:
                        series = _Series(wanted, market, own, Archive(archive, market, own, interval), rest)
                        yield from pages_of(series.paging(), self._name, request)


def market_of(symbol: str) -> tuple[Market, str]:
    """The market of a symbol, and what Binance calls it there."""
    pair, colon, settled = symbol.partition(":")
    base, slash, quote = pair.partition("/")
    if not slash:
        return "spot", symbol
    if not colon:
        return "spot", base + quote
    if settled == base:
        return "cm", f"{base}{quote}_PERP"
    return "um", base + quote


class _Series:
    """One symbol and interval: first its oldest bar, then its months, then what has no file yet.

    A cursor is a month (`2024-01`), a day (`2024-01-15`), or milliseconds since 1970 with those at which to go back to
    files (`1705276800000/1706745600000`); `file:2024-01-15` is a day that the interface was not allowed to give.
    """

    def __init__(self, wanted: Wanted, market: Market, own: str, archive: Archive, rest: Http) -> None:
        self._wanted, self._market, self._own = wanted, market, own
        self._archive, self._rest = archive, rest

    def paging(self) -> Paging:
        """The question."""
        wanted = self._wanted
        asked = {"market": self._market, **wanted.asked}
        grows_every = length_of(wanted.interval)
        return Paging(wanted.label, asked, self._ask, self._read, wanted.end, grows_every, is_bounded=True)

    @cached_property
    def _until(self) -> int:
        return milliseconds(self._wanted.until)

    def _ask(self, cursor: str | None) -> Answer:
        if cursor is None:
            return self._oldest()
        if "/" in cursor:
            return self._page(*map(int, cursor.split("/")))
        start, end = _span(cursor)
        period = cursor.removeprefix(_FILE_ALONE)
        try:
            rows = self._archive.month_or_day(period)
            return Answer(rows, self._after_file_alone(end) if period != cursor else self._cursor_at(milliseconds(end)))
        except (NotThereError, SpoiledFileError) as error:
            _log.info("%s; %s is had otherwise", error, self._wanted.label)
            if period != cursor:
                return Answer(as_table([]), self._after_file_alone(end))
            # A month may not be out yet or lack its file; its days may have theirs, and the interface has all of them.
            by_days = len(cursor) == len("2024-01") and length_of(self._wanted.interval) < _MANY_BARS
            first = max(milliseconds(start), milliseconds(self._wanted.start))
            following = self._day_at(first) if by_days else self._rest_at(first, milliseconds(end))
            return Answer(as_table([]), following)

    def _oldest(self) -> Answer:
        """The first bar there is: no month before it is asked for."""
        start = milliseconds(self._wanted.start)
        try:
            rows = self._klines(start, self._until - 1, 1)
        except NotAllowedError:
            return Answer(as_table([]), self._cursor_at(start))  # where Binance may not answer, its archive may
        if not len(rows):
            return Answer(rows, None)
        return Answer(rows, self._cursor_at(max(start, int(microseconds_of(rows["open_time"])[0]) // 1_000)))

    def _page(self, since: int, end: int) -> Answer:
        try:
            rows = self._klines(since, min(end, self._until) - 1, _PAGE_ROWS)
        except NotAllowedError as error:
            _log.info("%s; %s is had by files of days alone", error, self._wanted.label)
            return Answer(as_table([]), self._file_alone(instant(since)))
        if len(rows) < _PAGE_ROWS:
            return Answer(rows, self._cursor_at(end))
        opened = microseconds_of(rows["open_time"]) // 1_000
        return Answer(rows, self._rest_at(int(opened.max()) + 1, end))

    def _klines(self, start: int, last: int, limit: int) -> pa.Table:
        interval = exchange_interval(self._wanted.interval)
        asked = {"symbol": self._own, "interval": interval, "startTime": start, "endTime": last, "limit": limit}
        rows = as_table(self._rest.json(_PATHS[self._market], asked))
        opened = microseconds_of(rows["open_time"]) // 1_000
        if len(opened) and not (start <= opened.min() and opened.max() <= last):
            msg = (
                f"{self._wanted.source}, {self._wanted.label}: was asked for bars from {instant(start).isoformat()} to "
                f"{instant(last).isoformat()} and gave others; nothing of that page was taken"
            )
            raise SourceError(msg)
        return rows

    def _cursor_at(self, at: int) -> str | None:
        """Where to go on from an instant: the month's file, where it can be out; else the day's, or the interface."""
        if at >= self._until:
            return None
        day = instant(at).date()
        following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        if following <= self._wanted.now.astimezone(UTC).date():
            return f"{day:%Y-%m}"
        if length_of(self._wanted.interval) < _MANY_BARS:
            return self._day_at(at)
        return self._rest_at(at, self._until)

    def _day_at(self, at: int) -> str | None:
        if at >= self._until:
            return None
        day = instant(at).date()
        is_over = day < self._wanted.now.astimezone(UTC).date()
        return day.isoformat() if is_over else self._rest_at(at, self._until)

    def _file_alone(self, start: datetime) -> str | None:
        """The file of a day where the interface is closed to us: what has none is not to be had."""
        day = start.date()
        is_over = start < self._wanted.until and day < self._wanted.now.astimezone(UTC).date()
        return f"{_FILE_ALONE}{day.isoformat()}" if is_over else None

    def _after_file_alone(self, start: datetime) -> str | None:
        """The following month's file where one begins, else the following day's."""
        month = self._cursor_at(milliseconds(start)) if start.day == 1 else None
        return month if month and len(month) == len("2024-01") else self._file_alone(start)

    def _rest_at(self, since: int, end: int) -> str | None:
        if since >= min(end, self._until):
            return self._cursor_at(end)
        return f"{since}/{end}"

    def _read(self, page: Page) -> Fetched:
        wanted = self._wanted
        if page.cursor is None:
            return self._nothing_before(page)
        rows = wanted.bars(page.rows, "open_time", _COLUMNS, page.fetched_at)
        if "/" not in page.cursor:
            start, end = _span(page.cursor)
            known = wanted.answered(start, end) if len(page.rows) else ()
            name = self._archive.name(page.cursor.removeprefix(_FILE_ALONE))
            return Fetched(rows, f"{wanted.source} {name}", answered=known)
        since, last = map(int, page.cursor.split("/"))
        more = page.following.split("/") if page.following and "/" in page.following else []
        reached = int(more[0]) if more and int(more[1]) == last else last
        end = min(instant(reached) if reached < self._until else wanted.until, page.fetched_at)
        origin = f"{wanted.source} {wanted.symbol} {wanted.interval} from {instant(since).isoformat()}"
        return Fetched(rows, origin, answered=wanted.answered(instant(since), end))

    def _nothing_before(self, page: Page) -> Fetched:
        """What the oldest bar tells: that there is none before it. Its row comes again with its month."""
        wanted, until = self._wanted, page.fetched_at
        if len(page.rows):
            until = instant(int(microseconds_of(page.rows["open_time"])[0]) // 1_000)
        elif page.following:
            until = wanted.start  # it was not allowed to ask
        none = wanted.bars(page.rows.slice(0, 0), "open_time", _COLUMNS, page.fetched_at)
        return Fetched(none, f"{wanted.source} {wanted.label}", answered=wanted.answered(wanted.start, until))


def _span(cursor: str) -> tuple[datetime, datetime]:
    """The month or the day that a cursor names."""
    cursor = cursor.removeprefix(_FILE_ALONE)
    if len(cursor) == len("2024-01"):
        start = datetime.strptime(cursor, "%Y-%m").replace(tzinfo=UTC)
        return start, (start + timedelta(days=32)).replace(day=1)
    start = datetime.strptime(cursor, "%Y-%m-%d").replace(tzinfo=UTC)
    return start, start + timedelta(days=1)
