"""A lake and a database that can be lost: real files are deleted, real databases are new."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

import thermocline
from thermocline.faults import listening
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import ALL_DAYS
from thermocline.settings import load_settings
from thermocline.tasks.recover import Outcome

DAYS = [date(2024, 1, day) for day in (15, 16, 17, 18, 19)]
AS_OF = date(2024, 1, 25)
LATER = date(2024, 3, 1)


class Death(Exception):  # noqa: N818  # it is none of ours
    """A process that ends at a point."""


def bars(*days: date, symbols=("AAPL", "IBM"), price: str = "69.13") -> pa.Table:
    keys = [(symbol, day) for symbol in symbols for day in days]
    return pa.table(
        {
            "asset_class": ["equity"] * len(keys),
            "symbol": [symbol for symbol, _ in keys],
            "interval": ["1day"] * len(keys),
            "ts": pa.array([day for _, day in keys], pa.date32()),
            **{name: [price] * len(keys) for name in ("open", "high", "low", "close")},
        }
    )


class World:
    """A lake, and a database that can be lost."""

    def __init__(self, home: Path, new_database) -> None:
        """Start with an empty database; the lake is not there yet."""
        self.home, self._new_database = home, new_database
        self.lake = home / "lake"
        self.lose_database()

    def open(self):
        """Open the lake with the database that there is now."""
        return thermocline.open(settings=load_settings(self.home, environ={"THERMOCLINE_HOT_URL": self.url}))

    def lose_database(self) -> None:
        """Put a new, empty database in its place."""
        self.url = self._new_database("embedded")

    @property
    def metadata(self) -> Path:
        """Where the metadata of the table lies."""
        return self.lake / "cold_storage" / "market_data" / "metadata"

    @property
    def journal(self) -> Path:
        """Where the journal lies."""
        return self.lake / "metadata" / "receipts" / "market_data"

    def newest_metadata(self) -> list[Path]:
        """Both names of the newest metadata."""
        number = max(int(path.name.partition("-")[0]) for path in self.metadata.glob("*-*.metadata.json"))
        return [*self.metadata.glob(f"v{number}.metadata.json"), *self.metadata.glob(f"{number:05d}-*.metadata.json")]

    def lose_commits(self, count: int) -> None:
        """Delete the newest metadata so many times."""
        for _ in range(count):
            for path in self.newest_metadata():
                path.unlink()


def rows_of(tc, **asked):
    table = tc.query("market_data", **asked).to_arrow().drop_columns(["ingested_at"])
    return [repr(row) for row in table.to_pylist()]


def history(tc):
    """Every vintage without its times, which the lake knows to the second only."""
    return [
        (v.receipt, v.state, v.reason, v.is_live, v.superseded_at is None)
        for v in tc.hot.vintages(MARKET_DATA, ALL_DAYS)
    ]


def die_at(point, act):
    """Do something until a point is reached, and no further."""

    def end(reached):
        if reached == point:
            raise Death(point)

    with listening(end), pytest.raises(Death):
        act()


def live(tc):
    return {vintage.receipt.path for vintage in tc.hot.live(MARKET_DATA, ALL_DAYS)}


def agree(tc) -> None:
    """Table, ledger and objects say the same, and the next acts go on."""
    assert tc.lake.paths(MARKET_DATA) == live(tc)
    report = tc.verify(["market_data"])
    assert (report.failed, report.table) == ([], [])


def lived(tc) -> None:
    """A life in five commits: a symbol of a day is deleted, a whole day, a day is restated, a late row is folded."""
    tc.save("market_data", bars(*DAYS))
    tc.delete("market_data", symbols=["IBM"], start=DAYS[2], end=DAYS[3])
    tc.delete("market_data", start=DAYS[3], end=DAYS[4])
    tc.save("market_data", bars(DAYS[1], price="70"))
    tc.ingest("market_data", bars(DAYS[0], symbols=["MSFT"]), as_of=LATER)
    assert tc.rotate(as_of=LATER).failed == []


def recovered(world, oracle, outcome=Outcome.REBUILT):
    """Recover, compare with the oracle, and go on living."""
    with world.open() as tc:
        result = tc.recover(["market_data"])
        (report,) = result.datasets
        assert result.is_whole, result.document()
        assert report.outcome is outcome
        assert (rows_of(tc), history(tc)) == oracle
        agree(tc)
        assert tc.recover(["market_data"]).datasets[0].outcome is Outcome.INTACT
        assert tc.save("market_data", bars(DAYS[4], price="71")) == 2
        tc.load_hot(as_of=AS_OF)
        assert tc.rotate(as_of=LATER).failed == []
        agree(tc)
        assert len(rows_of(tc)) == len(oracle[0])
        return report
