"""Which objects are to move to which storage class, what that costs and saves, and why others are left where they are.

Ages count from the youngest day in an object. All figures are list prices in US dollars; a month is a twelfth of
a year.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import Any

from thermocline.model.partition import midnight
from thermocline.model.prices import DAYS_PER_MONTH, PriceBook
from thermocline.model.retention import Retention, RetentionPolicy
from thermocline.model.storage_classes import Provider, first_class, is_colder, storage_class

LONGEST_STAY_DAYS = 3_650
"""How long an object is taken to stay in its last class: a gain that comes later than in ten years is none."""


class LeftReason(StrEnum):
    """Why an object that is due for another class stays where it is."""

    BUSY = "busy"  # something else is going on with its days
    COMPACT_FIRST = "compact first"  # it is about to be brought together with others, in an object that is written anew
    TOO_SMALL = "too small"  # it is billed for more bytes than it has
    NO_SAVING = "no saving"  # as often as it is read, it costs as much there
    NEVER_PAYS = "never pays"  # the fee is not earned before it moves on or is deleted
    MINIMUM_DURATION = "minimum duration"  # it would be billed for its old class all the same
    SUPERSEDED = "superseded"  # readers do not get it, and it would have to be written anew
    ARCHIVED = "archived"  # it must be restored before it can be copied
    COLDER = "colder already"  # nothing is moved back by itself


@dataclass(frozen=True, slots=True)
class TieredObject:
    """An object with rows, where it lies and what it holds.

    `stored_at` is when it came to its class, None where nobody knows; it then counts as long ago. `busy` says what is
    going on with its days that keeps them from being deleted, empty where nothing is. `is_live` says whether readers
    get it, and not only those who ask for an earlier version.
    """

    dataset: str
    interval: str
    path: str
    storage_class: str
    size_bytes: int
    first_day: date
    last_day: date
    stored_at: datetime | None
    is_due_for_compaction: bool = False
    readable_until: datetime | None = None
    etag: str = ""
    busy: str = ""
    is_live: bool = True

    def is_readable(self, as_of: date) -> bool:
        """Whether a restored copy of it, as archives give for a while, can still be read on a day."""
        return self.readable_until is not None and self.readable_until > midnight(as_of)

    def stored_days(self, as_of: date) -> float:
        """For how many days it has been in its class as a day begins; many where nobody knows."""
        if self.stored_at is None:
            return float(LONGEST_STAY_DAYS)
        elapsed = midnight(as_of) - self.stored_at.astimezone(UTC)
        return max(elapsed / timedelta(days=1), 0.0)


@dataclass(frozen=True, slots=True)
class Transition:
    """An object that is to move, and what that costs and saves.

    Attributes:
        object: The object.
        to: Its new class.
        fee_usd: The request, and what is read out of the old class.
        penalty_usd: What is billed for leaving the old class early, and the new one.
        retrieval_usd_per_month: What reading costs in the new class, as often as is expected.
        saving_usd_per_month: What keeping and reading costs less in the new class.
        break_even_days: After how many days fee and penalty are earned; None where they never are.
    """

    object: TieredObject
    to: str
    fee_usd: float
    penalty_usd: float
    retrieval_usd_per_month: float
    saving_usd_per_month: float
    break_even_days: float | None

    def document(self) -> dict[str, Any]:
        """The transition as one flat JSON object."""
        return {
            **_named(self.object),
            "to": self.to,
            "fee_usd": self.fee_usd,
            "penalty_usd": self.penalty_usd,
            "retrieval_usd_per_month": self.retrieval_usd_per_month,
            "saving_usd_per_month": self.saving_usd_per_month,
            "break_even_days": self.break_even_days,
        }


@dataclass(frozen=True, slots=True)
class Left:
    """An object that is due for another class and stays where it is. `move` is what moving it would come to."""

    object: TieredObject
    due: str
    reason: LeftReason
    detail: str
    move: Transition | None = None

    def document(self) -> dict[str, Any]:
        """The object as one flat JSON object."""
        figures = self.move.document() if self.move else {}
        return {
            **_named(self.object),
            **figures,
            "to": self.due or None,
            "reason": self.reason.value,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class Removal:
    """An object whose days are all to be deleted, since their retention is over."""

    object: TieredObject
    age_days: int
    freed_usd_per_month: float
    penalty_usd: float

    def document(self) -> dict[str, Any]:
        """The removal as one flat JSON object."""
        return {
            **_named(self.object),
            "age_days": self.age_days,
            "freed_usd_per_month": self.freed_usd_per_month,
            "penalty_usd": self.penalty_usd,
        }


@dataclass(frozen=True)
class TierPlan:
    """What is to move, what is to go, and what stays. `settled` objects lie where they belong.

    `digest` names exactly what would be done to exactly which objects, whenever the plan is made. `postponed` are how
    many more would move if one run might do it all.
    """

    provider: Provider
    as_of: date
    transitions: Sequence[Transition]
    left: Sequence[Left]
    removals: Sequence[Removal]
    settled: int
    usd_per_month_before: float
    usd_per_month_after: float
    digest: str
    postponed: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.transitions or self.removals)

    def spread(self, most: int) -> "TierPlan":
        """What one run is to do of it that may move so many objects: those that save most; the rest is postponed."""
        if len(self.transitions) <= most:
            return self
        best = sorted(self.transitions, key=lambda each: (-each.saving_usd_per_month, each.object.path))
        now, later = sorted(best[:most], key=lambda each: each.object.path), best[most:]
        after = self.usd_per_month_after + sum(each.saving_usd_per_month for each in later)
        digest = _digest(self.provider, now, self.removals)
        return replace(self, transitions=now, usd_per_month_after=after, digest=digest, postponed=len(later))

    @property
    def fee_usd(self) -> float:
        """What all transitions cost, penalties too."""
        return sum(move.fee_usd + move.penalty_usd for move in self.transitions)

    def document(self) -> dict[str, Any]:
        """The plan as JSON."""
        return {
            "provider": self.provider.value,
            "as_of": self.as_of.isoformat(),
            "transitions": [each.document() for each in self.transitions],
            "left": [each.document() for each in self.left],
            "removals": [each.document() for each in self.removals],
            "settled": self.settled,
            "postponed": self.postponed,
            "bytes": sum(each.object.size_bytes for each in self.transitions),
            "fee_usd": self.fee_usd,
            "saving_usd_per_month": sum(each.saving_usd_per_month for each in self.transitions),
            "usd_per_month_before": self.usd_per_month_before,
            "usd_per_month_after": self.usd_per_month_after,
            "digest": self.digest,
        }


def plan_tiers(
    objects: Collection[TieredObject], policy: RetentionPolicy, provider: Provider, prices: PriceBook, as_of: date
) -> TierPlan:
    """What the policy asks for as of a day, and what of it pays."""
    transitions: list[Transition] = []
    left: list[Left] = []
    removals: list[Removal] = []
    settled, before, after = 0, 0.0, 0.0
    first = first_class(provider).name
    for each in sorted(objects, key=lambda each: each.path):
        retention = policy.of(each.dataset)
        age_days = (as_of - each.last_day).days
        now_usd = _usd_per_month(prices, each.storage_class, each.size_bytes, retention)
        before += now_usd
        if retention.is_over(age_days) and each.busy:
            after += now_usd
            left.append(Left(each, "", LeftReason.BUSY, f"its retention is over, but {each.busy}"))
            continue
        if retention.is_over(age_days):
            early = prices.early_usd(each.storage_class, each.size_bytes, each.stored_days(as_of))
            removals.append(Removal(each, age_days, now_usd, early))
            continue
        after += now_usd
        due = retention.due_class(age_days, first)
        if due == each.storage_class:
            settled += 1
            continue
        decided = _decided(each, due, retention, prices, as_of)
        if isinstance(decided, Transition):
            transitions.append(decided)
            after -= decided.saving_usd_per_month
        else:
            left.append(decided)
    digest = _digest(provider, transitions, removals)
    return TierPlan(provider, as_of, transitions, left, removals, settled, before, after, digest)


def _decided(each: TieredObject, due: str, retention: Retention, prices: PriceBook, as_of: date) -> Transition | Left:
    provider, age_days = prices.provider, (as_of - each.last_day).days
    if is_colder(provider, each.storage_class, due):
        return Left(each, due, LeftReason.COLDER, f"{each.storage_class} is colder than {due}; nothing is moved back")
    if provider is Provider.LOCAL and not each.is_live:
        return Left(each, due, LeftReason.SUPERSEDED, "readers get a later version; it is not written anew")
    if each.is_due_for_compaction:
        what = "its days are to be brought together with others, which writes a new object; run `thermocline compact`"
        return Left(each, due, LeftReason.COMPACT_FIRST, what)
    if not storage_class(provider, each.storage_class).is_read_at_once and not each.is_readable(as_of):
        what = f"it must be restored from {each.storage_class} to be copied; a rule of the bucket moves it as it is"
        return Left(each, due, LeftReason.ARCHIVED, what)
    answers = [
        _weighed(each, step.storage_class, retention, prices, as_of)
        for step in reversed(retention.steps)
        if step.age_days <= age_days and is_colder(provider, step.storage_class, each.storage_class)
    ]
    # The coldest that pays; where none does, why the one that is due does not.
    return next((answer for answer in answers if isinstance(answer, Transition)), answers[0])


def _weighed(each: TieredObject, to: str, retention: Retention, prices: PriceBook, as_of: date) -> Transition | Left:
    """Moving an object to a class, or why that does not pay."""
    facts = prices.class_facts(to)
    size, stored_days = each.size_bytes, each.stored_days(as_of)
    there = prices.bytes_in(to, each.storage_class, size)
    stay_days = _stay_days(to, retention, (as_of - each.last_day).days)
    early = prices.early_usd(each.storage_class, size, stored_days)
    penalty = early + prices.early_usd(to, there, stay_days)
    fee = prices.move_usd(each.storage_class, to, size)
    reading = retention.reads_per_month * prices.read_usd(to, there)
    saving = _usd_per_month(prices, each.storage_class, size, retention) - _usd_per_month(prices, to, there, retention)
    days = (fee + penalty) / saving * DAYS_PER_MONTH if saving > 0 else None
    move = Transition(each, to, fee, penalty, reading, saving, days)
    if days is None:
        kept = prices.storage_usd_per_month(each.storage_class, size) - prices.storage_usd_per_month(to, there)
        billed = facts.minimum_bytes or facts.index_bytes + facts.first_class_index_bytes
        if kept <= 0 and billed:
            what = f"{size} bytes are billed as {max(size, facts.minimum_bytes) + facts.index_bytes} there"
            return Left(each, to, LeftReason.TOO_SMALL, what, move)
        what = f"read {retention.reads_per_month:g} times a month, it costs {-saving:.6f} USD a month more there"
        return Left(each, to, LeftReason.NO_SAVING, what, move)
    if early > 0:
        until = as_of + timedelta(days=ceil(_minimum_days(prices, each) - stored_days))
        what = f"it is billed for {each.storage_class} until {until} all the same"
        return Left(each, to, LeftReason.MINIMUM_DURATION, what, move)
    if days > stay_days:
        what = f"the fee is earned after {days:.0f} days, and it stays there for {stay_days}"
        return Left(each, to, LeftReason.NEVER_PAYS, what, move)
    return move


def _minimum_days(prices: PriceBook, each: TieredObject) -> int:
    """The minimum duration of the class that an object is in, in days."""
    return prices.class_facts(each.storage_class).minimum_days


def _stay_days(to: str, retention: Retention, age_days: int) -> int:
    """For how many days an object stays in a class before the next step or its end."""
    ends = [step.age_days for step in retention.steps if step.age_days > age_days and step.storage_class != to]
    if retention.delete_after_days is not None:
        ends.append(retention.delete_after_days)
    return min([*(end - age_days for end in ends), LONGEST_STAY_DAYS])


def _usd_per_month(prices: PriceBook, name: str, size_bytes: int, retention: Retention) -> float:
    """Keeping one object, and reading it as often as is expected."""
    reading = retention.reads_per_month * prices.read_usd(name, size_bytes)
    return prices.storage_usd_per_month(name, size_bytes) + reading


def _named(each: TieredObject) -> dict[str, Any]:
    return {
        "dataset": each.dataset,
        "interval": each.interval or None,
        "path": each.path,
        "from": each.storage_class,
        "to": None,
        "bytes": each.size_bytes,
        "first_day": each.first_day.isoformat(),
        "last_day": each.last_day.isoformat(),
    }


def _digest(provider: Provider, transitions: Sequence[Transition], removals: Sequence[Removal]) -> str:
    moves = [(each.object.path, each.object.etag, each.object.storage_class, each.to) for each in transitions]
    ends = [(each.object.path, each.object.etag) for each in removals]
    return hashlib.sha256(json.dumps([provider.value, moves, ends]).encode()).hexdigest()
