"""Verbs that bring archived objects back for a while."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext

from thermocline.answer import Answer
from thermocline.api.opened import Opened, new_run_id
from thermocline.arguments import Day, as_days
from thermocline.model.archives import KEEP_DAYS
from thermocline.model.partition import parse_interval
from thermocline.ports import SILENT, Progress
from thermocline.tasks.restores import POLL_SECONDS, Requested, Restores, Restoring, Wait, once_readable


class ArchiveKeeping(Opened):
    """Verbs that bring archived objects back for a while."""

    def restores(
        self,
        dataset: str,
        *,
        start: Day | None = None,
        end: Day | None = None,
        intervals: Collection[str] = (),
        speed: str = "Bulk",
        keep_days: int = KEEP_DAYS,
    ) -> Restores:
        """What of some days lies in an archive, what is on its way back, and what bringing back the rest costs.

        Nothing is asked for.

        Args:
            dataset: Whose days.
            start: Only days from this one on.
            end: Only days before this one.
            intervals: Only these, all when empty.
            speed: `Bulk`, `Standard` or `Expedited`, as the provider calls it.
            keep_days: For how long the copies are to be kept.
        """
        return self._restoring(start, end, intervals).plan(self._dataset(dataset), speed=speed, keep_days=keep_days)

    def request_restores(self, plan: Restores, *, progress: Progress = SILENT, run_id: str | None = None) -> Requested:
        """Ask the store for what `restores` found in an archive; this costs what its offer says.

        Raises:
            UsageError: Not all of it can be restored at that speed; nothing was asked for.
        """
        restoring = Restoring(self.hot, self.lake, self.settings.prices, progress=progress)
        return restoring.request(plan, run_id=run_id or new_run_id())

    def once_restored(
        self,
        answer: Answer,
        *,
        wait_seconds: float | None = None,
        poll_seconds: float = POLL_SECONDS,
        progress: Callable[[], AbstractContextManager[Progress]] = lambda: nullcontext(SILENT),
    ) -> Answer:
        """The same answer, which waits for restores that are on their way; it asks for none.

        Args:
            answer: What `query` or `sql` gave.
            wait_seconds: For how long at most; for as long as they take when None.
            poll_seconds: How often the store is asked.
            progress: Opened while it waits.

        Raises:
            ArchivedError: When the answer is taken: an object that it needs is not on its way, or took too long.
        """
        wait = Wait(wait_seconds, poll_seconds)
        return Answer(lambda: once_readable(self.lake, answer.batches, wait, progress), answer.missing)

    def _restoring(self, start: Day | None, end: Day | None, intervals: Collection[str]) -> Restoring:
        return Restoring(
            self.hot, self.lake, self.settings.prices, as_days(start, end), list(map(parse_interval, intervals))
        )
