"""Real daily bars of AAPL, FB, GOOG, IBM and MSFT, 2000 to 2013, from the package bokeh_sampledata (public domain).

Prices are exactly those of the package's CSV. They are not adjusted for splits; its Adj Close is left out. The splits
come along as a dataset.
"""

import importlib.resources
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from thermocline.errors import SourceError, UsageError
from thermocline.model.partition import midnight
from thermocline.ports import Fetched, FetchRequest
from thermocline.sources.delimited import Dialect, first_line, open_text, read_delimited
from thermocline.sources.options import Options, validated
from thermocline.sources.tables import DAMAGE

_COLUMNS = {
    "symbol": "Ticker",
    "ts": "Date",
    "open": "Open",
    "high": "High",
    "low": "Low",
    "close": "Close",
    "volume": "Volume",
}

_SPLITS = (
    # https://investor.apple.com/faq and https://www.microsoft.com/en-us/investor/faq, read 2026-11. The five had no
    # other split while the bars last.
    ("AAPL", date(2000, 6, 21)),
    ("MSFT", date(2003, 2, 18)),
    ("AAPL", date(2005, 2, 28)),
)
"""Ex-dates of splits of one share into two."""


class SampleOptions(Options):
    """`sample` has no options."""


def open_source(name: str, options: Mapping[str, Any]) -> "SampleSource":
    """The source of that name; nothing is read yet.

    Raises:
        SettingsError: An option was given.
    """
    validated(SampleOptions, name, options)
    return SampleSource(name)


class SampleSource:
    """Reads the CSV that bokeh_sampledata ships, without importing Bokeh or pandas."""

    def __init__(self, name: str = "sample") -> None:
        """Nothing is looked for yet."""
        self._name = name

    @property
    def name(self) -> str:
        """What the `source` column of its rows says."""
        return self._name

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """Yield the bars of the symbols asked for.

        Raises:
            UsageError: The dataset is neither market_data nor splits.
            SourceError: The package is missing or damaged.
        """
        if request.dataset.name == "splits":
            yield Fetched(_splits(request), "splits that Apple and Microsoft announced")
            return
        if request.dataset.name != "market_data":
            msg = f"source {self._name!r} has market_data and splits, not {request.dataset.name}"
            raise UsageError(msg)
        if request.intervals and "1day" not in request.intervals:
            return
        try:
            package = importlib.resources.files("bokeh_sampledata")
            with importlib.resources.as_file(package / "_data" / "stocks.csv.gz") as path, open_text(path) as opened:
                for table, unreadable in read_delimited(opened, first_line(path, "utf-8"), Dialect()):
                    yield Fetched(_bars(table, request.symbols), "bokeh_sampledata stocks.csv.gz", unreadable)
        except ModuleNotFoundError:
            msg = "the sample's bars come with an extra; install it: pip install 'thermocline[sample]'"
            raise SourceError(msg) from None
        except (*DAMAGE, KeyError) as error:
            msg = f"bokeh_sampledata does not hold the bars as expected ({error}); install it again, 2026.1 or later"
            raise SourceError(msg) from None


def _bars(table: pa.Table, symbols: frozenset[str]) -> pa.Table:
    if symbols:
        table = table.filter(pc.is_in(table["Ticker"], value_set=pa.array(sorted(symbols))))
    arrays = {name: table[own] for name, own in _COLUMNS.items()}
    return pa.table(
        {"asset_class": pa.repeat("equity", len(table)), "interval": pa.repeat("1day", len(table)), **arrays}
    )


def _splits(request: FetchRequest) -> pa.Table:
    found = [
        {"asset_class": "equity", "symbol": symbol, "ts": midnight(day), "old_shares": 1, "new_shares": 2}
        for symbol, day in _SPLITS
        if day in request.days and (not request.symbols or symbol in request.symbols)
    ]
    names = ("asset_class", "symbol", "ts", "old_shares", "new_shares")
    return pa.Table.from_pylist(found, pa.schema([request.dataset.arrow_schema.field(name) for name in names]))
