"""How soon the first rows of an answer come, as a class with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from thermocline.model.query import Route, Tier
from thermocline.model.receipt import StoredObject
from thermocline.model.storage_classes import Provider

_SOON_OBJECTS, _SOON_BYTES = 400, 64 << 20
"""Local objects of which opening all, and reading so much, takes no more than some tens of milliseconds."""


class LatencyClass(StrEnum):
    """How soon, by order of magnitude."""

    MILLISECONDS = "milliseconds"
    TENS_OF_MILLISECONDS = "tens of milliseconds"
    SECONDS = "seconds"
    HOURS = "hours"


@dataclass(frozen=True, slots=True)
class Latency:
    """How soon, and why."""

    of: LatencyClass
    reason: str

    def document(self) -> dict[str, str]:
        """The class and the reason as JSON."""
        return {"class": self.of.value, "reason": self.reason}

    def __str__(self) -> str:
        """As a line says it."""
        return f"{self.of.value}: {self.reason}"


def latency_of(
    route: Route, provider: Provider | None, archived: Sequence[StoredObject] = (), read_bytes: int | None = None
) -> Latency:
    """How soon a route gives its first rows.

    `read_bytes` are those that are read of its objects, where that is known; else it may be all of them. A lake without
    a provider is as near as a local one.
    """
    if archived:
        return Latency(LatencyClass.HOURS, f"{_objects(len(archived))} must be restored from an archive first")
    if not (count := len(route.paths)):
        is_hot = any(segment.tier is Tier.HOT for segment in route.segments)
        return Latency(LatencyClass.MILLISECONDS, "hot" if is_hot else "there is nothing to read")
    if provider not in {None, Provider.LOCAL}:
        return Latency(LatencyClass.SECONDS, f"{_objects(count)} in a bucket")
    size_bytes = route.size_bytes if read_bytes is None else read_bytes
    if count <= _SOON_OBJECTS and size_bytes <= _SOON_BYTES:
        return Latency(LatencyClass.TENS_OF_MILLISECONDS, f"{_objects(count)} on a local disk")
    return Latency(LatencyClass.SECONDS, f"{size_bytes / (1 << 20):,.0f} MiB of {_objects(count)} on a local disk")


def _objects(count: int) -> str:
    return f"{count:,} object{'' if count == 1 else 's'}"
