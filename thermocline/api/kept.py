"""Verbs that speak of kept answers."""

from thermocline.api.opened import Opened
from thermocline.ports import CacheState


class CacheKeeping(Opened):
    """Verbs that speak of kept answers."""

    def cache(self) -> list[CacheState]:
        """What each cache of the lake's answers holds, the nearest first; none where nothing is kept."""
        return list(self.lake.kept_answers.states())

    def clear_cache(self) -> int:
        """Let all kept answers go, also those that other processes put into a shared cache; say how many there were.

        Raises:
            CacheError: The shared cache can't be reached; the memory of this process is empty.
        """
        return self.lake.kept_answers.clear()
