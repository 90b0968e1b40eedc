"""Rotation: from hot to cold, without a row lost or doubled.

For a batch of due days, while the dataset's writer is held:

1. make the table and the ledger agree, if an earlier run died between the two;
2. read each day from one snapshot and write it as a new vintage, unless the live vintage says the same already;
3. read the object back from the store and compare it with what was read from hot;
4. commit the batch to the table;
5. for each day, in one transaction: prove that no row changed since 2, make the vintage live, detach the day.

Until 5 commits, readers get the day from hot; from then on they get it from the lake. A day that fails at any step
stays hot as it was. A run that dies is made good by the next one, because every day that is due is due again.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from thermocline.errors import (
    CatalogConflictError,
    LockTimeoutError,
    RequestBudgetError,
    ThermoclineError,
)
from thermocline.model.dataset import Dataset
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import Partition, chunks, span_of
from thermocline.model.paths import object_path
from thermocline.model.receipt import Receipt, Vintage
from thermocline.model.report import Failed, Moved
from thermocline.ports import SILENT, Detached, Hot, Lake, Progress, Publication, SpoolFactory, Writer
from thermocline.tasks.archive import note_head, settled_head
from thermocline.tasks.cold_copy import ColdCopy, Copying
from thermocline.tasks.release import Release
from thermocline.tasks.repack import unpack
from thermocline.tasks.trouble import RELEASE, ROTATE, end_trouble, note_trouble

BATCH_DAYS = 32
"""Days that share one commit to the table."""


@dataclass
class Rotated:
    """What a rotation did."""

    run_id: str
    moved: list[Moved] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    released: list[Partition] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "run_id": self.run_id,
            "partitions": [moved.document() for moved in self.moved],
            "failed": [failed.document() for failed in self.failed],
            "released": [str(partition) for partition in self.released],
        }


def plan_rotation(
    hot: Hot,
    datasets: Sequence[Dataset],
    lifecycle: Lifecycle,
    *,
    as_of: date,
    folding: Sequence[Dataset] = (),
    counted: bool = True,
) -> list[Moved]:
    """Every partition that a rotation as of that day would move: hot days that are due, cold days with late rows.

    Of the datasets in `folding` late rows alone. `rows` are those that are hot or late. `path` and `size_bytes` are the
    live vintage's, which serves again where the rows say nothing new; else the next object's path, and the size of the
    hot table. Hot rows and their bytes are 0 unless `counted`, for which every hot day is read.
    """
    planned = []
    for dataset in datasets:
        leaves = {leaf.partition: leaf for leaf in hot.leaves(dataset, counted=counted) if leaf.registered}
        # A hot day without a table is planned too, so that somebody is told of it.
        gone = {day.partition for day in hot.hot_days(dataset)} - leaves.keys()
        late = hot.late(dataset)
        live = _live(hot, dataset, leaves.keys() | late.keys())
        planned += [Moved(partition, "rotate", 0, 0, "") for partition in gone if lifecycle.is_due(partition, as_of)]
        for partition, leaf in leaves.items():
            if lifecycle.is_due(partition, as_of, leaf.until):
                known = live.get(partition)
                size, path = (known.size_bytes, known.path) if known else (leaf.size_bytes, object_path(partition, 1))
                planned.append(Moved(partition, "rotate", leaf.rows, size, path))
        planned += _folds(late, live, leaves.keys() | gone)
    for dataset in folding:
        if late := hot.late(dataset):
            live = _live(hot, dataset, late.keys())
            planned += _folds(late, live, {day.partition for day in hot.hot_days(dataset)})
    return sorted(planned, key=lambda moved: moved.partition)


def _live(hot: Hot, dataset: Dataset, partitions: Collection[Partition]) -> dict[Partition, Receipt]:
    """Of the days from the first of the partitions to the last, the live receipts."""
    if not partitions:
        return {}
    return {vintage.partition: vintage.receipt for vintage in hot.live(dataset, span_of(partitions))}


def _folds(
    late: Mapping[Partition, int], live: Mapping[Partition, Receipt], hot_set: Collection[Partition]
) -> list[Moved]:
    """The cold days that have late rows."""
    folds = []
    for partition, rows in late.items():
        if partition not in hot_set:
            version = live[partition].version + 1 if partition in live else 1
            folds.append(Moved(partition, "fold", rows, 0, object_path(partition, version)))
    return folds


@dataclass(frozen=True)
class Rotation:
    """The parts of one rotation."""

    hot: Hot
    lake: Lake
    spool: SpoolFactory
    lifecycle: Lifecycle
    run_id: str
    progress: Progress = SILENT
    on_moved: Callable[[Moved], None] = lambda _: None

    def run(self, datasets: Sequence[Dataset], *, as_of: date, folding: Sequence[Dataset] = ()) -> Rotated:
        """Move everything that is due as of that day, then release detached days older than `undo_days`.

        Of the datasets in `folding` nothing leaves hot, but late rows of cold days are folded in all the same.
        Cumulative and idempotent: nights that were missed are made up, and a second run finds nothing to do.
        """
        result = Rotated(self.run_id)
        held_up: list[ThermoclineError] = []
        with self.lake.run(self.run_id):
            for dataset in (*datasets, *folding):
                held_up += self._rotate(dataset, as_of, result, folding=dataset not in datasets)
        if held_up:
            raise held_up[0]
        return result

    def _rotate(self, dataset: Dataset, as_of: date, result: Rotated, *, folding: bool) -> Sequence[ThermoclineError]:
        """Move the dataset's due days; what held it up is noted with each day that is left, and returned if none is."""
        # What this run detaches is not released by it, whatever day it is told to take for today.
        detached = [] if folding else self.hot.detached(dataset)
        due: list[Partition] = []
        before, held_up = len(result.failed), list[ThermoclineError]()
        release: Release | None = None
        try:
            due = self._due(dataset, as_of, folding=folding)
            self._forget_trouble(dataset, due, detached, folding=folding)
            self.progress.begin(f"rotating {dataset.name}", len(due))
            old = [each for each in detached if self._is_over(each, as_of)]
            release = Release(self.hot, self.lake, dataset, old, self.run_id)
            for some in chunks(due, BATCH_DAYS):
                before_these = len(result.moved)
                with self.hot.writer(dataset) as writer:
                    _Batch(self, dataset, writer, result, as_of).rotate(some)
                # Days that the lake had as they are went first.
                result.moved[before_these:] = sorted(result.moved[before_these:], key=lambda moved: moved.partition)
            release.run(result.moved)
            if not due and not folding:
                self._settle(dataset)
        except ThermoclineError as error:
            # What holds up one dataset need not hold up the next; the days that are left are due again.
            told = {moved.partition for moved in result.moved} | {failed.partition for failed in result.failed}
            due = due or ([] if folding else self._hot_and_due(dataset, as_of))
            left = [partition for partition in due if partition not in told]
            result.failed += [Failed(partition, str(error)) for partition in left]
            if not left and not (due and isinstance(error, RequestBudgetError)):
                held_up.append(error)
        note_trouble(self.hot, ROTATE, result.failed[before:], run_id=self.run_id)
        if release:
            note_trouble(self.hot, RELEASE, release.failed, run_id=self.run_id)
            result.failed += release.failed
            result.released += release.released
        return held_up

    def _forget_trouble(
        self, dataset: Dataset, due: Collection[Partition], detached: Sequence[Detached], *, folding: bool
    ) -> None:
        """What is not due, or not detached, any more is out of trouble."""
        if not folding:
            end_trouble(self.hot, ROTATE, dataset, due)
            end_trouble(self.hot, RELEASE, dataset, [each.partition for each in detached])

    def _due(self, dataset: Dataset, as_of: date, *, folding: bool) -> list[Partition]:
        rotated, folded = ([], [dataset]) if folding else ([dataset], [])
        planned = plan_rotation(self.hot, rotated, self.lifecycle, as_of=as_of, folding=folded, counted=False)
        return [moved.partition for moved in planned]

    def _hot_and_due(self, dataset: Dataset, as_of: date) -> list[Partition]:
        """What the ledger alone says, where the tables can't be planned with."""
        days = [day.partition for day in self.hot.hot_days(dataset)]
        return [partition for partition in days if self.lifecycle.is_due(partition, as_of)]

    def _settle(self, dataset: Dataset) -> None:
        """Where nothing is due, make the table follow the ledger all the same: a run may have died between the two."""
        # Another writer does so itself, before anything else.
        with suppress(LockTimeoutError), self.hot.writer(dataset, wait_seconds=0) as writer:
            if writer.head() is not None:
                settled_head(writer, self.lake, dataset, run_id=self.run_id, anew=True)

    def _is_over(self, detached: Detached, as_of: date) -> bool:
        """Whether `undo` no longer promises to bring the day back."""
        return detached.detached_at.date() <= as_of - timedelta(days=self.lifecycle.undo_days)


@dataclass(frozen=True)
class _Batch:
    """Some due days of one dataset, while its writer is held."""

    rotation: Rotation
    dataset: Dataset
    writer: Writer
    result: Rotated
    as_of: date

    def rotate(self, partitions: Sequence[Partition]) -> None:
        """Move the days; what can't move is noted as failed and stays as it is."""
        lake, run_id = self.rotation.lake, self.rotation.run_id
        head = settled_head(self.writer, lake, self.dataset, run_id=run_id, anew=True)
        partitions = self._still_due(partitions)
        if not partitions:
            return
        live = self._live(partitions)
        copied, over = self._copied(partitions, live)
        head = self._unpacked(copied, live, head)
        added = [copy.receipt for copy in copied.values() if copy.receipt]
        if added:
            live = self._live(partitions)
            removed = [live[r.partition].receipt.path for r in added if r.partition in live]
            head = self._published(added, removed, head)
            for partition, copy in copied.items():
                self._cut_over(partition, copy)
            # Noted only now: were it noted earlier, a death between two days would go unseen by the next run.
            self._note(head, copied)
        if over:
            raise over

    def _copied(
        self, partitions: Sequence[Partition], live: Mapping[Partition, Vintage]
    ) -> tuple[dict[Partition, ColdCopy], RequestBudgetError | None]:
        """The days that got a new vintage; those that the lake has as they are leave hot while others are read.

        Where the run may ask nothing more of a store, what was copied is still worth publishing; that comes with it.
        """
        rotation, over = self.rotation, None
        copying = Copying(
            rotation.lake,
            rotation.spool,
            self.dataset,
            self.writer,
            rotation.run_id,
            live,
            rotation.lifecycle.rotation_memory_mib,
        )
        copied: dict[Partition, ColdCopy] = {}
        with copying.copies(partitions) as coming:
            for partition, copy_of in coming:
                try:
                    copy = copy_of()
                except RequestBudgetError as error:
                    over = over or error
                    self._fail(partition, error)
                except ThermoclineError as error:
                    self._fail(partition, error)
                else:
                    if copy.is_new:
                        copied[partition] = copy
                    else:
                        self._cut_over(partition, copy)
        return copied, over

    def _published(self, added: Sequence[Receipt], removed: Collection[str], head: str) -> str:
        """The table's head with the new objects in it."""
        lake, run_id = self.rotation.lake, self.rotation.run_id
        # A run that lost its lock with its connection learns it here, before it touches the table.
        self.writer.head()
        try:
            return lake.publish(self.dataset, added=added, removed=removed, expected_head=head, run_id=run_id)
        except CatalogConflictError:
            # Who moved the head did it without the lock, which is held here: a run that lost it and that can't commit
            # to the ledger any more. What it published is taken out again.
            head = settled_head(self.writer, lake, self.dataset, run_id=run_id)
            return lake.publish(self.dataset, added=added, removed=removed, expected_head=head, run_id=run_id)

    def _still_due(self, partitions: Sequence[Partition]) -> list[Partition]:
        """Asked again under the lock: while this one waited for it, others may have moved some, or kept some longer."""
        hot, lifecycle = self.rotation.hot, self.rotation.lifecycle
        days = {day.partition: day for day in hot.hot_days(self.dataset)}
        due = {p for p, day in days.items() if lifecycle.is_due(p, self.as_of, day.until)}
        folds = hot.late(self.dataset).keys() - days.keys()
        return [partition for partition in partitions if partition in due | folds]

    def _live(self, partitions: Sequence[Partition]) -> dict[Partition, Vintage]:
        span = span_of(partitions)
        return {vintage.partition: vintage for vintage in self.writer.live(span)}

    def _unpacked(self, copied: dict[Partition, ColdCopy], live: Mapping[Partition, Vintage], head: str) -> str:
        """Take days that get a new vintage out of the objects that they share; those that can't be, fail."""

        def failed(partitions: Sequence[Partition], error: ThermoclineError) -> None:
            for partition in partitions:
                del copied[partition]
                self._fail(partition, error)

        replaced = [partition for partition in copied if partition in live]
        lake, run_id = self.rotation.lake, self.rotation.run_id
        return unpack(
            self.writer, lake, self.dataset, replaced, head=head, run_id=run_id, one_by_one=True, on_failed=failed
        )

    def _cut_over(self, partition: Partition, copy: ColdCopy) -> None:
        receipts = [copy.receipt] if copy.is_new and copy.receipt else []
        try:
            self.writer.cut_over(copy.export, Publication(self.dataset, None, self.rotation.run_id, receipts))
        except ThermoclineError as error:
            self._fail(partition, error)
            return
        receipt = copy.receipt
        moved = Moved(
            partition,
            "rotate" if copy.export.was_hot else "fold",
            receipt.contents.rows if receipt else 0,
            receipt.size_bytes if receipt else 0,
            receipt.path if receipt else "",
        )
        self.result.moved.append(moved)
        self.rotation.progress.advance()
        self.rotation.on_moved(moved)

    def _note(self, head: str, copied: Collection[Partition]) -> None:
        """Note the new head, or, when a day failed after the table had it, make the table follow the ledger again."""
        if any(failed.partition in copied for failed in self.result.failed):
            settled_head(self.writer, self.rotation.lake, self.dataset, run_id=self.rotation.run_id)
        else:
            note_head(self.writer, self.dataset, head, run_id=self.rotation.run_id)

    def _fail(self, partition: Partition, error: ThermoclineError) -> None:
        self.result.failed.append(Failed(partition, str(error)))
        self.rotation.progress.advance()
