"""What every lake says of the differences between two versions of a day."""

from datetime import timedelta
from decimal import Decimal
from itertools import count

import pytest
from made_rows import DAY, NOON, VALUES, bars, rows, sorted_batch

from thermocline.model.changes import ChangeCounts
from thermocline.model.datasets import DATASETS, MARKET_DATA
from thermocline.model.partition import Partition
from thermocline.model.query import answer_order
from thermocline.model.receipt import Vintage
from thermocline.stores.open import open_lake

PARTITION = Partition("market_data", "1min", DAY)


@pytest.fixture(params=["local", "memory"])
def lake(request, tmp_path):
    url = str(tmp_path / "la [k] e") if request.param == "local" else "memory://"
    with open_lake(url, catalog_url=f"sqlite:///{tmp_path}/catalog.db", threads=2, memory_limit_mib=256) as lake:
        yield lake


def compared(lake, old, new, partition=PARTITION):
    versions = count(1)
    vintages = [Vintage(lake.write(partition, next(versions), [rows_], run_id="run"), NOON) for rows_ in (old, new)]
    with lake.changes(*vintages) as found:
        return found.counts, found.cells.read_all().to_pylist()


def altered(batch, symbol, **values):
    """The batch with other values in one symbol's rows."""
    return sorted_batch(MARKET_DATA, [row | (values if row["symbol"] == symbol else {}) for row in batch.to_pylist()])


def test_rows_are_added_removed_and_changed_by_their_key_and_every_value_is_shown(lake):
    old = bars(PARTITION, ["AAPL", "IBM", "MSFT"], 1)
    kept = [row for row in old.to_pylist() if row["symbol"] != "IBM"] + bars(PARTITION, ["NEW"], 1).to_pylist()
    new = altered(sorted_batch(MARKET_DATA, kept), "MSFT", close=Decimal("0.00000001"), vwap=Decimal("187.1"))
    counts, cells = compared(lake, old, new)
    assert counts == ChangeCounts(rows_added=1, rows_removed=1, rows_changed=1, symbols_changed=1)
    assert [(c["change"], c["symbol"], c["column"], c["before"], c["after"]) for c in cells] == [
        ("removed", "IBM", None, None, None),
        ("changed", "MSFT", "close", "187.15000000", "0.00000001"),
        ("changed", "MSFT", "vwap", None, "187.10000000"),
        ("added", "NEW", None, None, None),
    ]
    assert all(cell["ts"] == PARTITION.start and cell["interval"] == "1min" for cell in cells)


def test_who_delivered_a_row_and_when_is_no_change(lake):
    old = bars(PARTITION)
    new = sorted_batch(
        MARKET_DATA, [row | {"source": "x", "ingested_at": NOON + timedelta(1)} for row in old.to_pylist()]
    )
    assert compared(lake, old, new) == (ChangeCounts(0, 0, 0, 0), [])


FLOATS = {"0.0": 0.0, "-0.0": -0.0, "nan": float("nan"), None: None, "1e-300": 1e-300}


@pytest.mark.parametrize("before", FLOATS)
@pytest.mark.parametrize("after", FLOATS)
def test_null_nan_and_both_zeros_are_told_apart(lake, before, after):
    old = altered(bars(PARTITION, ["AAPL"], 1), "AAPL", volume=FLOATS[before])
    new = altered(bars(PARTITION, ["AAPL"], 1), "AAPL", volume=FLOATS[after])
    _, cells = compared(lake, old, new)
    shown = [(cell["column"], cell["before"], cell["after"]) for cell in cells]
    assert shown == ([] if before == after else [("volume", before, after)])


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=str)
def test_every_column_of_every_dataset_is_compared(lake, dataset):
    partition = Partition(dataset.name, "1min" if dataset.has_intervals else "", DAY)
    [old] = rows(dataset, 1).to_pylist()
    columns = [
        column for column in dataset.columns if column.name in dataset.content and column.name not in dataset.key
    ]
    values = {
        column.name: next(value for value in VALUES.get(column.kind, [NOON]) if value not in (old[column.name], ""))
        for column in columns
    }
    counts, cells = compared(lake, sorted_batch(dataset, [old]), sorted_batch(dataset, [old | values]), partition)
    assert counts == ChangeCounts(0, 0, 1, 1)
    assert [cell["column"] for cell in cells] == [column.name for column in columns]
    assert all(cell["before"] != cell["after"] for cell in cells)
    assert [cell[name] for cell in cells for name in answer_order(dataset)] == [
        old[name] for _ in cells for name in answer_order(dataset)
    ]


def test_hundreds_of_thousands_of_differences_pass_as_a_stream(lake):
    """With a quarter of a gigabyte for the engine."""
    old = bars(PARTITION, [f"S{number}" for number in range(300)], 1000, close="1")
    new = bars(PARTITION, [f"S{number}" for number in range(300)], 1000, close="2")
    versions = [Vintage(lake.write(PARTITION, n, [b], run_id="run"), NOON) for n, b in ((1, old), (2, new))]
    with lake.changes(*versions) as found:
        assert found.counts == ChangeCounts(0, 0, 300_000, 300)
        assert sum(batch.num_rows for batch in found.cells) == 300_000
