"""Filings with the US Securities and Exchange Commission as news: from files of EDGAR, or from EDGAR itself.

With a `path` its files are read: daily indices (`form.20200318.idx`), submissions of companies, and
company_tickers.json for their symbols. Without one, EDGAR is asked: for the submissions of the companies whose symbols
are named, else for the index of each day. EDGAR wants to know who asks (`contact`), and lets ten requests a second pass
(https://www.sec.gov/search-filings/edgar-search-assistance/accessing-edgar-data, read 2026-11).
"""

import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pyarrow as pa
from pydantic import AfterValidator, Field

from thermocline.errors import SettingsError, SourceError, UsageError
from thermocline.model.partition import ONE_DAY, DayRange, midnight
from thermocline.ports import Fetched, FetchRequest, Page
from thermocline.sources.options import Options, validated
from thermocline.sources.sec_filings import (
    AcceptedIn,
    Filing,
    Tickers,
    Unreadable,
    index_filings,
    load,
    news_of,
    submission_filings,
    symbol_of,
    tickers_of,
)
from thermocline.sources.transport.http import Http, NotAllowedError, NotThereError
from thermocline.sources.transport.network import Network
from thermocline.sources.transport.paging import Answer, Paging, pages_of
from thermocline.sources.transport.vendor import Vendor

if TYPE_CHECKING:
    import httpx

VARIABLES: Mapping[str, tuple[str, ...]] = {}

_SUBMISSIONS = re.compile(r"cik\d{10}.*\.json|.*submissions.*\.json", re.IGNORECASE)
_TICKERS = re.compile(r".*tickers.*\.json", re.IGNORECASE)
_QUARTER_MONTHS = 3
_WORKDAYS = 5
_FIRST_INDEX = date(1994, 7, 1)


def _contact(text: str) -> str:
    if "@" not in text or not text.isprintable():
        msg = "EDGAR wants a name and an e-mail address, such as Jane Doe jane@example.com"
        raise ValueError(msg)
    return text


class SecOptions(Options):
    """Options of `sec`; docs/guide/sources.md says more of each."""

    path: str | None = None
    contact: Annotated[str, AfterValidator(_contact)] | None = None
    accepted_in: AcceptedIn = "auto"
    requests_per_minute: Annotated[float, Field(gt=0, le=600)] = 480.0
    url: str = "https://www.sec.gov"
    data_url: str = "https://data.sec.gov"


def open_source(name: str, options: Mapping[str, Any], network: Network) -> "SecSource":
    """The source of that name; nothing is read or asked yet.

    Raises:
        SettingsError: An option is unknown or wrong.
    """
    return SecSource(name, validated(SecOptions, name, options), network)


class SecSource(Vendor[SecOptions]):
    """Reads EDGAR's files, or asks EDGAR."""

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """Yield the filings of each file, company or day.

        Raises:
            UsageError: The dataset is not news.
            SettingsError: EDGAR would be asked, and there is no contact.
            SourceError: A file could not be read (the rows of the others were delivered), or EDGAR does not answer.
        """
        if request.dataset.name != "news":
            msg = f"source {self._name!r} has news, not {request.dataset.name}"
            raise UsageError(msg)
        if self._options.path is not None:
            yield from self._files(Path(self._options.path).expanduser().absolute())
            return
        if self._options.contact is None:
            msg = (
                f"source {self._name!r} needs a path with files of EDGAR, or sources.{self._name}.contact: EDGAR "
                "answers only who says who he is, such as Jane Doe jane@example.com; nothing was asked"
            )
            raise SettingsError(msg)
        yield from self._edgar(request, self._options.contact)

    # --------------------------------------------------------------------------------------------------------- files

    def _files(self, root: Path) -> Iterator[Fetched]:
        if not root.exists():
            msg = (
                f"{root}: there is no such file or folder; check the path (relative paths start at the current folder)"
            )
            raise SourceError(msg)
        paths = [root] if root.is_file() else sorted(Path(f, name) for f, _, names in os.walk(root) for name in names)
        wanted = [path for path in paths if path.suffix.lower() == ".idx" or _SUBMISSIONS.fullmatch(path.name)]
        if not wanted:
            msg = f"{root}: no filings there; expected files such as form.20200318.idx or CIK0001318605.json"
            raise SourceError(msg)
        unread: list[str] = []
        tickers: dict[int, tuple[str, ...]] = {}
        for path in [path for path in paths if _TICKERS.fullmatch(path.name)]:
            tickers |= tickers_of(load(_text(path)))
        for path in wanted:
            unreadable: Unreadable = []
            try:
                filings, own = _filings_of(path.name, _text(path), unreadable)
                rows = news_of(filings, {**tickers, **own}, self._options.accepted_in, unreadable)
            except (OSError, UnicodeError, SourceError) as error:
                unread.append(f"{path}: {error}")
            else:
                yield Fetched(rows, str(path), tuple(unreadable))
        if unread:
            msg = f"{len(unread)} of {len(wanted)} files could not be read. Fix or remove:\n"
            raise SourceError(msg + "\n".join(unread))

    # --------------------------------------------------------------------------------------------------------- EDGAR

    def _edgar(self, request: FetchRequest, contact: str) -> Iterator[Fetched]:
        calls = self._network.calls(self._name, "sec", self._options.requests_per_minute)
        headers = {"User-Agent": contact}
        hint = "EDGAR refuses who asks too often, or does not say who he is: check `contact`, and wait ten minutes"
        now = request.now or datetime.fromtimestamp(self._network.clock(), UTC)
        with (
            Http(calls, self._options.url, headers=headers, key_hint=hint) as http,
            Http(calls, self._options.data_url, headers=headers, key_hint=hint) as data,
        ):
            tickers = tickers_of(http.json("/files/company_tickers.json"))
            asked = (
                self._companies(data, request, tickers) if request.symbols else self._days(http, request, tickers, now)
            )
            for paging in asked:
                yield from pages_of(paging, self._name, request)

    def _companies(self, data: Http, request: FetchRequest, tickers: Tickers) -> Iterator[Paging]:
        """The submissions of each company that has one of the symbols, with those pages of older ones that matter."""
        numbers = {symbol_of(ticker): number for number, several in tickers.items() for ticker in several}
        if unknown := sorted(request.symbols - numbers.keys()):
            msg = f"source {self._name!r}: EDGAR knows no company whose symbol is {', '.join(unknown)}"
            raise UsageError(msg)
        for number in sorted({numbers[symbol] for symbol in request.symbols}):
            first = f"CIK{number:010d}.json"

            def ask(cursor: str | None, first: str = first) -> Answer:
                name, *others = (cursor or first).split()
                text = data.get(f"/submissions/{name}", None, _body)
                if cursor is None:
                    older = load(text).get("filings", {}).get("files") or ()
                    others = [file["name"] for file in older if _has_days(file, request)]
                return Answer(pa.table({"text": [text]}), " ".join(others) or None)

            def read(page: Page, first: str = first) -> Fetched:
                return self._fetched(f"submissions/{page.cursor or first}".split()[0], page, tickers)

            label = {"company": number, "days": f"{request.days.start} {request.days.end}"}
            yield Paging(first, label, ask, read, midnight(request.days.end), timedelta(minutes=10))

    def _days(self, http: Http, request: FetchRequest, tickers: Tickers, now: datetime) -> Iterator[Paging]:
        """The index of each working day; EDGAR has none of holidays."""
        last = min(request.days.end, now.date() + ONE_DAY)
        for day in DayRange(max(request.days.start, _FIRST_INDEX), max(last, _FIRST_INDEX)):
            if day.weekday() >= _WORKDAYS:
                continue
            quarter = (day.month - 1) // _QUARTER_MONTHS + 1
            path = f"/Archives/edgar/daily-index/{day.year}/QTR{quarter}/form.{day:%Y%m%d}.idx"

            def ask(_: str | None, path: str = path) -> Answer:
                try:
                    return Answer(pa.table({"text": [http.get(path, None, _body)]}), None)
                except NotThereError:
                    return _NOTHING
                except NotAllowedError as error:
                    # The archive's store refuses what it does not have; a contact that is not welcome would have been
                    # refused the tickers.
                    if "AccessDenied" in str(error):
                        return _NOTHING
                    raise

            def read(page: Page, path: str = path) -> Fetched:
                return self._fetched(path, page, tickers)

            yield Paging(f"index {day}", {"index": path}, ask, read, midnight(day + 2 * ONE_DAY), timedelta(minutes=10))

    def _fetched(self, path: str, page: Page, tickers: Tickers) -> Fetched:
        """The rows of a page; it holds the text as EDGAR gave it."""
        unreadable: Unreadable = []
        filings: list[Filing] = []
        for text in page.rows["text"].to_pylist():
            filings += _filings_of(path, text, unreadable)[0]
        rows = news_of(filings, tickers, self._options.accepted_in, unreadable)
        return Fetched(rows, f"{self._name} {path}", tuple(unreadable))


_NOTHING = Answer(pa.table({"text": pa.array([], pa.string())}), None)


def _has_days(file: Mapping[str, Any], request: FetchRequest) -> bool:
    """Whether a page of older filings may have any of the days that are asked for."""
    first, last = date.fromisoformat(file["filingFrom"]), date.fromisoformat(file["filingTo"])
    return first - ONE_DAY < request.days.end and last + ONE_DAY >= request.days.start


def _filings_of(path: str, text: str, unreadable: Unreadable) -> tuple[list[Filing], Tickers]:
    if path.lower().endswith(".idx"):
        return list(index_filings(text, unreadable)), {}
    return submission_filings(load(text), path)


def _text(path: Path) -> str:
    return _decoded(path.read_bytes())


def _body(response: "httpx.Response") -> str:
    return _decoded(response.content)


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")  # what EDGAR's older indices are written in
