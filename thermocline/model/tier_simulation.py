"""What a lake costs as it grows: under a policy of storage classes, all in the first class, and all in PostgreSQL."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

from thermocline.model.partition import midnight
from thermocline.model.prices import DAYS_PER_MONTH, GIB, PriceBook
from thermocline.model.retention import Retention, RetentionPolicy
from thermocline.model.storage_classes import Provider, first_class
from thermocline.model.tiering import TieredObject, Transition, plan_tiers


@dataclass(frozen=True, slots=True)
class Stream:
    """What comes to the lake: so many bytes of a dataset a day, in one object a day.

    `growth_per_year` 0.2 lets a day's bytes grow by a fifth in a year.
    """

    dataset: str
    bytes_per_day: int
    interval: str = ""
    growth_per_year: float = 0.0


@dataclass(frozen=True, slots=True)
class MonthCost:
    """What one month of a simulation cost, in US dollars.

    `bytes_kept` and `objects` are those at its end; `gib_months` is what was kept, each day's from that day on.
    """

    month: date
    bytes_kept: int
    objects: int
    gib_months: float
    storage_usd: float = 0.0
    transition_usd: float = 0.0
    penalty_usd: float = 0.0
    request_usd: float = 0.0
    retrieval_usd: float = 0.0

    @property
    def usd(self) -> float:
        """All of it."""
        parts = (self.storage_usd, self.transition_usd, self.penalty_usd, self.request_usd, self.retrieval_usd)
        return sum(parts)


@dataclass(frozen=True)
class Simulation:
    """A lake that grows for years, month by month: under a policy, all in the first class, and all in PostgreSQL."""

    provider: Provider
    region: str
    policy: Sequence[MonthCost]
    first_class: Sequence[MonthCost]
    postgres: Sequence[MonthCost]

    @property
    def series(self) -> dict[str, list[tuple[date, float]]]:
        """The cost of each month by way of keeping, for a plot."""
        ways = {"policy": self.policy, "first class": self.first_class, "PostgreSQL": self.postgres}
        return {name: [(each.month, each.usd) for each in months] for name, months in ways.items()}

    def document(self) -> dict[str, Any]:
        """The simulation as JSON."""
        ways = {"policy": self.policy, "first_class": self.first_class, "postgres": self.postgres}
        return {
            "provider": self.provider.value,
            "region": self.region,
            "total_usd": {name: sum(each.usd for each in months) for name, months in ways.items()},
            "months": [
                {"month": f"{own.month:%Y-%m}", "bytes": own.bytes_kept, "objects": own.objects}
                | {f"{name}_usd": months[number].usd for name, months in ways.items()}
                for number, own in enumerate(self.policy)
            ],
        }


POSTGRES_FACTOR = 15.0
"""Bytes in PostgreSQL, with the index, for a byte in the lake: about 180 against 12 for a bar of one minute."""


@dataclass(frozen=True)
class Growth:
    """A lake that is empty at first and grows for years. With `compaction` a month becomes one object when it is over.

    `postgres_factor` is how many bytes a byte in the lake would be in PostgreSQL.
    """

    streams: Sequence[Stream]
    begin: date
    years: int
    compaction: bool = True
    postgres_factor: float = POSTGRES_FACTOR


def simulate(growth: Growth, policy: RetentionPolicy, prices: PriceBook) -> Simulation:
    """Let a lake grow day by day and count what it costs; plans are made and applied on the first of each month.

    Every way of keeping deletes what the policy deletes, and reads as often.
    """
    plain = RetentionPolicy(
        _without_steps(policy.default), {name: _without_steps(own) for name, own in policy.own.items()}
    )
    ours = list(_grown(growth, policy, prices))
    first = list(_grown(growth, plain, prices))
    usd = growth.postgres_factor * prices.postgres_usd_per_gib_month
    rows = [
        MonthCost(each.month, each.bytes_kept, each.objects, each.gib_months, each.gib_months * usd) for each in first
    ]
    return Simulation(prices.provider, prices.region, ours, first, rows)


def _without_steps(retention: Retention) -> Retention:
    return Retention((), retention.delete_after_days, retention.reads_per_month)


def _grown(growth: Growth, policy: RetentionPolicy, prices: PriceBook) -> Iterator[MonthCost]:
    provider, streams, begin = prices.provider, growth.streams, growth.begin
    first = first_class(provider).name
    lake: dict[str, TieredObject] = {}
    keep_usd, read_usd = cache(prices.storage_usd_per_month), cache(prices.read_usd)
    day = begin.replace(day=1)
    for _ in range(12 * growth.years):
        month, following = day, (day + timedelta(days=31)).replace(day=1)
        transition = penalty = 0.0
        writes = 0
        unsettled = [each for each in lake.values() if not _is_settled(each, policy.of(each.dataset), first, month)]
        plan = plan_tiers(unsettled, policy, provider, prices, month)
        for move in plan.transitions:
            at = midnight(month)
            lake[move.object.path] = _moved(move, at, prices)
            transition, penalty = transition + move.fee_usd, penalty + move.penalty_usd
        for gone in plan.removals:
            del lake[gone.object.path]
            penalty += gone.penalty_usd
        storage = reading = 0.0
        kept = [(each, (following - month).days) for each in lake.values()]
        while day < following:
            for stream in streams:
                size = round(stream.bytes_per_day * (1 + stream.growth_per_year) ** ((day - begin).days / 365))
                path = f"{stream.dataset}/{stream.interval}/{day}"
                new = TieredObject(stream.dataset, stream.interval, path, first, size, day, day, midnight(day))
                lake[path] = new
                kept.append((new, (following - day).days))
                writes += 1
            day += timedelta(days=1)
        for each, days in kept:
            share = days / DAYS_PER_MONTH
            storage += share * keep_usd(each.storage_class, each.size_bytes)
            reads = policy.of(each.dataset).reads_per_month
            reading += share * reads * read_usd(each.storage_class, each.size_bytes)
        total = sum(each.size_bytes for each, _ in kept)
        gib_months = sum(each.size_bytes * days for each, days in kept) / GIB / DAYS_PER_MONTH
        if growth.compaction:
            writes += _brought_together(lake, streams, month, following, first)
        requests = writes * prices.of(first).write_usd_per_1000 / 1000
        yield MonthCost(month, total, len(lake), gib_months, storage, transition, penalty, requests, reading)


def _is_settled(each: TieredObject, retention: Retention, first: str, as_of: date) -> bool:
    """Whether an object stays where it is, so that no plan need weigh it."""
    age_days = (as_of - each.last_day).days
    return not retention.is_over(age_days) and retention.due_class(age_days, first) == each.storage_class


def _moved(move: Transition, at: datetime, prices: PriceBook) -> TieredObject:
    each = move.object
    size = prices.bytes_in(move.to, each.storage_class, each.size_bytes)
    return replace(each, storage_class=move.to, size_bytes=size, stored_at=at)


def _brought_together(
    lake: dict[str, TieredObject], streams: Sequence[Stream], month: date, following: date, first: str
) -> int:
    """Make one object of each stream's month; return how many were written."""
    for stream in streams:
        count = (following - month).days
        days = [f"{stream.dataset}/{stream.interval}/{month + timedelta(days=n)}" for n in range(count)]
        size = sum(lake.pop(path).size_bytes for path in days)
        path = f"{stream.dataset}/{stream.interval}/{month:%Y-%m}"
        last = following - timedelta(days=1)
        lake[path] = TieredObject(stream.dataset, stream.interval, path, first, size, month, last, midnight(following))
    return len(streams)
