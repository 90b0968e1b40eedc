"""What counts as a restatement, and which of them waits for a person."""

from datetime import date, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_rows import DAY, NOON, bars, rows, sorted_batch

from thermocline.model.datasets import DATASETS, MARKET_DATA
from thermocline.model.partition import Partition
from thermocline.model.restatement import (
    NEVER,
    Restatement,
    RestatementRule,
    Tolerance,
    held_restatement,
    restatement_of,
    symbols_in,
)

PARTITION = Partition("market_data", "1min", DAY)
SYMBOLS = [f"S{number:02d}" for number in range(20)]
PUBLISHED = bars(PARTITION, SYMBOLS)


def compared(*new, published=(PUBLISHED,)):
    return restatement_of(MARKET_DATA, published, new)


def altered(symbols, **values):
    """The published rows of some symbols with other values."""
    return sorted_batch(MARKET_DATA, [row | values for row in PUBLISHED.to_pylist() if row["symbol"] in symbols])


def test_the_same_rows_change_nothing_whoever_delivers_them_when():
    assert compared(PUBLISHED) == Restatement(0, 0, 0, 20)
    assert compared(altered(SYMBOLS, source="other", ingested_at=NOON + timedelta(days=1))) == Restatement(0, 0, 0, 20)


def test_only_rows_of_a_key_that_is_there_count_as_changed():
    assert compared(altered(SYMBOLS[:3], close=Decimal(1))) == Restatement(9, 0, 3, 20)
    assert compared(bars(PARTITION, ["NEW", "OTHER"])) == Restatement(0, 6, 0, 20)
    assert compared(PUBLISHED, published=()) == Restatement(0, 60, 0, 0)
    assert compared() == Restatement(0, 0, 0, 20)


@pytest.mark.parametrize("value", [0.0, -0.0, float("nan"), None])
def test_null_nan_and_the_zeros_are_told_apart(value):
    published = altered(["S00"], vwap=None, volume=value)
    for other in (0.0, -0.0, float("nan"), None):
        same = repr(other) == repr(value)
        assert compared(altered(["S00"], volume=other), published=[published]).rows_changed == (0 if same else 3)


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=str)
def test_each_dataset_is_compared_by_its_own_key_and_content(dataset):
    batch = rows(dataset, 100)
    symbols = len(set(batch[dataset.symbol_column].to_pylist()))
    assert restatement_of(dataset, [batch], [batch]) == Restatement(0, 0, 0, symbols)
    assert symbols_in(dataset, pa.table(batch)) == symbols
    first = batch.slice(0, 1)
    name = next(name for name in dataset.content if name not in {*dataset.key, dataset.symbol_column})
    index = batch.schema.names.index(name)
    donor = next(value for value in batch[name] if value.is_valid and not value.equals(first[name][0]))
    other = pa.array([donor.as_py()], batch.schema.field(name).type)
    changed = first.set_column(index, batch.schema.field(name), other)
    assert restatement_of(dataset, [batch], [changed]) == Restatement(1, 0, 1, symbols)


cells = st.dictionaries(
    st.tuples(st.sampled_from(SYMBOLS), st.integers(0, 3)), st.sampled_from([Decimal(1), Decimal(2)]), max_size=30
)


def batch_of(made):
    template = PUBLISHED.to_pylist()[0]
    return sorted_batch(
        MARKET_DATA,
        [
            template | {"symbol": symbol, "ts": PARTITION.start + timedelta(minutes=minute), "close": close}
            for (symbol, minute), close in made.items()
        ],
    )


@given(cells, cells, st.integers(1, 7))
def test_the_counts_are_those_of_plain_dictionaries_whatever_the_batches(old, new, size):
    published, incoming = batch_of(old), batch_of(new)
    changed = {key for key, close in new.items() if key in old and old[key] != close}
    cuts = [incoming.slice(start, size) for start in range(0, incoming.num_rows, size)]
    halves = [published.slice(0, size), published.slice(size)]
    assert restatement_of(MARKET_DATA, halves, cuts) == Restatement(
        len(changed), len(new.keys() - old.keys()), len({key[0] for key in changed}), len({key[0] for key in old})
    )


@pytest.mark.parametrize(
    ("changed", "symbols", "held"),
    [(9, 9, False), (10, 10, True), (10, 50, True), (10, 51, False), (11, 51, True), (0, 0, False)],
)
def test_a_restatement_is_held_where_enough_symbols_and_enough_of_the_day_change(changed, symbols, held):
    restatement = Restatement(changed * 100, 5, changed, symbols)
    assert RestatementRule(hold_symbols=10, hold_share=0.2).holds(restatement) is held


def test_days_that_are_still_being_formed_are_no_concern_of_the_rule():
    days = [date(2024, 1, number) for number in range(13, 18)]
    as_of = date(2024, 1, 16)
    assert [RestatementRule().concerns(day, as_of) for day in days] == [True, True, False, False, False]
    assert [RestatementRule(hold_after_days=0).concerns(day, as_of) for day in days] == [True] * 4 + [False]


def test_the_rule_can_be_switched_off_and_the_share_too():
    everything = Restatement(1000, 0, 1000, 1000)
    assert not NEVER.holds(everything)
    assert not NEVER.may_hold(1000)
    assert RestatementRule(hold_symbols=1, hold_share=0).holds(Restatement(1, 0, 1, 1000))
    assert not RestatementRule(hold_symbols=1, hold_share=0).holds(Restatement(0, 50, 0, 1000))


def test_the_reason_gives_the_counts():
    assert Restatement(3400, 5, 12, 30).reason == "12 of 30 symbols changed (3,400 rows changed, 5 added)"


RULE = RestatementRule(hold_symbols=5)


def held(*new, rule=RULE):
    """What of the new rows waits under the rule."""
    return held_restatement(MARKET_DATA, lambda: [PUBLISHED], lambda: new, rule)


def test_roundings_and_late_trades_hold_nothing_up():
    late = [row | {"close": row["close"] + Decimal("0.3"), "volume": 7e7} for row in PUBLISHED.to_pylist()]
    rounded = sorted_batch(MARKET_DATA, late)
    assert restatement_of(MARKET_DATA, [PUBLISHED], [rounded]).symbols_changed == 20
    assert held(rounded) is None
    assert held(rounded, rule=RestatementRule(price_tolerance=0.001)).symbols_changed == 20


@pytest.mark.parametrize(
    "values",
    [{"close": Decimal("191.00")}, {"volume": 80_000_000.0}, {"volume": None}, {"vwap": Decimal("187.00")}],
    ids=["a price", "a volume", "a volume lost", "a price that was not known"],
)
def test_what_goes_beyond_the_tolerance_waits(values):
    assert held(altered(SYMBOLS[:6], **values)).symbols_changed == 6


def test_null_and_nan_say_the_same_within_a_tolerance_and_no_number():
    tolerance = RULE.tolerance
    published = altered(["S00"], volume=None)
    for value, rows_changed in ((float("nan"), 0), (None, 0), (0.0, 3)):
        new = altered(["S00"], volume=value)
        assert restatement_of(MARKET_DATA, [published], [new], tolerance).rows_changed == rows_changed


@given(cells, cells, st.integers(1, 7))
def test_with_a_tolerance_the_counts_stay_those_of_plain_dictionaries(old, new, size):
    published, incoming = batch_of(old), batch_of(new)
    changed = {key for key, close in new.items() if key in old and old[key] != close}
    cuts = [incoming.slice(start, size) for start in range(0, incoming.num_rows, size)]
    found = restatement_of(MARKET_DATA, [published.slice(0, size), published.slice(size)], cuts, Tolerance(0.2, 0.2))
    assert (found.rows_changed, found.rows_added) == (len(changed), len(new.keys() - old.keys()))
