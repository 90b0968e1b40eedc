"""Bars of Binance without a key: whole months and days from its archive, and its interface for what has no file yet.

The archive (data.binance.vision) has a zip for each month and each day, with a SHA-256 beside it. Times in it are
milliseconds, in files of spot from 2025 on microseconds; some files begin with a line of names. A month comes with
its first days over, so the newest days are asked for by the interface, page by page.
"""

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import Field

from thermocline.errors import SourceError, UsageError
from thermocline.model.partition import ONE_DAY
from thermocline.ports import Fetched, FetchRequest, Page
from thermocline.sources.binance_archive import UNTOLD, Archive, SpoiledFileError, as_table, is_untold
from thermocline.sources.options import Options, validated
from thermocline.sources.transport.candles import (
    Wanted,
    bars_only,
    chosen_symbols,
    exchange_interval,
    instant,
    length_of,
    microseconds_of,
    milliseconds,
)
from thermocline.sources.transport.http import Http, NotAllowedError, NotThereError
from thermocline.sources.transport.network import Network
from thermocline.sources.transport.paging import Answer, Paging, pages_of
from thermocline.sources.transport.vendor import Vendor

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
    files: bool | None = None
    archive_url: str = "https://data.binance.vision"
    url: str | None = None


def open_source(name: str, options: Mapping[str, Any], network: Network) -> "BinanceSource":
    """The source of that name; nothing is asked yet.

    Raises:
        SettingsError: An option is unknown or wrong.
    """
    return BinanceSource(name, validated(BinanceOptions, name, options), network)


class BinanceSource(Vendor[BinanceOptions]):
    """Bars of spot (`BTC/USDT`), USD-margined (`BTC/USDT:USDT`) and coin-margined (`BTC/USD:BTC`) markets."""

    rows_per_page = 44_640
    """A month of minutes."""

    symbols_per_request = 1

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
                        by_files = _has_files(interval) if options.files is None else options.files
                        files = Archive(archive, market, own, interval)
                        series = _Series(wanted, market, own, files, rest, by_files=by_files)
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


def _has_files(interval: str) -> bool:
    """Whether a month's file brings more bars than a page of the interface, which takes one request and not two."""
    return timedelta(days=28) / length_of(interval) > _PAGE_ROWS


class _Series:
    """One symbol and interval. By files: first its oldest bar, then its months, then what has no file yet.

    A cursor is a month (`2024-01`), a day (`2024-01-15`), or milliseconds since 1970 with those at which to go back to
    files (`1705276800000/1706745600000`). `file:2024-01` and `file:2024-01-15` are what the interface may not give.
    """

    def __init__(
        self, wanted: Wanted, market: Market, own: str, archive: Archive, rest: Http, *, by_files: bool
    ) -> None:
        self._wanted, self._market, self._own = wanted, market, own
        self._archive, self._rest, self._by_files = archive, rest, by_files

    def paging(self) -> Paging:
        """The question."""
        wanted = self._wanted
        asked = {"market": self._market, "files": self._by_files, **wanted.asked}
        grows_every = length_of(wanted.interval)
        return Paging(wanted.label, asked, self._ask, self._read, wanted.end, grows_every, is_bounded=True)

    @cached_property
    def _until(self) -> int:
        return milliseconds(self._wanted.until)

    def _ask(self, cursor: str | None) -> Answer:
        if cursor is None:
            since = milliseconds(self._wanted.start)
            return self._oldest(since) if self._by_files else self._page(since, self._until)
        if "/" in cursor:
            return self._page(*map(int, cursor.split("/")))
        start, end = _span(cursor)
        alone = cursor.startswith(_FILE_ALONE)
        try:
            rows = self._archive.month_or_day(cursor.removeprefix(_FILE_ALONE))
            return Answer(rows, self._file_alone(end) if alone else self._cursor_at(milliseconds(end)))
        except (NotThereError, SpoiledFileError) as error:
            _log.info("%s; %s is had otherwise", error, self._wanted.label)
        # A month may not be out yet or lack its file; its days may have theirs, and the interface has all of them.
        is_month = end - start > ONE_DAY
        first = max(start, self._wanted.start)
        if alone:
            return Answer(UNTOLD, self._day_alone(first) if is_month else self._file_alone(end))
        by_days = is_month and length_of(self._wanted.interval) < _MANY_BARS
        at = milliseconds(first)
        return Answer(UNTOLD, self._day_at(at) if by_days else self._rest_at(at, milliseconds(end)))

    def _oldest(self, start: int) -> Answer:
        """The first bar there is: no month before it is asked for."""
        try:
            rows = self._klines(start, self._until - 1, 1)
        except NotAllowedError:
            return Answer(UNTOLD, self._cursor_at(start))  # where Binance may not answer, its archive may
        if not len(rows):
            return Answer(rows, None)
        return Answer(rows, self._cursor_at(max(start, int(microseconds_of(rows["open_time"])[0]) // 1_000)))

    def _page(self, since: int, end: int) -> Answer:
        try:
            rows = self._klines(since, min(end, self._until) - 1, _PAGE_ROWS)
        except NotAllowedError as error:
            _log.info("%s; %s is had by files alone", error, self._wanted.label)
            return Answer(UNTOLD, self._file_alone(instant(since), is_first=True))
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
        if self._by_files and following <= self._today:
            return f"{day:%Y-%m}"
        if self._by_files and length_of(self._wanted.interval) < _MANY_BARS:
            return self._day_at(at)
        return self._rest_at(at, self._until)

    def _day_at(self, at: int) -> str | None:
        if at >= self._until:
            return None
        day = instant(at).date()
        return day.isoformat() if day < self._today else self._rest_at(at, self._until)

    def _file_alone(self, at: datetime, *, is_first: bool = False) -> str | None:
        """Where to go on while the interface is closed to us: the month's file where one begins, else the day's."""
        first = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        is_out = (first + timedelta(days=32)).replace(day=1).date() <= self._today
        if at < self._wanted.until and is_out and (is_first or at == first):
            return f"{_FILE_ALONE}{at:%Y-%m}"
        return self._day_alone(at)

    def _day_alone(self, at: datetime) -> str | None:
        is_over = at < self._wanted.until and at.date() < self._today
        return f"{_FILE_ALONE}{at:%Y-%m-%d}" if is_over else None

    @property
    def _today(self) -> date:
        return self._wanted.now.astimezone(UTC).date()

    def _rest_at(self, since: int, end: int) -> str | None:
        if since >= min(end, self._until):
            return self._cursor_at(end)
        return f"{since}/{end}"

    def _read(self, page: Page) -> Fetched:
        wanted = self._wanted
        rows = wanted.bars(page.rows, "open_time", _COLUMNS, page.fetched_at)
        if page.cursor and "/" not in page.cursor:
            start, end = _span(page.cursor)
            origin = f"{wanted.source} {self._archive.name(page.cursor.removeprefix(_FILE_ALONE))}"
        elif page.cursor is None and self._by_files:
            start, end = wanted.start, self._opens(page)
            origin, rows = f"{wanted.source} {wanted.label}", rows.slice(0, 0)  # the oldest bar comes with its month
        else:
            start, end = self._reached(page)
            origin = f"{wanted.source} {wanted.symbol} {wanted.interval} from {start.isoformat()}"
        told = wanted.answered(start, min(end, page.fetched_at))
        return Fetched(rows, origin, answered=() if is_untold(page.rows) else told)

    def _opens(self, page: Page) -> datetime:
        """When the oldest bar opens: there is none before it."""
        opened = microseconds_of(page.rows["open_time"])
        return instant(int(opened[0]) // 1_000) if len(opened) else page.fetched_at

    def _reached(self, page: Page) -> tuple[datetime, datetime]:
        """The span that a page of the interface told all of."""
        since, last = map(int, page.cursor.split("/")) if page.cursor else (milliseconds(self._wanted.start), None)
        more = list(map(int, page.following.split("/"))) if page.following and "/" in page.following else []
        if more and more[1] == (last or more[1]):
            return instant(since), instant(more[0])
        return instant(since), instant(last) if last else page.fetched_at


def _span(cursor: str) -> tuple[datetime, datetime]:
    """The month or the day that a cursor names."""
    cursor = cursor.removeprefix(_FILE_ALONE)
    if len(cursor) == len("2024-01"):
        start = datetime.strptime(cursor, "%Y-%m").replace(tzinfo=UTC)
        return start, (start + timedelta(days=32)).replace(day=1)
    start = datetime.strptime(cursor, "%Y-%m-%d").replace(tzinfo=UTC)
    return start, start + timedelta(days=1)
