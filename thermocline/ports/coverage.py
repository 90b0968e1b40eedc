"""What is known of the rows that should be there."""

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from thermocline.model.dataset import Dataset

if TYPE_CHECKING:
    from thermocline.model.coverage.due import Due
    from thermocline.model.coverage.states import Run, Series


class CoverageWriter(Protocol):
    """The one that may change what is known of a dataset at this moment; all of it is committed when the block ends."""

    def runs(self, symbols: Collection[str] = (), intervals: Collection[str] = ()) -> "list[Run]":
        """See `Coverage.coverage`."""
        ...

    def knows_any(self) -> bool:
        """Whether anything is known of the dataset."""
        ...

    def due(self) -> "list[Due]":
        """What is yet to be looked at, oldest first."""
        ...

    def settle(self, due: "Collection[Due]") -> None:
        """Forget what was looked at."""
        ...

    def replace(self, series: "Collection[Series]", runs: "Iterable[Run]") -> None:
        """Put these runs in place of all that was known of the series."""
        ...


class Coverage(Protocol):
    """The coverage ledger: runs of days of each series, in one of the states of `model.coverage`.

    It is advice. The rows are the truth: nothing is accepted, refused or deleted for what it says, and it can be made
    anew from them.
    """

    def coverage(self, dataset: Dataset, symbols: Collection[str] = (), intervals: Collection[str] = ()) -> "list[Run]":
        """What is known of the series of those symbols and intervals (none: all), ordered by series and day."""
        ...

    def note_due(self, dataset: Dataset, due: "Sequence[Due]") -> None:
        """Have days looked at again, and keep what sources told.

        Every act that changes rows does so in its own transaction: what is known may lag behind, never be wrong
        without saying so.
        """
        ...

    def covering(self, dataset: Dataset) -> AbstractContextManager[CoverageWriter]:
        """Change what is known of a dataset's series. Whoever else wants to waits, those who write rows don't.

        Raises:
            LockTimeoutError: Somebody else was still at it after half a minute.
        """
        ...
