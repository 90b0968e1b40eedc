"""What keeping, moving and reading objects costs, as figures from a price book."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from thermocline.errors import UsageError
from thermocline.model.storage_classes import Provider, StorageClass, first_class, storage_class

GIB = 1 << 30
DAYS_PER_MONTH = 365 / 12
"""Providers bill by the hour; a month here is a twelfth of a year."""


@dataclass(frozen=True, slots=True)
class RestorePrice:
    """What a restore from an archive costs and takes, at one speed."""

    usd_per_1000: float
    usd_per_gib: float
    hours: float


@dataclass(frozen=True, slots=True)
class ClassPrice:
    """What a storage class costs.

    Attributes:
        storage_usd_per_gib_month: A GiB kept for a month.
        write_usd_per_1000: Requests that write into the class, or move objects into it.
        read_usd_per_1000: Requests that read from it.
        retrieval_usd_per_gib: What is read or moved out of it.
        size_factor: What an object's bytes become in it, as a share of what they were in the first class.
        restores: By the provider's word for the speed; none where objects can be read at once.
    """

    storage_usd_per_gib_month: float
    write_usd_per_1000: float = 0.0
    read_usd_per_1000: float = 0.0
    retrieval_usd_per_gib: float = 0.0
    size_factor: float = 1.0
    restores: Mapping[str, RestorePrice] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PriceBook:
    """The prices of one provider in one region, with where and when they were read.

    `soft_delete_days` is for how long what was deleted or written over is kept, and billed in its class.
    """

    provider: Provider
    region: str
    classes: Mapping[str, ClassPrice]
    postgres_usd_per_gib_month: float
    source: str
    read: date
    soft_delete_days: float = 0.0

    def of(self, name: str) -> ClassPrice:
        """The price of a class.

        Raises:
            UsageError: The book has none.
        """
        try:
            return self.classes[name]
        except KeyError:
            msg = (
                f"the price book has no price of {name} in {self.region}; add it to the file that storage.prices names"
            )
            raise UsageError(msg) from None

    def storage_usd_per_month(self, name: str, size_bytes: int) -> float:
        """What keeping one object costs, with the bytes that it is billed for beside its own."""
        facts, price = storage_class(self.provider, name), self.of(name)
        billed = max(size_bytes, facts.minimum_bytes) + facts.index_bytes
        usd = billed * price.storage_usd_per_gib_month
        if facts.first_class_index_bytes:
            first = self.of(first_class(self.provider).name)
            usd += facts.first_class_index_bytes * first.storage_usd_per_gib_month
        return usd / GIB

    def bytes_in(self, to: str, name: str, size_bytes: int) -> int:
        """How many bytes an object of one class will have in another; another number where that compresses it more."""
        return round(size_bytes * self.of(to).size_factor / self.of(name).size_factor)

    def read_usd(self, name: str, size_bytes: int, requests: int = 1) -> float:
        """What reading one object whole costs, once it can be read; at the cheapest speed where it is an archive."""
        price = self.of(name)
        usd = requests * price.read_usd_per_1000 / 1000 + size_bytes / GIB * price.retrieval_usd_per_gib
        if price.restores:
            usd += min(
                each.usd_per_1000 / 1000 + size_bytes / GIB * each.usd_per_gib for each in price.restores.values()
            )
        return usd

    def move_usd(self, name: str, to: str, size_bytes: int) -> float:
        """What copying one object onto itself in another class costs.

        The request, what is read of the old one, and what the old one costs until it is gone for good.
        """
        usd = self.of(to).write_usd_per_1000 / 1000 + size_bytes / GIB * self.of(name).retrieval_usd_per_gib
        return usd + self.soft_delete_days / DAYS_PER_MONTH * self.storage_usd_per_month(name, size_bytes)

    def early_usd(self, name: str, size_bytes: int, stored_days: float) -> float:
        """What is billed for an object that leaves a class before its minimum duration is over."""
        missing = self.class_facts(name).minimum_days - stored_days
        return max(missing, 0.0) / DAYS_PER_MONTH * self.storage_usd_per_month(name, size_bytes)

    def class_facts(self, name: str) -> StorageClass:
        """The facts of a class."""
        return storage_class(self.provider, name)
