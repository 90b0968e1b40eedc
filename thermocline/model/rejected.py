"""Rows that may not go in."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rejected:
    """Rows that may not go in, each with its reason; `record` is the row as JSON."""

    dataset: str
    source: str
    origin: str
    record: str
    reason: str
