"""Rows as plain tuples, as Arrow, and as an answer of the router spells them."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pyarrow as pa

from thermocline.model.dataset import PROVENANCE
from thermocline.model.datasets import dataset_named

FIRST_DAY = date(2024, 1, 10)


def day(number: int) -> date:
    """A day by its number, so that tests can count."""
    return FIRST_DAY + timedelta(days=number)


class Key(NamedTuple):
    """What tells a row from all others. `interval` is empty where the dataset has none; `day` is a day's number."""

    dataset: str
    interval: str
    day: int
    symbol: str
    minute: int


Rows = Mapping[Key, int]
"""Each key's value. Whatever else a row says follows from both."""


def rows(dataset: str, interval: str, days: Iterable[int], symbols: str = "AAPL MSFT BTC/USDT", value: int = 0) -> Rows:
    """A few rows for each day and symbol; every value is a different one."""
    found = {}
    for number in days:
        for place, symbol in enumerate(symbols.split()):
            for minute in (0,) if interval == "1day" else (0, 7, 1439):
                key = Key(dataset, interval, number, symbol, minute)
                found[key] = value + 10_000 * number + 100 * place + minute % 97
    return found


def _cells(key: Key, value: int) -> dict[str, Any]:
    ts = datetime.combine(day(key.day), time(), tzinfo=UTC) + timedelta(minutes=key.minute)
    if key.dataset == "news":
        return {
            "article_id": f"{key.symbol}-{key.minute}",
            "symbol": key.symbol,
            "ts": ts,
            "headline": f"{key.symbol} at {value}",
            "summary": None if value % 3 else f"{value}" * 20,
            "sentiment_score": 1 / (1 + value),
        }
    price = Decimal(value + 101).scaleb(-2)
    return {
        "asset_class": "equity",
        "symbol": key.symbol,
        "interval": key.interval,
        "ts": ts,
        "open": price,
        "high": price + 1,
        "low": price - 1,
        "close": price + Decimal("0.00000001"),
        "volume": None if value % 5 == 0 else value / 3,
        "vwap": None,
        "trade_count": value,
    }


def table(dataset: str, wanted: Rows) -> pa.Table:
    """The rows of one dataset, without provenance: whoever takes them in fills it."""
    schema = dataset_named(dataset).arrow_schema
    named = pa.schema([pa.field(field.name, field.type) for field in schema if field.name not in PROVENANCE])
    made = [_cells(key, value) for key, value in wanted.items() if key.dataset == dataset]
    return pa.Table.from_pylist(made, named)


def spelled(found: pa.Table) -> list[str]:
    """Every row as text without its provenance, in an order of their own: equal exactly where the rows are."""
    kept = [name for name in found.column_names if name not in PROVENANCE]
    return sorted(map(repr, found.select(kept).to_pylist()))


def as_json(wanted: Rows) -> list[list[Any]]:
    """Rows for a program to read."""
    return [[*key, value] for key, value in wanted.items()]


def from_json(document: Iterable[list[Any]]) -> dict[Key, int]:
    """Rows as `as_json` wrote them."""
    return {Key(*cells[:-1]): cells[-1] for cells in document}
