"""Bars of any exchange that ccxt knows, without a key.

ccxt's own paging and throttling stay off: pages are asked for one by one, each is kept, and the limit is shared by all
processes of a home. Prices come as the exchange wrote them.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Annotated, Any, TypeVar

import pyarrow as pa
from pydantic import Field

from thermocline.errors import SettingsError, SourceError, SourceRefusedError, UsageError
from thermocline.model.url import without_secrets
from thermocline.ports import Fetched, FetchRequest
from thermocline.sources.options import Options, validated
from thermocline.sources.transport.calls import Calls, PassingError, retry_after
from thermocline.sources.transport.candles import Candles, Wanted, bars_only, chosen_symbols, exchange_interval
from thermocline.sources.transport.network import Network
from thermocline.sources.transport.paging import pages_of
from thermocline.sources.transport.vendor import Vendor

T = TypeVar("T")

VARIABLES: Mapping[str, tuple[str, ...]] = {}
"""Bars need no key."""

_PAGE_ROWS = 500
"""Where ccxt does not say how many bars a page of the exchange has."""

_COLUMNS = ("open", "high", "low", "close", "volume")
_SAID_CHARACTERS = 200


class CcxtOptions(Options):
    """Options of `ccxt`."""

    exchange: str | None = None
    symbols: tuple[str, ...] = ()
    intervals: tuple[str, ...] = ("1day",)
    requests_per_minute: Annotated[float, Field(gt=0, le=100_000)] | None = None
    url: str | None = None


def open_source(name: str, options: Mapping[str, Any], network: Network) -> "CcxtSource":
    """The source of that name; nothing is asked yet, nor is ccxt loaded.

    Raises:
        SettingsError: An option is unknown, wrong or missing.
    """
    return CcxtSource(name, validated(CcxtOptions, name, options), network)


class CcxtSource(Vendor[CcxtOptions]):
    """Bars of one exchange, symbol by symbol."""

    rows_per_page = _PAGE_ROWS
    symbols_per_request = 1

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """Yield the bars of the symbols asked for, page by page.

        Raises:
            UsageError: The dataset is not market_data, no symbol is named, or the exchange has no such bars.
            SourceError: The exchange did not answer, or answers what can't be true.
        """
        bars_only(request, self._name)
        symbols = chosen_symbols(request, self._options.symbols, self._name)
        exchange = self._exchange()
        with closing(exchange.session):
            yield from self._fetch(request, symbols, exchange)

    def _fetch(self, request: FetchRequest, symbols: list[str], exchange: Any) -> Iterator[Fetched]:
        per_minute = self._options.requests_per_minute or 60_000 / max(float(exchange.rateLimit), 1.0)
        asking = _Asking(exchange, self._network.calls(self._name, exchange.id, per_minute))
        intervals = sorted(request.intervals) or self._options.intervals
        for interval in intervals:
            if exchange_interval(interval) not in (exchange.timeframes or {}):
                known = ", ".join(map(str, exchange.timeframes or ())) or "none"
                msg = f"{exchange.id} has no bars of {interval}; it has {known}"
                raise UsageError(msg)
        limit = _page_rows(exchange)
        for symbol in symbols:
            for interval in intervals:
                wanted = Wanted.of(request, self._name, symbol, interval)
                if wanted.start >= wanted.until:
                    continue
                asked = {"exchange": exchange.id, "limit": limit}
                columns = {name: name for name in _COLUMNS}
                candles = Candles(wanted, limit, asking.bars(symbol, interval), "timestamp", columns, asked)
                yield from pages_of(candles.paging(), self._name, request)

    def _exchange(self) -> Any:
        try:
            import ccxt  # noqa: PLC0415  # half a second of imports, for those who ask an exchange
        except ModuleNotFoundError:
            msg = "exchanges are asked by way of an extra; install it: pip install 'thermocline[ccxt]'"
            raise SourceError(msg) from None
        named = self._options.exchange
        if named is None or named not in ccxt.exchanges:
            what = f"{named!r} is none" if named else "none is named"
            msg = f"sources.{self._name}.exchange: {what}; write one that ccxt knows, such as kraken, coinbase or bybit"
            raise SettingsError(msg)
        exchange = getattr(ccxt, named)({"enableRateLimit": False, "timeout": 30_000})
        exchange.number = str  # exact, as it was written
        if not exchange.has.get("fetchOHLCV"):
            msg = f"{named} gives no bars; choose another exchange"
            raise SettingsError(msg)
        if self._options.url:
            exchange.urls["api"] = _moved(exchange.urls["api"], self._options.url.rstrip("/"))
        return exchange


class _Asking:
    """One exchange, asked within its limit, and again where it failed for a moment."""

    def __init__(self, exchange: Any, calls: Calls) -> None:
        self._exchange, self._calls = exchange, calls

    def bars(self, symbol: str, interval: str) -> Any:
        """What gives the bars of a symbol from an instant on."""

        def get(since: int, limit: int) -> pa.Table:
            if not self._exchange.markets:
                self._made("its markets", self._exchange.load_markets)
            timeframe = exchange_interval(interval)
            rows = self._made(
                f"{symbol} {interval}", lambda: self._exchange.fetch_ohlcv(symbol, timeframe, since, limit)
            )
            return _table(rows)

        return get

    def _made(self, what: str, request: Any) -> Any:
        import ccxt  # noqa: PLC0415  # is there already

        exchange, source = self._exchange, self._calls.source

        def attempt() -> Any:
            try:
                return request()
            except ccxt.OperationFailed as error:  # timeouts, connections, 429 and 5xx, answers that are no answer
                headers = {key.lower(): value for key, value in (exchange.last_response_headers or {}).items()}
                raise PassingError(
                    _said(error), retry_after(headers.get("retry-after"), self._calls.clock())
                ) from error
            except ccxt.BaseError as error:
                msg = f"{source}: {exchange.id} refuses {what}: {_said(error)}; check the symbol and the interval"
                raise SourceRefusedError(msg) from error

        return self._calls.make(what, attempt)


def _page_rows(exchange: Any) -> int:
    features = (exchange.features or {}).get("spot") or {}
    return int((features.get("fetchOHLCV") or {}).get("limit") or _PAGE_ROWS)


def _table(rows: Any) -> pa.Table:
    """Bars as a table: milliseconds, and texts as the exchange wrote them."""
    columns = list(zip(*(row[:6] for row in rows), strict=True)) if rows else [()] * 6
    texts = {
        name: pa.array([None if value is None else str(value) for value in column], pa.string())
        for name, column in zip(_COLUMNS, columns[1:], strict=True)
    }
    return pa.table({"timestamp": pa.array(columns[0], pa.int64()), **texts})


def _moved(urls: Any, url: str) -> Any:
    """The addresses of an exchange, on another host."""
    if isinstance(urls, Mapping):
        return {name: _moved(inner, url) for name, inner in urls.items()}
    return re.sub(r"^https?://[^/]+", url, urls) if isinstance(urls, str) else urls


def _said(error: Exception) -> str:
    return without_secrets(" ".join(str(error).split())[:_SAID_CHARACTERS]) or type(error).__name__
