"""Rows with a column of every kind, as Hypothesis makes them: nulls, extremes, and batches that are slices."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
from hypothesis import strategies as st

from thermocline.model.dataset import PRECISION, Column, Kind

COLUMNS = tuple(Column(kind.value, kind) for kind in Kind)
SCHEMA = pa.schema([column.arrow_field for column in COLUMNS])


def decimals(kind: Kind) -> st.SearchStrategy[Decimal]:
    """Every decimal of the kind, its largest and smallest ones often."""
    precision, scale = PRECISION[kind]
    largest = 10**precision - 1
    whole = st.one_of(
        st.integers(-largest, largest), st.sampled_from([largest, -largest, 0, 1, -1, 10**scale, 10_000**3, 2**63])
    )
    return whole.map(lambda value: Decimal(max(-largest, min(largest, value))).scaleb(-scale))


VALUES = {
    Kind.TEXT: st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    Kind.PRICE: decimals(Kind.PRICE),
    Kind.MONEY: decimals(Kind.MONEY),
    Kind.FLOAT: st.floats() | st.sampled_from([0.0, -0.0, float("inf"), float("-inf"), float("nan"), 5e-324]),
    Kind.INTEGER: st.integers(-(2**63), 2**63 - 1),
    Kind.BOOLEAN: st.booleans(),
    Kind.DATE: st.dates(date(1, 1, 1), date(9999, 12, 31)),
    Kind.TIMESTAMP: st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
}

made_rows = st.lists(st.fixed_dictionaries({c.name: st.none() | VALUES[c.kind] for c in COLUMNS}), max_size=12)


@st.composite
def batches(draw) -> pa.RecordBatch:
    """A batch, often one that begins and ends inside its buffers."""
    before, rows, after = draw(made_rows), draw(made_rows), draw(made_rows)
    whole = pa.RecordBatch.from_pylist(before + rows + after, SCHEMA)
    return whole.slice(len(before), len(rows))


def spelled(batch: pa.RecordBatch | pa.Table) -> list[str]:
    """Each row as text that tells -0.0 from 0.0 and knows that NaN is NaN."""
    return [repr(row) for row in batch.to_pylist()]
