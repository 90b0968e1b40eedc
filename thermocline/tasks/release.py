"""Release: drop rows that left hot, for good, once everything that speaks of their day says the same."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from thermocline.errors import FingerprintMismatchError, LakeError
from thermocline.model.dataset import Dataset
from thermocline.model.partition import Partition, span_of
from thermocline.model.receipt import Receipt
from thermocline.model.report import Failed, Moved
from thermocline.ports import Detached, Hot, Lake
from thermocline.tasks.archive import ReadBack, settled_head, unjournaled


@dataclass
class Release:
    """Detached days whose time is over. Make it before anything else is done, so that it sees the table as it was."""

    hot: Hot
    lake: Lake
    dataset: Dataset
    old: Sequence[Detached]
    run_id: str
    released: list[Partition] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Look at the table."""
        self._named = self.lake.paths(self.dataset) if self.old else frozenset()

    def run(self, moved: Collection[Moved]) -> None:
        """Drop each day only if its object reads back well, and the ledger, the journal and the table agree on it.

        `moved` is what the same run has rotated or folded before. A day whose cold copy was withdrawn since has none
        to agree on.
        """
        if not self.old:
            return
        with self.hot.writer(self.dataset) as writer:
            days = span_of([old.partition for old in self.old])
            live = {vintage.partition: vintage.receipt for vintage in writer.live(days)}
            at_stake = [live[old.partition] for old in self.old if old.partition in live]
            amiss = unjournaled(self.lake, self.dataset, at_stake) | self._astray(at_stake, moved)
            read_back = ReadBack(self.lake, at_stake)
            for detached in self.old:
                partition = detached.partition
                try:
                    if partition in amiss:
                        raise FingerprintMismatchError(amiss[partition])
                    if partition in live:
                        read_back.confirm(live[partition])
                except LakeError as error:
                    self.failed.append(Failed(partition, f"its detached rows were kept: {error}"))
                    continue
                writer.release(detached, run_id=self.run_id)
                self.released.append(partition)
            if self.failed:
                settled_head(writer, self.lake, self.dataset, run_id=self.run_id)

    def _astray(self, receipts: Sequence[Receipt], moved: Collection[Moved]) -> dict[Partition, str]:
        """Days whose object the table did not name when this run began: something else than this program was at it."""
        of_this_run = {each.partition for each in moved}
        return {
            receipt.partition: f"the Iceberg table of {self.dataset.name} did not name {receipt.path}, which the "
            "ledger calls live; this run put that right, the next one releases the day if it is still so"
            for receipt in receipts
            if receipt.path not in self._named and receipt.partition not in of_this_run
        }
