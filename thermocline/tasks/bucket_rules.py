"""The bucket's own lifecycle rules: what the retention policy comes to, written beside those of others."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from thermocline.errors import LakeError, PlanDriftError, UsageError
from thermocline.model.bucket_rules import RulesPlan, place_of, planned_rules
from thermocline.model.dataset import Dataset
from thermocline.model.retention import RetentionPolicy
from thermocline.model.storage_classes import Provider
from thermocline.ports import Act, Classes, Hot, Lake

_YEAR = re.compile(r"/year=(\d{4})/")


@dataclass(frozen=True)
class BucketRules:
    """The parts of what keeps a bucket's rules."""

    hot: Hot
    lake: Lake
    policy: RetentionPolicy
    as_of: date

    def plan(self, datasets: Sequence[Dataset]) -> RulesPlan:
        """What `apply` would do; changes nothing. Datasets that are not named are the policy's too."""
        classes = self._classes()
        years = {dataset.name: self._years(dataset) for dataset in datasets}
        return planned_rules(place_of(classes.provider, self.lake.url), self.policy, years, classes.rules())

    def apply(self, datasets: Sequence[Dataset], digest: str, *, run_id: str) -> RulesPlan:
        """Do exactly what a plan says.

        Raises:
            PlanDriftError: The rules, or what they are to become, are not those of the plan any more.
            LakeError: A rule, be it of others, would take away what the ledger names or what queries read.
        """
        plan = self.plan(datasets)
        if not plan.is_named(digest):
            msg = "the bucket's rules, or the policy, changed since the plan was made; nothing was changed. Plan again"
            raise PlanDriftError(msg)
        if plan.harms:
            named = "; ".join(dict.fromkeys(harm.what for harm in plan.harms))
            msg = f"rules of {self.lake.url} would do harm: {named}. Nothing was changed; take those rules away first"
            raise LakeError(msg)
        if plan.added or plan.removed:
            self._classes().replace_rules(plan.wanted, expected=plan.current)
            detail = {"added": len(plan.added), "removed": len(plan.removed), "digest": plan.digest}
            self.hot.record(Act("bucket-rules", None, run_id, detail))
        return plan

    def _years(self, dataset: Dataset) -> set[int]:
        """The years that there are objects of, and this one."""
        found = {int(match[1]) for path in self.lake.objects_of(dataset) if (match := _YEAR.search(path))}
        return found | {self.as_of.year}

    def _classes(self) -> Classes:
        classes = self.lake.classes
        if classes is None or classes.provider is Provider.LOCAL:
            msg = f"{self.lake.url} is no bucket, so it has no lifecycle rules; `thermocline tiers apply` moves objects"
            raise UsageError(msg)
        return classes
