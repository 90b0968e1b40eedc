"""Hot cleanup: bring a PostgreSQL that holds years of rows under the rules, without losing one.

A plain table of a dataset's name is adopted: every row that may go in is archived to the lake and verified, then an
empty partitioned table takes its place and the last `hot_days` are loaded into it. The old table is kept aside, with
every row that could not go in, until a person drops it. Days that are partitioned already and too old are rotated.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from thermocline.errors import PlanDriftError
from thermocline.model.dataset import Dataset
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS
from thermocline.model.report import Moved
from thermocline.ports import FetchRequest, Hot, Lake, Mapped, MonthOfRows, PlainSurvey, Progress, Source
from thermocline.tasks.backfill import Backfilled
from thermocline.tasks.load import Loaded, load
from thermocline.tasks.rotate import Rotated, plan_rotation


@dataclass(frozen=True)
class CleanupPlan:
    """What is in hot, month by month, and what a cleanup would do. `apply_cleanup` does exactly this or refuses."""

    dataset: Dataset
    as_of: date
    lifecycle: Lifecycle
    months: list[MonthOfRows] = field(default_factory=list)
    moves: list[Moved] = field(default_factory=list)
    plain: PlainSurvey | None = None
    moving_rows: int = 0

    def document(self) -> dict[str, Any]:
        """The plan as JSON."""
        survey = self.plain
        return {
            "dataset": self.dataset.name,
            "as_of": self.as_of.isoformat(),
            "hot_days": self.lifecycle.window_days(self.dataset.name, ""),
            "adopts": survey.table if survey else None,
            "rows": sum(month.rows for month in self.months),
            "moving_rows": self.moving_rows,
            "months": [
                {
                    "interval": month.interval or None,
                    "month": f"{month.month:%Y-%m}",
                    "rows": month.rows,
                    "bytes": month.size_bytes,
                }
                for month in self.months
            ],
            "partitions": [moved.document() for moved in self.moves],
            "kept_aside": None
            if survey is None
            else {
                "duplicate_rows": survey.duplicate_rows,
                "null_rows": dict(survey.null_rows),
                "undated_rows": survey.undated_rows,
                "unknown_columns": list(survey.unknown_columns),
                "filled_columns": dict(survey.filled_columns),
            },
        }


@dataclass
class Cleaned:
    """What a cleanup did."""

    dataset: str
    run_id: str
    kept_as: str | None = None
    adopted: Backfilled | None = None
    loaded: Loaded | None = None
    rotated: Rotated | None = None

    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "dataset": self.dataset,
            "run_id": self.run_id,
            "kept_as": self.kept_as,
            "adopted_rows": self.adopted.rows if self.adopted else 0,
            "rejected_rows": self.adopted.rejected if self.adopted else 0,
            "duplicates": self.adopted.duplicates if self.adopted else 0,
            "written": self.adopted.written if self.adopted else 0,
            "loaded": self.loaded.loaded if self.loaded else 0,
            "partitions": self.rotated.document()["partitions"] if self.rotated else [],
            "failed": self.rotated.document()["failed"] if self.rotated else [],
        }


def plan_cleanup(hot: Hot, dataset: Dataset, lifecycle: Lifecycle, mapped: Mapped, *, as_of: date) -> CleanupPlan:
    """Say what is there and what would move; changes nothing."""
    with hot.plain(dataset, mapped, hold=False) as table:
        if table is not None:
            survey = table.survey()
            months = list(survey.months)
            return CleanupPlan(
                dataset,
                as_of,
                lifecycle,
                months,
                plain=survey,
                moving_rows=_moving_rows(months, dataset, lifecycle, as_of),
            )
    moves = plan_rotation(hot, [dataset], lifecycle, as_of=as_of)
    months_of: dict[tuple[str, date], list[int]] = {}
    for leaf in hot.leaves(dataset):
        entry = months_of.setdefault((leaf.partition.interval, leaf.partition.day.replace(day=1)), [0, 0])
        entry[0] += leaf.rows
        entry[1] += leaf.size_bytes
    months = [MonthOfRows(*key, *counts) for key, counts in sorted(months_of.items())]
    return CleanupPlan(dataset, as_of, lifecycle, months, moves, moving_rows=sum(moved.rows for moved in moves))


def _moving_rows(months: list[MonthOfRows], dataset: Dataset, lifecycle: Lifecycle, as_of: date) -> int:
    """Rows of months that lie wholly before the window; the month it begins in counts as staying."""
    moving = 0
    for month in months:
        eligible = not dataset.has_intervals or month.interval in lifecycle.hot_intervals
        first = lifecycle.first_hot_day(dataset.name, month.interval, as_of)
        if not eligible or month.month < first.replace(day=1):
            moving += month.rows
    return moving


def apply_cleanup(
    plan: CleanupPlan,
    hot: Hot,
    lake: Lake,
    mapped: Mapped,
    *,
    run_id: str,
    progress: Progress,
    archive: Callable[[Source, FetchRequest], Backfilled],
    rotate: Callable[[Dataset], Rotated],
) -> Cleaned:
    """Do what the plan says. `archive` backfills the lake from a source, `rotate` rotates a dataset.

    Raises:
        PlanDriftError: The table is no longer what the plan was made for; nothing was changed.
    """
    result = Cleaned(plan.dataset.name, run_id)
    with hot.plain(plan.dataset, mapped, hold=True) as table:
        if (table is None) != (plan.plain is None) or (table and table.survey() != plan.plain):
            msg = f"{plan.dataset.name} changed since the plan was made; nothing was changed. Make the plan again"
            raise PlanDriftError(msg)
        if table:
            result.adopted = archive(table, FetchRequest(plan.dataset, ALL_DAYS))
            result.kept_as = table.swap(run_id=run_id)
    if result.adopted:
        datasets = [plan.dataset]
        result.loaded = load(hot, lake, datasets, plan.lifecycle, as_of=plan.as_of, run_id=run_id, progress=progress)
    else:
        result.rotated = rotate(plan.dataset)
    return result
