"""Instruments, splits and dividends from the map files and factor files of a LEAN data folder.

A map file is named by an instrument's last symbol and says, a line each, up to and with which day it had which symbol:
`20090804,wmi,N`. Its first line is the first day; a last line before 2050 the last one. Symbol and day of the first
line name the instrument for good, as LEAN's own identifiers do.

A factor file says up to and with which day prices are to be multiplied by which cumulative factors:
`20140606,0.9011818,0.03571430,645.57` is the last day before Apple's split, with its price factor, split factor and
close. The event between two lines is of the next session (LEAN's FactorFileRow.GetSplit and GetDividend,
https://github.com/QuantConnect/Lean, read 2026-11).

Files lie in the folders as they are, or in dated zips (`map_files_20240101.zip`), of which the newest counts.
Format: https://www.quantconnect.com/docs/v2/lean-engine/data-format, read 2026-11.
"""

import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from thermocline.errors import SourceError
from thermocline.model.adjusting.cumulative import dividend_amount, split_ratio
from thermocline.model.dataset import Dataset
from thermocline.model.partition import DayRange, midnight
from thermocline.ports import Fetched, FetchRequest
from thermocline.sources.calendars import ExchangeCalendars

DATASETS = ("instruments", "splits", "dividends")
"""What is read here; all other datasets are bars of `lean` or are not in such a folder."""

_MAPS = re.compile(r"(.*_)?map_files", re.IGNORECASE)
_FACTORS = re.compile(r"(.*_)?factor_files", re.IGNORECASE)
_NOT_EQUITIES = {"future", "futureoption", "cryptofuture", "crypto", "forex", "cfd"}
_OPEN_ENDED = date(2050, 1, 1)
_CALENDARS = {"india": "XBOM"}
_CURRENCIES = {"india": "INR"}
_EXCHANGES = {"Q": "XNAS", "N": "XNYS", "P": "ARCX", "A": "XASE", "Z": "BATS", "B": "XBOS", "C": "XCIS", "V": "IEXG"}
"""MIC of LEAN's letters (its Exchanges.cs, read 2026-11); a word that is none of them stays as it is."""
_FEW = 2
_ROWS_A_PAGE = 50_000
_DAMAGE = (OSError, EOFError, zipfile.BadZipFile, UnicodeError, NotImplementedError)


@dataclass(frozen=True)
class _Text:
    """One file: where it is, the symbol that its name says, and its lines."""

    origin: str
    symbol: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class _Named:
    """Up to and with which day an instrument had a symbol, from the first day on."""

    start: date
    last: date
    symbol: str
    exchange: str | None

    @property
    def until(self) -> date | None:
        """The first day on which it no longer had it; None while it has it."""
        return None if self.last >= _OPEN_ENDED else self.last + timedelta(days=1)


@dataclass(frozen=True)
class _Market:
    """The folders of one market."""

    name: str
    maps: Path | None
    factors: Path | None


class LeanActions:
    """Reads the map files and factor files below a path."""

    def __init__(self, path: str) -> None:
        """Nothing is looked for yet."""
        self._root = Path(path).expanduser().absolute()
        self._calendars = ExchangeCalendars()

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """Yield rows of instruments, splits or dividends.

        Raises:
            SourceError: There is no such folder, or some files are damaged; the rows of the others were delivered.
        """
        kind = "map files" if request.dataset.name == "instruments" else "factor files"
        markets = list(self._markets())
        wanted = [each for each in markets if (each.maps if kind == "map files" else each.factors)]
        if not wanted:
            folder = kind.replace(" ", "_")
            msg = (
                f"{self._root}: no {kind} there; expected a LEAN data folder with {folder} such as equity/usa/{folder}"
            )
            raise SourceError(msg)
        unread: list[str] = []
        for market in wanted:
            yield from self._of_market(market, request, unread)
        if unread:
            raise SourceError(f"{len(unread)} of the {kind} could not be read. Fix or remove:\n" + "\n".join(unread))

    def _of_market(self, market: _Market, request: FetchRequest, unread: list[str]) -> Iterator[Fetched]:
        maps = {text.symbol: text for text in _texts(market.maps, unread)} if market.maps else {}
        named: dict[str, list[_Named]] = {}
        rows: list[dict[str, Any]] = []
        wrong: list[tuple[str, str]] = []
        for symbol, text in maps.items():
            named[symbol], refused = _namings(text)
            if request.dataset.name == "instruments":
                wrong += refused
                rows += _instrument_rows(named[symbol])
        if request.dataset.name == "instruments":
            yield from _pages(request, rows, str(market.maps), wrong)
            return
        for text in _texts(market.factors, unread) if market.factors else ():
            found, refused = self._events(text, named.get(text.symbol, []), market.name, request.dataset)
            wrong += refused
            rows += found
        yield from _pages(request, rows, str(market.factors), wrong)

    def _events(
        self, text: _Text, named: list[_Named], market: str, dataset: Dataset
    ) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
        """The splits or dividends of one factor file, under the symbol of their day."""
        factors, wrong = _factors(text)
        rows = []
        for before, after in pairwise(factors):
            split = split_ratio(before.split, after.split)
            day = self._next_session(before.last, market) if split or before.price != after.price else before.last
            symbol = next((each.symbol for each in named if each.start <= day <= each.last), text.symbol)
            row = {"asset_class": "equity", "symbol": symbol, "ts": midnight(day)}
            if dataset.name == "splits":
                if split:
                    rows.append(row | {"old_shares": split[0], "new_shares": split[1]})
                continue
            try:
                amount = dividend_amount(before.price, after.price, before.close)
            except ValueError as error:
                wrong.append((before.line, f"{text.origin}: {error}"))
                continue
            if amount:
                # LEAN's amount is for a share of the day before; ours for one of the ex-date.
                paid = amount if split is None else amount * split[0] / split[1]
                said = {"kind": "regular", "amount": round(paid, 8), "currency": _CURRENCIES.get(market, "USD")}
                rows.append(row | said)
        return rows, wrong

    def _next_session(self, day: date, market: str) -> date:
        """The first session after a day; a weekday where the calendar does not reach so far."""
        known = self._calendars.sessions(_CALENDARS.get(market, "XNYS"), DayRange(date(1990, 1, 1), date(2051, 1, 1)))
        dates = known.dates
        number = (day - date(1970, 1, 1)).days
        at = int(np.searchsorted(dates, number, side="right"))
        if 0 < at < len(dates):
            return date(1970, 1, 1) + timedelta(days=int(dates[at]))
        following = day + timedelta(days=1)
        while following.weekday() > 4:  # noqa: PLR2004  # Saturday and Sunday
            following += timedelta(days=1)
        return following

    def _markets(self) -> Iterator[_Market]:
        """Every market below the path that has map files or factor files."""
        if not self._root.exists():
            msg = f"{self._root}: there is no such folder; check the path (relative paths start at the current folder)"
            raise SourceError(msg)
        if _MAPS.fullmatch(self._root.name) or _FACTORS.fullmatch(self._root.name):
            # The other folder lies beside it.
            folders = [each for each in self._root.parent.iterdir() if each.is_dir()]
        else:
            folders = [Path(folder) for folder, *_ in os.walk(self._root)]
        by_market: dict[Path, tuple[Path | None, Path | None]] = {}
        for folder in sorted(folders):
            if _NOT_EQUITIES & {part.lower() for part in folder.parts[-4:]}:
                continue
            maps, factors = by_market.get(folder.parent, (None, None))
            if _MAPS.fullmatch(folder.name):
                by_market[folder.parent] = folder, factors
            elif _FACTORS.fullmatch(folder.name):
                by_market[folder.parent] = maps, folder
        for parent, (maps, factors) in sorted(by_market.items()):
            yield _Market(parent.name.lower(), maps, factors)


def _texts(folder: Path, unread: list[str]) -> Iterator[_Text]:
    """Every file of a folder and of its newest zip, a loose file before one of the zip."""
    seen: set[str] = set()
    for path in sorted(folder.glob("*.csv")):
        try:
            lines = path.read_text("utf-8").split()
        except _DAMAGE as error:
            unread.append(f"{path}: {error or type(error).__name__}")
            continue
        symbol = path.stem.upper()
        seen.add(symbol)
        yield _Text(str(path), symbol, tuple(lines))
    for path in sorted(folder.glob("*.zip"))[-1:]:
        try:
            with zipfile.ZipFile(path) as opened:
                for name in sorted(opened.namelist()):
                    entry = Path(name)
                    if entry.suffix == ".csv" and entry.stem.upper() not in seen:
                        lines = opened.read(name).decode().split()
                        yield _Text(f"{path}/{name}", entry.stem.upper(), tuple(lines))
        except _DAMAGE as error:
            unread.append(f"{path}: {error or type(error).__name__}")


def _namings(text: _Text) -> tuple[list[_Named], list[tuple[str, str]]]:
    """The symbols that an instrument had, the first first, and lines that say none."""
    wrong, rows = [], []
    for line in text.lines:
        fields = line.split(",")
        day = _day(fields[0])
        if day is None or len(fields) < _FEW or not fields[1]:
            wrong.append((line, f"{text.origin}: a line of a map file is YYYYMMDD,symbol,exchange"))
            continue
        letter = fields[2].upper() if len(fields) > _FEW else ""
        rows.append((day, fields[1].upper(), _EXCHANGES.get(letter, letter) or None))
    rows.sort(key=lambda row: row[0])
    found: list[_Named] = []
    for (before, *_), (last, symbol, exchange) in pairwise(rows):
        start = before + timedelta(days=1) if found else before
        if found and (found[-1].symbol, found[-1].exchange) == (symbol, exchange):
            found[-1] = _Named(found[-1].start, last, symbol, exchange)
        elif start <= last:
            found.append(_Named(start, last, symbol, exchange))
    if rows and not found:
        wrong.append((text.lines[0], f"{text.origin}: a map file has a first and a last line, this one has one line"))
    return found, wrong


def _instrument_rows(named: list[_Named]) -> Iterator[dict[str, Any]]:
    for each in named:
        yield {
            "instrument_id": f"equity:{named[0].symbol}:{named[0].start:%Y%m%d}",
            "asset_class": "equity",
            "symbol": each.symbol,
            "ts": midnight(each.start),
            "until": each.until,
            "exchange": each.exchange,
        }


@dataclass(frozen=True)
class _Factors:
    """Up to and with which day the cumulative factors hold, and the close of that day."""

    last: date
    price: Fraction
    split: Fraction
    close: Fraction
    line: str


def _factors(text: _Text) -> tuple[list[_Factors], list[tuple[str, str]]]:
    found, wrong = [], []
    for line in text.lines:
        fields = line.split(",")
        try:
            day = _day(fields[0])
            numbers = [Fraction(Decimal(each)) for each in fields[1:4]]
        except (InvalidOperation, ValueError, OverflowError):
            day, numbers = None, []
        if day is None or len(numbers) < _FEW or min(numbers[:2]) <= 0:
            reason = "a line of a factor file is YYYYMMDD,price factor,split factor,close, with factors above 0"
            wrong.append((line, f"{text.origin}: {reason}"))
            continue
        close = numbers[2] if len(numbers) > _FEW else Fraction(0)
        found.append(_Factors(day, numbers[0], numbers[1], close, line))
    return sorted(found, key=lambda each: each.last), wrong


def _pages(
    request: FetchRequest, rows: Iterable[Mapping[str, Any]], origin: str, wrong: list[tuple[str, str]]
) -> Iterator[Fetched]:
    """The rows that are asked for, with what could not be read on the first page."""
    kept = [row for row in rows if not request.symbols or row["symbol"] in request.symbols]
    kept = [row for row in kept if row["ts"].date() in request.days]
    unreadable = tuple(wrong)
    schema = request.dataset.arrow_schema
    names = [name for name in schema.names if not kept or name in kept[0]]
    fields = pa.schema([schema.field(name).with_nullable(nullable=True) for name in names])
    for start in range(0, max(len(kept), 1), _ROWS_A_PAGE):
        page = kept[start : start + _ROWS_A_PAGE]
        if page or unreadable:
            yield Fetched(pa.Table.from_pylist([dict(row) for row in page], fields), origin, unreadable)
            unreadable = ()


def _day(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y%m%d").date()  # noqa: DTZ007  # a date has no zone
    except ValueError:
        return None
