"""Alpaca: bars of stocks, crypto and options, chains with Greeks, news, splits and dividends.

alpaca-py says what is asked: its request models make the parameters. The asking is ours (`sources.http`), since its
client waits a fixed time whatever Retry-After says, has no timeout, and gathers all pages before it gives any.

Bars are raw (`adjustment=raw`) and of the symbol as it was on that day (`asof=-`): by itself Alpaca would give META's
bars of the years in which it was FB as META's. Daily bars are stamped with midnight in New York, those of crypto with
midnight in Chicago; both become their date (https://docs.alpaca.markets/reference/stockbars, read 2026-11).
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr

from thermocline.errors import SourceError, UsageError
from thermocline.model.partition import ONE_DAY, midnight
from thermocline.ports import Answered, Fetched, FetchRequest, Page
from thermocline.sources import alpaca_rows
from thermocline.sources.contracts import contract_of
from thermocline.sources.options import Options, validated
from thermocline.sources.transport import answers
from thermocline.sources.transport.answers import Record
from thermocline.sources.transport.candles import chosen_symbols, length_of
from thermocline.sources.transport.http import Http
from thermocline.sources.transport.network import Network, key_hint, required_key
from thermocline.sources.transport.paging import Answer, Paging, pages_of
from thermocline.sources.transport.spans import Span, asked_span, chunks
from thermocline.sources.transport.vendor import Vendor

VARIABLES: Mapping[str, tuple[str, ...]] = {
    "key": ("ALPACA_API_KEY", "APCA_API_KEY_ID"),
    "secret": ("ALPACA_SECRET_KEY", "APCA_API_SECRET_KEY"),
}
_NAMES = tuple(variables[0] for variables in VARIABLES.values())

_ROWS = 10_000  # the most a page of bars has, over all its symbols
_SYMBOLS = 100
_ARTICLES = 50
_CONTRACTS = 1_000
_ACTIONS = 1_000
_UNITS = {"min": "Minute", "hour": "Hour", "day": "Day", "week": "Week", "month": "Month"}

# News are sorted by when they were last changed, and nothing says that they are not searched by it.
_LATER_CHANGES = timedelta(days=1)


class AlpacaOptions(Options):
    """Options of `alpaca`; docs/guide/sources.md says more of each."""

    key: SecretStr | None = None
    secret: SecretStr | None = None
    url: str = "https://data.alpaca.markets"
    symbols: tuple[str, ...] = ()
    intervals: tuple[str, ...] = ("1day",)
    feed: Literal["sip", "iex", "otc", "boats", "overnight"] = "sip"
    options_feed: Literal["indicative", "opra"] = "indicative"
    delay_minutes: Annotated[int, Field(ge=0)] = 15
    requests_per_minute: Annotated[float, Field(gt=0)] = 200.0


def open_source(name: str, options: Mapping[str, Any], network: Network) -> "AlpacaSource":
    """The source of that name; nothing is asked yet.

    Raises:
        SettingsError: An option is unknown or wrong.
    """
    return AlpacaSource(name, validated(AlpacaOptions, name, options), network)


class AlpacaSource(Vendor[AlpacaOptions]):
    """Asks Alpaca's market data API."""

    rows_per_page = _ROWS
    """How many bars one request can bring."""

    symbols_per_request = _SYMBOLS
    """How many symbols share a request's pages."""

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """Yield what was asked for, page by page.

        Raises:
            UsageError: Alpaca does not have that dataset, or no symbols are named.
            SettingsError: There is no key.
            SourceError: The extra is not installed, or Alpaca refuses or does not answer.
        """
        ask = {
            "market_data": self._bars,
            "options_data": self._chains,
            "news": self._news,
            "splits": self._actions,
            "dividends": self._actions,
        }.get(request.dataset.name)
        if ask is None:
            has = "market_data, options_data, news, splits and dividends"
            msg = f"source {self._name!r} has {has}, not {request.dataset.name}"
            raise UsageError(msg)
        headers = {
            "APCA-API-KEY-ID": required_key(self._options.key, self._name, "key", *VARIABLES["key"]),
            "APCA-API-SECRET-KEY": required_key(self._options.secret, self._name, "secret", *VARIABLES["secret"]),
        }
        _load()
        calls = self._network.calls(self._name, "alpaca", self._options.requests_per_minute)
        now = request.now or datetime.fromtimestamp(self._network.clock(), UTC)
        with Http(calls, self._options.url, headers=headers, key_hint=key_hint(self._name, *_NAMES)) as http:
            for paging in ask(http, request, now):
                yield from pages_of(paging, self._name, request)

    # ---------------------------------------------------------------------------------------------------------- bars

    def _bars(self, http: Http, request: FetchRequest, now: datetime) -> Iterator[Paging]:
        by_class: dict[str, list[str]] = {}
        for symbol in chosen_symbols(request, self._options.symbols, self._name):
            by_class.setdefault(_asset_class(symbol), []).append(symbol)
        for interval in sorted(request.intervals) or self._options.intervals:
            told_until = now - timedelta(minutes=self._options.delay_minutes)
            span = asked_span(request.days, now)
            for asset_class, symbols in sorted(by_class.items()):
                for some in chunks(symbols, _SYMBOLS):
                    yield self._bars_of(http, _BarsAsked(asset_class, some, interval), span, told_until)

    def _bars_of(self, http: Http, asked: "_BarsAsked", span: Span, told_until: datetime) -> Paging:
        path, parameters = asked.question(span, self._options.feed)
        delay = timedelta(minutes=self._options.delay_minutes)

        def ask(cursor: str | None) -> Answer:
            # What is younger than the delay is refused to who has not paid for it.
            end = min(span.last, told_until)
            if end < span.start:
                return Answer(answers.page_of([]), None)
            given = {**parameters, "end": _spelled(end), "page_token": cursor}
            return answers.answer_of(http, path, given, alpaca_rows.bars_in, _following)

        def read(page: Page) -> Fetched:
            bars = answers.Bars(asked.interval, page.fetched_at - delay)
            rows, unreadable = answers.rows_of(
                page.rows,
                answers.BARS,
                lambda record: bars.rows(asked.asset_class, record["S"], answers.instant(record["t"]), record),
            )
            end = min(span.end, bars.complete_until(asked.asset_class))
            answered = [
                Answered(symbol, asked.interval, span.start, end, asked.asset_class)
                for symbol in asked.symbols
                if page.following is None and end > span.start
            ]
            return Fetched(rows, f"{self._name} {asked.label}", unreadable, answered=tuple(answered))

        length = length_of(asked.interval)
        return Paging(asked.label, {"path": path, **parameters}, ask, read, span.end + length + delay, length)

    # --------------------------------------------------------------------------------------------------------- chains

    def _chains(self, http: Http, request: FetchRequest, now: datetime) -> Iterator[Paging]:
        from alpaca.data.enums import OptionsFeed  # noqa: PLC0415  # an extra
        from alpaca.data.requests import OptionChainRequest  # noqa: PLC0415  # an extra

        if now.date() not in request.days:
            msg = f"source {self._name!r} knows only the chain of now; ask for {now.date()}, or for no range of days"
            raise UsageError(msg)
        for symbol in chosen_symbols(request, self._options.symbols, self._name):
            model = OptionChainRequest(underlying_symbol=symbol, feed=OptionsFeed(self._options.options_feed))
            parameters = {**_plain(model), "limit": _CONTRACTS}
            path = f"/v1beta1/options/snapshots/{parameters.pop('underlying_symbol')}"

            def read(page: Page, symbol: str = symbol) -> Fetched:
                at = page.fetched_at.replace(second=0, microsecond=0)
                rows, unreadable = answers.rows_of(
                    page.rows, answers.CHAINS, lambda record: [alpaca_rows.contract(record, symbol, at)]
                )
                return Fetched(rows, f"{self._name} {symbol} chain", unreadable)

            ask = _asker(http, path, parameters, alpaca_rows.contracts_in)
            asked = {"path": path, **parameters, "day": now.date().isoformat()}
            yield Paging(f"{symbol} chain", asked, ask, read, midnight(now.date()))

    # ----------------------------------------------------------------------------------------------------------- news

    def _news(self, http: Http, request: FetchRequest, now: datetime) -> Iterator[Paging]:
        from alpaca.data.requests import NewsRequest  # noqa: PLC0415  # an extra

        span = asked_span(request.days, now)
        symbols = sorted(request.symbols or self._options.symbols)
        for some in chunks(symbols, _SYMBOLS) if symbols else [[]]:
            model = NewsRequest(
                start=span.start,
                end=span.last + _LATER_CHANGES,
                symbols=",".join(some) or None,
                sort="asc",
                limit=_ARTICLES,
                include_content=True,
            )
            parameters = _plain(model)
            given = {**parameters, "end": _spelled(min(span.last + _LATER_CHANGES, now))}
            path, label = "/v1beta1/news", f"news {'+'.join(some[:3]) or 'all'}"

            def read(page: Page, label: str = label) -> Fetched:
                rows, unreadable = answers.rows_of(page.rows, answers.NEWS, alpaca_rows.articles)
                return Fetched(rows, f"{self._name} {label}", unreadable)

            ask = _asker(http, path, given, lambda found: found.get("news") or [])
            yield Paging(label, {"path": path, **parameters}, ask, read, span.end + _LATER_CHANGES)

    # --------------------------------------------------------------------------------------------- splits, dividends

    def _actions(self, http: Http, request: FetchRequest, now: datetime) -> Iterator[Paging]:
        from alpaca.data.enums import CorporateActionsType  # noqa: PLC0415  # an extra
        from alpaca.data.requests import CorporateActionsRequest  # noqa: PLC0415  # an extra

        is_split = request.dataset.name == "splits"
        kinds = ("forward_split", "reverse_split") if is_split else ("cash_dividend",)
        schema, make = (answers.SPLITS, alpaca_rows.splits) if is_split else (answers.DIVIDENDS, alpaca_rows.dividends)
        span = asked_span(request.days, now)
        symbols = sorted(request.symbols or self._options.symbols)
        for some in chunks(symbols, _SYMBOLS) if symbols else [[]]:
            model = CorporateActionsRequest(
                symbols=list(some) or None,
                types=[CorporateActionsType(kind) for kind in kinds],
                start=span.start.date(),
                end=span.last.date(),
                limit=_ACTIONS,
            )
            parameters = _plain(model)
            path, label = "/v1/corporate-actions", f"{request.dataset.name} {'+'.join(some[:3]) or 'all'}"

            def read(page: Page, label: str = label) -> Fetched:
                rows, unreadable = answers.rows_of(page.rows, schema, make)
                return Fetched(answers.happened(rows, page.fetched_at), f"{self._name} {label}", unreadable)

            ask = _asker(http, path, parameters, alpaca_rows.actions_in)
            yield Paging(label, {"path": path, **parameters}, ask, read, span.end + ONE_DAY)


class _BarsAsked:
    """Some symbols of one class, and the size of their bars."""

    def __init__(self, asset_class: str, symbols: Sequence[str], interval: str) -> None:
        self.asset_class, self.symbols, self.interval = asset_class, symbols, interval
        others = f"+{len(symbols) - 1}" if len(symbols) > 1 else ""
        self.label = f"{symbols[0]}{others} {interval}"

    def question(self, span: Span, feed: str) -> tuple[str, dict[str, Any]]:
        """The path, and the parameters as alpaca-py's models make them."""
        from alpaca.data import requests  # noqa: PLC0415  # an extra
        from alpaca.data.enums import Adjustment, DataFeed  # noqa: PLC0415  # an extra

        common: dict[str, Any] = {
            "symbol_or_symbols": list(self.symbols),
            "timeframe": _timeframe(self.interval),
            "start": span.start,
            "end": span.last,
            "limit": _ROWS,
        }
        if self.asset_class == "crypto":
            return "/v1beta3/crypto/us/bars", _plain(requests.CryptoBarsRequest(**common))
        if self.asset_class == "option":
            return "/v1beta1/options/bars", _plain(requests.OptionBarsRequest(**common))
        model = requests.StockBarsRequest(**common, adjustment=Adjustment.RAW, feed=DataFeed(feed), asof="-")
        return "/v2/stocks/bars", _plain(model)


def _load() -> None:
    """Import alpaca-py, once. It brings a deprecated part of websockets, which nothing here uses."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "websockets", DeprecationWarning)
        try:
            import alpaca.data  # noqa: F401, PLC0415  # an extra
        except ModuleNotFoundError:
            msg = "Alpaca is asked by an extra; install it: pip install 'thermocline[alpaca]'"
            raise SourceError(msg) from None


def _asset_class(symbol: str) -> str:
    if "/" in symbol:
        return "crypto"
    return "option" if contract_of(symbol) else "equity"


def _timeframe(interval: str) -> Any:
    from alpaca.data.timeframe import TimeFrame, TimeFrameUnit  # noqa: PLC0415  # an extra

    count, unit = answers.count_and_unit(interval)
    try:
        return TimeFrame(count, TimeFrameUnit[_UNITS[unit]])
    except (KeyError, ValueError):
        msg = f"Alpaca has no {interval} bars; it has 1min to 59min, 1hour to 23hour, 1day, 1week and some of months"
        raise UsageError(msg) from None


def _plain(model: Any) -> dict[str, Any]:
    """A request's parameters; enumerations and timeframes as what they stand for."""
    fields = {name: getattr(value, "value", value) for name, value in model.to_request_fields().items()}
    return {
        name: ",".join(str(getattr(each, "value", each)) for each in value) if isinstance(value, list) else value
        for name, value in fields.items()
    }


def _spelled(instant: datetime) -> str:
    """To the second; not every path of the API takes fractions."""
    return instant.replace(microsecond=0).isoformat()


def _asker(
    http: Http, path: str, parameters: Mapping[str, Any], records: Callable[[Record], Iterable[Record]]
) -> Callable[[str | None], Answer]:
    return lambda cursor: answers.answer_of(http, path, {**parameters, "page_token": cursor}, records, _following)


def _following(found: Record) -> str | None:
    token: str | None = found.get("next_page_token")
    return token
