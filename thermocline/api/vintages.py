"""Verbs that speak of vintages: which there are, and what they say differently."""

from collections.abc import Collection

from thermocline.api.opened import Opened
from thermocline.arguments import Day, as_days
from thermocline.errors import UsageError
from thermocline.model.datasets import dataset_named
from thermocline.model.partition import parse_interval
from thermocline.model.receipt import Vintage, VintageState


class Vintages(Opened):
    """Verbs that speak of vintages."""

    def vintages(
        self,
        dataset: str,
        *,
        start: Day | None = None,
        end: Day | None = None,
        intervals: Collection[str] = (),
        states: Collection[str] = (),
    ) -> list[Vintage]:
        """Every vintage of those days, or those in the named states, ordered by interval, day and version.

        Args:
            dataset: The dataset's name.
            start: The first day; every one when None.
            end: The first day no more.
            intervals: Only these, all when empty.
            states: `published`, `held`, `rejected` or `expired`; all when empty.
        """
        wanted = [_state(name) for name in states]
        days = as_days(start, end)
        return self.hot.vintages(dataset_named(dataset), days, list(map(parse_interval, intervals)), wanted)


def _state(name: str) -> VintageState:
    try:
        return VintageState(name)
    except ValueError:
        msg = f"{name!r} is no state of a vintage; there are {', '.join(VintageState)}"
        raise UsageError(msg) from None
