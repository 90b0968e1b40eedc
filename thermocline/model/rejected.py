"""Rows that may not go in."""

from dataclasses import dataclass

TYPES = "types"
NULLS = "nulls"
KEYS = "keys"
UNREADABLE = "unreadable"
ALWAYS = (TYPES, NULLS, KEYS, UNREADABLE)
"""What a row breaks that no rule has to forbid: these hold always. What is unreadable could not even be made a row."""


@dataclass(frozen=True)
class Rejected:
    """A row that may not go in, with all its reasons; `record` is the row as JSON.

    `rules` are the names of what it breaks: of rules, or `types`, `nulls`, `keys`, `unreadable`.
    """

    dataset: str
    source: str
    origin: str
    record: str
    reason: str
    rules: tuple[str, ...] = ()
