"""Verbs that speak of vintages: which there are, and what a person says of those that are held."""

from collections.abc import Collection
from datetime import UTC, datetime

from thermocline.api.opened import Opened, new_run_id
from thermocline.arguments import Day, as_day, as_days
from thermocline.errors import UsageError
from thermocline.model.partition import parse_interval
from thermocline.model.receipt import Vintage, VintageState
from thermocline.tasks.diff import Comparison, compare
from thermocline.tasks.restatements import Choice, Judged, accept, reject


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
        return self.hot.vintages(self._dataset(dataset), days, list(map(parse_interval, intervals)), wanted)

    def diff(
        self,
        dataset: str,
        day: Day,
        *,
        interval: str | None = None,
        from_version: int | None = None,
        to_version: int | None = None,
    ) -> Comparison:
        """What one version of a day says differently from another.

        Without versions: the newest that is held against the live one, else the one published last against the one
        before it. `interval` may be left out where the day has but one.
        """
        chosen, named = self._dataset(dataset), parse_interval(interval) if interval else ""
        return compare(self.hot, self.lake, chosen, as_day(day), named, old=from_version, new=to_version)

    def accept(
        self,
        dataset: str,
        *,
        start: Day | None = None,
        end: Day | None = None,
        intervals: Collection[str] = (),
        version: int | None = None,
        run_id: str | None = None,
    ) -> Judged:
        """Make restatements live that are held; of one `version` alone where it is given.

        Each is read back first. Where the day was published anew meanwhile, held rows go over it as a backfill's do.
        """
        choice = Choice(self._dataset(dataset), as_days(start, end), list(map(parse_interval, intervals)), version)
        run_id = run_id or new_run_id()
        return accept(self.hot, self.lake, self._spools, choice, now=datetime.now(UTC), run_id=run_id)

    def reject(
        self,
        dataset: str,
        *,
        start: Day | None = None,
        end: Day | None = None,
        intervals: Collection[str] = (),
        version: int | None = None,
        run_id: str | None = None,
    ) -> Judged:
        """Never make restatements live that are held; of one `version` alone where it is given."""
        choice = Choice(self._dataset(dataset), as_days(start, end), list(map(parse_interval, intervals)), version)
        return reject(self.hot, self.lake, choice, now=datetime.now(UTC), run_id=run_id or new_run_id())


def _state(name: str) -> VintageState:
    try:
        return VintageState(name)
    except ValueError:
        msg = f"{name!r} is no state of a vintage; there are {', '.join(VintageState)}"
        raise UsageError(msg) from None
