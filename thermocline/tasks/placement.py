"""Placement: whether the lake's objects lie where they should, and are there at all; from one look at the tiers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from thermocline.errors import ThermoclineError
from thermocline.model.bucket_rules import RulesPlan
from thermocline.model.dataset import Dataset
from thermocline.model.receipt import StoredObject
from thermocline.model.storage_classes import Provider
from thermocline.model.tiering import Left, LeftReason
from thermocline.ports import Act, AuditQuery, Hot, Lake
from thermocline.tasks.bucket_rules import BucketRules
from thermocline.tasks.tiered import Shown
from thermocline.tasks.tiers import Tiering

EXPIRES_WITHIN = timedelta(days=8)
"""In which `expire` is taken to run once: what is without a name for longer than that and its grace is left behind."""

LOOKS_BACK = timedelta(days=35)
"""How far back moves count that were too early: a month, in which each is seen once."""


@dataclass(frozen=True)
class Placement:
    """What was found.

    Attributes:
        shown: The tiers. What of its plan is to move or to go is due and was not done.
        colder: Objects in a colder class than the one that is due for them.
        early: Moves of the last weeks for which a minimum duration was billed.
        left_behind: Objects that no kept version names, although `expire` should have deleted them.
        missing: Paths of kept versions at which there is no object. Those rows are lost unless a backup has them.
        rules: The bucket's rules beside the policy's; None where the lake is no bucket, or they can't be read.
        rules_unread: Why they can't be read, empty where they can.
    """

    shown: Shown
    colder: Sequence[Left] = ()
    early: Sequence[Act] = ()
    left_behind: Sequence[StoredObject] = ()
    missing: Sequence[str] = ()
    rules: RulesPlan | None = None
    rules_unread: str = ""

    @property
    def due(self) -> int:
        """How many objects are due elsewhere, or to go."""
        plan = self.shown.planned.plan
        return len(plan.transitions) + plan.postponed + len(plan.removals)

    @property
    def rules_differ(self) -> bool:
        """Whether rules were written from the policy, and say something else than it says now."""
        rules = self.rules
        return rules is not None and len(rules.current) > len(rules.others) and bool(rules.added or rules.removed)


@dataclass(frozen=True)
class Inspection:
    """The parts of one look. `grace` is how long an object without a name is kept."""

    hot: Hot
    lake: Lake
    tiering: Tiering
    now: datetime
    grace: timedelta

    def look(self, datasets: Sequence[Dataset]) -> Placement:
        """What is wrong; changes nothing."""
        shown = self.tiering.show(datasets)
        plan = shown.planned.plan
        asked = AuditQuery(datasets, ["transition"], start=self.now - LOOKS_BACK)
        rules, unread = self._rules(datasets)
        return Placement(
            shown,
            colder=[left for left in plan.left if left.reason is LeftReason.COLDER],
            early=[act for act in self.hot.audit(asked) if act.detail.get("penalty_usd")],
            left_behind=self._left_behind(datasets, shown),
            # Asked for one by one, so that nobody is alarmed by what was moved meanwhile.
            missing=[path for path in shown.missing if self.lake.size_bytes(path) is None],
            rules=rules,
            rules_unread=unread,
        )

    def _left_behind(self, datasets: Sequence[Dataset], shown: Shown) -> list[StoredObject]:
        since = {each.path: each.since for dataset in datasets for each in self.hot.unnamed(dataset)}
        before = self.now - self.grace - EXPIRES_WITHIN
        # One that was never noted came from a run that died, or from elsewhere; a folder does not say when.
        noticed = ((each, since.get(each.path, each.modified_at)) for each in shown.unnamed)
        return [each for each, at in noticed if at is not None and at < before]

    def _rules(self, datasets: Sequence[Dataset]) -> tuple[RulesPlan | None, str]:
        if self.tiering.provider is Provider.LOCAL:
            return None, ""
        try:
            return BucketRules(self.hot, self.lake, self.tiering.policy, self.tiering.as_of).plan(datasets), ""
        except ThermoclineError as error:  # some may read a bucket and not its rules, and some stores have none
            return None, str(error)
