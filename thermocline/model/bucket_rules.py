"""The lifecycle rules of a bucket: those that a retention policy comes to, and what rules would do to a lake.

A bucket's rules count the age of objects, the policy that of the rows in them: a day of 2015 that is backfilled today
is an object of today. So the rules written here never count from an object's own age. On Google each object carries its
youngest day as its custom time, and rules count the days since. On S3, where nothing of the kind exists, there is a
rule for each dataset and year, whose folder is in the path, with the dates on which its last day reaches each age.

Rows are never deleted by a rule: the ledger would go on naming them. `tiers apply` takes days out of the lake, `expire`
deletes the objects.

Facts, with where they were read in 2026-11:

- S3 takes 1,000 rules (docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html), Google 100
  (cloud.google.com/storage/quotas).
- S3 moves nothing smaller than 128 KiB unless a rule's filter says otherwise, and never to a warmer class; it deletes
  rather than moves where both are due (…/lifecycle-transition-general-considerations.html).
- Google deletes rather than moves, moves to the class that is the cheapest to keep where several are due, and never to
  a warmer one (cloud.google.com/storage/docs/lifecycle). It moves small objects too.
- Google bills the operation for a move by rule, but neither retrieval nor leaving early (…/docs/lifecycle#actions).
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from thermocline.errors import UsageError
from thermocline.model.paths import COLD, table_location
from thermocline.model.retention import RetentionPolicy
from thermocline.model.storage_classes import Provider, classes_of, storage_class

Rule = Mapping[str, Any]

MOST_RULES: Mapping[Provider, int] = {Provider.S3: 1_000, Provider.GCS: 100}
SMALLEST_BYTES = 128 << 10
UPLOAD_DAYS = 7
_NAME = "thermocline-"
_LONGEST_NAME = 255  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_LifecycleRule.html, read 2026-11
_SHORTEST_DIGEST = 16


@dataclass(frozen=True, slots=True)
class Place:
    """Where a lake lies in a bucket: whose it is, and what its keys begin with, empty or with a slash at the end."""

    provider: Provider
    prefix: str

    def of(self, dataset: str) -> str:
        """What the keys of a dataset's objects with rows begin with."""
        return f"{self.prefix}{table_location(dataset)}/year="


def place_of(provider: Provider, url: str) -> Place:
    """The place of a lake, from its own URL, in which a prefix stands as it is, whatever characters it has."""
    _, _, prefix = url.partition("://")[2].partition("/")
    return Place(provider, f"{prefix.strip('/')}/" if prefix.strip("/") else "")


@dataclass(frozen=True, slots=True)
class Harm:
    """What a rule would do that must not be done. `is_loss` says that rows or their ledger would be gone."""

    rule: Rule
    what: str
    is_loss: bool

    def document(self) -> dict[str, Any]:
        """The harm as JSON."""
        return {"rule": as_json(self.rule), "harm": self.what, "loss": self.is_loss}


@dataclass(frozen=True)
class RulesPlan:
    """What becomes of a bucket's rules: `added` and `removed` are ours, `kept` both ours and those of others."""

    current: Sequence[Rule]
    wanted: Sequence[Rule]
    added: Sequence[Rule]
    removed: Sequence[Rule]
    others: Sequence[Rule]
    harms: Sequence[Harm]

    @property
    def digest(self) -> str:
        """What names exactly this change of exactly these rules."""
        both = [[as_json(rule) for rule in rules] for rules in (self.current, self.wanted)]
        return hashlib.sha256(json.dumps(both, sort_keys=True).encode()).hexdigest()

    def is_named(self, digest: str) -> bool:
        """Whether a digest, or enough of its beginning, is this plan's."""
        return len(digest) >= _SHORTEST_DIGEST and self.digest.startswith(digest)

    def document(self) -> dict[str, Any]:
        """The plan as JSON."""
        return {
            "added": [as_json(rule) for rule in self.added],
            "removed": [as_json(rule) for rule in self.removed],
            "kept": [as_json(rule) for rule in self.wanted if rule in self.current],
            "others": [as_json(rule) for rule in self.others],
            "harms": [harm.document() for harm in self.harms],
            "digest": self.digest,
        }


def as_json(rule: Rule) -> dict[str, Any]:
    """A rule with its dates as text."""
    return json.loads(json.dumps(rule, default=lambda value: value.isoformat(), sort_keys=True))  # type: ignore[no-any-return]


# -------------------------------------------------------------------------------------------------------- our rules


def rules_for(place: Place, policy: RetentionPolicy, years: Mapping[str, Collection[int]]) -> list[Rule]:
    """The rules that a policy comes to, for datasets and the years that they have or will have objects of.

    Raises:
        UsageError: There would be more than the bucket takes.
    """
    made = list(_s3_rules(place, policy, years) if place.provider is Provider.S3 else _gcs_rules(place, policy, years))
    most = MOST_RULES[place.provider]
    if len(made) > most:
        msg = (
            f"these would be {len(made)} rules, and a bucket takes {most}; give datasets the same retention, or leave "
            "the moving to `thermocline tiers apply`"
        )
        raise UsageError(msg)
    return made


def _s3_rules(place: Place, policy: RetentionPolicy, years: Mapping[str, Collection[int]]) -> Iterator[Rule]:
    for dataset in sorted(years):
        steps = policy.of(dataset).steps
        for year in sorted(years[dataset]) if steps else ():
            last = date(year, 12, 31)
            yield {
                "ID": _name(place, f"{dataset}-{year}"),
                "Filter": {
                    "And": {"Prefix": f"{place.of(dataset)}{year}/", "ObjectSizeGreaterThan": SMALLEST_BYTES - 1}
                },
                "Status": "Enabled",
                "Transitions": [
                    {"Date": _midnight(last + timedelta(days=step.age_days)), "StorageClass": step.storage_class}
                    for step in steps
                ],
            }
    yield {
        "ID": _name(place, "uploads"),
        "Filter": {"Prefix": place.prefix},
        "Status": "Enabled",
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UPLOAD_DAYS},
    }


def _name(place: Place, of: str) -> str:
    """What a rule is called, which no other of the bucket may be, be it of another lake in it."""
    named = f"{_NAME}{place.prefix}{of}"
    if len(named) <= _LONGEST_NAME:
        return named
    return f"{_NAME}{hashlib.sha256(place.prefix.encode()).hexdigest()}/{of}"


def _gcs_rules(place: Place, policy: RetentionPolicy, years: Mapping[str, Collection[int]]) -> Iterator[Rule]:
    """One rule for each step that datasets share. Uploads that were broken off end by themselves, after a week."""
    names = [each.name for each in classes_of(Provider.GCS)]
    sharing: dict[tuple[int, str], list[str]] = {}
    for dataset in sorted(years):
        for step in policy.of(dataset).steps:
            sharing.setdefault((step.age_days, step.storage_class), []).append(place.of(dataset))
    for (age_days, name), prefixes in sorted(sharing.items()):
        yield {
            "action": {"type": "SetStorageClass", "storageClass": name},
            "condition": {
                "daysSinceCustomTime": age_days,
                "matchesPrefix": prefixes,
                "matchesStorageClass": names[: names.index(name)],
            },
        }


def is_ours(place: Place, rule: Rule) -> bool:
    """Whether a rule is one that was written here for this lake. Google's have no names; ours alone look like that."""
    if place.provider is Provider.S3:
        # A lake whose prefix begins with this one's, or with nothing, is another lake.
        table = f"{place.prefix}{COLD}/"
        prefixes = _prefixes(place.provider, rule)
        return str(rule.get("ID", "")).startswith(_NAME) and all(
            prefix == place.prefix or prefix.startswith(table) for prefix in prefixes
        )
    condition = rule.get("condition", {})
    own = [prefix.startswith(f"{place.prefix}{COLD}/") for prefix in condition.get("matchesPrefix", ())]
    return "daysSinceCustomTime" in condition and bool(own) and all(own)


def planned_rules(
    place: Place, policy: RetentionPolicy, years: Mapping[str, Collection[int]], current: Sequence[Rule]
) -> RulesPlan:
    """What the bucket's rules are to become: those of others as they are and where they are, ours after them."""
    ours = rules_for(place, policy, years)
    others = [rule for rule in current if not is_ours(place, rule)]
    kept = [rule for rule in current if rule in others or rule in ours]
    added = [rule for rule in ours if rule not in current]
    removed = [rule for rule in current if rule not in kept]
    wanted = [*kept, *added]
    if len(wanted) > MOST_RULES[place.provider]:
        msg = (
            f"with those of others there would be {len(wanted)} rules, and a bucket takes {MOST_RULES[place.provider]}"
        )
        raise UsageError(msg)
    harms = [harm for rule in wanted for harm in harms_of(place, policy, rule, years)]
    return RulesPlan(current, wanted, added, removed, others, harms)


# ----------------------------------------------------------------------------------------------------------- harms


def harms_of(place: Place, policy: RetentionPolicy, rule: Rule, datasets: Collection[str]) -> Iterator[Harm]:
    """What a rule, whoever wrote it, would do to the lake that queries or the ledger would suffer from."""
    if rule.get("Status", "Enabled") != "Enabled" or not _touches(place, rule):
        return
    if _deletes(rule) and not _is_apart(place, rule):
        yield Harm(rule, "it deletes objects that the ledger names: rows would be lost", is_loss=True)
    for name, age_days, on in _moves(place.provider, rule):
        if not _is_archive(place.provider, name):
            continue
        beside = [part for part in ("metadata/", "raw/", *_tables(datasets)) if _covers(place, rule, part)]
        if beside:
            what = f"it archives {place.prefix}{beside[0]} in {name}, which is read at once: nothing could be opened"
            yield Harm(rule, what, is_loss=False)
            continue
        for dataset in datasets:
            if _covers(place, rule, f"{table_location(dataset)}/year="):
                archived = [
                    s.age_days for s in policy.of(dataset).steps if _is_archive(place.provider, s.storage_class)
                ]
                youngest = _youngest_age(place, rule, dataset, age_days, on)
                if not archived or youngest < min(archived):
                    allowed = f"from {min(archived)} days on" if archived else "never"
                    what = (
                        f"it archives {dataset} in {name} at an age of {max(youngest, 0)} days, and queries read it at "
                        f"once until then: the policy does so {allowed}"
                    )
                    yield Harm(rule, what, is_loss=False)


def _tables(datasets: Collection[str]) -> Iterator[str]:
    for dataset in datasets:
        yield f"{table_location(dataset)}/metadata/"


def _youngest_age(place: Place, rule: Rule, dataset: str, age_days: int | None, on: date | None) -> int:
    """How old the youngest rows are, in days, that a rule moves."""
    if age_days is not None:
        return age_days  # rows are at least as old as the object that they lie in
    years = re.compile(re.escape(place.of(dataset)) + r"(\d{4})/")
    found = [match for prefix in _prefixes(place.provider, rule) if (match := years.match(prefix))]
    if on is None or len(found) != len(_prefixes(place.provider, rule)):
        return 0  # what is written after the date is moved at once
    return min((on - date(int(match[1]), 12, 31)).days for match in found)


def _is_archive(provider: Provider, name: str) -> bool:
    try:
        return not storage_class(provider, name).is_read_at_once
    except UsageError:
        return False


def _prefixes(provider: Provider, rule: Rule) -> list[str]:
    """What the keys that a rule is for begin with; one empty text where it is for all."""
    if provider is Provider.GCS:
        return list(rule.get("condition", {}).get("matchesPrefix") or [""])
    found = rule.get("Filter", {})
    return [str(found.get("Prefix") or found.get("And", {}).get("Prefix") or rule.get("Prefix") or "")]


def _touches(place: Place, rule: Rule) -> bool:
    """Whether a rule is for keys of the lake."""
    return any(
        prefix.startswith(place.prefix) or place.prefix.startswith(prefix) for prefix in _prefixes(place.provider, rule)
    )


def _covers(place: Place, rule: Rule, part: str) -> bool:
    """Whether a rule is for keys of a part of the lake."""
    whole = f"{place.prefix}{part}"
    return any(prefix.startswith(whole) or whole.startswith(prefix) for prefix in _prefixes(place.provider, rule))


def _is_apart(place: Place, rule: Rule) -> bool:
    """Whether a rule is for `cache/` or `processed/` alone, where nothing is that the ledger names."""
    free = tuple(f"{place.prefix}{part}" for part in ("cache/", "processed/"))
    return all(prefix.startswith(free) for prefix in _prefixes(place.provider, rule))


def _deletes(rule: Rule) -> bool:
    """Whether a rule deletes what can be read now; versions that were replaced are nobody's any more."""
    if rule.get("action", {}).get("type") == "Delete":
        condition = rule.get("condition", {})
        if condition.get("numNewerVersions"):  # what can be read now has none
            return False
        return not (
            condition.get("isLive") is False or {"daysSinceNoncurrentTime", "noncurrentTimeBefore"} & condition.keys()
        )
    return bool({"Days", "Date"} & set(rule.get("Expiration", {})))


def _moves(provider: Provider, rule: Rule) -> Iterator[tuple[str, int | None, date | None]]:
    """The classes that a rule moves to, each with the age or the date from which on."""
    if provider is Provider.GCS:
        action, condition = rule.get("action", {}), rule.get("condition", {})
        if action.get("type") == "SetStorageClass":
            yield str(action["storageClass"]), condition.get("daysSinceCustomTime", condition.get("age")), None
        return
    for each in rule.get("Transitions", ()):
        on = each.get("Date")
        yield str(each["StorageClass"]), each.get("Days"), on.date() if isinstance(on, datetime) else on


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
