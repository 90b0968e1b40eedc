"""Databento's historical API: what it would cost, then a month of one schema at a time, kept as the DBN that came.

The SDK makes the requests, since each of its calls is one request, and its errors tell status and headers. What is
younger than the data of the account is not asked for: Databento refuses a range that ends later.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from thermocline.errors import SourceError, UsageError
from thermocline.model.partition import ONE_DAY, DayRange, midnight
from thermocline.ports import Answered, Fetched, FetchRequest, Page
from thermocline.sources.contracts import contract_of
from thermocline.sources.dbn import BARS, Names, asset_class_of, open_dbn
from thermocline.sources.dbn_files import fetched
from thermocline.sources.transport.answers import BARS as BARS_SCHEMA
from thermocline.sources.transport.answers import CHAINS
from thermocline.sources.transport.calls import Calls, PassingError, retry_after
from thermocline.sources.transport.candles import length_of
from thermocline.sources.transport.http import refusal
from thermocline.sources.transport.paging import Answer, Paging
from thermocline.sources.transport.spans import Span, asked_span, chunks

T = TypeVar("T")

_SYMBOLS = 2_000
_OPRA_ROOT = 6
_SHOWN_CHARACTERS = 200
_DBN = "dbn"


@dataclass(frozen=True)
class Part:
    """What one request asks for: a month or less of some symbols in one schema."""

    dataset: str
    schema: str
    symbols: tuple[str, ...]
    stype: str
    span: Span

    @property
    def label(self) -> str:
        """What it is called for people."""
        others = f"+{len(self.symbols) - 1}" if len(self.symbols) > 1 else ""
        return f"{self.symbols[0]}{others} {self.schema} {self.span.start:%Y-%m-%d}"

    def parameters(self, end: datetime) -> dict[str, Any]:
        """As the SDK takes them."""
        return {
            "dataset": self.dataset,
            "schema": self.schema,
            "symbols": [_theirs(symbol, self.dataset) for symbol in self.symbols],
            "stype_in": self.stype,
            "start": self.span.start.isoformat(),
            "end": end.isoformat(),
        }


class Api:
    """Databento's API by its SDK, within the limit and with the patience of `calls`."""

    def __init__(self, calls: Calls, url: str, key: str, key_hint: str) -> None:
        """Nothing is asked yet."""
        self._calls, self._url, self._key, self._key_hint = calls, url, key, key_hint
        self._ends: dict[str, datetime] = {}

    def available_until(self, dataset: str) -> datetime:
        """Up to when the account may see a dataset; asked once."""
        if dataset not in self._ends:
            found = self._made("get_dataset_range", lambda: self._metadata().get_dataset_range(dataset))
            try:
                self._ends[dataset] = datetime.fromisoformat(str(found["end"])[:26].rstrip("Z")).replace(tzinfo=UTC)
            except (KeyError, TypeError, ValueError) as error:
                msg = f"{self._url}: the range of {dataset} has another form than is documented: {error}"
                raise SourceError(msg) from error
        return self._ends[dataset]

    def cost_usd(self, part: Part, end: datetime) -> float:
        """What a part costs, by Databento's own reckoning."""
        return float(self._made("get_cost", lambda: self._metadata().get_cost(**part.parameters(end))))

    def download(self, part: Part, end: datetime) -> bytes:
        """The part as DBN; this is what costs."""

        def get() -> bytes:
            from databento.historical.api.timeseries import TimeseriesHttpAPI  # noqa: PLC0415  # an extra

            found: bytes = TimeseriesHttpAPI(self._key, self._url).get_range(**part.parameters(end)).raw
            try:
                open_dbn(found)
            except SourceError as error:
                raise PassingError(str(error)) from None
            return found

        return self._made(f"get_range of {part.label}", get)

    def _metadata(self) -> Any:
        from databento.historical.api.metadata import MetadataHttpAPI  # noqa: PLC0415  # an extra

        # Not by `Historical`, which turns any address into one of https.
        return MetadataHttpAPI(self._key, self._url)

    def _made(self, what: str, call: Callable[[], T]) -> T:
        from databento.common.error import BentoError, BentoHttpError  # noqa: PLC0415  # an extra
        from requests import RequestException  # noqa: PLC0415  # comes with it

        def attempt() -> T:
            try:
                return call()
            except BentoHttpError as error:
                wait_seconds = retry_after(error.headers.get("Retry-After"), self._calls.clock())
                said = f": {self._hidden(str(error.message))}" if error.message else ""
                raise refusal(
                    self._calls.source,
                    f"{self._url} {what}",
                    error.http_status,
                    said,
                    key_hint=self._key_hint,
                    wait_seconds=wait_seconds,
                ) from None
            except (BentoError, RequestException, ValueError) as error:
                msg = f"{self._url} sent what can't be read, or could not be reached: {self._hidden(str(error))}"
                raise PassingError(msg) from None

        return self._calls.make(what, attempt)

    def _hidden(self, text: str) -> str:
        return " ".join(text.split())[:_SHOWN_CHARACTERS].replace(self._key, "***")


def parts_of(
    request: FetchRequest,
    now: datetime,
    *,
    dataset: str,
    schemas: Sequence[str],
    intervals: Sequence[str],
    symbols: Sequence[str],
    stype: str,
) -> list[Part]:
    """What has to be asked for, month by month.

    Raises:
        UsageError: Databento has no bars of that interval, or no range of days is named.
    """
    if request.days.start == date.min:
        msg = "Databento is asked for a range of days, since it costs; name the first with --start"
        raise UsageError(msg)
    own = {interval: schema for schema, interval in BARS.items()}
    wrong = [interval for interval in intervals if interval not in own]
    if wrong:
        msg = f"Databento has no {wrong[0]} bars; it has {', '.join(own)}"
        raise UsageError(msg)
    wanted = [own[interval] for interval in intervals] or list(schemas)
    span = asked_span(request.days, now)
    months = [month for month in _months(span) if month.start < now] if span.start < span.end else []
    return [
        Part(dataset, schema, tuple(some), stype, month)
        for schema in wanted
        for some in chunks(symbols, _SYMBOLS)
        for month in months
    ]


def cost_within(api: Api, source: str, parts: Sequence[Part], max_cost_usd: float) -> None:
    """Ask what parts cost, and go on only if that is allowed.

    Raises:
        SourceError: It costs more than `max_cost_usd`; nothing of it was fetched.
    """
    costs = [api.cost_usd(part, end) for part in parts if (end := _end(api, part)) > part.span.start]
    cost = sum(costs)
    if cost <= max_cost_usd:
        return
    asked = f"{parts[0].dataset} {parts[0].label} and {len(parts) - 1} more" if parts[1:] else parts[0].label
    msg = (
        f"{source}: {asked}: Databento reckons ${cost:.2f}, and max_cost_usd is {max_cost_usd:g}; nothing of it was "
        f"fetched and nothing is owed. To pay that, run it again with --option max_cost_usd={_cents_up(cost)}, or set "
        f"sources.{source}.max_cost_usd in thermocline.yaml"
    )
    raise SourceError(msg)


def paging_of(api: Api, part: Part, source: str, allow: Callable[[], None], publisher: int | None = None) -> Paging:
    """A part as a question of one page. `allow` is called before it is asked, and raises where it may not be."""

    def ask(_: str | None) -> Answer:
        allow()
        end = _end(api, part)
        content = [api.download(part, end)] if end > part.span.start else []
        return Answer(pa.table({_DBN: pa.array(content, pa.large_binary())}), None)

    def read(page: Page) -> Fetched:
        content = page.rows[_DBN].to_pylist()
        if not content:
            return Fetched(_nothing(part), part.label)
        return _read(content[0], part, source, page.fetched_at, publisher)

    asked = {**part.parameters(part.span.end), "symbols": list(part.symbols)}
    interval = BARS.get(part.schema)
    grows_every = length_of(interval) if interval else timedelta(minutes=1)
    return Paging(part.label, asked, ask, read, part.span.end + ONE_DAY, grows_every)


def _read(content: bytes, part: Part, source: str, fetched_at: datetime, publisher: int | None) -> Fetched:
    file, origin = open_dbn(content), f"{source} {part.label}"
    pages = list(fetched(file, Names(), origin, publisher))
    rows = pa.concat_tables([page.rows for page in pages]) if pages else _nothing(part)
    unreadable = tuple(each for page in pages for each in page.unreadable)
    interval = BARS.get(part.schema)
    if interval is None:
        return Fetched(rows, origin, unreadable)
    until = min(file.end or part.span.end, fetched_at)
    last = until - length_of(interval)
    rows = rows.filter(pc.less_equal(rows["ts"].cast(pa.timestamp("ns", "UTC")), pa.scalar(last)))
    # Its days are those of UTC.
    end = min(part.span.end, midnight(until.date()) if interval == "1day" else last + timedelta(microseconds=1))
    answered = tuple(
        Answered(symbol, interval, part.span.start, end, asset_class_of(part.dataset, symbol))
        for symbol in part.symbols
        if end > part.span.start
    )
    return Fetched(rows, origin, unreadable, answered=answered)


def _nothing(part: Part) -> pa.Table:
    return (BARS_SCHEMA if part.schema in BARS else CHAINS).empty_table()


def _end(api: Api, part: Part) -> datetime:
    return min(part.span.end, api.available_until(part.dataset))


def _months(span: Span) -> list[Span]:
    days = DayRange(span.start.date(), span.end.date())
    starts = [days.start, *(day for day in days if day.day == 1 and day > days.start), days.end]
    return [Span(midnight(first), midnight(end)) for first, end in pairwise(starts)]


def _theirs(symbol: str, dataset: str) -> str:
    """A contract's symbol as OPRA pads it."""
    contract = contract_of(symbol) if dataset == "OPRA.PILLAR" else None
    return contract.root.ljust(_OPRA_ROOT) + contract.symbol[len(contract.root) :] if contract else symbol


def _cents_up(cost: float) -> str:
    return f"{math.ceil(cost * 100) / 100:.2f}"
