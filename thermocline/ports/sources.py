"""Where rows come from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from thermocline.model.dataset import Dataset
from thermocline.model.partition import DayRange

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class FetchRequest:
    """Rows wanted from a source. Empty `symbols` or `intervals` mean all that the source has."""

    dataset: Dataset
    days: DayRange
    symbols: frozenset[str] = frozenset()
    intervals: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Fetched:
    """Rows as a source read them: columns named as the dataset's, types not yet conformed.

    `origin` says where exactly (a file, a page of an API), for quarantine and errors. `unreadable` are records that
    could not even be made rows, each with its reason; they go to quarantine. Rows that were
    `accepted_before` keep their own `ingested_at`, as those of a table that is adopted do.
    """

    rows: "pa.Table"
    origin: str
    unreadable: tuple[tuple[str, str], ...] = ()
    accepted_before: bool = False

    @property
    def incoming(self) -> "pa.Table":
        """The rows as they are to be accepted: `ingested_at` is now, unless they were accepted before."""
        if self.accepted_before or "ingested_at" not in self.rows.column_names:
            return self.rows
        return self.rows.drop_columns(["ingested_at"])


class Source(Protocol):
    """Where rows come from."""

    @property
    def name(self) -> str:
        """What the `source` column of its rows says."""
        ...

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """Yield what was asked for, page by page or file by file, never more than fits in memory at once.

        Rows outside the request may come along; the caller drops them. A source that pages, waits for a rate limit or
        retries does so inside this iterator.

        Raises:
            SourceError: Something could not be read; what was yielded before remains good.
        """
        ...


class SourceFactory(Protocol):
    """Opens sources by name."""

    def __call__(self, name: str, *, path: str | None = None) -> Source:
        """The source of that name; nothing is read yet. `path` says where its files are, for sources that have files.

        Raises:
            UsageError: No source is called so, or it lacks something that it needs.
        """
        ...
