"""The storage classes of each provider, and the facts about them that no price list says.

What a class costs is data and stands in the price book; how it behaves is here, with where and when that was read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from thermocline.errors import UsageError


class Provider(StrEnum):
    """Who keeps the objects of a lake."""

    LOCAL = "local"
    S3 = "s3"
    GCS = "gcs"


WARM = "WARM"
"""The class of a local lake's objects as they are written."""

COMPRESSED = "COMPRESSED"
"""The class of a local lake's objects that are compressed more strongly: as fast to read, slower to write."""


@dataclass(frozen=True, slots=True)
class StorageClass:
    """One class of a provider, by the provider's own name.

    Attributes:
        provider: Whose class it is.
        name: The name that the provider's requests and answers use.
        minimum_days: For how long an object is billed at least; one that leaves earlier pays the rest.
        minimum_bytes: What an object is billed for at least.
        index_bytes: What is billed in this class for each object beside it.
        first_class_index_bytes: What is billed in the provider's first class for each object in this one.
        is_read_at_once: Whether an object can be read without being restored first.
    """

    provider: Provider
    name: str
    minimum_days: int = 0
    minimum_bytes: int = 0
    index_bytes: int = 0
    first_class_index_bytes: int = 0
    is_read_at_once: bool = True


_KIB = 1 << 10

# S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html and
# https://aws.amazon.com/s3/pricing/ (footnotes), read 2026-11. Google:
# https://cloud.google.com/storage/docs/storage-classes, read 2026-11. Each list is from the first class to the last.
_CLASSES: Mapping[Provider, tuple[StorageClass, ...]] = {
    Provider.LOCAL: (
        StorageClass(Provider.LOCAL, WARM),
        StorageClass(Provider.LOCAL, COMPRESSED),
    ),
    Provider.S3: (
        StorageClass(Provider.S3, "STANDARD"),
        StorageClass(Provider.S3, "STANDARD_IA", 30, 128 * _KIB),
        StorageClass(Provider.S3, "ONEZONE_IA", 30, 128 * _KIB),
        StorageClass(Provider.S3, "GLACIER_IR", 90, 128 * _KIB),
        StorageClass(Provider.S3, "GLACIER", 90, 0, 32 * _KIB, 8 * _KIB, is_read_at_once=False),
        StorageClass(Provider.S3, "DEEP_ARCHIVE", 180, 0, 32 * _KIB, 8 * _KIB, is_read_at_once=False),
    ),
    Provider.GCS: (
        StorageClass(Provider.GCS, "STANDARD"),
        StorageClass(Provider.GCS, "NEARLINE", 30),
        StorageClass(Provider.GCS, "COLDLINE", 90),
        StorageClass(Provider.GCS, "ARCHIVE", 365),
    ),
}


def classes_of(provider: Provider) -> tuple[StorageClass, ...]:
    """A provider's classes, from the first one to the coldest."""
    return _CLASSES[provider]


def first_class(provider: Provider) -> StorageClass:
    """The class that objects are in unless something else is asked for."""
    return _CLASSES[provider][0]


def storage_class(provider: Provider, name: str) -> StorageClass:
    """The class of that name.

    Raises:
        UsageError: The provider has none, or none that is known here.
    """
    for each in _CLASSES[provider]:
        if each.name == name:
            return each
    msg = f"{provider} has no storage class {name!r}; it has {', '.join(each.name for each in _CLASSES[provider])}"
    raise UsageError(msg)


def is_colder(provider: Provider, name: str, other: str) -> bool:
    """Whether a class comes after another one of the same provider."""
    names = [each.name for each in _CLASSES[provider]]
    return names.index(name) > names.index(other)
