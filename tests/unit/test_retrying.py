"""Requests that fail for a moment: how often they are made again, and when no more."""

import errno
import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_objects import Fault, HostileObjects
from made_rows import DAY, bars

from thermocline.errors import LakeError, ObjectExistsError, RequestBudgetError, TransientLakeError
from thermocline.model.datasets import MARKET_DATA
from thermocline.model.partition import Partition
from thermocline.model.storage_classes import Provider
from thermocline.stores.memory import MemoryObjects
from thermocline.stores.objects_local import LocalObjects
from thermocline.stores.parquet import decode
from thermocline.stores.retrying import Patience, RetryingObjects

PATH = "cold_storage/x.parquet"
BODY = bytes(range(256)) * 4096


class Pauses(list):
    """Pauses that are not taken; each is the longest that the dice could have thrown."""

    def of(self, objects, patience=None):
        """The objects, with these pauses."""
        return RetryingObjects(objects, patience, sleep=self.append, dice=lambda _, longest: longest)


@pytest.fixture
def pauses():
    return Pauses()


@pytest.fixture(params=["local", "memory"])
def inner(request, tmp_path):
    return LocalObjects(tmp_path / "lake") if request.param == "local" else MemoryObjects()


def hostile(inner, *faults):
    return HostileObjects(inner, faults)


def content_of(objects, path=PATH):
    with objects.open(path) as stream:
        return stream.read()


@pytest.mark.parametrize("act", ["put", "replace", "open", "stat", "delete", "list"])
@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.OVERLOADED])
def test_every_kind_of_request_is_made_again(inner, pauses, act, fault):
    inner.put("cold_storage/there", io.BytesIO(BODY))
    store = hostile(inner, fault.on(act, times=2))
    objects = pauses.of(store)
    given = {
        "put": lambda: objects.put(PATH, io.BytesIO(BODY)).size_bytes,
        "replace": lambda: objects.replace(PATH, BODY).size_bytes,
        "open": lambda: content_of(objects, "cold_storage/there") == BODY,
        "stat": lambda: objects.stat("cold_storage/there").size_bytes,
        "delete": lambda: objects.delete("cold_storage/there"),
        "list": lambda: list(objects.list("cold_storage/")),
    }[act]()
    expected = {"put": len(BODY), "replace": len(BODY), "open": True, "stat": len(BODY), "delete": None}
    assert given == expected.get(act, ["cold_storage/there"])
    assert store.fired[fault] == 2
    assert len(pauses) == 2


def test_pauses_double_up_to_the_longest_and_are_drawn_from_zero(inner):
    drawn, slept = [], []

    def dice(shortest, longest):
        drawn.append((shortest, longest))
        return longest / 2

    patience = Patience(attempts=6, first_pause_seconds=1, longest_pause_seconds=5)
    objects = RetryingObjects(
        hostile(inner, Fault.TIMEOUT.on("stat", times=99)), patience, sleep=slept.append, dice=dice
    )
    with pytest.raises(TransientLakeError, match="It was tried 6 times"):
        objects.stat(PATH)
    assert drawn == [(0, 1), (0, 2), (0, 4), (0, 5), (0, 5)]
    assert slept == [0.5, 1, 2, 2.5, 2.5]


def test_what_will_not_go_away_is_not_tried_again(inner, pauses):
    store = hostile(inner, Fault.BROKEN_FOR_GOOD.on("put"))
    objects = pauses.of(store)
    with pytest.raises(LakeError, match="no space"):
        objects.put(PATH, io.BytesIO(BODY))
    with pytest.raises(FileNotFoundError):
        objects.open(PATH)
    with pytest.raises(FileNotFoundError):
        objects.stat(PATH)
    assert store.requests["put"] == 1
    assert pauses == []


def test_a_put_begins_each_attempt_where_the_first_began(inner, pauses):
    content = io.BytesIO(b"skipped" + BODY)
    content.seek(7)
    store = hostile(inner, Fault.BROKEN_WRITE.on("put", times=2))
    pauses.of(store).put(PATH, content)
    assert store.fired[Fault.BROKEN_WRITE] == 2
    assert content_of(inner) == BODY


def test_a_put_whose_answer_was_lost_is_answered_by_what_it_stored(inner, pauses):
    store = hostile(inner, Fault.LOST_ANSWER.on("put"))
    stored = pauses.of(store).put(PATH, io.BytesIO(BODY))
    assert stored == inner.stat(PATH)
    assert store.fired[Fault.LOST_ANSWER] == 1


def test_an_object_of_somebody_else_is_not_taken_for_ones_own(inner, pauses):
    inner.put(PATH, io.BytesIO(BODY[:-1] + b"x"))
    store = hostile(inner, Fault.TIMEOUT.on("put"))
    with pytest.raises(ObjectExistsError):
        pauses.of(store).put(PATH, io.BytesIO(BODY))
    with pytest.raises(ObjectExistsError):  # nor is the same object, where the first attempt was refused
        pauses.of(inner).put(PATH, io.BytesIO(BODY[:-1] + b"x"))
    assert store.fired[Fault.TIMEOUT] == 1


@pytest.mark.parametrize("fault", [Fault.BROKEN_READ, Fault.SHORT_READ])
def test_a_reader_that_broke_off_goes_on_where_it_was(inner, pauses, fault):
    inner.put(PATH, io.BytesIO(BODY))
    store = hostile(inner, fault.on("open", times=3))
    with pauses.of(store).open(PATH) as stream:
        assert stream.read() == BODY
        stream.seek(-3, io.SEEK_END)
        assert stream.read() == BODY[-3:]
    assert store.fired[fault] == 3


@pytest.mark.parametrize("fault", [Fault.BROKEN_READ, Fault.SHORT_READ])
def test_a_reader_that_always_breaks_off_at_once_ends_with_the_error(inner, pauses, fault):
    inner.put(PATH, io.BytesIO(BODY))
    store = HostileObjects(inner, [fault.on("open", times=99)], broken_at=0)
    with pauses.of(store).open(PATH) as stream, pytest.raises(TransientLakeError, match="tried 5 times"):
        stream.read()
    assert store.fired[fault] == 5


def test_parquet_that_breaks_off_is_read_to_its_end(inner, pauses):
    partition = Partition("market_data", "1min", DAY)
    batch = bars(partition, count=200)
    file = io.BytesIO()
    pq.write_table(pa.Table.from_batches([batch]), file, store_schema=False, store_decimal_as_integer=True)
    inner.put(PATH, io.BytesIO(file.getvalue()))
    store = hostile(inner, Fault.BROKEN_READ.on("open", times=2), Fault.SHORT_READ.on("open", times=2))
    with pauses.of(store).open(PATH) as stream:
        assert sum(found.num_rows for found in decode(MARKET_DATA, stream, PATH)) == batch.num_rows
    assert store.fired[Fault.BROKEN_READ] == store.fired[Fault.SHORT_READ] == 2


def test_a_broken_reader_says_what_it_is_also_inside_arrow(inner, pauses):
    inner.put(PATH, io.BytesIO(BODY))
    store = HostileObjects(inner, [Fault.BROKEN_READ.on("open", times=99)], broken_at=0)
    with pauses.of(store).open(PATH) as stream, pytest.raises(TransientLakeError):
        list(decode(MARKET_DATA, stream, PATH))


def test_a_list_that_broke_off_gives_each_path_once(inner, pauses):
    paths = [f"cold_storage/{number:02d}" for number in range(9)]
    for path in paths:
        inner.put(path, io.BytesIO(b"x"))
    store = hostile(inner, Fault.BROKEN_READ.on("list", times=3))
    assert list(pauses.of(store).list("cold_storage/")) == paths
    assert store.fired[Fault.BROKEN_READ] == 3


# -------------------------------------------------------------------------------------------------------------- budgets


def test_a_run_repeats_no_more_requests_than_its_budget(inner, pauses):
    store = hostile(inner, Fault.TIMEOUT.on("stat", times=999))
    objects = pauses.of(store, Patience(attempts=5, max_retries_per_run=6))
    with objects.run("r1") as budget:
        with pytest.raises(TransientLakeError):
            objects.stat(PATH)
        with pytest.raises(RequestBudgetError, match="run r1 has repeated 6"):
            objects.stat(PATH)
        with pytest.raises(RequestBudgetError):
            objects.stat(PATH)
    assert budget.retries == len(pauses) == 6
    assert store.requests["stat"] == 5 + 3 + 1


def test_requests_that_succeed_at_once_go_on_after_the_last_repetition(inner, pauses):
    store = hostile(inner, Fault.TIMEOUT.on("stat"))
    objects = pauses.of(store, Patience(max_retries_per_run=0))
    with objects.run("r1"):
        with pytest.raises(RequestBudgetError):
            objects.stat(PATH)
        assert objects.put(PATH, io.BytesIO(BODY)) == objects.stat(PATH)


def test_a_run_makes_no_more_requests_than_its_budget(inner, pauses):
    store = hostile(inner)
    objects = pauses.of(store, Patience(max_requests_per_run=3))
    with objects.run("r1"):
        for _ in range(3):
            objects.delete(PATH)
        with pytest.raises(RequestBudgetError, match="max_requests_per_run"):
            objects.delete(PATH)
    assert store.requests["delete"] == 3
    objects.delete(PATH)  # the next one has a budget of its own


def test_a_run_inside_a_run_and_threads_of_a_run_spend_its_budget(inner, pauses):
    objects = pauses.of(inner)
    with objects.run("r1") as budget, objects.run("r2") as same, ThreadPoolExecutor(2) as threads:
        list(threads.map(objects.delete, [PATH, PATH]))
        assert same is budget
    assert budget.requests == 2
    with objects.run("r3") as other:
        assert other.requests == 0


def test_runs_beside_each_other_have_budgets_of_their_own(inner, pauses):
    objects, both = pauses.of(inner), threading.Barrier(2, timeout=10)

    def work(requests):
        with objects.run(f"r{requests}") as budget:
            both.wait()
            for _ in range(requests):
                objects.delete(PATH)
            both.wait()
            return budget.requests

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(work, [1, 5])) == [1, 5]


# ------------------------------------------------------------------------------------------------------- a local folder


@pytest.mark.parametrize("number", [errno.EIO, errno.ETIMEDOUT, errno.ESTALE, errno.EAGAIN])
def test_a_folder_on_a_network_fails_for_a_moment(tmp_path, pauses, monkeypatch, number):
    local, failures, link = LocalObjects(tmp_path), [OSError(number, "said the server")] * 2, os.link

    def sometimes(*args):
        if failures:
            raise failures.pop()
        link(*args)

    monkeypatch.setattr(os, "link", sometimes)
    with pytest.raises(TransientLakeError, match="said the server"):
        local.put(PATH, io.BytesIO(BODY))
    pauses.of(local).put(PATH, io.BytesIO(BODY))
    assert not failures
    assert content_of(local) == BODY


def test_a_full_disk_is_not_for_a_moment(tmp_path, pauses, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(LakeError, match="disk is full") as raised:
        pauses.of(LocalObjects(tmp_path)).put(PATH, io.BytesIO(BODY))
    assert not isinstance(raised.value, TransientLakeError)
    assert pauses == []


class Forgetful(MemoryObjects):
    """A store of S3's classes whose etag is that of the bytes, and whose first answer to a move is lost."""

    moves = 0

    def transition(self, stored, storage_class):
        """Move it, and say so only from the second time on."""
        self.moves += 1
        moved = super().transition(replace(stored, etag=self.stat(stored.path).etag), storage_class)
        if self.moves == 1:
            msg = "the answer was lost"
            raise TransientLakeError(msg)
        return moved


@pytest.mark.parametrize("storage_class", ["STANDARD_IA", "GLACIER", "DEEP_ARCHIVE"])
def test_an_object_whose_move_was_not_answered_is_not_moved_and_paid_for_again(pauses, storage_class):
    objects = Forgetful(Provider.S3)
    stored = objects.put(PATH, io.BytesIO(BODY))
    moved = pauses.of(objects).classes.transition(stored, storage_class)
    assert (moved.storage_class, moved, objects.moves) == (storage_class, objects.stat(PATH), 1)
