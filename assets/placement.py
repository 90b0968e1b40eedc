"""Checks of `storage_classes`: whether objects lie where they should, and are there at all.

All come from one look at the ledger and one listing of each dataset, over the whole lake rather than a month of it.
None stops anything. What is lost is an error, all else a warning.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from assets.days import today
from assets.report import LISTED_PARTITIONS, table
from assets.storage_classes import KEY, shown_metadata, tiering_of
from thermocline.model.datasets import DATASETS
from thermocline.ports import Hot, Lake
from thermocline.settings import Settings
from thermocline.tasks.placement import Inspection, Placement
from thermocline.tasks.schemas import applied

IN_DUE_CLASS = "in_due_class"
NOT_TOO_EARLY = "not_too_early"
RULES_AGREE = "rules_agree"
NONE_LEFT_BEHIND = "none_left_behind"
NONE_MISSING = "none_missing"

CHECKS = {
    IN_DUE_CLASS: "Every object lies in the class that is due for it, or is better left where it is.",
    NOT_TOO_EARLY: "No object lies in a colder class than is due, and none left a class while it was billed for it.",
    RULES_AGREE: "The bucket's lifecycle rules are those of the policy, where any are, and no rule harms the lake.",
    NONE_LEFT_BEHIND: "No object is without a receipt for longer than `expire` takes to delete it.",
    NONE_MISSING: "Every object that a kept version names is there.",
}
_WARN, _ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


def placement_checks() -> dg.AssetChecksDefinition:
    """All of them."""
    specs = [dg.AssetCheckSpec(name, asset=KEY, description=says) for name, says in CHECKS.items()]

    @dg.multi_asset_check(name="placement", specs=specs)
    def placement(
        hot: dg.ResourceParam[Hot], lake: dg.ResourceParam[Lake], settings: dg.ResourceParam[Settings]
    ) -> Iterator[dg.AssetCheckResult]:
        grace = timedelta(hours=settings.storage.lifecycle.object_grace_hours)
        tiering = tiering_of(hot, lake, settings, today(settings))
        found = Inspection(hot, lake, tiering, datetime.now(UTC), grace).look(applied(hot, list(DATASETS.values())))
        yield _due(found)
        yield _early(found)
        yield _rules(found)
        yield _left_behind(found)
        yield _missing(found)

    return placement


def _due(found: Placement) -> dg.AssetCheckResult:
    plan = found.shown.planned.plan
    return dg.AssetCheckResult(
        passed=not found.due,
        check_name=IN_DUE_CLASS,
        severity=_WARN,
        description=f"{found.due} objects are due elsewhere, or to go; run `lifecycle_tiering`"
        if found.due
        else f"{plan.settled} objects are where they are due, {len(plan.left)} are better left",
        metadata={"due": _table([each.document() for each in plan.transitions]), **shown_metadata(found.shown)},
    )


def _early(found: Placement) -> dg.AssetCheckResult:
    said = [f"{len(found.colder)} objects lie in a colder class than is due"] if found.colder else []
    said += [f"{len(found.early)} moves were billed for a minimum duration"] if found.early else []
    return dg.AssetCheckResult(
        passed=not said,
        check_name=NOT_TOO_EARLY,
        severity=_WARN,
        description="; ".join(said) or "nothing lies colder than due, and nothing was billed for leaving early",
        metadata={
            "colder than due": _table([each.document() for each in found.colder]),
            "billed": _table([dict(each.detail) for each in found.early]),
        },
    )


def _rules(found: Placement) -> dg.AssetCheckResult:
    rules = found.rules
    harms = list(rules.harms) if rules else []
    said = [found.rules_unread] if found.rules_unread else [harm.what for harm in harms]
    if rules and found.rules_differ:
        said.append(
            f"{len(rules.added)} rules of the policy are not there, and {len(rules.removed)} are of an older one; see "
            "`thermocline tiers rules plan`"
        )
    return dg.AssetCheckResult(
        passed=not said,
        check_name=RULES_AGREE,
        severity=_ERROR if any(harm.is_loss for harm in harms) else _WARN,
        description="; ".join(dict.fromkeys(said)) or "no rule is another than the policy's",
        metadata={"rules of others": len(rules.others) if rules else 0, "harms": len(harms)},
    )


def _left_behind(found: Placement) -> dg.AssetCheckResult:
    left = found.left_behind
    return dg.AssetCheckResult(
        passed=not left,
        check_name=NONE_LEFT_BEHIND,
        severity=_WARN,
        description=f"{len(left)} objects are named by no version and were not deleted; run `expire`" if left else None,
        metadata={
            "bytes": sum(each.size_bytes for each in left),
            "without a name": len(found.shown.unnamed),
            "objects": _table([{"path": each.path, "bytes": each.size_bytes} for each in left]),
        },
    )


def _missing(found: Placement) -> dg.AssetCheckResult:
    lost = found.missing
    return dg.AssetCheckResult(
        passed=not lost,
        check_name=NONE_MISSING,
        severity=_ERROR,
        description=f"{len(lost)} objects that versions name are not in the lake; put them back from a backup or an "
        "older version of the bucket, then see `thermocline verify`"
        if lost
        else None,
        metadata={"missing": _table([{"path": path} for path in lost])},
    )


def _table(documents: Sequence[dict[str, Any]]) -> dg.MetadataValue[str]:
    listed = table(documents[:LISTED_PARTITIONS])
    more = len(documents) - LISTED_PARTITIONS
    return dg.MetadataValue.md(f"{listed}\n\nand {more} more" if more > 0 else listed)
