"""What is known of splits, dividends and instruments, by symbol."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa

Name = tuple[str, str]
"""The asset class and symbol of a series."""


class Action(NamedTuple):
    """What happens to a price at the start of a session: it is multiplied by `factor`, then falls by `amount`."""

    ts: datetime
    factor: float
    amount: float
    told: str


class Named(NamedTuple):
    """From when on a symbol names which instrument."""

    ts: datetime
    instrument_id: str


@dataclass(frozen=True)
class Actions:
    """Splits and dividends of each series, and the instruments that its symbol named, in order of time."""

    of: Mapping[Name, list[Action]] = field(default_factory=dict)
    instruments: Mapping[Name, list[Named]] = field(default_factory=dict)

    @classmethod
    def from_tables(cls, splits: pa.Table, dividends: pa.Table, instruments: pa.Table) -> "Actions":
        """What the rows of those three datasets say."""
        found: dict[Name, list[Action]] = {}
        for row in splits.to_pylist():
            old, new = row["old_shares"], row["new_shares"]
            if old > 0 and new > 0:
                told = f"{new.normalize():f}:{old.normalize():f} split"
                _add(found, row, Action(row["ts"], float(old / new), 0.0, told))
        for row in dividends.to_pylist():
            told = f"dividend of {row['amount'].normalize():f}"
            _add(found, row, Action(row["ts"], 1.0, float(row["amount"]), told))
        named: dict[Name, list[Named]] = {}
        for row in instruments.to_pylist():
            _add(named, row, Named(row["ts"], row["instrument_id"]))
        return cls(_ordered(found), _ordered(named))

    def between(self, name: Name, after: datetime, until: datetime, interval: str) -> list[Action]:
        """The actions of sessions that begin between two bars of a series, the later one's included."""
        return [action for action in self.of.get(name, ()) if _begins(action.ts, after, until, interval)]


def explain(known: Sequence[Action], last: float, close: float, tolerance: float) -> bool:
    """Whether a close, undone of what is known, is within a tolerance of the last one."""
    for action in known:
        last = last * action.factor - action.amount
    return bool(known) and last > 0 and abs(close / last - 1) <= tolerance


_LATEST = timedelta(hours=6)
"""So long after 00:00 UTC a bar may still be of the session before: New York's late trade ends at 01:00 UTC."""

_EARLIEST = timedelta(hours=2)
"""And so long before 00:00 UTC it may be of the session that follows: Sydney opens at 23:00 UTC."""


def _begins(session: datetime, after: datetime, until: datetime, interval: str) -> bool:
    if interval.endswith(("day", "week", "month")):
        return after < session <= until
    return after < session + _LATEST and session - _EARLIEST <= until


def _add(found: dict[Name, list[Any]], row: Mapping[str, Any], each: tuple[Any, ...]) -> None:
    found.setdefault((row["asset_class"], row["symbol"]), []).append(each)


def _ordered(found: Mapping[Name, Iterable[Any]]) -> dict[Name, list[Any]]:
    return {name: sorted(each) for name, each in found.items()}
