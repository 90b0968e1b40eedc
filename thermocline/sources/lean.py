"""Bars from a LEAN data folder: daily, hour, minute and second trade bars of equities and crypto.

The folder may be `Data/`, what is in it (`equity/usa/daily`), or one that holds such zips in folders named otherwise
(`my_equity_daily/aapl.zip`, `my_crypto/coinbase/minute/btcusd/20161007_trade.zip`). Forex and CFD folders hold quotes
only; they are passed over, with all else that is no trade bar: quotes, futures and indices. Map files and factor
files are read by `lean_actions`, option chains by `lean_options`.

Only zips that can hold what is asked for are opened. One that is damaged is named in a SourceError at the end, after
the rows of all the others were delivered.

Format: https://www.quantconnect.com/docs/v2/lean-engine/data-format, read 2026-11.
"""

import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from pydantic import AfterValidator

from thermocline.errors import SettingsError, SourceError, UsageError
from thermocline.model.parsing import Parsed, decimals, integers
from thermocline.model.parsing.times import DAY_MICROSECONDS, INSTANT, microseconds
from thermocline.model.partition import ONE_DAY, DayRange
from thermocline.model.records import as_json
from thermocline.ports import Fetched, FetchRequest
from thermocline.sources import lean_actions, lean_options
from thermocline.sources.local_time import to_utc, zone_named
from thermocline.sources.options import Options, validated

_NAMES = ("time", "open", "high", "low", "close", "volume")
_PRICES = _NAMES[1:5]

_INTRADAY = re.compile(r"(?P<day>\d{8})_trade\.zip")
_WHOLE = re.compile(r"(?P<symbol>[^_]+?)(_trade)?\.zip")
_INTERVALS = {"daily": "1day", "hour": "1hour", "minute": "1min", "second": "1sec"}
_CLASSES = ("equity", "crypto")
_NO_BARS = re.compile(
    r"(quotes?|options?|universes?|map_files|factor_files|futures?|indexoption|futureoption|cryptofuture|index|forex|cfd|"
    r"fundamental|alternative|margin|shortable|tick|openinterest)"
)
_ZONES = {"usa": "America/New_York", "india": "Asia/Kolkata"}
_LEVELS = 5  # from the folder of the asset class down to the zip's there are four, at most
_EQUITY_SCALE = 4  # equity prices are integers of 1/10000

_DAMAGE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, UnicodeError, NotImplementedError, pa.ArrowException)


class LeanOptions(Options):
    """Options of `lean`; what is not set is told from the folders' names."""

    path: str
    asset_class: Literal["equity", "crypto"] | None = None
    interval: Literal["1day", "1hour", "1min", "1sec"] | None = None
    timezone: Annotated[str, AfterValidator(zone_named)] | None = None


@dataclass(frozen=True)
class _Zip:
    """A zip of trade bars. `day` is set where it holds one local day, `interval` where its folder tells it.

    `guessed` says that no folder and no option tells the asset class.
    """

    path: Path
    asset_class: str
    symbol: str
    zone: str
    interval: str | None
    day: date | None = None
    guessed: bool = False

    def may_hold(self, request: FetchRequest) -> bool:
        """Whether the zip can have rows that are asked for, by its name alone."""
        return (
            (not request.symbols or self.symbol in request.symbols)
            and (not request.intervals or self.interval is None or self.interval in request.intervals)
            and (self.day is None or _touches(self.day, self.zone, request.days))
        )


def open_source(name: str, options: Mapping[str, Any]) -> "LeanSource":
    """The source of that name; nothing is read yet.

    Raises:
        SettingsError: An option is unknown or wrong, or there is no path.
    """
    if not options.get("path"):
        msg = f"source {name!r} needs the path of a LEAN data folder (--path, or `path:` in thermocline.yaml)"
        raise SettingsError(msg)
    return LeanSource(name, validated(LeanOptions, name, options))


class LeanSource:
    """Reads a LEAN data folder zip by zip: daily and hourly ones by symbol, then minutes day by day."""

    def __init__(self, name: str, options: LeanOptions) -> None:
        """Keep the options."""
        self._name = name
        self._options = options

    @property
    def name(self) -> str:
        """What the `source` column of its rows says."""
        return self._name

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """Yield the bars of each zip that can hold what is asked for.

        Raises:
            UsageError: The dataset is none that such a folder holds.
            SourceError: No trade bars are there, or some zips are damaged; the rows of the others were delivered.
        """
        if request.dataset.name in lean_actions.DATASETS:
            yield from lean_actions.LeanActions(self._options.path).fetch(request)
            return
        if request.dataset.name in lean_options.DATASETS:
            yield from lean_options.LeanOptionChains(self._options.path).fetch(request)
            return
        if request.dataset.name != "market_data":
            has = ", ".join(("market_data", *lean_options.DATASETS, *lean_actions.DATASETS))
            msg = f"source {self._name!r} has {has}, not {request.dataset.name}"
            raise UsageError(msg)
        zips = self._zips()
        wanted = [each for each in zips if each.may_hold(request)]
        unread = []
        for each in wanted:
            try:
                fetched = _read(each, request)
            except (*_DAMAGE, SourceError) as error:
                unread.append(f"{each.path}: {error or type(error).__name__}")
            else:
                if fetched:
                    yield fetched
        if unread:
            zips_wanted = "1 zip" if len(wanted) == 1 else f"{len(wanted)} zips"
            msg = f"{len(unread)} of {zips_wanted} could not be read. Fix or remove:\n"
            raise SourceError(msg + "\n".join(unread))

    def _zips(self) -> list[_Zip]:
        root = Path(self._options.path).expanduser().absolute()
        paths = [root] if root.is_file() else list(_walk(root))
        if not root.exists():
            msg = f"{root}: there is no such folder; check the path (relative paths start at the current folder)"
            raise SourceError(msg)
        zips = [each for path in paths if (each := self._told(root, path))]
        if not zips:
            msg = (
                f"{root}: no trade bars there ({len(paths)} zips); expected a LEAN data folder with zips such as "
                "equity/usa/daily/aapl.zip or crypto/coinbase/minute/btcusd/20161007_trade.zip"
            )
            raise SourceError(msg)
        return sorted(zips, key=lambda each: (each.day or date.min, each.path))

    def _told(self, root: Path, path: Path) -> _Zip | None:
        """What the zip's path tells of it; None when it is no trade bar."""
        name = path.name.lower()
        intraday, whole = _INTRADAY.fullmatch(name), _WHOLE.fullmatch(name)
        # The folder of a day's zip is the symbol, whatever word that is.
        folder = path.parent.parent if intraday else path.parent
        if not (intraday or whole) or _holds_no_bars(folder):
            return None
        words = _words(root, folder)
        told = self._options.asset_class or _told_class(folder)
        asset_class: str = told or "equity"
        kinds = ("minute", "second") if intraday else ("daily", "hour")
        resolution = next((_INTERVALS[word] for word in words if word in kinds), "1min" if intraday else None)
        interval = self._options.interval or resolution
        zone = self._options.timezone or _zone(asset_class, folder)
        if intraday:
            day = _day(intraday["day"])
            symbol = path.parent.name.upper()
            return _Zip(path, asset_class, symbol, zone, interval, day, guessed=not told) if day else None
        return _Zip(path, asset_class, whole["symbol"].upper(), zone, interval, guessed=not told) if whole else None


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):  # Path.walk is of Python 3.12
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if name.lower().endswith(".zip"))


def _words(root: Path, folder: Path) -> list[str]:
    """The words of the folders' names, the nearest first. Above the root only a whole name counts as one."""
    words: list[str] = []
    for each in (folder, *folder.parents):
        name = each.name.lower()
        words += re.split(r"[^a-z]+", name) if each.is_relative_to(root) else [name]
    return words


def _told_class(folder: Path) -> str | None:
    words = [word for name in folder.parts[: -_LEVELS - 1 : -1] for word in re.split(r"[^a-z]+", name.lower())]
    return next((word for word in words if word in _CLASSES), None)


def _holds_no_bars(folder: Path) -> bool:
    for each in (folder, *folder.parents):
        if each.name.lower() in _CLASSES:
            return False
        if _NO_BARS.fullmatch(each.name.lower()):
            return True
    return False


def _zone(asset_class: str, folder: Path) -> str:
    if asset_class == "crypto":
        return "UTC"
    return next((_ZONES[part.lower()] for part in reversed(folder.parts) if part.lower() in _ZONES), _ZONES["usa"])


def _day(digits: str) -> date | None:
    try:
        return datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def _touches(day: date, zone: str, days: DayRange) -> bool:
    """Whether a day of the zone's calendar has an instant on one of the UTC days."""
    here = ZoneInfo(zone)
    first = datetime.combine(day, time(), here).astimezone(UTC)
    after = datetime.combine(day + ONE_DAY, time(), here).astimezone(UTC)
    return first.date() < days.end and (after - timedelta(microseconds=1)).date() >= days.start


def _read(zipped: _Zip, request: FetchRequest) -> Fetched | None:
    """The rows of one zip that are on the days asked for."""
    lines = _Lines()
    table = lines.of(_content(zipped.path))
    wall = _wall(table["time"].combine_chunks(), zipped.day)
    table = lines.without(table.append_column("ts", wall.values), wall.wrong)
    interval = zipped.interval or _told_interval(table["ts"].combine_chunks())
    if request.intervals and interval not in request.intervals:
        return None
    stamps = _stamps(table["ts"].combine_chunks(), interval, zipped.zone)
    table = lines.without(table.set_column(len(_NAMES), "ts", stamps.values), stamps.wrong)
    table = table.filter(_within(table["ts"], request.days))
    if zipped.guessed and _any_fraction(table):
        msg = "its prices have fractions, so they are no equity's in LEAN's format; set asset_class for this source"
        raise SourceError(msg)
    if zipped.asset_class == "equity":
        exact = {name: _unscaled(table[name].combine_chunks()) for name in _PRICES}
        wrong = {row: f"{name}: {reason}" for name in _PRICES for row, reason in exact[name].wrong.items()}
        priced = table
        for name in _PRICES:
            priced = priced.set_column(_NAMES.index(name), name, exact[name].values)
        table = lines.without(table, wrong, priced)
    if not len(table) and not lines.unreadable:
        return None
    said = {"asset_class": zipped.asset_class, "symbol": zipped.symbol, "interval": interval}
    rows = pa.table(
        {name: pa.repeat(value, len(table)) for name, value in said.items()}
        | {name: table[name] for name in ("ts", *_NAMES[1:])}
    )
    return Fetched(rows, str(zipped.path), tuple(lines.unreadable))


def _content(path: Path) -> bytes:
    with zipfile.ZipFile(path) as opened:
        entries = [name for name in opened.namelist() if name.lower().endswith(".csv")]
        if len(entries) != 1:
            msg = f"{len(entries)} CSV files in it, one expected"
            raise zipfile.BadZipFile(msg)
        return opened.read(entries[0])


class _Lines:
    """A zip's lines as columns of text, and those that had to be left out."""

    def __init__(self) -> None:
        self.unreadable: list[tuple[str, str]] = []

    def of(self, content: bytes) -> pa.Table:
        """The lines that have as many fields as a trade bar."""
        if not content.strip():
            return pa.table({name: pa.array([], pa.string()) for name in _NAMES})
        return pa_csv.read_csv(
            pa.BufferReader(content),
            # Threads would lose the lines' numbers, and one small file has no use for them.
            read_options=pa_csv.ReadOptions(
                column_names=_NAMES, use_threads=False, block_size=max(len(content), 1 << 20)
            ),
            parse_options=pa_csv.ParseOptions(invalid_row_handler=self._skip),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(_NAMES, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )

    def without(self, table: pa.Table, wrong: Mapping[int, str], rest: pa.Table | None = None) -> pa.Table:
        """The other rows (of `rest`, where that stands for the table), once the wrong ones are noted."""
        rest = table if rest is None else rest
        if not wrong:
            return rest
        rows = sorted(wrong)
        records = as_json(table.select(_NAMES).take(pa.array(rows, pa.int64())))
        self.unreadable += [(record, wrong[row]) for row, record in zip(rows, records, strict=True)]
        keep = np.ones(len(table), dtype=bool)
        keep[rows] = False
        return rest.filter(pa.array(keep))

    def _skip(self, row: Any) -> str:
        reason = f"line {row.number}: {row.actual_columns} fields, {row.expected_columns} expected"
        self.unreadable.append((row.text, reason))
        return "skip"


def _wall(texts: pa.Array, day: date | None) -> Parsed:
    """What the exchange's clock showed: `20140605 09:30`, or milliseconds since the midnight of `day`."""
    kind = pa.timestamp("us")
    if day is None:
        wall = pc.strptime(texts, format="%Y%m%d %H:%M", unit="us", error_is_null=True)
        lost = np.flatnonzero(np.asarray(pc.is_null(wall))).tolist()
        return Parsed(wall, {row: f"time: {texts[row].as_py()!r} is not YYYYMMDD HH:MM" for row in lost})
    parsed = integers(texts)
    ticks = parsed.values.fill_null(-1).to_numpy(zero_copy_only=False)
    inside = (ticks >= 0) & (ticks < DAY_MICROSECONDS // 1_000)
    wrong = {
        row: f"time: {texts[row].as_py()!r} is not milliseconds of a day" for row in np.flatnonzero(~inside).tolist()
    }
    return Parsed(pa.array(ticks * 1_000 + microseconds(day), pa.int64(), mask=~inside).cast(kind), wrong)


def _told_interval(wall: pa.Array) -> str:
    """Daily when no bar has a time of day, else hourly: LEAN keeps no other bars in one zip for all days."""
    ticks = wall.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return "1hour" if (ticks % DAY_MICROSECONDS != 0).any() else "1day"


def _stamps(wall: pa.Array, interval: str, zone: str) -> Parsed:
    """Instants in UTC; a daily bar is its session's, whatever the exchange's zone."""
    if interval != "1day":
        return to_utc(wall, zone)
    ticks = wall.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return Parsed(pa.array(ticks - ticks % DAY_MICROSECONDS, pa.int64()).cast(INSTANT))


def _unscaled(texts: pa.Array) -> Parsed:
    """Exact prices from integers of 1/10000: the digits stay, the point moves."""
    parsed = decimals(texts, 18, _EQUITY_SCALE)
    return Parsed(parsed.values.view(pa.decimal128(18, 2 * _EQUITY_SCALE)), parsed.wrong)


def _any_fraction(table: pa.Table) -> bool:
    return any(pc.any(pc.match_substring(table[name], ".")).as_py() for name in _PRICES)


def _within(stamps: pa.ChunkedArray, days: DayRange) -> pa.ChunkedArray:
    ticks = stamps.cast(pa.int64())
    return pc.and_(pc.greater_equal(ticks, microseconds(days.start)), pc.less(ticks, microseconds(days.end)))
