"""Days that are restated, and what readers, the ledger and the lake say of them."""

from datetime import date, timedelta

import pyarrow as pa

from thermocline.model.datasets import MARKET_DATA
from thermocline.model.journal import Event
from thermocline.ports import Fetched

DAY, NEXT = date(2024, 1, 15), date(2024, 1, 16)
LATER = date(2024, 3, 1)
ALL = [f"S{number:02d}" for number in range(20)]
MANY, FEW = ALL[:12], ALL[:3]


def bars(symbols, price, *days):
    rows = [(symbol, day) for day in days or (DAY,) for symbol in symbols]
    return pa.table(
        {
            "asset_class": ["equity"] * len(rows),
            "symbol": [symbol for symbol, _ in rows],
            "interval": ["1day"] * len(rows),
            "ts": pa.array([day for _, day in rows], pa.date32()),
            **{name: [price] * len(rows) for name in ("open", "high", "low", "close")},
        }
    )


class Bars:
    """A source that has these rows."""

    name = "bars"

    def __init__(self, *arguments):
        """Make the rows."""
        self.rows = bars(*arguments)

    def fetch(self, request):
        """All of them."""
        del request
        yield Fetched(self.rows, "made up")


def closes(opened, day=DAY, **asked):
    """The number of symbols at each price."""
    found: dict[int, int] = {}
    for close in opened.query("market_data", start=day, end=day + timedelta(days=1), **asked).to_arrow()["close"]:
        found[int(close.as_py())] = found.get(int(close.as_py()), 0) + 1
    return found


def states(opened, day=DAY):
    return [
        (v.receipt.version, v.state.value, v.is_live) for v in opened.vintages("market_data") if v.partition.day == day
    ]


def journal(opened):
    """What the lake itself says of holds and rejections."""
    entries = opened.lake.journal(MARKET_DATA).entries
    return [(entry.event, entry.version) for entry in entries if entry.event in {Event.HOLD, Event.REJECT}]


def whole(opened):
    """Nothing is wrong with the lake, and the table names just what is live."""
    report = opened.verify()
    assert (report.failed, report.table) == ([], [])
    live = {v.receipt.path for v in opened.vintages("market_data") if v.is_live}
    assert opened.lake.paths(MARKET_DATA) == live
