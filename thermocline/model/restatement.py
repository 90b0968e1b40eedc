"""What new rows of a day would change of those that were published, and whether a person is to look at it first.

Rows are compared by hashes of sixty-four bits, one of the key and one of the content, so that a day need not fit in
memory whole: 16 bytes are kept for each published row, and 40 while they are sorted; the new rows only pass by. Two
different rows have one hash about once in 2**64 pairs; a decision on shares of symbols can bear that.
"""

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from thermocline.model.dataset import Dataset

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa


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
class RestatementRule:
    """When a restatement waits for a person: so many symbols changed, and such a share of the day's symbols.

    Rows that are only added never make it wait. With `hold_symbols` 0 nothing ever does. Days that are younger than
    `hold_after_days` are still being formed: their bars change with every tick, and what changes is no restatement.
    """

    hold_symbols: int = 10
    hold_share: float = 0.2
    hold_after_days: int = 2

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


def restatement_of(
    dataset: Dataset, published: "Iterable[pa.RecordBatch]", new: "Iterable[pa.RecordBatch]"
) -> Restatement:
    """What the new rows would change of the published ones. Neither has two rows of one key."""
    import numpy as np  # noqa: PLC0415  # `thermocline --help` shall not pay for it

    from thermocline.model.fingerprint import row_hashes  # noqa: PLC0415  # as above

    content = [name for name in dataset.content if name not in dataset.key]
    symbol = [dataset.symbol_column]
    symbols: set[int] = set()
    hashed = [(np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.uint64))]
    for batch in published:
        hashed.append((row_hashes(dataset, dataset.key, batch), row_hashes(dataset, content, batch)))
        symbols.update(np.unique(row_hashes(dataset, symbol, batch)).tolist())
    keys, contents = (np.concatenate(parts) for parts in zip(*hashed, strict=True))
    hashed.clear()
    order = np.argsort(keys)
    keys, contents = keys[order], contents[order]
    rows_changed = rows_added = 0
    symbols_changed: set[int] = set()
    for batch in new:
        fresh = row_hashes(dataset, dataset.key, batch)
        if not len(keys):
            rows_added += batch.num_rows
            continue
        at = np.minimum(np.searchsorted(keys, fresh), len(keys) - 1)
        known = keys[at] == fresh
        changed = known & (contents[at] != row_hashes(dataset, content, batch))
        rows_added += int(np.count_nonzero(~known))
        rows_changed += int(np.count_nonzero(changed))
        symbols_changed.update(np.unique(row_hashes(dataset, symbol, batch)[changed]).tolist())
    return Restatement(rows_changed, rows_added, len(symbols_changed), len(symbols))


def symbols_in(dataset: Dataset, rows: "pa.Table") -> int:
    """How many symbols the rows have."""
    import pyarrow.compute as pc  # noqa: PLC0415  # `thermocline --help` shall not pay for it

    return int(pc.count_distinct(rows[dataset.symbol_column]).as_py())
