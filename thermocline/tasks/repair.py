"""Repair: writing days anew whose object, or whose receipt in the lake's journal, is missing or damaged.

The new rows must lack none of the day. That is so where the day's rows can still be read as they were, which their
fingerprint tells: from the object itself where only its bytes are wrong, or from another one that the journal names for
the very same vintage. What came is then merged with them, as ever. Else what came has to stand in for the day:

- it says just what the receipt says, by itself or over what is left in the object, or
- the object has as many rows as the receipt says, each key once, and what came has every one of these keys.

A day of which neither is so is refused and stays as it is: no count alone proves that none of its rows would be lost.
"""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import cached_property, partial

from thermocline.errors import ArchivedError, LakeError, RequestBudgetError, TransientLakeError
from thermocline.model.dataset import Dataset
from thermocline.model.fingerprint import contents_of
from thermocline.model.journal import Entry
from thermocline.model.partition import Partition, years_of
from thermocline.model.paths import holds_one_day
from thermocline.model.receipt import Contents, Receipt, Vintage, by_object
from thermocline.model.restatement import RestatementRule, held_restatement
from thermocline.ports import Lake, Spool, SpoolFactory, Writer
from thermocline.tasks.archive import disagreements, trusted, unjournaled
from thermocline.tasks.repack import combined

_THREADS = 4


@dataclass(frozen=True)
class Wrong:
    """A live vintage of which something is wrong.

    `rows` is where its rows can still be read as they were, None where that is nowhere known. `observed` is what its
    object holds now, None where that can't be read. `is_torn` says that its object is not what it was.
    """

    receipt: Receipt
    reason: str
    is_torn: bool
    observed: Receipt | None
    rows: Receipt | None


@dataclass(frozen=True)
class Repair:
    """The parts of a repair, while the dataset's writer is held."""

    lake: Lake
    writer: Writer
    dataset: Dataset
    spool: SpoolFactory
    rule: RestatementRule
    as_of: date

    def wrong(self, vintages: Sequence[Vintage]) -> dict[Partition, Wrong]:
        """Those of some live vintages that are not well; each object is read once, whole.

        Raises:
            TransientLakeError: The store does not answer, which says nothing of an object.
        """
        receipts = [vintage.receipt for vintage in vintages]
        astray = unjournaled(self.lake, self.dataset, receipts)
        with ThreadPoolExecutor(_THREADS) as threads:
            observed = [seen for each in threads.map(self._observed, by_object(receipts).values()) for seen in each]
        found = {}
        for receipt, (seen, reason) in observed:
            if reason or receipt.partition in astray:
                rows = self._rows(receipt, seen)
                why = reason or astray[receipt.partition]
                found[receipt.partition] = Wrong(receipt, why, bool(reason), seen, rows)
        return found

    def refusal(self, wrong: Wrong, came: Spool, kept: Spool) -> str | None:
        """Why what came can't stand in for the day, which is then to be left; None where it can.

        Rows of the day that are still good, and are to go under those that came, are put in `kept`.
        """
        try:
            return self._judged(wrong, came, kept)
        except (TransientLakeError, RequestBudgetError):
            raise
        except LakeError as error:
            return self._refused(wrong, str(error))

    def rest_of(self, path: str, leaving: Collection[Partition]) -> list[Receipt]:
        """Bring the days that stay of a torn object that days share together in another one; give their receipts.

        Raises:
            LakeError: One of them can't be read as it was.
        """
        live = [v.receipt for days in years_of(leaving) for v in self.writer.live(days)]
        staying = [receipt for receipt in live if receipt.path == path and receipt.partition not in leaving]
        return combined(self.lake, [self._elsewhere(receipt) or receipt for receipt in staying]) if staying else []

    def _observed(self, receipts: Sequence[Receipt]) -> list[tuple[Receipt, tuple[Receipt | None, str]]]:
        """For each receipt of one object, what the object holds of it and what is wrong with that."""
        try:
            seen = self.lake.observe(*receipts)
        except (TransientLakeError, RequestBudgetError):
            raise
        except ArchivedError:
            # What an archive keeps is not damaged for being there.
            return [(receipt, (receipt, "")) for receipt in receipts]
        except LakeError as error:
            return [(receipt, (None, str(error))) for receipt in receipts]
        told = [
            (found, "; ".join(disagreements(receipt, found))) for receipt, found in zip(receipts, seen, strict=True)
        ]
        return [
            (receipt, (found, f"{receipt.path}: {differences}" if differences else ""))
            for receipt, (found, differences) in zip(receipts, told, strict=True)
        ]

    def _rows(self, receipt: Receipt, observed: Receipt | None) -> Receipt | None:
        """Where the rows of a vintage can still be read as they were."""
        if observed and not receipt.contents.differences(observed.contents):
            return receipt
        return self._elsewhere(receipt)

    def _elsewhere(self, receipt: Receipt) -> Receipt | None:
        """What the journal says of the same vintage, where an object is just that; the newest."""
        vintage = (receipt.partition, receipt.version)
        for entry in reversed(self._journal):
            if entry.receipt and (entry.partition, entry.version) == vintage:
                try:
                    [found] = self.lake.observe(entry.receipt)
                except (TransientLakeError, RequestBudgetError):
                    raise
                except LakeError:
                    continue
                # A run that died may have used the same version for other rows.
                if not (disagreements(entry.receipt, found) or receipt.contents.differences(found.contents)):
                    return entry.receipt
        return None

    @cached_property
    def _journal(self) -> Sequence[Entry]:
        return self.lake.journal(self.dataset).entries

    def _judged(self, wrong: Wrong, came: Spool, kept: Spool) -> str | None:
        new = contents_of(self.dataset, came.batches(wrong.receipt.partition))
        if new.content_fingerprint == wrong.receipt.contents.content_fingerprint:
            return None
        if wrong.rows is None:
            return self._judged_by_what_is_left(wrong, came, kept, new)
        if refusal := self._too_far(wrong, wrong.rows, came):
            return refusal
        kept.append(trusted(self.lake, wrong.rows))
        return None

    def _judged_by_what_is_left(self, wrong: Wrong, came: Spool, kept: Spool, new: Contents) -> str | None:
        partition, said = wrong.receipt.partition, wrong.receipt.contents
        lacking = f"it has {new.rows:,d} rows that say something else than the {said.rows:,d} of the receipt"
        if wrong.observed is None:
            return self._refused(wrong, f"{lacking}, and the object can't be read to compare")
        with self.spool(self.dataset) as left:
            left.append(self.lake.read(wrong.receipt))
            there = contents_of(self.dataset, left.batches(partition))
            # Of rows that came into being at the same moment the later one counts: either order may give the day.
            for order in ((left, came), (came, left)):
                with self.spool(self.dataset) as both:
                    for rows in order:
                        both.append(rows.batches(partition))
                    merged = contents_of(self.dataset, both.batches(partition))
                    if merged.content_fingerprint == said.content_fingerprint:
                        kept.append(both.batches(partition))
                        return None
        is_whole = (there.rows, there.min_ts, there.max_ts) == (said.rows, said.min_ts, said.max_ts)
        if not is_whole or wrong.observed.contents.rows != said.rows:
            return self._refused(wrong, f"{lacking}, and the object has lost rows")
        if merged.rows != new.rows:
            return self._refused(wrong, f"it lacks {merged.rows - new.rows:,d} keys that the object still has")
        return self._too_far(wrong, wrong.receipt, came)

    def _too_far(self, wrong: Wrong, rows: Receipt, came: Spool) -> str | None:
        """Why the day may not be written anew without a person, if so: much that is published would change."""
        partition, said = wrong.receipt.partition, wrong.receipt.contents
        if not (self.rule.concerns(partition.day, self.as_of) and self.rule.may_hold(said.rows)):
            return None
        restatement = held_restatement(
            self.dataset, partial(self.lake.read, rows), partial(came.batches, partition), self.rule
        )
        if restatement is None:
            return None
        return self._refused(wrong, f"{restatement.reason}; `--accept-restatements` lets that through")

    def _refused(self, wrong: Wrong, why: str) -> str:
        return (
            f"{wrong.receipt.partition}: {wrong.reason}; what came was not written in its place: {why}. Nothing of the "
            "day was changed. Restore the object from a copy, or backfill every row that the day had"
        )


def torn_paths(wrong: Mapping[Partition, Wrong]) -> set[str]:
    """The objects that days share and that are not what they were."""
    return {each.receipt.path for each in wrong.values() if each.is_torn and not holds_one_day(each.receipt.path)}
