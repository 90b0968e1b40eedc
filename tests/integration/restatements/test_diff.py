"""What two vintages of a day differ in."""

import pyarrow as pa
import pytest
from restated import DAY, FEW, LATER, MANY, Bars, bars

from thermocline.errors import LakeError, UsageError
from thermocline.model.changes import ChangeCounts


def test_a_held_restatement_is_compared_with_what_is_live_and_else_the_last_two(opened):
    with pytest.raises(UsageError, match="version 1 of market_data/1day/2024-01-15 has no other"):
        opened.diff("market_data", DAY)
    opened.backfill("market_data", source=Bars([*FEW, "NEW"], "3"))
    comparison = opened.diff("market_data", DAY)
    assert (comparison.old.receipt.version, comparison.new.receipt.version) == (1, 2)
    assert comparison.counts() == ChangeCounts(1, 0, 3, 3)
    opened.backfill("market_data", source=Bars(MANY, "2"))
    comparison = opened.diff("market_data", DAY)
    assert (comparison.old.receipt.version, comparison.new.receipt.version) == (2, 3)
    assert comparison.counts() == ChangeCounts(0, 0, 12, 12)
    assert comparison.to_arrow()["column"].unique().to_pylist() == ["open", "high", "low", "close"]
    opened.accept("market_data")
    assert opened.diff("market_data", DAY).document() == comparison.document() | {
        "from": opened.diff("market_data", DAY).old.document(),
        "to": opened.diff("market_data", DAY).new.document(),
    }
    back = opened.diff("market_data", DAY, interval="1day", from_version=3, to_version=1)
    assert back.counts() == ChangeCounts(0, 1, 12, 12)


def test_a_comparison_of_what_is_not_there_says_what_is(opened):
    with pytest.raises(UsageError, match="has no version 7; there are 1"):
        opened.diff("market_data", DAY, to_version=7)
    with pytest.raises(UsageError, match="was never in the lake"):
        opened.diff("market_data", LATER)
    opened.backfill("market_data", source=Bars(MANY, "2"))
    [rejected] = opened.reject("market_data").moved
    assert opened.diff("market_data", DAY, to_version=2).counts() == ChangeCounts(0, 0, 12, 12)
    opened.lake.delete(rejected.path)
    with pytest.raises(LakeError, match="was rejected, and its object has been deleted"):
        opened.diff("market_data", DAY, to_version=2)
    opened.backfill("market_data", source=Minutes())
    with pytest.raises(UsageError, match="is there at 1day, 1min; name one with --interval"):
        opened.diff("market_data", DAY)


class Minutes(Bars):
    """The same at another interval."""

    def __init__(self):
        """Make the rows."""
        made = bars(FEW, "1")
        self.rows = made.set_column(2, "interval", pa.array(["1min"] * len(made)))
