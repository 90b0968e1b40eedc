"""Recompressing: objects of a local lake are written anew in another of its classes, which are ways to write.

An object that a live vintage names becomes a new one with the same rows, which is read back and compared with the
receipts of its days; then the table and the ledger name it instead, and the old object waits for `expire`. Versions and
answers stay the same. A run that dies is made good by the next: what was written already is adopted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from thermocline.errors import RequestBudgetError, ThermoclineError
from thermocline.model.dataset import Dataset
from thermocline.model.partition import ALL_DAYS
from thermocline.model.paths import holds_one_day
from thermocline.model.receipt import Receipt, by_object
from thermocline.ports import SILENT, Hot, Lake, Progress, Writer
from thermocline.tasks.archive import settled_head
from thermocline.tasks.repack import alone, combined, relocate

BATCH_OBJECTS = 50
"""Objects that share one commit to the table."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """An object that was written anew, and the one that took its place."""

    path: str
    size_bytes: int
    new_path: str
    new_size_bytes: int


@dataclass
class Recompressed:
    """What became of the objects: those that were written anew, and why others were not."""

    rewritten: list[Rewritten] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recompression:
    """The parts of one recompression. `storage_class` is what the objects are to be in."""

    hot: Hot
    lake: Lake
    storage_class: str
    progress: Progress = SILENT
    on_rewritten: Callable[[Rewritten], None] = lambda _: None

    def run(self, dataset: Dataset, paths: Sequence[str], *, run_id: str) -> Recompressed:
        """Write objects of a dataset anew, some at a time, as the dataset's writer; memory stays bounded.

        One that no live vintage names, or that can't be read as it was written, is left as it is; others go on.

        Raises:
            RequestBudgetError: The run may make no more requests; what was rewritten before stays so.
        """
        result = Recompressed()
        with self.lake.run(run_id):
            for start in range(0, len(paths), BATCH_OBJECTS):
                with self.hot.writer(dataset) as writer:
                    batch = self._batch(writer, dataset, paths[start : start + BATCH_OBJECTS], result, run_id)
                result.rewritten += batch
                for rewritten in batch:
                    self.on_rewritten(rewritten)
        return result

    def _batch(
        self, writer: Writer, dataset: Dataset, paths: Sequence[str], result: Recompressed, run_id: str
    ) -> list[Rewritten]:
        head = settled_head(writer, self.lake, dataset, run_id=run_id, anew=True)
        live = by_object(vintage.receipt for vintage in writer.live(ALL_DAYS))
        moved: dict[str, list[Receipt]] = {}
        for path in paths:
            self.progress.advance()
            if path not in live:
                result.left[path] = f"{path} holds no version that readers get; it stays as it is until it expires"
                continue
            try:
                moved[path] = self._anew(live[path], run_id)
            except RequestBudgetError:
                raise
            except ThermoclineError as error:
                result.left[path] = str(error)
        if moved:
            relocated = [receipt for receipts in moved.values() for receipt in receipts]
            relocate(writer, self.lake, dataset, relocated, moved.keys(), head=head, run_id=run_id, name="recompress")
        return [
            Rewritten(path, live[path][0].size_bytes, receipts[0].path, receipts[0].size_bytes)
            for path, receipts in moved.items()
        ]

    def _anew(self, receipts: Sequence[Receipt], run_id: str) -> list[Receipt]:
        if holds_one_day(receipts[0].path):
            return [alone(self.lake, receipts[0], run_id=run_id, storage_class=self.storage_class)]
        return combined(self.lake, receipts, storage_class=self.storage_class)
