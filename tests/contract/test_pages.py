"""What every store of pages promises."""

import io
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from conftest import STORES

from thermocline.errors import TransientLakeError
from thermocline.ports import Page, Question
from thermocline.stores.open import open_objects
from thermocline.stores.pages import LakePageStore

NOW = datetime(2024, 1, 15, 14, 30, 52, tzinfo=UTC)
QUESTION = Question("acme", "market_data", "BTC/USDT-1min", {"symbol": "BTC/USDT", "start": "2024-01-01"})
OTHER = Question("acme", "market_data", "BTC/USDT-1min", {"symbol": "BTC/USDT", "start": "2023-01-01"})


@pytest.fixture(params=STORES)
def objects(request, new_lake_url):
    return open_objects(new_lake_url(request.param))


@pytest.fixture
def store(objects) -> LakePageStore:
    return LakePageStore(objects)


def page(number: int, *, last: bool = False, price: str = "1.10") -> Page:
    rows = pa.table({"t": pa.array([number], pa.int64()), "c": [price]})
    return Page(rows, str(number) if number else None, None if last else str(number + 1), NOW)


def run(store, name="run-1", now=NOW):
    return store.pages(now=now, run_id=name)


def test_a_page_that_was_kept_is_there_for_the_next_run_as_it_came(store):
    run(store).open(QUESTION).keep(0, page(0))
    later = run(store, "run-2", NOW + timedelta(days=1))
    assert later.open(QUESTION).read(0, None) == page(0)
    assert (later.resumed, later.fetched) == (1, 0)


def test_questions_that_differ_share_nothing_whatever_they_are_called(store):
    pages = run(store)
    pages.open(QUESTION).keep(0, page(0))
    assert pages.open(OTHER).read(0, None) is None
    pages.open(OTHER).keep(0, page(0, price="2.20"))
    assert run(store, "run-2").open(QUESTION).read(0, None) == page(0)


def test_of_two_runs_of_one_question_the_first_page_counts_for_both(store):
    one, two = run(store).open(QUESTION), run(store, "run-2").open(QUESTION)
    mine = one.keep(0, page(0))
    assert two.keep(0, page(0, price="1.11")) == mine
    assert two.read(0, None) == mine
    assert len(list(store.objects.list("raw/"))) == 1


def test_what_another_run_keeps_meanwhile_need_not_be_asked_for(store):
    one, two = run(store).open(QUESTION), run(store, "run-2").open(QUESTION)
    assert two.read(0, None) is None
    one.keep(0, page(0))
    assert two.read(0, None) == page(0)


def test_a_run_goes_on_after_another_has_finished_the_question(store):
    mine, yours = run(store), run(store, "run-2")
    one, two = mine.open(QUESTION), yours.open(QUESTION)
    one.keep(0, page(0, last=True))
    mine.finish()
    again = run(store, "run-3")
    again.open(QUESTION).keep(0, page(0, price="3.30"))
    assert two.read(1, "1") is None
    two.keep(0, page(0, last=True))
    yours.finish()  # leaves alone what the third run has begun since
    assert run(store, "run-4").open(QUESTION).read(0, None) == page(0, price="3.30")


def test_a_question_that_was_not_read_to_the_end_is_not_finished(store):
    pages = run(store)
    pages.open(QUESTION).keep(0, page(0))
    pages.finish()
    assert run(store, "run-2").open(QUESTION).read(0, None) == page(0)
    (unfinished,) = store.unfinished()
    assert unfinished.document() == {
        "source": "acme",
        "dataset": "market_data",
        "label": "BTC/USDT-1min",
        "opened_at": NOW.isoformat(),
        "pages": 1,
    }


def test_a_run_may_begin_anew_whatever_is_kept(store):
    run(store).open(QUESTION).keep(0, page(0))
    anew = store.pages(now=NOW, run_id="run-2", anew=True)
    assert anew.open(QUESTION).read(0, None) is None
    anew.open(QUESTION).keep(0, page(0, price="2.20"))
    assert run(store, "run-3").open(QUESTION).read(0, None) == page(0, price="2.20")


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_page_counts_as_not_there_and_is_kept_anew_under_the_next_version(damage, store):
    run(store).open(QUESTION).keep(0, page(0))
    (path,) = store.objects.list("raw/")
    with store.objects.open(path) as stream:
        body = stream.read()
    middle = body.index(b"1.10")
    damaged = {
        "cut": body[:-5],
        "flipped": body[:middle] + b"9" + body[middle + 1 :],
        "empty": b"",
        "other": b"PAR1 is not enough to be Parquet PAR1",
    }[damage]
    store.objects.delete(path)
    store.objects.put(path, io.BytesIO(damaged))
    kept = run(store, "run-2").open(QUESTION)
    assert kept.read(0, None) is None
    kept.keep(0, page(0))
    assert run(store, "run-3").open(QUESTION).read(0, None) == page(0)
    assert [p[-11:] for p in store.objects.list("raw/")] == ["_v1.parquet", "_v2.parquet"]


def test_a_damaged_marker_begins_the_question_anew(store):
    run(store).open(QUESTION).keep(0, page(0))
    (marker,) = store.objects.list("metadata/fetches/")
    store.objects.replace(marker, b"{")
    kept = run(store, "run-2").open(QUESTION)
    assert kept.read(0, None) is None
    kept.keep(0, page(0))
    assert run(store, "run-3").open(QUESTION).read(0, None) == page(0)


def test_a_store_that_fails_for_a_moment_is_no_damage(store, monkeypatch):
    run(store).open(QUESTION).keep(0, page(0))
    kept = run(store, "run-2").open(QUESTION)

    def failing(_):
        raise TransientLakeError

    monkeypatch.setattr(store.objects, "open", failing)
    with pytest.raises(TransientLakeError):
        kept.read(0, None)
