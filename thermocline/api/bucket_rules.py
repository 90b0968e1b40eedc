"""Verbs for the lifecycle rules of the lake's bucket."""

from thermocline.api.opened import Opened, new_run_id
from thermocline.arguments import Day
from thermocline.model.bucket_rules import RulesPlan
from thermocline.tasks.bucket_rules import BucketRules


class BucketRuleKeeping(Opened):
    """Verbs for the lifecycle rules of the lake's bucket."""

    def plan_bucket_rules(self, *, as_of: Day | None = None) -> RulesPlan:
        """The bucket's lifecycle rules beside those that the retention policy comes to; changes nothing.

        Args:
            as_of: Today; the year that is running gets rules too.

        Raises:
            UsageError: The lake is no bucket, or would need more rules than a bucket takes.
        """
        return self._bucket_rules(as_of).plan(self._datasets(()))

    def apply_bucket_rules(
        self, plan: RulesPlan | str, *, as_of: Day | None = None, run_id: str | None = None
    ) -> RulesPlan:
        """Make the bucket's rules those of a plan. Rules of others stay as they are.

        Args:
            plan: What `plan_bucket_rules` returned, or its digest.
            as_of: Today, as for the plan.
            run_id: Named in the audit log; made up when None.

        Raises:
            PlanDriftError: The rules are not those of the plan any more; nothing was changed.
            LakeError: A rule would delete what the ledger names, or archive what queries read; nothing was changed.
        """
        digest = plan if isinstance(plan, str) else plan.digest
        return self._bucket_rules(as_of).apply(self._datasets(()), digest, run_id=run_id or new_run_id())

    def _bucket_rules(self, as_of: Day | None) -> BucketRules:
        return BucketRules(self.hot, self.lake, self.settings.retention, self._as_of(as_of))
