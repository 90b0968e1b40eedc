"""Rows out of the JSON of vendors. A page keeps each record as it came; what it means is read afterwards.

A number is read as a float, whose shortest spelling is what the vendor wrote; the gate makes the exact price of it.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from thermocline.errors import SourceError
from thermocline.model.partition import ONE_DAY, midnight
from thermocline.sources.transport.candles import length_of
from thermocline.sources.transport.http import Http
from thermocline.sources.transport.paging import Answer

Record = Mapping[str, Any]
Row = Mapping[str, Any]
Unreadable = tuple[tuple[str, str], ...]

_INSTANT = pa.timestamp("us", "UTC")
_TEXTS = pa.string()

BARS = pa.schema(
    {
        **dict.fromkeys(("asset_class", "symbol", "interval"), _TEXTS),
        "ts": _INSTANT,
        **dict.fromkeys(("open", "high", "low", "close", "volume", "vwap"), pa.float64()),
        "trade_count": pa.int64(),
    }
)
CHAINS = pa.schema(
    {
        **dict.fromkeys(("contract_symbol", "underlying", "option_type"), _TEXTS),
        "ts": _INSTANT,
        "expiration": pa.date32(),
        "strike": pa.decimal128(18, 8),
        **dict.fromkeys(("bid", "ask", "last", "underlying_price", "volume", "open_interest"), pa.float64()),
        **dict.fromkeys(("implied_volatility", "delta", "gamma", "theta", "vega", "rho"), pa.float64()),
    }
)
NEWS = pa.schema(
    {
        **dict.fromkeys(("article_id", "symbol", "headline", "summary", "body"), _TEXTS),
        **dict.fromkeys(("url", "author", "publisher"), _TEXTS),
        "ts": _INSTANT,
    }
)
SPLITS = pa.schema(
    {
        **dict.fromkeys(("asset_class", "symbol"), _TEXTS),
        "ts": _INSTANT,
        **dict.fromkeys(("old_shares", "new_shares"), pa.float64()),
    }
)
DIVIDENDS = pa.schema(
    {
        **dict.fromkeys(("asset_class", "symbol", "kind", "currency"), _TEXTS),
        "ts": _INSTANT,
        "amount": pa.float64(),
        **dict.fromkeys(("declared_on", "record_on", "paid_on"), pa.date32()),
    }
)
INSTRUMENTS = pa.schema(
    {
        **dict.fromkeys(("instrument_id", "asset_class", "symbol", "exchange", "name"), _TEXTS),
        "ts": _INSTANT,
        "until": pa.date32(),
    }
)

_RECORD = "record"
_spelled = json.JSONEncoder(separators=(",", ":"), default=float).encode  # a Decimal is no JSON
_SESSION_UNITS = ("day", "week", "month")
_INTERVAL = re.compile(r"(\d+)([a-z]+)")
_EXCHANGE = ZoneInfo("America/New_York")
_ROUND_THE_CLOCK = ("crypto", "forex")
_SHOWN_CHARACTERS = 60
_MONTHS = 12
_LONGEST_MONTH = 31


# ----------------------------------------------------------------------------------------------------------- records


def page_of(records: Iterable[Record]) -> pa.Table:
    """Records as a page keeps them."""
    return pa.table({_RECORD: pa.array([_spelled(each) for each in records], _TEXTS)})


def answer_of(
    http: Http,
    path: str,
    parameters: Mapping[str, Any],
    records: Callable[[Record], Iterable[Record]],
    following: Callable[[Record], str | None],
) -> Answer:
    """Ask for one page, and take out its records and the cursor of the next.

    Raises:
        SourceError: The vendor refuses or does not answer, or what it answers has another form than it documents.
    """
    found = http.json(path, parameters)
    try:
        return Answer(page_of(records(found)), following(found) or None)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        msg = f"{path}: the answer has another form than is documented ({error}); nothing of it was taken"
        raise SourceError(msg) from error


def records_of(page: pa.Table) -> list[Record]:
    """The records of a page, as they came."""
    found: list[Record] = json.loads(f"[{','.join(page[_RECORD].to_pylist())}]")
    return found


def rows_of(page: pa.Table, schema: pa.Schema, make: Callable[[Record], Iterable[Row]]) -> tuple[pa.Table, Unreadable]:
    """The rows that `make` finds in the records of a page, and the records in which it can't find any."""
    rows: list[Row] = []
    unreadable = []
    for record in records_of(page):
        try:
            rows += make(record)
        except KeyError as error:
            unreadable.append((_spelled(record), f"{error.args[0]} is missing"))
        except (ArithmeticError, AttributeError, IndexError, TypeError, ValueError) as error:
            unreadable.append((_spelled(record), str(error)))
    return pa.Table.from_pylist(rows, schema), tuple(unreadable)


def happened(rows: pa.Table, by: datetime) -> pa.Table:
    """Rows of events that had happened by then; one that was only announced may still be called off."""
    return rows.filter(pc.less_equal(rows["ts"], pa.scalar(by, _INSTANT)))


def number(record: Record | None, name: str) -> float | None:
    """A number of a record, None where it has none.

    Raises:
        ValueError: There is something else.
    """
    value = record.get(name) if record else None
    if value is None:
        return None
    if type(value) is float and math.isfinite(value):  # nearly all are
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        shown = repr(value)[:_SHOWN_CHARACTERS]
        msg = f"{name}: {shown} is not a number"
        raise ValueError(msg)
    return float(value)


def known(record: Record | None, name: str) -> float | None:
    """A number of a record; None where it has none, or where a 0 stands for that."""
    return number(record, name) or None


def greeks(record: Record | None, implied_volatility: float | None) -> dict[str, float | None]:
    """The Greeks of a record. Zeros beside no volatility were never computed; they are not known."""
    found = {name: number(record, name) for name in ("delta", "gamma", "theta", "vega", "rho")}
    return found if implied_volatility or any(found.values()) else dict.fromkeys(found)


def text(record: Record | None, name: str) -> str | None:
    """A text of a record; None where it is missing or empty."""
    value = (record or {}).get(name)
    return None if value in {None, ""} else str(value)


def instant(value: Any) -> datetime:
    """An instant as RFC 3339 spells it; digits beyond microseconds are cut off.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, str):
        msg = f"{repr(value)[:_SHOWN_CHARACTERS]} is not a time"
        raise ValueError(msg)  # noqa: TRY004  # of a record, like any other wrong value
    found = datetime.fromisoformat(value)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def milliseconds(value: Any) -> datetime:
    """An instant from milliseconds since 1970.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        msg = f"{repr(value)[:_SHOWN_CHARACTERS]} is not milliseconds since 1970"
        raise ValueError(msg)  # noqa: TRY004  # as above
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value)


def day(record: Record, name: str) -> date | None:
    """A date of a record, None where it has none.

    Raises:
        ValueError: There is something else.
    """
    value = text(record, name)
    return date.fromisoformat(value) if value else None


def day_stamp(record: Record, name: str) -> datetime:
    """The midnight of a date that must be there.

    Raises:
        KeyError: It is not there.
        ValueError: There is something else.
    """
    return midnight(date.fromisoformat(record[name]))


# -------------------------------------------------------------------------------------------------------------- bars


def count_and_unit(interval: str) -> tuple[int, str]:
    """`15min` as 15 and `min`."""
    match = _INTERVAL.fullmatch(interval)
    if not match:
        raise ValueError(interval)
    return int(match[1]), match[2]


def end_of(opens: datetime, interval: str) -> datetime:
    """When a bar is over."""
    count, unit = count_and_unit(interval)
    if unit != "month":
        return opens + length_of(interval)
    years, month = divmod(opens.month - 1 + count, _MONTHS)
    return opens.replace(year=opens.year + years, month=month + 1)


def session_of(opens: datetime, asset_class: str) -> datetime:
    """The session that a daily bar belongs to, whatever instant of it the vendor stamps it with."""
    zone = UTC if asset_class in _ROUND_THE_CLOCK else _EXCHANGE
    return midnight(opens.astimezone(zone).date())


def session_end(day: date) -> datetime:
    """The midnight in New York that ends a day; no exchange of the US trades across it."""
    return datetime.combine(day + ONE_DAY, time(), _EXCHANGE).astimezone(UTC)


@dataclass(frozen=True)
class Bars:
    """Makes rows of one interval's bars as Alpaca and Massive write them: o, h, l, c, v, vw, n.

    A bar that was not over at `told_until` is not final and is left out.
    """

    interval: str
    told_until: datetime

    def rows(self, asset_class: str, symbol: str, opens: datetime, record: Record) -> Sequence[Row]:
        """The row of a bar that opened then; none while it is open."""
        if opens > self._last_over and end_of(opens, self.interval) > self.told_until:
            return ()
        count = number(record, "n")
        row = {
            "asset_class": asset_class,
            "symbol": symbol,
            "interval": self.interval,
            "ts": session_of(opens, asset_class) if self._is_of_sessions else opens,
            "open": number(record, "o"),
            "high": number(record, "h"),
            "low": number(record, "l"),
            "close": number(record, "c"),
            "volume": number(record, "v"),
            "vwap": number(record, "vw"),
            "trade_count": None if count is None else int(count),
        }
        return (row,)

    def complete_until(self, asset_class: str) -> datetime:
        """Up to which `ts` all bars were over."""
        if self._is_of_sessions:
            return session_of(self._last_over, asset_class) + ONE_DAY
        return self._last_over + timedelta(microseconds=1)

    @cached_property
    def _last_over(self) -> datetime:
        """A bar that opened then or before was over, however long its month."""
        count, unit = count_and_unit(self.interval)
        longest = timedelta(days=_LONGEST_MONTH * count) if unit == "month" else length_of(self.interval)
        return self.told_until - longest

    @cached_property
    def _is_of_sessions(self) -> bool:
        return count_and_unit(self.interval)[1] in _SESSION_UNITS
