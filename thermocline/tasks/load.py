"""Load: from the lake into hot, each day whole."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from thermocline.errors import LakeError, RequestBudgetError, TransientLakeError
from thermocline.model.dataset import Dataset
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS, DayRange, Partition, chunks, span_of
from thermocline.model.receipt import Vintage
from thermocline.model.report import Moved
from thermocline.ports import SILENT, Hot, Lake, Mover, Progress, Writer
from thermocline.tasks.several import several
from thermocline.tasks.trouble import LOAD, end_trouble, noting_trouble

DAYS_AT_ONCE = 3
"""While one day waits for the disk at its commit, which is an eighth of its time, two others keep two cores busy."""

_DAYS_PER_LOCK = 16
"""Days that are loaded before another writer gets its turn."""


@dataclass
class Loaded:
    """What a load did; counts are partitions."""

    run_id: str
    loaded: int = 0
    unchanged: int = 0
    moved: list[Moved] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "run_id": self.run_id,
            "loaded": self.loaded,
            "unchanged": self.unchanged,
            "partitions": [moved.document() for moved in self.moved],
        }


def load(
    hot: Hot,
    lake: Lake,
    datasets: Sequence[Dataset],
    lifecycle: Lifecycle,
    *,
    as_of: date,
    run_id: str,
    progress: Progress = SILENT,
    on_loaded: Callable[[Moved], None] = lambda _: None,
) -> Loaded:
    """Bring every day that should be hot to hot: eligible intervals, from `as_of - hot_days` on, no upper bound.

    A day that holds its live vintage already is left alone. Each day commits on its own, so that a run which dies is
    continued by the next.

    Raises:
        LakeError: The objects of some days are missing or damaged; it names them. All others were loaded.
    """
    with lake.run(run_id):
        return _load(
            hot,
            lake,
            datasets,
            lambda partition: lifecycle.is_hot(partition, as_of),
            days=ALL_DAYS,
            run_id=run_id,
            progress=progress,
            on_loaded=on_loaded,
        )


def rehydrate(
    hot: Hot,
    lake: Lake,
    dataset: Dataset,
    days: DayRange,
    intervals: Collection[str] = (),
    *,
    until: date,
    run_id: str,
    progress: Progress = SILENT,
) -> Loaded:
    """Bring cold days back to hot, whatever their age; rotations as of days before `until` leave them there.

    Then one takes them out again, and writes nothing where nothing changed. Days that are hot already stay at least as
    long.

    Raises:
        LakeError: As `load` does.
    """
    wanted = frozenset(intervals)
    with lake.run(run_id):
        return _load(
            hot,
            lake,
            [dataset],
            lambda partition: not wanted or partition.interval in wanted,
            days=days,
            run_id=run_id,
            progress=progress,
            on_loaded=lambda _: None,
            until=until,
        )


def _load(
    hot: Hot,
    lake: Lake,
    datasets: Sequence[Dataset],
    wanted: Callable[[Partition], bool],
    *,
    days: DayRange,
    run_id: str,
    progress: Progress,
    on_loaded: Callable[[Moved], None],
    until: date | None = None,
) -> Loaded:
    result = Loaded(run_id)
    bad: list[LakeError] = []
    for dataset in datasets:
        found = {vintage.partition for vintage in hot.live(dataset, days)}
        if until:
            # Days that are hot and were never cold are to stay, too.
            found |= {day.partition for day in hot.hot_days(dataset) if day.partition.day in days}
        due = sorted(filter(wanted, found))
        if days == ALL_DAYS:
            end_trouble(hot, LOAD, dataset, due)
        progress.begin(f"loading {dataset.name}", len(due))
        for some in chunks(due, _DAYS_PER_LOCK):
            with hot.writer(dataset) as writer:
                vintages = _lacking(hot, writer, dataset, some, until=until, run_id=run_id)
                result.unchanged += len(some) - len(vintages)
                progress.advance(len(some) - len(vintages))

                def bring(mover: Mover, vintage: Vintage) -> int:
                    return mover.load(vintage, lake.read(vintage.receipt, encoded=True), run_id=run_id, until=until)

                with several(writer, vintages, bring, is_writer_free=True, at_once=DAYS_AT_ONCE) as coming:
                    for vintage, rows_of in coming:
                        partition, receipt = vintage.partition, vintage.receipt
                        with _setting_aside(bad), noting_trouble(hot, LOAD, [partition], run_id=run_id):
                            moved = Moved(partition, "loaded", rows_of(), receipt.size_bytes, receipt.path)
                            result.moved.append(moved)
                            on_loaded(moved)
                        progress.advance()
    result.loaded = len(result.moved)
    if bad:
        raise _not_loaded(bad, result.loaded)
    return result


def _lacking(
    hot: Hot, writer: Writer, dataset: Dataset, some: Sequence[Partition], *, until: date | None, run_id: str
) -> list[Vintage]:
    """The live vintages that are not in hot yet; days that are there stay until the day `until` at least.

    Asked under the lock: what was due may have been restated or loaded since.
    """
    hot_now = {day.partition: day for day in hot.hot_days(dataset)}
    span = span_of(some)
    live = {vintage.partition: vintage for vintage in writer.live(span)}
    lacking = []
    for partition in some:
        vintage, day = live.get(partition), hot_now.get(partition)
        if vintage and not (day and day.version >= vintage.receipt.version):
            lacking.append(vintage)
        elif day and until and (day.until is None or day.until < until):
            writer.keep(partition, until, run_id=run_id)
    return lacking


@contextmanager
def _setting_aside(bad: list[LakeError]) -> Iterator[None]:
    """Go on after a day whose object is not good. A store that is down is down for the other days as well."""
    try:
        yield
    except (TransientLakeError, RequestBudgetError):
        raise
    except LakeError as error:
        bad.append(error)


def _not_loaded(bad: Sequence[LakeError], loaded: int) -> LakeError:
    if len(bad) == 1 and not loaded:
        return bad[0]
    days = "1 partition" if len(bad) == 1 else f"{len(bad):,d} partitions"
    reasons = "\n".join(map(str, bad))
    return LakeError(f"{days} could not be brought to hot, {loaded:,d} others were; nothing was lost:\n{reasons}")
