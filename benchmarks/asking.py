"""What is asked of `quick.py`."""

from collections.abc import Sequence
from dataclasses import dataclass

TOPICS = ("moving", "reading", "memory", "dagster")


@dataclass(frozen=True)
class Asked:
    """What is measured: topics, how often everything is moved, and which share of the rows is taken."""

    topics: Sequence[str] = TOPICS
    rounds: int = 1
    share: float = 1.0

    def scaled(self, count: int) -> int:
        """So many, or the share of them."""
        return max(round(count * self.share), 2)
