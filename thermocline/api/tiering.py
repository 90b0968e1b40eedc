"""Verbs that move the lake's objects between storage classes."""

from collections.abc import Collection

from thermocline.api.opened import Opened, new_run_id
from thermocline.arguments import Day, as_days
from thermocline.model.partition import Partition, parse_interval
from thermocline.model.tier_simulation import Simulation, simulate
from thermocline.ports import SILENT, Progress
from thermocline.tasks.tiered import Planned, Shown, Tiered
from thermocline.tasks.tiers import Tiering, growth_of


class TierKeeping(Opened):
    """Verbs that move the lake's objects between storage classes."""

    def tiers(
        self,
        datasets: Collection[str] = (),
        *,
        start: Day | None = None,
        end: Day | None = None,
        intervals: Collection[str] = (),
        as_of: Day | None = None,
    ) -> Shown:
        """In which storage classes the lake lies, what that costs, and what is not where it is due; changes nothing.

        Arguments are those of `plan_tiers`.
        """
        return self._tiering(start, end, intervals, as_of).show(self._datasets(datasets))

    def plan_tiers(
        self,
        datasets: Collection[str] = (),
        *,
        start: Day | None = None,
        end: Day | None = None,
        intervals: Collection[str] = (),
        as_of: Day | None = None,
        max_requests: int | None = None,
    ) -> Planned:
        """What `apply_tiers` would do; changes nothing.

        Args:
            datasets: The datasets' names, all when empty.
            start: Only objects whose youngest day is this one or later.
            end: Only objects whose youngest day is before this one.
            intervals: Only these, all when empty.
            as_of: Today, for the age of days.
            max_requests: How many requests the run may make, instead of what the settings say.
        """
        return self._tiering(start, end, intervals, as_of, max_requests).plan(self._datasets(datasets))

    def apply_tiers(
        self,
        plan: Planned | str,
        datasets: Collection[str] = (),
        *,
        start: Day | None = None,
        end: Day | None = None,
        intervals: Collection[str] = (),
        as_of: Day | None = None,
        max_requests: int | None = None,
        progress: Progress = SILENT,
        run_id: str | None = None,
    ) -> Tiered:
        """Do exactly what a plan says: move its objects, and let go of days whose retention is over.

        Args:
            plan: What `plan_tiers` returned for the same arguments, or its digest.
            datasets: The datasets' names, all when empty.
            start: Only objects whose youngest day is this one or later.
            end: Only objects whose youngest day is before this one.
            intervals: Only these, all when empty.
            as_of: Today, for the age of days; no day that is still to come.
            max_requests: How many requests the run may make, instead of what the settings say.
            progress: Told how far it is.
            run_id: Named in the audit log; made up when None.

        Raises:
            PlanDriftError: What is due is not what the plan says any more; nothing was changed.
            UsageError: The day is in the future; nothing was changed.
        """
        self._not_ahead(self._as_of(as_of))
        tiering = self._tiering(start, end, intervals, as_of, max_requests, progress=progress)
        digest = plan if isinstance(plan, str) else plan.digest
        return tiering.apply(self._datasets(datasets), digest, run_id=run_id or new_run_id())

    def simulate_tiers(
        self,
        datasets: Collection[str] = (),
        *,
        years: int = 10,
        start: Day | None = None,
        end: Day | None = None,
        intervals: Collection[str] = (),
        as_of: Day | None = None,
        growth_per_year: float = 0.0,
    ) -> Simulation:
        """What a lake costs that begins empty and grows as this one did in its last year, day by day.

        Under the policy, with all in the first class, and with all in PostgreSQL.

        Args:
            datasets: The datasets' names, all when empty.
            years: How far.
            start: Only objects whose youngest day is this one or later tell how the lake grows.
            end: Only objects whose youngest day is before this one do.
            intervals: Only these, all when empty.
            as_of: The day on which it begins.
            growth_per_year: By which share a day's bytes grow in a year.

        Raises:
            LakeError: The lake holds nothing of these, so nobody knows how it grows.
        """
        tiering = self._tiering(start, end, intervals, as_of)
        surveyed = tiering.survey(self._datasets(datasets))
        growth = growth_of(surveyed, begin=tiering.as_of, years=years, growth_per_year=growth_per_year)
        return simulate(growth, tiering.policy, tiering.prices)

    def past_retention(self, partitions: Collection[Partition], *, as_of: Day | None = None) -> list[Partition]:
        """Of some partitions, those whose retention is over: the next `apply_tiers` deletes them."""
        policy, today = self.settings.retention, self._as_of(as_of)
        return sorted(each for each in partitions if policy.of(each.dataset).is_over((today - each.day).days))

    def _tiering(
        self,
        start: Day | None,
        end: Day | None,
        intervals: Collection[str],
        as_of: Day | None,
        max_requests: int | None = None,
        *,
        progress: Progress = SILENT,
    ) -> Tiering:
        own = self.settings.storage.tiering
        return Tiering(
            self.hot,
            self.lake,
            self.settings.retention,
            self.settings.prices,
            self._as_of(as_of),
            as_days(start, end),
            list(map(parse_interval, intervals)),
            own.max_requests_per_run if max_requests is None else max_requests,
            own.threads,
            lifecycle=self.settings.lifecycle,
            target_bytes=self.settings.storage.lifecycle.compact_target_mib << 20,
            progress=progress,
        )
