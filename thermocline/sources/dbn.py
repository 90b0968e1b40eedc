"""DBN files of Databento: bars and consolidated quotes, every price exact.

A price is a whole number of billionths (https://databento.com/docs/schemas/ohlcv, read 2026-11), so it never passes
through a float. `ts_event` of a bar is the instant it opens, UTC; a daily bar covers a UTC day. A consolidated feed
such as OPRA has one bar of each venue for an instrument and interval; `merged` makes one of them.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.errors import SourceError
from thermocline.model.partition import ONE_DAY, DayRange
from thermocline.sources.contracts import contract_of
from thermocline.sources.zstd_frames import MAGIC, is_whole

BARS: Mapping[str, str] = {"ohlcv-1s": "1sec", "ohlcv-1m": "1min", "ohlcv-1h": "1hour", "ohlcv-1d": "1day"}
"""The schemas that are bars, and the size of theirs."""

QUOTES = ("cbbo-1s", "cbbo-1m")
"""The schemas that are snapshots of the best bid and offer of all venues together."""

DEFINITION = "definition"
SYMBOLOGY = "symbology.json"

_OPRA = "OPRA.PILLAR"
_FUTURES = re.compile(r"(GLBX|IFEU|IFUS|IFLL|NDEX|XEUR|XEEE|XCBF)\.")
_OPTION_ON_FUTURE = re.compile(r".+ [CP]-?\d+")
# These call many instruments by one name, or by a number.
_NO_NAMES = ("parent", "instrument_id")

_BATCH = 262_144
_PRICES = ("open", "high", "low", "close")
_PLACES = 9
_UNDEFINED_PRICE = np.iinfo(np.int64).max

Records = npt.NDArray[Any]
Unreadable = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class DbnFile:
    """A file, or the bytes of one, by what its beginning says.

    `schema` is empty where records of several are mixed; `end` is the instant up to which records were asked for.
    """

    content: Path | bytes
    dataset: str
    schema: str
    days: DayRange
    end: datetime | None
    metadata: Any = field(repr=False)

    def batches(self) -> Iterator[Records]:
        """The records, as many at a time as fit in memory.

        Raises:
            SourceError: The file breaks off, or is damaged.
        """
        from databento.common.error import BentoWarning  # noqa: PLC0415  # it brings pandas and aiohttp

        with _opened(self.content) as store:
            batches = iter(store.to_ndarray(schema=self.schema, count=_BATCH))
            while True:
                with warnings.catch_warnings():
                    # A file that breaks off is damage; the SDK only warns of it and leaves the rest out.
                    warnings.simplefilter("error", BentoWarning)
                    try:
                        batch = next(batches, None)
                    except Exception as error:  # noqa: BLE001  # whatever zstandard, numpy and the SDK raise
                        msg = f"it can't be read to its end: {error}"
                        raise SourceError(msg) from None
                if batch is None:
                    return
                yield batch.reshape(-1)


def open_dbn(content: Path | bytes) -> DbnFile:
    """Look at the beginning of a file, or of the bytes of one.

    Raises:
        SourceError: It is no DBN file.
    """
    with _opened(content) as store:
        end = store.end or store.start
        first, last = store.start.date(), (end - timedelta(microseconds=1)).date()
        days = DayRange(first, max(first, last) + ONE_DAY)
        asked_until = store.end.to_pydatetime() if store.end else None
        return DbnFile(content, store.dataset, str(store.schema or ""), days, asked_until, store.metadata)


@dataclass(frozen=True)
class _OpenFile:
    """A file as the SDK's store takes it. The SDK's own never closes it."""

    opened: Any
    name: str = "DBN"

    @property
    def reader(self) -> Any:
        """The file, at its beginning."""
        self.opened.seek(0)
        return self.opened


@contextmanager
def _opened(content: Path | bytes) -> Iterator[Any]:
    from databento import DBNStore  # noqa: PLC0415  # it brings pandas and aiohttp

    with BytesIO(content) if isinstance(content, bytes) else content.open("rb") as opened:
        if opened.read(len(MAGIC)) == MAGIC and not is_whole(opened):
            msg = "it can't be read to its end: it breaks off"
            raise SourceError(msg)
        try:
            store = DBNStore(cast("Any", _OpenFile(opened)))
        except Exception as error:  # noqa: BLE001  # what the SDK raises depends on where the file is damaged
            msg = f"it is no DBN file: {error}"
            raise SourceError(msg) from None
        yield store


def asset_class_of(dataset: str, symbol: str) -> str:
    """What an instrument of one of Databento's datasets is."""
    if dataset == _OPRA:
        return "option"
    if not _FUTURES.match(dataset):
        return "equity"
    return "option" if _OPTION_ON_FUTURE.fullmatch(symbol) else "future"


class Names:
    """Which symbol an instrument had on which day: by the file itself, a symbology.json beside it, or definitions."""

    def __init__(self) -> None:
        """Nothing is known beyond what a file says of itself."""
        self._defined: dict[tuple[str, int, date], str] = {}

    def learn(self, file: DbnFile) -> None:
        """Take in a file of the schema `definition`."""
        for records in file.batches():
            days = _days(records["ts_recv"]).tolist()
            for identity, day, symbol in zip(records["instrument_id"], days, records["raw_symbol"], strict=True):
                self._defined[file.dataset, int(identity), day] = symbol.decode().strip()

    def of(self, file: DbnFile) -> "Symbols":
        """Those of one file."""
        from databento.common.symbology import InstrumentMap  # noqa: PLC0415  # as above

        known = InstrumentMap()
        if str(file.metadata.stype_in) not in _NO_NAMES:
            known.insert_metadata(file.metadata)
        if isinstance(file.content, Path) and (beside := file.content.with_name(SYMBOLOGY)).is_file():
            known.insert_json(beside.read_text(encoding="utf-8"))
        return Symbols(file.dataset, known, self._defined)


@dataclass(frozen=True)
class Symbols:
    """The symbols of one file's instruments."""

    dataset: str
    known: Any
    defined: Mapping[tuple[str, int, date], str]

    def named(self, records: Records, stamp: str) -> tuple[pa.Array, Records, Unreadable]:
        """The records that have a symbol, with it; those of other instruments are only told of."""
        days = _days(records[stamp])
        found = self.known.resolve_many(records["instrument_id"], days)
        symbols = [
            symbol or self.defined.get((self.dataset, identity, day))
            for symbol, identity, day in zip(
                found.tolist(), records["instrument_id"].tolist(), days.tolist(), strict=True
            )
        ]
        has_name = np.array([bool(symbol) for symbol in symbols], dtype=bool)
        # OPRA pads a contract's root with blanks.
        texts = [symbol.replace(" ", "") if self.dataset == _OPRA else symbol for symbol in symbols if symbol]
        unreadable = tuple(_nameless(records[~has_name], days[~has_name]))
        return pa.array(texts, pa.string()), records[has_name], unreadable


def read_bars(file: DbnFile, names: Names, publisher: int | None = None) -> Iterator[tuple[pa.Table, Unreadable]]:
    """The bars of a file: symbol, ts, open, high, low, close, volume; and instruments without a name.

    `publisher` picks one venue; without it the bars of all venues for one instrument and interval are made one.

    Raises:
        SourceError: The file breaks off, or is damaged.
    """
    symbols = names.of(file)
    for batch in _whole_instants(file.batches(), "ts_event"):
        own = batch if publisher is None else batch[batch["publisher_id"] == publisher]
        named, records, unreadable = symbols.named(merged(own), "ts_event")
        prices = {name: _prices(records[name]) for name in _PRICES}
        volume = pa.array(records["volume"].astype(np.float64))
        yield pa.table({"symbol": named, "ts": _instants(records["ts_event"]), **prices, "volume": volume}), unreadable


def read_quotes(file: DbnFile, names: Names) -> Iterator[tuple[pa.Table, Unreadable]]:
    """The snapshots of a file of quotes, with what the contract's symbol says. Those without any price are left out.

    `ts` is the end of the second or minute: the instant at which bid and ask stood so.

    Raises:
        SourceError: The file breaks off, or is damaged.
    """
    symbols = names.of(file)
    for batch in file.batches():
        named, records, unreadable = symbols.named(batch, "ts_recv")
        contracts = {symbol: contract_of(symbol) for symbol in pc.unique(named).to_pylist()}
        found = [contracts[symbol] for symbol in named.to_pylist()]
        quotes = {
            "bid": _prices(records["bid_px_00"]),
            "ask": _prices(records["ask_px_00"]),
            "last": _prices(records["price"]),
        }
        table = pa.table(
            {
                "contract_symbol": named,
                "underlying": pa.array([each and each.underlying for each in found], pa.string()),
                "ts": _instants(records["ts_recv"]),
                "expiration": pa.array([each and each.expiration for each in found], pa.date32()),
                "strike": pa.array([each and each.strike for each in found], pa.decimal128(18, 8)),
                "option_type": pa.array([each and each.option_type for each in found], pa.string()),
                **quotes,
            }
        )
        bid, ask, last = (quote.is_valid() for quote in quotes.values())
        yield table.filter(pc.or_(pc.or_(bid, ask), last)), unreadable


def merged(records: Records) -> Records:
    """One bar for each instrument and instant.

    Of several venues' bars the high is the highest, the low the lowest and the volume the sum; open and close, whose
    order among venues no bar tells, are those of the venue that traded most.
    """
    # Stable: of venues that traded as much, the first that came counts.
    order = np.lexsort((-records["volume"].astype(np.int64), records["instrument_id"], records["ts_event"]))
    records = records[order]
    again = np.zeros(len(records), dtype=bool)
    again[1:] = (records["instrument_id"][1:] == records["instrument_id"][:-1]) & (
        records["ts_event"][1:] == records["ts_event"][:-1]
    )
    starts = np.flatnonzero(~again)
    if len(starts) == len(records):
        return records
    one = records[starts].copy()
    one["high"] = np.maximum.reduceat(records["high"], starts)
    one["low"] = np.minimum.reduceat(records["low"], starts)
    one["volume"] = np.add.reduceat(records["volume"], starts)
    return one


def _whole_instants(batches: Iterator[Records], stamp: str) -> Iterator[Records]:
    """Batches that never part the records of one instant, so that the bars of all venues come together."""
    kept: Records | None = None
    for batch in batches:
        records = batch if kept is None else np.concatenate([kept, batch])
        if not len(records):
            continue
        cut = int(np.searchsorted(records[stamp], records[stamp][-1], side="left"))
        if cut:
            yield records[:cut]
        kept = records[cut:]
    if kept is not None and len(kept):
        yield kept


def _nameless(records: Records, days: npt.NDArray[Any]) -> Iterator[tuple[str, str]]:
    identities, firsts, counts = np.unique(records["instrument_id"], return_index=True, return_counts=True)
    for identity, first, count in zip(identities.tolist(), firsts.tolist(), counts.tolist(), strict=True):
        reason = (
            f"no symbol is known for instrument {identity} on {days[first]}; put the {SYMBOLOGY} of the download, or a "
            f"file of the schema {DEFINITION}, beside the file"
        )
        yield f'{{"instrument_id": {identity}, "records": {count}}}', reason


def _prices(billionths: npt.NDArray[np.int64]) -> pa.Array:
    undefined = billionths == _UNDEFINED_PRICE
    whole = pa.array(np.where(undefined, 0, billionths), pa.int64(), mask=undefined)
    return whole.cast(pa.decimal128(19, 0)).view(pa.decimal128(19, _PLACES))


def _instants(nanoseconds: npt.NDArray[np.uint64]) -> pa.Array:
    return pa.array(nanoseconds.astype(np.int64)).cast(pa.timestamp("ns", "UTC"))


def _days(nanoseconds: npt.NDArray[np.uint64]) -> npt.NDArray[np.datetime64]:
    return nanoseconds.astype("datetime64[ns]").astype("datetime64[D]")
