"""Restore drills: bring cold partitions back for a trial, from the object to a table, and see that nothing is missing.

`verify` re-reads objects. A drill goes the whole way that a restore would: through PostgreSQL's types, its primary key
and back out, for a few partitions that nobody chose.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Any

from thermocline.errors import ArchivedError, RequestBudgetError, ThermoclineError
from thermocline.model.dataset import Dataset
from thermocline.model.partition import DayRange, Partition
from thermocline.model.receipt import Vintage
from thermocline.ports import SILENT, Act, Hot, Lake, Progress


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One partition that was restored for a trial. `differences` is empty where it came back as its receipt says."""

    partition: Partition
    path: str
    version: int
    rows: int
    size_bytes: int
    seconds: float
    differences: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it came back whole."""
        return not self.differences

    def document(self) -> dict[str, Any]:
        """The rehearsal as one flat JSON object."""
        facts = asdict(self)
        return {
            "dataset": self.partition.dataset,
            "interval": self.partition.interval or None,
            "day": self.partition.day.isoformat(),
            "ok": self.ok,
            "rows": facts["rows"],
            "bytes": facts["size_bytes"],
            "seconds": round(self.seconds, 3),
            "version": facts["version"],
            "path": facts["path"],
            "differences": list(self.differences),
        }


@dataclass
class Drilled:
    """What a drill found. Of `cold` partitions, those that are `archived` are not tried.

    With the same `seed` another one picks the same partitions, as long as there are the same.
    """

    run_id: str
    seed: int
    cold: int = 0
    archived: int = 0
    rehearsals: list[Rehearsal] = field(default_factory=list)

    @property
    def failed(self) -> list[Rehearsal]:
        """The partitions that did not come back whole."""
        return [rehearsal for rehearsal in self.rehearsals if not rehearsal.ok]

    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "run_id": self.run_id,
            "seed": self.seed,
            "cold": self.cold,
            "archived": self.archived,
            "restored": len(self.rehearsals) - len(self.failed),
            "failed": len(self.failed),
            "partitions": [rehearsal.document() for rehearsal in self.rehearsals],
        }


def drill(
    hot: Hot,
    lake: Lake,
    datasets: Sequence[Dataset],
    days: DayRange,
    intervals: Collection[str] = (),
    *,
    count: int,
    seed: int,
    run_id: str,
    progress: Progress = SILENT,
) -> Drilled:
    """Restore `count` cold partitions for a trial and compare each with its receipt; every one is as likely as another.

    What is archived is left out: bringing it back costs money and hours.
    Nothing that readers see is touched. What was found of each partition goes into the audit log.
    """
    cold = [vintage for dataset in datasets for vintage in hot.live(dataset, days, intervals)]
    cold.sort(key=lambda vintage: vintage.partition)
    apart = {each.path for each in lake.archived(vintage.receipt for vintage in cold)}
    result = Drilled(run_id, seed, len(cold), sum(vintage.receipt.path in apart for vintage in cold))
    cold = [vintage for vintage in cold if vintage.receipt.path not in apart]
    picked = random.Random(seed).sample(cold, min(count, len(cold)))  # noqa: S311  # to be repeated, not to be secret
    progress.begin("restoring for a trial", len(picked))
    with lake.run(run_id):
        for vintage in sorted(picked, key=lambda vintage: vintage.partition):
            rehearsal = _rehearsed(hot, lake, vintage)
            if rehearsal is None:
                result.archived += 1
                progress.advance()
                continue
            result.rehearsals.append(rehearsal)
            outcome = "restored" if rehearsal.ok else "failed"
            detail = {"outcome": outcome, "seed": seed, **rehearsal.document()}
            hot.record(Act("drill", vintage.partition, run_id, detail))
            progress.advance()
    return result


def _rehearsed(hot: Hot, lake: Lake, vintage: Vintage) -> Rehearsal | None:
    """What came of a trial; None where the object turned out to be archived."""
    receipt, began = vintage.receipt, monotonic()
    try:
        found = hot.rehearse(receipt.partition, lake.read(receipt))
    except RequestBudgetError:
        raise
    except ArchivedError:
        return None
    except ThermoclineError as error:
        differences = [str(error)]
    else:
        differences = receipt.contents.differences(found)
    return Rehearsal(
        receipt.partition,
        receipt.path,
        receipt.version,
        receipt.contents.rows,
        receipt.size_bytes,
        monotonic() - began,
        tuple(differences),
    )
