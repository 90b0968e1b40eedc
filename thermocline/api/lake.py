"""Verbs that keep the lake in order."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from thermocline.api.opened import Opened, new_run_id
from thermocline.arguments import Day, as_days
from thermocline.model.partition import DayRange, parse_interval
from thermocline.ports import SILENT, Progress
from thermocline.tasks.compact import Compacted, Compaction, CompactionPlan
from thermocline.tasks.expire import Expired, Expiry
from thermocline.tasks.prefixes import ExpiredPrefix, PrefixExpiry, PrefixRetention

_MIB = 1 << 20


class LakeKeeping(Opened):
    """Verbs that keep the lake in order."""

    def plan_compaction(
        self,
        datasets: Collection[str] = (),
        *,
        start: Day | None = None,
        end: Day | None = None,
        intervals: Collection[str] = (),
        as_of: Day | None = None,
        target_mib: int | None = None,
        pay_early: bool = False,
    ) -> CompactionPlan:
        """The months and years that `compact` would bring together, and those that it would leave; changes nothing."""
        compaction = self._compaction(as_days(start, end), intervals, as_of, target_mib, pay_early=pay_early)
        return compaction.plan(self._datasets(datasets))

    def compact(
        self,
        datasets: Collection[str] = (),
        *,
        start: Day | None = None,
        end: Day | None = None,
        intervals: Collection[str] = (),
        as_of: Day | None = None,
        target_mib: int | None = None,
        pay_early: bool = False,
        progress: Progress = SILENT,
        run_id: str | None = None,
    ) -> Compacted:
        """Bring the objects of each closed month or year together in one, compared with every day's receipt.

        A closed year whose objects are small enough together becomes one object, else its months do.

        Args:
            datasets: The datasets' names, all when empty.
            start: Only months and years that have a day from this one on.
            end: Only months and years that have a day before this one.
            intervals: Only these, all when empty.
            as_of: Today: a month is closed when rotation would take every day of it, and nothing is going on in it.
            target_mib: How large the objects of a month or year may be together, instead of what the settings say.
            pay_early: Also those whose objects are billed for a while yet in the storage class that they would leave.
            progress: Told how far it is.
            run_id: Named in the audit log; made up when None.
        """
        compaction = self._compaction(
            as_days(start, end), intervals, as_of, target_mib, pay_early=pay_early, progress=progress
        )
        return compaction.run(self._datasets(datasets), run_id=run_id or new_run_id())

    def plan_expiry(
        self,
        datasets: Collection[str] = (),
        *,
        keep_vintages_days: int | None = None,
        grace_hours: float | None = None,
        as_of: Day | None = None,
    ) -> list[Expired]:
        """What `expire` would let go; changes nothing."""
        expiry = self._expiry(keep_vintages_days, grace_hours, as_of, SILENT)
        return expiry.plan(self._datasets(datasets))

    def expire(
        self,
        datasets: Collection[str] = (),
        *,
        keep_vintages_days: int | None = None,
        grace_hours: float | None = None,
        as_of: Day | None = None,
        progress: Progress = SILENT,
        run_id: str | None = None,
    ) -> list[Expired]:
        """Let go what is kept no longer: old vintages, old snapshots of the table, objects that nothing names.

        Args:
            datasets: The datasets' names, all when empty.
            keep_vintages_days: How long a superseded vintage is kept, instead of what the settings say.
            grace_hours: How long an object must have been without a name, instead of what the settings say. Longer
                than the longest query.
            as_of: Today, for the age of vintages alone.
            progress: Told how far it is.
            run_id: Named in the audit log; made up when None.
        """
        expiry = self._expiry(keep_vintages_days, grace_hours, as_of, progress)
        return expiry.run(self._datasets(datasets), run_id=run_id or new_run_id())

    def plan_prefixes(self, datasets: Collection[str] = ()) -> list[ExpiredPrefix]:
        """What `expire_prefixes` would delete; changes nothing."""
        return self._prefixes(SILENT).plan(self._datasets(datasets) if datasets else None)

    def expire_prefixes(
        self, datasets: Collection[str] = (), *, progress: Progress = SILENT, run_id: str | None = None
    ) -> list[ExpiredPrefix]:
        """Delete what lies beside the rows for longer than `storage.prefixes` says: pages, caches, abandoned fetches.

        Args:
            datasets: Only what is of these alone; everything when empty.
            progress: Told how far it is.
            run_id: Named in the audit log; made up when None.
        """
        chosen = self._datasets(datasets) if datasets else None
        return self._prefixes(progress).run(chosen, run_id=run_id or new_run_id())

    def _prefixes(self, progress: Progress) -> PrefixExpiry:
        retention = PrefixRetention(**self.settings.storage.prefixes.model_dump())
        return PrefixExpiry(self.hot, self.lake, retention, datetime.now(UTC), progress)

    def _compaction(
        self,
        days: DayRange,
        intervals: Collection[str],
        as_of: Day | None,
        target_mib: int | None,
        *,
        pay_early: bool,
        progress: Progress = SILENT,
    ) -> Compaction:
        target = self.settings.storage.lifecycle.compact_target_mib if target_mib is None else target_mib
        return Compaction(
            self.hot,
            self.lake,
            self.settings.lifecycle,
            self._as_of(as_of),
            days,
            list(map(parse_interval, intervals)),
            target * _MIB,
            progress,
            self.settings.prices,
            pay_early=pay_early,
        )

    def _expiry(
        self, keep_vintages_days: int | None, grace_hours: float | None, as_of: Day | None, progress: Progress
    ) -> Expiry:
        own = self.settings.storage.lifecycle
        keep = own.keep_vintages_days if keep_vintages_days is None else keep_vintages_days
        grace = timedelta(hours=own.object_grace_hours if grace_hours is None else grace_hours)
        return Expiry(self.hot, self.lake, self._as_of(as_of), datetime.now(UTC), keep, grace, progress)
