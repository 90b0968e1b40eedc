"""Pages that a source fetched over the network, kept as they came until all that they belong to is published."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Question:
    """What a vendor is asked, and answers page by page. `label` names it for people, in the names of raw objects.

    `asked` is all that tells it from other questions (endpoint, symbols, interval, span), as JSON can hold it, without
    secrets and without the time of day: a run that goes on where an earlier one was killed must ask the very same.
    """

    source: str
    dataset: str
    label: str
    asked: Mapping[str, Any]

    @property
    def identity(self) -> str:
        """A digest that no other question has."""
        text = json.dumps([self.source, self.dataset, self.asked], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Page:
    """One page, whole. `rows` are as the vendor gave them; `following` asks for the next page, None at the end."""

    rows: "pa.Table"
    cursor: str | None
    following: str | None
    fetched_at: datetime


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A question whose pages are kept, but whose rows no backfill has published yet."""

    source: str
    dataset: str
    label: str
    opened_at: datetime
    pages: int

    def document(self) -> dict[str, Any]:
        """What is unfinished, as JSON."""
        return {
            "source": self.source,
            "dataset": self.dataset,
            "label": self.label,
            "opened_at": self.opened_at.isoformat(),
            "pages": self.pages,
        }


class KeptPages(Protocol):
    """The pages of one question."""

    def read(self, number: int, cursor: str | None) -> Page | None:
        """The page of that number that was kept, if it was asked for with that cursor and is whole; else None."""
        ...

    def keep(self, number: int, page: Page) -> Page:
        """Keep a page; on return it is durable. Gives the page that counts: another run's, if that was faster."""
        ...


class Pages(Protocol):
    """The pages that one run reads and keeps."""

    @property
    def fetched(self) -> int:
        """How many were kept by this run."""
        ...

    @property
    def resumed(self) -> int:
        """How many were there already, from a run that did not finish."""
        ...

    def open(self, question: Question) -> KeptPages:
        """What is kept of a question that an earlier run did not finish; nothing, where there was none."""
        ...

    def renew(self, question: Question) -> KeptPages:
        """Begin a question anew. What was kept of it stays as a raw record, but is not gone on from any more."""
        ...

    def finish(self) -> None:
        """All that was read is published: the next run asks the vendor anew, and finds what was restated.

        A question that was not read to its last page stays open.
        """
        ...


class PageStore(Protocol):
    """Where pages are kept, in the order that they were fetched."""

    def pages(self, *, now: datetime, run_id: str, anew: bool = False) -> Pages:
        """The pages of a run. Nothing is read or written before a question is opened.

        With `anew` nothing is gone on from that an earlier run has kept.
        """
        ...

    def open_prefixes(self) -> frozenset[str]:
        """What the paths of the pages of fetches begin with that are open."""
        ...

    def unfinished(self) -> Sequence[Unfinished]:
        """The questions that runs have begun and not published, oldest first."""
        ...
