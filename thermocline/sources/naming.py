"""Which column of a file is which column of a dataset."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePath

from thermocline.errors import SourceError
from thermocline.model.dataset import Dataset
from thermocline.model.paths import decode

TIME_OF_DAY = "time of day"
"""Stands beside `ts` where a file has the date and the time of day in two columns."""

SUFFIXES = (
    ".csv.gz",
    ".tsv.gz",
    ".txt.gz",
    ".csv",
    ".tsv",
    ".txt",
    ".parquet",
    ".pq",
    ".feather",
    ".arrow",
    ".ipc",
)
"""How the names of files that can be read end."""

_ALIASES: Mapping[str, tuple[str, ...]] = {
    "ts": (
        *("timestamp", "datetime", "date", "time", "day", "opentime", "publishedat", "exdate", "exdividenddate"),
        *("t", "index", "indexlevel0", ""),
    ),
    "symbol": ("ticker", "tickersymbol", "instrument", "name", "s"),
    "interval": ("timeframe", "barsize", "resolution", "frequency"),
    "asset_class": ("assettype", "securitytype"),
    "open": ("openprice", "o"),
    "high": ("highprice", "h"),
    "low": ("lowprice", "l"),
    "close": ("closeprice", "c"),
    "volume": ("vol", "v"),
    "vwap": ("vw", "wap"),
    "trade_count": ("trades", "tradescount", "numberoftrades", "transactions", "n"),
    "contract_symbol": ("contract", "contractid", "optionsymbol", "occsymbol"),
    "underlying": ("underlyingsymbol", "root", "rootsymbol", "symbol", "ticker"),
    "expiration": ("expiry", "expirationdate", "expdate"),
    "strike": ("strikeprice",),
    "option_type": ("type", "right", "callput", "putcall"),
    "last": ("lastprice",),
    "open_interest": ("oi",),
    "implied_volatility": ("iv", "impliedvol"),
    "headline": ("title",),
    "article_id": ("id",),
    "body": ("content", "text"),
    "market_cap": ("marketcapitalization",),
    "pe_ratio": ("pe",),
    "old_shares": ("splitfrom", "fromfactor", "oldrate"),
    "new_shares": ("splitto", "tofactor", "newrate"),
    "amount": ("dividend", "dividends", "cashamount"),
}
"""Other names of columns, the more telling first, in lower case and without anything but letters and digits."""


def compact(name: str) -> str:
    """A column's name as aliases are compared: `Adj Close` is `adjclose`."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def columns_of(dataset: Dataset, names: Collection[str], given: Mapping[str, str], origin: str) -> dict[str, str]:
    """For each column of the dataset that the file has, the file's own name of it.

    What is `given` goes first (dataset's name: file's name), then equal names, then other names of the same thing; case
    and punctuation don't count. A date beside a time of day gives `ts` and `TIME_OF_DAY`.

    Raises:
        SourceError: A column that is given is not in the file.
    """
    found: dict[str, str] = {}
    for column, wanted in given.items():
        match = next((name for name in names if name == wanted), None)
        match = match or next((name for name in names if name.lower() == wanted.lower()), None)
        if match is None:
            msg = f"{origin}: it has no column {wanted!r} (for {column}); it has {', '.join(names)}"
            raise SourceError(msg)
        found[column] = match
    free: dict[str, str] = {}
    for name in names:
        if name not in found.values():
            free.setdefault(compact(name), name)
    for column in dataset.names:
        if column not in found and compact(column) in free:
            found[column] = free.pop(compact(column))
    if "ts" not in found and {"date", "time"} <= free.keys() and not {"timestamp", "datetime"} & free.keys():
        found |= {"ts": free.pop("date"), TIME_OF_DAY: free.pop("time")}
    for column in dataset.names:
        alias = next((alias for alias in _ALIASES.get(column, ()) if column not in found and alias in free), None)
        if alias is not None:
            found[column] = free.pop(alias)
    return found


def suffix_of(path: PurePath) -> str:
    """The suffix by which the file would be read, in lower case, or an empty text."""
    return next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), "")


def symbol_of(path: PurePath, pattern: re.Pattern[str] | None, *, as_written: bool = False) -> str | None:
    """The symbol that a file's name tells.

    By the pattern's group `symbol`; without a pattern what stands before the first underscore: `BRK.B_data.csv` is
    BRK.B, and `BTC%2FUSDT.csv` is BTC/USDT. A name all in lower case is put in upper case, unless it is to be taken
    `as_written`.
    """
    if pattern:
        match = pattern.search(path.name)
        return match["symbol"] if match else None
    stem = path.name[: len(path.name) - len(suffix_of(path))]
    symbol = decode(stem.split("_", 1)[0])
    return (symbol.upper() if symbol.islower() and not as_written else symbol) or None


def twins(paths: Iterable[PurePath]) -> set[PurePath]:
    """Files that differ from another one of their folder by case alone, as `con.csv` and `CON.csv` do."""
    alike: dict[tuple[PurePath, str], list[PurePath]] = {}
    for path in paths:
        alike.setdefault((path.parent, path.name.casefold()), []).append(path)
    return {path for found in alike.values() if len(found) > 1 for path in found}
