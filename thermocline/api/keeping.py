"""Verbs that keep PostgreSQL in order."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from thermocline.api.opened import Opened, new_run_id
from thermocline.arguments import (
    Day,
)
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import DATASETS
from thermocline.model.rules import Rulebook
from thermocline.ports import (
    SILENT,
    Mapped,
    Progress,
)
from thermocline.tasks.cleanup import Cleaned, CleanupPlan, apply_cleanup, plan_cleanup
from thermocline.tasks.rotate import Rotation
from thermocline.tasks.vacuum import VacuumReport, vacuum


class Keeping(Opened):
    """Verbs that keep PostgreSQL in order."""

    def vacuum(
        self,
        datasets: Collection[str] = (),
        *,
        force: bool = False,
        progress: Progress = SILENT,
        run_id: str | None = None,
    ) -> VacuumReport:
        """VACUUM (ANALYZE) what stays hot, where it pays; everything with `force`."""
        run_id = run_id or new_run_id()
        return vacuum(self.hot, self._datasets(datasets), run_id=run_id, force=force, progress=progress)

    def migrate(self) -> list[str]:
        """Bring the tables of every dataset up to date with this release; return the datasets' names.

        Everything else does so too when it first needs them.
        """
        for dataset in self._datasets():
            self.hot.hot_days(dataset)
        return list(DATASETS)

    def plan_cleanup(
        self,
        dataset: str,
        *,
        hot_days: int | None = None,
        as_of: Day | None = None,
        columns: Mapping[str, str] | None = None,
        constants: Mapping[str, str] | None = None,
    ) -> CleanupPlan:
        """What lies in PostgreSQL by month and interval, and what `cleanup` would do with it; changes nothing.

        Args:
            dataset: The dataset, whose table may be plain and older than Thermocline.
            hot_days: The window, instead of the setting.
            as_of: Today.
            columns: For a plain table, from the dataset's column names to the table's, where they differ.
            constants: For a plain table, what to fill required columns with that it lacks.
        """
        mapped = Mapped(columns or {}, constants or {})
        chosen = self._dataset(dataset)
        return plan_cleanup(
            self.hot,
            chosen,
            self._lifecycle(hot_days),
            mapped,
            as_of=self._as_of(as_of),
            now=datetime.now(UTC),
            rulebook=self._adopted(chosen),
        )

    def _adopted(self, dataset: Dataset) -> Rulebook:
        """The rules for rows of a table that is adopted, however many of them break one: the plan has counted them."""
        return self._rulebook(dataset, max_bad_share=1.0)

    def cleanup(
        self,
        plan: CleanupPlan,
        *,
        columns: Mapping[str, str] | None = None,
        constants: Mapping[str, str] | None = None,
        progress: Progress = SILENT,
        run_id: str | None = None,
    ) -> Cleaned:
        """Do exactly what a plan of `plan_cleanup` says.

        Raises:
            PlanDriftError: The state changed since; nothing was done.
        """
        lifecycle = plan.lifecycle
        run_id = run_id or new_run_id()
        archived = replace(lifecycle, archive_on_backfill=True)
        return apply_cleanup(
            plan,
            self.hot,
            self.lake,
            Mapped(columns or {}, constants or {}),
            run_id=run_id,
            progress=progress,
            archive=lambda source, request: self._backfill(
                source,
                archived,
                plan.as_of,
                accept_restatements=True,
                rulebook=self._adopted(plan.dataset),
                progress=progress,
                run_id=run_id,
            ).run(request),
            rotate=lambda dataset: Rotation(self.hot, self.lake, self._spools, lifecycle, run_id, progress).run(
                [dataset], as_of=plan.as_of
            ),
        )
