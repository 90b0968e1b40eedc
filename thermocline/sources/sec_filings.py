"""What EDGAR's files say of filings, and news rows made of it.

A daily index (`form.20200318.idx`) lists what EDGAR published on a day in columns of fixed width, a line for each
filer; the same filing has a line for the company and one for each insider. It knows the day only, and that is not
always the day of filing: letters between the staff and a company are published weeks later. The submissions of a
company (`CIK0001318605.json`) list its filings column by column, each with the instant at which EDGAR accepted it.

That instant is marked as UTC and is so for most companies; for others it is the clock of New York with a Z behind it,
all of a company's the same way (https://github.com/theOGognf/finagg/issues/64, read 2026-11). EDGAR accepts filings
from 06:00 to 22:00 in New York, which tells the two apart: of the two readings, the one with fewer instants at night.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pyarrow as pa

from thermocline.errors import SourceError

AcceptedIn = Literal["auto", "utc", "new_york"]
Tickers = Mapping[int, tuple[str, ...]]
Unreadable = list[tuple[str, str]]

ARCHIVES = "https://www.sec.gov/Archives/"

_NEW_YORK = ZoneInfo("America/New_York")
_OPENS, _CLOSES = 6, 22
_INDEX_COLUMNS = ("Form Type", "Company Name", "CIK", "Date Filed", "File Name")
_ACCESSION = re.compile(r"(\d{10}-\d{2}-\d{6})")
_CLASS_OF_SHARES = re.compile(r"-(?=[A-Z]$)")
_CIK_IN_NAME = re.compile(r"CIK(\d{10})")


@dataclass(frozen=True, slots=True)
class Filing:
    """One filing and one filer, as EDGAR writes it, all of it text. `accepted` is empty where only the day is known."""

    accession: str
    cik: str
    company: str
    form: str
    filed: str
    accepted: str = ""
    document: str = ""
    description: str = ""
    items: str = ""
    published: str = ""


def index_filings(text: str, unreadable: Unreadable) -> Iterator[Filing]:
    """The filings of a daily or quarterly index; lines that say none are noted.

    Raises:
        SourceError: It is no index of filings.
    """
    lines = text.splitlines()
    rule = next((number for number, line in enumerate(lines) if line.startswith("-----")), 0)
    header = lines[rule - 1].replace("Filename", "File Name") if rule else ""
    if not all(name in header for name in _INDEX_COLUMNS):
        msg = f"no index of EDGAR: its header does not name {', '.join(_INDEX_COLUMNS)}"
        raise SourceError(msg)
    published = _published(lines[:rule])
    for line in lines[rule + 1 :]:
        if line.strip():
            cells = _cells(header, line)
            accession = _ACCESSION.search(cells["File Name"])
            filed = cells["Date Filed"].replace("-", "")
            if not (accession and cells["CIK"].isdigit() and _day(filed)):
                unreadable.append((line.rstrip(), "no CIK, date or path of a filing where the header says"))
                continue
            yield Filing(
                accession[1],
                cells["CIK"],
                cells["Company Name"],
                cells["Form Type"],
                filed,
                document=cells["File Name"],
                published=published,
            )


def _published(lines: Iterable[str]) -> str:
    """The day of a daily index, as digits; empty for that of a quarter, which knows only when filings were made."""
    said = dict(line.partition(":")[::2] for line in lines if ":" in line)
    if "Daily Index" not in said.get("Description", ""):
        return ""
    try:
        day = datetime.strptime(said.get("Last Data Received", "").strip(), "%b %d, %Y").replace(tzinfo=UTC)
    except ValueError:
        return ""
    return f"{day:%Y%m%d}"


def _cells(header: str, line: str) -> dict[str, str]:
    if "|" in header:
        return dict(zip(header.split("|"), [*line.split("|"), *[""] * 5], strict=False))
    starts = sorted((header.index(name), name) for name in _INDEX_COLUMNS)
    ends = [start for start, _ in starts[1:]] + [len(line)]
    return {name: line[start:end].strip() for (start, name), end in zip(starts, ends, strict=True)}


def submission_filings(document: Mapping[str, Any], name: str) -> tuple[list[Filing], Tickers]:
    """The filings of a company's submissions, and its tickers. Pages of older filings have the CIK in their name alone.

    Raises:
        SourceError: It is no such document.
    """
    found = document.get("filings", {}).get("recent") if "filings" in document else document
    in_name = _CIK_IN_NAME.search(name)
    cik = str(document.get("cik") or (in_name[1] if in_name else ""))
    try:
        columns = [found[column] for column in ("accessionNumber", "form", "filingDate", "acceptanceDateTime")]
        extra = [found.get(column, [""] * len(columns[0])) for column in ("primaryDocument", "primaryDocDescription")]
        items = found.get("items", [""] * len(columns[0]))
        rows = list(zip(*columns, *extra, items, strict=True))
        number = int(cik)
    except (KeyError, TypeError, ValueError):
        msg = "no submissions of EDGAR: a CIK and columns of one length, such as accessionNumber and form, are missing"
        raise SourceError(msg) from None
    company = str(document.get("name", ""))
    filings = [
        Filing(accession, str(number), company, form, filed.replace("-", ""), accepted, file, description, what)
        for accession, form, filed, accepted, file, description, what in rows
    ]
    tickers = tuple(str(ticker) for ticker in document.get("tickers") or ())
    return filings, {number: tickers} if tickers else {}


def tickers_of(document: Any) -> Tickers:
    """The tickers of each CIK, from EDGAR's company_tickers.json.

    Raises:
        SourceError: It is no such document.
    """
    found: dict[int, tuple[str, ...]] = {}
    try:
        for company in document.values():
            number = int(company["cik_str"])
            found[number] = (*found.get(number, ()), str(company["ticker"]))
    except (AttributeError, KeyError, TypeError, ValueError):
        msg = "no list of companies and tickers of EDGAR"
        raise SourceError(msg) from None
    return found


def symbol_of(ticker: str) -> str:
    """The symbol as exchanges write it: EDGAR's BRK-B is BRK.B."""
    return _CLASS_OF_SHARES.sub(".", ticker.upper())


def load(text: str) -> Any:
    """A JSON document.

    Raises:
        SourceError: It is none.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        msg = f"no JSON: {error}"
        raise SourceError(msg) from None


def news_of(filings: Iterable[Filing], tickers: Tickers, accepted_in: AcceptedIn, unreadable: Unreadable) -> pa.Table:
    """A row for each filing and symbol of its filers; one with an empty symbol where no filer has any."""
    filings = list(filings)
    zones = _zones(filings, accepted_in)
    by_accession: dict[str, list[Filing]] = {}
    for filing in filings:
        by_accession.setdefault(filing.accession, []).append(filing)
    rows = []
    for accession, same in by_accession.items():
        first = same[0]
        ts = _instant(first, zones)
        if ts is None:
            unreadable.append((json.dumps(asdict(first)), "neither acceptanceDateTime nor the date of filing is one"))
            continue
        companies = list(dict.fromkeys(filing.company for filing in same if filing.company))
        symbols = dict.fromkeys(symbol_of(ticker) for filing in same for ticker in tickers.get(int(filing.cik), ()))
        said = {
            "article_id": accession,
            "ts": ts,
            "headline": ": ".join(filter(None, (first.form, ", ".join(companies or symbols)))),
            "summary": _summary(first),
            "url": _url(first),
            "author": "; ".join(companies) or None,
            "publisher": "SEC EDGAR",
            "category": first.form,
        }
        rows += [said | {"symbol": symbol} for symbol in symbols or ("",)]
    return pa.Table.from_pylist(rows, _SCHEMA)


_SCHEMA = pa.schema(
    [
        pa.field(name, pa.timestamp("us", tz="UTC") if name == "ts" else pa.string())
        for name in ("article_id", "symbol", "ts", "headline", "summary", "url", "author", "publisher", "category")
    ]
)


def _zones(filings: Iterable[Filing], accepted_in: AcceptedIn) -> dict[str, ZoneInfo]:
    """In which zone each company's instants of acceptance are."""
    utc = ZoneInfo("UTC")
    if accepted_in != "auto":
        chosen = utc if accepted_in == "utc" else _NEW_YORK
        return {filing.cik: chosen for filing in filings}
    nights: dict[str, list[int]] = {}
    for filing in filings:
        if clock := _clock(filing.accepted):
            counted = nights.setdefault(filing.cik, [0, 0])
            counted[0] += _at_night(clock.replace(tzinfo=UTC).astimezone(_NEW_YORK))
            counted[1] += _at_night(clock)
    return {cik: _NEW_YORK if as_new_york < as_utc else utc for cik, (as_utc, as_new_york) in nights.items()}


def _at_night(clock: datetime) -> bool:
    return not _OPENS <= clock.hour < _CLOSES


def _clock(text: str) -> datetime | None:
    """What the clock shows in a text that may say Z and may not mean it."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None) if text else None
    except ValueError:
        return None


def _day(digits: str) -> date | None:
    try:
        return datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def _instant(filing: Filing, zones: Mapping[str, ZoneInfo]) -> datetime | None:
    if clock := _clock(filing.accepted):
        return clock.replace(tzinfo=zones[filing.cik]).astimezone(UTC)
    day = _day(filing.published or filing.filed)
    return datetime.combine(day, time(), UTC) if day and not filing.accepted else None


def _summary(filing: Filing) -> str | None:
    items = f"items {filing.items.replace(',', ', ')}" if filing.items else ""
    return "; ".join(filter(None, (filing.description, items))) or None


def _url(filing: Filing) -> str:
    if filing.document.startswith("edgar/"):
        return ARCHIVES + filing.document
    folder = f"{ARCHIVES}edgar/data/{int(filing.cik)}/{filing.accession.replace('-', '')}"
    return f"{folder}/{filing.document or f'{filing.accession}-index.htm'}"
