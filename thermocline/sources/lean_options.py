"""Option chains of a LEAN data folder: universes day by day, and minutes of quotes, trades and open interest.

A universe (`option/usa/universes/aapl/20140605.csv`) is a chain at the end of a session: a line for the underlying,
then one for each contract with its day's prices, volume, open interest, implied volatility and Greeks. An implied
volatility of 0 means that none could be found; it is null here, and so are the Greeks, which were computed from it.
`last` is the close of a contract that traded; of others LEAN gives the middle of a quote there, which is no price
that anybody paid. Older files name a contract by strike and expiry, newer ones by its OSI symbol.

A minute of an option lies in up to three zips a day (`option/usa/minute/twx/20140605_quote_american.zip`), with a
file for each contract. They become snapshots at the end of the minute: its bid and ask, and what was known of the day
by then, the last trade, the volume so far, and the open interest. Prices are integers of 1/10000.

Zips of hours and days are passed over, as are options of futures and indices.
Format: https://www.quantconnect.com/docs/v2/lean-engine/data-format/equity-options, read 2026-11.
"""

import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from thermocline.errors import SourceError
from thermocline.model.parsing import decimals, floats
from thermocline.model.parsing.times import DAY_MICROSECONDS, INSTANT, microseconds
from thermocline.ports import Fetched, FetchRequest
from thermocline.sources.contracts import Contract, contract_of
from thermocline.sources.local_time import to_utc

DATASETS = ("options_data",)
"""What is read here."""

_UNIVERSE = re.compile(r"(?P<day>\d{8})\.csv")
_MINUTES = re.compile(r"(?P<day>\d{8})_(?P<kind>quote|trade|openinterest)_(?P<style>american|european)\.zip")
_ENTRY = re.compile(r".*_(?P<right>call|put)_(?P<strike>\d+)_(?P<expiry>\d{8})\.csv")
_OTHERS = frozenset({"futureoption", "indexoption", "future", "index"})
_HEADERS = (
    "expiry,strike,right,open,high,low,close,volume,open_interest,implied_volatility",
    "symbol_id,symbol_value,open,high,low,close,volume,open_interest,implied_volatility",
)
_GREEKS = ("delta", "gamma", "theta", "vega", "rho")
_KINDS: Mapping[str, tuple[str, ...]] = {
    "quote": ("time", *(f"bid_{n}" for n in "ohl"), "bid", "bid_size", *(f"ask_{n}" for n in "ohl"), "ask", "ask_size"),
    "trade": ("time", "open", "high", "low", "last", "volume"),
    "openinterest": ("time", "open_interest"),
}
_SAID: Mapping[str, tuple[str, ...]] = {
    "quote": ("bid", "ask"),
    "trade": ("last", "volume"),
    "openinterest": ("open_interest",),
}
"""What a snapshot takes of each."""
_PRICES = frozenset({"bid", "ask", "last"})
_MINUTE = 60_000_000
_KEYS = DAY_MICROSECONDS + _MINUTE + 1
"""More than the time of any event: what a contract's number is multiplied by to make one number of both."""
_SCALE = 4
_STRIKE_PLACES = 3
_ZONE = "America/New_York"
_DAMAGE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, UnicodeError, NotImplementedError, pa.ArrowException)

Integers = npt.NDArray[np.int64]
Unreadable = list[tuple[str, str]]


@dataclass(frozen=True)
class LeanOptionChains:
    """Reads the option chains below a folder, an underlying and day at a time."""

    path: str

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """Yield the chain of each day and underlying that was asked for.

        Raises:
            SourceError: There are none, or some could not be read; the rows of the others were delivered.
        """
        root = Path(self.path).expanduser().absolute()
        if not root.exists():
            msg = f"{root}: there is no such folder; check the path (relative paths start at the current folder)"
            raise SourceError(msg)
        found = _found(root)
        if not found:
            msg = (
                f"{root}: no option chains there; expected a LEAN data folder with files such as "
                "option/usa/universes/aapl/20140605.csv or option/usa/minute/aapl/20140605_quote_american.zip"
            )
            raise SourceError(msg)
        unread = []
        wanted = [each for each in found if each.is_wanted(request)]
        for each in wanted:
            try:
                fetched = each.read()
            except (*_DAMAGE, SourceError) as error:
                unread.append(f"{each.origin}: {error or type(error).__name__}")
            else:
                yield fetched
        if unread:
            msg = f"{len(unread)} of {len(wanted)} chains could not be read. Fix or remove:\n"
            raise SourceError(msg + "\n".join(unread))


@dataclass(frozen=True)
class _Chain:
    """The files of one underlying and day: one universe, or up to three zips of minutes."""

    underlying: str
    day: date
    origin: Path
    zips: dict[str, Path] = field(default_factory=dict)

    def is_wanted(self, request: FetchRequest) -> bool:
        return (not request.symbols or self.underlying in request.symbols) and self.day in request.days

    def read(self) -> Fetched:
        return _minutes(self) if self.zips else _universe(self)


def _found(root: Path) -> list[_Chain]:
    """The chains below a folder, or of one file, in order of time."""
    paths = [root] if root.is_file() else list(_walk(root))
    found: dict[tuple[Path, date | None, str], _Chain] = {}
    for path in paths:
        name = path.name.lower()
        # Above the folder that was named anything may be called `index`.
        if _OTHERS & {part.lower() for part in path.relative_to(root.parent).parts[:-1]}:
            continue
        underlying = path.parent.name.upper()
        if (match := _UNIVERSE.fullmatch(name)) and (day := _day(match["day"])) and _is_universe(path):
            found[path, day, ""] = _Chain(underlying, day, path)
        elif (match := _MINUTES.fullmatch(name)) and (day := _day(match["day"])):
            key = (path.parent, day, match["style"])
            chain = found.setdefault(key, _Chain(underlying, day, path.parent / match["day"]))
            chain.zips[match["kind"]] = path
    return sorted(found.values(), key=lambda each: (each.day, each.origin))


def _walk(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):  # Path.walk is of Python 3.12
        yield from (Path(folder, name) for name in names)


def _day(digits: str) -> date | None:
    try:
        return datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC).date()
    except ValueError:
        return None


def _is_universe(path: Path) -> bool:
    """Whether a file begins as a universe of options does; those of futures and of funds have names like it."""
    with path.open("rb") as file:
        header = file.readline().decode(errors="replace")
    return header.removeprefix("#").startswith(_HEADERS)


def _universe(chain: _Chain) -> Fetched:
    """The chain at the end of a session."""
    unreadable: Unreadable = []
    content = chain.origin.read_bytes()
    header, _, lines = content.partition(b"\n")
    table = _lines(lines, header.decode().strip().removeprefix("#").split(","), unreadable)
    by_symbol = "symbol_value" in table.column_names
    named = pc.is_valid(table["strike"]) if not by_symbol else _is_contract(table["symbol_value"])
    underlying, rows = table.filter(pc.invert(named)), table.filter(named)
    contracts = [
        _contract(chain.underlying, row) if not by_symbol else contract_of(row["symbol_value"])
        for row in rows.select(["symbol_value"] if by_symbol else ["expiry", "strike", "right"]).to_pylist()
    ]
    rows, known = _known(rows, contracts, unreadable)
    # Zero is what LEAN writes where it found none; the Greeks follow from it.
    traded, has_volatility = _above_zero(rows["volume"]), _above_zero(rows["implied_volatility"])
    columns = _contract_columns(chain.underlying, known) | {
        "ts": pa.array([microseconds(chain.day)] * len(rows), pa.int64()).cast(INSTANT),
        "last": pc.if_else(traded, rows["close"], None),
        "underlying_price": pa.array([underlying["close"][0].as_py() if len(underlying) else None] * len(rows)),
        "volume": rows["volume"],
        "open_interest": rows["open_interest"],
    }
    columns |= {name: pc.if_else(has_volatility, rows[name], None) for name in ("implied_volatility", *_GREEKS)}
    return Fetched(pa.table(columns), str(chain.origin), tuple(unreadable))


def _above_zero(texts: pa.ChunkedArray) -> pa.Array:
    """Where a text is not missing, and not the number zero: what is no number at all is for the gate to refuse."""
    numbers = floats(texts.combine_chunks())
    above = np.asarray(pc.fill_null(numbers.values, 0.0)) != 0.0
    above[list(numbers.wrong)] = True
    return pa.array(above)


def _is_contract(symbols: pa.ChunkedArray) -> pa.Array:
    return pa.array([text is not None and contract_of(text) is not None for text in symbols.to_pylist()], pa.bool_())


def _contract(underlying: str, row: Mapping[str, str]) -> Contract | None:
    """The contract that a universe's line speaks of."""
    try:
        thousandths = Decimal(row["strike"]).scaleb(_STRIKE_PLACES)
        whole = int(thousandths)
    except ArithmeticError:
        return None
    return contract_of(f"{underlying}{row['expiry'][2:]}{row['right']}{whole:08d}") if whole == thousandths else None


def _known(rows: pa.Table, contracts: list[Contract | None], unreadable: Unreadable) -> tuple[pa.Table, list[Contract]]:
    """The rows whose contract is known, once the others are noted."""
    flags = [contract is not None for contract in contracts]
    for row in rows.filter(pa.array([not flag for flag in flags], pa.bool_())).to_pylist():
        text = ",".join("" if value is None else value for value in row.values())
        unreadable.append((text, "expiry, strike and right, or the symbol, name no contract"))
    return rows.filter(pa.array(flags, pa.bool_())), [contract for contract in contracts if contract is not None]


def _contract_columns(underlying: str, contracts: list[Contract]) -> dict[str, pa.Array]:
    return {
        "contract_symbol": pa.array([each.symbol for each in contracts], pa.string()),
        "underlying": pa.repeat(underlying, len(contracts)),
        "expiration": pa.array([each.expiration for each in contracts], pa.date32()),
        "strike": pa.array([each.strike for each in contracts], pa.decimal128(18, 8)),
        "option_type": pa.array([each.option_type for each in contracts], pa.string()),
    }


@dataclass(frozen=True)
class _Events:
    """What the zip of one kind says: the contract's number, microseconds since midnight, and the columns of it."""

    contract: Integers
    at: Integers
    said: pa.Table

    @property
    def key(self) -> Integers:
        return self.contract * _KEYS + self.at


def _minutes(chain: _Chain) -> Fetched:
    """Snapshots of the chain at the end of each minute in which something is said of a contract."""
    unreadable: Unreadable = []
    numbers: dict[Contract, int] = {}
    events = {kind: _events(chain, kind, numbers, unreadable) for kind in sorted(chain.zips)}
    keys = np.unique(np.concatenate([each.key for each in events.values()]))
    number, at = np.divmod(keys, _KEYS)
    contracts = list(numbers)
    columns = _contract_columns(chain.underlying, [contracts[each] for each in number.tolist()])
    wall = pa.array(at + microseconds(chain.day), pa.int64()).cast(pa.timestamp("us"))
    columns["ts"] = to_utc(wall, _ZONE).values
    for kind, each in events.items():
        here = _positions(keys, each)
        if kind == "trade":
            columns["volume"] = pc.fill_null(pa.array(_running(each)).take(_latest(here, number)), 0.0)
        # Quotes are those of the minute; of trades and open interest the last word of the day so far counts.
        rows = here if kind == "quote" else _latest(here, number)
        columns |= {name: each.said[name].combine_chunks().take(rows) for name in _SAID[kind] if name != "volume"}
    return Fetched(pa.table(columns), str(chain.origin), tuple(unreadable))


def _events(chain: _Chain, kind: str, contracts: dict[Contract, int], unreadable: Unreadable) -> _Events:
    """The lines of a zip, in order of contract and time. `contracts` numbers them, and grows by those that are new."""
    parts, of = [], []
    path = chain.zips[kind]
    with zipfile.ZipFile(path) as opened:
        for name in sorted(opened.namelist()):
            match = _ENTRY.fullmatch(name.lower())
            contract = match and _contract_of_entry(chain.underlying, match)
            if not contract:
                unreadable.append((name, f"the name of this file in {path.name} names no contract"))
                continue
            lines = _lines(opened.read(name), _KINDS[kind], unreadable)
            parts.append(lines)
            of.append(np.full(len(lines), contracts.setdefault(contract, len(contracts)), dtype=np.int64))
    empty = pa.table({name: pa.array([], pa.string()) for name in _KINDS[kind]})
    table = pa.concat_tables([empty, *parts]).combine_chunks()
    number = np.concatenate([np.empty(0, dtype=np.int64), *of])
    at = _since_midnight(table["time"]) + (0 if kind == "openinterest" else _MINUTE)
    order = np.lexsort((at, number))
    number, at, table = number[order], at[order], table.take(pa.array(order))
    wrong = dict.fromkeys(np.flatnonzero(at < 0).tolist(), "time: not milliseconds of a day")
    again = np.flatnonzero((np.diff(number) == 0) & (np.diff(at) == 0)) + 1
    wrong |= dict.fromkeys(again.tolist(), "a second line of the same minute")
    said: dict[str, pa.Array] = {}
    for name in _SAID[kind]:
        texts = table[name].combine_chunks()
        parsed = decimals(texts, 18, _SCALE) if name in _PRICES else floats(texts)
        said[name] = parsed.values.view(pa.decimal128(18, 2 * _SCALE)) if name in _PRICES else parsed.values
        wrong |= {row: f"{name}: {reason}" for row, reason in parsed.wrong.items()}
    named = list(contracts)
    for row in sorted(wrong):
        text = ",".join(value or "" for value in table.slice(row, 1).to_pylist()[0].values())
        unreadable.append((f"{named[number[row]].symbol}: {text}", wrong[row]))
    good = np.ones(len(at), dtype=bool)
    good[list(wrong)] = False
    return _Events(number[good], at[good], pa.table(said).filter(pa.array(good)))


def _contract_of_entry(underlying: str, match: "re.Match[str]") -> Contract | None:
    strike, tenths = divmod(int(match["strike"]), 10)
    right = "C" if match["right"] == "call" else "P"
    return None if tenths else contract_of(f"{underlying}{match['expiry'][2:]}{right}{strike:08d}")


def _lines(content: bytes, names: "list[str] | tuple[str, ...]", unreadable: Unreadable) -> pa.Table:
    """Lines as columns of text; those with another number of fields are noted."""
    if not content.strip():
        return pa.table({name: pa.array([], pa.string()) for name in names})

    def skip(row: pa_csv.InvalidRow) -> str:
        unreadable.append((row.text, f"{row.actual_columns} fields, {row.expected_columns} expected"))
        return "skip"

    return pa_csv.read_csv(
        pa.BufferReader(content),
        read_options=pa_csv.ReadOptions(column_names=names, use_threads=False, block_size=max(len(content), 1 << 20)),
        parse_options=pa_csv.ParseOptions(invalid_row_handler=skip),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
        ),
    )


def _since_midnight(texts: pa.ChunkedArray) -> Integers:
    """Microseconds since midnight; far below zero where a text is no such number."""
    digits = pc.fill_null(pc.match_substring_regex(texts, r"^\d{1,8}$"), fill_value=False)
    ticks = np.asarray(pc.cast(pc.if_else(digits, texts, "-1"), pa.int64()), dtype=np.int64)
    return np.where((ticks < 0) | (ticks * 1_000 >= DAY_MICROSECONDS), -DAY_MICROSECONDS, ticks * 1_000)


def _positions(keys: Integers, events: _Events) -> pa.Array:
    """For each key the row of the event that has it, null where none has."""
    at = np.searchsorted(events.key, keys)
    found = np.minimum(at, max(len(events.key) - 1, 0))
    has = (events.key[found] == keys) if len(events.key) else np.zeros(len(keys), dtype=bool)
    return pa.array(found, mask=~has)


def _latest(positions: pa.Array, number: Integers) -> pa.Array:
    """The positions, each null filled with the one before of the same contract."""
    has = np.asarray(positions.is_valid())
    last = np.maximum.accumulate(np.where(has, np.arange(len(has)), -1))
    filled = (last >= 0) & (number[last] == number)
    rows = np.asarray(positions.fill_null(0))
    return pa.array(rows[np.maximum(last, 0)], mask=~filled)


def _running(trades: _Events) -> npt.NDArray[np.float64]:
    """The volume of each contract's day so far."""
    volume = np.asarray(pc.fill_null(trades.said["volume"], 0.0), dtype=np.float64)
    total = np.cumsum(volume)
    first = np.searchsorted(trades.contract, trades.contract)
    running: npt.NDArray[np.float64] = total - (total[first] - volume[first]) if len(total) else total
    return running
