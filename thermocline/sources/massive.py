"""Massive, formerly Polygon: bars, whole days of the market, option chains, news, splits, dividends, symbol history.

Massive's own client says what is asked: each question is one of its methods, called on a client whose connection pool
only listens. The asking is ours (`sources.http`): of an answer that is refused the client tells neither the status
nor Retry-After, and it repeats requests without regard to other processes.

Bars are raw (`adjusted=false`). Daily bars are stamped with midnight in New York (stocks, options, indices) or in UTC
(crypto, forex), and become their date. The cursor is `next_url` without its host
(https://massive.com/docs/rest/stocks/aggregates/custom-bars, read 2026-11).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
from pydantic import Field, SecretStr

from thermocline.errors import SourceError, UsageError
from thermocline.model.partition import ONE_DAY, DayRange, midnight
from thermocline.ports import Answered, Fetched, FetchRequest, Page
from thermocline.sources import massive_rows
from thermocline.sources.contracts import contract_of
from thermocline.sources.options import Options, validated
from thermocline.sources.transport import answers
from thermocline.sources.transport.answers import Record, Row
from thermocline.sources.transport.candles import chosen_symbols, length_of
from thermocline.sources.transport.http import Http
from thermocline.sources.transport.network import Network, key_hint, required_key
from thermocline.sources.transport.paging import Answer, Paging, pages_of
from thermocline.sources.transport.spans import Span, asked_span
from thermocline.sources.transport.vendor import Vendor

VARIABLES: Mapping[str, tuple[str, ...]] = {"key": ("MASSIVE_API_KEY", "POLYGON_API_KEY")}

_BARS = 50_000  # base bars that one page is made of
_CONTRACTS = 250
_REFERENCES = 1_000
_UNITS = {"sec": "second", "min": "minute", "hour": "hour", "day": "day", "week": "week", "month": "month"}
_PREFIXES = {"equity": "", "index": "I:", "option": "O:", "crypto": "X:", "forex": "C:"}
_SATURDAY = 5

Question = Callable[[Any], Any]


class MassiveOptions(Options):
    """Options of `massive`; docs/guide/sources.md says more of each."""

    key: SecretStr | None = None
    url: str = "https://api.massive.com"
    symbols: tuple[str, ...] = ()
    intervals: tuple[str, ...] = ("1day",)
    asset_class: Literal["equity", "index", "crypto", "forex"] = "equity"
    delay_minutes: Annotated[int, Field(ge=0)] = 15
    requests_per_minute: Annotated[float, Field(gt=0)] = 5.0


def open_source(name: str, options: Mapping[str, Any], network: Network) -> "MassiveSource":
    """The source of that name; nothing is asked yet.

    Raises:
        SettingsError: An option is unknown or wrong.
    """
    return MassiveSource(name, validated(MassiveOptions, name, options), network)


class MassiveSource(Vendor[MassiveOptions]):
    """Asks Massive's REST API."""

    rows_per_page = _BARS
    """How many bars one request can bring."""

    symbols_per_request = 1
    """How many symbols share a request's pages."""

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """Yield what was asked for, page by page.

        Raises:
            UsageError: Massive does not have that dataset, or no symbols are named where it needs them.
            SettingsError: There is no key.
            SourceError: The extra is not installed, or Massive refuses or does not answer.
        """
        ask = {
            "market_data": self._bars,
            "options_data": self._chains,
            "news": self._lists,
            "splits": self._lists,
            "dividends": self._lists,
            "instruments": self._instruments,
        }.get(request.dataset.name)
        if ask is None:
            msg = (
                f"source {self._name!r} has market_data, options_data, news, splits, dividends and instruments, "
                f"not {request.dataset.name}"
            )
            raise UsageError(msg)
        key = required_key(self._options.key, self._name, "key", *VARIABLES["key"])
        calls = self._network.calls(self._name, "massive", self._options.requests_per_minute)
        now = request.now or datetime.fromtimestamp(self._network.clock(), UTC)
        headers = {"Authorization": f"Bearer {key}"}
        with Http(calls, self._options.url, headers=headers, key_hint=key_hint(self._name, *VARIABLES["key"])) as http:
            asker = _Asker(http, self._name)
            for paging in ask(asker, request, now):
                yield from pages_of(paging, self._name, request)

    # ---------------------------------------------------------------------------------------------------------- bars

    def _bars(self, asker: "_Asker", request: FetchRequest, now: datetime) -> Iterator[Paging]:
        symbols = sorted(request.symbols or self._options.symbols)
        for interval in sorted(request.intervals) or self._options.intervals:
            if not symbols:
                yield from self._whole_days(asker, request, interval, now)
            for symbol in symbols:
                yield self._bars_of(asker, symbol, interval, request.days, now)

    def _bars_of(self, asker: "_Asker", symbol: str, interval: str, days: DayRange, now: datetime) -> Paging:
        asset_class = "option" if contract_of(symbol) else self._options.asset_class
        count, unit = answers.count_and_unit(interval)
        span, delay = asked_span(days, now), timedelta(minutes=self._options.delay_minutes)
        first, last = (int(each.timestamp() * 1_000) for each in (span.start, span.last))

        def question(client: Any) -> Any:
            ticker = _ticker(symbol, asset_class)
            return client.list_aggs(
                ticker, count, _UNITS[unit], first, last, adjusted=False, sort="asc", limit=_BARS, raw=True
            )

        def read(page: Page) -> Fetched:
            bars = answers.Bars(interval, page.fetched_at - delay)
            rows, unreadable = answers.rows_of(
                page.rows,
                answers.BARS,
                lambda record: bars.rows(asset_class, symbol, answers.milliseconds(record["t"]), record),
            )
            end = min(span.end, bars.complete_until(asset_class))
            told = page.following is None and end > span.start
            answered = (Answered(symbol, interval, span.start, end, asset_class),) if told else ()
            return Fetched(rows, f"{self._name} {symbol} {interval}", unreadable, answered=answered)

        length = length_of(interval)
        return asker.paging(f"{symbol} {interval}", question, read, span.end + length + delay, length)

    def _whole_days(self, asker: "_Asker", request: FetchRequest, interval: str, now: datetime) -> Iterator[Paging]:
        """The daily bars of all US stocks, a request a day."""
        if interval != "1day" or self._options.asset_class != "equity" or request.days.start == date.min:
            msg = (
                f"source {self._name!r} gives all symbols at once only as daily bars of stocks, for a range of days; "
                f"name some with --symbol, or put them under sources.{self._name}.symbols in thermocline.yaml"
            )
            raise UsageError(msg)
        delay = timedelta(minutes=self._options.delay_minutes)
        span = asked_span(request.days, now)
        for day in DayRange(span.start.date(), span.end.date()) if span.end > span.start else ():
            over = answers.session_end(day) + delay
            if day.weekday() >= _SATURDAY or over > now:
                continue

            def question(client: Any, day: date = day) -> Any:
                return client.get_grouped_daily_aggs(day, adjusted=False, raw=True)

            def read(page: Page, day: date = day) -> Fetched:
                bars = answers.Bars("1day", page.fetched_at - delay)
                # They are stamped with the close; what they belong to is the day that was asked for.
                opens = answers.session_end(day) - ONE_DAY
                rows, unreadable = answers.rows_of(
                    page.rows, answers.BARS, lambda record: bars.rows("equity", record["T"], opens, record)
                )
                return Fetched(rows, f"{self._name} all 1day {day}", unreadable)

            yield asker.paging(f"all 1day {day}", question, read, over)

    # -------------------------------------------------------------------------------------------- chains and the rest

    def _chains(self, asker: "_Asker", request: FetchRequest, now: datetime) -> Iterator[Paging]:
        if now.date() not in request.days:
            msg = f"source {self._name!r} knows only the chain of now; ask for {now.date()}, or for no range of days"
            raise UsageError(msg)
        for symbol in chosen_symbols(request, self._options.symbols, self._name):

            def question(client: Any, symbol: str = symbol) -> Any:
                ticker = _ticker(symbol, self._options.asset_class)
                return client.list_snapshot_options_chain(ticker, params={"limit": _CONTRACTS}, raw=True)

            def read(page: Page, symbol: str = symbol) -> Fetched:
                at = page.fetched_at.replace(second=0, microsecond=0)
                rows, unreadable = answers.rows_of(
                    page.rows, answers.CHAINS, lambda record: [massive_rows.contract(record, symbol, at)]
                )
                return Fetched(rows, f"{self._name} {symbol} chain", unreadable)

            yield asker.paging(f"{symbol} chain", question, read, midnight(now.date()), day=now.date().isoformat())

    def _lists(self, asker: "_Asker", request: FetchRequest, now: datetime) -> Iterator[Paging]:
        """What has no intervals: of each symbol, or of all that there are."""
        asked, span = _LISTS[request.dataset.name], asked_span(request.days, now)
        symbols: list[str | None] = [*sorted(request.symbols or self._options.symbols)]
        for symbol in symbols or [None]:
            label = f"{request.dataset.name} {symbol or 'all'}"

            def question(client: Any, symbol: str | None = symbol) -> Any:
                return asked.question(client, symbol, span)

            def read(page: Page, label: str = label) -> Fetched:
                rows, unreadable = answers.rows_of(page.rows, asked.schema, asked.make)
                return Fetched(answers.happened(rows, page.fetched_at), f"{self._name} {label}", unreadable)

            yield asker.paging(label, question, read, span.end)

    def _instruments(self, asker: "_Asker", request: FetchRequest, now: datetime) -> Iterator[Paging]:
        chosen_symbols(request, self._options.symbols, self._name)  # all that there are can't be asked for
        return self._lists(asker, request, now)


# ----------------------------------------------------------------------------------------------------------- questions


@dataclass(frozen=True)
class _List:
    """How a dataset is asked for, and what its records are."""

    question: Callable[[Any, str | None, Span], Any]
    schema: pa.Schema
    make: Callable[[Record], Iterable[Row]]


def _news(client: Any, symbol: str | None, span: Span) -> Any:
    first, end = (f"{each:%Y-%m-%dT%H:%M:%SZ}" for each in (span.start, span.end))
    within = {"published_utc_gte": first, "published_utc_lt": end}
    return client.list_ticker_news(symbol, **within, limit=_REFERENCES, sort="published_utc", order="asc", raw=True)


def _splits(client: Any, symbol: str | None, span: Span) -> Any:
    within = {"execution_date_gte": f"{span.start:%Y-%m-%d}", "execution_date_lt": f"{span.end:%Y-%m-%d}"}
    return client.list_stocks_splits(symbol, **within, limit=_REFERENCES, raw=True)


def _dividends(client: Any, symbol: str | None, span: Span) -> Any:
    within = {"ex_dividend_date_gte": f"{span.start:%Y-%m-%d}", "ex_dividend_date_lt": f"{span.end:%Y-%m-%d}"}
    return client.list_stocks_dividends(symbol, **within, limit=_REFERENCES, raw=True)


def _events(client: Any, symbol: str | None, _: Span) -> Any:
    return client.get_ticker_events(symbol, types="ticker_change", raw=True)


_LISTS: Mapping[str, _List] = {
    "news": _List(_news, answers.NEWS, massive_rows.articles),
    "splits": _List(_splits, answers.SPLITS, massive_rows.splits),
    "dividends": _List(_dividends, answers.DIVIDENDS, massive_rows.dividends),
    "instruments": _List(_events, answers.INSTRUMENTS, massive_rows.symbols),
}


# ------------------------------------------------------------------------------------------------------------- asking


class _Listening:
    """Stands where the client keeps its connections, and only hears what it would ask."""

    status = 200

    def __init__(self) -> None:
        self.path = ""
        self.parameters: dict[str, Any] = {}

    def request(self, _method: str, url: str, fields: Mapping[str, Any] | None = None, **_: Any) -> "_Listening":
        self.path, self.parameters = url, dict(fields or {})
        return self


class _Asker:
    """Asks what the client's methods would ask."""

    def __init__(self, http: Http, source: str) -> None:
        try:
            from massive import RESTClient  # noqa: PLC0415  # an extra
        except ModuleNotFoundError:
            msg = "Massive is asked by an extra; install it: pip install 'thermocline[massive]'"
            raise SourceError(msg) from None
        self._http, self._source = http, source
        self._client = RESTClient(api_key="of the transport", base="")
        self._listening = self._client.client = _Listening()

    def paging(
        self,
        label: str,
        question: Question,
        read: Callable[[Page], Fetched],
        ends: datetime,
        grows_every: timedelta = timedelta(minutes=1),
        **asked: str,
    ) -> Paging:
        """A question to be asked page by page; what `asked` says besides tells it from others."""
        question(self._client)
        path, parameters = self._listening.path, dict(self._listening.parameters)

        def ask(cursor: str | None) -> Answer:
            if cursor is None:
                return answers.answer_of(self._http, path, parameters, _results, _following)
            parts = urlsplit(cursor)
            return answers.answer_of(self._http, parts.path, dict(parse_qsl(parts.query)), _results, _following)

        return Paging(label, {"path": path, **parameters, **asked}, ask, read, ends, grows_every)


def _results(found: Record) -> Iterable[Record]:
    results = found.get("results") or []
    return [results] if isinstance(results, dict) else results


def _following(found: Record) -> str | None:
    """Where the next page is, on whatever host we ask."""
    if not (url := found.get("next_url")):
        return None
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def _ticker(symbol: str, asset_class: str) -> str:
    """As Massive writes it: `X:BTCUSD` for BTC/USD."""
    return _PREFIXES[asset_class] + symbol.replace("/", "")
