"""Where rows come from."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from thermocline.model.dataset import Dataset
from thermocline.model.partition import DayRange
from thermocline.ports.pages import Pages

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class FetchRequest:
    """Rows wanted from a source. Empty `symbols` or `intervals` mean all that the source has.

    A bar that is not over at the instant `now` is not final; a source leaves it out. None where the rows are older than
    any clock, as those of files are. `pages` is where a source of a vendor keeps what it fetched, so that a run that is
    killed is gone on from; None where nothing is to be kept.
    """

    dataset: Dataset
    days: DayRange
    symbols: frozenset[str] = frozenset()
    intervals: frozenset[str] = frozenset()
    now: datetime | None = None
    pages: Pages | None = field(default=None, compare=False, repr=False)

    def document(self) -> dict[str, Any]:
        """What is asked for, as JSON."""
        return {
            "dataset": self.dataset.name,
            "symbols": sorted(self.symbols),
            "intervals": sorted(self.intervals),
            "start": self.days.start.isoformat(),
            "end": self.days.end.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Answered:
    """A span `[start, end)` of which a source has told all: what is not among the rows, it does not have."""

    symbol: str
    interval: str
    start: datetime
    end: datetime
    asset_class: str = ""


@dataclass(frozen=True)
class Fetched:
    """Rows as a source read them: columns named as the dataset's, types not yet conformed.

    `origin` says where exactly (a file, a page of an API), for quarantine and errors. `unreadable` are records that
    could not even be made rows, each with its reason; they go to quarantine. Rows that were
    `accepted_before` keep their own `ingested_at`, as those of a table that is adopted do. `answered` are the spans
    that are complete with this page; a source that can't know, as files can't, claims none.
    """

    rows: "pa.Table"
    origin: str
    unreadable: tuple[tuple[str, str], ...] = ()
    accepted_before: bool = False
    answered: tuple[Answered, ...] = ()

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


class Paged(Protocol):
    """A source that answers in pages of limited size, for whoever plans the fewest requests. Not every source does."""

    @property
    def rows_per_page(self) -> int:
        """How many rows one request can bring at most."""
        ...

    @property
    def symbols_per_request(self) -> int:
        """How many symbols one request can ask for; their rows share its pages."""
        ...


class SourceFactory(Protocol):
    """Opens sources by name."""

    def __call__(self, name: str, *, path: str | None = None) -> Source:
        """The source of that name; nothing is read yet. `path` says where its files are, for sources that have files.

        Raises:
            UsageError: No source is called so, or it lacks something that it needs.
        """
        ...
