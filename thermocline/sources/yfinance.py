"""Yahoo Finance by way of yfinance: bars, splits and dividends. For personal use only, say Yahoo's terms.

yfinance is not affiliated with Yahoo; its authors mean it for research and education, and Yahoo's terms allow personal
use of what comes (https://legal.yahoo.com/us/en/yahoo/terms/product-atos/apiforydn/index.html). There is no contract on
what the interface answers or how often it may be asked.

Asked is yfinance's own session, which looks like a browser and without which Yahoo blocks it, for one chart at a
time. What the chart means is read here (`yahoo_rows`), since `Ticker.history` makes several requests a call, gives
prices that are adjusted for splits as unadjusted ones, and hides errors.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, cast
from urllib.parse import quote

import pyarrow as pa
from pydantic import Field

from thermocline.errors import SourceError, UsageError
from thermocline.model.partition import ONE_DAY, midnight
from thermocline.ports import Answered, Fetched, FetchRequest, Page
from thermocline.sources import yahoo_rows
from thermocline.sources.options import Options, validated
from thermocline.sources.transport import answers
from thermocline.sources.transport.answers import Record, Row
from thermocline.sources.transport.calls import Calls, PassingError, retry_after
from thermocline.sources.transport.candles import chosen_symbols, length_of
from thermocline.sources.transport.http import refusal
from thermocline.sources.transport.network import Network
from thermocline.sources.transport.paging import Answer, Paging, pages_of
from thermocline.sources.transport.spans import Span, asked_span
from thermocline.sources.transport.vendor import Vendor
from thermocline.sources.yahoo_rows import Splits

VARIABLES: Mapping[str, tuple[str, ...]] = {}
"""Yahoo knows no keys."""

_URL = "https://query2.finance.yahoo.com"
_INTERVALS = {"1min": "1m", "2min": "2m", "5min": "5m", "15min": "15m", "1hour": "1h", "1day": "1d"}
# What Yahoo keeps, and how many days of it one chart can show (https://ranaroussi.github.io/yfinance, read 2026-11).
_KEPT_DAYS = {"1min": 30, "2min": 60, "5min": 60, "15min": 60, "1hour": 730}
_CHART_DAYS = {"1min": 7, "2min": 59, "5min": 59, "15min": 59, "1hour": 729}
_PAGE_ROWS = 10_000
_TIMEOUT_SECONDS = 30
_BLOCKED_SECONDS = 60.0  # yfinance does not tell how long Yahoo wants to be left alone


class YFinanceOptions(Options):
    """Options of `yfinance`."""

    symbols: tuple[str, ...] = ()
    intervals: tuple[str, ...] = ("1day",)
    requests_per_minute: Annotated[float, Field(gt=0, le=100_000)] = 30.0
    url: str = _URL


def open_source(name: str, options: Mapping[str, Any], network: Network) -> "YFinanceSource":
    """The source of that name; nothing is asked yet.

    Raises:
        SettingsError: An option is unknown or wrong.
    """
    return YFinanceSource(name, validated(YFinanceOptions, name, options), network)


class YFinanceSource(Vendor[YFinanceOptions]):
    """Asks Yahoo for charts, symbol by symbol."""

    rows_per_page = _PAGE_ROWS
    """How many bars one chart has, about."""

    symbols_per_request = 1
    """A chart is one symbol's."""

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """Yield what was asked for, chart by chart.

        Raises:
            UsageError: Yahoo does not have that dataset or interval, or not that long, or no symbols are named.
            SourceError: The extra is not installed, or Yahoo refuses or does not answer.
        """
        kind = request.dataset.name
        if kind not in {"market_data", "splits", "dividends"}:
            msg = f"source {self._name!r} has market_data, splits and dividends, not {kind}"
            raise UsageError(msg)
        symbols = chosen_symbols(request, self._options.symbols, self._name)
        now = request.now or datetime.fromtimestamp(self._network.clock(), UTC)
        spans = {each: _spans(request, each, now) for each in sorted(request.intervals) or self._options.intervals}
        calls = self._network.calls(self._name, "yahoo", self._options.requests_per_minute)
        yahoo = _Yahoo(calls, self._options.url)
        for symbol in symbols:
            charts: list[Record] = []
            events = list(pages_of(self._events(yahoo, symbol, now, kind, charts), self._name, request))
            if kind != "market_data":
                yield from events
                continue
            splits = _checked(charts[0], self._name, symbol)
            for interval, some in spans.items():
                for span in some:
                    paging = self._bars(yahoo, symbol, interval, span, splits=splits, now=now)
                    yield from pages_of(paging, self._name, request)

    def _events(self, yahoo: "_Yahoo", symbol: str, now: datetime, kind: str, charts: list[Record]) -> Paging:
        """All splits and dividends of a symbol; bars need the splits, too."""
        parameters = {"range": "max", "interval": "3mo", "events": "div,splits"}

        def read(page: Page) -> Fetched:
            charts.extend(answers.records_of(page.rows))
            schema, rows = _EVENTS.get(kind, _EVENTS["splits"])
            found, unreadable = answers.rows_of(page.rows, schema, lambda chart: rows(chart, symbol))
            return Fetched(found, f"{self._name} {symbol} {kind}", unreadable)

        asked = {"chart": symbol, **parameters, "day": now.date().isoformat()}
        return Paging(f"{symbol} events", asked, yahoo.asker(symbol, parameters), read, midnight(now.date()))

    def _bars(
        self, yahoo: "_Yahoo", symbol: str, interval: str, span: Span, *, splits: Splits, now: datetime
    ) -> Paging:
        # An exchange's day may begin on the UTC day before, or end on the one after.
        margin = timedelta(days=1) if interval.endswith("day") else timedelta()
        first, end = (int(each.timestamp()) for each in (span.start - margin, span.end + margin))
        parameters = {"period1": first, "period2": end, "interval": _INTERVALS[interval], "includePrePost": "false"}
        given = {**parameters, "period2": min(end, int((now + ONE_DAY).timestamp()))}

        def read(page: Page) -> Fetched:
            happened = splits.until(page.fetched_at.date())
            rows, unreadable = answers.rows_of(
                page.rows,
                yahoo_rows.BARS,
                lambda chart: yahoo_rows.bar_rows(chart, symbol, interval, page.fetched_at, happened),
            )
            end = min(span.end, page.fetched_at - 2 * length_of(interval))
            (chart,) = answers.records_of(page.rows)
            told = end > span.start and not unreadable
            answered = Answered(symbol, interval, span.start, end, yahoo_rows.asset_class_of(chart)) if told else None
            return Fetched(
                rows, f"{self._name} {symbol} {interval}", unreadable, answered=(answered,) if answered else ()
            )

        length = length_of(interval)
        asked = {"chart": symbol, **parameters}
        label = f"{symbol} {interval} {span.start:%Y-%m-%d}"
        return Paging(label, asked, yahoo.asker(symbol, given), read, span.end + 2 * length, length)


def _splits(chart: Record, symbol: str) -> Iterable[Row]:
    return yahoo_rows.split_rows(chart, symbol)


def _dividends(chart: Record, symbol: str) -> Iterable[Row]:
    return yahoo_rows.dividend_rows(chart, symbol, yahoo_rows.splits_in(chart))


_EVENTS: Mapping[str, tuple[pa.Schema, Callable[[Record, str], Iterable[Row]]]] = {
    "splits": (answers.SPLITS, _splits),
    "dividends": (yahoo_rows.DIVIDENDS, _dividends),
}


def _checked(chart: Record, source: str, symbol: str) -> Splits:
    try:
        return yahoo_rows.splits_in(chart)
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:
        msg = f"{source}: the splits of {symbol} can't be read ({error}); without them no price is known as it was"
        raise SourceError(msg) from error


def _spans(request: FetchRequest, interval: str, now: datetime) -> list[Span]:
    """What to ask for, a chart each.

    Raises:
        UsageError: Yahoo has no such interval, or does not keep it that long.
    """
    if interval not in _INTERVALS:
        msg = f"Yahoo has no {interval} bars that can be relied on; it has {', '.join(_INTERVALS)}"
        raise UsageError(msg)
    span = asked_span(request.days, now)
    if interval not in _KEPT_DAYS:
        return [span] if span.start < span.end else []
    first = midnight((now - timedelta(days=_KEPT_DAYS[interval])).date() + ONE_DAY)
    if span.start < first and request.days.start != date.min:
        msg = (
            f"Yahoo keeps {interval} bars for {_KEPT_DAYS[interval]} days; ask with --start {first.date()} or later, "
            "or for a longer interval"
        )
        raise UsageError(msg)
    start, spans = max(span.start, first), []
    while start < min(span.end, now):
        end = min(start + timedelta(days=_CHART_DAYS[interval]), span.end)
        spans.append(Span(start, end))
        start = end
    return spans


class _Yahoo:
    """Asks for charts by yfinance's session, within the limit and with the patience of `calls`."""

    def __init__(self, calls: Calls, url: str) -> None:
        try:
            from yfinance.data import YfData  # noqa: PLC0415  # an extra
        except ModuleNotFoundError:
            msg = "Yahoo is asked by an extra; install it: pip install 'thermocline[yfinance]'"
            raise SourceError(msg) from None
        self._calls = calls
        self._session = YfData() if url == _URL else YfData(session=_session_to(url))

    def asker(self, symbol: str, parameters: Mapping[str, Any]) -> Callable[[str | None], Answer]:
        """Asks for one chart, which has no further pages."""
        return lambda _: Answer(answers.page_of([self._chart(symbol, parameters)]), None)

    def _chart(self, symbol: str, parameters: Mapping[str, Any]) -> Record:
        from yfinance.exceptions import YFRateLimitError  # noqa: PLC0415  # an extra

        what = f"chart of {symbol}"

        def attempt() -> Record:
            address = f"{_URL}/v8/finance/chart/{quote(symbol)}"
            try:
                response = self._session.get(address, params=dict(parameters), timeout=_TIMEOUT_SECONDS)
            except YFRateLimitError:
                msg = "it answers 429"
                raise PassingError(msg, _BLOCKED_SECONDS) from None
            except Exception as error:  # of two libraries, one of which may not be there
                msg = f"Yahoo can't be reached: {type(error).__name__}: {error}"
                raise PassingError(msg) from error
            try:
                found = response.json()
            except ValueError:
                found = None
            if response.status_code != HTTPStatus.OK:
                wait_seconds = retry_after(response.headers.get("Retry-After"), self._calls.clock())
                raise refusal(self._calls.source, what, response.status_code, _said(found), wait_seconds=wait_seconds)
            return _only_chart(found)

        return self._calls.make(what, attempt)


def _said(found: Any) -> str:
    try:
        return f": {found['chart']['error']['description']}"
    except (KeyError, TypeError):
        return ""


def _only_chart(found: Any) -> Record:
    try:
        (chart,) = found["chart"]["result"]
        yahoo_rows.asset_class_of(chart)
    except (KeyError, TypeError, ValueError):
        msg = f"it answers what is no chart{_said(found)}"
        raise PassingError(msg) from None
    return cast("Record", chart)


def _session_to(url: str) -> Any:
    """A session that asks another address for all that yfinance wants of Yahoo's."""
    from requests import Session  # noqa: PLC0415  # comes with yfinance
    from requests.adapters import HTTPAdapter  # noqa: PLC0415  # as above

    class Elsewhere(HTTPAdapter):
        def send(self, request: Any, *args: Any, **options: Any) -> Any:
            request.url = url.rstrip("/") + request.path_url
            return super().send(request, *args, **options)

    session = Session()
    session.mount("https://", Elsewhere())
    return session
