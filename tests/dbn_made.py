"""DBN as Databento sends it, of records made here."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from databento_dbn import Metadata, OHLCVMsg, RType, Schema, SType

DAY = datetime(2025, 2, 20, tzinfo=UTC)
UNDEFINED = 2**63 - 1
CALL = "AAPL  250221C00250000"

_RTYPES = {
    "ohlcv-1s": RType.OHLCV_1S,
    "ohlcv-1m": RType.OHLCV_1M,
    "ohlcv-1h": RType.OHLCV_1H,
    "ohlcv-1d": RType.OHLCV_1D,
}


class Mapping(NamedTuple):
    """A symbol's instruments, as the encoder takes them."""

    raw_symbol: str
    intervals: list


class Interval(NamedTuple):
    """Which instrument a symbol was for some days."""

    start_date: date
    end_date: date
    symbol: str


def nanoseconds(instant):
    """Since 1970."""
    return int(instant.timestamp()) * 10**9


def bar(instant, prices, volume, *, instrument=7, publisher=1, schema="ohlcv-1m"):
    """A bar; `prices` are open, high, low and close."""
    opened, high, low, closed = (int(Decimal(price).scaleb(9)) for price in prices.split())
    return OHLCVMsg(
        rtype=_RTYPES[schema],
        publisher_id=publisher,
        instrument_id=instrument,
        ts_event=nanoseconds(instant),
        open=opened,
        high=high,
        low=low,
        close=closed,
        volume=volume,
    )


def dbn(
    records,
    schema="ohlcv-1m",
    *,
    dataset="XNAS.ITCH",
    stype="raw_symbol",
    names=None,
    start=DAY,
    end=DAY + timedelta(days=1),
):
    """The bytes of a file; `names` are the symbols that it calls its instruments by."""
    days = (start.date(), (end + timedelta(days=1)).date())
    metadata = Metadata(
        dataset=dataset,
        start=nanoseconds(start),
        end=nanoseconds(end),
        stype_in=SType.from_str(stype),
        stype_out=SType.INSTRUMENT_ID,
        schema=Schema.from_str(schema),
        symbols=list(names or {}),
        partial=[],
        not_found=[],
        mappings=[Mapping(symbol, [Interval(*days, str(instrument))]) for symbol, instrument in (names or {}).items()],
    )
    return metadata.encode() + b"".join(bytes(record) for record in records)
