"""Sorted streams become one sorted stream, whatever the cuts between their batches."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from every_kind import spelled
from hypothesis import given
from hypothesis import strategies as st
from made_rows import DAY, bars, rows, sorted_batch

from thermocline.errors import OutOfOrderError
from thermocline.model import merging
from thermocline.model.dataset import Column, Dataset, Kind
from thermocline.model.datasets import DATASETS, MARKET_DATA
from thermocline.model.merging import Ordered, can_merge, can_order, merged
from thermocline.model.partition import Partition

PARTITION = Partition("market_data", "1min", DAY)
NOON = datetime(2024, 1, 15, 12, tzinfo=UTC)

WIDE = Dataset(
    "wide",
    "keys that no 64 bits hold together",
    (
        *(Column(name, Kind.TEXT, nullable=False) for name in ("symbol", "source")),
        *(Column(name, Kind.INTEGER, nullable=False) for name in ("first", "second")),
        *(Column(name, Kind.TIMESTAMP, nullable=False) for name in ("ts", "ingested_at")),
    ),
    ("symbol", "first", "second", "ts"),
)

keys = st.tuples(
    st.sampled_from(["", "A", "B", "a", "ä", "𝄞"]),
    st.sampled_from([-(2**63), -1, 0, 2**63 - 1]),
    st.sampled_from([-(2**62), 5, 2**62]),
    st.integers(0, 2),
)


def stream(source: str, told: dict, cut: int) -> list[pa.RecordBatch]:
    """Rows by their keys, each with how late it came, in batches of a few rows."""
    made = [
        {"symbol": key[0], "first": key[1], "second": key[2], "ts": NOON + timedelta(hours=key[3])}
        | {"source": source, "ingested_at": NOON + timedelta(days=age)}
        for key, age in sorted(told.items(), key=lambda item: (item[0][0].encode(), *item[0][1:]))
    ]
    whole = pa.RecordBatch.from_pylist(made, WIDE.arrow_schema)
    return [whole.slice(start, cut) for start in range(0, whole.num_rows, cut)] or [whole]


@given(
    st.lists(st.tuples(st.dictionaries(keys, st.integers(0, 2), max_size=20), st.integers(1, 7)), max_size=3),
    st.sampled_from([1, 2, 8192]),
    st.sampled_from([0, 2, 100]),
)
def test_of_each_key_the_row_that_came_latest_stays_or_that_of_the_later_stream(told, fewest, rows_a_run):
    streams = [stream(str(number), rows, cut) for number, (rows, cut) in enumerate(told)]
    expected = {}
    for number, (ages, _) in enumerate(told):
        for key, age in ages.items():
            if key not in expected or age >= expected[key][1]:
                expected[key] = (str(number), age)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(merging, "_FEWEST", fewest)
        patched.setattr(merging, "_ROWS_A_RUN", rows_a_run)
        found = pa.Table.from_batches(merged(WIDE, streams), WIDE.arrow_schema).to_pylist()
    assert [
        (row["symbol"], row["first"], row["second"], (row["ts"] - NOON) // timedelta(hours=1)) for row in found
    ] == (sorted(expected, key=lambda key: (key[0].encode(), *key[1:])))
    assert [(row["source"], (row["ingested_at"] - NOON).days) for row in found] == [
        expected[key] for key in sorted(expected, key=lambda key: (key[0].encode(), *key[1:]))
    ]


@pytest.mark.parametrize("dataset", [each for each in DATASETS.values() if can_order(each)], ids=lambda each: each.name)
def test_parts_of_a_day_of_any_dataset_make_the_day_again(dataset):
    whole = sorted_batch(dataset, rows(dataset, 60).to_pylist())
    parts = [whole.take(pa.array(range(start, whole.num_rows, 3))) for start in range(3)]
    found = pa.Table.from_batches(merged(dataset, [[part] for part in parts]), dataset.arrow_schema)
    assert spelled(found) == spelled(whole)


def test_rows_that_do_not_come_in_order_are_noticed_also_between_batches():
    whole = bars(PARTITION)
    late_first = [whole.slice(5), whole.slice(0, 5)]
    twice = [whole, whole.slice(whole.num_rows - 1)]
    for batches in (late_first, twice):
        with pytest.raises(OutOfOrderError):
            list(Ordered(MARKET_DATA).passed(batches))
        with pytest.raises(OutOfOrderError):
            list(merged(MARKET_DATA, [batches, [whole.slice(0, 2)]]))
    in_order = [whole.slice(0, 5), whole.slice(5, 0), whole.slice(5)]
    assert list(Ordered(MARKET_DATA).passed(in_order)) == in_order


def test_only_rows_whose_keys_are_neighbours_in_a_file_can_be_merged_so():
    assert can_merge(MARKET_DATA)
    by_price = Dataset(
        "by_price",
        "a key of another kind",
        (*WIDE.columns, Column("strike", Kind.PRICE, nullable=False)),
        (*WIDE.key, "strike"),
    )
    assert not can_merge(by_price)
