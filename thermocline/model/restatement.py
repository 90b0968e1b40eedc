"""What new rows of a day would change of those that were published, and whether a person is to look at it first.

Rows are compared by hashes of sixty-four bits, one of the key and one of the content, so that a day need not fit in
memory whole: 16 bytes are kept for each published row, and 40 while they are sorted; the new rows only pass by. Two
different rows have one hash about once in 2**64 pairs; a decision on shares of symbols can bear that.

Vendors round differently from one delivery to the next, and count late trades in. Only a day that would wait by its
hashes is therefore compared a second time by its numbers, 8 bytes for each of them, with a tolerance.
"""

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from thermocline.model.dataset import Column, Dataset, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Numbers = npt.NDArray[np.float64]

_TRADED = frozenset({"volume", "trade_count", "open_interest"})
"""What vendors go on counting for days: late prints, cancelled trades, other venues."""


@dataclass(frozen=True, slots=True)
class Restatement:
    """What new rows change of a published day: rows of a key that is there and that say something else, and new keys.

    `symbols` are those of the published day, `symbols_changed` those of the changed rows.
    """

    rows_changed: int
    rows_added: int
    symbols_changed: int
    symbols: int

    @property
    def share(self) -> float:
        """How much of the published day's symbols changed."""
        return self.symbols_changed / self.symbols if self.symbols else 0.0

    @property
    def reason(self) -> str:
        """In words, what makes it worth a look."""
        return (
            f"{self.symbols_changed:,d} of {self.symbols:,d} symbols changed "
            f"({self.rows_changed:,d} rows changed, {self.rows_added:,d} added)"
        )

    def counts(self) -> dict[str, Any]:
        """The counts as JSON, for the audit log."""
        return {
            "rows_changed": self.rows_changed,
            "rows_added": self.rows_added,
            "symbols_changed": self.symbols_changed,
            "symbols": self.symbols,
        }


@dataclass(frozen=True, slots=True)
class Tolerance:
    """By how much a number may differ and still say the same, as a share of what is published.

    `prices` goes for prices, totals of money and all other fractions; `volumes` for volumes, counts of trades and open
    interest. Null and NaN are equal here, and differ from every number.
    """

    prices: float = 0.0
    volumes: float = 0.0

    def of(self, column: Column) -> float:
        """The tolerance of a column; 0 where only the same value will do."""
        if column.name in _TRADED:
            return self.volumes
        return self.prices if column.kind in {Kind.PRICE, Kind.MONEY, Kind.FLOAT} else 0.0


EXACT = Tolerance()
"""Every difference counts."""


@dataclass(frozen=True, slots=True)
class RestatementRule:
    """When a restatement waits for a person: so many symbols changed, and such a share of the day's symbols.

    Rows that are only added never make it wait, nor do numbers that differ by no more than a tolerance: a rounding, a
    late trade. With `hold_symbols` 0 nothing ever does. Days that are younger than `hold_after_days` are still being
    formed: their bars change with every tick, and what changes is no restatement.
    """

    hold_symbols: int = 5
    hold_share: float = 0.2
    hold_after_days: int = 2
    price_tolerance: float = 0.002
    volume_tolerance: float = 0.1

    @property
    def tolerance(self) -> Tolerance:
        """By how much numbers may differ and still say the same."""
        return Tolerance(self.price_tolerance, self.volume_tolerance)

    def may_hold(self, symbols: int) -> bool:
        """Whether new rows of so many symbols can make a restatement wait at all."""
        return 0 < self.hold_symbols <= symbols

    def concerns(self, day: date, as_of: date) -> bool:
        """Whether a day is old enough for its rows to be final."""
        return (as_of - day).days >= self.hold_after_days

    def holds(self, restatement: Restatement) -> bool:
        """Whether the restatement waits for a person."""
        return self.may_hold(restatement.symbols_changed) and restatement.share >= self.hold_share


NEVER = RestatementRule(hold_symbols=0)
"""The rule by which everything goes through."""


def held_restatement(
    dataset: Dataset,
    published: "Callable[[], Iterable[pa.RecordBatch]]",
    new: "Callable[[], Iterable[pa.RecordBatch]]",
    rule: RestatementRule,
) -> Restatement | None:
    """What the new rows would change beyond the rule's tolerance, if that makes them wait for a person; else None.

    Each of the two streams is opened a second time only where the first look, which knows no tolerance, says to wait.
    """
    if not rule.holds(restatement_of(dataset, published(), new())):
        return None
    restatement = restatement_of(dataset, published(), new(), rule.tolerance)
    return restatement if rule.holds(restatement) else None


def restatement_of(
    dataset: Dataset,
    published: "Iterable[pa.RecordBatch]",
    new: "Iterable[pa.RecordBatch]",
    tolerance: Tolerance = EXACT,
) -> Restatement:
    """What the new rows would change of the published ones. Neither has two rows of one key."""
    import numpy as np  # noqa: PLC0415  # `thermocline --help` shall not pay for it

    from thermocline.model.fingerprint import row_hashes  # noqa: PLC0415  # as above

    values = [name for name in dataset.content if name not in dataset.key]
    measured = [name for name in values if tolerance.of(dataset.column(name))]
    content = [name for name in values if name not in measured]
    symbol = [dataset.symbol_column]
    symbols: set[int] = set()
    hashed = [(np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.uint64))]
    numbers: list[list[Numbers]] = [[] for _ in measured]
    for batch in published:
        hashed.append((row_hashes(dataset, dataset.key, batch), row_hashes(dataset, content, batch)))
        symbols.update(np.unique(row_hashes(dataset, symbol, batch)).tolist())
        for name, parts in zip(measured, numbers, strict=True):
            parts.append(_numbers(batch, name))
    keys, contents = (np.concatenate(parts) for parts in zip(*hashed, strict=True))
    hashed.clear()
    order = np.argsort(keys)
    keys, contents = keys[order], contents[order]
    rows_changed = rows_added = 0
    symbols_changed: set[int] = set()
    known_numbers = {name: np.concatenate(parts)[order] for name, parts in zip(measured, numbers, strict=True) if parts}
    for batch in new:
        fresh = row_hashes(dataset, dataset.key, batch)
        if not len(keys):
            rows_added += batch.num_rows
            continue
        at = np.minimum(np.searchsorted(keys, fresh), len(keys) - 1)
        known = keys[at] == fresh
        differs = contents[at] != row_hashes(dataset, content, batch)
        for name, before in known_numbers.items():
            differs |= _beyond(before[at], _numbers(batch, name), tolerance.of(dataset.column(name)))
        changed = known & differs
        rows_added += int(np.count_nonzero(~known))
        rows_changed += int(np.count_nonzero(changed))
        symbols_changed.update(np.unique(row_hashes(dataset, symbol, batch)[changed]).tolist())
    return Restatement(rows_changed, rows_added, len(symbols_changed), len(symbols))


def _numbers(batch: "pa.RecordBatch", name: str) -> "Numbers":
    """A column as floats, NaN where it is null or the batch lacks it."""
    import numpy as np  # noqa: PLC0415  # as above
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    if name not in batch.schema.names:
        return np.full(batch.num_rows, np.nan)
    floats = pc.cast(batch.column(name), pa.float64(), safe=False)
    return np.asarray(floats.to_numpy(zero_copy_only=False), dtype=np.float64)


def _beyond(before: "Numbers", after: "Numbers", tolerance: float) -> "npt.NDArray[np.bool_]":
    """Where two numbers differ by more than a share of the first."""
    import numpy as np  # noqa: PLC0415  # as above

    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(after - before) <= tolerance * np.abs(before)
    beyond: npt.NDArray[np.bool_] = ~(near | (before == after) | (np.isnan(before) & np.isnan(after)))
    return beyond


def symbols_in(dataset: Dataset, rows: "pa.Table") -> int:
    """How many symbols the rows have."""
    import pyarrow.compute as pc  # noqa: PLC0415  # `thermocline --help` shall not pay for it

    return int(pc.count_distinct(rows[dataset.symbol_column]).as_py())
