"""Rows for tests: any dataset, every kind of column, and the values that stores like to get wrong."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa

from thermocline.model.dataset import Dataset, Kind
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import Partition

DAY = date(2024, 1, 15)
NOON = datetime(2024, 2, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)

VALUES = {
    Kind.TEXT: ["", "AAPL", "aapl", "BRK.B", "BTC/USDT", "Ünïcödé 日本", 'O\'Neil "q"', "Z" * 300, " ", "\U0001f4c8"],
    Kind.PRICE: [Decimal(text) for text in ("0", "187.15", "0.00000001", "-37.63", "9999999999.99999999")],
    Kind.MONEY: [Decimal(text) for text in ("0.00000000", "2890000000000.5", "99999999999999999999.99999999", "-1")],
    Kind.FLOAT: [0.0, -0.0, float("nan"), float("inf"), 1e-300, 0.1, -1.5, 65_076_600.0],
    Kind.INTEGER: [0, 1, -1, 2**63 - 1, -(2**63), 390],
    Kind.BOOLEAN: [True, False],
    Kind.DATE: [date(1970, 1, 1), date(2024, 1, 19), date(2262, 4, 12)],
}
"""Values of each kind that a cell may hold; instants are made to fit the day."""


def rows(
    dataset: Dataset, count: int = 50, *, interval: str = "1min", day: date = DAY, seed: int = 0
) -> pa.RecordBatch:
    """At most `count` rows of one partition with distinct keys, sorted as a file is; a third of what may be null is."""
    dice = random.Random(f"{dataset.name} {interval} {day} {seed}")  # noqa: S311  # tests want the same rows each time
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)

    def cell(column):
        if column.name == "interval":
            return interval
        if column.nullable and dice.random() < 1 / 3:
            return None
        if column.kind is Kind.TIMESTAMP:
            return start + timedelta(microseconds=dice.choice([0, 1, 86_399_999_999, dice.randrange(86_400_000_000)]))
        return dice.choice(VALUES[column.kind])

    made = [{column.name: cell(column) for column in dataset.columns} for _ in range(count)]
    unique = {tuple(row[name] for name in dataset.key): row for row in made}
    return sorted_batch(dataset, list(unique.values()))


def bars(
    partition: Partition, symbols=("AAPL", "MSFT"), count: int = 3, *, close="187.15", ingested_at: datetime = NOON
) -> pa.RecordBatch:
    """Plain bars of a day, a minute apart, sorted as a file is."""
    dataset = MARKET_DATA
    minutes = pa.array([*range(count)] * len(symbols), pa.int64())

    def of_minute(name: str, values) -> pa.Array:
        return pa.array(values, dataset.column(name).arrow_field.type).take(minutes)

    same = {
        "asset_class": "equity",
        "interval": partition.interval,
        "open": Decimal("186.06"),
        "high": Decimal("9188.44"),
        "low": Decimal("183.885"),
        "volume": 65_076_600.0,
        "vwap": None,
        "source": "made",
        "ingested_at": ingested_at,
    }
    columns = {name: of_minute(name, [value] * count) for name, value in same.items()}
    columns["symbol"] = pa.array([symbol for symbol in symbols for _ in range(count)])
    columns["ts"] = of_minute("ts", [partition.start + timedelta(minutes=minute) for minute in range(count)])
    columns["close"] = of_minute("close", [Decimal(close) + minute for minute in range(count)])
    columns["trade_count"] = minutes
    table = pa.table([columns[name] for name in dataset.names], schema=dataset.arrow_schema)
    return _sorted(table, dataset)


def sorted_batch(dataset: Dataset, made: list[dict]) -> pa.RecordBatch:
    """Rows as one batch, sorted as a file is."""
    return _sorted(pa.Table.from_pylist(made, dataset.arrow_schema), dataset)


def _sorted(table: pa.Table, dataset: Dataset) -> pa.RecordBatch:
    table = table.sort_by([(name, "ascending") for name in dataset.sort]).combine_chunks()
    return table.to_batches()[0] if len(table) else pa.RecordBatch.from_pylist([], dataset.arrow_schema)


def as_sorted_lists(table: pa.Table, dataset: Dataset) -> list[str]:
    """Every row as text, in the order of the key: equal exactly where the rows are."""
    table = table.sort_by([(name, "ascending") for name in dataset.key])
    return [repr(row) for row in table.to_pylist()]
