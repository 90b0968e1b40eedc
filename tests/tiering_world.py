"""What tests of storage classes share."""

from datetime import date, timedelta
from typing import Any

from thermocline.model.partition import midnight
from thermocline.model.prices import ClassPrice, PriceBook
from thermocline.model.retention import Retention, RetentionPolicy
from thermocline.model.storage_classes import Provider, classes_of
from thermocline.model.tiering import TieredObject, TierPlan, plan_tiers

AS_OF = date(2024, 6, 1)


def free(provider: Provider) -> PriceBook:
    """A book by which the next class always costs less and moving costs nothing, so that the policy alone decides.

    Far less, since colder classes of S3 bill small objects for more than they are.
    """
    names = [each.name for each in classes_of(provider)]
    classes = {name: ClassPrice(float(1_000 ** (len(names) - at))) for at, name in enumerate(names)}
    return PriceBook(provider, "nowhere", classes, 0.1, "made", AS_OF)


def in_class(
    storage_class: str,
    age_days: int,
    *,
    size_bytes: int = 100 << 30,
    stored_days: float | None = None,
    first_age_days: int | None = None,
    **options: Any,
) -> TieredObject:
    """An object whose youngest day is so old, and that was in its class for so long when the day of the plan begins."""
    last = AS_OF - timedelta(days=age_days)
    first = last if first_age_days is None else AS_OF - timedelta(days=first_age_days)
    stored = None if stored_days is None else midnight(AS_OF) - timedelta(days=stored_days)
    path = options.pop("path", "an/object.parquet")
    return TieredObject("news", "", path, storage_class, size_bytes, first, last, stored, **options)


def planned(prices: PriceBook, retention: Retention, each: TieredObject) -> tuple[Any, TierPlan]:
    """What becomes of one object (None where it lies where it belongs), and the plan that says so."""
    plan = plan_tiers([each], RetentionPolicy(retention), prices.provider, prices, AS_OF)
    decided = [*plan.transitions, *plan.left, *plan.removals]
    return (decided[0] if decided else None), plan
