"""Asking a vendor page by page: each page is kept as soon as it is whole, and none is asked for twice.

A vendor that lies must not make us loop or lose rows: a cursor that comes again, a page that says just what the page
before said, and endless pages without a row end with a SourceError.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from thermocline.errors import SourceError, SourceRefusedError
from thermocline.ports import Fetched, FetchRequest, KeptPages, Page, Question

if TYPE_CHECKING:
    import pyarrow as pa

MOST_EMPTY_PAGES = 1_000
"""So many pages without a row may follow one another; a vendor that sends more will send them for ever."""


@dataclass(frozen=True)
class Answer:
    """One page as the vendor gave it. `following` is the cursor of the next page; None where there is none."""

    rows: "pa.Table"
    following: str | None


@dataclass(frozen=True)
class Paging:
    """A question to a vendor, and how to ask and understand it.

    Attributes:
        label: Names the question for people, such as `BTC/USDT 1hour`; part of the names of raw objects.
        asked: All that tells it from other questions, as JSON can hold it: no secret, no time of day.
        ask: Makes the one request for the page at a cursor, None for the first page.
        read: Makes rows of a page those of the dataset; a bar that was not over at `fetched_at` is left out.
        ends: When the span that is asked for is over. The last page of a span that is not over yet is asked for again
            by a run that comes `grows_every` later.
        grows_every: After which time the last page of an open span says more: the interval of bars.
        is_bounded: Whether cursors come to an end by themselves, however many pages are empty, as instants do.
    """

    label: str
    asked: Mapping[str, Any]
    ask: Callable[[str | None], Answer]
    read: Callable[[Page], Fetched]
    ends: datetime
    grows_every: timedelta = timedelta(minutes=1)
    is_bounded: bool = False


def pages_of(paging: Paging, source: str, request: FetchRequest) -> Iterator[Fetched]:
    """Every page to the end, as rows of the dataset. Those that an earlier run has kept are not asked for again.

    Raises:
        SourceError: The vendor did not answer, refused, or sends the same for ever; what was kept stays.
    """
    question = Question(source, request.dataset.name, paging.label, paging.asked)
    now = request.now or datetime.now(UTC)
    kept = request.pages.open(question) if request.pages else None
    try:
        yield from _Walk(paging, question, now).pages(kept)
    except _StaleCursorError:
        # A vendor's cursor may expire; the rows that came are good, those that come again are the same.
        kept = request.pages.renew(question) if request.pages else None
        yield from _Walk(paging, question, now).pages(kept)


class _StaleCursorError(Exception):
    """The vendor does not know a cursor any more that an earlier run was given."""


class _Walk:
    """One way from the first page to the last."""

    def __init__(self, paging: Paging, question: Question, now: datetime) -> None:
        self._paging, self._question, self._now = paging, question, now
        self._asked: set[str | None] = set()
        self._before: pa.Table | None = None
        self._empty = 0

    def pages(self, kept: KeptPages | None) -> Iterator[Fetched]:
        cursor: str | None = None
        number, is_resumed = 0, False
        while True:
            page = kept.read(number, cursor) if kept else None
            if page is None or self._may_say_more(page):
                page = self._fetched(number, cursor, is_resumed=is_resumed)
                self._check(page, number)
                page, is_resumed = kept.keep(number, page) if kept else page, False
            else:
                self._check(page, number)
                is_resumed = True
            yield self._paging.read(page)
            if page.following is None:
                return
            cursor, number = page.following, number + 1

    def _fetched(self, number: int, cursor: str | None, *, is_resumed: bool) -> Page:
        try:
            answer = self._paging.ask(cursor)
        except SourceRefusedError as error:
            if is_resumed:
                raise _StaleCursorError from error
            raise
        except SourceError as error:
            msg = f"{str(error).rstrip('.')}. {self._name}: {number} pages were read before"
            raise type(error)(msg) from error
        return Page(answer.rows, cursor, answer.following, self._now)

    def _may_say_more(self, page: Page) -> bool:
        """Whether it was the last page of a span that was not over, and has grown since."""
        if page.following is not None or page.fetched_at >= self._paging.ends:
            return False
        return self._now - page.fetched_at >= self._paging.grows_every

    def _check(self, page: Page, number: int) -> None:
        """Refuse what would go on for ever, before it is kept."""
        self._asked.add(page.cursor)
        if page.following is not None and page.following in self._asked:
            self._refuse(f"page {number} names a page as the next that was read before")
        if len(page.rows) and self._before is not None and page.rows.equals(self._before):
            self._refuse(f"pages {number - 1} and {number} are the same")
        self._empty = 0 if len(page.rows) else self._empty + 1
        if self._empty > MOST_EMPTY_PAGES and not self._paging.is_bounded:
            self._refuse(f"{self._empty} pages without a row came in a row")
        self._before = page.rows

    def _refuse(self, what: str) -> None:
        msg = (
            f"{self._name}: {what}; asking on would never end, so it stopped there. Nothing of that page was taken. "
            "Try a shorter range of days, and tell the vendor"
        )
        raise SourceError(msg)

    @property
    def _name(self) -> str:
        return f"{self._question.source}, {self._paging.label}"
