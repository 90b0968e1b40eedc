"""What a look at the tiers found, what is to be done, and what was done, in the words that people and programs read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from thermocline.model.partition import Partition
from thermocline.model.receipt import StoredObject
from thermocline.model.storage_classes import classes_of
from thermocline.model.tiering import Removal, TieredObject, TierPlan, Transition


@dataclass(frozen=True)
class Surveyed:
    """What lies in the lake of some datasets. `unnamed` are objects of no kept version, `missing` are paths of some.

    `strange` are objects in a class of which nothing is known here; they are left alone.
    """

    objects: Sequence[TieredObject]
    stored: Mapping[str, StoredObject]
    days_in: Mapping[str, frozenset[Partition]]
    unnamed: Sequence[StoredObject] = ()
    missing: Sequence[str] = ()
    strange: Sequence[StoredObject] = ()


@dataclass(frozen=True)
class Planned:
    """What one run would do, and what it was made from. `has_policy` says whether anything is ever due."""

    plan: TierPlan
    surveyed: Surveyed
    has_policy: bool = True

    @property
    def digest(self) -> str:
        """What names the plan."""
        return self.plan.digest

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return self.plan.is_empty

    def document(self) -> dict[str, Any]:
        """The plan as JSON."""
        return self.plan.document()


@dataclass(frozen=True, slots=True)
class Held:
    """What one dataset has in one storage class."""

    dataset: str
    storage_class: str
    objects: int
    size_bytes: int
    usd_per_month: float

    def document(self) -> dict[str, Any]:
        """The class as one flat JSON object."""
        return {
            "dataset": self.dataset,
            "class": self.storage_class,
            "objects": self.objects,
            "bytes": self.size_bytes,
            "usd_per_month": self.usd_per_month,
        }


@dataclass(frozen=True)
class Shown:
    """In which classes the lake lies and what that costs; `planned` is what is due."""

    planned: Planned
    holdings: Sequence[Held]

    @property
    def has_policy(self) -> bool:
        """See `Planned.has_policy`."""
        return self.planned.has_policy

    @property
    def usd_per_month(self) -> float:
        """What all of it costs a month."""
        return sum(each.usd_per_month for each in self.holdings)

    @property
    def by_class(self) -> list[tuple[str, int, float]]:
        """Of each class, from the first to the last, its bytes and dollars a month."""
        found: dict[str, tuple[int, float]] = {}
        for each in self.holdings:
            size_bytes, usd = found.get(each.storage_class, (0, 0.0))
            found[each.storage_class] = (size_bytes + each.size_bytes, usd + each.usd_per_month)
        order = [each.name for each in classes_of(self.planned.plan.provider)]
        return [(name, *found[name]) for name in sorted(found, key=order.index)]

    @property
    def misplaced(self) -> list[TieredObject]:
        """The objects that are not in the class that is due for them, be it that they are to stay where they are."""
        plan = self.planned.plan
        return [move.object for move in plan.transitions] + [left.object for left in plan.left]

    @property
    def unnamed(self) -> Sequence[StoredObject]:
        """Objects that no kept version names."""
        return self.planned.surveyed.unnamed

    @property
    def unnamed_bytes(self) -> int:
        """The bytes of those."""
        return sum(each.size_bytes for each in self.unnamed)

    @property
    def strange(self) -> Sequence[StoredObject]:
        """Objects in a class of which nothing is known here; their bytes are not counted."""
        return self.planned.surveyed.strange

    @property
    def missing(self) -> Sequence[str]:
        """Paths of kept versions at which there is no object."""
        return self.planned.surveyed.missing

    def document(self) -> dict[str, Any]:
        """What there is as JSON."""
        plan = self.planned.plan
        return {
            "provider": plan.provider.value,
            "as_of": plan.as_of.isoformat(),
            "classes": [each.document() for each in self.holdings],
            "objects": sum(each.objects for each in self.holdings),
            "bytes": sum(each.size_bytes for each in self.holdings),
            "usd_per_month": self.usd_per_month,
            "drift": [move.document() for move in plan.transitions] + [left.document() for left in plan.left],
            "over": [each.document() for each in plan.removals],
            "unnamed": {"objects": len(self.unnamed), "bytes": self.unnamed_bytes},
            "missing": list(self.missing),
            "strange": [{"path": each.path, "class": each.storage_class} for each in self.strange],
        }


@dataclass(frozen=True, slots=True)
class NotMoved:
    """An object that is as it was, and why; `to` is empty where it was to go for good."""

    object: TieredObject
    to: str
    reason: str

    def document(self) -> dict[str, Any]:
        """The object as one flat JSON object."""
        return {
            "dataset": self.object.dataset,
            "interval": self.object.interval or None,
            "path": self.object.path,
            "from": self.object.storage_class,
            "to": self.to or None,
            "bytes": self.object.size_bytes,
            "reason": self.reason,
        }


@dataclass
class Tiered:
    """What a run did. `stopped` says why it ended before it came to the end of its plan; empty where it did not."""

    run_id: str
    planned: Planned
    moved: list[Transition] = field(default_factory=list)
    removed: list[Removal] = field(default_factory=list)
    failed: list[NotMoved] = field(default_factory=list)
    stopped: str = ""

    @property
    def remaining(self) -> int:
        """How many transitions that are due are left to later runs."""
        plan = self.planned.plan
        return plan.postponed + len(plan.transitions) - len(self.moved) - sum(1 for each in self.failed if each.to)

    def document(self) -> dict[str, Any]:
        """The result as JSON: the plan's keys, with what was moved and what is gone."""
        return self.planned.document() | {
            "run_id": self.run_id,
            "transitions": [transition.document() for transition in self.moved],
            "removals": [removal.document() for removal in self.removed],
            "failed": [failed.document() for failed in self.failed],
            "postponed": self.remaining,
            "stopped": self.stopped or None,
        }
