"""Objects in an archive: which may be there, which can't be read, and what it costs and takes to restore them.

S3's `GLACIER` and `DEEP_ARCHIVE` must be restored: a copy is made in the first class, can be read for some days, and is
billed there beside the archived object
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects.html and
https://aws.amazon.com/s3/pricing/, read 2026-11). Google's `ARCHIVE` is read at once and costs what it costs to read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from thermocline.model.partition import Partition
from thermocline.model.prices import DAYS_PER_MONTH, GIB, PriceBook
from thermocline.model.receipt import Receipt, StoredObject
from thermocline.model.retention import RetentionPolicy
from thermocline.model.storage_classes import Provider, classes_of, first_class, storage_class

KEEP_DAYS = 7
"""For how long a restored copy is kept unless something else is asked for."""

SPEEDS = ("Bulk", "Standard", "Expedited")
"""S3's words, from the cheapest to the fastest. `DEEP_ARCHIVE` has no `Expedited`."""

_CENT = 0.01
_NAMED = 3


def has_archives(provider: Provider) -> bool:
    """Whether a provider has classes that can't be read at once."""
    return any(not each.is_read_at_once for each in classes_of(provider))


def is_read_at_once(stored: StoredObject, provider: Provider) -> bool:
    """Whether an object's class needs no restore; one of which nothing is known is read before it is judged."""
    facts = (each for each in classes_of(provider) if each.name == stored.storage_class)
    return all(each.is_read_at_once for each in facts)


def is_archived(stored: StoredObject, provider: Provider, now: datetime) -> bool:
    """Whether an object must be restored before it is read, or a restore of it is still on its way."""
    if is_read_at_once(stored, provider):
        return False
    return stored.readable_until is None or stored.readable_until <= now


def may_be_archived(
    receipts: Iterable[Receipt], policy: RetentionPolicy, provider: Provider, today: date
) -> frozenset[str]:
    """The paths of objects that the policy lets into an archive by now, of those that hold these receipts.

    An object moves when its youngest day is due. The youngest day that is asked for is no younger, so that none is
    missed where only some of an object's days are asked for.
    """
    youngest: dict[str, Receipt] = {}
    for receipt in receipts:
        known = youngest.get(receipt.path)
        if known is None or receipt.partition.day > known.partition.day:
            youngest[receipt.path] = receipt
    ages: dict[str, int | None] = {}
    found = set()
    for path, receipt in youngest.items():
        dataset = receipt.partition.dataset
        if dataset not in ages:
            steps = policy.of(dataset).steps
            archives = (s.age_days for s in steps if not storage_class(provider, s.storage_class).is_read_at_once)
            ages[dataset] = min(archives, default=None)
        age_days = ages[dataset]
        if age_days is not None and (today - receipt.partition.day).days >= age_days:
            found.add(path)
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Offer:
    """What restoring objects at one speed costs, and within how many hours they can be read.

    Attributes:
        speed: The provider's word.
        request_usd: The requests.
        retrieval_usd: Reading the bytes out of the archive.
        copies_usd: Keeping the copies for the days that were asked for.
        hours: By when the last of them can be read, as the provider promises.
    """

    speed: str
    request_usd: float
    retrieval_usd: float
    copies_usd: float
    hours: float

    @property
    def usd(self) -> float:
        """All of it."""
        return self.request_usd + self.retrieval_usd + self.copies_usd

    def document(self) -> dict[str, object]:
        """The offer as one flat JSON object."""
        return {
            "speed": self.speed,
            "request_usd": self.request_usd,
            "retrieval_usd": self.retrieval_usd,
            "copies_usd": self.copies_usd,
            "usd": self.usd,
            "hours": self.hours,
        }


def offers(objects: Sequence[StoredObject], prices: PriceBook, keep_days: int) -> list[Offer]:
    """Every speed at which all these archived objects can be restored, the cheapest kind first.

    None where the book lacks one of their classes.
    """
    if not objects:
        return []
    first = first_class(prices.provider).name
    copies = sum(prices.storage_usd_per_month(first, each.size_bytes) for each in objects) * keep_days / DAYS_PER_MONTH
    found = []
    for speed in SPEEDS:
        priced = [prices.classes.get(each.storage_class) for each in objects]
        rates = [price.restores.get(speed) if price else None for price in priced]
        known = [rate for rate in rates if rate is not None]
        if len(known) < len(objects):
            continue
        retrieval = sum(each.size_bytes / GIB * rate.usd_per_gib for each, rate in zip(objects, known, strict=True))
        requests = sum(rate.usd_per_1000 for rate in known) / 1000
        found.append(Offer(speed, requests, retrieval, copies, max(rate.hours for rate in known)))
    return found


def said_of(
    archived: Sequence[StoredObject], receipts: Iterable[Receipt], prices: PriceBook | None, keep_days: int = KEEP_DAYS
) -> str:
    """What to tell somebody who needs these objects for these receipts: which, what it costs, and how to get them."""
    paths = {each.path: each for each in archived}
    partitions: dict[str, list[Partition]] = {}
    for receipt in receipts:
        if receipt.path in paths:
            partitions.setdefault(receipt.partition.dataset, []).append(receipt.partition)
    classes = " and ".join(sorted({each.storage_class for each in archived}))
    some = ", ".join(sorted(paths)[:_NAMED]) + (", …" if len(paths) > _NAMED else "")
    verb = "lies" if len(archived) == 1 else "lie"
    text = (
        f"{_amount(archived)} that this needs {verb} in {classes} and must be restored first: {some}. Nothing is lost"
    )
    waiting = [each for each in archived if not each.is_restoring]
    if waiting:
        commands = " and ".join(
            f"`thermocline restore request {request_of(of)}`" for _, of in sorted(partitions.items())
        )
        text += f". {commands} brings back {_amount(waiting)}{_costs(waiting, prices, keep_days)}"
    if len(waiting) < len(archived):
        commands = " and ".join(f"`thermocline restore status {name}`" for name in sorted(partitions))
        text += f". {_amount([e for e in archived if e.is_restoring])} on the way already, see {commands}"
    return f"{text}. Then run this again; `query` and `sql` can `--wait` for it"


def request_of(partitions: Iterable[Partition]) -> str:
    """What `restore request` is to be told for some partitions of a dataset: its name, the days and the intervals."""
    wanted = list(partitions)
    days = [each.day for each in wanted]
    intervals = "".join(f" --interval {each}" for each in sorted({each.interval for each in wanted if each.interval}))
    return f"{wanted[0].dataset} --start {min(days)} --end {max(days) + timedelta(days=1)}{intervals}"


def _costs(objects: Sequence[StoredObject], prices: PriceBook | None, keep_days: int) -> str:
    found = offers(objects, prices, keep_days) if prices else []
    if not found:
        return ""
    each = "; ".join(f"{offer.speed} {_usd(offer.usd)} within {offer.hours:g} hours" for offer in found)
    return f" for {keep_days} days ({each})"


def _amount(objects: Sequence[StoredObject]) -> str:
    size_bytes = sum(each.size_bytes for each in objects)
    amount = f"{size_bytes / GIB:,.2f} GiB" if size_bytes >= GIB / 100 else f"{size_bytes:,d} bytes"
    return f"{len(objects):,d} object{'' if len(objects) == 1 else 's'} ({amount})"


def _usd(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= _CENT or not amount else "less than $0.01"


@dataclass(frozen=True, slots=True)
class ClassRead:
    """What a query reads of one storage class, and what the provider takes for it; None where no price is known."""

    storage_class: str
    objects: int
    size_bytes: int
    usd: float | None

    def document(self) -> dict[str, object]:
        """The class as one flat JSON object."""
        return {"class": self.storage_class, "objects": self.objects, "bytes": self.size_bytes, "usd": self.usd}


def reads_of(objects: Iterable[StoredObject], prices: PriceBook) -> list[ClassRead]:
    """What reading objects whole costs, by class from the first to the coldest; classes nothing is known of come last.

    A query reads ranges of them: this is the most that it comes to, but for requests.
    """
    found: dict[str, list[StoredObject]] = {}
    for each in objects:
        found.setdefault(each.storage_class or first_class(prices.provider).name, []).append(each)
    order: Mapping[str, int] = {each.name: at for at, each in enumerate(classes_of(prices.provider))}
    return [
        ClassRead(
            name,
            len(held),
            sum(each.size_bytes for each in held),
            sum(prices.read_usd(name, each.size_bytes) for each in held) if name in prices.classes else None,
        )
        for name, held in sorted(found.items(), key=lambda item: (order.get(item[0], len(order)), item[0]))
    ]
