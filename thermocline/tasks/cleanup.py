"""Hot cleanup: bring a PostgreSQL that holds years of rows under the rules, without losing one.

A plain table of a dataset's name is adopted: every row that may go in is archived to the lake and verified, then an
empty partitioned table takes its place and the last `hot_days` are loaded into it. The old table is kept aside, with
every row that could not go in, until a person drops it. Days that are partitioned already and too old are rotated.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from thermocline.errors import PlanDriftError
from thermocline.faults import reached
from thermocline.model.conform import conform
from thermocline.model.dataset import Dataset
from thermocline.model.lifecycle import Lifecycle
from thermocline.model.partition import ALL_DAYS
from thermocline.model.report import Moved
from thermocline.model.rules import Rulebook
from thermocline.ports import (
    FetchRequest,
    Hot,
    Lake,
    Mapped,
    MonthOfRows,
    PlainSurvey,
    PlainTable,
    Progress,
    Source,
)
from thermocline.tasks.backfill import Backfilled
from thermocline.tasks.load import Loaded, load
from thermocline.tasks.rotate import Rotated, plan_rotation

if TYPE_CHECKING:
    import pyarrow as pa

_DUPLICATE = "duplicate key "
_REASONS_SHOWN = 20
_OTHER = "other reasons"
_VALUES = (
    # In quotes; long ones are cut before the closing one.
    (re.compile(r"""(?<!\w)'(?:[^'\\]|\\.)*(?:'|…)|(?<!\w)"(?:[^"\\]|\\.)*(?:"|…)"""), "a value"),
    # Numbers and times stand without quotes.
    (re.compile(r"(?<=: )(?:-?inf|nan|[-+]?\d\S*)(?= (?:is|has|contains) )"), "a value"),
    (re.compile(r"this one has \S*\d(?=;|$)"), "this one has another time"),
)


@dataclass(frozen=True)
class CleanupPlan:
    """What is in hot, month by month, and what a cleanup would do. `apply_cleanup` does exactly this or refuses.

    `rejected_rows` counts by reason, with the values left out of it, the rows of a table that would be adopted which
    may not go in. Rows with the key of another row are in `plain.duplicate_rows` instead.
    """

    dataset: Dataset
    as_of: date
    lifecycle: Lifecycle
    months: list[MonthOfRows] = field(default_factory=list)
    moves: list[Moved] = field(default_factory=list)
    plain: PlainSurvey | None = None
    moving_rows: int = 0
    rejected_rows: Mapping[str, int] = field(default_factory=dict)

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
                "rejected_rows": dict(self.rejected_rows),
                "unknown_columns": list(survey.unknown_columns),
                "filled_columns": dict(survey.filled_columns),
            },
        }


@dataclass
class Cleaned:
    """What a cleanup did. `stayed` counts the rows of an adopted table that are in the kept table alone.

    They are the rejected ones, which are in the quarantine too, the `undated` ones, and repetitions.
    """

    dataset: str
    run_id: str
    kept_as: str | None = None
    undated: int = 0
    stayed: int = 0
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
            "undated_rows": self.undated,
            "stayed_rows": self.stayed,
            "duplicates": self.adopted.duplicates if self.adopted else 0,
            "written": self.adopted.written if self.adopted else 0,
            "loaded": self.loaded.loaded if self.loaded else 0,
            "partitions": self.rotated.document()["partitions"] if self.rotated else [],
            "failed": self.rotated.document()["failed"] if self.rotated else [],
        }


def plan_cleanup(
    hot: Hot, dataset: Dataset, lifecycle: Lifecycle, mapped: Mapped, *, as_of: date, now: datetime, rulebook: Rulebook
) -> CleanupPlan:
    """Say what is there and what would move; changes nothing."""
    with hot.plain(dataset, mapped, hold=False) as table:
        if table is not None:
            survey = table.survey()
            good, rejected = _gated(table, dataset, now, rulebook)
            return CleanupPlan(
                dataset,
                as_of,
                lifecycle,
                list(survey.months),
                plain=survey,
                moving_rows=_moving_rows(good, dataset, lifecycle, as_of),
                rejected_rows=rejected,
            )
    moves = plan_rotation(hot, [dataset], lifecycle, as_of=as_of)
    months_of: dict[tuple[str, date], list[int]] = {}
    for leaf in hot.leaves(dataset):
        entry = months_of.setdefault((leaf.partition.interval, leaf.partition.day.replace(day=1)), [0, 0])
        entry[0] += leaf.rows
        entry[1] += leaf.size_bytes
    months = [MonthOfRows(*key, *counts) for key, counts in sorted(months_of.items())]
    return CleanupPlan(dataset, as_of, lifecycle, months, moves, moving_rows=sum(moved.rows for moved in moves))


def _gated(
    table: PlainTable, dataset: Dataset, now: datetime, rulebook: Rulebook
) -> tuple[list[MonthOfRows], dict[str, int]]:
    """Read the table once and say how many rows of each month may go in, and why how many may not. Keeps nothing."""
    good: Counter[tuple[str, date]] = Counter()
    reasons: Counter[str] = Counter()
    for fetched in table.fetch(FetchRequest(dataset, ALL_DAYS)):
        conformed = conform(
            fetched.rows, dataset, source=table.name, ingested_at=now, origin=fetched.origin, rulebook=rulebook
        )
        good.update(_by_month(conformed.rows, dataset))
        reasons.update(_without_values(rejected.reason for rejected in conformed.rejected))
        reasons.update(_without_values(reason for _, reason in fetched.unreadable))
    months = [MonthOfRows(*key, rows, 0) for key, rows in sorted(good.items())]
    listed = reasons.most_common()
    shown, rest = dict(listed[:_REASONS_SHOWN]), sum(rows for _, rows in listed[_REASONS_SHOWN:])
    return months, shown | ({_OTHER: rest} if rest else {})


def _by_month(rows: "pa.Table", dataset: Dataset) -> dict[tuple[str, date], int]:
    import pyarrow as pa  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it
    import pyarrow.compute as pc  # noqa: PLC0415

    ts = rows["ts"].cast(pa.int64()).cast(pa.timestamp("us"))
    interval = rows["interval"] if dataset.has_intervals else pa.repeat("", len(rows))
    found = pa.table({"interval": interval, "year": pc.year(ts), "month": pc.month(ts)})
    counted = found.group_by(found.column_names).aggregate([([], "count_all")]).to_pylist()
    return {(row["interval"], date(row["year"], row["month"], 1)): row["count_all"] for row in counted}


def _without_values(reasons: Iterable[str]) -> Iterable[str]:
    """The reasons of rows that may not go in, so that those which differ by a value alone are the same."""
    for reason in reasons:
        # Which of a key's rows count as repetitions, the survey knows for the table as a whole.
        if reason.startswith(_DUPLICATE):
            continue
        general = reason
        for value, instead in _VALUES:
            general = value.sub(instead, general)
        yield general


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
            survey = plan.plain
            result.undated = survey.undated_rows if survey else 0
            result.stayed = survey.rows - result.adopted.rows if survey else 0
    if result.adopted:
        reached("swap:committed")
        datasets = [plan.dataset]
        result.loaded = load(hot, lake, datasets, plan.lifecycle, as_of=plan.as_of, run_id=run_id, progress=progress)
    else:
        result.rotated = rotate(plan.dataset)
    return result
