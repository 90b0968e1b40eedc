"""Compaction: many small objects of a closed month or year become one, so that a question over years opens a few files.

Which months and years are due, `periods` says. Their live vintages are written as one object that the days share, which
is read back and compared with every day's receipt; then the table and the ledger name it instead, and the old objects
wait for `expire`. Rows, vintages and answers stay the same. A run that dies is made good by the next: readers go by the
ledger, and what was written already is adopted.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, timedelta
from typing import Any

from thermocline.errors import RequestBudgetError, ThermoclineError
from thermocline.model.dataset import Dataset
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS, ONE_DAY, DayRange, midnight
from thermocline.model.prices import PriceBook
from thermocline.model.receipt import Receipt, StoredObject
from thermocline.model.report import Failed
from thermocline.model.storage_classes import Provider, StorageClass, storage_class
from thermocline.ports import SILENT, Hot, Lake, Progress, Writer
from thermocline.tasks.archive import settled_head
from thermocline.tasks.periods import TARGET_BYTES, Period, due_periods
from thermocline.tasks.repack import combined, relocate

BATCH_PERIODS = 12
"""Months or years that share one commit to the table."""


@dataclass(frozen=True)
class LeftApart:
    """A period that is due and stays as it is, and why: what it lies in is archived, or is billed for a while anyway.

    From the day `until` on the reason is none any more; None where it stays one. `penalty_usd` is what would be billed
    for objects that leave their class too early; None where nobody knows the prices.
    """

    period: Period
    reason: str
    until: date | None = None
    penalty_usd: float | None = None

    def document(self) -> dict[str, Any]:
        """The period as one flat JSON object."""
        until = self.until and self.until.isoformat()
        return {**self.period.document(), "reason": self.reason, "until": until, "penalty_usd": self.penalty_usd}


@dataclass(frozen=True)
class CompactionPlan:
    """What a compaction would bring together, and what it would leave although it is due."""

    periods: Sequence[Period] = ()
    left: Sequence[LeftApart] = ()

    def document(self) -> dict[str, Any]:
        """The plan as JSON."""
        return {
            "periods": [period.document() for period in self.periods],
            "left": [left.document() for left in self.left],
        }


@dataclass
class Compacted:
    """What a compaction did. `objects` and `size_bytes` of a period are those before; `size_bytes` here those after."""

    run_id: str
    periods: list[Period] = field(default_factory=list)
    left: list[LeftApart] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    size_bytes: int = 0

    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "run_id": self.run_id,
            "periods": [period.document() for period in self.periods],
            "left": [left.document() for left in self.left],
            "bytes": self.size_bytes,
            "failed": [failed.document() for failed in self.failed],
        }


@dataclass(frozen=True)
class Compaction:
    """The parts of one compaction. `days` and `intervals` (none: all) choose months and years that have such a day.

    With `pay_early` objects leave their storage class also where they are billed for it for a while yet. `prices` say
    what that costs.
    """

    hot: Hot
    lake: Lake
    lifecycle: Lifecycle
    as_of: date
    days: DayRange = ALL_DAYS
    intervals: Collection[str] = ()
    target_bytes: int = TARGET_BYTES
    progress: Progress = SILENT
    prices: PriceBook | None = None
    pay_early: bool = False
    on_compacted: Callable[[Period], None] = lambda _: None

    def plan(self, datasets: Sequence[Dataset]) -> CompactionPlan:
        """Every period that `run` would bring together, and those that it would leave; changes nothing."""
        periods: list[Period] = []
        left: list[LeftApart] = []
        for dataset in datasets:
            due, apart = self._parted(dataset)
            periods += due
            left += apart
        return CompactionPlan(periods, left)

    def run(self, datasets: Sequence[Dataset], *, run_id: str) -> Compacted:
        """Bring every closed month and year together that lies in several objects. A second run finds nothing to do.

        A period that can't be read as it was written is left as it is and named; others go on.
        """
        result = Compacted(run_id)
        with self.lake.run(run_id):
            for dataset in datasets:
                due, left = self._parted(dataset)
                result.left += left
                self.progress.begin(f"compacting {dataset.name}", len(due))
                for start in range(0, len(due), BATCH_PERIODS):
                    with self.hot.writer(dataset) as writer:
                        self._compact(writer, dataset, due[start : start + BATCH_PERIODS], result)
        return result

    def _parted(self, dataset: Dataset) -> tuple[list[Period], list[LeftApart]]:
        """What is due, and what of that is left. The lake's listing is only read where something is due."""
        due = self._due(dataset)
        classes = self.lake.classes
        if not due or classes is None:
            return due, []
        stored = {each.path: each for each in self.lake.survey(dataset)}
        judged = [self._left(period, stored, classes.provider) for period in due]
        left = [each for each in judged if each]
        apart = {each.period.identity for each in left}
        return [period for period in due if period.identity not in apart], left

    def _left(self, period: Period, stored: Mapping[str, StoredObject], provider: Provider) -> LeftApart | None:
        """Why a period is not to be brought together, if so.

        What one object instead of many is billed less, until those may leave their class for nothing, is at most what
        they are billed until then, and just that is the price of leaving early. So that never pays.
        """
        objects = [stored[path] for path in period.paths if path in stored]
        facts = {each.path: storage_class(provider, each.storage_class) for each in objects}
        for each in objects:
            if not facts[each.path].is_read_at_once:
                named = facts[each.path].name
                return LeftApart(period, f"{each.path} is archived in {named}, and would have to be restored first")
        free_on = {each.path: _free_on(each, facts[each.path]) for each in objects}
        until = max(free_on.values(), default=date.min)
        if until <= self.as_of or self.pay_early:
            return None
        last = facts[max(free_on, key=free_on.__getitem__)]
        reason = f"objects of it are billed for {last.minimum_days} days in {last.name} all the same, until {until}"
        early = [(each, (free_on[each.path] - self.as_of).days) for each in objects if free_on[each.path] > self.as_of]
        if self.prices is None:
            return LeftApart(period, reason, until)
        usd = self.prices.early_usd
        penalty = (
            usd(each.storage_class, each.size_bytes, max(facts[each.path].minimum_days - n, 0)) for each, n in early
        )
        return LeftApart(period, reason, until, sum(penalty))

    def _due(self, dataset: Dataset) -> list[Period]:
        return due_periods(
            self.hot,
            dataset,
            self.lifecycle,
            as_of=self.as_of,
            days=self.days,
            intervals=self.intervals,
            target_bytes=self.target_bytes,
        )

    def _compact(self, writer: Writer, dataset: Dataset, periods: Sequence[Period], result: Compacted) -> None:
        head = settled_head(writer, self.lake, dataset, run_id=result.run_id, anew=True)
        written: list[tuple[Period, list[Receipt]]] = []
        for period in self._still_due(dataset, periods):
            try:
                written.append((period, combined(self.lake, period.receipts)))
            except RequestBudgetError:
                raise
            except ThermoclineError as error:
                result.failed.append(Failed(period.first, str(error)))
            self.progress.advance()
        if not written:
            return
        relocated = [receipt for _, receipts in written for receipt in receipts]
        removed = {receipt.path for period, _ in written for receipt in period.receipts}
        relocate(writer, self.lake, dataset, relocated, removed, head=head, run_id=result.run_id, name="compact")
        for period, receipts in written:
            done = replace(period, path=receipts[0].path)
            result.periods.append(done)
            result.size_bytes += receipts[0].size_bytes
            self.on_compacted(done)

    def _still_due(self, dataset: Dataset, periods: Sequence[Period]) -> Iterator[Period]:
        """Asked again under the lock: what was due may have been restated, loaded or brought together since."""
        wanted = {period.identity: period.paths for period in periods}
        for period in self._due(dataset):
            # Nobody looked whether objects that came since lie in a class that they should not leave.
            if period.paths == wanted.get(period.identity):
                yield period


def _free_on(stored: StoredObject, facts: StorageClass) -> date:
    """The first day on which an object can leave its class at any time without being billed for more."""
    if not facts.minimum_days or stored.modified_at is None:
        return date.min
    end = stored.modified_at.astimezone(UTC) + timedelta(days=facts.minimum_days)
    return end.date() if end == midnight(end.date()) else end.date() + ONE_DAY
