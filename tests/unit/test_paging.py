"""Pages are asked for to the end, each once, and a vendor that lies is caught."""

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from thermocline.errors import SourceError, SourceRefusedError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import DayRange
from thermocline.ports import Fetched, FetchRequest, Page
from thermocline.sources.transport.paging import MOST_EMPTY_PAGES, Answer, Paging, pages_of
from thermocline.stores.memory import MemoryObjects
from thermocline.stores.pages import FRESH, LakePageStore

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)
REQUEST = FetchRequest(MARKET_DATA, DayRange(date(2024, 1, 1), date(2024, 2, 1)), now=NOW)


def rows(*values: int) -> pa.Table:
    return pa.table({"n": pa.array(values, pa.int64())})


@dataclass
class Vendor:
    """Answers from a table of pages, and remembers what it was asked."""

    answers: dict[str | None, Answer | Exception]
    asked: list[str | None] = field(default_factory=list)

    def ask(self, cursor: str | None) -> Answer:
        """Answer as the table says."""
        self.asked.append(cursor)
        answer = self.answers[cursor]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def paging(self, ends: datetime = NOW - timedelta(days=1)) -> Paging:
        """The question that it answers."""
        return Paging("AAPL-1day", {"symbol": "AAPL"}, self.ask, lambda page: Fetched(page.rows, "x"), ends)


def three_pages() -> dict[str | None, Answer | Exception]:
    return {None: Answer(rows(1, 2), "b"), "b": Answer(rows(3), "c"), "c": Answer(rows(4), None)}


def read(vendor: Vendor, store: LakePageStore | None = None, now=NOW, run="run-1", **options) -> list[int]:
    pages = store.pages(now=now, run_id=run) if store else None
    request = replace(REQUEST, now=now, pages=pages)
    return [n for fetched in pages_of(vendor.paging(**options), "acme", request) for n in fetched.rows["n"].to_pylist()]


@pytest.fixture
def store() -> LakePageStore:
    return LakePageStore(MemoryObjects())


def test_every_page_is_asked_for_once_in_order():
    vendor = Vendor(three_pages())
    assert read(vendor) == [1, 2, 3, 4]
    assert vendor.asked == [None, "b", "c"]


def test_a_run_that_broke_off_is_gone_on_from_where_it_was(store):
    vendor = Vendor({**three_pages(), "c": SourceError("down")})
    with pytest.raises(SourceError, match=r"down\. acme, AAPL-1day: 2 pages were read before"):
        read(vendor, store)
    vendor.answers = three_pages()
    vendor.asked.clear()
    assert read(vendor, store, run="run-2") == [1, 2, 3, 4]
    assert vendor.asked == ["c"]


def test_a_finished_question_is_asked_anew_and_its_pages_stay_as_a_record(store):
    pages = store.pages(now=NOW, run_id="run-1")
    vendor = Vendor(three_pages())
    list(pages_of(vendor.paging(), "acme", replace(REQUEST, pages=pages)))
    assert [(u.label, u.pages) for u in store.unfinished()] == [("AAPL-1day", 3)]
    pages.finish()
    assert (pages.fetched, pages.resumed, store.unfinished()) == (3, 0, [])
    assert len(list(store.objects.list("raw/"))) == 3
    vendor.asked.clear()
    assert read(vendor, store, run="run-2") == [1, 2, 3, 4]
    assert vendor.asked == [None, "b", "c"]


def test_pages_that_are_a_week_old_are_not_gone_on_from(store):
    vendor = Vendor(three_pages())
    read(vendor, store)
    vendor.asked.clear()
    read(vendor, store, now=NOW + FRESH + timedelta(seconds=1), run="run-2")
    assert vendor.asked == [None, "b", "c"]


def test_the_last_page_of_a_span_that_is_not_over_is_asked_for_again(store):
    vendor, later = Vendor(three_pages()), NOW + timedelta(hours=1)
    read(vendor, store, ends=NOW + timedelta(days=9))
    vendor.asked.clear()
    vendor.answers["c"] = Answer(rows(4, 5), None)
    assert read(vendor, store, now=later, run="run-2", ends=NOW + timedelta(days=9)) == [1, 2, 3, 4, 5]
    assert vendor.asked == ["c"]
    vendor.asked.clear()
    assert read(vendor, store, now=later, run="run-3", ends=NOW + timedelta(days=9)) == [1, 2, 3, 4, 5]
    assert vendor.asked == []


def test_a_cursor_that_the_vendor_has_forgotten_begins_the_question_anew(store):
    vendor = Vendor({**three_pages(), "c": SourceError("down")})
    with pytest.raises(SourceError):
        read(vendor, store)
    vendor.asked.clear()
    vendor.answers = {
        "c": SourceRefusedError("unknown token"),
        None: Answer(rows(1, 2), "B"),
        "B": Answer(rows(3), None),
    }
    assert read(vendor, store, run="run-2") == [1, 2, 3, 1, 2, 3]
    assert vendor.asked == ["c", None, "B"]


def test_a_refusal_of_a_cursor_that_was_just_given_is_an_error(store):
    vendor = Vendor({None: Answer(rows(1), "b"), "b": SourceRefusedError("no")})
    with pytest.raises(SourceRefusedError):
        read(vendor, store)


@pytest.mark.parametrize(
    ("answers", "complaint"),
    [
        ({None: Answer(rows(1), "b"), "b": Answer(rows(2), "b")}, "names a page as the next that was read before"),
        (
            {None: Answer(rows(1), "b"), "b": Answer(rows(2), "c"), "c": Answer(rows(3), "b")},
            "page 2 names a page as the next",
        ),
        ({None: Answer(rows(1, 2), "b"), "b": Answer(rows(1, 2), "c")}, "pages 0 and 1 are the same"),
    ],
)
def test_a_vendor_that_would_go_on_for_ever_is_stopped_before_the_page_is_kept(answers, complaint, store):
    with pytest.raises(SourceError, match=complaint):
        read(Vendor(answers), store)
    kept = store.pages(now=NOW, run_id="run-2").open(_question())
    assert kept.read(len(answers) - 1, list(answers)[-1]) is None


def test_empty_pages_come_to_an_end():
    def ask(cursor: str | None) -> Answer:
        return Answer(rows(), str(int(cursor or 0) + 1))

    paging = replace(Vendor({}).paging(), ask=ask)
    with pytest.raises(SourceError, match=f"{MOST_EMPTY_PAGES + 1} pages without a row"):
        list(pages_of(paging, "acme", REQUEST))


def _question():
    from thermocline.ports import Question  # noqa: PLC0415

    return Question("acme", "market_data", "AAPL-1day", {"symbol": "AAPL"})


def test_a_page_says_itself_what_it_is(store):
    kept = store.pages(now=NOW, run_id="run-1").open(_question())
    page = Page(rows(1, 2), "a", "b", NOW)
    assert kept.keep(0, page) is page
    (path,) = store.objects.list("raw/")
    assert path.startswith("raw/market_data/year=2024/month=06/day=01/AAPL-1day_market_data_20240601_120000_")
    assert path.endswith("_p00000_v1.parquet")
    again = store.pages(now=NOW, run_id="run-2").open(_question())
    assert again.read(0, "a") == page
    assert again.read(0, "other") is None
    assert again.read(1, "b") is None
