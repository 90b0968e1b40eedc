"""Verbs that check: whether what is kept can be brought back, and who did what."""

import secrets
from collections.abc import Collection

from thermocline.api.opened import Opened, new_run_id
from thermocline.arguments import Day, Instant, as_days, as_instant, as_query
from thermocline.errors import UsageError
from thermocline.model.partition import parse_interval
from thermocline.ports import SILENT, Act, AuditGuard, AuditQuery, Progress
from thermocline.tasks.check import Checked, check
from thermocline.tasks.drill import Drilled, drill

_SEEDS = 2**32


class Checking(Opened):
    """Verbs that check."""

    def drill(
        self,
        datasets: Collection[str] = (),
        *,
        count: int | None = None,
        seed: int | None = None,
        start: Day | None = None,
        end: Day | None = None,
        intervals: Collection[str] = (),
        progress: Progress = SILENT,
        run_id: str | None = None,
    ) -> Drilled:
        """Restore cold partitions for a trial and compare each with its receipt; readers notice nothing.

        Args:
            datasets: Of these, of all when empty.
            count: How many; `storage.lifecycle.drills.partitions` when None.
            seed: Picks the same ones again; a new one when None. The result names it.
            start: The first day.
            end: The first day no more.
            intervals: Only these, all when empty.
            progress: Told how far it is.
            run_id: Named in the audit log; made up when None.
        """
        count = self.settings.storage.lifecycle.drills.partitions if count is None else count
        if count < 1:
            msg = f"a drill restores at least one partition, not {count}"
            raise UsageError(msg)
        return drill(
            self.hot,
            self.lake,
            self._datasets(datasets),
            as_days(start, end),
            [parse_interval(interval) for interval in intervals],
            count=count,
            seed=secrets.randbelow(_SEEDS) if seed is None else seed,
            run_id=run_id or new_run_id(),
            progress=progress,
        )

    def check(
        self,
        dataset: str = "market_data",
        *,
        rules: Collection[str] = (),
        symbols: Collection[str] = (),
        intervals: Collection[str] = (),
        start: Instant | None = None,
        end: Instant | None = None,
        progress: Progress = SILENT,
    ) -> Checked:
        """Look for bars that are wrong beside others: jumps, mixed rows, copies, reused symbols, held restatements.

        Args:
            dataset: Of datasets other than market_data only held restatements are looked for.
            rules: Only what these rules find; with none, what those that `checks` of the settings enables do.
            symbols: Only these, all when empty.
            intervals: Only these bar sizes, all when empty.
            start: From this instant on; rows before it are read as neighbours.
            end: Before this instant.
            progress: Told how far it is.
        """
        self._dataset(dataset)
        asked = as_query(dataset, symbols=symbols, interval=None, intervals=intervals, start=start, end=end)
        return check(self.hot, self.lake, asked, self.settings.checks.rules, rules, progress=progress)

    def audit(
        self,
        datasets: Collection[str] = (),
        *,
        acts: Collection[str] = (),
        start: Instant | None = None,
        end: Instant | None = None,
        run_id: str | None = None,
        limit: int | None = None,
    ) -> list[Act]:
        """Who or what moved, undid, released, deleted or accepted what, newest first.

        Args:
            datasets: What was done to these; with none also what concerns no dataset.
            acts: Only these, such as `rotate` or `undo`.
            start: From this instant on.
            end: Before this instant.
            run_id: Only what this run did.
            limit: At most so many.
        """
        known = self._datasets(datasets)  # lines may speak of datasets that nothing declares any more
        chosen = known if datasets else ()
        return self.hot.audit(AuditQuery(chosen, acts, run_id, as_instant(start), as_instant(end), limit))

    def audit_guard(self) -> AuditGuard:
        """Who owns the audit log, and how this role could still change it."""
        return self.hot.audit_guard()

    def protect_audit(self, owner: str, *, run_id: str | None = None) -> AuditGuard:
        """Give the audit log to another role, so that Thermocline's can only append to it. Needs a superuser.

        Raises:
            HotStoreError: It would not hold, or this role may not; nothing was changed.
        """
        return self.hot.protect_audit(owner, run_id=run_id or new_run_id())
